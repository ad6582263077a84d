"""The README's ModelArts examples from bucket to bucket, on real ranks; moxing is a stand-in that really copies.

The folders of the examples, /cache/..., are others here. How single copies go wrong is tested with the adapter.
"""

import os
import re
from pathlib import Path

import pytest
from commands import ROOT, only, write_pictures
from ranks import msrun, run_ranks

import export
import train
from src.deploy.manifest import manifest_path
from src.model_utils import moxing_adapter
from src.utils.errors import run

pytestmark = pytest.mark.slow

STAND_IN = ROOT / "tests" / "moxing_stand_in"
CLASSES = ("a cat", "b dog", "c fox")
# What method a of the examples writes into the YAML file, and a small network. {cache} is /cache there.
TINY = """
net: densenet100
dataset: imagenet
block_config: [1, 1]
growth_rate: 4
stem_features: 8
image_size: 32
num_parallel_workers: 1
enable_modelarts: True
data_path: "{cache}/data"
output_path: "{cache}/train"
load_path: "{cache}/checkpoint_path"
"""
TRAIN = """
is_distributed: 1
save_ckpt_path: "{cache}/train/outputs_imagenet/"
train_data_dir: "{cache}/data/train/train_dataset/"
train_pretrained: ""
per_batch_size: 3
max_epoch: 1
"""
EVAL = """
eval_data_dir: "{cache}/data/eval/eval_dataset/"
ckpt_files: "{cache}/data/eval/checkpoint/"
"""
EXPORT = """
file_name: densenet121
file_format: MINDIR
ckpt_file: "{cache}/data/0-1_2.ckpt"
"""


class Cloud:
    """The bucket, and jobs that each have a new disk."""

    def __init__(self, root: Path) -> None:
        self.root, self.bucket = root, root / "buckets" / "my bucket"
        self.log = root / "buckets" / "calls.log"
        (root / "tmp").mkdir(parents=True)

    def flags(self, name: str, yaml: str, *, data: str) -> list[str]:
        """What ModelArts passes for a job `name`: the flags that its page asks for."""
        cache = self.root / name
        cache.mkdir()
        (cache / "densenet121.yaml").write_text((TINY + yaml).format(cache=cache))
        urls = [f"--data_url=obs://my bucket/{data}", "--train_url=obs://my bucket/results/"]
        return [*urls, f"--_config_path={cache}/densenet121.yaml"]

    def environment(self, faults: str) -> dict[str, str]:
        """Of a job's processes."""
        return {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{STAND_IN}",
            "TMPDIR": str(self.root / "tmp"),
            "MOXING_STAND_IN": str(self.root / "buckets"),
            "MOXING_STAND_IN_FAULTS": faults,
        }

    def copied_in(self) -> list[str]:
        """The URLs that were copied to the disk since the last call, once for each attempt."""
        calls = [line.split("|") for line in self.log.read_text().splitlines()]
        self.log.unlink()
        return [source for name, source, _ in calls if name == "copy_parallel"]

    def run_folder(self) -> Path:
        return only(self.bucket / "results" / "outputs_imagenet")

    def left_locks(self) -> list[str]:
        return [path.name for path in (self.root / "tmp").glob("densenet-modelarts-*")]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory) -> Cloud:
    cloud = Cloud(tmp_path_factory.mktemp("a cloud"))
    write_pictures(cloud.bucket / "ImageNet_Original" / "train" / "train_dataset", CLASSES, each=4)
    write_pictures(cloud.bucket / "ImageNet_Original" / "eval" / "eval_dataset", CLASSES, each=3)
    return cloud


@pytest.fixture(scope="module")
def trained(cloud) -> list[str]:
    """The ranks' output of the training example, in which the first copy fails."""
    flags = cloud.flags("first job", TRAIN, data="ImageNet_Original")
    return msrun(cloud.root / "first logs", "train.py", *flags, **cloud.environment("first=1 half"))


