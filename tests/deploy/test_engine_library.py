"""The engine's library under the compilers' sanitizers, with hundreds of damaged files; what it is made of."""

import hashlib
import platform
import re
import subprocess

import numpy as np
import pytest
from documents import blocks
from shared import kept_program
from test_engine import SMALL, WRONG, changed_header, described, random_network, written
from test_engine_int8 import WRONG_INT8, made_int8

from src.deploy.engine_library import ENGINE, LEFT_OUT, engine_flags, engine_sources
from src.deploy.engine_model import EngineModel
from src.ops.build import SOURCES
from src.ops.compile import find_compiler
from src.ops.cpu import ENGINE_SETS, ISA_VARIABLE, instruction_sets

DRIVER = ENGINE.parent / "tests/deploy/engine_drivers/drive_engine.cc"
MUTATIONS = 300
IMAGES = np.sin(np.arange(2 * 3 * 9 * 9, dtype=np.float32)).reshape(2, 3, 9, 9)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    network = random_network(**SMALL)
    return written(network, described(network, 9), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def int8_model(tmp_path_factory):
    return made_int8(SMALL, 9, tmp_path_factory.mktemp("int8"))[4]


def compiled(*sanitizers):
    """The driver, with all of the engine."""
    flags = ["-std=c++17", "-O0", "-g1", "-Wall", "-Wextra", "-Werror", "-fopenmp", *sanitizers]
    flags += engine_flags(instruction_sets(known=ENGINE_SETS)[0])
    return kept_program(find_compiler(), flags, [SOURCES, ENGINE], *engine_sources(), DRIVER, in_one_text=True)


@pytest.fixture(scope="module")
def checked():
    """The driver that stops at the first access outside of its memory and at undefined behaviour."""
    return compiled("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def printed_by(*command):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_checksums_are_sha256_of_any_length():
    flags = ["-std=c++17", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sources = (ENGINE / "sha256.cc", DRIVER.with_name("drive_sha256.cc"))
    program = kept_program(find_compiler(), flags, [ENGINE], *sources, in_one_text=True)
    lengths = 200  # over three blocks of 64 bytes
    assert printed_by(program, lengths) == [hashlib.sha256(b"x" * length).hexdigest() for length in range(lengths + 1)]


def mutated(data, random):
    """The bytes of a file, of which some are changed, left out or doubled; mostly of the header."""
    data = bytearray(data)
    header = 8 + int.from_bytes(data[:8], "little")
    for _ in range(random.integers(1, 4)):
        end = header if random.random() < 0.8 else len(data)
        at = int(random.integers(end))
        length = int(random.integers(1, 9))
        change = random.integers(5)
        if change == 0:
            data[at] = random.integers(256)
        elif change == 1:
            del data[at : at + length]
        elif change == 2:
            data[at:at] = data[at : at + length]
        elif change == 3:
            data[at : at + 1] = random.choice(list(b'0129-"{}[],:.eE\\')).tobytes()[:1]
        else:
            del data[int(random.integers(len(data))) :]
            header = min(header, max(len(data), 1))
        data = data or bytearray(b"\0")
    return bytes(data)


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_damaged_files_are_refused_in_one_sentence(kind, checked, model, int8_model, tmp_path):
    model, wrong = (int8_model, WRONG_INT8) if kind == "int8" else (model, WRONG)
    random = np.random.default_rng(0)
    # As older versions wrote it: a checksum would refuse what only the rest of the loader has to notice.
    good = changed_header(model.read_bytes(), lambda header: header["__metadata__"].pop("densenet_sha256"))
    files = [mutated(good, random) for _ in range(MUTATIONS)] + [change(good) for change, _ in wrong.values()]
    paths = [tmp_path / f"{i}.engine" for i in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    lines = printed_by(checked, "load", *paths, model)
    assert len(lines) == len(files) + 1
    assert lines[-1].startswith("answers ")
    refused = [line for line in lines if not line.startswith("answers ")]
    assert len(refused) > 0.7 * MUTATIONS
    for path, line in zip(paths, lines[:-1], strict=True):
        assert line.startswith((f"{path}", "answers ")), line


def test_a_forked_process_answers(checked, model):
    assert printed_by(checked, "fork", model) == ["child 7, parent 1"]


def test_threads_answer_at_once(model):
    """Under the thread sanitizer, with the kernels' team of four."""
    assert printed_by(compiled("-fsanitize=thread", "-DDENSENET_THREADS=4"), "threads", model) == ["0 wrong"]


def test_the_kernels_of_amx_compute_the_same(model, int8_model):
    """With its instructions, and those of AVX-512 and VNNI, made of others (tests/ops/emulated)."""
    if platform.machine() != "x86_64":
        pytest.skip("the instructions are x86's")
    files = [path for path in engine_sources() if path.name not in ("engine.cc", "instruction_sets.cc")]
    flags = ["-std=c++17", "-O0", "-Wno-psabi", "-Ddensenet=densenet_emulated", "-mavx2", "-mfma", "-fopenmp"]
    flags += ["-include", "immintrin.h"]  # the emulated one, which says what there is
    folders = [ENGINE.parent / "tests/ops/emulated", SOURCES, ENGINE]
    driver = DRIVER.with_name("drive_network.cc")
    program = kept_program(["g++"], flags, folders, *files, driver, in_one_text=True)
    exact, bf16 = (np.array(line.split(), float) for line in printed_by(program, model))
    expected = EngineModel(model)(IMAGES).ravel()
    np.testing.assert_allclose(exact, expected, atol=1e-5 * np.abs(expected).max())
    assert 1e-5 < np.abs(bf16 - expected).max() / np.abs(expected).max() < 0.05
    int8, _ = (np.array(line.split(), float) for line in printed_by(program, int8_model))
    expected = EngineModel(int8_model)(IMAGES).ravel()
    np.testing.assert_allclose(int8, expected, atol=1e-5 * np.abs(expected).max())


def test_the_lines_of_the_page_compile(tmp_path):
    (program,) = blocks("docs/engine.md", "c")
    assert blocks("docs/zh/engine.md", "c") == [program]
    (tmp_path / "page.c").write_text(program)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ENGINE}"]
    subprocess.run(["gcc", *flags, tmp_path / "page.c"], check=True)


def test_the_script_builds_one_library_for_every_processor(model, int8_model, tmp_path):
    """Each of this CPU's instruction sets gives the answers of the library that Python compiles for the best alone."""
    out = tmp_path / "an engine"
    done = subprocess.run(["bash", ENGINE.parent / "scripts/build_engine.sh", out], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    IMAGES.tofile(tmp_path / "images")
    for file in (model, int8_model):
        expected = EngineModel(file)(IMAGES)
        for name in instruction_sets(known=ENGINE_SETS):
            command = ["env", f"{ISA_VARIABLE}={name}", out / "densenet_engine", file, tmp_path / "images"]
            answers = np.array([line.split() for line in printed_by(*command)], float)
            np.testing.assert_allclose(answers, expected, atol=1e-5 * np.abs(expected).max(), err_msg=name)


def test_the_standalone_build_has_the_same_instruction_sets():
    """engine/CMakeLists.txt names the flags that cpu.py has, and the kernels that engine_library.py leaves out."""
    text = (ENGINE / "CMakeLists.txt").read_text("utf-8")
    (left_out,) = re.findall(r'EXCLUDE REGEX "/\((.*?)\)', text)
    assert {f"{name}.cc" for name in left_out.split("|")} == set(LEFT_OUT)
    found = {name: tuple(flags.split()) for name, flags in re.findall(r"^densenet_set\((\w+) ?(.*)\)$", text, re.M)}
    assert found == {name: one.flags for name, one in ENGINE_SETS.items()}
    assert all(f"DENSENET_HAS_{name}" in (ENGINE / "instruction_sets.cc").read_text("utf-8") for name in found)
