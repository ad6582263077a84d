"""The report: its numbers are the evaluation's, nothing in it is read from elsewhere, and a browser finds no fault."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from commands import only
from evaluated_pictures import HOSTILE, evaluated

import eval as evaluation
from src.report.page import write_page
from src.utils.checkpoint import load_checkpoint
from src.utils.checkpoint_names import list_checkpoints
from src.utils.errors import UsageError
from src.utils.files import sha256_of

pytestmark = pytest.mark.slow


class Resources(HTMLParser):
    """Collects what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attributes) -> None:
        self.tags.append(tag)
        self.found += [value for name, value in attributes if name in ("src", "href", "xlink:href", "data", "action")]


def resources(page) -> Resources:
    found = Resources()
    found.feed(page.read_text("utf-8"))
    return found


def test_its_numbers_are_those_of_the_evaluation(report, trained_run):
    text = report.read_text("utf-8")
    folder = only(report.parent / "out")
    correct, total = map(int, re.search(r"top1_correct=(\d+), tot=(\d+)", (folder / "eval.log").read_text()).groups())
    assert f'<p class="headline">{100 * correct / total:.2f} %</p>' in text
    assert f"<li><b>{correct}</b> right</li>" in text
    z, share = 1.959964, correct / total
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    for bound in (middle - half, middle + half):
        assert f"<strong>{100 * bound:.2f} %</strong>" in text
    for line in (folder / "per_class_accuracy.csv").read_text().splitlines()[1:]:
        name, images, right, recall, *_ = line.split(",")
        row = f'<th scope="row">{name}</th><td>{images}</td><td>{right}</td><td>{100 * float(recall):.2f} %</td>'
        assert row in text
    checkpoint = list_checkpoints(trained_run)[0]
    assert sha256_of(checkpoint) in text
    assert load_checkpoint(checkpoint).metadata["data"]["eval"]["sha256"] in text
    assert text.count('class="example"') == 24
    assert text.count("data:image/jpeg;base64,") == 48
    assert 'id="training"' in text


def test_it_loads_nothing(report):
    found = resources(report)
    assert found.found
    assert all(value.startswith(("data:image/", "#")) for value in found.found)
    assert "link" not in found.tags
    assert not re.search(r"@import|url\((?!#)", report.read_text("utf-8"))


def test_names_are_text(tmp_path):
    names = [HOSTILE, "a & b", '"', "$x_1$", "名前"]
    write_page(tmp_path / "page.html", evaluated(tmp_path, 5, 40, names=names))
    found = resources(tmp_path / "page.html")
    assert found.tags.count("script") == 1
    text = (tmp_path / "page.html").read_text("utf-8")
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text
    assert "a &amp; b" in text


@pytest.mark.parametrize(
    ("classes", "images"), [(1, 3), (2, 5), (12, 30), (13, 30), (100, 500), (1000, 3000), (10_000, 50)]
)
def test_any_number_of_classes(tmp_path, classes, images):
    write_page(tmp_path / "page.html", evaluated(tmp_path, classes, images, empty=min(1, classes - 1)))
    text = (tmp_path / "page.html").read_text("utf-8")
    assert ('class="matrix"' in text) == (classes <= 12)
    assert ('class="matrix-picture"' in text) == (12 < classes <= 1500)
    assert len(text) < 2_000_000


@pytest.mark.parametrize("right", [True, False])
def test_all_right_and_all_wrong(tmp_path, right):
    labels = np.arange(20) % 4
    logits = np.eye(4, dtype=np.float32)[labels if right else (labels + 1) % 4]
    write_page(tmp_path / "page.html", evaluated(tmp_path, 4, 20, logits=logits))
    text = (tmp_path / "page.html").read_text("utf-8")
    assert f"There is none: every answer is {'right' if right else 'wrong'}" in text
    assert text.count('class="example"') == 12


@pytest.mark.parametrize(
    "history",
    [
        "none", [None, 3], [{}, {"epoch": "one"}], [{"epoch": 1, "loss": float("nan"), "top1": [1]}] * 3,
        [{"epoch": 1, "loss": 2.0, "top1": ""}, {"epoch": 2, "loss": 1.0, "top1": 0.5}],
    ],
)  # fmt: skip
def test_a_history_that_nobody_vouches_for(tmp_path, history):
    write_page(tmp_path / "page.html", evaluated(tmp_path, 3, 9, history=history))
    assert (tmp_path / "page.html").stat().st_size > 1000


def test_ten_thousand_images_are_less_than_five_megabytes(tmp_path):
    write_page(tmp_path / "page.html", evaluated(tmp_path, 1000, 10_000))
    assert (tmp_path / "page.html").stat().st_size < 5_000_000


def test_what_is_there_is_not_overwritten(trained_run, tmp_path):
    (tmp_path / "page.html").write_text("kept")
    checkpoint = ["--ckpt_files", str(trained_run / "best.ckpt"), "--save_ckpt_path", str(tmp_path / "out")]
    with pytest.raises(UsageError, match=r"page\.html exists and is not overwritten"):
        evaluation.main([*checkpoint, "--report", str(tmp_path / "page.html")])
    with pytest.raises(UsageError, match="a report is of one checkpoint"):
        evaluation.main(["--ckpt_files", str(trained_run), "--report", str(tmp_path / "new.html")])
    assert (tmp_path / "page.html").read_text() == "kept"
