# Shared by the scripts in this folder; sourced, never run.
# shellcheck shell=bash

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# fail MESSAGE [STATUS]: one line on stderr, exit STATUS (1).
fail() {
  echo "error: $1" >&2
  exit "${2:-1}"
}

# usage LINE...: the usage of the calling script on stderr, exit 2.
usage() {
  printf '%s\n' "$@" >&2
  exit 2
}

# absolute PATH: PATH as an absolute one, whether it exists or not.
absolute() {
  case "$1" in
    /*) printf '%s\n' "$1" ;;
    *) printf '%s/%s\n' "$PWD" "$1" ;;
  esac
}

# find_python: the newest tested interpreter that works. A shim that names a missing version does not.
find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.11 python3.12 python3.10 python3; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  fail "no Python 3.10, 3.11 or 3.12 was found; install one or name it: PYTHON=/path/to/python3.11 bash $0"
}

# need_package PACKAGE WORD...: the command WORD... must work; as root on Debian PACKAGE is installed for it, else it is
# named. The words are run as they are, never read as shell text again: a path among them may hold anything.
need_package() {
  local package="$1"
  shift
  if "$@" >/dev/null 2>&1; then
    return
  fi
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing the system package $package"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package"; } >/dev/null ||
      fail "the system package $package could not be installed"
  else
    fail "the system package $package is missing; install it, for example: sudo apt-get install $package"
  fi
}

# has_header HEADER: whether g++ finds it.
has_header() {
  printf '#include <cstdio>\n#include <%s>\n' "$1" | g++ -E -x c++ -
}

# need_header HEADER PACKAGE: g++ must find HEADER.
need_header() {
  need_package "$2" has_header "$1"
}

# need_build_tools: what the C++ program is built with.
need_build_tools() {
  need_package g++ command -v g++
  need_package make command -v make
  need_package cmake command -v cmake
  need_header jpeglib.h libjpeg-dev
  need_header png.h libpng-dev
}

# infer_sources_hash: a hash of what the C++ program is built from.
infer_sources_hash() {
  (
    cd "$ROOT/ascend310_infer" || exit
    cat CMakeLists.txt build.sh inc/* src/* | sha256sum | cut -c1-16
  )
}

# require_own FOLDER...: nobody else may have written in it, as what lies there is run.
require_own() {
  local folder
  for folder in "$@"; do
    if [ ! -O "$folder" ] || [ -n "$(find "$folder" -maxdepth 0 -perm /022)" ]; then
      fail "$folder belongs to somebody else or can be written by others; remove it, or set XDG_CACHE_HOME to another folder"
    fi
  done
}

# infer_build_folder: where the C++ program is built: beside its sources, or in a checkout that cannot be written in the
# user's cache, one folder for each state of the sources. What is built there is run, so it must be nobody else's.
infer_build_folder() {
  local folder="$ROOT/ascend310_infer/out"
  if ! mkdir -p "$folder" 2>/dev/null || [ ! -w "$folder" ]; then
    folder="${XDG_CACHE_HOME:-${HOME:-}/.cache}/densenet-mindspore/infer-$(infer_sources_hash)"
    (umask 077 && mkdir -p "$folder") 2>/dev/null ||
      fail "there is no place to build the C++ program: neither $ROOT/ascend310_infer nor $folder can be written; set XDG_CACHE_HOME to another folder"
    require_own "$(dirname "$folder")" "$folder"
  fi
  printf '%s\n' "$folder"
}

# lock_of REQUIREMENTS_FILE: the file with the tested versions of what it asks for and their hashes, of
# scripts/lock_requirements.py.
lock_of() {
  case "$1" in
    requirements.txt) printf 'requirements-lock.txt\n' ;;
    *) printf 'requirements-dev-lock.txt\n' ;;
  esac
}

# is_locked_platform PYTHON: whether the locked files are for it.
is_locked_platform() {
  "$1" -c 'import platform as p, sys
sys.exit((sys.version_info[:2], sys.platform, p.machine(), p.libc_ver()[0]) != ((3, 11), "linux", "x86_64", "glibc"))'
}

# make_environment REQUIREMENTS_FILE: have $ROOT/.venv hold what the file asks for. Nothing is fetched when it does.
# An environment that was moved here is used as it is: nothing of it is started by a script whose first line names a path.
make_environment() {
  local python requirements="$ROOT/$1" stamp
  # The stamp holds the text of the pinned files, so an edited pin is installed and an interrupted install is not trusted.
  stamp="$ROOT/.venv/installed-$(cat "$ROOT"/requirements*.txt "$requirements" | cksum | cut -d' ' -f1)"
  if [ -e "$stamp" ] && "$ROOT/.venv/bin/python" -c '' 2>/dev/null; then
    return
  fi
  python="$(find_python)" || exit 1
  need_package python3-venv "$python" -c 'import ensurepip, venv'
  (
    flock 9 # two scripts may start at once
    if "$ROOT/.venv/bin/python" -c '' 2>/dev/null; then
      if [ -e "$stamp" ]; then
        exit
      fi
    elif compgen -G "$ROOT/.venv/installed-*" >/dev/null; then # made here, but its interpreter is gone
      echo "the interpreter of $ROOT/.venv does not work any more; the environment is made anew"
      rm -rf "$ROOT/.venv"
    fi
    echo "making the environment $ROOT/.venv from $1 (about a minute)"
    "$python" -m venv "$ROOT/.venv" || exit 1
    local pip=("$ROOT/.venv/bin/python" -m pip install --quiet --disable-pip-version-check)
    # The tested files first, where they are for this platform; then what they lack, as PyTorch.
    if [ -e "$ROOT/$(lock_of "$1")" ] && is_locked_platform "$ROOT/.venv/bin/python"; then
      "${pip[@]}" --require-hashes --no-deps -r "$ROOT/$(lock_of "$1")" || exit 1
    fi
    "${pip[@]}" -r "$requirements" || exit 1
    : >"$stamp"
  ) 9>"$ROOT/.venv.lock" || fail "the environment could not be made; see the messages above"
}

# use_python [MODULE]: sets PYTHON to the environment's interpreter, or to the caller's own when there is no environment,
# which has to have MindSpore, or MODULE.
use_python() {
  if [ -x "$ROOT/.venv/bin/python" ]; then
    PYTHON="$ROOT/.venv/bin/python"
  else
    PYTHON="${PYTHON:-python}"
    "$PYTHON" -c "import ${1:-mindspore}" 2>/dev/null ||
      fail "${1:-MindSpore} was not found for $PYTHON; run bash scripts/quickstart.sh once, or pip install -r requirements.txt ($PYTHON -m src.doctor says what is missing)"
    case "$PYTHON" in
      */*) PYTHON="$(absolute "$PYTHON")" ;; # some scripts leave the user's folder
    esac
  fi
}

