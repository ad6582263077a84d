"""What a user, a disk or a stranger's file can get wrong: one clear line on stderr, the right status, nothing lost."""

import fcntl
import json
import resource
import shlex
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from commands import NETWORK, ROOT, TINY, contents, only, write_cifar, write_pictures

import eval as evaluation
import train
from src.utils.checkpoint import METADATA_KEY, save_checkpoint
from src.utils.errors import run

MAIN = {"train": train.main, "eval": evaluation.main}

# (command, flags, exit status, what the line must say). The flags of `train` come after those of the tiny network on
# digits, so they replace them. {b} is the folder that `bench` fills, {run} a finished run in it; the other placeholders
# are in `_fill_in`.
FLAGS = [
    ("train", "--learning 0.1", 2, "unknown flag '--learning' with value '0.1'"),
    ("train", "--max_epochs 3", 2, "unknown flag '--max_epochs' with value '3'; did you mean --max_epoch?"),
    ("train", "-lr 0.1", 2, "unknown flag '-lr' with value '0.1'; did you mean --lr?"),
    ("train", "lr=0.1", 2, "found 'lr=0.1' where a flag was expected, such as --lr 0.1; did you mean --lr?"),
    ("train", "--lr fast", 2, "--lr: found 'fast', expected a number of more than 0"),
    ("train", "--lr nan", 2, "--lr: found 'nan', expected a number of more than 0"),
    ("train", "--lr 0", 2, "--lr: found '0', which is out of range; expected a number of more than 0"),
    ("train", "--lr", 2, "--lr: found no value, expected a number of more than 0"),
    ("train", "--max_epoch 1.5", 2, "--max_epoch: found '1.5', expected a whole number of at least 1"),
    ("train", "--max_epoch 99999999999", 2, "--max_epoch: found '99999999999', which is too large"),
    ("train", "--nesterov maybe", 2, "--nesterov: found 'maybe', expected true or false"),
    ("train", "--lr_epochs 30;60", 2, "--lr_epochs: found '30;60', expected whole numbers separated by commas"),
    ("train", "--net densenet12", 2, "--net: found 'densenet12', expected one of densenet100, densenet121"),
    ("train", "--dataset cifar", 2, "--dataset: found 'cifar', expected one of cifar10, imagenet"),
    ("train", "--momentum 1", 2, "--momentum: found '1', which is out of range"),
    ("train", "--per_batch_size 0", 2, "--per_batch_size: found '0', which is out of range"),
    ("train", "--num_parallel_workers 100000", 2, "num_parallel_workers is 100000; this machine allows 1 to"),
    ("train", "--resume {run} --train_pretrained x.ckpt", 2, "found both resume"),
    ("train", "--reset_head", 2, "reset_head true without train_pretrained"),
    ("train", "--label_smooth --label_smooth_factor 0", 2, "label_smooth true with label_smooth_factor 0"),
    ("train", "--warmup_epochs 2", 2, "warmup_epochs 2 with max_epoch 1, expected no more than max_epoch"),
    ("train", "--lr_epochs 60,30", 2, "lr_epochs 60,30, expected epochs that increase"),
    ("train", "--eta_min 0.5", 2, "eta_min 0.5 with lr 0.1, expected no more than lr"),
    ("train", "--rank 1", 2, "rank 1 with group_size 1, expected less than group_size"),
    ("train", "--rank 1 --group_size 2", 2, "rank 1 of group_size 2 was asked for, but this process is rank 0 of 1"),
    ("train", "--dataset cifar10", 2, "found no train_data_dir, expected the folder or file of the cifar10 data"),
    ("train", "--train_data_dir {b}", 2, "with dataset digits, which is bundled"),
    ("eval", "--ckpt_file {run}/best.ckpt", 2, "unknown flag '--ckpt_file'"),
    ("eval", "", 2, "found no ckpt_files, expected a checkpoint or a folder of checkpoints"),
    ("eval", "{best} --dataset folder", 2, "found no eval_data_dir"),
    ("eval", "{best} --net densenet169", 2, "net is densenet169, but"),
    ("eval", "--ckpt_files {run} --predictions {b}/p.csv", 2, "predictions are of one checkpoint"),
    ("eval", "{best} --predictions {b}/a_file", 2, "a_file exists and is not overwritten"),
    ("eval", "{best} --group_size 2", 2, "this process is rank 0 of 1"),
]
YAML = [
    ("train", "--config_path {b}/yaml/syntax.yaml", 2, "syntax.yaml, line 3: found a syntax error"),
    ("train", "--config_path {b}/yaml/tag.yaml", 2, "found the tag '!!python/object/apply:os.system'"),
    ("train", "--config_path {b}/yaml/twice.yaml", 2, "twice.yaml, line 2: lr is given a second time, as '0.2'"),
    ("train", "--config_path {b}/yaml/unknown.yaml", 2, "unknown key 'momentun' with value '0.9', did you mean mom"),
    ("train", "--config_path {b}/yaml/type.yaml", 2, "type.yaml, line 1: max_epoch: found 'ten', expected a whole"),
    ("train", "--config_path {b}/yaml/nothing.yaml", 2, "nothing.yaml, line 1: lr: found no value, expected one"),
    ("train", "--config_path {b}/yaml/list.yaml", 2, "list.yaml: found a list, expected lines such as `lr: 0.1`"),
    ("train", "--config_path {b}/yaml/bomb.yaml", 2, "bomb.yaml, line 1: found unknown key 'a'"),
    ("train", "--config_path {b}/yaml/empty.yaml", 2, "empty.yaml: found no keys at all"),
    ("train", "--config_path {run}/best.ckpt", 2, "best.ckpt, line 2: found byte 0x"),
    ("train", "--config_path {run}/preview.png", 2, "preview.png, line 1: found byte 0x89, expected text in UTF-8"),
    ("train", "--config_path {b}", 2, "cannot be read (Is a directory), expected a YAML file"),
    ("train", "--config_path {b}/none.yaml", 2, "none.yaml: found no such file, expected a YAML file"),
    ("eval", "--config_path {b}/yaml/tag.yaml", 2, "found the tag '!!python/object/apply:os.system'"),
]
DATA = [
    ("train", "{folder}/none", 1, "none cannot be read: No such file or directory"),
    ("train", "{folder}/a_file", 1, "a_file cannot be read: Not a directory"),
    ("train", "{folder}/{long}", 1, "cannot be read: File name too long"),
    ("train", "{folder}/empty", 1, "empty has no class folders"),
    ("train", "{folder}/good/cat", 1, "cat has no class folders"),
    ("train", "{folder}/no_pictures", 1, "no_pictures hold no pictures"),
    ("train", "{folder}/good --num_classes 1", 1, "num_classes is 1, but the data set has 2 classes"),
    ("train", "{folder}/cut", 1, "cut/dog/1.jpg should be a complete JPEG"),
    ("train", "{folder}/text", 1, "text/dog/1.jpg should be a complete JPEG"),
    ("train", "{folder}/text --num_parallel_workers 1", 1, "text/dog/1.jpg should be a complete JPEG"),
    ("train", "{folder}/no_jpegs --on_bad_image skip", 1, "none of the 2 train images in"),
    ("train", "{folder}/good --eval_data_dir {b}/cut", 1, "cut/dog/1.jpg should be a complete JPEG"),
    ("train", "{folder}/good --eval_data_dir {b}/bird", 1, "class folders that the network does not know, first 'bi"),
    ("eval", "{cats} {held_out} {b}/cut", 1, "cut/dog/1.jpg should be a"),
    ("eval", "{cats} {held_out} {b}/text", 1, "text/dog/1.jpg should be a"),
    ("eval", "{cats} {held_out} {b}/bird", 1, "does not know, first 'bird'"),
    ("eval", "{best} --dataset folder --eval_data_dir {b}/good", 1, "not know, first 'cat'"),
    ("train", "{cifar} {b}/empty", 1, "holds no data_batch_*.bin"),
    ("train", "{cifar} {b}/cifar_cut", 1, "has 15000 bytes, not whole records of 3073"),
    ("train", "{cifar} {b}/cifar_label", 1, "has the label 10 in record 0; expected 0 to 9"),
    ("train", "{cifar} {b}/cifar --num_classes 5", 1, "num_classes is 5, but the data set h"),
    ("train", "{cifar} {b}/a_file", 1, "a_file is no folder; expected the one that holds"),
    ("train", "{cifar} {b}/cifar --eval_data_dir {b}/cifar_cut --per_batch_size 8", 1, "bin has 0 b"),
    ("eval", "{best} --dataset cifar10 --eval_data_dir {b}/cifar", 1, "holds no test_batch.bin"),
    ("eval", "{cats} --dataset digits", 1, "labels of 10 classes, but the network knows 2"),
    ("train", "{list}/word.txt", 1, "word.txt line 2: expected `path label`, found 'dog/0.jpg'"),
    ("train", "{list}/negative.txt", 1, "negative.txt line 2: the label should be an integer from 0 to 99999, found"),
    ("train", "{list}/missing.txt", 1, "missing.txt line 2: there is no file"),
    ("train", "{list}/empty.txt", 1, "empty.txt is empty; expected `path label` lines"),
    ("train", "{list}/none.txt", 1, "none.txt is no file; expected a text file"),
    ("train", "{list}/cat/0.jpg", 1, "0.jpg is not UTF-8 text; expected `path label` lines"),
    ("train", "{list}/seven.txt --num_classes 5", 1, "num_classes is 5, but the data set has 8 classes"),
    ("eval", "{cats} --dataset list --eval_data_dir {b}/good/seven.txt", 1, "labels of 8 classes"),
    ("train", "--per_batch_size 5000", 1, "the training set has 1442 images, fewer than one batch of 5000; lower"),
    ("train", "--grad_accumulation_steps 6", 1, "the training set has 1442 images, fewer than one batch of"),
    ("train", "--image_size 1", 1, "image_size is 1: the pools of densenet100 with 2 dense blocks leave no pixel"),
]
CHECKPOINTS = [
    ("eval", "--ckpt_files {b}/none.ckpt", 1, "none.ckpt does not exist; give a .ckpt file"),
    ("eval", "--ckpt_files {b}/{long}", 1, "does not exist; give a .ckpt file"),
    ("eval", "--ckpt_files {b}/empty", 1, "empty holds no .ckpt file"),
    ("eval", "--ckpt_files {b}/good/cat/0.jpg", 1, "0.jpg cannot be read as a MindSpore checkpoint"),
    ("eval", "--ckpt_files {c}/empty.ckpt", 1, "empty.ckpt cannot be read as a MindSpore checkpoint"),
    ("eval", "--ckpt_files {c}/noise.ckpt", 1, "noise.ckpt cannot be read as a MindSpore checkpoint"),
    ("eval", "--ckpt_files {c}/cut_1.ckpt", 1, "cut_1.ckpt cannot be read as a MindSpore checkpoint"),
    ("eval", "--ckpt_files {c}/cut_100.ckpt", 1, "cut_100.ckpt cannot be read as a MindSpore checkpoint"),
    ("eval", "--ckpt_files {c}/cut_half.ckpt", 1, "cut_half.ckpt cannot be read as a MindSpore checkpoint"),
    ("eval", "--ckpt_files {c}/cut_crc.ckpt", 1, "cut_crc.ckpt has lost the checksum at its end"),
    ("eval", "--ckpt_files {c}/cut_byte.ckpt", 1, "cut_byte.ckpt"),
    ("eval", "--ckpt_files {c}/flipped.ckpt", 1, "flipped.ckpt cannot be read as a MindSpore checkpoint"),
    ("eval", "--ckpt_files {c}/not_json.ckpt", 1, "carries metadata that is not this project's JSON"),
    ("eval", "--ckpt_files {c}/format.ckpt", 1, "has format 2, this release reads format 1"),
    ("eval", "--ckpt_files {c}/architecture_text.ckpt", 1, "network architecture: found str, expected a mapping"),
    ("eval", "--ckpt_files {c}/growth_text.ckpt", 1, "network architecture: growth_rate is '4', expected an integer"),
    ("eval", "--ckpt_files {c}/growth_huge.ckpt", 1, "network architecture: growth_rate is 1000000000, expected an in"),
    ("eval", "--ckpt_files {c}/all_memory.ckpt", 1, "all_memory.ckpt describes a network of 1"),
    ("eval", "--ckpt_files {c}/growth.ckpt", 1, "growth.ckpt does not fit the network; of another shape: backbone."),
    ("eval", "--ckpt_files {c}/preprocessing.ckpt", 1, "the preprocessing's std should be three numbers between 0 and"),
    ("eval", "--ckpt_files {c}/preprocessing_none.ckpt", 1, "preprocessing_none.ckpt carries no preprocessing"),
    ("eval", "--ckpt_files {c}/names_text.ckpt", 1, "names_text.ckpt carries class_names that are not a list of names"),
    ("eval", "--ckpt_files {c}/names_none.ckpt {dogs}", 1, "names_none.ckpt carries class_names that are not a list"),
    ("eval", "--ckpt_files {c}/names_many.ckpt {lists}", 1, "names_many.ckpt carries 12 class_names"),
    ("eval", "--ckpt_files {c}/recipe_dataset.ckpt", 2, "found no eval_data_dir"),
    ("eval", "--ckpt_files {c}/not_finite.ckpt", 1, "the network's output holds values that are not finite"),
    ("eval", "--ckpt_files {c}/foreign.ckpt --dataset digits {net}", 1, "missing from it: backbone.features.conv0.w"),
    ("train", "--train_pretrained {b}/none.ckpt", 1, "none.ckpt does not exist; give a .ckpt file"),
    ("train", "--train_pretrained {run}", 1, "is a folder; give a .ckpt file"),
    ("train", "--train_pretrained {c}/flipped.ckpt", 1, "flipped.ckpt cannot be read as a MindSpore checkpoint"),
    ("train", "--train_pretrained {c}/foreign.ckpt", 1, "not in the network: other.weight"),
    ("train", "--train_pretrained {run}/best.ckpt --growth_rate 8", 1, "denseblock1.cell_list.0.conv1.weight is (16, "),
    ("train", "--train_pretrained {run}/best.ckpt --block_config 1,1,1", 1, "missing from it: backbone.features."),
    ("train", "{folder}/good --train_pretrained {run}/best.ckpt", 1, "the class counts differ: to fine-tune with a ne"),
    ("train", "--resume {b}/none", 1, "none does not exist; give a .ckpt file"),
    ("train", "--resume {b}/{long}", 1, "does not exist; give a .ckpt file"),
    ("train", "--resume {b}/empty", 1, "empty holds no valid checkpoint 0-EPOCH_STEP.ckpt to resume from"),
    ("train", "--resume {c}/foreign.ckpt", 1, "foreign.ckpt carries no progress: it was not written by this project"),
    ("train", "--resume {c}/flipped.ckpt", 1, "flipped.ckpt cannot be read as a MindSpore checkpoint"),
    ("train", "--resume {c}/recipe_key.ckpt", 1, "recipe_key.ckpt carries the unknown key 'secret'"),
    ("train", "--resume {c}/recipe_value.ckpt", 1, "recipe_value.ckpt: momentum: found '2', which is out of range"),
    ("train", "--resume {c}/recipe_list.ckpt", 1, "recipe_list.ckpt carries no recipe that can be read"),
    ("train", "--resume {c}/progress_text.ckpt", 1, "the checkpoint's progress entry is not what train.py writes"),
    ("train", "--resume {c}/progress_epoch.ckpt", 1, "the checkpoint's progress entry is not what train.py writes"),
    ("train", "--resume {c}/progress_row.ckpt", 1, "the checkpoint's progress entry is not what train.py writes"),
    ("train", "--resume {run} --per_batch_size 100", 1, "which is no multiple of the 100 images that a step takes now"),
    ("train", "--resume {run} --growth_rate 8", 1, "does not fit the network; of another shape: backbone.features."),
    ("train", "--resume {b}/busy", 1, "another process is training in"),
]
MACHINE = [
    ("train", "--device_target GPU", 1, "device_target is GPU, but this MindSpore finds only CPU here"),
    ("train", "--device_target Ascend", 1, "device_target is Ascend, but this MindSpore finds only CPU here"),
    ("eval", "{best} --device_target GPU", 1, "device_target is GPU, but this MindSpore finds"),
    ("train", "--save_ckpt_path {b}/a_file", 1, "cannot create {b}/a_file/2"),
    ("train", "--save_ckpt_path {b}/a_file/below", 1, "cannot create {b}/a_file/below/"),
    ("train", "--save_ckpt_path {b}/dangling", 1, "dangling is no folder and cannot become one; choose another path"),
    ("train", "--save_ckpt_path {b}/{long}", 1, "File name too long; choose another --save_ckpt_path"),
    ("train", "--save_ckpt_path /proc/nowhere", 1, "cannot create /proc/nowhere/"),
    ("eval", "{best} --save_ckpt_path /proc/nowhere", 1, "cannot create /proc/nowhere/"),
    ("eval", "{best} --predictions {b}/none/p.csv", 2, "there is no folder {b}/none; create"),
    ("eval", "{best} --predictions {b}/empty", 2, "empty exists and is not overwritten"),
    ("eval", "{best} --predictions /dev/null", 2, "/dev/null exists and is not overwritten"),
    ("eval", "{best} --predictions {b}/dangling", 2, "dangling exists and is not overwritten"),
    ("eval", "{best} --predictions {b}/{long}/p.csv", 2, "cannot be written: there is no folder"),
    ("eval", "{best} --predictions {b}/{long}", 1, "File name too long; free the disk or choose"),
    ("eval", "{best} --per_batch_size 2000000000", 1, "out of memory (Unable to allocate"),
]
BAD_INPUTS = FLAGS + YAML + DATA + CHECKPOINTS + MACHINE

