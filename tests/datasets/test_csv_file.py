"""CSV data sets: this project's columns, those of public radiographs, and what can be wrong in such a file."""

from pathlib import Path

import numpy as np
import pytest
from commands import write_pictures

from src.datasets import csv_file
from src.datasets.reading import Reading, as_task, reading_as_before
from src.datasets.sources import open_source
from src.datasets.usable import describe
from src.utils.errors import ReportedError

X = -1


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """pictures/ant/0.jpg, ... pictures/cat/3.jpg."""
    root = tmp_path_factory.mktemp("csv")
    write_pictures(root / "pictures", ("ant", "bee", "cat", "patient1"), each=4)
    return root


def opened(folder: Path, text: str | bytes, **how: str):
    (folder / "pictures" / "t.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return open_source("csv", folder / "pictures" / "t.csv", split="train", reading=Reading(**how))


def test_one_label_a_picture(folder):
    source = opened(folder, "image,label\nbee/1.jpg,dog\nant/0.jpg,cat\ncat/3.jpg,dog\n")
    assert (source.class_names, source.labels.tolist(), source.groups) == (("cat", "dog"), [1, 0, 1], None)
    assert source.image_name(1).endswith("pictures/ant/0.jpg") and not source.is_multilabel
    assert source[0][0].tobytes() == (folder / "pictures" / "bee" / "1.jpg").read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfimage,label\r\nant/0.jpg,x\r\nbee/0.jpg,y\r\n",
        "image,label\rant/0.jpg,x\rbee/0.jpg,y",
        "\"image\",\"label\"\n\"ant/0.jpg\",\"x\"\n\n\"bee/0.jpg\",\"y\"\n",
        "Image;Label;\nant/0.jpg;x;\n bee/0.jpg ; y ;\n",
        "label\tnote\timage\nx\tfirst, best\tant/0.jpg\ny\t\tbee/0.jpg\n",
        "patient_id,filename,label\n,ant/0.jpg,x\n,bee/0.jpg,y\n",
        "image,label\nant\\0.jpg,x\n.\\bee\\0.jpg,y\n",
        '"first, second, or third";image;label\n1;ant/0.jpg;x\n2;bee/0.jpg;y\n',
    ],
    ids=["bom crlf", "cr", "quotes", "semicolons", "tabs", "empty groups", "windows", "commas in quotes"],
)  # fmt: skip
def test_the_same_from_other_programs(text, folder):
    source = opened(folder, text)
    assert (source.class_names, source.labels.tolist(), source.groups) == (("x", "y"), [0, 1], None)
    assert [source.image_name(i)[-9:] for i in (0, 1)] == ["ant/0.jpg", "bee/0.jpg"]


def test_numbers_are_in_their_order_and_quoted_names_keep_commas(folder):
    assert opened(folder, "image,label\nant/0.jpg,10\nant/1.jpg,9\n").class_names == ("9", "10")
    assert opened(folder, 'image,label\nant/0.jpg,"a, ""b"""\nant/1.jpg,c\n').class_names == ('a, "b"', "c")


def test_several_labels(folder):
    source = opened(folder, "image,label,group\nant/0.jpg,x|y,7\nant/1.jpg,y,8\nbee/0.jpg,No Finding,7\n")
    assert (source.class_names, source.labels.tolist()) == (("x", "y"), [[1, 1], [0, 1], [0, 0]])
    assert source.groups[0] == source.groups[2] != source.groups[1]
    one = opened(folder, "image,label\nant/0.jpg,x\nant/1.jpg,No Finding\n", task="multilabel")
    assert (one.class_names, one.labels.tolist()) == (("x",), [[1], [0]])
    single = opened(folder, "image,label\nant/0.jpg,x\nant/1.jpg,No Finding\n")
    assert as_task(single, "multilabel").labels.tolist() == [[1], [0]]


def test_a_column_a_class(folder):
    text = "image,x,y,z\nant/0.jpg,1,0,\nant/1.jpg,0.0,1.0,-1\n"
    for uncertain, value in (("ignore", X), ("zeros", 0), ("ones", 1)):
        source = opened(folder, text, uncertain=uncertain)
        assert (source.class_names, source.labels.tolist()) == (("x", "y", "z"), [[1, 0, X], [0, 1, value]])
    assert opened(folder, "image,x,y\nant/0.jpg,1,0\nant/1.jpg,0,1\n", task="single").labels.tolist() == [0, 1]
    with pytest.raises(ReportedError, match=r"ant/1.jpg has 2 classes, as 1 of the 2 pictures of .* not exactly one"):
        opened(folder, "image,x,y\nant/0.jpg,1,0\nant/1.jpg,1,1\n", task="single")


