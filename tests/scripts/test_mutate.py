"""The mutations still fit the code; what the tests make of them is for `scripts/mutate.py` itself to say."""

import pytest
from commands import ROOT
from mutations import MUTATIONS, Mutation

from scripts import mutate
from src.utils.errors import ReportedError, run


def test_there_are_forty_one_different_ones():
    assert len({(mutation.place, mutation.before, mutation.after) for mutation in MUTATIONS}) == len(MUTATIONS) == 41


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.what)
def test_each_can_be_made_and_names_tests_that_are_there(mutation):
    path, text = mutate.mutated(ROOT, mutation)
    assert text != path.read_text("utf-8")
    for test in mutation.tests:
        file, _, name = test.partition("::")
        assert name.partition("[")[0] in (ROOT / file).read_text("utf-8")


HALF = "def half(x):\n    return x / 2\n"
TEST = "from half import half\n\n\ndef test_half():\n    assert half(4) == 2\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "found"),
    [("x / 2", "x / 3", "noticed"), ("x / 2", "x * 0.5", "SURVIVED"), ("y / 2", "y", "does not apply")],
)
def test_what_is_said_of_one(before, after, found, tmp_path):
    (tmp_path / "half.py").write_text(HALF)
    (tmp_path / "test_half.py").write_text(TEST)
    assert mutate.outcome(tmp_path, Mutation("half", "*.py", before, after, ("test_half.py",))) == found
    assert (tmp_path / "half.py").read_text() == HALF


def test_what_is_there_twice_is_not_replaced(tmp_path):
    (tmp_path / "half.py").write_text(HALF * 2)
    with pytest.raises(ReportedError, match=r"is in \*\.py 2 times, expected once"):
        mutate.mutated(tmp_path, Mutation("half", "*.py", "x / 2", "x", ()))


def test_a_copy_holds_what_git_knows_of(tmp_path):
    copy = mutate.copy_checkout(tmp_path / "copy")
    for name in ("pyproject.toml", "src/ops/cpp/parts/sgd.cc", "tests/commands.py"):
        assert (copy / name).read_bytes() == (ROOT / name).read_bytes()
    assert not (copy / ".git").exists()


@pytest.mark.parametrize("flags", [["--only", str(len(MUTATIONS) + 1)], ["--only", "0"], ["--jobs", "0"], ["--all"]])
def test_bad_usage(flags, capsys):
    assert run(mutate.main, flags) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
