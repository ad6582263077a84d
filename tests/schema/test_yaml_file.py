"""Configuration files: what is refused, in which words, and that nothing in a file is ever executed."""

import os
import resource
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.schema.options import OPTIONS
from src.schema.yaml_file import MAX_BYTES, read_yaml, write_yaml
from src.utils.errors import ReportedError, UsageError

BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True))
BOMB_IN_A_LIST = "lr_epochs: " + "[" * 9 + "&a [1, 2]" + "]" * 9 + "\nblock_config: [*a, *a]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lrr: 0.1", ", line 1: found unknown key 'lrr' with value '0.1', did you mean lr?"),
        ("max_epoch: 3\n\nlearningrate: 1", ", line 3: found unknown key 'learningrate' with value '1', "
         "`python train.py --help` lists the keys"),
        ("Lr_Epochs: [1]", ", line 1: found unknown key 'Lr_Epochs' with value a list, did you mean lr_epochs?"),
        ("lr: 0.1\nnet: densenet121\nlr: 0.2", ", line 3: lr is given a second time, as '0.2'; remove one of the two"),
        ("max_epoch: 1.5", ", line 1: max_epoch: found '1.5', expected a whole number of at least 1, such as 120"),
        ("max_epoch: true", ", line 1: max_epoch: found 'true', expected a whole number of at least 1, such as 120"),
        ("lr: .nan", ", line 1: lr: found '.nan', expected a number of more than 0, such as 0.1"),
        ("lr: [0.1]", ", line 1: lr: found ['0.1'], expected a number of more than 0, such as 0.1"),
        ("nesterov: 3", ", line 1: nesterov: found '3', expected true or false"),
        ("net: densenet99", ", line 1: net: found 'densenet99', expected one of densenet100, densenet121, densenet161, "
         "densenet169, densenet201; did you mean densenet169?"),
        ("lr_epochs: [1, [2]]", ", line 1: lr_epochs: found a list, expected a plain value or a list of them"),
        ("lr: {a: 1}", ", line 1: lr: found a mapping, expected a plain value or a list of them"),
        ("resume:", ", line 1: resume: found no value, expected one; write '' for an empty text, or remove the line"),
        ("lr: ~", ", line 1: lr: found no value, expected one; write '' for an empty text, or remove the line"),
        ("config_path: other.yaml", ", line 1: found config_path with value 'other.yaml', which only works as the flag "
         "--config_path; remove the line"),
        ("? [a, b]\n: 1", ", line 1: found a list as a key with value '1', `python train.py --help` lists the keys"),
        ("!!python/name:os.system lr: 0.1", ", line 1: found the tag '!!python/name:os.system' as a key with value "
         "'0.1', `python train.py --help` lists the keys"),
        ("net: !!python/object/apply:os.system ['touch owned']", ", line 1: net: found the tag "
         "'!!python/object/apply:os.system', expected a plain value or a list of them"),
        ("!!python/dict {lr: 0.1}", ": found the tag '!!python/dict', expected lines such as `lr: 0.1`; "
         "correct the file"),
        ("lr: !secret 1", ", line 1: lr: found the tag '!secret', expected a plain value or a list of them"),
        ("- 1\n- 2", ": found a list, expected lines such as `lr: 0.1`; correct the file"),
        ("just words", ": found 'just words', expected lines such as `lr: 0.1`; correct the file"),
        ("lr: [1, 2", ", line 1: found a syntax error (while parsing a flow sequence expected ',' or ']', but got "
         "'<stream end>'), expected YAML; correct the file"),
        ("lr: 0.1\n\t- a", ", line 2: found a syntax error (while scanning for the next token found character '\\t' "
         "that cannot start any token), expected YAML; correct the file"),
        ("lr: 1\n---\nlr: 2", ", line 2: found a syntax error (expected a single document in the stream but found "
         "another document), expected YAML; correct the file"),
        ("lr: *nothing", ", line 1: found a syntax error (found undefined alias 'nothing'), expected YAML; "
         "correct the file"),
        ('net: "\\UFFFFFFFF"', ": found a number out of range in an escape or directive; correct the file"),
        ("", ": found no keys at all, expected lines such as `lr: 0.1`; give another file"),
        ("# only a comment\n", ": found no keys at all, expected lines such as `lr: 0.1`; give another file"),
        ("lr: 1\nnet: " + "[" * 3000, ", line 2: found lists 21 deep, expected `key: value` lines; correct the file"),
        ("lr: 0.1\n# \x07", ": found character #x0007, expected a text file in YAML"),
        (b"lr: 0.1\nnet: \xe9", ", line 2: found byte 0xe9, expected text in UTF-8; save the file as UTF-8"),
        (b"\x89PNG\r\n\x1a\n", ", line 1: found byte 0x89, expected text in UTF-8; save the file as UTF-8"),
        (b"\0" * 10, ": found character #x0000, expected a text file in YAML"),
        (b"#" * (MAX_BYTES + 1), ": found more than 65536 bytes, expected a configuration; give another file"),
    ],
)  # fmt: skip
def test_refused(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as error:
        read_yaml(path)
    assert str(error.value) == f"{path}{message}"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", [BOMB, BOMB_IN_A_LIST, "lr_epochs: &a [*a]", "lr_epochs: [" + "1, " * 10**4 + "x]"])
def test_refused_with_a_short_message(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        read_yaml(path)
    assert len(str(error.value)) < len(str(path)) + 200


def test_file_that_cannot_be_read(tmp_path):
    for path, found in [
        (tmp_path / "none.yaml", "found no such file"),
        (tmp_path, "cannot be read (Is a directory)"),
        (tmp_path / ("n" * 300), "cannot be read (File name too long)"),
    ]:
        with pytest.raises(UsageError) as error:
            read_yaml(path)
        assert str(error.value) == f"{path}: {found}, expected a YAML file; give another one with --config_path"


def test_file_without_permission(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)  # root, who runs CI, may read everything
    with pytest.raises(UsageError, match=r"cannot be read \(Permission denied\), expected a YAML file"):
        read_yaml(tmp_path / "a.yaml")


@given(st.one_of(st.text(max_size=60), st.text("lr: [](){}&*!|>-?#'\"%@`,\n\t0.1\\xu<", max_size=60)))
def test_any_text_is_read_or_refused_in_one_sentence(text):
    path = f"/dev/fd/{_pipe(text.encode('utf-8', 'surrogatepass'))}"
    try:
        read_yaml(path)
    except UsageError as error:
        assert len(str(error)) < 500
    finally:
        os.close(int(path.rpartition("/")[2]))


def test_accepted_spellings(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(
        "\ufefflr: '1e-5'\nweight_decay: 1e-4\nlr_epochs: 150,225\nblock_config: [6, '12']\nnesterov: yes\n"
        "train_data_dir: 2020-01-01\neval_data_dir: ''\nnet: !!str densenet161\nmax_epoch: &n 7\nT_max: *n\n",
        encoding="utf-8",
    )
    assert read_yaml(path) == {
        "lr": 1e-5,
        "weight_decay": 1e-4,
        "lr_epochs": (150, 225),
        "block_config": (6, 12),
        "nesterov": True,
        "train_data_dir": "2020-01-01",
        "eval_data_dir": "",
        "net": "densenet161",
        "max_epoch": 7,
        "T_max": 7,
    }


DEFAULTS = {option.name: option.default for option in OPTIONS}


def test_written_file_is_grouped_commented_and_readable_by_others(tmp_path):
    path = tmp_path / "config.yaml"
    write_yaml(path, DEFAULTS | {"lr_epochs": (30, 60)}, "how to use it")
    text = path.read_text()
    assert text.startswith("# how to use it\n\n# network\nnet: densenet121\n")
    assert "\n# schedule\nlr_scheduler: cosine_annealing\nlr: 0.1\nlr_epochs: [30, 60]\n" in text
    assert list(tmp_path.iterdir()) == [path]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize(
    "text",
    ["", "\x85", "\udc80.ckpt", "a\nb\r", "\u2028", "\ufeff", " a ", "null", "./~", "1e-5", "on", "2020-01-01", "'",
     '"', "a: b #c", "- x", "...", "---", "世 é🙂", "\\", "x" * 500 + " y"],
)  # fmt: skip
def test_any_path_is_read_back(tmp_path, text):
    write_yaml(tmp_path / "c.yaml", DEFAULTS | {"train_data_dir": text}, "")
    assert read_yaml(tmp_path / "c.yaml")["train_data_dir"] == text


@pytest.mark.parametrize(
    ("place", "reason"),
    [("none/c.yaml", "No such file or directory"), ("f/c.yaml", "Not a directory"), ("d", "Is a directory")],
)
def test_file_that_cannot_be_written_leaves_nothing(tmp_path, place, reason):
    (tmp_path / "f").touch()
    (tmp_path / "d").mkdir()
    with pytest.raises(ReportedError) as error:
        write_yaml(tmp_path / place, DEFAULTS, "")
    assert str(error.value) == f"cannot write {tmp_path / place}: {reason}; free the disk or choose another folder"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "f"]


def test_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "config.yaml"
    write_yaml(path, DEFAULTS, "old")
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        with pytest.raises(ReportedError, match="File too large"):
            write_yaml(path, DEFAULTS, "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def _pipe(data: bytes) -> int:
    """A file descriptor that `data` can be read from."""
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    return reader
