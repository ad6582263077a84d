#!/usr/bin/env bash
# Convert an exported model for an Ascend with CANN's atc, with or without AIPP. The command is shown before it runs.
#
#   bash scripts/convert_om.sh MODEL OUTPUT SOC_VERSION [AIPP_CONFIG] [BATCH_SIZE]
#   bash scripts/convert_om.sh flowers.onnx flowers Ascend310P3
#   bash scripts/convert_om.sh flowers.onnx flowers Ascend310P3 aipp.config 8
#
# MODEL: an ONNX or AIR model of export.py, its .json beside it. OUTPUT: flowers becomes flowers.om, which must not be
# there. SOC_VERSION: the chip, as `npu-smi info` names it, with Ascend before it. AIPP_CONFIG: of `python -m
# src.deploy.aipp`, or - for none. BATCH_SIZE: images at once, of a model that takes any (1).
# The exit status is 2 for wrong usage, 1 when atc is not there, else atc's own.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [ $# -lt 3 ] || [ $# -gt 5 ]; then
  usage "usage: bash scripts/convert_om.sh MODEL OUTPUT SOC_VERSION [AIPP_CONFIG] [BATCH_SIZE]"
fi
asked=("$(absolute "$1")" "$(absolute "$2")" "$3")
if [ "${4:--}" != - ]; then
  asked+=(--aipp "$(absolute "$4")")
fi
if [ $# = 5 ]; then
  [[ "$5" =~ ^[1-9][0-9]{0,5}$ ]] || fail "BATCH_SIZE is '$5', expected a number from 1" 2
  asked+=(--batch_size "$5")
fi
use_python
flags="$(cd "$ROOT" && "$PYTHON" -m src.deploy.om_flags "${asked[@]}")"
mapfile -t flags <<<"$flags"
if ! command -v atc >/dev/null; then
  printf 'the command:'
  printf ' %q' atc "${flags[@]}"
  printf '\n'
  fail "atc was not found; it comes with the CANN toolkit: source its set_env.sh, or run the command above where CANN is (python -m src.doctor says what is there)"
fi
run_command atc "${flags[@]}"
