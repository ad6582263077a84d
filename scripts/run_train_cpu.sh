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
command_flags train CPU "$@"
run_command "$PYTHON" "$ROOT/train.py" --is_distributed 0 --save_ckpt_path "$PWD/train" "${FLAGS[@]}"
