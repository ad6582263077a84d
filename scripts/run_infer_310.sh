#!/usr/bin/env bash
# Answer a whole data set with the C++ program, on an Ascend 310 or on this machine's CPU, and count the right answers.
#
#   bash scripts/run_infer_310.sh MINDIR_PATH DATASET DATA_PATH LABEL_FILE DEVICE_ID
#   DEVICE_TARGET=CPU bash scripts/run_infer_310.sh densenet121.mindir pictures holiday.jpg - 0
#   DEVICE_TARGET=CPU bash scripts/run_infer_310.sh densenet121.mindir folder ~/pictures labels.txt 0
#   bash scripts/run_infer_310.sh densenet100.mindir cifar10 ~/cifar-10-batches-bin - 0
#
#   DEVICE_TARGET=CPU bash scripts/run_infer_310.sh densenet121.engine folder ~/pictures labels.txt 0
#
# MINDIR_PATH: a model of export.py, its .json beside it. DATASET: imagenet or folder (class folders; LABEL_FILE comes
# from src.deploy.write_labels), cifar10 (LABEL_FILE is - or the records), or pictures (LABEL_FILE is -; one picture or a
# folder of pictures that nobody has labelled: what each shows is printed, and there is no acc.log), or csv (a folder of
# pictures; LABEL_FILE is a CSV data set, also of several labels a picture, whose pictures may be in folders below). For Ascend, the default, set LITE_HOME to
# the unpacked MindSpore Lite and load the CANN toolkit's set_env.sh; for CPU Lite 2.0.0 is fetched, which reads models
# that were exported with --mindir_version 1. A file of the CPU engine (export.py --file_format ENGINE) needs neither.
# Results go to result_Files, time_Result and acc.log in this folder; those of an earlier run are moved to infer0,
# infer1, ... first. The exit status is that of the part that failed.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

RESULTS=(result_Files time_Result acc.log)

[ $# = 5 ] || usage "usage: bash scripts/run_infer_310.sh MINDIR_PATH DATASET DATA_PATH LABEL_FILE DEVICE_ID"
model="$(absolute "$1")" dataset="$2" data="$(absolute "$3")" labels="$(absolute "$4")" device="$5"
target="${DEVICE_TARGET:-Ascend}"
[[ "$device" =~ ^[0-9]+$ ]] || fail "DEVICE_ID is '$device', expected a number from 0" 2
if [ "$dataset" = pictures ]; then
  [ "$4" = - ] || fail "LABEL_FILE is '$4', but DATASET pictures has no labels; give - instead" 2
elif [ "$4" = - ]; then
  [ "$dataset" = cifar10 ] ||
    fail "LABEL_FILE is -, but only cifar10 carries its own labels; give a label file, or ask with DATASET pictures" 2
  labels="$data"
fi
program_name=main
case "$model" in
  *.[eE][nN][gG][iI][nN][eE])
    [ "$target" = CPU ] || fail "MINDIR_PATH is $model, a file of the CPU engine; set DEVICE_TARGET=CPU" 2
    program_name=engine_main
    ;;
esac
case "$target" in
  Ascend)
    [ -n "${LITE_HOME:-}" ] ||
      fail "LITE_HOME is not set; set it to the folder of MindSpore Lite for Ascend, unpacked, or run on the CPU: DEVICE_TARGET=CPU"
    [ -n "${ASCEND_HOME_PATH:-${ASCEND_TOOLKIT_HOME:-}}" ] ||
      fail "the CANN toolkit's environment is not loaded: ASCEND_HOME_PATH is not set; source its set_env.sh, or run on the CPU: DEVICE_TARGET=CPU"
    ;;
  CPU) ;;
  *) fail "DEVICE_TARGET is '$target', expected Ascend or CPU" 2 ;;
esac
newest=()
if [ "$program_name" = engine_main ]; then
  newest=(--engine)
