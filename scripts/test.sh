#!/usr/bin/env bash
# Make the environment, run the linters and all tests.
#
#   bash scripts/test.sh                    everything (what CI runs); needs PyTorch, which it installs
#   bash scripts/test.sh fast               without the tests marked slow
#   bash scripts/test.sh [fast] ARGUMENTS   with more arguments for pytest, such as a file or -k NAME
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

need_build_tools
need_header doctest/doctest.h doctest-dev
requirements=requirements-torch.txt selection=()
if [ "${1:-}" = fast ]; then
  requirements=requirements-dev.txt selection=(-m "not slow")
  shift
else
  need_package chromium command -v chromium # opens the pages that are written
fi
make_environment "$requirements"
cd "$ROOT"
bin="$ROOT/.venv/bin"
unset PYTHONDONTWRITEBYTECODE # hundreds of processes read the same files: compiled once

"$bin/ruff" check .
"$bin/ruff" format --check .
mapfile -t shell_files < <(git ls-files '*.sh' .ci/run)
"$bin/shellcheck" --external-sources "${shell_files[@]}"
mapfile -t cpp_files < <(git ls-files '*.cc' '*.h')
"$bin/clang-format" --dry-run --Werror "${cpp_files[@]}"
# Two files at a time: MindSpore compiles on one core. A file's tests share what its fixtures have trained.
exec "$bin/python" -m pytest -n 2 --dist loadfile --no-loadscope-reorder "${selection[@]}" "$@"