# Some rows again as a user types them: these also show what MindSpore itself writes on stderr.
AS_PROCESSES = [
    row
    for row in BAD_INPUTS
    if row[1]
    in (
        "--max_epochs 3",
        "--config_path {b}/yaml/tag.yaml",
        "--device_target GPU",
        "--device_target Ascend",
        "{folder}/cut",
        "{folder}/good --eval_data_dir {b}/cut",
        "--ckpt_files {c}/flipped.ckpt",
        "--train_pretrained {c}/foreign.ckpt",
        "--save_ckpt_path /proc/nowhere",
        "--resume {b}/busy",
    )
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory, trained_run) -> Path:
    """A folder full of wrong files, and a few right ones."""
    b = tmp_path_factory.mktemp("bench")
    (b / "a_file").write_text("precious")
    (b / "empty").mkdir()
    (b / "dangling").symlink_to("nowhere")
    shutil.copytree(trained_run, b / "run")
    _write_yaml(b / "yaml")
    _write_data(b)
    _write_checkpoints(b)
    return b


def _write_yaml(folder: Path) -> None:
    folder.mkdir()
    for name, text in {
        "syntax": "lr: 0.1\nmomentum: [1, 2\nseed: 1\n",
        "tag": "lr: !!python/object/apply:os.system ['touch hacked']\n",
        "twice": "lr: 0.1\nlr: 0.2\n",
        "unknown": "momentun: 0.9\n",
        "type": "max_epoch: ten\n",
        "nothing": "lr:\n",
        "list": "- lr\n- momentum\n",
        # as ten nested aliases: four to the tenth power of x
        "bomb": "a: &a [x, x, x, x]\n"
        + "".join(f"{c}: &{c} [*{p}, *{p}, *{p}, *{p}]\n" for p, c in zip("abcdefghij", "bcdefghijk", strict=True)),
        "empty": "",
    }.items():
        (folder / f"{name}.yaml").write_text(text)


