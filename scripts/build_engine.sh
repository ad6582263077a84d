#!/usr/bin/env bash
# Build the CPU engine for programs of your own: libdensenet_engine.so, its header, and the program densenet_engine.
#
#   bash scripts/build_engine.sh [FOLDER]
#
# FOLDER: engine/out unless given. The library holds the kernels for every instruction set that the compiler knows and
# takes the best of the CPU that it runs on. CXX names the compiler. predict.py and eval.py need none of this: they
# compile a library of their own, for this machine alone.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# -le 1 ] || usage "usage: bash scripts/build_engine.sh [FOLDER]"
out="$(absolute "${1:-$ROOT/engine/out}")"
need_package g++ command -v "${CXX:-g++}"
need_package make command -v make
need_package cmake command -v cmake
if ! mkdir -p "$out" 2>/dev/null || [ ! -w "$out" ]; then
  fail "the engine cannot be built in $out, which cannot be written; name another folder: bash scripts/build_engine.sh FOLDER"
fi
# What was configured before the checkout or the folder was moved is of no use.
for place in "CMAKE_HOME_DIRECTORY:INTERNAL=$ROOT/engine" "CMAKE_CACHEFILE_DIR:INTERNAL=$out"; do
  if [ -f "$out/CMakeCache.txt" ] && ! grep -qxF "$place" "$out/CMakeCache.txt"; then
    rm -rf "$out/CMakeCache.txt" "$out/CMakeFiles"
  fi
done
if ! { cmake -S "$ROOT/engine" -B "$out" && cmake --build "$out" --parallel "$(nproc)"; } >"$out/build.log" 2>&1; then
  tail -n 20 "$out/build.log" >&2
  fail "the engine could not be built; see $out/build.log"
fi
# A function that all processors share must not be one of AVX-512's: see CMakeLists.txt. Clones that the compiler made of
# one, whose names have a dot, are each object's own.
if command -v objdump >/dev/null; then
  wide="$(objdump -d --no-show-raw-insn "$out/libdensenet_engine.so" | awk '
    /^[0-9a-f]+ <.*>:$/ { name = $2; next }
    /%zmm|%tmm/ && name !~ /densenet_(avx512|amx)|\./ { print name; name = "densenet_avx512 (said)" }')"
  [ -z "$wide" ] || fail "the linker kept functions of AVX-512 for all processors ($(head -n 3 <<<"$wide" | tr '\n' ' ')); build with GNU ld"
fi
cp "$ROOT/engine/engine.h" "$out/"
echo "built $out/libdensenet_engine.so and $out/densenet_engine; the header is $out/engine.h"
