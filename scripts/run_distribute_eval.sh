#!/usr/bin/env bash
# Evaluate a checkpoint, or a folder, on several Ascend devices; the exit status is that of the rank that failed first,
# or 0.
#
#   bash scripts/run_distribute_eval.sh DEVICE_NUM RANK_TABLE_FILE NET DATASET EVAL_DATA_DIR CKPT [FLAG VALUE]...
#   bash scripts/run_distribute_eval.sh 8 none densenet121 imagenet ~/imagenet/val best.ckpt
#
# DEVICE_NUM devices on each host take part. RANK_TABLE_FILE is that of all hosts (scripts/hccl_rank_table.py writes
# it), or none.
# EVAL_DATA_DIR is the held-out data ("bundled" for digits); further flags go to eval.py. The counts of all ranks together
# are printed once. Results go to a new folder under ./eval/, the logs of each start to one under ./logs/.
# Hosts, restarts and time limits come from the environment, as run_distribute_train.sh says.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# -ge 6 ] || usage "usage: bash scripts/run_distribute_eval.sh DEVICE_NUM RANK_TABLE_FILE NET DATASET EVAL_DATA_DIR CKPT [FLAG VALUE]..."
launch eval Ascend "$1" "$2" "${@:3}"
