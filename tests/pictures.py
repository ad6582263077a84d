"""Whether the commands that tests run in this process draw: it takes a third of the time of a tiny run."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from src.datasets.preview import save_preview
from src.training.evaluation_report import draw_confusion
from src.training.recorder import draw_curves

DRAWINGS = {
    "src.training.begin.save_preview": save_preview,
    "src.training.recorder.draw_curves": draw_curves,
    "src.training.evaluation_report.draw_confusion": draw_confusion,
}


@contextmanager
def pictures() -> Iterator[None]:
    """Draw, inside the `with`."""
    with _drawn_by(DRAWINGS):
        yield


@contextmanager
def no_pictures() -> Iterator[None]:
    """Leave pictures empty, inside the `with`."""
    with _drawn_by(dict.fromkeys(DRAWINGS, _leave_empty)):
        yield


def _leave_empty(*arguments: object) -> None:
    (path,) = (argument for argument in arguments if isinstance(argument, Path))
    path.touch()


@contextmanager
def _drawn_by(functions: Mapping[str, Callable]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for place, function in functions.items():
            patch.setattr(place, function)
        yield
