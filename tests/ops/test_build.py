"""Compiling the C++ kernels: for what the CPU has, by what compiler there is, once, or not at all with the reason."""

import ctypes
import os
import re
import shlex
import shutil
import signal
import stat

import pytest
from checkout import BEST, NOT_USED, TWICE, USED, wait_for, write_sources
from commands import contents
from direct import INSTRUCTION_SETS
from shared import kept_program

from src.launch.processes import state_and_parent
from src.ops import build
from src.ops import compile as compiling
from src.ops.compile import FLAGS
from src.utils.errors import UsageError

OF_X86 = [name for name, one in build.INSTRUCTION_SETS.items() if one.machine == "x86_64"]
EPYC = "fpu sse2 fma avx avx2 avx512f avx512dq avx512ifma avx512cd avx512bw avx512vl avx512_bf16 avx512_vnni"
XEON = f"{EPYC} amx_bf16 avx512_fp16 amx_tile amx_int8"


@pytest.mark.parametrize(
    "text, machine, instruction_set, has_bf16",
    [
        (f"processor\t: 0\nflags\t\t: {EPYC}\n", "x86_64", "avx512_bf16", True),
        (f"flags\t\t: {EPYC.replace(' avx512_bf16', '')}\n", "x86_64", "avx512", False),
        (f"flags\t\t: {XEON}\n", "x86_64", "amx_bf16", True),
        (f"flags\t\t: {XEON.replace(' amx_bf16', '')}\n", "x86_64", "avx512_bf16", True),
        ("flags\t\t: fpu fma avx2 bmi2\n", "x86_64", "avx2", False),
        ("flags\t\t: fpu avx avx2\n", "x86_64", None, False),
        (f"flags\t\t: {EPYC.replace(' avx512bw', '')}\n", "x86_64", "avx2", False),
        ("vmx flags\t: vnmi ept avx2 fma\nflags\t\t: fpu sse2\n", "x86_64", None, False),
        ("processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd evtstrm\n", "aarch64", "neon", False),
        ("Features\t: half thumb neon vfpv4\n", "armv7l", None, False),
        (f"flags\t\t: {EPYC}\n", "riscv64", None, False),
        ("", "x86_64", None, False),
        ("\xff\x00 no colon\n", "x86_64", None, False),
        (None, "arm64", None, False),
    ],
)
def test_what_a_cpu_has(tmp_path, monkeypatch, text, machine, instruction_set, has_bf16):
    monkeypatch.delenv(build.ISA_VARIABLE, raising=False)
    cpuinfo = tmp_path / "cpuinfo"
    if text is not None:
        cpuinfo.write_text(text)
    found = next(iter(build.instruction_sets(cpuinfo, machine, lambda: True)), None)
    assert found == instruction_set
    assert build.Kernels(None, found, "").has_bf16 is has_bf16


def test_amx_is_used_when_the_system_grants_it(tmp_path, monkeypatch):
    monkeypatch.delenv(build.ISA_VARIABLE, raising=False)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"flags\t\t: {XEON}\n")
    assert build.instruction_sets(cpuinfo, "x86_64", lambda: True)[:2] == ["amx_bf16", "avx512_bf16"]
    assert build.instruction_sets(cpuinfo, "x86_64", lambda: False)[:2] == ["avx512_bf16", "avx512"]


def test_less_than_the_cpu_has_can_be_asked_for(tmp_path, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"flags\t\t: {EPYC}\n")
    monkeypatch.setenv(build.ISA_VARIABLE, "avx2")
    assert build.instruction_sets(cpuinfo, "x86_64") == ["avx2"]
    for asked in ("neon", "sse2", "AVX2"):
        monkeypatch.setenv(build.ISA_VARIABLE, asked)
        with pytest.raises(UsageError) as error:
            build.instruction_sets(cpuinfo, "x86_64")
        assert str(error.value) == (
            f"DENSENET_KERNELS_ISA is '{asked}', expected one of amx_bf16, avx512_bf16, avx512, "
            "avx2, neon; this CPU has avx512_bf16, avx512, avx2"
        )
    cpuinfo.write_text("flags\t\t: sse2\n")
    with pytest.raises(UsageError, match="this CPU has none of them"):
        build.instruction_sets(cpuinfo, "x86_64")
    monkeypatch.setenv(build.ISA_VARIABLE, "")
    assert build.instruction_sets(cpuinfo, "x86_64") == []


