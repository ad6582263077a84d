"""From a command line to a configuration: which value wins, what is refused, what comes back from a saved file."""

import copy
import itertools
import pickle
import string
import subprocess
import sys

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from src.model_utils.config import ROOT, parse
from src.schema.options import BY_NAME, COMMANDS, INT_MAX, INTS, NETWORKS, OPTIONS
from src.utils.errors import UsageError

DIGITS = ["--dataset", "digits"]


def refused(command: str, *argv: str) -> str:
    """The sentence with which a command line is refused."""
    with pytest.raises(UsageError) as error:
        parse(command, argv)
    return str(error.value)


# Which value wins


@pytest.mark.parametrize(
    ("file", "flags", "value", "source"),
    [
        ("", "", 120, "default"),  # densenet121_config.yaml
        ("", "--net densenet100", 300, "default"),  # densenet100_config.yaml
        ("", "--net densenet201", 120, "default"),
        ("", "--net densenet100 --max_epoch 7", 7, "flag"),
        ("max_epoch: 5", "", 5, "yaml"),
        ("max_epoch: 5", "--net densenet100", 5, "yaml"),
        ("max_epoch: 5", "--max_epoch=7", 7, "flag"),
        ("max_epoch: 5", "--max_epoch 5", 5, "flag"),
        ("net: densenet100", "", 120, "default"),  # the file stands instead of densenet100_config.yaml: the schema's
        ("", "--max_epoch 7 --max_epoch 8", 8, "flag"),
        ("", "--config_path= --net densenet100", 300, "default"),
    ],
)
def test_precedence(tmp_path, file, flags, value, source):
    argv = ["--train_data_dir", "d", *flags.split()]
    if file:
        (tmp_path / "a.yaml").write_text(file)
        argv += ["--config_path", str(tmp_path / "a.yaml")]
    config = parse("train", argv)
    assert (config.max_epoch, config.source("max_epoch")) == (value, source)


@pytest.mark.parametrize("net", NETWORKS)
def test_net_keeps_its_name_and_picks_the_usual_data_set(net):
    config = parse("train", ["--net", net, "--train_data_dir", "d"])
    usual = ("cifar10", 10, 32, 64) if net == "densenet100" else ("imagenet", 1000, 224, 32)
    assert config.net == net
    assert (config.dataset, config.num_classes, config.image_size, config.per_batch_size) == usual


def test_config_path_has_a_second_name(tmp_path):
    """That of the model zoo's ModelArts examples."""
    (tmp_path / "a.yaml").write_text("max_epoch: 5")
    config = parse("train", [f"--_config_path={tmp_path}/a.yaml", *DIGITS])
    assert (config.max_epoch, config.config_path) == (5, f"{tmp_path}/a.yaml")


def test_file_with_only_a_net_still_picks_its_usual_data_set(tmp_path):
    (tmp_path / "a.yaml").write_text("net: densenet100")
    config = parse("train", ["--config_path", str(tmp_path / "a.yaml"), "--train_data_dir", "d"])
    assert (config.dataset, config.source("dataset"), config.source("net")) == ("cifar10", "default", "yaml")


@pytest.mark.parametrize(
    ("file", "flags", "classes_and_size"),
    [
        ("", "--net densenet100 --dataset cifar10", (10, 32)),
        ("", "--net densenet100 --dataset folder", (0, 0)),
        ("", "--net densenet100 --dataset folder --num_classes 5", (5, 0)),
        ("", "--net densenet100 --dataset folder --image_size 64", (0, 64)),
        ("dataset: list\nnum_classes: 7", "--dataset list", (7, 0)),
        ("dataset: list\nnum_classes: 7", "--dataset folder", (0, 0)),
        ("num_classes: 7", "--dataset folder", (7, 0)),  # the file says nothing of another data set
    ],
)
def test_classes_and_size_belong_to_the_data_set(tmp_path, file, flags, classes_and_size):
    argv = ["--train_data_dir", "d", *flags.split()]
    if file:
        (tmp_path / "a.yaml").write_text(file)
        argv += ["--config_path", str(tmp_path / "a.yaml")]
    config = parse("train", argv)
    assert (config.num_classes, config.image_size) == classes_and_size
    if config.num_classes == 0:
        assert config.source("num_classes") == "default"


@pytest.mark.parametrize(
    ("flags", "size"),
    [
        ("--net densenet100 --dataset folder", 32),  # its own, and not the 224 of photographs: 49 times the work
        ("--net densenet100 --dataset csv", 32),
        ("--net densenet100 --dataset folder --image_size 64", 64),
        ("--net densenet121 --dataset folder", 0),  # the data set's
    ],
)
def test_the_input_of_a_network_that_is_small_is_small(flags, size):
    assert parse("train", ["--train_data_dir", "d", *flags.split()]).geometry()["image_size"] == size


