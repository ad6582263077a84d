"""The report that the tests look at, and that a browser opens."""

import numpy as np
import pytest
from evaluated_pictures import evaluated
from shared import made_once

import eval as evaluation
from src.report.page import write_page
from src.utils.checkpoint_names import list_checkpoints


@pytest.fixture(scope="session")
def report(tmp_path_factory, trained_run):
    """The report of an evaluation; the evaluation's own results are in `out` beside it."""

    def make(folder):
        flags = ["--report", str(folder / "report.html"), "--save_ckpt_path", str(folder / "out")]
        evaluation.main(["--ckpt_files", str(list_checkpoints(trained_run)[0]), *flags])

    return made_once(tmp_path_factory, "report", make) / "report.html"


@pytest.fixture(scope="session")
def multilabel_report(tmp_path_factory):
    """A report of 14 classes, any number of them a picture, that are told apart more or less well."""

    def make(folder):
        random = np.random.default_rng(3)
        labels = (random.random((300, 14)) < np.linspace(0.05, 0.5, 14)).astype(np.int8)
        logits = (labels - 0.5) * np.linspace(0.5, 4, 14) + random.normal(size=labels.shape)
        labels[random.random(labels.shape) < 0.1] = -1
        names = [f"finding {k}" for k in range(14)]
        history = [{"epoch": e + 1, "loss": 1 / (e + 1), "auroc": 0.5 + 0.1 * e} for e in range(4)]
        found = evaluated(
            folder, 14, 300, task="multilabel", labels=labels, logits=logits.astype(np.float32), names=names,
            temperature=1.5, history=history,
        )  # fmt: skip
        write_page(folder / "report.html", found)

    return made_once(tmp_path_factory, "multilabel_report", make) / "report.html"
