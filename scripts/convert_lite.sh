#!/usr/bin/env bash
# Convert an exported model to MindSpore Lite's .ms with Lite's own converter, in INT8 if a configuration is given.
#
#   bash scripts/convert_lite.sh MODEL OUTPUT [QUANTIZE_CONFIG]
#   bash scripts/convert_lite.sh flowers.mindir flowers
#   bash scripts/convert_lite.sh flowers.mindir flowers8 calibration/quantize.cfg
#
# MODEL: a MINDIR or ONNX model of export.py. OUTPUT: flowers becomes flowers.ms, which must not be there.
# QUANTIZE_CONFIG: of `python -m src.deploy.lite_config`. LITE_HOME: MindSpore Lite, unpacked, with its converter.
# The command is shown before it runs. The exit status is 2 for wrong usage, 1 without a converter, else the converter's.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
  usage "usage: bash scripts/convert_lite.sh MODEL OUTPUT [QUANTIZE_CONFIG]"
fi
model="$(absolute "$1")" output="$(absolute "${2%.ms}")"
case "$model" in
  *.mindir) framework=MINDIR ;;
  *.onnx) framework=ONNX ;;
  *) fail "MODEL is '$1', expected a .mindir or .onnx file of export.py" 2 ;;
esac
[ -f "$model" ] || fail "there is no file $model; export it with export.py"
[ ! -e "$output.ms" ] || fail "$output.ms exists; choose another name or move it away" 2
words=("--fmk=$framework" "--modelFile=$model" "--outputFile=$output" --saveType=MINDIR_LITE)
if [ $# = 3 ]; then
  config="$(absolute "$3")"
  [ -f "$config" ] || fail "there is no file $config; write it with python -m src.deploy.lite_config"
  words+=("--configFile=$config")
fi
converter="${LITE_HOME:-LITE_HOME}/tools/converter/converter/converter_lite"
if [ ! -x "$converter" ]; then
  printf 'the command:'
  printf ' %q' "$converter" "${words[@]}"
  printf '\n'
  fail "there is no converter: LITE_HOME is '${LITE_HOME:-}'; set it to a MindSpore Lite release that has tools/converter, unpacked (python -m src.doctor looks at it)"
fi
export LD_LIBRARY_PATH="$LITE_HOME/tools/converter/lib:$LITE_HOME/runtime/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
run_command "$converter" "${words[@]}"