@pytest.mark.usefixtures("trained")
def test_train_on_two_ranks(cloud):
    assert cloud.copied_in() == ["obs://my bucket/ImageNet_Original"] * 2  # by one rank
    names = {path.name for path in cloud.run_folder().iterdir()}
    assert names > {"0-1_2.ckpt", "config.yaml", "metrics.csv", "train.log", "train_rank1.log", "class_names.txt"}
    assert not [name for name in names if name.startswith((".lock", ".tmp-"))]
    log = (cloud.run_folder() / "train.log").read_text()
    assert "on 12 images of imagenet, 2 steps an epoch" in log
    assert log == (cloud.root / "first job/train/outputs_imagenet" / cloud.run_folder().name / "train.log").read_text()
    assert cloud.left_locks() == []


@pytest.fixture(scope="module")
def checkpoints(cloud, trained) -> str:  # noqa: ARG001 - the job that wrote them
    """The bucket's folder `eval/checkpoint`, with the trained weights in two files."""
    folder = cloud.bucket / "ImageNet_Original" / "eval" / "checkpoint"
    folder.mkdir()
    for name in ("0-1_2.ckpt", "copy.ckpt"):
        (folder / name).write_bytes((cloud.run_folder() / "0-1_2.ckpt").read_bytes())
    return "ImageNet_Original/eval/checkpoint"


@pytest.mark.usefixtures("checkpoints")
def test_evaluate_a_folder_of_checkpoints_on_two_ranks(cloud, forked, monkeypatch):
    """All processes wait for the data: the scheduler too looks for the checkpoints before it joins the others."""
    flags = cloud.flags("evaluation", EVAL, data="ImageNet_Original")
    with monkeypatch.context() as patch:
        for name, value in cloud.environment("slow=1").items():
            patch.setenv(name, value)
        outputs = run_ranks(forked, cloud.root / "evaluation logs", "eval", *flags)
    assert [output.count("top1_correct=") for output in outputs] == [2, 0]
    assert outputs[0].count("tot=9,") == 2
    assert cloud.copied_in() == ["obs://my bucket/ImageNet_Original"]
    folder = only(cloud.bucket / "results" / "output")
    assert "tot=9," in (folder / "eval.log").read_text()
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"0-1_2", "copy"}
    assert cloud.left_locks() == []


@pytest.fixture
def here(cloud, monkeypatch):
    """This process uses the stand-in."""
    monkeypatch.syspath_prepend(STAND_IN)
    monkeypatch.setenv("MOXING_STAND_IN", str(cloud.root / "buckets"))
    monkeypatch.setattr(moxing_adapter, "_PAUSES", (0.01, 0.01, 0.01))


@pytest.mark.usefixtures("here")
def test_export_a_mindir(cloud, checkpoints):
    path = export.main(cloud.flags("an export", EXPORT, data=checkpoints))
    assert path == cloud.root / "an export" / "train" / "densenet121.mindir"
    for file in (path, manifest_path(path)):
        assert (cloud.bucket / "results" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.usefixtures("here")
def test_a_job_whose_data_cannot_be_copied(cloud, checkpoints, monkeypatch, capsys):
    monkeypatch.setenv("MOXING_STAND_IN_FAULTS", "always=checkpoint")
    assert run(export.main, cloud.flags("a failure", EXPORT, data=checkpoints)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"error: cannot copy data_url obs://my bucket/{checkpoints} to {cloud.root}/a failure/data: "
    )


@pytest.mark.usefixtures("here", "trained")
def test_resume_from_what_was_uploaded_and_fail(cloud, capsys):
    """A second job, of one process on another disk, fails on its way: what it did is in the bucket."""
    before = cloud.run_folder()
    flags = cloud.flags("second job", TRAIN, data="ImageNet_Original")
    cloud.log.unlink(missing_ok=True)
    assert run(train.main, [*flags, "--resume=auto", "--max_epoch=2", "--lr=1e30"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search("the loss is (nan|inf)|is not finite any more", line)
    assert cloud.copied_in() == ["obs://my bucket/ImageNet_Original", "obs://my bucket/results/"]
    assert cloud.run_folder() == before  # the run goes on in its folder
    log = (before / "train.log").read_text()
    assert f"resumed from {cloud.root}/second job/train/outputs_imagenet/{before.name}/0-1_2.ckpt" in log
    assert line.removeprefix("error: ") in log
    assert "max_epoch: 2" in (before / "config_resumed_1.yaml").read_text()
