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
# Hosts, restarts and time limits come from the environment, as run_distribute_train.sh says.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# -ge 4 ] || usage "usage: bash scripts/run_distribute_train_cpu.sh DEVICE_NUM NET DATASET DATA [CKPT] [FLAG VALUE]..."
launch train CPU "$1" "" "${@:2}"