def _write_data(b: Path) -> None:
    for name in ("good", "cut", "text"):
        write_pictures(b / name, ("cat", "dog"), each=4)
    write_pictures(b / "bird", ("bird", "cat"), each=1)
    (b / "no_pictures" / "cat").mkdir(parents=True)
    (b / "cut" / "dog" / "1.jpg").write_bytes((b / "good" / "dog" / "1.jpg").read_bytes()[:400])
    (b / "text" / "dog" / "1.jpg").write_text("not a picture")
    for name in ("cat", "dog"):
        (b / "no_jpegs" / name).mkdir(parents=True)
        (b / "no_jpegs" / name / "0.jpg").write_text("not a picture")
    write_cifar(b / "cifar" / "data_batch_1.bin", 8)
    write_cifar(b / "cifar_label" / "data_batch_1.bin", 8, label=10)
    (b / "cifar_cut").mkdir()
    (b / "cifar_cut" / "data_batch_1.bin").write_bytes((b / "cifar" / "data_batch_1.bin").read_bytes()[:15000])
    (b / "cifar_cut" / "test_batch.bin").write_bytes(b"")
    for name, line in {
        "word": "dog/0.jpg",
        "negative": "dog/0.jpg -1",
        "missing": "dog/17.jpg 1",
        "seven": "dog/0.jpg 7",
        "two": "dog/0.jpg 1",
    }.items():
        (b / "good" / f"{name}.txt").write_text(f"cat/0.jpg 0\n{line}\n")
    (b / "good" / "empty.txt").write_text("\n")