def test_columns_that_only_say_whose_picture_it_is_are_no_classes(folder):
    rows = "subject_id,study_id,path,filename,x\n10,57,ant/0.jpg,0.jpg,1\n11,58,ant/1.jpg,1.jpg,0\n"
    source = opened(folder, rows)
    assert (source.class_names, source.labels.tolist()) == (("x",), [[1], [0]])
    assert source.groups[0] != source.groups[1]


def test_a_patient_s_folder_is_the_group_in_paths_of_windows_too(folder):
    rows = "image,label\npatient1{0}0.jpg,x\npatient1{0}1.jpg,y\n"
    ours, theirs = (opened(folder, rows.format(slash)).groups.tolist() for slash in "/\\")
    assert ours == theirs and ours[0] == ours[1] >= 0


def test_classes_that_nothing_is_known_not_to_show_are_named(folder, capsys):
    """As CheXpert's No Finding, which is 1 or empty: such an output learns to say yes always."""
    describe(opened(folder, "image,No Finding,x,y\nant/0.jpg,1,1,0\nant/1.jpg,,0,\n"), "train")
    text = capsys.readouterr().out
    assert "1 classes without a picture: 'y'; 1 classes that no picture is known not to show: 'No Finding'\n" in text


def test_chest_xray14(tmp_path):
    """Data_Entry_2017.csv names files without their folders, of which the archives make twelve."""
    write_pictures(tmp_path / "images_001", ("images",), each=2)
    write_pictures(tmp_path / "images_002", ("images",), each=1)
    for old, new in (("1/images/0", "1/images/00000001_000"), ("1/images/1", "1/images/00000001_001"),
                     ("2/images/0", "2/images/00000002_000")):  # fmt: skip
        (tmp_path / f"images_00{old}.jpg").rename(tmp_path / f"images_00{new}.png")
    (tmp_path / "Data_Entry_2017.csv").write_text(
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
        "00000001_000.png,Cardiomegaly,0,1,058,M,PA,2682,2749,0.143,0.143,\n"
        "00000001_001.png,Cardiomegaly|Emphysema,1,1,058,M,PA,2894,2729,0.143,0.143,\n"
        "00000002_000.png,No Finding,0,2,081,M,PA,2500,2048,0.171,0.171,\n"
    )
    source = open_source("csv", tmp_path / "Data_Entry_2017.csv", split="train")
    assert (source.class_names, source.labels.tolist()) == (("Cardiomegaly", "Emphysema"), [[1, 0], [1, 1], [0, 0]])
    assert source.groups[0] == source.groups[1] != source.groups[2]
    assert source.image_name(2).endswith("images_002/images/00000002_000.png")


def test_chexpert(tmp_path):
    """Its paths begin with the name of the folder that holds the file, and patients are folders."""
    root = tmp_path / "CheXpert-v1.0-small"
    for patient in ("patient00001", "patient00002"):
        write_pictures(root / "train" / patient, ("study1",), each=2)
    first, second = "CheXpert-v1.0-small/train/patient00001/study1", "CheXpert-v1.0-small/train/patient00002/study1"
    text = (
        "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema,Fracture\n"
        f"{first}/0.jpg,Female,68,Frontal,AP,1.0,,\n{first}/1.jpg,Female,68,Lateral,,,0.0,-1.0\n"
        f"{second}/0.jpg,Male,87,Frontal,AP,,1.0,1.0\n"
    )
    (root / "train.csv").write_text(text)
    with pytest.raises(ReportedError, match=rf"line 2: there is no file .*; give --image_root {tmp_path}"):
        open_source("csv", root / "train.csv", split="train")
    source = open_source("csv", root / "train.csv", split="train", reading=Reading(str(tmp_path), "ones"))
    assert source.class_names == ("No Finding", "Edema", "Fracture")
    assert source.labels.tolist() == [[1, X, X], [X, 0, 1], [X, 1, 1]]
    assert source.groups[0] == source.groups[1] != source.groups[2]


def test_mura(tmp_path):
    """Lists without a header: of pictures, and of studies with 0 or 1."""
    root = tmp_path / "MURA-v1.1"
    place = "MURA-v1.1/train/XR_SHOULDER/patient00001"
    write_pictures(tmp_path / place, ("study1_positive", "study2_negative"), each=2)
    (root / "train_image_paths.csv").write_text(f"{place}/study1_positive/0.jpg\n{place}/study2_negative/1.jpg\n")
    (root / "train_labeled_studies.csv").write_text(f"{place}/study1_positive/,1\n{place}/study2_negative/,0\n")
    reading = Reading(str(tmp_path))
    paths, studies = (
        open_source("csv", root / f"train_{name}.csv", split="train", reading=reading)
        for name in ("image_paths", "labeled_studies")
    )
    assert (paths.class_names, paths.labels.tolist()) == (("negative", "positive"), [1, 0])
    assert (studies.class_names, studies.labels.tolist()) == (("negative", "positive"), [1, 1, 0, 0])
    assert len(set(studies.groups.tolist())) == 1 and studies.groups[0] == paths.groups[0] >= 0