@pytest.mark.parametrize(
    ("file", "flags", "given"),
    [
        ("", "", None),
        ("", "--net densenet100", None),  # 300 in densenet100_config.yaml, which nobody gave
        ("max_epoch: 5", "", 5),
        ("max_epoch: 5", "--max_epoch 7", 7),
        ("lr: 0.2", "", None),
        ("", "--max_epoch 120", 120),  # the default, but asked for
    ],
)
def test_given_is_what_somebody_asked_for(tmp_path, file, flags, given):
    argv = [*DIGITS, *flags.split()]
    if file:
        (tmp_path / "a.yaml").write_text(file)
        argv += ["--config_path", str(tmp_path / "a.yaml")]
    assert parse("train", argv).given("max_epoch") == given


FOLDER = {"dataset": "folder", "train_data_dir": "earlier/train", "eval_data_dir": "earlier/val"}


@pytest.mark.parametrize(
    ("recipe", "flags", "expected"),
    [
        (FOLDER, "", ("folder", "earlier/val")),
        (FOLDER, "--eval_data_dir mine", ("folder", "mine")),
        (FOLDER, "--dataset folder --eval_data_dir mine", ("folder", "mine")),
        (FOLDER, "--dataset list --eval_data_dir mine", ("list", "mine")),
        (FOLDER, "--dataset digits", ("digits", "")),  # not the path of another data set
        ({"dataset": "digits"}, "", ("digits", "")),
        (FOLDER | {"dataset": "secret"}, "--eval_data_dir mine", ("imagenet", "mine")),
        (FOLDER | {"dataset": ["folder"]}, "--eval_data_dir mine", ("imagenet", "mine")),
        (FOLDER | {"eval_data_dir": 7}, "--eval_data_dir mine", ("folder", "mine")),
        (None, "--eval_data_dir mine", ("imagenet", "mine")),
        ("folder", "--eval_data_dir mine", ("imagenet", "mine")),
        (None, "--net densenet100 --eval_data_dir mine", ("cifar10", "mine")),
    ],
)
def test_data_set_is_what_was_given_else_the_earlier_runs(recipe, flags, expected):
    config = parse("export", ["--ckpt_file", "a", *flags.split()])
    assert config.data_set("eval_data_dir", recipe) == expected


def test_each_part_of_the_data_has_its_own_path():
    config = parse("export", ["--ckpt_file", "a", "--train_data_dir", "mine"])
    assert config.data_set("train_data_dir", FOLDER) == ("folder", "mine")
    assert config.data_set("eval_data_dir", FOLDER) == ("folder", "earlier/val")


@pytest.mark.parametrize(
    ("recipe", "flags", "message"),
    [
        (None, "", "found no eval_data_dir, expected the folder or file of the imagenet data; give --eval_data_dir"),
        (FOLDER | {"eval_data_dir": 7}, "", "the folder or file of the folder data"),
        (FOLDER | {"eval_data_dir": ""}, "", "the folder or file of the folder data"),
        (FOLDER | {"dataset": "secret"}, "", "the folder or file of the imagenet data"),
        (FOLDER, "--dataset list", "the folder or file of the list data"),
        (
            {"dataset": "digits"},
            "--eval_data_dir mine",
            "found eval_data_dir 'mine' with dataset digits, which is bund",
        ),
    ],
)
def test_no_data_set_to_be_found(recipe, flags, message):
    config = parse("export", ["--ckpt_file", "a", *flags.split()])
    with pytest.raises(UsageError, match=message):
        config.data_set("eval_data_dir", recipe)


# Flags


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_key_is_a_flag(option):
    values = {"config_path": str(ROOT / "densenet100_config.yaml"), "dataset": "digits", "eval_data_dir": "bundled"}
    values |= {"train_data_dir": "bundled", "rank": "0", "eta_min": "0.05"}
    plain = {str: "some/file", int: "1", float: "0.5", bool: "true", INTS: "3,4"}
    text = values.get(option.name) or (str(option.choices[-1]) if option.choices else plain[option.type])
    needed = {
        "reset_head": ["--train_pretrained=p"], "enable_modelarts": ["--train_url=u"],
        "class_weight_power": ["--class_weights=auto"], "patience": ["--eval_data_dir=bundled"],
        "teacher_temperature": ["--teacher=t"], "teacher_weight": ["--teacher=t"],
    }.get(option.name, [])  # fmt: skip
    command = "train" if not option.asks else option.commands[0]
    others = DIGITS if command == "train" else ["--dataset=digits", "--ckpt_files=c"]
    if command == "export":
        needs_onnx = option.name in ("quantize", "include_preprocessing")
        others = ["--ckpt_file=c", "--file_format=ONNX"] if needs_onnx else ["--ckpt_file=c"]
    if command == "predict":
        others, text = ["--model=m", "--images=i"], "some.csv" if option.name == "output" else text
    others = others[1:] if option.name == "images" else others
    others = others[:1] if option.name == "engine" else others
    config = parse(command, [*others, *needed, f"--{option.name}", text])
    assert config.source(option.name) == "flag"
    value = getattr(config, option.name)
    assert (",".join(map(str, value)) if option.type == INTS else str(value).lower()) == text.lower()


