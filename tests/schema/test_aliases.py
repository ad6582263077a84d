"""The hints for names of other tools and of other commands."""

import pytest

from src.model_utils.config import parse
from src.schema.aliases import _ALIASES, _TABLE, advice, meant
from src.schema.options import BY_NAME, COMMANDS
from src.utils.errors import UsageError

NEEDED = {
    "train": ["--dataset", "digits"],
    "eval": ["--ckpt_files", "a.ckpt"],
    "export": ["--ckpt_file", "a.ckpt"],
    "eval_onnx": ["--ckpt_files", "a.onnx", "--dataset", "digits"],
    "predict": ["--model", "a.ckpt", "--images", "a.jpg"],
}


@pytest.mark.parametrize("names, target", _TABLE, ids=[names.split()[0] for names, _ in _TABLE])
def test_a_hint_names_keys_that_the_command_uses(names, target):
    assert isinstance(target, str) or set(target) <= set(COMMANDS)
    for command, keys in target.items() if isinstance(target, dict) else ((None, target),):
        for key in keys.split():
            assert command in BY_NAME[key].commands or (command is None and BY_NAME[key].commands)
    for name in names.split():
        found = {command: meant(name, command) for command in COMMANDS}
        for keys in found.values():
            assert name not in keys
            assert name in BY_NAME or not keys or set(keys) <= set(BY_NAME)
        assert any(found.values())


def test_no_name_is_there_twice():
    names = [name for names, _ in _TABLE for name in names.split()]
    assert len(names) == len(set(names)) == len(_ALIASES)


@pytest.mark.parametrize(
    "command, flag, hint",
    [
        ("train", "--epochs", "unknown flag '--epochs' with value '3'; did you mean --max_epoch?"),
        ("train", "--num-epochs", "did you mean --max_epoch?"),
        ("train", "--data", "did you mean --train_data_dir?"),
        ("eval", "--data", "did you mean --eval_data_dir?"),
        (
            "train",
            "--batch_size",
            "found --batch_size with value '3', which train.py does not use; did you mean --per_",
        ),
        ("eval", "--batch_size", "did you mean --per_batch_size?"),
        ("export", "--per_batch_size", "which export.py does not use; did you mean --batch_size?"),
        ("train", "--learning_rate", "did you mean --lr?"),
        ("train", "--workers", "did you mean --num_parallel_workers?"),
        ("train", "--output", "did you mean --save_ckpt_path?"),
        ("export", "--output", "did you mean --file_name?"),
        ("train", "--checkpoint", "did you mean --train_pretrained or --resume?"),
        ("eval", "--checkpoint", "did you mean --ckpt_files?"),
        ("export", "--ckpt_files", "which export.py does not use; did you mean --ckpt_file?"),
        ("train", "--model", "did you mean --net?"),
        ("eval_onnx", "--model", "did you mean --ckpt_files?"),
        ("eval", "--model", "did you mean --ckpt_files or --net?"),
        ("predict", "--ckpt_file", "did you mean --model?"),
        ("predict", "--data", "did you mean --images?"),
        ("predict", "--topk", "did you mean --top?"),
        ("train", "--arch", "did you mean --net?"),
        ("train", "--gpus", "did you mean --device_target?"),
        ("train", "--wd", "did you mean --weight_decay?"),
        ("eval", "--train_data_dir", "which eval.py does not use; did you mean --eval_data_dir?"),
        ("eval", "--resume", "which eval.py does not use; did you mean --ckpt_files?"),
        ("train", "--predictions", "which train.py does not use; eval.py and eval_onnx.py would"),
        ("eval", "--images", "which eval.py does not use; predict.py says what pictures show"),
        ("train", "--init_method", "it comes with ModelArts: give --enable_modelarts true, or leave it out"),
    ],
)
def test_a_flag_that_would_mislead_is_an_error_with_the_right_hint(command, flag, hint):
    with pytest.raises(UsageError) as error:
        parse(command, [*NEEDED[command], flag, "3"])
    assert hint in str(error.value)


def test_a_key_of_another_tool_in_a_yaml_file_gets_the_hint_too(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("epochs: 3\n")
    with pytest.raises(UsageError, match=r"found unknown key 'epochs' with value '3', did you mean max_epoch\?"):
        parse("train", ["--config_path", str(path)])
    assert advice("qqqq", prefix="") == "`python train.py --help` lists the keys"


MODELARTS = ["--enable_modelarts", "true", "--train_url", "obs://b/out"]


@pytest.mark.parametrize("command", ["train", "eval", "export"])
def test_what_modelarts_adds_is_taken_and_reported(command):
    """On the second of two hosts: its --rank is the host's number, not a rank."""
    added = ["--init_method=tcp://job-0:6666", "--world_size", "2", "--rank", "1", "--local_rank=0"]
    config = parse(command, [*NEEDED[command], *added, *MODELARTS])
    assert config.ignored == ("init_method", "world_size", "rank", "local_rank")
    assert config.replace(seed=2).ignored == config.ignored
    assert config.rank == 0


@pytest.mark.parametrize("spelling", ["True", "TRUE", "true", "1", "yes", "On"])
def test_booleans_slashes_and_gpus_as_the_console_passes_them(spelling):
    added = [f"--enable_modelarts={spelling}", "--train_url=obs://b/out/", "--data_url=obs://b/in/", "--num_gpus=8"]
    config = parse("train", [*NEEDED["train"], *added, f"--is_save_on_master={spelling}"])
    assert config.enable_modelarts is True and config.is_save_on_master in (True, 1)
    assert (config.train_url, config.ignored) == ("obs://b/out/", ("num_gpus",))
    with pytest.raises(UsageError, match="unknown flag"):  # a misspelt hyperparameter is never dropped
        parse("train", [*NEEDED["train"], *added, "--lerning_rate=0.1"])


def test_a_rank_alone_is_the_users_own():
    with pytest.raises(UsageError, match="found rank 1 with group_size 1"):
        parse("train", [*NEEDED["train"], *MODELARTS, "--rank", "1"])
    for flag in ("--init_method=x", "--world_size=2", "--local_rank=0"):
        with pytest.raises(UsageError, match="unknown flag"):
            parse("train", [*NEEDED["train"], flag])
