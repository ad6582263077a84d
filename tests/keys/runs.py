"""What the tests of the keys run, and what a run and an export left."""

import csv
import json
import re
from pathlib import Path

import onnx
from commands import TINY, weights
from mindspore.train.mind_ir_pb2 import ModelProto

import eval as evaluation
from src.deploy.manifest import manifest_path
from src.utils.checkpoint import list_checkpoints, load_checkpoint

# Two epochs of one step each, unless flags say otherwise.
BASE = [*TINY, *["--max_epoch", "2", "--per_batch_size", "100", "--log_interval", "1"]]
ONNX = "--file_format ONNX"


class Result:
    """What a training run left, read when asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = (folder / "train.log").read_text()
        self.last = list_checkpoints(folder)[0]
        self.weights = weights(self.last)
        self.metrics = list(csv.DictReader((folder / "metrics.csv").open()))

    def rates(self) -> list[float]:
        return [round(float(row["learning_rate"]), 7) for row in self.metrics]

    def all_bits(self) -> dict[str, bytes]:
        return {name: value.tobytes() for name, value in self.weights.items()}

    def shape(self, name: str) -> tuple[int, ...]:
        return self.weights[name].shape

    def names(self, pattern: str) -> list[str]:
        return [name for name in self.weights if re.search(pattern, name)]

    def value(self, name: str) -> float | None:
        return self.weights[name].item() if name in self.weights else None

    def images(self) -> str:
        return re.search(r"on (\d+ images of \w+)", self.log)[1]

    def steps(self) -> int:
        return int(re.search(r"(\d+) steps an epoch", self.log)[1])

    def window_lines(self) -> int:
        return len(re.findall(r"imgs/sec, lr:", self.log))

    def checkpoints(self) -> list[str]:
        return [path.name for path in list_checkpoints(self.folder)]

    def evaluated_epochs(self) -> list[str]:
        return [row["epoch"] for row in self.metrics if row["top1"]]

    def log_says(self, text: str) -> bool:
        return text in self.log

    def data_hash(self) -> str:
        return load_checkpoint(self.last).metadata["data"]["train"]["sha256"]

    def head(self) -> bytes:
        return self.weights["head.fc.weight"].tobytes()

    def input_size(self) -> int:
        return self.input("image_size")

    def input(self, key: str) -> object:
        return load_checkpoint(self.last).metadata["preprocessing"][key]


class Model:
    """What an export left."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.description = json.loads(manifest_path(path).read_text())

    def name(self) -> str:
        return self.path.name

    def numbers(self) -> list[bytes]:
        """Weights, and of INT8 the scales. Nodes are numbered through all exports of a process, so files differ."""
        return [onnx.numpy_helper.to_array(value).tobytes() for value in onnx.load(self.path).graph.initializer]

    def version_in_the_file(self) -> int:
        return ModelProto.FromString(self.path.read_bytes()).mind_ir_version

    def says(self, key: str) -> object:
        return self.description[key]

    def input_size(self) -> int:
        return self.input("image_size")

    def input(self, key: str) -> object:
        return self.description["preprocessing"][key]

    def measured_images(self) -> int:
        return self.description["verified"]["images"]


def predictions(model: Path, output: Path, *flags: str, main=evaluation.main) -> str:
    table = output / "predictions.csv"
    argv = [
        "--per_batch_size",
        "256",
        "--ckpt_files",
        str(model),
        "--predictions",
        str(table),
        "--save_ckpt_path",
        str(output / "out"),
    ]
    main([*argv, *flags])
    return table.read_text()
