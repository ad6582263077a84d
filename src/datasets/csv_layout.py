"""What the columns of a CSV file of pictures mean: this project's own, and those of public sets of radiographs.

| Set | Columns |
|---|---|
| this project | `image`; `label`, with `|` between several, or a column a class; `group` |
| ChestX-ray14 | `Image Index`, `Finding Labels` (`No Finding`: none of the classes), `Patient ID` as group |
| CheXpert | `Path`, a column a class (1, 0, -1, empty); the folder `patient00001` in the path as group |
| MURA | no header: paths, or folders and 0 or 1; `study1_positive` in the path is the label, `patient00001` the group |
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from src.utils.errors import ReportedError
from src.utils.shown import printable

IMAGE = ("image", "image index", "path", "image_path", "filename", "file_name", "file")
LABEL = ("label", "labels", "finding labels", "class")
GROUP = ("group", "patient id", "patient_id", "patient", "subject_id", "study_id")
# Of public sets, what says something about a picture that is no class.
OTHER = (
    "sex", "age", "frontal/lateral", "ap/pa", "follow-up #", "patient age", "patient gender", "view position",
    "originalimage[width", "height]", "originalimagepixelspacing[x", "y]", "split", "",
)  # fmt: skip
PATIENT = re.compile(r"(?:^|/)(patient\d+)/")
MURA_LABEL = re.compile(r"(?:^|/)study\d+_(positive|negative)(?:/|$)")
EXPECTED = "a CSV file whose first line names its columns, such as image,label"


@dataclass(frozen=True)
class Layout:
    """Numbers of columns: label is -1 where `classes`, pairs of a name and a number, are given instead; group -1: none.

    is_mura: there is no header, see above.
    """

    width: int
    image: int
    label: int = -1
    classes: tuple[tuple[str, int], ...] = ()
    group: int = -1
    is_mura: bool = False


def layout_of(header: Sequence[str], where: str) -> Layout:
    """What the first row of the file `where` says. Raises ReportedError when it says no image or no label."""
    if len(header) <= 2 and MURA_LABEL.search(header[0]):
        return Layout(len(header), 0, label=len(header) - 1, is_mura=True)
    names = [name.strip().lower() for name in header]
    shown = printable(",".join(header))[:100]
    image, label, group = (_first(names, known) for known in (IMAGE, LABEL, GROUP))
    if image < 0:
        raise ReportedError(f"{where} line 1: found no column image in {shown!r}; expected {EXPECTED}")
    named = {image, label, group}
    classes = () if label >= 0 else tuple((header[i].strip(), i) for i in range(len(names)) if i not in named)
    classes = tuple((name, i) for name, i in classes if names[i] not in (*IMAGE, *GROUP, *OTHER))
    if label < 0 and not classes:
        raise ReportedError(
            f"{where} line 1: found neither a column label nor columns of classes in {shown!r}; expected {EXPECTED}"
        )
    used = [names[i] for i in named if i >= 0] + [names[i] for _, i in classes]
    twice = [name for name, count in Counter(names).items() if count > 1 and name in used]
    if twice:
        raise ReportedError(f"{where} line 1: the column {printable(twice[0])!r} is there twice; keep one of them")
    odd = [name for name, _ in classes if not name.isprintable()]
    if odd:
        raise ReportedError(f"{where} line 1: the class {printable(odd[0])!r} is not plain text; rename it")
    return Layout(len(header), image, label, classes, group)


def _first(names: Sequence[str], known: Sequence[str]) -> int:
    return next((names.index(name) for name in known if name in names), -1)