def test_compiled_on_first_use_and_found_afterwards(checkout):
    before = contents(checkout.folder)
    out, err = checkout.start().communicate(timeout=100)
    assert err == ""
    (library,) = checkout.libraries()
    logged, instruction_set, bf16, compiler, path, used = out.splitlines()
    assert re.fullmatch(rf"\S+ \S+:INFO:compiling the C\+\+ kernels for {BEST} .*g\+\+", logged)
    assert instruction_set == f"instruction set: {BEST}"
    assert bf16 == f"bf16: {'yes' if build.INSTRUCTION_SETS[BEST].has_bf16 else 'no'}"
    assert re.fullmatch(r"compiler: /\S+g\+\+, .*\d+\.\d+.*", compiler)
    assert path == f"library: {library}"
    assert re.fullmatch(re.escape(USED) + r"compiled in \d+\.\d s", used)
    assert sorted(file.name for file in library.parent.iterdir()) == [
        "compile.log",
        "libdensenet_kernels.sha256",
        "libdensenet_kernels.so",
        "lock",
    ]
    for level in (library.parent, checkout.kernels, checkout.kernels.parent, checkout.kernels.parent.parent):
        assert stat.S_IMODE(level.stat().st_mode) == 0o700, level
    written = library.stat()
    assert checkout.check() == USED + "found in the cache"
    assert library.stat() == written
    assert contents(checkout.folder) == before, "something was written in the source tree"
    assert list(checkout.temporary.iterdir()) == []


def test_usage(checkout):
    for words, variables, message in (
        ([], {}, "error: the following arguments are required: --check; --help shows the usage"),
        (["--chek"], {}, "error: the following arguments are required: --check; --help shows the usage"),
        (
            ["--check"],
            {build.ISA_VARIABLE: "sse2"},
            "error: DENSENET_KERNELS_ISA is 'sse2', expected one of amx_bf16,",
        ),
    ):
        process = checkout.start("-m", "src.ops.build", *words, **variables)
        out, err = process.communicate(timeout=100)
        assert (process.returncode, out) == (2, "")
        assert err.startswith(message)
        assert len(err.splitlines()) == 1
    assert not checkout.kernels.exists()


def test_each_instruction_set_has_its_own_library(checkout):
    checkout.check()
    assert checkout.check(**{build.ISA_VARIABLE: "avx2"}).startswith("the C++ kernels are used: avx2, ")
    for library in checkout.libraries():
        name = library.parent.name.split("-")[0]
        called = (library.parent / build.LOG_NAME).read_text()
        assert ("-mavx512vl" in called) == ("avx512vl" in build.INSTRUCTION_SETS[name].features)
        assert "-mavx2 -mfma" in called
        assert "native" not in called and "fast-math" not in called
    assert {path.parent.name.split("-")[0] for path in checkout.libraries()} == {BEST, "avx2"}


@pytest.mark.slow
def test_changed_sources_and_compilers_are_compiled_anew(checkout):
    cxx = checkout.compiler("")
    assert "compiled" in checkout.check(CXX=cxx)
    (checkout.sources / "twice.h").write_text("#include <cstdint>\n// changed\n")
    assert "compiled" in checkout.check(CXX=cxx)
    (checkout.sources / "more.cc").write_text("int more = 1;\n")
    assert "compiled" in checkout.check(CXX=cxx)
    os.utime(checkout.root / "compiler", (1, 1))
    assert "compiled" in checkout.check(CXX=cxx)
    (checkout.sources / "notes.txt").write_text("no source")
    assert "found in the cache" in checkout.check(CXX=cxx)
    assert checkout.calls() == len(checkout.libraries()) == 4