# run_command WORD...: show the command and become it.
run_command() {
  printf 'running:'
  printf ' %q' "$@"
  printf '\n'
  exec "$@"
}

# command_flags COMMAND TARGET NET DATASET DATA [CKPT] [FLAG VALUE]...: sets FLAGS to what train.py or eval.py is called
# with. CKPT: pretrained weights, also by name, or the checkpoint to evaluate, "" for none.
command_flags() {
  local command="$1" target="$2" net="$3" dataset="$4" data="$5" key=train_pretrained
  shift 5
  if [ "$command" = eval ]; then
    key=ckpt_files
  fi
  if [ "$dataset" != digits ]; then
    data="$(absolute "$data")"
  fi
  FLAGS=(--net "$net" --dataset "$dataset" "--${command}_data_dir" "$data" --device_target "$target")
  if [ $# -gt 0 ] && [[ "$1" != --* ]]; then
    if [[ "$key" = train_pretrained && "$1" =~ ^(hf://|timm/|torchvision/) && ! -e "$1" ]]; then
      FLAGS+=("--$key" "$1") # weights by name
    elif [ -n "$1" ]; then
      FLAGS+=("--$key" "$(absolute "$1")")
    fi
    shift
  fi
  FLAGS+=("$@")
}

# launch COMMAND TARGET DEVICE_NUM DEVICES NET DATASET DATA [CKPT] [FLAG VALUE]...: become the launcher (src/launch) for
# train.py or eval.py on DEVICE_NUM devices of each host. DEVICES: the rank table or `none` (Ascend), the visible
# devices (GPU), or nothing (CPU). The rest is that of command_flags.
launch() {
  local command="$1" target="$2" device_num="$3" devices="$4" folder="$PWD"
  command_flags "$command" "$target" "${@:5}"
  if [ "$target" = Ascend ] && [ "$devices" != none ]; then
    devices="$(absolute "$devices")"
  fi
  use_python
  cd "$ROOT" || exit # so that `src` is ours, whatever the user's folder holds
  exec "$PYTHON" -m src.launch "$command" "$target" "$device_num" "$devices" "$folder" "${FLAGS[@]}"
}

# newest_run FOLDER FILE: the newest run folder in FOLDER that holds FILE, by the time in its name: a copy changes the
# files' own times.
newest_run() {
  find "$1" -mindepth 2 -maxdepth 2 -path "$1/[0-9]*_time_*/$2" -printf '%h\n' | sort -V | tail -n 1
}