def test_flag_of_another_command_is_accepted_and_reported_unless_it_asks_for_something():
    config = parse("eval", ["--ckpt_files", "a", "--lr", "0.3", "--net=densenet100", "--max_epoch", "9"])
    assert config.ignored == ("lr", "max_epoch")
    assert config.lr == 0.3
    with pytest.raises(
        UsageError, match=r"found --predictions with value 'p.csv', which train.py does not use; eval.py"
    ):
        parse("train", [*DIGITS, "--predictions", "p.csv"])


@pytest.mark.parametrize(
    ("argv", "nesterov"),
    [
        (["--nesterov"], True),
        (["--nesterov", "--seed", "2"], True),
        (["--nesterov", "False"], False),
        (["--nesterov=off"], False),
    ],
)
def test_bare_bool(argv, nesterov):
    assert parse("train", [*DIGITS, *argv]).nesterov is nesterov


def test_values_that_look_like_something_else():
    config = parse("train", [*DIGITS, "--save_ckpt_path=--lr=2", "--eval_data_dir", "", "--train_pretrained", ""])
    assert (config.save_ckpt_path, config.eval_data_dir, config.train_pretrained) == ("--lr=2", "", "")
    assert (config.lr, config.source("train_pretrained")) == (0.1, "flag")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--lrr 0.2", "found unknown flag '--lrr' with value '0.2'; did you mean --lr?"),
        ("--lrr=0.2", "found unknown flag '--lrr' with value '0.2'; did you mean --lr?"),
        ("--momentun", "found unknown flag '--momentun'; did you mean --momentum?"),
        ("--train-data-dir d", "found unknown flag '--train-data-dir' with value 'd'; did you mean --train_data_dir?"),
        ("--t_max 3", "found unknown flag '--t_max' with value '3'; did you mean --T_max?"),
        ("--max 3", "found unknown flag '--max' with value '3'; did you mean --max_epoch?"),
        ("-lr 0.2", "found unknown flag '-lr' with value '0.2'; did you mean --lr?"),
        ("--qqqq 1", "found unknown flag '--qqqq' with value '1'; --help lists the flags"),
        ("-- 1", "found unknown flag '--' with value '1'; --help lists the flags"),
        ("imagenet", "found 'imagenet' where a flag was expected, such as --lr 0.1; --help lists the flags"),
        ("lr=0.2", "found 'lr=0.2' where a flag was expected, such as --lr 0.1; did you mean --lr?"),
        ("--lr 0.1 0.2", "found '0.2' where a flag was expected, such as --lr 0.1; --help lists the flags"),
        ("--lr", "--lr: found no value, expected a number of more than 0, such as 0.1; write --lr=VALUE"),
        ("--resume --seed 3", "--resume: found no value, expected text; write --resume=VALUE"),
        ("--lr 0 --lr 1", "--lr: found '0', which is out of range; expected a number of more than 0, such as 0.1"),
        ("--debug maybe", "--debug: found 'maybe', expected true or false"),
        ("--config_path none.yaml", "none.yaml: found no such file, expected a YAML file; give another one with "
         "--config_path"),
        ("--config_path .", ".: cannot be read (Is a directory), expected a YAML file; give another one with "
         "--config_path"),
    ],
)  # fmt: skip
def test_refused_command_line(argv, message):
    assert refused("train", *DIGITS, *argv.split()) == message


@given(st.lists(st.one_of(st.sampled_from(["--lr", "--net", "--debug", "--", "-", "0.1"]), st.text(max_size=8))))
@settings(max_examples=100, deadline=None)
def test_any_command_line_is_understood_or_refused(argv):
    assume(not {"-h", "--help"} & set(argv))
    try:
        parse("train", argv)
    except UsageError as error:
        assert str(error)


