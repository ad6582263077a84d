#!/usr/bin/env bash
# Evaluate an exported ONNX model in the foreground; the exit status is eval_onnx.py's.
#
#   bash scripts/run_onnx_eval.sh ONNX DATA DEVICE [NET DATASET] [FLAG VALUE]...
#   bash scripts/run_onnx_eval.sh densenet121.onnx ~/imagenet/val GPU
#   bash scripts/run_onnx_eval.sh densenet100.onnx ~/cifar-10-batches-bin CPU densenet100 cifar10
#
# DEVICE is CPU or GPU. DATA is the held-out data ("bundled" for digits). NET and DATASET are those of the model unless
# given; further flags go to eval_onnx.py. Results go to a new folder under ./eval/.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# -ge 3 ] || usage "usage: bash scripts/run_onnx_eval.sh ONNX DATA DEVICE [NET DATASET] [FLAG VALUE]..."
use_python
model="$(absolute "$1")" data="$2" device="$3"
shift 3
named=()
if [ $# -ge 2 ] && [[ "$1" != --* ]]; then
  named=(--net "$1" --dataset "$2")
  shift 2
fi
if [ "$data" != bundled ]; then
  data="$(absolute "$data")"
fi

run_command "$PYTHON" "$ROOT/eval_onnx.py" --ckpt_files "$model" --eval_data_dir "$data" --device_target "$device" \
  "${named[@]}" --save_ckpt_path "$PWD/eval" "$@"
