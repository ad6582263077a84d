"""Caches of pictures: not a bit is changed, nothing is read a second time, nothing in them is believed."""

import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from augmented import augmentation_of, augmented_batches
from PIL import Image

import train_parts
from src.datasets import caching
from src.datasets.augmentation import Augmentation
from src.datasets.caching import Wanted, open_caches
from src.datasets.classification import evaluation_batches, stages_of_training
from src.datasets.preprocessing import default_preprocessing
from src.datasets.preprocessing_choices import FILES
from src.datasets.sources import open_source
from src.datasets.stages import evaluation_stage, training_stage
from src.model_utils.config import parse
from src.training.run_data import RunData
from src.utils.errors import ReportedError

WORKERS = min(2, os.cpu_count())
SMALL, LARGE = (default_preprocessing("folder", size) for size in (32, 80))
PILLOWS = default_preprocessing("folder", 32, resize="shorter_side", interpolation="bicubic")
GREY = default_preprocessing("folder", 32, input_channels=1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """Where caches on the disk are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "densenet-mindspore" / "pictures"


@pytest.fixture
def folder(tmp_path, photo_folder, photographs) -> Path:
    """Photographs, and among them a turned, a transparent, a 16-bit and two CMYK ones, of which one has no marker."""
    folder = shutil.copytree(photo_folder, tmp_path / "pictures")
    odd = folder / "odd"
    odd.mkdir()
    temple = Image.fromarray(photographs[0][:150, :200])
    exif = Image.Exif()
    exif[0x0112] = 6
    temple.save(odd / "turned.jpg", exif=exif)
    temple.convert("CMYK").save(odd / "cmyk.jpg")
    data = (odd / "cmyk.jpg").read_bytes()
    marker = data.index(b"\xff\xee")
    (odd / "bare.jpg").write_bytes(
        data[:marker] + data[marker + 2 + int.from_bytes(data[marker + 2 : marker + 4], "big") :]
    )
    temple.putalpha(Image.fromarray(photographs[1][:150, :200, 0]))
    temple.save(odd / "transparent.png")
    Image.fromarray(photographs[0][:90, :120, 0].astype(np.uint16) * 200).save(odd / "deep.png")
    return folder


def opened(folder: Path):
    return open_source("folder", folder, split="train")


def cached(where, source, preprocessing, *, sizes=(), **words):
    """The same data set with a cache."""
    stages = stages_of_training(source, preprocessing, augmentation_of(**words), sizes)
    return open_caches(where, [Wanted(source, "training", stages)], workers=WORKERS)[0]


def epoch(source, preprocessing, number=0, **options) -> list[tuple[np.ndarray, ...]]:
    options = {"batch_size": 4, "seed": 1, "workers": WORKERS} | options
    return list(augmented_batches(source, preprocessing, epoch=number, **options))


def assert_same(batches, expected):
    assert len(batches) == len(expected) > 0
    for batch, other in zip(batches, expected, strict=True):
        for array, other_array in zip(batch, other, strict=True):
            np.testing.assert_array_equal(array, other_array)


def unreadable(source):
    """The same data set, whose pictures cannot be read any more."""

    def read(i: int) -> np.ndarray:
        raise AssertionError(f"picture {i} was read")

    return replace(source, read=read, content=read)


WAYS = [
    (SMALL, "none", {}, "resized"),
    (SMALL, "shift", {}, "resized"),
    (SMALL, "shift", {"auto_augment": "auto"}, "resized"),
    (SMALL, "full", {}, "files"),
    (LARGE, "shift", {}, "files"),
    (PILLOWS, "none", {}, "resized"),
    (PILLOWS, "shift", {}, "resized"),
    (PILLOWS, "full", {"auto_augment": "trivial"}, "decoded"),
    (GREY, "shift", {}, "resized"),
    (GREY, "full", {}, "decoded"),
]


@pytest.mark.parametrize("streams", ["worker", "image"])
@pytest.mark.parametrize(("preprocessing", "augmentation", "options", "kind"), WAYS, ids=str)
def test_training_sees_the_same_bits_and_reads_no_file(preprocessing, augmentation, options, kind, streams, folder):
    source = opened(folder)
    how = {"augmentation": augmentation, "streams": streams, "auto_augment": "none"} | options
    expected = [epoch(source, preprocessing, number, **how) for number in (0, 1)]
    found = cached("ram", source, preprocessing, **how)
    (stage,) = found.kept
    assert stage.form == ("decoded" if (streams, kind) == ("image", "files") else kind)
    shutil.rmtree(folder)
    for number in (0, 1):
        assert_same(epoch(unreadable(found), preprocessing, number, **how), expected[number])


@pytest.mark.parametrize("preprocessing", [LARGE, PILLOWS, GREY, replace(LARGE, pixels="stored")], ids=str)
def test_an_evaluation_sees_the_same_bits(preprocessing, folder):
    source = opened(folder)
    how = {"batch_size": 5, "workers": WORKERS}
    expected = list(evaluation_batches(source, preprocessing, **how))
    wanted = Wanted(source, "held-out", [evaluation_stage(preprocessing, FILES)])
    (found,) = open_caches("disk", [wanted], workers=WORKERS)
    assert_same(list(evaluation_batches(unreadable(found), preprocessing, **how)), expected)


def test_each_size_of_a_run_has_its_cache(folder):
    source, sizes = opened(folder), (16, 24, 32)
    how = {"augmentation": "shift", "auto_augment": "none", "streams": "worker"}
    expected = [epoch(source, SMALL, size=size, **how) for size in sizes]
    found = cached("disk", source, SMALL, **how, sizes=sizes)
    assert len(found.kept) == 3
    for size, batches in zip(sizes, expected, strict=True):
        assert_same(epoch(unreadable(found), SMALL, size=size, **how), batches)
    areas = stages_of_training(source, LARGE, Augmentation("full", streams="image"), sizes)
    assert len(set(areas)) == 1  # decoded pictures are of any size


NONE = {"augmentation": "none"}


def test_another_run_finds_it_and_decodes_nothing(folder, cache, caplog):
    source = opened(folder)
    expected = epoch(source, SMALL, **NONE)
    for where in ("disk", "ram"):
        caplog.clear()
        first = cached(where, source, SMALL, **NONE)
        assert f"cache {where}: 1 MB for 16 training pictures, decoded and resized to 32 x 32" in caplog.text
        again = cached(where, unreadable(source), SMALL, **NONE)
        assert caplog.messages[-1].endswith("in another process" if where == "ram" else ".disk")
        assert_same(epoch(unreadable(again), SMALL, **NONE), expected)
        assert first is not again
    (file,) = cache.glob("*.disk")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (cache, file)] == [0o700, 0o600]


def test_of_changed_pictures_it_is_made_anew_in_the_old_one_s_place(folder, cache, caplog):
    cached("disk", opened(folder), SMALL, **NONE)
    shutil.copy(folder / "flower" / "flower 0.jpg", folder / "flower" / "flower 1.jpg")
    source = opened(folder)
    found = cached("disk", source, SMALL, **NONE)
    assert "is of other pictures, or of other versions of what decodes them; it is made anew" in caplog.text
    assert_same(epoch(found, SMALL, **NONE), epoch(source, SMALL, **NONE))
    assert len(list(cache.iterdir())) == 2  # and the lock


@pytest.mark.parametrize("change", ["a bit", "cut", "short", "table", "magic", "link", "open to others"])
def test_a_damaged_or_foreign_cache_is_never_used(change, folder, cache, caplog, tmp_path):
    source = opened(folder)
    expected = epoch(source, SMALL, **NONE)
    cached("disk", source, SMALL, **NONE)
    (file,) = cache.glob("*.disk")
    sound = file.read_bytes()
    if change in ("a bit", "table", "magic"):
        place = {"a bit": len(sound) - 5000, "table": 200, "magic": 3}[change]
        file.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
    elif change in ("cut", "short"):
        file.write_bytes(sound[: {"cut": len(sound) // 2, "short": 10}[change]])
    elif change == "link":
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
    else:
        file.chmod(0o666)
    found = cached("disk", source, SMALL, **NONE)
    assert_same(epoch(found, SMALL, **NONE), expected)
    said = r"is damaged, first at " if change in ("a bit", "cut") else "; it is made anew"
    assert caplog.text.count(said) == 1
    assert file.read_bytes() == sound and not file.is_symlink()
    assert_same(epoch(unreadable(found), SMALL, **NONE), expected)


def test_what_does_not_fit_is_refused_before_anything_is_decoded(folder, cache, monkeypatch):
    source = unreadable(opened(folder))
    monkeypatch.setattr(caching, "available_memory", lambda: (50_000, None))
    message = (
        r"^cache ram would take 1 MB \(16 training pictures decoded and resized to 32 x 32: 1 MB\), expected at most "
        r"1 MB, 0\.8 of the memory that is available; give --cache disk, or --cache none$"
    )
    with pytest.raises(ReportedError, match=message):
        cached("ram", source, SMALL, **NONE)
    monkeypatch.setattr(caching.os, "statvfs", lambda _: SimpleNamespace(f_bavail=10, f_frsize=4096))
    with pytest.raises(
        ReportedError, match=r"what is free on the disk of .*; set XDG_CACHE_HOME to a folder on a larg"
    ):
        cached("disk", source, SMALL, **NONE)
    assert [path.name for path in cache.iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("preprocessing", "said"),
    [(SMALL, "pictures decoded and resized to 32 x 32, 1 MB"), (GREY, "pictures decoded, of which each epoch resizes")],
)
def test_a_few_steps_fill_none_and_use_what_is_there(preprocessing, said, folder, cache, monkeypatch, caplog):
    caplog.set_level("INFO")
    source = opened(folder)
    asked = augmentation_of("none" if preprocessing == SMALL else "full")
    wanted = Wanted(unreadable(source), "training", stages_of_training(source, preprocessing, asked))
    for where in ("ram", "disk"):
        assert open_caches(where, [wanted], workers=WORKERS, fills=False)[0].kept == {}
        assert f"cache {where}: not filled for these few steps, which decode what they use: 16 training" in caplog.text
    assert said in caplog.text
    assert [path.name for path in cache.iterdir()] == ["lock"]
    filled = open_caches("disk", [replace(wanted, source=source)], workers=WORKERS)[0]
    assert open_caches("disk", [wanted], workers=WORKERS, fills=False)[0].kept.keys() == filled.kept.keys() != set()
    if preprocessing == SMALL:  # what the whole run would refuse is refused now
        monkeypatch.setattr(caching, "available_memory", lambda: (50_000, None))
        with pytest.raises(ReportedError, match=r"^cache ram would take 1 MB"):
            open_caches("ram", [wanted], workers=WORKERS, fills=False)


@pytest.mark.parametrize(("flags", "fills"), [("", True), ("--dry_run", False), ("--lr_find", False)])
def test_dry_run_and_lr_find_are_a_few_steps(flags, fills, folder, monkeypatch):
    asked = []
    monkeypatch.setattr(
        train_parts, "open_caches", lambda _, wanted, *, fills, **__: asked.append(fills) or [w.source for w in wanted]
    )
    config = parse("train", [*f"--net densenet100 --dataset folder --train_data_dir {folder}".split(), *flags.split()])
    data, card = RunData(opened(folder), None, (), {}), SimpleNamespace(preprocessing=SMALL)
    assert train_parts.with_caches(config, data, card, card, print) == data
    assert asked == [fills]


def test_decoded_pictures_are_counted_by_their_headers(folder):
    source = opened(folder)
    areas = Augmentation("full").changes_of(source, LARGE)
    grey = training_stage(GREY, FILES, areas, "worker")
    for stage, each in ((training_stage(LARGE, FILES, areas, "image"), 3), (grey, 1)):
        for i in range(len(source)):
            with Image.open(source.image_name(i)) as image:
                depth = 4 if each == 1 and image.mode == "I;16" else each
                assert stage.most_bytes(0, lambda i=i: source.content(i)) == image.width * image.height * depth
                assert stage.make(source.read(i)).nbytes == image.width * image.height * depth
    files = training_stage(LARGE, FILES, areas, "worker")
    assert (
        max(len(source.read(i)) - source.content_size(i) for i in range(len(source))) == 16 < files.most_bytes(0, bytes)
    )


def test_a_picture_that_cannot_be_used_is_named_and_leaves_nothing(folder, cache):
    (folder / "odd" / "cmyk.jpg").write_text("no picture")
    for where in ("disk", "ram"):
        with pytest.raises(ReportedError, match=r"cmyk\.jpg should be a complete JPEG"):
            cached(where, opened(folder), SMALL, **NONE)
    assert [path.name for path in cache.iterdir()] == ["lock"]


def test_pictures_that_are_pixels_are_not_kept(cache, caplog):
    digits = open_source("digits", "", split="train").subset(np.arange(8))
    caplog.set_level("INFO")
    assert cached("ram", digits, default_preprocessing("digits"), augmentation="crop").kept == {}
    assert "cache ram: the training pictures are pixels in memory, or packed as such; nothing is kept" in caplog.text
    assert not cache.exists()


def test_packed_pictures_are_kept_too(folder, tmp_path):
    from src.datasets.pack import pack

    pack(opened(folder), tmp_path / "packed", per_shard=5, side=0, workers=1, said=lambda _: None)
    source = open_source("mindrecord", tmp_path / "packed", split="train")
    expected = epoch(source, SMALL, **NONE)
    found = cached("ram", source, SMALL, **NONE)
    assert_same(epoch(unreadable(found), SMALL, **NONE), expected)