def test_network_yaml_is_checked_like_any_other(tmp_path, monkeypatch):
    monkeypatch.setattr("src.model_utils.config.ROOT", tmp_path)
    path = tmp_path / "densenet121_config.yaml"
    assert refused("train", *DIGITS).startswith(f"{path}: found no such file")
    path.write_text("net: densenet161\nlrr: 1")
    assert refused("train", *DIGITS) == f"{path}, line 2: found unknown key 'lrr' with value '1', did you mean lr?"
    path.write_text("net: densenet161")
    assert parse("train", DIGITS).net == "densenet161"


# Saved and given back


def _values(option) -> st.SearchStrategy[str]:
    """Text of valid values of an option."""
    if option.choices:
        return st.sampled_from([str(choice) for choice in option.choices])
    if option.type is bool:
        return st.sampled_from(["true", "false", "Yes", "no", "ON", "off", "1", "0"])
    if option.type is str:  # surrogates: bytes of a file name that are not UTF-8, as Python hands them to us
        odd = st.sampled_from("\udc80\x85\u2028\u2029\ufeff\x07\n\t'\"\\:#-{}[]&*!|>%@ ~é世🙂")
        return st.text(
            st.one_of(odd, st.sampled_from(string.printable), st.characters(exclude_characters="\0")), max_size=12
        )
    if option.type is float:
        low, high = option.ge if option.ge is not None else option.gt, option.le if option.le is not None else option.lt
        low, high = (1e-3 if option.name == "lr" else low), (1e-3 if option.name == "eta_min" else high)
        bounds = {"exclude_min": option.gt is not None and low == option.gt}
        bounds |= {"exclude_max": option.lt is not None and high == option.lt}
        return st.floats(low, high, allow_nan=False, allow_infinity=False, **bounds).map(repr)
    numbers = st.integers(int(option.ge), int(option.le or INT_MAX))
    if option.type == INTS:
        return st.lists(numbers, unique=True, max_size=5).map(lambda items: ",".join(map(str, sorted(items))))
    return numbers.map(str)


SAVED = {option.name: _values(option) for option in OPTIONS if option.saved}


# predict.py's own keys belong to one call.
@pytest.mark.slow
@given(st.fixed_dictionaries(SAVED), st.sampled_from([command for command in COMMANDS if command != "predict"]))
@settings(max_examples=10, deadline=None)  # a hundred values each
def test_flags_to_saved_file_and_back(tmp_path_factory, texts, command):
    texts = _possible(texts)
    path = tmp_path_factory.mktemp("run") / "config.yaml"
    for key in [key for key in texts if BY_NAME[key].asks and command not in BY_NAME[key].commands]:
        del texts[key]
    given_by_flag = parse(command, [f"--{key}={text}" for key, text in texts.items()])
    given_by_flag.to_yaml(path)
    given_back = parse(command, ["--config_path", str(path)])
    assert given_back.replace(config_path="").as_dict() == given_by_flag.as_dict()
    assert {given_back.source(key) for key in SAVED} == {"yaml"}
    assert given_back.ignored == ()


@pytest.mark.slow
@given(st.fixed_dictionaries(SAVED))
@settings(max_examples=10, deadline=None)  # a hundred values each
def test_text_means_the_same_in_a_file_as_in_a_flag(tmp_path_factory, texts):
    texts = {key: text for key, text in _possible(texts).items() if text.isascii() and text.isprintable()}
    path = tmp_path_factory.mktemp("run") / "a.yaml"
    path.write_text("\n".join(f"{key}: '{text.replace(chr(39), chr(39) * 2)}'" for key, text in texts.items()))
    for key in [key for key in texts if BY_NAME[key].asks and "train" not in BY_NAME[key].commands]:
        del texts[key]
    by_flag = parse("train", [f"--{key}={text}" for key, text in texts.items()])
    by_file = parse("train", ["--config_path", str(path)])
    assert {key: getattr(by_file, key) for key in texts} == {key: getattr(by_flag, key) for key in texts}


def _possible(texts: dict[str, str]) -> dict[str, str]:
    """The texts without the impossible combinations among them."""
    texts = texts | {
        "train_pretrained": "p",
        "train_data_dir": "bundled",
        "eval_data_dir": "bundled",
        "ckpt_files": "c",
        "ckpt_file": "c",
        "images": "",
        "val_split": "0",
        "class_weights": "auto",
        "file_format": "ONNX",
        "mindir_version": "3",
        "export_fp16": "false",
        "sync_batch_norm": "false",
        "cpu_kernels": "auto",
        "cpu_precision": "fp32",
        "teacher": "t",
        "engine": "",
        "eval_image_size": "0",
        "progressive_size": "",
        "auto_augment": "none",
        "tta": "false",
        "include_preprocessing": "false",
    }
    texts = {key: text.replace("~", "-") if BY_NAME[key].is_path else text for key, text in texts.items()}  # no homes
    texts |= {"rank": "0", "warmup_epochs": str(min(float(texts["warmup_epochs"]), int(texts["max_epoch"])))}
    texts |= {"block_config": ",".join(texts["block_config"].split(",")[:8])}
    texts |= {"per_batch_size": str(max(2, int(texts["per_batch_size"])))}  # images are mixed with others
    texts |= {"compression": "0.001"} if 0 < float(texts["compression"]) < 0.001 else {}
    return texts | {"label_smooth_factor": "0.1"}


