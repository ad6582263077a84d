"""Runs and exports that the tests of the keys share; each combination of flags is made once in a process."""

from pathlib import Path

import pytest
from commands import compute_nothing, few_digits, only, write_cifar, write_pictures
from keys.runs import BASE, ONNX, Model, Result
from mindspore import Parameter, Tensor

import eval as evaluation
import eval_onnx
import export
import predict
import train
from src.deploy.manifest import Manifest, write_manifest
from src.utils.checkpoint import load_checkpoint, save_checkpoint

# Its failed checks tell as much as those in the tests.
pytest.register_assert_rewrite("keys.key_tables")


@pytest.fixture(scope="module", autouse=True)
def of_few_digits(little_to_read) -> None:
    """What a key does is seen on them."""


@pytest.fixture(scope="session")
def places(tmp_path_factory) -> dict[str, str]:
    """What stands in braces in the table."""
    root = tmp_path_factory.mktemp("places")
    write_pictures(root / "mixed", ("one", "two"), each=3)
    write_pictures(root / "twin", ("two", "one"), each=3)
    rows = "image,x,y\none/0.jpg,1,0\none/1.jpg,0,1\ntwo/0.jpg,1,0\ntwo/1.jpg,0,1\n"
    (root / "mixed" / "labels.csv").write_text(rows)
    (root / "mixed" / "unsure.csv").write_text(rows + "two/2.jpg,-1,1\n")
    write_cifar(root / "mixed" / "data_batch_1.bin", 8)
    write_cifar(root / "cifar" / "data_batch_1.bin", 8)
    write_cifar(root / "cifar6" / "data_batch_1.bin", 6)
    for name, count in (("cifar", 8), ("cifar6", 6)):
        write_cifar(root / name / "test_batch.bin", count)
    for each in (1, 2):  # of the classes that a network of the digits knows
        write_pictures(root / f"{each}0_digits", tuple("0123456789"), each)
    (root / "onnx.yaml").write_text("file_format: ONNX\n")
    (root / "lr.yaml").write_text("lr: 0.3\n")
    with pytest.MonkeyPatch.context() as patch:
        compute_nothing(patch)
        few_digits(patch)
        train.main([*BASE, "--seed", "7", "--save_ckpt_path", str(root / "run")])
    pretrained = only(root / "run") / "0-2_1.ckpt"
    write_average(pretrained, root / "averaged.ckpt")
    return {
        "mixed": str(root / "mixed"),
        "twin": str(root / "twin"),
        "cifar": str(root / "cifar"),
        "cifar6": str(root / "cifar6"),
        "ten": str(root / "10_digits"),
        "twenty": str(root / "20_digits"),
        "yaml": str(root / "lr.yaml"),
        "onnx_yaml": str(root / "onnx.yaml"),
        "other": str(root / "other"),
        "pretrained": str(pretrained),
        "averaged": str(root / "averaged.ckpt"),
    }


def write_average(checkpoint: Path, path: Path) -> None:
    """The same with halves of its weights as their average."""
    found = load_checkpoint(checkpoint)
    arrays = dict(found.arrays) | {f"ema.{name}": value / 2 for name, value in found.weights().items()}
    parameters = [Parameter(Tensor(value), name=name) for name, value in arrays.items()]
    save_checkpoint(path, parameters, dict(found.metadata) | {"weights": "ema"})


@pytest.fixture(scope="session")
def trained(tmp_path_factory, places):
    """flags -> Result; each combination of flags is trained once."""
    done = {}

    def result(flags: str) -> Result:
        if flags not in done:
            output = tmp_path_factory.mktemp("run")
            train.main([*BASE, *flags.format(**places).split(), "--save_ckpt_path", str(output)])
            done[flags] = Result(only(output))
        return done[flags]

    return result


@pytest.fixture(scope="session")
def planned(tmp_path_factory, places):
    """flags -> Result as of `trained`, but of steps that compute nothing, and so are not compiled.

    The weights stay the initial ones. All else is there: data, schedule, files, log.
    """
    done = {}

    def result(flags: str) -> Result:
        if flags not in done:
            output = tmp_path_factory.mktemp("plan")
            with pytest.MonkeyPatch.context() as patch:
                compute_nothing(patch)
                train.main([*BASE, *flags.format(**places).split(), "--save_ckpt_path", str(output)])
            done[flags] = Result(only(output))
        return done[flags]

    return result


@pytest.fixture(scope="session")
def exported(tmp_path_factory, places, planned):
    """flags -> Model; each combination of flags is exported once, from one checkpoint unless they name another."""
    done = {}

    def model(flags: str) -> Model:
        if flags not in done:
            name = tmp_path_factory.mktemp("model") / "model"
            argv = [f"--ckpt_file={planned('').last}", f"--file_name={name}", *flags.format(**places).split()]
            done[flags] = Model(export.main(argv))
        return done[flags]

    return model


@pytest.fixture(scope="session")
def sketched(tmp_path_factory, places, planned):
    """flags -> Model as of `exported`, of which the description alone is there: the work is left out."""
    done = {}

    def write_description(_, manifest: Manifest, path: Path, **__) -> Manifest:
        path.touch()
        write_manifest(manifest, path)
        return manifest

    def model(flags: str) -> Model:
        if flags not in done:
            name = tmp_path_factory.mktemp("sketch") / "model"
            argv = [f"--ckpt_file={planned('').last}", f"--file_name={name}", *flags.format(**places).split()]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(export, "export_model", write_description)
                done[flags] = Model(export.main(argv))
        return done[flags]

    return model


@pytest.fixture
def described(monkeypatch, tmp_path):
    """Runs export.py without the work, and returns the manifest and the threads that the work would have had."""

    def export_model(_, manifest: Manifest, path: Path, *, threads: int) -> Manifest:
        asked.append((manifest, threads))
        path.touch()
        write_manifest(manifest, path)
        return manifest

    asked = []
    monkeypatch.setattr(export, "export_model", export_model)

    def run_export(checkpoint: Path, *flags: str) -> tuple[Manifest, int]:
        name = tmp_path / str(len(asked))
        export.main(["--ckpt_file", str(checkpoint), "--file_name", str(name), *flags])
        return asked[-1]

    return run_export


@pytest.fixture
def command_line(planned, exported, tmp_path, places):
    """command -> (its main, flags that work), to which a test adds one."""
    commands = {
        "train": (train.main, [*BASE, "--max_epoch", "1"]),
        "eval": (evaluation.main, ["--ckpt_files", str(planned("").last)]),
        "export": (export.main, ["--ckpt_file", str(planned("").last), "--file_name", str(tmp_path / "model")]),
        "eval_onnx": (eval_onnx.main, ["--ckpt_files", str(exported(ONNX).path)]),
        "predict": (predict.main, ["--model", str(planned("").last), "--images", f"{places['ten']}/0"]),
    }
    results = {key: ["--save_ckpt_path", str(tmp_path / "out")] for key in ("train", "eval", "eval_onnx")}
    return lambda command: (commands[command][0], [*commands[command][1], *results.get(command, [])])