# As train.py does, so that the interrupt comes from a thread and wakes no system call.
HOLDING = (  # a signal that these tests were told to ignore, as by nohup, is not ignored
    "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    "from src.utils.signals import hold_interrupts; hold_interrupts(); from src.ops import build; "
    "from src.utils.errors import run; sys.exit(run(build.main, ['--check']))"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "number, status", [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP)]
)
def test_a_signal_ends_the_compiler_and_its_children_at_once(checkout, number, status):
    cxx = checkout.compiler("sleep 60 & echo $$ $! >pids; mv pids started; wait")
    process = checkout.start("-c", HOLDING, CXX=cxx)
    wait_for(checkout.root / "started")
    waiting = checkout.start("-c", HOLDING, CXX=cxx)
    assert "waiting for another process, which compiles the C++ kernels in" in waiting.stdout.readline()
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(timeout=10) == 130
    process.send_signal(number)
    assert process.wait(timeout=10) == status
    for pid in (checkout.root / "started").read_text().split():
        assert state_and_parent(int(pid))[0] in ("", "Z")  # an orphan's zombie is its adopter's
    assert checkout.libraries() == []
    for one in (process, waiting):
        one.communicate()


def test_without_a_compiler(checkout, tmp_path):
    (tmp_path / "empty").mkdir()
    process = checkout.start(PATH=str(tmp_path / "empty"))
    out, err = process.communicate(timeout=100)
    assert process.returncode == 1
    assert err == NOT_USED + "no C++ compiler was found; install g++, or name one in CXX\n"
    assert out.splitlines()[0] == f"instruction set: {BEST}"
    assert checkout.check(CXX="g++-0") == NOT_USED + "CXX names 'g++-0', which is no program; correct or unset it"
    assert checkout.check(CXX="g++ '") == (
        NOT_USED + 'CXX is "g++ \'", which is no command (No closing quotation); correct or unset it'
    )
    (tmp_path / "no program").write_bytes(b"\x7fELF")
    (tmp_path / "no program").chmod(0o755)
    assert checkout.check(CXX=f"'{tmp_path}/no program'") == (
        f"{NOT_USED}{tmp_path}/no program cannot be run (Exec format error); correct or unset CXX"
    )
    assert checkout.libraries() == list(checkout.temporary.iterdir()) == []


@pytest.mark.skipif(len(build.instruction_sets()) == 1, reason="this CPU has one instruction set")
def test_an_old_compiler_serves_with_what_it_knows(checkout):
    best, second = build.instruction_sets()[:2]
    (unknown, *_) = set(build.INSTRUCTION_SETS[best].flags) - set(build.INSTRUCTION_SETS[second].flags)
    cxx = checkout.compiler(f"""for word; do
  [ "$word" = {unknown} ] && echo "error: unrecognized option '$word'" >&2 && exit 1
done""")
    used = f"the C++ kernels are used: {second}, "
    assert re.fullmatch(
        rf"{re.escape(used)}compiled in .* s; the compiler does not know {best}", checkout.check(CXX=cxx)
    )
    assert checkout.check(CXX=cxx) == f"{used}found in the cache; the compiler does not know {best}"


