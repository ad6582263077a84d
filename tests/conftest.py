"""The device, the C++ kernels, and one real training run that the tests of the commands look at."""

import gc
from pathlib import Path

import pytest
from commands import train_tiny
from mindspore.graph.api import _CellGraphExecutor

from src.model_utils.device_adapter import set_up_device
from src.ops.build import kernels


@pytest.fixture(scope="session", autouse=True)
def cpu() -> None:
    """MindSpore takes its device before the first operator only: once for all tests, in whatever order they run."""
    set_up_device("CPU", 0, deterministic=True)


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> None:
    """Each network is compiled once, and not a second time at its second step.

    MindSpore 2.10 forgets the shapes of a network's inputs when another one that was compiled for the same shapes is
    collected. Its own `gc.collect()` in the middle of a compilation does that; done before it, nothing is lost.
    """
    compile_network = _CellGraphExecutor.compile

    def collect_and_compile(executor, network, *arguments, **named):
        if not network.compile_cache:
            gc.collect()
        return compile_network(executor, network, *arguments, **named)

    gc.freeze()  # what the libraries have made stays: collections need not look at it
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_CellGraphExecutor, "compile", collect_and_compile)
        yield


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels() -> None:
    """All tests share the user's cache of them, so they are compiled once, and not while a test counts seconds."""
    kernels()


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory) -> Path:
    """The folder of two epochs on the bundled digits, evaluated after each. Not to be written to: copy it."""
    return train_tiny(tmp_path_factory.mktemp("trained"), "--eval_data_dir", "bundled", "--max_epoch", 2)
