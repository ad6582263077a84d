"""The device, the C++ kernels, and one real training run that the tests of the commands look at."""

import src  # noqa: F401, I001, its variables have to be there before MindSpore loads, which `commands` imports

import gc
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import answer_nothing, compute_nothing, few_digits, only, train_tiny
from forked import Forks, forks
from mindspore.graph.api import _CellGraphExecutor
from pictures import no_pictures, pictures
from shared import made_once

from src.model_utils.device_adapter import set_up_device
from src.ops.build import kernels

# With two files at a time: a long one that begins last would leave one of the two workers idle.
LONGEST_FILES = (
    "test_launch.py", "test_distributed.py", "test_resume.py", "test_infer_310.py", "test_torch_parity.py",
    "test_sanitizers.py", "test_scripts.py", "test_benchmark.py", "test_train_keys.py", "test_bad_inputs.py",
    "test_configs.py", "test_ops_commands.py", "test_cpp_robustness.py", "test_cpp_preprocessing.py",
    "test_network_keys.py", "test_numerics.py", "test_modelarts.py", "test_build.py", "test_engine_library.py",
    "test_fuzz.py", "test_full_disk.py", "test_trainer.py", "test_graph_cache.py", "test_densenet.py",
    "test_several_labels.py", "test_recompute.py", "test_engine.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; `scripts/test.sh` has xdist keep this order."""
    place = {name: number for number, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


# Compiled graphs are kept for a script, which MindSpore reads: a worker of xdist was started without one.
if not sys.argv[0].endswith(".py"):
    sys.argv[0] = __file__


# Tests send signals. Whoever started them in the background, or with nohup, had these ignored, which is inherited.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)


@pytest.fixture(scope="session", autouse=True)
def cpu() -> None:
    """MindSpore takes its device before the first operator only: once for all tests, in whatever order they run."""
    set_up_device("CPU", 0, deterministic=True)


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[None]:
    """Each network is compiled once, and not a second time at its second step.

    MindSpore 2.10 forgets the shapes of a network's inputs when another one that was compiled for the same shapes is
    collected. Its own `gc.collect()` in the middle of a compilation does that; done before it, nothing is lost.
    """
    compile_network = _CellGraphExecutor.compile

    def collect_and_compile(executor, network, *arguments, **named):
        if not network.compile_cache:
            gc.collect()
        return compile_network(executor, network, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_CellGraphExecutor, "compile", collect_and_compile)
        yield


@pytest.fixture(scope="module", autouse=True)
def looked_at_once() -> None:
    """What libraries and other files' tests have made stays: collections, a tenth of the time, need not look at it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory) -> Iterator[None]:
    """What processes leave behind that tests kill is among the files of the tests, which pytest removes."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("temporary"))
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session", autouse=True)
def nothing_is_drawn() -> Iterator[None]:
    """Unless a test asks for `drawn`."""
    with no_pictures():
        yield


@pytest.fixture
def drawn() -> Iterator[None]:
    """Pictures are drawn, for tests that look at them."""
    with pictures():
        yield


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels() -> None:
    """All tests share the user's cache of them, so they are compiled once, and not while a test counts seconds."""
    kernels()


@pytest.fixture
def no_steps(monkeypatch) -> None:
    """What the test looks at comes before the first step, or after the last one."""
    compute_nothing(monkeypatch)


@pytest.fixture
def no_answers(monkeypatch) -> None:
    """How pictures are answered in evaluations is not what the test looks at."""
    answer_nothing(monkeypatch)


@pytest.fixture(scope="module")
def little_to_read() -> Iterator[None]:
    """What a file's tests look at is seen on few digits."""
    with pytest.MonkeyPatch.context() as patch:
        few_digits(patch)
        yield


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory) -> Path:
    """The folder of two epochs on the bundled digits, evaluated after each. Not to be written to: copy it."""
    flags = ["--eval_data_dir", "bundled", "--max_epoch", 2]
    with pictures():
        return only(made_once(tmp_path_factory, "trained", lambda folder: train_tiny(folder, *flags)))


@pytest.fixture(scope="session")
def forked() -> Iterator[Forks]:
    """Runs commands as processes without their imports."""
    with forks() as found:
        yield found
