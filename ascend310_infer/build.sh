#!/usr/bin/env bash
# Build ascend310_infer/out/main, or main in another folder; or engine_main, which runs files of the CPU engine.
#
#   LITE_HOME=/path/to/mindspore-lite bash ascend310_infer/build.sh [FOLDER]
#   ENGINE_LIBRARY=/path/to/libdensenet_engine.so bash ascend310_infer/build.sh [FOLDER]
#
# LITE_HOME is the unpacked release of MindSpore Lite, or its unpacked Python wheel. ENGINE_LIBRARY is made by
# scripts/build_engine.sh.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# What the other program was configured with stays: both are built in one folder, of the same objects.
target=main options=(-U LITE_INCLUDE -U LITE_LIBRARY -D LITE_HOME="${LITE_HOME:-}") # another LITE_HOME is searched anew
if [ -n "${ENGINE_LIBRARY:-}" ]; then
  target=engine_main options=(-D ENGINE_LIBRARY="$ENGINE_LIBRARY")
elif [ -z "${LITE_HOME:-}" ]; then
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
cmake -S "$here" -B "$out" "${options[@]}"
cmake --build "$out" --target "$target" --parallel "$(nproc)"
