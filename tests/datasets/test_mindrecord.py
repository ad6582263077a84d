"""Packed data sets: the same pictures, labels, order and bits as before; damage is one sentence; packing goes on."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from augmented import augmented_batches
from commands import NETWORK, only, weights, write_pictures
from mindspore.mindrecord import FileReader
from PIL import Image

import train
from scripts.write_mindrecord import main
from src.datasets.contents import content_hashes
from src.datasets.preprocessing import default_preprocessing
from src.datasets.reading import Reading
from src.datasets.sources import open_source
from src.utils.errors import ReportedError, UsageError, run


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """data/ with 30 pictures of three classes, packed in packed/, 12 a shard."""
    root = tmp_path_factory.mktemp("mindrecord")
    write_pictures(root / "data", ("ant", "bee", "c d"), each=10)
    Image.new("CMYK", (40, 30), (9, 80, 200, 10)).save(root / "data" / "bee" / "cmyk.jpg")
    pack(root / "data", root / "packed")
    return root


def pack(data: Path, folder: Path, *flags: object) -> None:
    main([str(data), str(folder), "--per_shard", "12", *map(str, flags)])


def opened(folder: Path, dataset: str = "mindrecord"):
    return open_source(dataset, folder, split="train")


def test_the_same_data(root):
    before, packed = opened(root / "data", "folder"), opened(root / "packed")
    assert len(packed) == 31 and packed.class_names == before.class_names
    for i in range(31):
        assert (packed[i][0] == before[i][0]).all() and packed[i][1:] == before[i][1:]
        assert packed.image_name(i) == before.image_name(i)
    assert packed.fingerprint() == before.fingerprint()  # a run may go on from either
    np.testing.assert_array_equal(content_hashes(packed, 2), content_hashes(before, 2))


def test_the_same_batches_bit_for_bit(root):
    settings = {"augmentation": "full", "batch_size": 4, "seed": 3, "epoch": 1, "workers": 2}
    preprocessing = replace(default_preprocessing("folder", 32))
    batches = [
        list(augmented_batches(source, preprocessing, **settings, rank=1, world_size=2))
        for source in (opened(root / "data", "folder"), opened(root / "packed"))
    ]
    for ours, theirs in zip(*batches, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_thirty_steps_of_training_give_the_same_weights(root, tmp_path):
    runs = []
    for dataset, folder in (("folder", "data"), ("mindrecord", "packed")):
        data = ["--dataset", dataset, "--train_data_dir", str(root / folder), "--image_size", "16"]
        how = ["--per_batch_size", "2", "--max_epoch", "2", "--save_ckpt_path", str(tmp_path / dataset)]
        train.main([*NETWORK, *data, *how])
        runs.append(weights(only(tmp_path / dataset) / "0-2_15.ckpt"))
    assert runs[0].keys() == runs[1].keys()
    for name, value in runs[0].items():
        assert value.tobytes() == runs[1][name].tobytes(), name


def test_shards_are_mindrecord(root):
    reader = FileReader(str(root / "packed" / "part-00001.mindrecord"))
    rows = list(reader.get_next())
    reader.close()
    packed = opened(root / "packed")
    assert len(rows) == 12
    assert bytes(rows[0]["image"]) == packed.content(12) and rows[0]["label"].tolist() == [packed.labels[12]]
    assert rows[0]["name"] == packed.image_name(12)
    assert int(rows[0]["content"], 16) == content_hashes(packed, 1)[12]


@pytest.mark.parametrize("kind", ["digits", "csv"])
def test_other_kinds(kind, tmp_path):
    if kind == "digits":
        before = open_source("digits", "", split="train")
        main(["bundled", str(tmp_path / "packed")])
    else:
        write_pictures(tmp_path, ("a", "b"), each=2)
        rows = "image,x,y,group\na/0.jpg,1,0,p\na/1.jpg,,1,p\nb/0.jpg,0,-1,q\n"
        (tmp_path / "t.csv").write_text(rows)
        before = open_source("csv", tmp_path / "t.csv", split="train", reading=Reading(uncertain="ones"))
        assert before.labels[2].tolist() == [0, 1]
        main([str(tmp_path / "t.csv"), str(tmp_path / "packed"), "--uncertain", "ones"])
    packed = opened(tmp_path / "packed")
    np.testing.assert_array_equal(packed.labels, before.labels)
    assert packed.labels.dtype == before.labels.dtype and packed.dataset == kind and packed.encoded == before.encoded
    assert all((packed.read(i) == before.read(i)).all() for i in range(0, len(before), 100))
    assert before.groups is None or (packed.groups == before.groups).all()
    assert packed.fingerprint() == before.fingerprint()


def test_packing_goes_on_where_it_was_interrupted(root, tmp_path, capsys):
    folder = tmp_path / "packed"
    shutil.copytree(root / "packed", folder)
    (folder / "index.npz").unlink()
    (folder / "part-00002.mindrecord.npz").unlink()  # as of a shard that was being written
    flip(folder / "part-00001.mindrecord", opened(root / "packed"), 15)
    pack(root / "data", folder)
    text = capsys.readouterr().out
    assert "1 shards were there" in text and "part-00000" not in text
    assert (opened(folder).read(15) == opened(root / "packed").read(15)).all()
    pack(root / "data", folder, "--num_parallel_workers", 1)
    assert "3 shards were there" in capsys.readouterr().out


def flip(shard: Path, packed, i: int) -> None:
    data = packed.content(i)
    whole = bytearray(shard.read_bytes())
    whole[whole.index(data) + 100] ^= 1
    shard.write_bytes(whole)


def test_damage_is_one_sentence(root, tmp_path):
    whole = opened(root / "packed")

    def damaged(name: str, change) -> Path:
        folder = tmp_path / name
        shutil.copytree(root / "packed", folder)
        change(folder)
        return folder

    flipped = damaged("flipped", lambda folder: flip(folder / "part-00001.mindrecord", whole, 14))
    source = opened(flipped)
    source.read(13)
    with pytest.raises(ReportedError, match=r"part-00001.mindrecord is damaged at the picture .*bee/.*; pack the data"):
        source.read(14)
    cut = damaged("cut", lambda f: (f / "part-00002.mindrecord").write_bytes(b"x" * 1000))
    with pytest.raises(ReportedError, match=r"part-00002.mindrecord has 1000 bytes, expected \d+: it is truncated"):
        opened(cut)
    missing = damaged("missing", lambda f: (f / "part-00000.mindrecord").unlink())
    with pytest.raises(ReportedError, match=r"part-00000.mindrecord cannot be read: No such file or directory"):
        opened(missing)
    for name, data in {"empty": b"", "noise": b"PK\x03\x04" + bytes(100), "short": -100}.items():
        index = (root / "packed" / "index.npz").read_bytes()
        written = index[:data] if isinstance(data, int) else data
        folder = damaged(name, lambda f, written=written: (f / "index.npz").write_bytes(written))
        with pytest.raises(ReportedError, match=r"index.npz is damaged or of another version; pack the data again"):
            opened(folder)
    with pytest.raises(ReportedError, match=r"holds no index.npz; expected a folder that scripts/write_mindrecord.py"):
        opened(root / "data")


def test_an_index_leads_nowhere_else(root, tmp_path):
    shutil.copytree(root / "packed", tmp_path / "packed")
    with np.load(root / "packed" / "index.npz") as loaded:
        good = dict(loaded)
    header = good["header"].tobytes()
    changes = {
        "shard": good["shard"] + 9, "offset": good["offset"] - 10**9, "length": good["length"] * 0,
        "label": good["label"] + 5, "name_end": good["name_end"][::-1], "checksum": good["checksum"].astype(float),
        "header": np.frombuffer(header.replace(b"part-00000", b"../t-00000"), np.uint8),
    }  # fmt: skip
    for name, value in changes.items():
        np.savez(tmp_path / "packed" / "index.npz", **{**good, name: value})
        with pytest.raises(ReportedError, match="is damaged or of another version"):
            opened(tmp_path / "packed")


def test_smaller_pictures(tmp_path):
    (tmp_path / "data" / "a").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "data" / "a" / "large.jpg", exif=exif)
    Image.fromarray(pixels[:20, :20]).save(tmp_path / "data" / "a" / "small.jpg")
    pack(tmp_path / "data", tmp_path / "packed", "--side", 30)
    packed = opened(tmp_path / "packed")
    with Image.open(Path(tmp_path, "x.jpg").write_bytes(packed.content(0)) and tmp_path / "x.jpg") as picture:
        assert picture.size == (30, 45) and not picture.getexif()
    assert packed.content(1) == (tmp_path / "data" / "a" / "small.jpg").read_bytes()


def test_usage(root, tmp_path, capsys):
    with pytest.raises(UsageError, match="--per_shard: found 0, expected at least 1"):
        main([str(root / "data"), str(tmp_path / "p"), "--per_shard", "0"])
    assert run(main, [str(root / "none"), str(tmp_path / "p")]) == 1
    assert "No such file" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert run(main, [str(root / "data"), str(tmp_path / "file")]) in (1, 2)