def test_saved_file_leaves_out_what_belongs_to_one_call(tmp_path):
    parse("train", [*DIGITS, "--resume", "auto", "--debug"]).to_yaml(tmp_path / "c.yaml")
    keys = {line.partition(":")[0] for line in (tmp_path / "c.yaml").read_text().splitlines() if ": " in line}
    assert keys - {"# Resolved configuration; use it again"} == set(SAVED)
    cloud = set(parse("train", DIGITS).values_of("modelarts"))
    prediction = {"model", "top", "output", "heatmap", "unknown_below"}
    assert set(BY_NAME) - set(SAVED) == {"resume", "config_path", "debug", "dry_run", "lr_find"} | prediction | cloud


# The object


def test_configuration_is_read_only():
    config = parse("train", DIGITS)
    with pytest.raises(AttributeError, match="read-only"):
        config.lr = 0.2
    with pytest.raises(AttributeError, match="read-only"):
        del config.lr
    with pytest.raises(AttributeError, match="'Config' object has no attribute 'lrr'"):
        _ = config.lrr
    assert config.lr == 0.1


def test_replace_checks_and_keeps_the_source():
    config = parse("train", [*DIGITS, "--lr", "0.2"])
    other = config.replace(num_classes=10, lr_epochs=[3, 4], lr=1, nesterov=True)
    assert (other.num_classes, other.lr_epochs, other.lr, other.nesterov) == (10, (3, 4), 1.0, True)
    assert (config.num_classes, config.lr, config.nesterov) == (0, 0.2, False)
    assert (other.source("num_classes"), other.source("lr")) == ("default", "flag")
    for change, message in [
        ({"num_classes": True}, "num_classes: found 'True', expected a whole number"),
        ({"rank": 3}, "found rank 3 with group_size 1"),
    ]:
        with pytest.raises(UsageError, match=message):
            config.replace(**change)
    with pytest.raises(TypeError, match="resume cannot become None"):
        config.replace(resume=None)
    with pytest.raises(KeyError):
        config.replace(lrr=1)
    with pytest.raises(KeyError):
        config.source("lrr")


def test_copies_are_equal():
    config = parse("train", DIGITS)
    assert pickle.loads(pickle.dumps(config)) == copy.deepcopy(config) == config  # noqa: S301
    assert config.replace(seed=2) != config


# Help and import


@pytest.mark.parametrize(("command", "width"), list(itertools.product(COMMANDS, (44, 80, 200))))
def test_help_lists_what_the_command_uses(capsys, monkeypatch, command, width):
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit) as exit_:
        parse(command, ["--lrr", "--help"], "What the command does.")
    out = capsys.readouterr().out
    assert exit_.value.code == 0
    assert out.startswith(f"usage: python {command}.py ")
    assert "\nWhat the command does.\n" in out
    assert "README.md" in out.splitlines()[-1] or "README.md" in out.splitlines()[-2]
    flags = [line.split()[0] for line in out.splitlines() if line.startswith("  --")]
    assert flags == [f"--{option.name}" for option in OPTIONS if command in option.commands]
    assert max(map(len, out.splitlines())) <= width


def test_help_shows_the_defaults_of_the_network(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    for argv, epochs, net in [([], 120, "densenet121"), (["--net", "densenet100"], 300, "densenet100")]:
        with pytest.raises(SystemExit):
            parse("train", [*argv, "-h"])
        out = capsys.readouterr().out
        assert f"  --max_epoch INT                     epochs to train [{epochs}]\n" in out
        assert f"those of --net {net} ({net}_config.yaml)." in out


def test_import_reads_nothing_and_leaves_mindspore_alone():
    code = (
        "import sys; sys.argv += ['--nonsense']; sys.addaudithook(lambda event, args: "
        "event == 'open' and str(args[0]).endswith('.yaml') and sys.exit(f'opened {args[0]}')); "
        "import src.model_utils.config; print('mindspore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("False\n", "", 0)
