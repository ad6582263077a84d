"""Labels of the C++ program's results are compared by the classes' names before anything runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from src.datasets.class_names import unnamed_classes
from src.datasets.preprocessing import default_preprocessing
from src.deploy import write_labels
from src.deploy.infer_flags import check_cifar10, check_folder, check_labelled
from src.deploy.labels import read_csv_labels, read_labels, result_name
from src.deploy.manifest import Manifest, write_manifest
from src.network.architecture import architecture
from src.utils.errors import ReportedError

UNKNOWN = "class folders that the network does not know"


def manifest(names: tuple[str, ...], dataset: str = "folder") -> Manifest:
    arch = architecture("densenet100", len(names))
    return Manifest("MINDIR", "float32", 1, dataset, arch, default_preprocessing("folder"), names, mindir_version=3)


def pictures(root: Path, classes: tuple[str, ...]) -> Path:
    """Class folders of a file each, which nothing here opens."""
    for name in classes:
        (root / "data" / name).mkdir(parents=True)
        (root / "data" / name / f"of {name}.jpg").touch()
    return root / "data"


NUMBERS = ("0", "1", "2", "10")
TABLE = [  # classes of the data, of the model; the labels that write_labels --model writes, or what is refused; said
    (("ant", "cat"), ("ant", "cat"), [0, 1], ""),
    (("ant", "cat"), ("cat", "bee", "ant"), [2, 0], ""),
    (("ant", "bee"), ("cat", "dog"), UNKNOWN, ""),
    (("ant", "bee", "cat"), ("ant", "bee"), UNKNOWN, ""),
    (("ant", "cat"), ("ant", "cat", "unused_2"), [0, 1], ""),
    (("ant", "bee"), unnamed_classes(2), [0, 1], "a guess"),
    (("ant", "bee"), unnamed_classes(3), "labels of 2 classes, but the network knows 3", ""),
    (NUMBERS, tuple(sorted(NUMBERS)), [0, 1, 3, 2], ""),
    (tuple(map(str, range(11))), unnamed_classes(11), list(range(11)), ""),
]


@pytest.mark.parametrize(("classes", "names", "expected", "said"), TABLE)
def test_labels_are_those_of_the_model_s_classes(classes, names, expected, said, tmp_path, capsys):
    folder, model, labels = pictures(tmp_path, classes), tmp_path / "model.mindir", tmp_path / "labels.txt"
    model.write_bytes(b"weights")
    write_manifest(manifest(names), model)
    arguments = [str(folder), str(labels), "--model", str(model)]
    if isinstance(expected, str):
        with pytest.raises(ReportedError, match=expected):
            write_labels.main(arguments)
        write_labels.main(arguments[:2])
        with pytest.raises(ReportedError, match=f"{expected}|has the label 2, expected 0 to 1"):
            check_folder(folder, read_labels("folder", labels), manifest(names))
        return
    write_labels.main(arguments)
    found = read_labels("folder", labels)
    assert [found[f"of {name}"] for name in classes] == expected
    check_folder(folder, found, manifest(names))
    warnings = capsys.readouterr().err
    assert (said in warnings) and bool(said) == bool(warnings)


def test_labels_that_number_the_classes_otherwise_are_refused(tmp_path):
    folder = pictures(tmp_path, ("ant", "cat"))
    write_labels.main([str(folder), str(tmp_path / "labels.txt")])
    with pytest.raises(ReportedError, match="has the label 0, but ant is the model's class 1; write the labels again"):
        check_folder(folder, read_labels("folder", tmp_path / "labels.txt"), manifest(("cat", "ant")))


def test_a_model_of_a_list_takes_the_label_file_s_numbers_and_says_so(tmp_path, capsys):
    folder = pictures(tmp_path, ("ant", "cat"))
    (tmp_path / "labels.txt").write_text("of ant.jpg:1\nof cat.jpg:0\n")
    check_folder(folder, read_labels("folder", tmp_path / "labels.txt"), manifest(("0", "1"), "list"))
    assert "the label file's numbers are taken as they are" in capsys.readouterr().err


def test_cifar10_s_records_number_their_classes_as_the_model_does(tmp_path):
    records = np.zeros((1, 3073), np.uint8)
    (tmp_path / "test_batch.bin").write_bytes(records.tobytes())
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    for path in (tmp_path, tmp_path / "test_batch.bin"):
        check_cifar10(path, manifest(names, "cifar10"))
        with pytest.raises(ReportedError, match=r"numbers the classes of .* otherwise than the records"):
            check_cifar10(path, manifest(names[::-1], "cifar10"))
        with pytest.raises(ReportedError, match="classes that the network does not know"):
            check_cifar10(path, manifest(tuple("0123456789"), "cifar10"))


def write_csv(root: Path, places: tuple[str, ...]) -> Path:
    """labels.csv in `root` and the pictures that it names, as empty files, below root/data."""
    for place in places:
        (root / "data" / place).parent.mkdir(parents=True, exist_ok=True)
        (root / "data" / place).touch()
    rows = [f"{place},{i % 2}" for i, place in enumerate(places)]
    (root / "labels.csv").write_text("\n".join(["image,x", *rows]) + "\n")
    return root / "labels.csv"


@pytest.mark.parametrize(
    ("places", "names"),
    [
        (("a.png", "b.jpg"), None),
        (("one/a.png", "two/in/b.jpg"), ["a.png", "b.jpg"]),
        (("p1/study1/view1.jpg", "p1/study2/view1.jpg"), ["p1_study1_view1.jpg", "p1_study2_view1.jpg"]),
    ],
    ids=["flat", "folders", "the same name"],
)
def test_pictures_of_a_csv_file_may_be_in_folders(places, names, tmp_path):
    """Those that it names, and no others, are handed on, called as their results are."""
    labels, links = write_csv(tmp_path, places), tmp_path / "links"
    if names:
        (tmp_path / "data/one").mkdir(exist_ok=True)
        (tmp_path / "data/one/of another file.png").touch()
    several = replace(manifest(("x",), "csv"), activation="sigmoid")
    check_labelled("csv", tmp_path / "data", labels, several, links)
    found = {path.name: path.resolve() for path in links.iterdir()} if links.exists() else None
    assert found == (names and {name: tmp_path / "data" / place for name, place in zip(names, places, strict=True)})
    result = result_name(names[1] if names else places[1])
    assert read_csv_labels(labels, several)[result].tolist() == [1]


def test_an_uncertain_label_is_what_the_model_s_training_took_it_for(tmp_path):
    (tmp_path / "labels.csv").write_text("image,x\na.png,-1\n")
    several = replace(manifest(("x",), "csv"), activation="sigmoid")
    for uncertain, label in (("ignore", -1), ("zeros", 0), ("ones", 1)):
        labels = read_csv_labels(tmp_path / "labels.csv", replace(several, uncertain=uncertain))
        assert [label_of.tolist() for label_of in labels.values()] == [[label]]


def test_pictures_of_a_csv_file_that_have_no_result_of_their_own(tmp_path):
    several = replace(manifest(("x",), "csv"), activation="sigmoid")
    labels = write_csv(tmp_path, ("one/a/b.png", "two/b.png", "one/a/b.jpg"))
    with pytest.raises(ReportedError, match="names 3 pictures, whose results would have only 2 different names"):
        check_labelled("csv", tmp_path / "data", labels, several, tmp_path / "again")
    (tmp_path / "data/two/b.png").unlink()
    with pytest.raises(ReportedError, match=r"labels.csv line 3: there is no file .*two/b\.png"):
        check_labelled("csv", tmp_path / "data", labels, several, tmp_path / "more")
