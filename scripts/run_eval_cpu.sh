#!/usr/bin/env bash
# Evaluate a checkpoint, or a folder of them, on this machine's CPU, in the foreground; the exit status is eval.py's.
#
#   bash scripts/run_eval_cpu.sh NET DATASET DATA CKPT [FLAG VALUE]...
#   bash scripts/run_eval_cpu.sh densenet100 cifar10 ~/cifar-10-batches-bin train/2026-01-31_time_12_00_00/best.ckpt
#
# DATA is the held-out data ("bundled" for digits); further flags go to eval.py. Results go to a new folder under ./eval/.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# -ge 4 ] || usage "usage: bash scripts/run_eval_cpu.sh NET DATASET DATA CKPT [FLAG VALUE]..."
use_python
command_flags eval CPU "$@"
run_command "$PYTHON" "$ROOT/eval.py" --is_distributed 0 --save_ckpt_path "$PWD/eval" "${FLAGS[@]}"