def _write_checkpoints(b: Path) -> None:
    """From the good one of the run: damaged bytes, and well-formed files whose metadata lie."""
    folder = b / "ckpt"
    folder.mkdir()
    good = b / "run" / "best.ckpt"
    data = good.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    for name, damaged in {
        "empty": b"",
        "noise": np.random.default_rng(0).bytes(3000),
        "cut_1": data[:1],
        "cut_100": data[:100],
        "cut_half": data[: len(data) // 2],
        "cut_crc": data[:-17],
        "cut_byte": data[:-1],
        "flipped": bytes(flipped),
    }.items():
        (folder / f"{name}.ckpt").write_bytes(damaged)
    loaded = ms.load_checkpoint(str(good))
    metadata = json.loads(loaded.pop(METADATA_KEY))
    arch, prep, recipe, progress = (metadata[k] for k in ("architecture", "preprocessing", "recipe", "progress"))
    huge = {"growth_rate": 512, "bn_size": 64, "block_config": [256] * 8}
    row = progress["history"][0]
    for name, changes in {
        "format": {"format": 2},
        "architecture_text": {"architecture": "densenet121"},
        "growth_text": {"architecture": arch | {"growth_rate": "4"}},
        "growth_huge": {"architecture": arch | {"growth_rate": 10**9}},
        "all_memory": {"architecture": arch | huge},
        "growth": {"architecture": arch | {"growth_rate": 5}},
        "preprocessing": {"preprocessing": prep | {"std": [0, 0, 0]}},
        "names_text": {"class_names": "0123456789"},
        "names_none": {"class_names": []},
        "names_many": {"class_names": [str(i) for i in range(12)]},
        "recipe_dataset": {"recipe": recipe | {"dataset": "secret", "eval_data_dir": "x"}},
        "recipe_key": {"recipe": recipe | {"secret": 1}},
        "recipe_value": {"recipe": recipe | {"momentum": 2}},
        "recipe_list": {"recipe": [1]},
        "progress_text": {"progress": "epoch 3"},
        "progress_epoch": {"progress": progress | {"epoch": -1}},
        "progress_row": {"progress": progress | {"history": [row | {"epoch": "one"}]}},
    }.items():
        save_checkpoint(folder / f"{name}.ckpt", _parameters(loaded), metadata | changes)
    without = {key: value for key, value in metadata.items() if key != "preprocessing"}
    save_checkpoint(folder / "preprocessing_none.ckpt", _parameters(loaded), without)
    not_finite = loaded | {"head.fc.bias": ms.Tensor(np.full(10, np.nan, np.float32))}
    save_checkpoint(folder / "not_finite.ckpt", _parameters(not_finite), metadata)
    other = ms.Parameter(ms.Tensor(np.ones(3, np.float32)), name="other.weight")
    ms.save_checkpoint([{"name": other.name, "data": other}], str(folder / "foreign.ckpt"))
    entry = {METADATA_KEY: "{'format': 1}"}
    ms.save_checkpoint(
        [{"name": other.name, "data": other}], str(folder / "not_json.ckpt"), append_dict=entry, crc_check=True
    )
    heads = {n: ms.Tensor(v.asnumpy()[:2]) if n.startswith("head.fc") else v for n, v in loaded.items()}
    cats = {"class_names": ["cat", "dog"], "architecture": arch | {"num_classes": 2}}
    save_checkpoint(b / "cats.ckpt", _parameters(heads), metadata | cats)
    shutil.copytree(b / "run", b / "busy")
    (b / "busy" / "0-3_1.ckpt").write_bytes(bytes(flipped))


def _parameters(arrays: dict[str, ms.Tensor]) -> list[ms.Parameter]:
    return [ms.Parameter(ms.Tensor(value.asnumpy()), name=name) for name, value in arrays.items()]


@pytest.fixture(scope="module", autouse=True)
def busy_run(bench):
    """Somebody trains in {b}/busy."""
    with (bench / "busy" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fill_in(text: str, b: Path) -> str:
    """The placeholders of the table."""
    short = {
        "{net}": " ".join([*NETWORK, "--image_size 8"]),
        "{folder}": "--dataset folder --per_batch_size 4 --train_data_dir {b}",
        "{best}": "--ckpt_files {run}/best.ckpt",
        "{cats}": "--ckpt_files {b}/cats.ckpt",
        "{held_out}": "--dataset folder --eval_data_dir",
        "{cifar}": "--dataset cifar10 --train_data_dir",
        "{list}": "--dataset list --per_batch_size 1 --train_data_dir {b}/good",
        "{lists}": "--dataset list --eval_data_dir {b}/good/two.txt",
        "{dogs}": "--dataset folder --eval_data_dir {b}/good",
        "{long}": "x" * 300,
        "{run}": "{b}/run",
        "{c}": "{b}/ckpt",
        "{b}": str(b),
    }
    for placeholder, replacement in short.items():
        text = text.replace(placeholder, replacement)
    return text


def _command_line(command: str, flags: str, b: Path, output: Path) -> list[str]:
    argv = shlex.split(_fill_in(flags, b), posix=False)
    if "--save_ckpt_path" not in argv:
        argv += ["--save_ckpt_path", str(output)]
    return [*TINY, *argv] if command == "train" and "--resume" not in argv else argv


def _assert_one_line(stderr: str, fragment: str) -> None:
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("error: ")
    assert fragment in lines[0]
    assert len(lines[0]) < 1200


def _name(row: tuple) -> str:
    return f"{row[0]} {row[1]}"


@pytest.mark.parametrize("row", BAD_INPUTS, ids=_name)
def test_one_clear_line_and_nothing_lost(row, bench, tmp_path, capfd, monkeypatch):
    command, flags, status, fragment = row
    monkeypatch.chdir(tmp_path)
    before = contents(bench)
    assert run(MAIN[command], _command_line(command, flags, bench, tmp_path / "out")) == status
    _assert_one_line(capfd.readouterr().err, _fill_in(fragment, bench))
    after = contents(bench)
    assert {path: after.get(path) for path in before} == before
    assert not (tmp_path / "hacked").exists()


@pytest.mark.slow
@pytest.mark.parametrize("row", AS_PROCESSES, ids=_name)
def test_the_same_as_a_process(row, bench, tmp_path):
    command, flags, status, fragment = row
    argv = _command_line(command, flags, bench, tmp_path / "out")
    done = subprocess.run([sys.executable, ROOT / f"{command}.py", *argv], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == status
    _assert_one_line(done.stderr, _fill_in(fragment, bench))
    assert "Traceback" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "file"),
    [(100, "train.log"), (500, "config.yaml"), (3000, "preview.png"), (22_000, "0-1_5.ckpt"), (30_000, "curves.png")],
)
def test_full_disk(limit, file, tmp_path):
    """A limit on the size of files stands in for it: what can still be written is whole, what cannot is not there."""
    argv = [sys.executable, ROOT / "train.py", *TINY, "--save_ckpt_path", tmp_path]
    full = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
    done = subprocess.run(argv, capture_output=True, text=True, preexec_fn=full)
    assert done.returncode == 1
    _assert_one_line(done.stderr, file)
    assert "File too large" in done.stderr
    assert not list(only(tmp_path).glob("*tmp*"))
    assert all(path.stat().st_size <= limit for path in only(tmp_path).iterdir())
    assert file == "train.log" or not (only(tmp_path) / file).exists()


def test_rows_are_many_and_different():
    assert len(set(BAD_INPUTS)) == len(BAD_INPUTS) >= 50
    assert len(AS_PROCESSES) >= 8
