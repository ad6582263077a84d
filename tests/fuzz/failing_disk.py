"""A run on a disk that fails: every call, error and file that a run touches, in a process of its own each.

python tests/fuzz/failing_disk.py [EVERY]

It ends with one sentence, renames nothing, and afterwards the run can be resumed. With EVERY only each such case of
the product is tried. The process starts itself again with failing_disk.c preloaded.
"""

import ctypes
import errno
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

SHIM = Path(__file__).with_suffix(".c")
ERRORS = (errno.EIO, errno.EACCES, errno.ENOSPC, errno.ESTALE)
TEXTS = ("*.csv", "*.txt", "*.yaml", "*.png")
FILES = {  # those with which a run does this; most are written under another name first
    "open": ("*/.lock", "*/train.log", *TEXTS, "*tfevents*", "*.tmp-*.tmp", "*/0-*.ckpt", "*/20[0-9][0-9]-*"),
    "read": ("*/0-*.ckpt", "*.yaml"),
    "write": ("*/train.log", *TEXTS, "*tfevents*", "*.tmp-*.tmp"),
    "fsync": (*TEXTS, "*tfevents*", "*.tmp-*.ckpt", "*/20[0-9][0-9]-*"),
    "rename": (*TEXTS, "*.tmp-*.ckpt", "*/0-*.ckpt", "*/best.ckpt"),
}
CASES = [(call, error, file) for call in FILES for file in FILES[call] for error in ERRORS]


def start_preloaded(folder: Path, *arguments: str) -> tuple[int, list[str]]:
    """Run this file in a process that has the shim; its exit status and what it says, without the log."""
    library = folder / "failing_disk.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True)
    environment = os.environ | {"LD_PRELOAD": str(library)}
    lines = []
    with subprocess.Popen(
        [sys.executable, __file__, *arguments], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if ":INFO:" not in line:
                print(line, end="", flush=True)
                lines.append(line)
    return process.returncode, lines


def run(root: Path, resume: str = "") -> str:
    """All that train.py does to its run folder, without a network; the folder."""
    from mindspore import Parameter, Tensor

    from src.model_utils.config import parse, save_config
    from src.model_utils.group import ALONE
    from src.training.progress import COLUMNS, Progress
    from src.training.recorder import Recorder
    from src.training.run_folder import open_run_folder, share_checkpoint
    from src.training.saver import Saver
    from src.utils.checkpoint import load_training_state
    from src.utils.files import write_text_atomically
    from src.utils.logging import get_logger, log_file

    state = [Parameter(Tensor([1.0, 2.0]), name="head.fc.weight")]
    checkpoint = share_checkpoint(resume, root, ALONE)
    progress = Progress()
    if checkpoint:
        load_training_state(state, checkpoint)
        progress = Progress.from_dict(checkpoint.require("progress"))
    with open_run_folder(root, ALONE, checkpoint, resume) as folder, log_file(folder / "train.log"):
        get_logger().info("a line")
        save_config(parse("train", ["--dataset", "digits", "--lr", "0.5" if checkpoint else "0.1"]), folder)
        write_text_atomically(folder / "class_names.txt", "cat\n")
        step = SimpleNamespace(saved_parameters=lambda: state, average=None)
        saver = Saver(folder, step, {}, rank=0, keep=2, active=True)
        recorder = Recorder(folder, progress.history, global_step=0, active=True)
        for _ in range(3):
            row = dict.fromkeys(COLUMNS, 0.5) | {"epoch": progress.epoch + 1, "step": progress.epoch + 1}
            progress.history.append(row)
            recorder.log_step(row["step"], loss=1.0)
            saver.save(progress, 1)
            saver.save_best(progress, "raw")
            recorder.log_epoch(progress.history)
            progress.next_epoch()
        recorder.close(progress.history)
        return str(folder)


def work(root: Path, resume: str, case: tuple | None) -> tuple[int, list[str]]:
    """`run`, with a failing disk; how often it failed and what Python could not raise. Raises as `run`."""
    shim, silent = ctypes.CDLL(None), []
    sys.unraisablehook = lambda event: silent.append(repr(event.exc_value))
    if case:
        call, error, pattern = case
        shim.failing_disk(call.encode(), error, pattern.encode())
    try:
        run(root, resume)
    finally:
        hits = shim.failing_disk_hits()
        shim.failing_disk(b"", 0, b"")
    return hits, silent


def problem(root: Path, resume: str, case: tuple) -> tuple[str, str]:
    """What became of the run, and which promise was broken, empty when none was."""
    from fuzz.children import in_child

    outcome = in_child(lambda: work(root, resume, case))
    if outcome.kind not in ("done", "refused"):
        return outcome.kind, outcome.text
    if outcome.kind == "done" and outcome.value[1]:
        return "silent", str(outcome.value[1])
    if outcome.kind == "refused" and ("\n" in outcome.text or not 20 < len(outcome.text) < 800):
        return "refused", outcome.text
    files = [path.name for path in root.rglob("*")]
    if [name for name in files if "damaged" in name]:
        return outcome.kind, f"renamed: {files}"
    again = in_child(lambda: work(root, "auto", None))
    if again.kind != "done":
        return outcome.kind, f"cannot be resumed: {again.text}"
    if len([path for path in root.iterdir() if (path / "best.ckpt").exists()]) > 1 and resume:
        return outcome.kind, "a second run was started"
    kind = outcome.kind if outcome.kind == "refused" or outcome.value[0] else "not reached"
    return kind, ""


def main(every: int = 1) -> int:
    """Try each `every`th case; the number of broken promises."""
    import matplotlib.figure  # noqa: F401, the children need not import it
    import mindspore  # noqa: F401

    import src.training.recorder
    import src.training.run_folder
    from src.training import saver  # noqa: F401

    # Drawing takes longer than all else; what matters is the file.
    src.training.recorder.draw_curves = lambda _, path, *__: path.write_bytes(b"a picture")
    broken, kinds = 0, Counter()
    for case in CASES[::every]:
        for resume in ("", "auto"):
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder) / "output"
                if resume:
                    run(root)
                kind, found = problem(root, resume, case)
                kinds[kind] += 1
                if found:
                    broken += 1
                    print(f"{case[0]} {errno.errorcode[case[1]]} {case[2]} {resume or 'new'}: {found}", flush=True)
    print(f"{sum(kinds.values())} failing disks {dict(kinds)}: {broken} promises broken")
    return broken


if __name__ == "__main__":
    if "failing_disk" in os.environ.get("LD_PRELOAD", ""):
        sys.exit(main(*map(int, sys.argv[1:])) > 0)
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(start_preloaded(Path(temporary), *sys.argv[1:])[0])
