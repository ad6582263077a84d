"""The compiler: which one, its one call, which is made in parts at once, and running it so that it ends when its
caller is asked to: Ctrl-C, SIGTERM, a closed terminal.
"""

import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from src.ops.cpu import INSTRUCTION_SETS
from src.utils.errors import ReportedError
from src.utils.files import write_atomically

# Without warnings: a newer compiler that knows more of them must not cost its user the kernels. The tests ask for all.
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fopenmp", "-fPIC", "-shared")
_POLL = 0.1  # seconds
_MOST_AT_ONCE = 4  # each takes a few hundred megabytes
_GRACE = 2  # seconds in which the compiler removes its temporary files


class CompilationError(ReportedError):
    """The compiler refused the sources, and would anywhere else."""


class UnknownFlagError(CompilationError):
    """It does not know the instruction set."""


def find_compiler() -> list[str]:
    """The words that call the C++ compiler, the first an absolute path: CXX, otherwise g++, clang++ or c++.

    Raises ReportedError when there is none.
    """
    asked = os.environ.get("CXX", "").strip()
    try:
        commands = [shlex.split(asked)] if asked else [["g++"], ["clang++"], ["c++"]]
    except ValueError as error:
        raise ReportedError(f"CXX is {asked!r}, which is no command ({error}); correct or unset it") from None
    for name, *arguments in commands:
        if path := shutil.which(name):
            return [os.path.abspath(path), *arguments]  # noqa: PTH100, its links may be what tells it its job
    if asked:
        raise ReportedError(f"CXX names {commands[0][0]!r}, which is no program; correct or unset it")
    raise ReportedError("no C++ compiler was found; install g++, or name one in CXX")


@dataclass(frozen=True)
class Call:
    """The compiler's one call that makes a library: its words, with all flags, of which -shared is the linker's."""

    words: tuple[str, ...]
    library: Path
    sources: tuple[Path, ...]

    def __iter__(self) -> Iterator[str]:
        """All words of it."""
        yield from (*self.words, "-o", str(self.library), *map(str, self.sources))

    def of_source(self, source: Path, made: Path) -> list[str]:
        """The call that compiles `source` alone."""
        return [*(word for word in self.words if word != "-shared"), "-c", "-o", str(made), str(source)]

    def of_link(self, made: Sequence[Path]) -> list[str]:
        """The call that makes the library of what those made."""
        return [*Call(self.words, self.library, tuple(made))]


def compile_command(compiler: Sequence[str], instruction_set: str, sources: Path, library: Path) -> Call:
    """What makes `library` of all .cc files in `sources`."""
    # Behind CXX's own arguments: what they include comes first.
    words = (*compiler, *FLAGS, *INSTRUCTION_SETS[instruction_set].flags, f"-I{sources}")
    return Call(words, library, tuple(sorted(sources.rglob("*.cc"))))


def compiler_version(compiler: Sequence[str]) -> str:
    """The first line of what it says of itself."""
    done = subprocess.run([*compiler, "--version"], capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    return next(iter(done.stdout.splitlines()), "which does not tell its version")


def compile_library(call: Call, log: Path) -> None:
    """Do what `call` says, its sources at once; leave it and what was said in `log`.

    Raises CompilationError when it fails.
    """
    compiler = call.words[0]
    try:
        status, said = _compile(call)
    except OSError as error:
        raise CompilationError(f"{compiler} cannot be run ({error.strerror}); correct or unset CXX") from error
    called = shlex.join(call).encode(errors="backslashreplace")
    write_atomically(log, lambda temporary: temporary.write_bytes(called + b"\n" + said))
    if status:
        lines = said.decode(errors="replace").strip().splitlines() or [f"exit status {status}"]
        why = next((line for line in lines if "error:" in line), lines[-1]).strip()[:200]
        flags = [word for word in call.words if word.startswith("-m")]
        kind = UnknownFlagError if any(flag in why for flag in flags) else CompilationError
        raise kind(f"{compiler} does not compile them ({why}); all that it said is in {log}")


def _compile(call: Call) -> tuple[int, bytes]:
    """Exit status and output of `call`; of several sources each is compiled by a call of its own, then linked."""
    if len(call.sources) == 1:
        return _run([[*call]])
    objects = [call.library.with_name(f"{call.library.name}.{number}.o") for number in range(len(call.sources))]
    try:
        status, said = _run([call.of_source(*pair) for pair in zip(call.sources, objects, strict=True)])
        if status:
            return status, said
        status, of_link = _run([call.of_link(objects)])
        return status, said + of_link
    finally:
        for made in objects:
            made.unlink(missing_ok=True)


def _run(commands: Sequence[Sequence[str]]) -> tuple[int, bytes]:
    """Run them, a few at once: the first exit status that is not 0, and what they said till then.

    However the wait for them ends, the compilers and what they have started end too.
    """
    waiting, running, said = [*commands], [], b""
    try:
        with _ended_with_us(running):
            while waiting or running:
                while waiting and sum(process.poll() is None for process in running) < _at_once():
                    running.append(_start(waiting.pop(0)))
                # In short waits: an interrupt comes from a thread (see src.utils.signals) and wakes no system call.
                with suppress(subprocess.TimeoutExpired):
                    said += running[0].communicate(timeout=_POLL)[0]
                    if status := running.pop(0).returncode:
                        return status, said
        return 0, said
    finally:
        _end_all(running)


def _start(command: Sequence[str]) -> subprocess.Popen:
    return subprocess.Popen(  # noqa: S603
        command,
        env=os.environ | {"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a process group of its own: g++ itself is only the driver of others
    )


def _at_once() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_AT_ONCE)


@contextmanager
def _ended_with_us(running: Sequence[subprocess.Popen]) -> Iterator[None]:
    """Inside the `with`, a signal that would end this process without a word ends the compilers first."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    taken = [n for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT) if signal.getsignal(n) == signal.SIG_DFL]

    def end_all(number: int, _: FrameType | None) -> None:
        _end_all(running)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    for number in taken:
        signal.signal(number, end_all)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _end_all(processes: Sequence[subprocess.Popen]) -> None:
    alive = [process for process in processes if process.returncode is None]
    for number in (signal.SIGTERM, signal.SIGKILL):  # the second also for children that outlive the first
        for process in alive:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        for process in alive:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
