"""docs/configuration.md and docs/zh/configuration.md show the schema as it is."""

import re

import pytest
from commands import ROOT

from scripts import write_configuration_docs
from scripts.write_configuration_docs import documents, main
from src.schema.options import OPTIONS
from src.utils.errors import ReportedError, UsageError


@pytest.mark.parametrize("path", documents())
def test_the_document_is_up_to_date(path):
    assert path.read_text("utf-8") == documents()[path], "run python scripts/write_configuration_docs.py"


@pytest.mark.parametrize("name", ["docs/configuration.md", "docs/zh/configuration.md"])
def test_each_key_has_one_row_with_its_defaults(name):
    text = (ROOT / name).read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \| (.+) \|$", text, re.M)
    assert [row[0] for row in rows] == [option.name for option in OPTIONS]
    by_name = {row[0]: row[1:] for row in rows}
    assert by_name["lr_epochs"][1:4] == ("`30,60,90`", "`150,225`", "train")
    assert by_name["per_batch_size"][1:4] == ("`32`", "`64`", "train eval eval_onnx predict")
    assert by_name["decay_norm_and_bias"][1:3] == ("`false`", "`true`")
    assert by_name["file_format"][0] == "`AIR`, `MINDIR`, `ONNX`, `ENGINE`"
    assert by_name["momentum"][0].endswith("≥ 0, < 1")
    assert by_name["resume"][1:3] == ("", "")


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("  lr_gamma:", "  lr_gama:", "of lr_gamma, and knows lr_gama besides"),
        ('en: "initial learning rate', 'en: "learning rate', "of lr, and knows nothing besides"),
    ],
)
def test_a_key_without_its_chinese_meaning_is_named(tmp_path, monkeypatch, old, new, message):
    text = write_configuration_docs.CHINESE.read_text("utf-8")
    assert text.count(old) == 1
    changed = tmp_path / "keys.yaml"
    changed.write_text(text.replace(old, new), "utf-8")
    monkeypatch.setattr(write_configuration_docs, "CHINESE", changed)
    monkeypatch.setattr(write_configuration_docs, "ROOT", tmp_path)
    with pytest.raises(ReportedError, match=message):
        documents()


def test_it_takes_no_arguments():
    with pytest.raises(UsageError, match="usage"):
        main(["--help"])
