#!/usr/bin/env bash
# Make the environment, run the linters and all tests.
#
#   bash scripts/test.sh                    everything (what CI runs)
#   bash scripts/test.sh fast               without the tests marked slow
#   bash scripts/test.sh [fast] ARGUMENTS   with more arguments for pytest, such as a file or -k NAME
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

need_build_tools
need_header doctest/doctest.h doctest-dev
make_environment requirements-dev.txt
cd "$ROOT"
bin="$ROOT/.venv/bin"

selection=()
if [ "${1:-}" = fast ]; then
  selection=(-m "not slow")
  shift
fi

"$bin/ruff" check .
"$bin/ruff" format --check .
mapfile -t shell_files < <(git ls-files '*.sh' .ci/run)
"$bin/shellcheck" --external-sources "${shell_files[@]}"
exec "$bin/python" -m pytest "${selection[@]}" "$@"
