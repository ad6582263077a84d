"""Words in pictures: as they are written, in a font that has them, or as numbers."""

import warnings

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from src.utils import plotting
from src.utils.errors import ReportedError
from src.utils.plotting import families_with, words, write_picture


def drawn(texts) -> np.ndarray:
    """The pixels of the texts drawn below each other, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with words(texts) as shown:
            figure = Figure(figsize=(4, 2))
            axes = figure.subplots()
            axes.set_yticks(range(len(shown)), shown)
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            return np.asarray(canvas.buffer_rgba()).copy()


@pytest.mark.parametrize("name", ["cash_$_and_$_", "$x^2$", "$\\frac{1}{", "100 %", "a\\b"])
def test_no_mathematics(name):
    assert not np.array_equal(drawn([name]), drawn(["x"]))
    with words([name]) as shown:
        assert shown == [name]


def lacking(*families: str) -> str:
    """A letter that some installed font has, but none of `families` (the usual one among them)."""
    have = set()
    for entry in font_manager.fontManager.ttflist:
        if entry.name in (*families, "DejaVu Sans"):
            have |= set(font_manager.get_font(entry.fname).get_charmap())
    others = dict(plotting._other_fonts())
    return chr(min(set(font_manager.get_font(others["STIXGeneral"]).get_charmap()) - have))


def test_a_font_that_has_the_letters_is_found():
    letter = lacking()
    families = families_with(frozenset(letter + "a"))
    assert families[0] == "sans-serif" and len(families) == 2
    with words([letter]) as shown:
        assert shown == [letter]
    assert not np.array_equal(drawn([letter]), drawn([" "]))


def test_without_one_the_numbers_and_a_line(capsys, monkeypatch):
    monkeypatch.setattr(plotting, "_other_fonts", tuple)
    families_with.cache_clear()
    try:
        with words(["cat", "塔"]) as shown:
            assert shown == ["0", "1"]
        assert np.array_equal(drawn(["塔", "猫"]), drawn(["0", "1"]))
    finally:
        families_with.cache_clear()
    assert "no installed font has 塔: pictures show the numbers of the classes; install one" in capsys.readouterr().out


def test_a_picture_that_cannot_be_drawn_is_a_line(tmp_path, capsys):
    def draw(_path):
        raise ValueError("no such font")

    write_picture(tmp_path / "matrix.png", draw)
    assert "WARNING:matrix.png could not be drawn (ValueError: no such font)" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error(tmp_path):
    def draw(_path):
        raise OSError(28, "No space left on device")

    with pytest.raises(ReportedError, match=r"matrix\.png: No space left on device"):
        write_picture(tmp_path / "matrix.png", draw)
