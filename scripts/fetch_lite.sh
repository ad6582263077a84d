#!/usr/bin/env bash
# Print the folder of MindSpore Lite 2.0.0 for this x86-64 Linux CPU, a LITE_HOME; the first time it is downloaded
# (169 MB, 483 MB unpacked), afterwards nothing is asked of the network.
#
#   bash scripts/fetch_lite.sh
#
# It is kept in ${XDG_CACHE_HOME:-$HOME/.cache}/densenet-mindspore/lite-2.0.0.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

VERSION=2.0.0
SHA256=199cd0605cc985b88eddb273db9dfe9000a585ba10ca2292b6b36ebfff07b3ec

[ "$(uname -s) $(uname -m)" = "Linux x86_64" ] ||
  fail "MindSpore Lite $VERSION can be fetched for x86-64 Linux only, and this is $(uname -s) $(uname -m); unpack a release for it and set LITE_HOME to its folder"
use_python

cache="${XDG_CACHE_HOME:-$HOME/.cache}/densenet-mindspore"
lite="$cache/lite-$VERSION"
partial="$cache/partial"
(umask 077 && mkdir -p "$cache") ||
  fail "there is no place for MindSpore Lite: $cache cannot be made; set XDG_CACHE_HOME to another folder"
require_own "$cache"

# Called with the lock held, so `partial` is of a run that was cut short. What has its final name is whole.
fetch() {
  rm -rf "$partial"
  mkdir "$partial"
  trap 'rm -rf "$partial"' EXIT
  echo "fetching MindSpore Lite $VERSION (169 MB) into $cache" >&2
  # The wheel is for Python 3.7; what is used of it are its C++ headers and libraries.
  "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all: \
    --python-version 3.7 --implementation cp --abi cp37m --platform manylinux1_x86_64 \
    --dest "$partial" "mindspore-lite==$VERSION" >&2 ||
    fail "MindSpore Lite $VERSION could not be downloaded; check the network, or unpack a release and set LITE_HOME to its folder"
  local wheel=("$partial"/*.whl)
  echo "$SHA256  ${wheel[0]}" | sha256sum --check --quiet >&2 ||
    fail "the MindSpore Lite $VERSION that was downloaded is not the known file: its sha256 should be $SHA256; check what pip's index is"
  "$PYTHON" -m zipfile -e "${wheel[0]}" "$partial/lite" ||
    fail "MindSpore Lite $VERSION could not be unpacked into $cache; free the disk or set XDG_CACHE_HOME to another folder"
  mv "$partial/lite" "$lite"
}

if [ ! -d "$lite" ]; then
  exec 9>"$cache/lock" # two scripts may start at once
  flock 9
  if [ ! -d "$lite" ]; then
    fetch
  fi
fi
printf '%s\n' "$lite"
