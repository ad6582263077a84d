#!/usr/bin/env bash
# Train on several GPUs, of one host or more; the exit status is that of the rank that failed first, or 0.
#
#   bash scripts/run_distribute_train_gpu.sh DEVICE_NUM VISIBLE_DEVICES NET DATASET DATA [CKPT] [FLAG VALUE]...
#   bash scripts/run_distribute_train_gpu.sh 2 0,1 densenet121 imagenet ~/imagenet/train --eval_data_dir ~/imagenet/val
#
# DEVICE_NUM devices on each host take part; VISIBLE_DEVICES, such as 0,1, says which.
# DATA is the training data ("bundled" for digits), CKPT pretrained weights ("" for none); further flags go to
# train.py. Rank R makes a new folder for each run under ./trainR/, rank 0 with the checkpoints; the logs of each start
# go to a new folder under ./logs/. None is ever deleted.
# Hosts, restarts and time limits come from the environment, as run_distribute_train.sh says.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# -ge 5 ] || usage "usage: bash scripts/run_distribute_train_gpu.sh DEVICE_NUM VISIBLE_DEVICES NET DATASET DATA [CKPT] [FLAG VALUE]..."
launch train GPU "$1" "$2" "${@:3}"
