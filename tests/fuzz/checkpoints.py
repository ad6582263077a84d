"""Checkpoints mutated with their structure in mind, each given to a process of its own.

python tests/fuzz/checkpoints.py 1000 [SEED]

Each file is refused with one sentence, or the network has exactly the numbers that protobuf's own parser finds in it.
"""

import hashlib
import json
import random
import struct
import sys
import tempfile
import zlib
from collections import Counter
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import numpy as np
from fuzz.children import MOST_BYTES, Outcome, in_child
from google.protobuf.message import DecodeError
from mindspore import Parameter, Tensor
from mindspore.train.checkpoint_pb2 import Checkpoint as Message

from src.datasets.preprocessing import default_preprocessing
from src.network.architecture import architecture
from src.network.densenet import DenseNet
from src.training.model_card import model_card_of
from src.training.progress import Progress
from src.utils.checkpoint import METADATA_KEY, load_checkpoint, load_training_state, load_weights, save_checkpoint

ARCHITECTURE = architecture("densenet100", 3, block_config=(1, 1), growth_rate=4, stem_features=8)
DTYPES = {"Float32": "<f4", "Float16": "<f2", "Float64": "<f8", "Int32": "<i4", "Int64": "<i8"}
KINDS = (*DTYPES, "BFloat16", "Bool", "Int4", "Int8", "UInt64", "str", "", "Float33")
DIMS = (-1, 0, 1, 2, 3, 7, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63), 10**9)


class Trial:
    """A good checkpoint in `folder`, and what loading it or a mutation of it does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.network = folder, DenseNet(ARCHITECTURE)
        velocity = Parameter(Tensor(np.zeros(3, np.float32)), name="moments.head.fc.bias")
        self.state = [*self.network.get_parameters(), velocity]
        names = ["cat", "dog", "塔"]
        preprocessing = default_preprocessing("folder", 8).to_dict()
        row = dict.fromkeys(("epoch", "step"), 1)
        row |= dict.fromkeys(("loss", "learning_rate", "images_per_second", "data_wait_percent", "skipped_steps"), 0.5)
        progress = Progress(epoch=1, history=[row | {"top1": 0.5, "top5": ""}]).to_dict()
        self.metadata = {"architecture": ARCHITECTURE.to_dict(), "preprocessing": preprocessing, "class_names": names}
        self.metadata |= {"recipe": {"net": "densenet100", "lr": 0.1}, "progress": progress}
        save_checkpoint(folder / "good.ckpt", self.state, self.metadata)
        self.good = (folder / "good.ckpt").read_bytes()

    def load(self, data: bytes) -> Outcome:
        """What the commands do with a checkpoint; its value is a digest of each of the network's arrays."""
        path = self.folder / "mutated.ckpt"
        path.write_bytes(data)

        def work() -> dict[str, str]:
            checkpoint = load_checkpoint(path)
            if checkpoint.metadata:
                model_card_of(checkpoint)
                Progress.from_dict(checkpoint.require("progress"))
                load_training_state(self.state, checkpoint)
            load_weights(self.network, checkpoint)
            return {p.name: _digest(p.asnumpy()) for p in self.network.get_parameters()}

        return in_child(work)

    def problem(self, data: bytes) -> str:
        """Which promise was broken; empty when none was."""
        outcome = self.load(data)
        if outcome.max_bytes > MOST_BYTES:
            return f"{outcome.max_bytes:,} bytes"
        if outcome.kind == "done":
            expected = _by_protobuf(data)
            wrong = [name for name, found in outcome.value.items() if expected.get(name) != found]
            return f"counted wrongly: {wrong[:3]}" if wrong else ""
        if outcome.kind == "refused":
            return "" if 20 < len(outcome.text) < 1500 and "\n" not in outcome.text else outcome.text
        return f"{outcome.kind} {outcome.text}"


