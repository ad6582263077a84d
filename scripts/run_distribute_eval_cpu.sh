#!/usr/bin/env bash
# Evaluate a checkpoint, or a folder of them, on several processes; the exit status is that of the rank that failed first,
# or 0.
#
#   bash scripts/run_distribute_eval_cpu.sh DEVICE_NUM NET DATASET DATA CKPT [FLAG VALUE]...
#   bash scripts/run_distribute_eval_cpu.sh 2 densenet100 cifar10 ~/cifar-10-batches-bin best.ckpt
#
# DEVICE_NUM processes on each host take part, and share its cores out evenly.
# DATA is the held-out data ("bundled" for digits); further flags go to eval.py. The counts of all ranks together
# are printed once. Results go to a new folder under ./eval/, the logs of each start to one under ./logs/.
# Hosts, restarts and time limits come from the environment, as run_distribute_train.sh says.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# -ge 5 ] || usage "usage: bash scripts/run_distribute_eval_cpu.sh DEVICE_NUM NET DATASET DATA CKPT [FLAG VALUE]..."
launch eval CPU "$1" "" "${@:2}"
