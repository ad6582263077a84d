#!/usr/bin/env bash
# Build ascend310_infer/out/main.
#
#   LITE_HOME=/path/to/mindspore-lite bash ascend310_infer/build.sh
#
# LITE_HOME is the unpacked release of MindSpore Lite, or its unpacked Python wheel.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
if [ -z "${LITE_HOME:-}" ]; then
  echo "error: LITE_HOME is not set; expected the folder of MindSpore Lite, unpacked" >&2
  exit 2
fi

# -U: another LITE_HOME than last time is searched anew.
cmake -S "$here" -B "$here/out" -U LITE_INCLUDE -U LITE_LIBRARY -D LITE_HOME="$LITE_HOME"
cmake --build "$here/out" --target main --parallel "$(nproc)"