def mutated(good: bytes, seed: int) -> tuple[str, bytes]:
    """The name of a mutation and what it makes of the file `good`, with the right checksum unless that is the point."""
    dice = random.Random(seed)
    message = Message.FromString(good[:-17])
    name, mutate = dice.choice(MUTATIONS)
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        mutate(message, dice)
    data = message.SerializePartialToString()
    if name == "bytes":
        data = _change_bytes(data, dice)
    if name == "checksum":
        return name, data + dice.choice((b"", b"crc_num", good[-17:-1], b"crc_num" + dice.randbytes(10)))
    return name, data + b"crc_num" + zlib.crc32(data).to_bytes(10, "big")


def _value(message: Message, dice: random.Random):
    return message.value[dice.randrange(len(message.value))]


def _rename(message, dice) -> None:
    other = _value(message, dice).tag
    _value(message, dice).tag = dice.choice((other, "", "x" * 2000, "head.fc.weight", METADATA_KEY, "é\0\x1b[31m"))


def _swap_names(message, dice) -> None:
    one, other = _value(message, dice), _value(message, dice)
    one.tag, other.tag = other.tag, one.tag


def _change_dims(message, dice) -> None:
    dims = _value(message, dice).tensor.dims
    what = dice.randrange(5)
    if what == 0 and dims:
        dims[dice.randrange(len(dims))] = dice.choice(DIMS)
    elif what == 1:
        dims.extend(dice.choices(DIMS, k=dice.choice((1, 2, 40))))
    elif what == 2 and len(dims) > 1:
        dims.reverse()
    elif what == 3 and dims:
        dims.pop()
    else:
        dims[:] = dice.choices(DIMS, k=dice.randrange(5))