HEADER = "image,label\n"
WRONG = {
    "": "is empty or begins with an empty line",
    "\n" + HEADER: "is empty or begins with an empty line",
    HEADER: "holds no picture below its first line",
    "ant/0.jpg,cat\nant/1.jpg,dog\n": "line 1: found no column image in 'ant/0.jpg,cat'; expected a CSV file whose",
    "image\nant/0.jpg\n": "line 1: found neither a column label nor columns of classes in 'image'",
    "image,age,sex\nant/0.jpg,3,M\n": "line 1: found neither a column label nor columns of classes",
    "image,label,image\nant/0.jpg,x,ant/1.jpg\n": "line 1: the column 'image' is there twice",
    "image,x,X\nant/0.jpg,1,0\n": "line 1: the column 'x' is there twice",
    "image,x\u0007,y\nant/0.jpg,1,0\n": "line 1: the class 'x?' is not plain text",
    HEADER + "ant/9.jpg,x\n": "line 2: there is no file",
    HEADER + "\nant/0.jpg,x\n\n/nowhere/a.jpg,y\n": "line 5: there is no file /nowhere/a.jpg",
    HEADER + "ant,x\n": "line 2: there is no file",
    HEADER + "0.jpg,x\n": "line 2: 0.jpg is in several folders of",
    HEADER + ",x\n": "line 2: found no image, expected the path of a picture",
    HEADER + "ant/0.jpg,\n": "line 2: found an empty label, expected the name of a class; write No Finding for none",
    HEADER + "ant/0.jpg,x|\n": "line 2: found an empty label",
    HEADER + "ant/0.jpg\n": "line 2: found 1 fields, expected 2 as in line 1",
    HEADER + "ant/0.jpg,x,y\n": "line 2: found 3 fields, expected 2 as in line 1",
    HEADER + "ant/0.jpg,x\u0007\n": "the class 'x?' is not plain text",
    HEADER + 'ant/0.jpg,"x\n': "line 2: unexpected end of data",
    HEADER + 'ant/0.jpg,"x"y\n': "line 2: ',' expected after '\"'",
    HEADER + "ant/0.jpg," + "x" * 100_000 + "\n": "line 2: found a label of 100000 characters, expected",
    HEADER + "ant/0.jpg," + "|".join(map(str, range(300))) + "\n": "line 2: found 300 labels of one picture",
    HEADER + "ant/0.jpg,u\u0308\nant/1.jpg,\u00fc\n": "has 2 classes whose names look the same",
    "image,x,y\nant/0.jpg,nan,1\n": "line 2: found 'nan' in the column 'x', expected 1, 0, -1 or nothing",
    "image,x,y\nant/0.jpg,1,NaN\n": "line 2: found 'NaN' in the column 'y'",
    "image,x,y\nant/0.jpg,1,0\nant/1.jpg,2,0\n": "line 3: found '2' in the column 'x'",
    "image,x,y\nant/0.jpg,1,0.5\n": "line 2: found '0.5' in the column 'y'",
    "image,x,height_cm\nant/0.jpg,1,180\n": "found '180' in the column 'height_cm', expected 1, 0, -1 or nothing; re",
    "image,dx\nant/0.jpg,mel\n": "'mel' in the column 'dx', expected 1, 0, -1 or nothing; remove columns that are no "
    "classes, and call one that holds the names of classes label",
    "a/study1_positive/0.jpg\nant/0.jpg\n": "line 1: there is no file",
    "study1_positive/,2\n": "line 1: found the label '2', expected 0 or 1",
    "study1_positive/,1\n": "line 1: ",
    b"image,label\nant/0.jpg,\xff\n": "is not UTF-8 text; save it as CSV with UTF-8",
    b"image,label\nant/0.jpg,\0\n": "",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG, ids=lambda text: repr(text)[:40])
def test_one_sentence_names_the_line(text, folder):
    with pytest.raises(ReportedError) as found:
        opened(folder, text)
    message = str(found.value)
    assert WRONG[text] in message and "\n" not in message and len(message) < 800


