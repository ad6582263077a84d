"""ONNX models mutated with their structure in mind, each given to a process of its own.

python tests/fuzz/onnx_models.py MODEL.onnx 300 [SEED]

Each file is refused with one sentence, or answers; with the answers of MODEL, unless the mutation was given a checksum
of its own. MODEL is any float32 export.
"""

import json
import random
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import numpy as np
import onnx
from fuzz.children import MOST_BYTES, in_child
from onnx import AttributeProto, TensorProto, helper

from src.deploy.onnx_file import seal
from src.deploy.onnx_session import OnnxModel

NUMBERS = (-1, 0, 1, 2, 3, 7, 64, 65, 10**4, 2**31 - 1, 2**31, 10**12, 2**62, 2**63 - 1, -(2**63))
OPERATORS = (
    "ConstantOfShape", "Expand", "Range", "Loop", "If", "Scan", "Tile", "Resize", "Upsample", "Pad", "Gather",
    "Reshape", "RandomNormal", "NonZero", "Einsum", "Conv", "Concat", "Mul", "Slice", "Cast", "Gemm", "MaxPool",
    "AveragePool", "ReduceMean", "DequantizeLinear", "QuantizeLinear", "Relu", "BatchNormalization", "Constant", "",
    "Convolve",
)  # fmt: skip


