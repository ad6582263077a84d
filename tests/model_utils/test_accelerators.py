"""GPUs that MindSpore's plugin has no code for: a sentence before the first operator, not a crash in it."""

import pytest

from src.model_utils import device_adapter
from src.model_utils.accelerators import ask, gpus, numbers_of, unfit
from src.utils.errors import ReportedError

OLD, FIT, NEW = "Tesla M60, 5.2, 470.1", "NVIDIA A10, 8.6, 535.1", "NVIDIA H100, 9.0, 535.1"


def test_what_nvidia_smi_prints_is_read_and_anything_else_is_nothing():
    found = gpus(lambda _: f"{OLD}\n{NEW}\n\nno such device\nA, [N/A], 1\n")
    assert [(gpu.name, gpu.capability, gpu.driver) for gpu in found] == [
        ("Tesla M60", (5, 2), "470.1"),
        ("NVIDIA H100", (9, 0), "535.1"),
    ]
    assert [bool(unfit(gpu)) for gpu in gpus(lambda _: f"{OLD}\n{FIT}\n{NEW}\nX, 6.0, 1\nX, 8.9, 1")] == [
        *(True, False, True, False, False)
    ]


@pytest.mark.parametrize(("text", "numbers"), [("25.0.rc1", (25, 0)), (" 2.10.0", (2, 10, 0)), ("rc1", ()), ("", ())])
def test_the_numbers_of_a_version(text, numbers):
    assert numbers_of(text) == numbers


@pytest.mark.parametrize(
    ("smi", "error", "logged"),
    [(OLD, "kernels begin with 6.0; use another GPU", ""), (NEW, "", "9.0, which CUDA 11.6"), (FIT, "", ""),
     (f"{OLD}\n{FIT}", "", ""), ("", "", "")],
)  # fmt: skip
def test_a_command_on_gpus_says_so_before_it_begins(monkeypatch, capsys, smi, error, logged):
    monkeypatch.setattr(device_adapter, "ask", lambda _: smi)
    if error:
        with pytest.raises(ReportedError, match=error):
            device_adapter._check_gpus()
        return
    device_adapter._check_gpus()
    said = capsys.readouterr().out
    assert (logged in said) if logged else said == ""


def test_a_program_that_is_not_there_or_fails_says_nothing():
    assert ask(["no such program"]) == "" and ask(["false"]) == "" and ask(["echo", "x"]) == "x\n"
    assert ask(["sleep", "5"], 0.1) == ""
