#!/usr/bin/env bash
# Try every promise of the README's table on one kind of device: a Markdown table, and one file to attach to a report.
#
#   bash scripts/test_device.sh CPU|GPU|Ascend [DEVICES] [ROW]...
#   bash scripts/test_device.sh CPU
#   bash scripts/test_device.sh Ascend 8
#
# DEVICES: how many to use together (1, on a CPU 2 processes). ROW: some rows only. It takes a few minutes and writes
# device-test-DEVICE-TIME.tar.gz into this folder. The exit status is 1 when a row failed, 2 for wrong usage.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# -ge 1 ] || usage "usage: bash scripts/test_device.sh CPU|GPU|Ascend [DEVICES] [ROW]..."
use_python
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" # `scripts` is ours, while the results go to the user's folder
exec "$PYTHON" -m scripts.device_test "$@"
