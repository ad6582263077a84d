"""Text to values: what each type accepts, and the sentence when it does not."""

import pytest

from src.schema.options import BY_NAME, INT_MAX, OPTIONS
from src.schema.values import nearest, parse_value
from src.utils.errors import UsageError


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("lr", "1e-5", 1e-5),
        ("lr", ".5", 0.5),
        ("lr", "2.", 2.0),
        ("lr", "1", 1.0),
        ("max_epoch", "+7", 7),
        ("max_epoch", "010", 10),
        ("max_epoch", str(INT_MAX), INT_MAX),
        ("nesterov", "Yes", True),
        ("nesterov", "OFF", False),
        ("nesterov", "1", True),
        ("nesterov", "0", False),
        ("is_distributed", "0", 0),
        ("lr_epochs", "150,225", (150, 225)),
        ("lr_epochs", " 150 , 225", (150, 225)),
        ("lr_epochs", ["150", "225"], (150, 225)),
        ("lr_epochs", "30", (30,)),
        ("lr_epochs", "", ()),
        ("lr_epochs", [], ()),
        ("train_data_dir", "", ""),
        ("train_data_dir", "/data/my pictures/ü", "/data/my pictures/ü"),
    ],
)
def test_accepted(key, text, value):
    parsed = parse_value(BY_NAME[key], text, key)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("lr", "fast", "--lr: found 'fast', expected a number of more than 0, such as 0.1"),
        ("lr", "", "--lr: found '', expected a number of more than 0, such as 0.1"),
        ("lr", "nan", "--lr: found 'nan', expected a number of more than 0, such as 0.1"),
        ("lr", "-inf", "--lr: found '-inf', expected a number of more than 0, such as 0.1"),
        ("lr", "1e999", "--lr: found '1e999', expected a number of more than 0, such as 0.1"),
        ("lr", "1_0", "--lr: found '1_0', expected a number of more than 0, such as 0.1"),
        ("lr", "0", "--lr: found '0', which is out of range; expected a number of more than 0, such as 0.1"),
        ("lr", ["0.1"], "--lr: found ['0.1'], expected a number of more than 0, such as 0.1"),
        ("max_epoch", "1.5", "--max_epoch: found '1.5', expected a whole number of at least 1, such as 120"),
        ("max_epoch", "true", "--max_epoch: found 'true', expected a whole number of at least 1, such as 120"),
        ("max_epoch", "٣", "--max_epoch: found '٣', expected a whole number of at least 1, such as 120"),
        (
            "max_epoch",
            "0",
            "--max_epoch: found '0', which is out of range; expected a whole number of at least 1, such as 120",
        ),
        ("seed", str(INT_MAX + 1), f"--seed: found '2147483648', which is too large; expected at most {INT_MAX}"),
        (
            "momentum",
            "1",
            "--momentum: found '1', which is out of range; expected a number of at least 0 and less than 1, "
            "such as 0.9",
        ),
        ("nesterov", "maybe", "--nesterov: found 'maybe', expected true or false"),
        ("nesterov", "2", "--nesterov: found '2', expected true or false"),
        (
            "lr_epochs",
            "30,,60",
            "--lr_epochs: found '30,,60', expected whole numbers separated by commas, such as 150,225, "
            "each of at least 1",
        ),
        (
            "lr_epochs",
            "0,60",
            "--lr_epochs: found '0,60', which is out of range; expected whole numbers separated by commas, "
            "such as 150,225, each of at least 1",
        ),
        ("is_distributed", "2", "--is_distributed: found '2', expected one of 0, 1; choose one of them"),
        ("stem_pool", "Pad", "--stem_pool: found 'Pad', expected one of pad, same; did you mean pad?"),
        ("train_data_dir", "a\0b", "--train_data_dir: found 'a\\x00b', expected text"),
    ],
)
def test_refused(key, text, message):
    with pytest.raises(UsageError) as error:
        parse_value(BY_NAME[key], text, f"--{key}")
    assert str(error.value) == message


def test_long_values_are_shortened_in_messages():
    with pytest.raises(UsageError) as error:
        parse_value(BY_NAME["seed"], "9" * 10**6, "--seed")
    assert "too large" in str(error.value)
    assert len(str(error.value)) < 200


def test_nearest_name():
    names = ["lr", "T_max", "train_data_dir", "per_batch_size"]
    assert nearest("t-max", names) == "T_max"
    assert nearest("train-data", names) == "train_data_dir"
    assert nearest("batch_size", names) == "per_batch_size"
    assert nearest("zebra", names) is None
    assert nearest("", names) is None


PATHS = [option.name for option in OPTIONS if option.is_path]


@pytest.mark.parametrize("key", PATHS)
def test_the_home_folder_in_a_path(key, monkeypatch):
    """As a shell has it, which does not see what is quoted, comes after = or stands in a YAML file."""
    monkeypatch.setenv("HOME", "/home/me")
    assert parse_value(BY_NAME[key], "~/my data", key) == "/home/me/my data"
    assert parse_value(BY_NAME[key], "~", key) == "/home/me"
    assert parse_value(BY_NAME[key], "~root/x", key).endswith("/x")
    for text in ("a/~/b", "./~", "s3://bucket/~", "C:~"):
        assert parse_value(BY_NAME[key], text, key) == text
    with pytest.raises(UsageError, match=r"but ~nobody-here is no user's home; write \./~nobody-here if it is a file"):
        parse_value(BY_NAME[key], "~nobody-here/x", key)


def test_every_text_that_is_no_choice_is_a_path():
    assert all(option.is_path for option in OPTIONS if option.type is str and not option.choices)
