"""`python -m src.datasets.check`: what would spoil training is found, and good data are called good."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import write_pictures
from PIL import Image
from sklearn.datasets import load_sample_images

from src.datasets.check import guess_dataset, main
from src.utils.errors import ReportedError, run


def write_photographs(folder: Path, each: int, *, seed: int = 0) -> Path:
    """china/ and flower/ with parts of scikit-learn's two photographs that do not overlap much."""
    random = np.random.default_rng(seed)
    for name, photograph in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            top, left = random.integers(427 - 96), random.integers(640 - 96)
            Image.fromarray(photograph[top : top + 96, left : left + 96]).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture
def data(tmp_path) -> Path:
    return write_photographs(tmp_path / "train", 12)


def spoilt(*argv: object) -> str:
    with pytest.raises(ReportedError, match="training would be spoilt by what was found") as found:
        main([str(word) for word in argv])
    return str(found.value)


def test_good_data(data, tmp_path, capsys):
    held_out = write_photographs(tmp_path / "held_out", 4, seed=1)
    assert run(main, [str(data), str(held_out)]) == 0
    text = capsys.readouterr().out
    assert "24 pictures, 2 classes" in text and "8 pictures, 2 classes" in text and "WRONG" not in text
    assert "china          12          4" in text.replace("training", "        ")
    pixels = np.concatenate([np.asarray(Image.open(path)) for path in sorted(data.glob("*/*"))], axis=None) / 255
    mean = [float(word) for word in text.split("mean ")[1].split(";")[0].split(",")]
    assert np.mean(mean) == pytest.approx(pixels.mean(), abs=1e-4)


def test_a_leak_and_contrary_labels(data, tmp_path, capsys):
    held_out = write_photographs(tmp_path / "held_out", 4, seed=1)
    shutil.copy(data / "china" / "3.png", held_out / "china" / "leak.png")
    shutil.copy(data / "china" / "4.png", data / "flower" / "contrary.png")
    shutil.copy(data / "china" / "5.png", data / "china" / "copy.png")
    assert "(leak, contrary)" in spoilt(data, held_out, "--csv", tmp_path / "f.csv", "--html", tmp_path / "f.html")
    text = capsys.readouterr().out
    assert "WRONG  1 held-out pictures are training pictures too" in text
    assert "WRONG  1 pictures are the same file as another one with another label" in text
    assert "note   2 pictures are copies of another one in their set" in text
    rows = list(csv.DictReader((tmp_path / "f.csv").open()))
    leak = next(row for row in rows if row["finding"] == "leak")
    assert (leak["set"], leak["other_set"], leak["other_label"]) == ("training", "held-out", "china")
    assert leak["image"].endswith("china/3.png") and leak["other_image"].endswith("leak.png")
    page = (tmp_path / "f.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 8 and "http" not in page and "<script" not in page


def test_pictures_that_look_the_same(data, tmp_path, capsys):
    with Image.open(data / "china" / "0.png") as picture:
        picture.save(data / "china" / "again.jpg", quality=90)
        picture.resize((200, 200)).save(data / "flower" / "larger.png")
    held_out = write_photographs(tmp_path / "held_out", 2, seed=1)
    with Image.open(data / "flower" / "7.png") as picture:
        picture.save(held_out / "flower" / "again.jpg", quality=80)
    main([str(data), str(held_out)])
    text = capsys.readouterr().out
    assert "note   1 pairs of a training and a held-out picture look the same" in text
    assert "note   2 pairs of pictures look the same and have different labels" in text
    assert "note   3 pairs of pictures of one set look the same" in text


def test_bad_and_odd_pictures(data, capsys):
    (data / "china" / "text.jpg").write_text("no picture")
    (data / "china" / "cut.png").write_bytes((data / "china" / "0.png").read_bytes()[:700])
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (40, 40, 4), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise[..., :3]).save(data / "flower" / "turned.jpg", exif=exif)
    Image.fromarray(noise).save(data / "flower" / "alpha.png")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(data / "flower" / "deep.png")
    Image.fromarray(noise[:4, :, :3]).save(data / "flower" / "thin.png")
    Image.new("RGB", (40, 40), "red").save(data / "flower" / "red.png")
    assert "(unreadable)" in spoilt(data)
    text = capsys.readouterr().out
    assert "WRONG  2 pictures cannot be read: " in text and "china/cut.png" in text
    for finding in ("turned by its EXIF orientation 6", "with transparency", "with 16 bits", "of one colour",
                    "more than 4 times longer than wide", "of less than 32 pixels"):  # fmt: skip
        assert f"note   1 pictures are {finding} (first" in text


def test_groups_classes_and_imbalance(tmp_path, capsys):
    write_pictures(tmp_path, ("a", "b", "c"), each=30)
    rows = [f"a/{i}.jpg,a,{i}" for i in range(30)] + ["b/0.jpg,b,100", "b/1.jpg,b,101"]
    (tmp_path / "train.csv").write_text("\n".join(["image,label,group", *rows]) + "\n")
    (tmp_path / "val.csv").write_text("image,label,group\nb/2.jpg,b,100\nb/3.jpg,b,102\nc/0.jpg,c,103\n")
    assert "(group leak, unknown class)" in spoilt(tmp_path / "train.csv", tmp_path / "val.csv")
    text = capsys.readouterr().out
    assert "WRONG  1 groups are on both sides, with 1 held-out pictures" in text
    assert "1 classes of the held-out data are not in the training data: 'c'" in text
    assert "the largest class has 15 times as many training pictures as the smallest; try --class_weights auto" in text
    assert "1 classes have fewer than 10 training pictures: 'b'" in text


def test_the_bundled_digits_and_usage(tmp_path, capsys):
    assert guess_dataset("bundled") == "digits" and guess_dataset(str(tmp_path)) == "folder"
    (tmp_path / "a.csv").touch()
    assert guess_dataset(str(tmp_path / "a.csv")) == "csv"
    assert run(main, []) == 2
    assert "the following arguments are required: DATA" in capsys.readouterr().err
    assert run(main, [str(tmp_path), "--csv", str(tmp_path / "a.csv")]) == 2
    assert run(main, [str(tmp_path)]) == 1
    assert "has no class folders" in capsys.readouterr().err
    (tmp_path / "index.npz").touch()
    assert guess_dataset(str(tmp_path)) == "mindrecord"