elif [ -n "${LITE_HOME:-}" ]; then
  LITE_HOME="$(absolute "$LITE_HOME")"
  found=("$LITE_HOME"/{.,runtime,mindspore_lite}/include/api/model.h)
  [ -f "${found[0]}" ] || [ -f "${found[1]}" ] || [ -f "${found[2]}" ] ||
    fail "LITE_HOME is $LITE_HOME, which holds no include/api/model.h; give the folder of MindSpore Lite, unpacked (python -m src.doctor looks at it)"
else
  newest=(--newest_mindir 1)
fi

if [ "$program_name" = engine_main ]; then
  use_python safetensors
else
  use_python
fi
temporary="$(mktemp -d)"
trap 'rm -rf "$temporary"' EXIT
flags="$(cd "$ROOT" && "$PYTHON" -m src.deploy.infer_flags "$model" "$dataset" "$data" "$labels" "${newest[@]}" \
  --class_names "$temporary/class_names.txt" --links "$temporary/pictures")"
mapfile -t flags <<<"$flags"
[ ! -d "$temporary/pictures" ] || data="$temporary/pictures"

need_build_tools
build="$(infer_build_folder)"
if [ "$program_name" = engine_main ]; then
  ENGINE_LIBRARY="$build/libdensenet_engine.so"
  (
    flock 9
    cd "$ROOT" && "$PYTHON" -m src.deploy.engine_library "$ENGINE_LIBRARY"
  ) 9>"$build/build.log.lock"
  export ENGINE_LIBRARY
  unset LITE_HOME
else
  if [ -z "${LITE_HOME:-}" ]; then
    LITE_HOME="$(bash "$ROOT/scripts/fetch_lite.sh")"
  fi
  export LITE_HOME
  unset ENGINE_LIBRARY # a user's own, with which another program would be built
fi
log="$build/build.log"
# Of all that the program is made of: what it says is built is not looked at again.
built="$build/built-$program_name-$({ infer_sources_hash; cat "$ROOT/engine/engine.h"; echo "$ROOT ${LITE_HOME:-}"; } | sha256sum | cut -c1-16)"
(
  flock 9 # two runs share one build
  if [ ! -e "$built" ] || [ ! -x "$build/$program_name" ]; then
    echo "building the C++ program in $build (up to a minute; its log is $log)"
    rm -f "$build/built-$program_name"-*
    bash "$ROOT/ascend310_infer/build.sh" "$build" >"$log" 2>&1 || {
      tail -n 20 "$log" >&2
      fail "the C++ program could not be built; see $log"
    }
    : >"$built"
  fi
) 9>"$log.lock"

exec 8<"$PWD"
flock --nonblock 8 || fail "another run is writing its results into $PWD; use another folder"
earlier=()
for name in "${RESULTS[@]}"; do
  [ ! -e "$name" ] || earlier+=("$name")
done
if [ ${#earlier[@]} -gt 0 ]; then
  number=0
  until mkdir "infer$number" 2>/dev/null; do
    [ -e "infer$number" ] || fail "earlier results cannot be moved away: no folder can be made in $PWD"
    number=$((number + 1))
  done
  mv "${earlier[@]}" "infer$number/"
  echo "earlier results are now in $PWD/infer$number"
fi

# Lite warns of libraries it can do without; errors it still prints.
GLOG_v="${GLOG_v:-3}" "$build/$program_name" --model_path="$model" --dataset="$dataset" --dataset_path="$data" \
  --device_target="$target" --device_id="$device" --output_dir="$PWD/result_Files" --time_dir="$PWD/time_Result" "${flags[@]}" &
program=$!
trap 'kill "$program" 2>/dev/null; rm -rf "$temporary"' EXIT # left alone it would go on when this script is stopped
wait "$program"
trap 'rm -rf "$temporary"' EXIT
if [ "$dataset" = pictures ]; then
  exit
fi
model_flag=()
[ "$dataset" != csv ] || model_flag=(--model "$model")
accuracy="$("$PYTHON" "$ROOT/postprocess.py" --dataset "$dataset" --result_path result_Files --label_file "$labels" \
  --summary time_Result/summary.json "${model_flag[@]}")"
printf '%s\n' "$accuracy" | tee acc.log
