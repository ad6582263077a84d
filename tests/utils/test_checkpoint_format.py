"""MindSpore's file read by ourselves: the same arrays, and nothing that the file only claims."""

import zlib

import mindspore as ms
import numpy as np
import pytest
from fuzz.checkpoints import Trial, mutated
from mindspore import Parameter, Tensor
from mindspore.train.checkpoint_pb2 import Checkpoint as Message

from src.utils.checkpoint import load_checkpoint
from src.utils.checkpoint_arrays import DamagedError

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def write(path, message: Message, *, checksum: bool = True):
    data = message.SerializePartialToString()
    path.write_bytes(data + (b"crc_num" + zlib.crc32(data).to_bytes(10, "big") if checksum else b""))
    return path


def entry(message: Message, name: str = "w", dims=(2, 3), kind: str = "Float32", content: bytes = WEIGHT.tobytes()):
    value = message.value.add(tag=name)
    value.tensor.dims.extend(dims)
    value.tensor.tensor_type, value.tensor.tensor_content = kind, content
    return message


def test_all_types_are_read_as_mindspore_reads_them(tmp_path):
    values = [np.array([1.5, -0.0], kind) for kind in (np.float16, np.float32, np.float64)]
    values += [np.array([[1], [3]], kind) for kind in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64)]
    values += [np.array([True, False]), np.float32(7), np.int32(-2)]
    tensors = [*map(Tensor, values), Tensor([1.5, 3.25], ms.bfloat16)]
    entries = [{"name": f"p{i}", "data": Parameter(tensor, name=f"p{i}")} for i, tensor in enumerate(tensors)]
    path = str(tmp_path / "a.ckpt")
    ms.save_checkpoint(entries, path, append_dict={"text": "één", "n": 3}, crc_check=True)
    ours, theirs = load_checkpoint(path).arrays, ms.load_checkpoint(path)
    assert theirs.pop("text") == "één"
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        expected = (tensor.astype(ms.float32) if tensor.dtype == ms.bfloat16 else tensor).asnumpy()
        assert (ours[name].dtype, ours[name].shape) == (expected.dtype, expected.shape)
        assert ours[name].tobytes() == expected.tobytes()
        assert ours.shapes[name] == expected.shape


def test_a_long_array_comes_in_pieces(tmp_path):
    message = entry(entry(Message(), content=WEIGHT.tobytes()[:8]), content=WEIGHT.tobytes()[8:])
    assert load_checkpoint(write(tmp_path / "a.ckpt", message)).arrays["w"].tolist() == WEIGHT.tolist()


def test_packed_dims_are_dims(tmp_path):
    tensor = b"\x0a\x02\x02\x03\x12\x07Float32\x1a\x18" + WEIGHT.tobytes()
    value = b"\x0a\x01w\x12" + bytes([len(tensor)]) + tensor
    (tmp_path / "a.ckpt").write_bytes(b"\x0a" + bytes([len(value)]) + value)
    assert load_checkpoint(tmp_path / "a.ckpt").arrays["w"].tolist() == WEIGHT.tolist()


LIES = {
    "longer": lambda m: entry(m, content=WEIGHT.tobytes() * 100),
    "shorter": lambda m: entry(m, content=WEIGHT.tobytes()[:-4]),
    "half a number": lambda m: entry(m, content=WEIGHT.tobytes() + b"\0"),
    "negative": lambda m: entry(m, dims=(-2, -3)),
    "huge": lambda m: entry(m, dims=(2**31, 2**31)),
    "overflow": lambda m: entry(m, dims=(2**62, 2**62, 6)),
    "wraps to its size": lambda m: entry(m, dims=(2**63 + 3 - 2**64, 2)),
    "empty": lambda m: entry(m, dims=(0, 3), content=b""),
    "axes": lambda m: entry(m, dims=(1,) * 9 + (6,)),
    "type": lambda m: entry(m, kind="Int4"),
    "text": lambda m: entry(m, kind="str", content=b"abc"),
    "twice": lambda m: entry(entry(m)),
    "twice apart": lambda m: entry(entry(entry(m), name="other")),
    "unlike pieces": lambda m: entry(entry(m, content=WEIGHT.tobytes()[:8]), dims=(3, 2), content=WEIGHT.tobytes()[8:]),
    "nameless": lambda m: entry(m, name=""),
    "long name": lambda m: entry(m, name="x" * 2000),
    "nothing": lambda m: m,
    "map": lambda m: m.value.add(tag="w").maptensor.tensor.add().CopyFrom(entry(Message()).value[0].tensor) or m,
    "no content": lambda m: entry(m).value[0].tensor.ClearField("tensor_content") or m,
}


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("lie", LIES)
def test_what_a_file_claims_is_compared_with_what_it_holds(lie, checksum, tmp_path):
    """Without a checksum too: ordinary damage looks the same."""
    path = write(tmp_path / "a.ckpt", LIES[lie](Message()), checksum=checksum)
    with pytest.raises(DamagedError, match=r"a\.ckpt cannot be read as a MindSpore checkpoint: it is "):
        load_checkpoint(path)


def test_a_file_that_shrinks_while_it_is_open_is_noticed(tmp_path):
    path = write(tmp_path / "a.ckpt", entry(Message(), dims=(2**20,), content=bytes(2**22)))
    arrays = load_checkpoint(path).arrays
    with path.open("r+b") as file:
        file.truncate(2**20)
    with pytest.raises(DamagedError, match="it became shorter while it was read"):
        arrays["w"]


def test_an_open_checkpoint_outlives_its_name(tmp_path):
    path = write(tmp_path / "a.ckpt", entry(Message()))
    checkpoint = load_checkpoint(path)
    path.unlink()
    assert checkpoint.arrays["w"].tolist() == WEIGHT.tolist()


@pytest.mark.slow
def test_mutated_checkpoints_crash_nothing_and_are_never_counted_wrongly(tmp_path):
    """A few of those that `python tests/fuzz/checkpoints.py 1000` tries."""
    trial = Trial(tmp_path)
    assert trial.load(trial.good).kind == "done"
    files = {seed: mutated(trial.good, seed) for seed in range(60)}
    assert not [(seed, name, problem) for seed, (name, data) in files.items() if (problem := trial.problem(data))]
    assert len({name for name, _ in files.values()}) > 10
