#!/usr/bin/env bash
# Evaluate a checkpoint, or a folder of them, on several GPUs; the exit status is that of the rank that failed
# first, or 0.
#
#   bash scripts/run_distribute_eval_gpu.sh DEVICE_NUM VISIBLE_DEVICES NET DATASET DATA CKPT [FLAG VALUE]...
#   bash scripts/run_distribute_eval_gpu.sh 2 0,1 densenet121 imagenet ~/imagenet/val best.ckpt
#
# DEVICE_NUM devices on each host take part; VISIBLE_DEVICES, such as 0,1, says which.
# DATA is the held-out data ("bundled" for digits); further flags go to eval.py. The counts of all ranks together
# are printed once. Results go to a new folder under ./eval/, the logs of each start to one under ./logs/.
# Hosts, restarts and time limits come from the environment, as run_distribute_train.sh says.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# -ge 6 ] || usage "usage: bash scripts/run_distribute_eval_gpu.sh DEVICE_NUM VISIBLE_DEVICES NET DATASET DATA CKPT [FLAG VALUE]..."
launch eval GPU "$1" "$2" "${@:3}"
