"""The report that the tests look at, and that a browser opens."""

import pytest
from shared import made_once

import eval as evaluation
from src.utils.checkpoint_names import list_checkpoints


@pytest.fixture(scope="session")
def report(tmp_path_factory, trained_run):
    """The report of an evaluation; the evaluation's own results are in `out` beside it."""

    def make(folder):
        flags = ["--report", str(folder / "report.html"), "--save_ckpt_path", str(folder / "out")]
        evaluation.main(["--ckpt_files", str(list_checkpoints(trained_run)[0]), *flags])

    return made_once(tmp_path_factory, "report", make) / "report.html"
