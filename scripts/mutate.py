"""Break the code in forty ways, one at a time, and say which of them the tests notice.

python scripts/mutate.py
python scripts/mutate.py --only 7 12
python scripts/mutate.py --jobs 2

The mutations are those of tests/mutations.py. Each is made in a copy of the checkout, where its own tests are run; they
have to fail, and without it to pass. The exit status is 1 when one survives, or cannot be made any more.
"""

import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from mutations import MUTATIONS, Mutation

from src.utils.arguments import Parser
from src.utils.errors import ReportedError, UsageError, run

PATIENCE = 1200  # seconds for the tests of one mutation, C++ compiled anew
FAILED = 1  # pytest's exit status when a test failed, and not its collection or itself


def main(argv: Sequence[str]) -> None:
    """Try the mutations that `argv` asks for and print a table. Raises ReportedError when one is not noticed."""
    asked = parse(argv)
    chosen = asked.only or list(range(1, len(MUTATIONS) + 1))
    with tempfile.TemporaryDirectory(prefix="mutate-") as root:
        copies = [copy_checkout(Path(root, str(number))) for number in range(asked.jobs)]
        check_that_tests_pass(copies[0], chosen)
        free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for copy in copies:
            free.put(copy)

        def attempt(number: int) -> str:
            copy, start = free.get(), time.monotonic()
            try:
                found = outcome(copy, MUTATIONS[number - 1])
            finally:
                free.put(copy)
            print(f"{number:2}  {found:14} {time.monotonic() - start:4.0f} s  {MUTATIONS[number - 1].what}", flush=True)
            return found

        with ThreadPoolExecutor(asked.jobs) as pool:
            outcomes = list(pool.map(attempt, chosen))
    noticed = outcomes.count("noticed")
    print(f"{noticed} of {len(chosen)} mutations were noticed")
    if noticed < len(chosen):
        others = [str(number) for number, found in zip(chosen, outcomes, strict=True) if found != "noticed"]
        raise ReportedError(f"not noticed: {', '.join(others)}; write a test, or bring tests/mutations.py up to date")


def parse(argv: Sequence[str]) -> Namespace:
    """The command line, by name. Raises UsageError."""
    parser = Parser("python scripts/mutate.py [--only N...] [--jobs N]", __doc__)
    parser.add_argument("--only", type=int, nargs="+", default=[], help="the numbers of some of them, from 1")
    parser.add_argument("--jobs", type=int, default=1, help="how many are tried at once")
    asked = parser.parse_args(argv)
    for name, numbers, most in (("only", asked.only, len(MUTATIONS)), ("jobs", [asked.jobs], os.cpu_count() or 1)):
        for number in numbers:
            if not 1 <= number <= most:
                raise UsageError(f"--{name} is {number}, expected 1 to {most}")
    return asked


def copy_checkout(target: Path) -> Path:
    """Copy what git knows of, as it stands in the working tree, to the new folder `target` and return it."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():  # deleted ones are listed until they are committed
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def mutated(root: Path, mutation: Mutation) -> tuple[Path, str]:
    """The file in the checkout `root` that the mutation changes, and its text then.

    Raises ReportedError unless what it replaces is there exactly once.
    """
    texts = {path: path.read_text("utf-8") for path in sorted(root.glob(mutation.place)) if path.is_file()}
    found = [path for path, text in texts.items() for _ in range(text.count(mutation.before))]
    if len(found) != 1:
        raise ReportedError(
            f"{mutation.before!r} is in {mutation.place} {len(found)} times, expected once; correct tests/mutations.py"
        )
    return found[0], texts[found[0]].replace(mutation.before, mutation.after)


def outcome(copy: Path, mutation: Mutation) -> str:
    """Whether the mutation is noticed, in words; the checkout `copy` is afterwards as it was."""
    try:
        path, text = mutated(copy, mutation)
    except ReportedError:
        return "does not apply"
    before = path.read_text("utf-8")
    path.write_text(text, "utf-8")
    try:
        status, _ = run_tests(copy, mutation.tests)
    finally:
        path.write_text(before, "utf-8")
    return {0: "SURVIVED", FAILED: "noticed"}.get(status, f"status {status}")


def check_that_tests_pass(copy: Path, numbers: Sequence[int]) -> None:
    """Raise ReportedError unless the tests of all these mutations pass in the unchanged checkout `copy`."""
    tests = dict.fromkeys(test for number in numbers for test in MUTATIONS[number - 1].tests)
    status, output = run_tests(copy, [*tests])
    if status != 0:
        raise ReportedError(f"the tests fail without a mutation (status {status}): {output[-2000:]}")


def run_tests(copy: Path, tests: Sequence[str]) -> tuple[int, str]:
    """pytest's exit status and what it said; kernels compiled in `copy` stay in a cache of its own."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    # Without bytecode: a replacement of the same length within a second would not be seen.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "XDG_CACHE_HOME": str(copy.parent / "cache")}
    done = subprocess.run(  # noqa: S603
        command, cwd=copy, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    return done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(run(main))