class Trial:
    """A good model, and what running it or a mutation of it in `folder` does."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.good = folder, model.read_bytes()
        size = onnx.load(model).graph.input[0].type.tensor_type.shape.dim[2].dim_value
        self.images = np.random.default_rng(0).standard_normal((3, 3, size, size), np.float32)
        self.expected = None
        self.expected = self._run(self.good).value

    def _run(self, data: bytes):
        path = self.folder / "mutated.onnx"
        path.write_bytes(data)
        return in_child(lambda: OnnxModel(path, "CPU", 1)(self.images).tobytes())

    def problem(self, data: bytes, sealed: bool) -> str:
        """Which promise was broken; empty when none was. sealed: the file was given a checksum after the mutation."""
        outcome = self._run(data)
        if outcome.max_bytes > MOST_BYTES:
            return f"{outcome.max_bytes:,} bytes"
        if outcome.kind == "done":
            return "" if sealed or outcome.value == self.expected else "counted wrongly"
        if outcome.kind == "refused":
            return "" if 20 < len(outcome.text) < 1500 and "\x1b" not in outcome.text else outcome.text
        return f"{outcome.kind} {outcome.text}"


def mutated(good: bytes, seed: int) -> tuple[str, bytes, bool]:
    """The name of a mutation, what it makes of the file `good`, and whether that has a checksum of its own."""
    dice = random.Random(seed)
    name, mutate = dice.choice(MUTATIONS)
    if mutate is _bytes:
        return name, _bytes(good, dice), False
    model = onnx.load_model_from_string(good)
    text = model.metadata_props[0].value
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        with suppress(ValueError, IndexError, TypeError, KeyError, RecursionError):  # on what is no longer there
            mutate(model, dice)
    sealed = name != "description" and dice.random() < 0.8
    if sealed:
        seal(model, text)
    return name, model.SerializeToString(), sealed


def _bytes(data: bytes, dice: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 4, 30))):
        at = dice.randrange(len(changed))
        changed[at : at + dice.choice((0, 1, 1, 1, 100))] = dice.randbytes(dice.choice((0, 1, 1, 1, 10)))
    return bytes(changed[: dice.choice((len(changed), len(changed), dice.randrange(len(changed))))])


def _node(model, dice) -> onnx.NodeProto:
    return dice.choice(model.graph.node)


def _tensor(model, dice) -> TensorProto:
    return dice.choice(model.graph.initializer)


def _operator(model, dice) -> None:
    _node(model, dice).op_type = dice.choice(OPERATORS)


def _insert(model, dice) -> None:
    """An operator between two others, fed with whatever there is."""
    at = dice.randrange(len(model.graph.node))
    names = (
        [tensor.name for tensor in model.graph.initializer] + [n.output[0] for n in model.graph.node] + ["images", ""]
    )
    new = helper.make_node(dice.choice(OPERATORS), dice.choices(names, k=dice.randrange(5)), [f"new{dice.random()}"])
    if new.op_type in ("Loop", "If", "Scan"):
        new.attribute.append(helper.make_attribute("body", helper.make_graph([], "body", [], [])))
    if new.op_type in ("ConstantOfShape", "Constant"):
        huge = helper.make_tensor("n", TensorProto.INT64, [1], [dice.choice(NUMBERS)])
        new.attribute.append(helper.make_attribute("value", huge))
    model.graph.node[at].input[:] = [new.output[0], *model.graph.node[at].input[1:]]
    model.graph.node.insert(dice.choice((at, at, at + 1)), new)


def _attribute(model, dice) -> None:
    node = dice.choice([node for node in model.graph.node if node.attribute])
    attribute = dice.choice(node.attribute)
    what = dice.randrange(6)
    if what == 0:
        attribute.name = dice.choice(("body", "strides", "", "axis", "x" * 1000))
    elif what == 1:
        attribute.type = dice.randrange(15)
    elif what == 2:
        attribute.CopyFrom(helper.make_attribute(attribute.name, dice.choices(NUMBERS, k=dice.choice((1, 2, 4, 1000)))))
    elif what == 3:
        node.attribute.append(attribute)
    elif what == 4:
        node.attribute.remove(attribute)
    elif attribute.type == AttributeProto.INTS:
        attribute.ints[dice.randrange(len(attribute.ints))] = dice.choice(NUMBERS)
    else:
        attribute.CopyFrom(helper.make_attribute(attribute.name, dice.choice(NUMBERS)))


def _dims(model, dice) -> None:
    dims = _tensor(model, dice).dims
    what = dice.randrange(4)
    if what == 0:
        dims[dice.randrange(len(dims))] = dice.choice(NUMBERS)
    elif what == 1:
        dims.extend(dice.choices(NUMBERS, k=dice.choice((1, 2, 40))))
    elif what == 2:
        dims.reverse()
    else:
        dims[:] = dice.choices(NUMBERS, k=dice.randrange(5))


def _content(model, dice) -> None:
    tensor = _tensor(model, dice)
    data = tensor.raw_data
    tensor.raw_data = dice.choice(
        (b"", data[:-1], data[:-4], data + b"\0", data + data, data * 50, dice.randbytes(len(data)), bytes(2**22))
    )


def _type(model, dice) -> None:
    _tensor(model, dice).data_type = dice.randrange(25)


def _more_data(model, dice) -> None:
    tensor = _tensor(model, dice)
    field = dice.choice(("float_data", "int32_data", "int64_data", "double_data", "uint64_data"))
    getattr(tensor, field).extend(dice.choices((0, 1, 2), k=dice.choice((1, 100, 10**5))))


def _elsewhere(model, dice) -> None:
    tensor = _tensor(model, dice)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=dice.choice(("/dev/zero", "../x", "mutated.onnx", "")))
    if dice.random() < 0.5:
        tensor.ClearField("raw_data")


def _names(model, dice) -> None:
    node, other = _node(model, dice), _node(model, dice)
    what = dice.randrange(4)
    if what == 0:
        node.output[0] = dice.choice(("images", "logits", other.output[0], "", "\x1b[31m"))
    elif what == 1 and node.input:
        node.input[dice.randrange(len(node.input))] = dice.choice(("images", "logits", other.output[0], "none", ""))
    elif what == 2:
        _tensor(model, dice).name = dice.choice((_tensor(model, dice).name, "images", ""))
    else:
        node.input.extend([other.output[0]] * dice.choice((1, 1000)))


def _order(model, dice) -> None:
    nodes = list(model.graph.node)
    what = dice.randrange(3)
    if what == 0:
        dice.shuffle(nodes)
    elif what == 1:
        nodes.pop(dice.randrange(len(nodes)))
    else:
        nodes.insert(dice.randrange(len(nodes)), dice.choice(nodes))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _interface(model, dice) -> None:
    value = dice.choice((*model.graph.input, *model.graph.output))
    what = dice.randrange(4)
    if what == 0:
        dice.choice(value.type.tensor_type.shape.dim).dim_value = dice.choice(NUMBERS)
    elif what == 1:
        value.type.tensor_type.elem_type = dice.randrange(20)
    elif what == 2:
        value.name = dice.choice(("images", "logits", "", "x"))
    else:
        model.graph.input.append(value)


def _many(model, dice) -> None:
    count = dice.choice((10**3, 10**5, 10**6))
    what = dice.randrange(4)
    if what == 0:
        model.graph.MergeFromString(b"\x0a\x00" * count)  # empty nodes
    elif what == 1:
        model.graph.MergeFromString(b"\x2a\x00" * count)  # empty arrays
    elif what == 2:
        model.graph.node[0].MergeFromString(b"\x2a\x00" * count)  # empty attributes
    else:
        model.graph.doc_string = "x" * count


def _doubling(model, dice) -> None:
    """Each Concat twice as large as the one before."""
    name = "images"
    for i in range(dice.choice((2, 10, 40))):
        model.graph.node.insert(i, helper.make_node("Concat", [name, name], [f"twice{i}"], axis=dice.randrange(4)))
        name = f"twice{i}"
    model.graph.node[i + 1].input[0] = name


def _model(model, dice) -> None:
    what = dice.randrange(6)
    if what == 0:
        model.opset_import[0].version = dice.choice(NUMBERS)
    elif what == 1:
        model.ir_version = dice.choice(NUMBERS)
    elif what == 2:
        _node(model, dice).domain = dice.choice(("com.microsoft", "custom", "ai.onnx.ml"))
    elif what == 3:
        model.functions.add(name="Relu", domain="").node.extend(model.graph.node[:3])
    elif what == 4:
        model.opset_import.extend([helper.make_opsetid(dice.choice(("custom", "")), dice.choice(NUMBERS))])
    else:
        model.graph.sparse_initializer.add().values.CopyFrom(_tensor(model, dice))


def _description(model, dice) -> None:
    described = json.loads(model.metadata_props[0].value)
    part = dice.choice((described, described["architecture"], described["preprocessing"]))
    key = dice.choice(list(part))
    part[key] = dice.choice((None, -1, 0, 1.5, 10**6, "", "a", [], {}, True, [1] * 8, [256] * 8))
    model.metadata_props[0].value = dice.choice((json.dumps(described), json.dumps(described)[:-1], "[" * 10**5))


MUTATIONS = (
    ("operator", _operator), ("insert", _insert), ("insert", _insert), ("attribute", _attribute),
    ("attribute", _attribute), ("dims", _dims), ("content", _content), ("type", _type), ("more data", _more_data),
    ("elsewhere", _elsewhere), ("names", _names), ("order", _order), ("interface", _interface), ("many", _many),
    ("doubling", _doubling), ("model", _model), ("description", _description), ("bytes", _bytes), ("bytes", _bytes),
)  # fmt: skip


def main(model: str, count: str, first: str = "0") -> int:
    """Try `count` mutations of the file `model` from the seed `first` on; the number of broken promises."""
    broken, kinds = 0, Counter()
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder), Path(model))
        assert not trial.problem(trial.good, sealed=False)
        for seed in range(int(first), int(first) + int(count)):
            name, data, sealed = mutated(trial.good, seed)
            problem = trial.problem(data, sealed)
            kinds[name] += 1
            if problem:
                broken += 1
                print(f"seed {seed}, {name}: {problem}", flush=True)
    print(f"{count} mutated ONNX models {dict(kinds)}: {broken} promises broken")
    return broken


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) > 0)