def test_the_next_compiler_is_taken(checkout, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/c++").symlink_to(shutil.which("g++"))
    for tool in ("as", "ld"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    out = checkout.start(PATH=str(tmp_path / "bin")).communicate(timeout=100)[0]
    assert f"\ncompiler: {tmp_path}/bin/c++, " in out


def test_sources_that_do_not_compile(checkout):
    (checkout.sources / "twice.cc").write_text("int broken = ;\n")
    process = checkout.start()
    err = process.communicate(timeout=100)[1]
    assert process.returncode == 1
    (log,) = checkout.kernels.glob(f"*/{build.LOG_NAME}")
    message = r"/\S+g\+\+ does not compile them \((.*)\); all that it said is in (.*)\n"
    why, named = re.fullmatch(re.escape(NOT_USED) + message, err).groups()
    assert re.search(r"twice.cc:1:\d+: error: expected primary-expression", why)
    assert named == str(log)
    called, *said = log.read_text().splitlines()
    assert "-O3 -ffp-contract=fast -fopenmp" in called
    assert any("int broken = ;" in line for line in said)
    assert checkout.libraries() == list(checkout.temporary.iterdir()) == []
    (checkout.sources / "twice.cc").write_text(TWICE)
    assert "compiled" in checkout.check()


def test_several_sources_are_compiled_at_once(tmp_path, monkeypatch):
    """The compiler waits for a second one of its kind; of what they make only the library stays."""
    monkeypatch.setattr(compiling, "_at_once", lambda: 2)
    compiler, library, sources = tmp_path / "compiler", tmp_path / "library.so", [tmp_path / "a.cc", tmp_path / "b.cc"]
    compiler.write_text(f"""#!/bin/sh
case " $* " in *" -c "*)
  : >'{tmp_path}'/started.$$
  until [ "$(ls '{tmp_path}' | grep -c started)" -ge 2 ]; do sleep 0.02; done ;;
esac
exec g++ "$@"
""")
    compiler.chmod(0o755)
    for source in sources:
        source.write_text(f'extern "C" int {source.stem}() {{ return {ord(source.stem)}; }}\n')
    call = compiling.Call((str(compiler), "-shared", "-fPIC"), library, tuple(sources))
    compiling.compile_library(call, tmp_path / "log")
    assert [ctypes.CDLL(str(library))[name]() for name in "ab"] == [ord("a"), ord("b")]
    assert (tmp_path / "log").read_text() == shlex.join(
        [*map(str, (compiler, "-shared", "-fPIC", "-o", library, *sources))]
    ) + "\n"
    sources[1].write_text("int broken = ;\n")
    with pytest.raises(compiling.CompilationError, match=r"does not compile them \(\S+b.cc:1:\d+: error: expected"):
        compiling.compile_library(call, tmp_path / "log")
    assert not list(tmp_path.glob("*.o"))


def test_a_compiler_that_only_fails(checkout):
    line = checkout.check(CXX=checkout.compiler("exit 3"))
    assert f"{NOT_USED}{checkout.root}/compiler does not compile them (exit status 3); all that it" in line
    assert checkout.calls() == 1


def test_sources_that_change_while_they_are_compiled(checkout):
    cxx = checkout.compiler(f"echo '// changed' >>'{checkout.sources}/twice.cc'")
    assert checkout.check(CXX=cxx) == f"{NOT_USED}{checkout.sources} changed while it was compiled; start again"
    assert checkout.libraries() == []


def test_the_kernels_are_asked_for_once_a_process(tmp_path, monkeypatch):
    sources = write_sources(tmp_path / "sources")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = build.kernels(sources)
    assert "compiled" in found.reason
    shutil.rmtree(tmp_path / "cache")
    assert build.kernels(sources) is found


@pytest.mark.slow
@pytest.mark.parametrize("instruction_set", [name for name in OF_X86 if name not in INSTRUCTION_SETS])
def test_our_sources_compile_without_a_warning(instruction_set):
    """Those of this CPU are compiled with the same warnings, optimised too, in test_sanitizers.py.

    The largest one, in which all of the code is, is also optimised: some warnings come of what that finds out. In one
    text the headers are read once.
    """
    effort = ["-O1"] if instruction_set == OF_X86[0] else ["-fsyntax-only"]
    flags = [*FLAGS, *build.INSTRUCTION_SETS[instruction_set].flags, *effort, "-Wall", "-Wextra", "-Werror"]
    kept_program(["g++"], flags, [build.SOURCES], *sorted(build.SOURCES.rglob("*.cc")), in_one_text=True)