def test_of_a_part_of_a_set_the_rest_may_be_left_out(folder):
    """As of ChestX-ray14, whose pictures come in twelve archives."""
    text = "image,label,patient\nant/0.jpg,x|y,1\nant/7.jpg,z,1\nnowhere.jpg,y,2\nbee/1.jpg,y,2\n"
    with pytest.raises(ReportedError, match="line 3: there is no file"):
        opened(folder, text)
    source = opened(folder, text, skips_missing=True)
    assert (source.class_names, source.labels.tolist(), len(source.groups)) == (("x", "y"), [[1, 1], [0, 1]], 2)
    assert source.image_name(1).endswith("bee/1.jpg")
    assert source.remarks[0].startswith("left out: 2 pictures that are not there (first ")
    with pytest.raises(ReportedError, match=r"none of the 2 pictures of .* is there, first .*; give --image_root"):
        opened(folder, "image,label\nant/7.jpg,x\nant/8.jpg,y\n", skips_missing=True)
    with pytest.raises(ReportedError, match="line 3: found an empty label"):
        opened(folder, "image,label\nant/0.jpg,x\nant/1.jpg,\n", skips_missing=True)


def test_labels_of_another_network(folder):
    source = opened(folder, "image,b,a\nant/0.jpg,1,0\nant/1.jpg,,1\n")
    matched = source.for_network(("a", "b", "c"))
    assert (matched.class_names, matched.labels.tolist(), matched.absent) == (
        ("a", "b", "c"), [[0, 1, X], [1, X, X]], ("c",),
    )  # fmt: skip
    with pytest.raises(ReportedError, match="does not know, first 'b'"):
        source.for_network(("a", "c"))


def test_read_again_as_before():
    before = {"image_root": "/data", "uncertain": "ones"}
    assert reading_as_before(before, None, None) == Reading("/data", "ones")
    assert reading_as_before(before, "/other", "zeros") == Reading("/other", "zeros")
    assert reading_as_before({"uncertain": "???", "image_root": 3}, None, None) == Reading()
    assert reading_as_before(None, None, None) == Reading()


@pytest.mark.slow
def test_long_files_take_little_memory(tmp_path):
    """What is kept of a line: its name's bytes and a few numbers; blocks of lines are forgotten."""
    import tracemalloc

    (tmp_path / "a.jpg").touch()
    line = "a.jpg,class {},patient {}\n"
    with (tmp_path / "long.csv").open("w") as file:
        file.write("image,label,group\n")
        file.writelines(line.format(i % 7, i) for i in range(60_000))
    tracemalloc.start()
    source = open_source("csv", tmp_path / "long.csv", split="train")
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(source) == 60_000 and len(np.unique(source.groups)) == 60_000
    assert kept < 60_000 * 40 and peak < 60_000 * 40 + 8e6


def test_a_picture_in_several_rows_is_said_to_be_counted_as_often(folder):
    rows = "image,label\nant/0.jpg,a\nant/1.jpg,b\nant/0.jpg,b\n"
    assert opened(folder, rows).remarks[0].startswith("1 lines name a picture of an earlier line, 1 of them with anoth")
    rows = "image,x,y\nant/0.jpg,1,0\nant/1.jpg,0,1\nant/0.jpg,1,0\n"
    (remark,) = opened(folder, rows).remarks
    assert remark.startswith("1 lines name a picture of an earlier line, first ") and remark.endswith("ant/0.jpg")


BY_COLUMNS = {
    "several": "image,label,group\nant/0.jpg,b|a,7\nant/1.jpg,a|b,\nbee/0.jpg,No Finding,7\nant/0.jpg, c ,8\n",
    "a column each": "image,x,y\nant/0.jpg,1,0\nant/1.jpg, 0.0 ,-1\n bee/0.jpg,,1.0\n",
    "another order": "label;image;\n9;ant/0.jpg;\n10;bee/0.jpg;\n",
    "patients": "image,label\npatient1/0.jpg,x\npatient1/1.jpg,y\nant/0.jpg,x\n",
}


@pytest.mark.parametrize("name", BY_COLUMNS)
def test_columns_are_read_as_rows_are(name, folder, monkeypatch):
    found = opened(folder, BY_COLUMNS[name])
    monkeypatch.setattr(csv_file._Table, "_plain", lambda *_: None)
    expected = opened(folder, BY_COLUMNS[name])
    assert (found.class_names, found.labels.tolist()) == (expected.class_names, expected.labels.tolist())
    assert (found.groups is None) == (expected.groups is None) == (name in ("a column each", "another order"))
    assert found.groups is None or found.groups.tolist() == expected.groups.tolist()
    assert [found.image_name(i) for i in range(len(found))] == [expected.image_name(i) for i in range(len(found))]


def test_what_is_wrong_first_is_named_first(folder):
    """Of a block that is read by columns; and its classes are not those of the rows behind it."""
    with pytest.raises(ReportedError, match=r"line 3: there is no file .*ant/9\.jpg"):
        opened(folder, "image,label\nant/0.jpg,x\nant/9.jpg,y\nant/1.jpg,\n")
    with pytest.raises(ReportedError, match="line 3: found an empty label"):
        opened(folder, "image,label\nant/0.jpg,x\nant/1.jpg,\nant/9.jpg,y\n")
