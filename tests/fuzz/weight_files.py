"""PyTorch's and safetensors' files mutated with their structure in mind, each given to a process of its own.

python tests/fuzz/weight_files.py 300 [SEED]

Half of them are .pth, half .safetensors. Each is refused with one sentence, or gives the arrays that its own header
describes (.safetensors) or that it had before (.pth, whose pickle is all there is to say what it holds).
"""

import io
import json
import pickletools
import random
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import numpy as np
from fuzz.children import MOST_BYTES, in_child

from src.deploy import pickled
from src.deploy.weight_files import read_torch_weights
from src.utils.errors import ReportedError

ARRAYS = {
    "features.conv0.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "features.norm0.running_var": np.ones(2, np.float32),
    "features.norm0.num_batches_tracked": np.array(7, np.int64),
    "classifier.weight": np.arange(6, dtype=np.float32).reshape(3, 2),
}
NUMBERS = (-1, 0, 1, 7, 2**31 - 1, 2**31, 2**40, 2**63, 2**64, 1.5, "4", None, [], {})


def good_pth(legacy: bool) -> bytes:
    """ARRAYS as torch.save writes them."""
    import torch

    file = io.BytesIO()
    state = {name: torch.from_numpy(value) for name, value in ARRAYS.items()}
    torch.save({"state_dict": state, "epoch": 3}, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def mutated_pth(seed: int) -> bytes:
    """A .pth of either kind whose pickle, members or bytes are not as they were."""
    dice = random.Random(seed)
    data = good_pth(legacy=dice.random() < 0.3)
    if not data.startswith(b"PK") or dice.random() < 0.15:
        return _flipped(data, dice) if dice.random() < 0.5 else _other_operations(data, dice)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = next(n for n in members if n.endswith("data.pkl")) if dice.random() < 0.7 else dice.choice(list(members))
    what = dice.randrange(5)
    if what == 0:
        members[chosen] = _flipped(members[chosen], dice)
    elif what == 1:
        members[chosen] = _other_operations(members[chosen], dice)
    elif what == 2:
        del members[chosen]
    elif what == 3:
        members[chosen] = members[chosen][: dice.randrange(len(members[chosen]) + 1)]
    else:
        members[chosen] = members[chosen] + bytes(dice.choice((1, 1000, 10**7)))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _other_operations(data: bytes, dice: random.Random) -> bytes:
    """Operations of the pickle doubled, left out, moved or with other numbers."""
    try:
        starts = [at for _, _, at in pickletools.genops(data)]
    except ValueError:
        starts = []
    if len(starts) < 4:  # an older file begins with small pickles of its own
        return _flipped(data, dice)
    parts = [data[a:b] for a, b in zip(starts, [*starts[1:], starts[-1] + 1], strict=True)]
    for _ in range(dice.choice((1, 2, 5))):
        at = dice.randrange(len(parts) // 2, len(parts))
        what = dice.randrange(5)
        if what == 0:
            parts.insert(at, parts[dice.randrange(len(parts))])
        elif what == 1:
            del parts[at]
        elif what == 2:
            parts[at] = dice.choice((b"J\xff\xff\xff\x7f", b"\x8a\x09" + b"\xff" * 8 + b"\x7f", b"r\xff\xff\xff\x7f"))
        elif what == 3:
            parts.insert(at, b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R")
        else:
            parts[at:at] = parts[at : at + 9] * dice.choice((1, 1000))
    return b"".join(parts) + data[starts[-1] + 1 :]


def mutated_safetensors(seed: int) -> bytes:
    """A .safetensors whose header, length or data are not as they were."""
    from safetensors.numpy import save

    dice = random.Random(seed)
    data = save(ARRAYS)
    length = int.from_bytes(data[:8], "little")
    header, content = json.loads(data[8 : 8 + length]), data[8 + length :]
    name = dice.choice(list(header))
    entry, what = header[name], dice.randrange(9)
    if what == 0:
        entry["shape"] = dice.choices(NUMBERS, k=dice.choice((0, 1, 2, 3, 100)))
    elif what == 1:
        entry["dtype"] = dice.choice(("F64", "F16", "BF16", "I64", "I8", "F8_E4M3", "", 3, None))
    elif what == 2:
        entry["data_offsets"][dice.randrange(2)] = dice.choice(NUMBERS)
    elif what == 3:
        header[dice.choice(("a", "é\0", "__metadata__", "x" * 10**5))] = entry
    elif what == 4:
        del entry[dice.choice(list(entry))]
    elif what == 5:
        entry["shape"] = list(reversed(entry["shape"]))
    elif what == 6:
        content = dice.choice((content[:-1], content + b"\0", b"", content * 2))
    elif what == 7:
        header = dice.choice(([], {}, {name: []}, {"a": {"a": entry}}, "x", {f"n{i}": entry for i in range(10**4)}))
    text = json.dumps(header).encode()
    file = len(text).to_bytes(8, "little") + text + content
    return _flipped(file, dice) if what == 8 else file


def _flipped(data: bytes, dice: random.Random) -> bytes:
    data = bytearray(data)
    for _ in range(dice.choice((1, 1, 3, 20))):
        data[dice.randrange(len(data))] = dice.randrange(256)
    return bytes(data[: dice.choice((len(data), len(data), dice.randrange(len(data))))])


def _by_header(data: bytes) -> dict[str, np.ndarray]:
    length = int.from_bytes(data[:8], "little")
    header, content = json.loads(data[8 : 8 + length]), data[8 + length :]
    kinds = {"F32": "<f4", "F16": "<f2", "I64": "<i8"}
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            part = content[slice(*entry["data_offsets"])]
            if entry["dtype"] == "BF16":
                values = np.frombuffer(b"".join(b"\0\0" + part[i : i + 2] for i in range(0, len(part), 2)), "<f4")
            else:
                values = np.frombuffer(part, kinds[entry["dtype"]])
            arrays[name] = values.astype(values.dtype if values.dtype == np.int64 else np.float32)
            arrays[name] = arrays[name].reshape(entry["shape"])
    return arrays


def problem(path: Path, data: bytes) -> tuple[str, str]:
    """What became of the file, and which promise was broken, empty when none was."""
    path.write_bytes(data)

    def work():
        if path.suffix == ".pth":
            said, arrays = pickled.answer(path, "")
            if "error" in said:
                raise ReportedError(path.name + said["error"])
            return len(arrays)
        found, expected = read_torch_weights(path)[0], _by_header(data)
        same = found.keys() == expected.keys()
        return same and all(np.array_equal(found[k], expected[k], equal_nan=True) for k in found)

    outcome = in_child(work)
    if outcome.max_bytes > MOST_BYTES:
        return outcome.kind, f"{outcome.max_bytes:,} bytes"
    if path.suffix == ".pth" and outcome.kind == "traceback" and outcome.text.rstrip().endswith("MemoryError"):
        return "too large", ""  # which its caller, the reader of the process, says
    if outcome.kind == "done":
        return outcome.kind, "" if outcome.value else "other arrays than its header says"
    if outcome.kind == "refused":
        return outcome.kind, "" if 20 < len(outcome.text) < 1500 else outcome.text
    return outcome.kind, outcome.text or outcome.kind


def main(count: int, first: int = 0) -> int:
    """Try `count` files; the number of broken promises."""
    import torch  # noqa: F401, the children need not import it

    broken, kinds = 0, Counter()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count):
            suffix, make = ((".pth", mutated_pth), (".safetensors", mutated_safetensors))[seed % 2]
            kind, found = problem(Path(folder) / f"weights{suffix}", make(seed))
            kinds[suffix + " " + kind] += 1
            if found:
                broken += 1
                print(f"seed {seed}, {suffix}: {found}", flush=True)
    print(f"{count} mutated weight files {dict(kinds)}: {broken} promises broken")
    return broken


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])) > 0)
