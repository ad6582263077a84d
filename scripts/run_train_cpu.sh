#!/usr/bin/env bash
# Train on this machine's CPU, in the foreground; the exit status is training's.
#
#   bash scripts/run_train_cpu.sh NET DATASET DATA [CKPT] [FLAG VALUE]...
#   bash scripts/run_train_cpu.sh densenet100 cifar10 ~/cifar-10-batches-bin
#
# DATA is the training data ("bundled" for digits), CKPT pretrained weights ("" for none); further flags go to train.py.
# Each run makes its own folder under ./train/, and none is ever deleted.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# -ge 3 ] || usage "usage: bash scripts/run_train_cpu.sh NET DATASET DATA [CKPT] [FLAG VALUE]..."
use_python
net="$1" dataset="$2" data="$3"
shift 3
pretrained=()
if [ $# -gt 0 ] && [[ "$1" != --* ]]; then
  if [ -n "$1" ]; then
    pretrained=(--train_pretrained "$(absolute "$1")")
  fi
  shift
fi
if [ "$dataset" != digits ]; then
  data="$(absolute "$data")"
fi

run_command "$PYTHON" "$ROOT/train.py" --net "$net" --dataset "$dataset" --train_data_dir "$data" --device_target CPU \
  --is_distributed 0 --save_ckpt_path "$PWD/train" "${pretrained[@]}" "$@"
