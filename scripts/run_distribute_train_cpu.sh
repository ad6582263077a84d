#!/usr/bin/env bash
# Train on several processes, on one host's CPU or more; the exit status is that of the rank that failed first, or 0.
#
#   bash scripts/run_distribute_train_cpu.sh DEVICE_NUM NET DATASET DATA [CKPT] [FLAG VALUE]...
#   bash scripts/run_distribute_train_cpu.sh 2 densenet100 cifar10 ~/cifar-10-batches-bin
#
# DEVICE_NUM processes on each host take part, and share its cores out evenly.
# DATA is the training data ("bundled" for digits), CKPT pretrained weights ("" for none); further flags go to
# train.py. Rank R makes a new folder for each run under ./trainR/, rank 0 with the checkpoints; the logs of each start
# go to a new folder under ./logs/. None is ever deleted.
#
# The environment says the rest, on each host of a job:
#   NODE_NUM=1             how many hosts; the script is started on each of them, with the same arguments
#   NODE_RANK=0            which of them this is; MASTER_ADDR is an address of host 0
#   MASTER_ADDR=127.0.0.1  where the ranks meet; required for several hosts
#   MASTER_PORT=8118       and its port, a free one for one host; each restart takes the next port
#   MAX_RESTARTS=0         how often to start again after a failure, going on from the newest checkpoint
#   HANG_TIMEOUT=1800      seconds without a batch after which the job is ended
#   CLUSTER_TIMEOUT=600    seconds the ranks of all hosts may take to find each other
#   STOP_TIMEOUT=60        seconds the ranks may take to save and end after SIGTERM or Ctrl-C; a second one kills them
#   BACKGROUND=0           1: check, start, and return; the output goes to a new file in this folder
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# -ge 4 ] || usage "usage: bash scripts/run_distribute_train_cpu.sh DEVICE_NUM NET DATASET DATA [CKPT] [FLAG VALUE]..."
launch train CPU "$1" "" "${@:2}"