def _change_content(message, dice) -> None:
    tensor = _value(message, dice).tensor
    data = tensor.tensor_content
    special = struct.pack("<f", dice.choice((float("nan"), float("inf"), -float("inf"), -1.0, 1e38)))
    at = 4 * dice.randrange(max(1, len(data) // 4))
    tensor.tensor_content = dice.choice(
        (b"", data[:-1], data[:-4], data + b"\0", data + data, data * 50, data[: len(data) // 2],
         dice.randbytes(len(data)), data[:at] + special + data[at + 4 :], data + dice.randbytes(2**20))
    )  # fmt: skip


def _change_type(message, dice) -> None:
    _value(message, dice).tensor.tensor_type = dice.choice(KINDS)


def _convert_type(message, dice) -> None:
    """The same numbers in another type: a file that is right."""
    tensor = _value(message, dice).tensor
    if tensor.tensor_type == "Float32":
        tensor.tensor_type = dice.choice(tuple(DTYPES))
        values = np.frombuffer(tensor.tensor_content, "<f4").astype(DTYPES[tensor.tensor_type])
        tensor.tensor_content = values.tobytes()


def _shuffle(message, dice) -> None:
    values = list(message.value)
    dice.shuffle(values)
    del message.value[:]
    message.value.extend(values)


def _duplicate(message, dice) -> None:
    values = list(message.value)
    at = dice.randrange(len(values))
    values.insert(dice.choice((at, at + 1, dice.randrange(len(values)))), values[at])
    del message.value[:]
    message.value.extend(values)


def _split(message, dice) -> None:
    """One array in pieces, as MindSpore writes long ones: a file that is right, if the pieces stay together."""
    values = list(message.value)
    at = dice.randrange(len(values))
    first, second = type(values[at])(), type(values[at])()
    for piece, part in ((first, slice(None, 8)), (second, slice(8, None))):
        piece.CopyFrom(values[at])
        piece.tensor.tensor_content = values[at].tensor.tensor_content[part]
    values[at : at + 1] = dice.choice(([first, second], [second, first], [first], [first, values[at], second]))
    del message.value[:]
    message.value.extend(values)


def _drop(message, dice) -> None:
    del message.value[dice.randrange(len(message.value))]


def _map_tensor(message, dice) -> None:
    value = _value(message, dice)
    value.maptensor.tensor.add().CopyFrom(value.tensor)


def _clear_field(message, dice) -> None:
    value = _value(message, dice)
    field = dice.choice(("tag", "tensor", "dims", "tensor_type", "tensor_content"))
    (value if field in ("tag", "tensor") else value.tensor).ClearField(field)


def _change_metadata(message, dice) -> None:
    for value in message.value:
        if value.tag == METADATA_KEY and value.tensor.tensor_type == "str":
            text = value.tensor.tensor_content.decode("utf-32-le", "replace")
            value.tensor.tensor_content = _changed_json(text, dice).encode("utf-32-le", "surrogatepass")


def _changed_json(text: str, dice: random.Random) -> str:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return text
    at, key = tree, dice.choice(list(tree)) if isinstance(tree, dict) and tree else None
    while key is not None and isinstance(at[key], dict | list) and at[key] and dice.random() < 0.8:
        at = at[key]
        key = dice.choice(list(at)) if isinstance(at, dict) else dice.randrange(len(at))
    odd = (None, -1, 0, 1.5, 10**6, 2**70, 1e308, "", "a", [], {}, [[]], True, float("nan"), float("inf"), "\ud800")
    if key is not None:
        if dice.random() < 0.2:
            del at[key]
        else:
            at[key] = dice.choice(odd)
    text = json.dumps(tree)
    return dice.choice((text, text, text, text.replace("1", str(10**400), 1), "[" * 10**5, text[:-1], text + " x"))


def _change_bytes(data: bytes, dice: random.Random) -> bytes:
    data = bytearray(data)
    for _ in range(dice.choice((1, 1, 4, 30))):
        at = dice.randrange(len(data))
        data[at : at + dice.choice((0, 1, 1, 1, 100))] = dice.randbytes(dice.choice((0, 1, 1, 1, 10)))
    return bytes(data[: dice.choice((len(data), len(data), dice.randrange(len(data))))])


def _nothing(_message, _dice) -> None:
    pass


MUTATIONS = (
    ("rename", _rename), ("swap", _swap_names), ("dims", _change_dims), ("content", _change_content),
    ("type", _change_type), ("convert", _convert_type), ("order", _shuffle), ("duplicate", _duplicate),
    ("split", _split), ("drop", _drop), ("map", _map_tensor), ("field", _clear_field),
    ("metadata", _change_metadata), ("bytes", _nothing), ("checksum", _nothing),
)  # fmt: skip


def _by_protobuf(data: bytes) -> dict[str, str]:
    """A digest of each array as float32, read by protobuf and NumPy; without those whose pieces do not make a whole."""
    try:
        message = Message.FromString(data[:-17] if data[-17:-10] == b"crc_num" else data)
    except DecodeError:
        return {}
    pieces: dict[str, list] = {}
    for value in message.value:
        pieces.setdefault(value.tag, []).append(value.tensor)
    found = {}
    for name, tensors in pieces.items():
        kind, dims = tensors[0].tensor_type, [d for d in tensors[0].dims if tensors[0].dims != [0]]
        content = b"".join(tensor.tensor_content for tensor in tensors)
        if kind in DTYPES and min(dims, default=1) > 0:
            values = np.frombuffer(content, DTYPES[kind]) if len(content) % np.dtype(DTYPES[kind]).itemsize == 0 else ()
            if len(values) == np.prod(dims, dtype=object):
                found[name] = _digest(values.astype(np.float32).reshape(dims))
    return found


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(str(array.shape).encode() + array.tobytes()).hexdigest()


def main(count: int, first: int = 0) -> int:
    """Try `count` mutations from the seed `first` on; the number of broken promises."""
    broken, kinds = 0, Counter()
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder))
        assert not trial.problem(trial.good)
        for seed in range(first, first + count):
            name, data = mutated(trial.good, seed)
            problem = trial.problem(data)
            kinds[name] += 1
            if problem:
                broken += 1
                print(f"seed {seed}, {name}: {problem}", flush=True)
    print(f"{count} mutated checkpoints {dict(kinds)}: {broken} promises broken")
    return broken


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])) > 0)
