#!/usr/bin/env bash
# Build ascend310_infer/out/main, or main in another folder.
#
#   LITE_HOME=/path/to/mindspore-lite bash ascend310_infer/build.sh [FOLDER]
#
# LITE_HOME is the unpacked release of MindSpore Lite, or its unpacked Python wheel.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
if [ -z "${LITE_HOME:-}" ]; then
  echo "error: LITE_HOME is not set; expected the folder of MindSpore Lite, unpacked" >&2
  exit 2
fi

out="${1:-$here/out}"
mkdir -p "$out"
out="$(cd "$out" && pwd)"
# What was configured before the checkout or the folder was moved is of no use.
for place in "CMAKE_HOME_DIRECTORY:INTERNAL=$here" "CMAKE_CACHEFILE_DIR:INTERNAL=$out"; do
  if [ -f "$out/CMakeCache.txt" ] && ! grep -qxF "$place" "$out/CMakeCache.txt"; then
    rm -rf "$out/CMakeCache.txt" "$out/CMakeFiles"
  fi
done
# -U: another LITE_HOME than last time is searched anew.
cmake -S "$here" -B "$out" -U LITE_INCLUDE -U LITE_LIBRARY -D LITE_HOME="$LITE_HOME"
cmake --build "$out" --target main --parallel "$(nproc)"
