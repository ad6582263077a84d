"""Try every promise of the README's table on one device, with the data that come with scikit-learn.

bash scripts/test_device.sh CPU
bash scripts/test_device.sh Ascend 8
bash scripts/test_device.sh GPU 2 logits train ranks

It takes a few minutes (each row is given up after five), ends with a Markdown table, and leaves one file to attach to a
report. The exit status is 1 when a row failed.
"""

import json
import platform
import re
import shutil
import sys
import tarfile
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts.device_test.results import Result, try_rows
from scripts.device_test.worker import FAILED, PASSED
from src.doctor.examination import examine
from src.doctor.machine import Machine, this_machine
from src.doctor.row import Row
from src.launch.devices import check_devices
from src.utils.arguments import Parser
from src.utils.errors import ReportedError, UsageError, run
from src.utils.shown import shown

TARGETS = ("CPU", "GPU", "Ascend")
# Names of `rows.ROWS`, which cannot be imported where MindSpore cannot be: that is to be a row that failed.
NAMES = (
    *("logits", "evaluation", "train", "resume", "O2", "O3", "bf16", "onnx", "mindir", "air", "weights", "ranks"),
    *("cpp", "speed"),
)
SECONDS = 300.0  # for a row
_BUNDLED = Path(__file__).parent / "bundled"


def main(argv: Sequence[str]) -> None:
    """Try the rows and report. Raises ReportedError when one failed."""
    asked = parse(argv)
    check_devices(asked.target, asked.devices)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = Path(tempfile.mkdtemp(prefix="device-test-"))
    try:
        with ThreadPoolExecutor(1) as pool:
            looked_at = pool.submit(examine, this_machine())
            order = {"target": asked.target, "devices": asked.devices, "folder": str(folder), "rows": list(asked.rows)}
            results = try_rows(
                order | {"bundled": str(asked.bundled)},
                dict.fromkeys(NAMES, asked.seconds),
                folder / "rows.log",
                say,
            )
            rows = looked_at.result()
        text = table(results, describe(asked.target, asked.devices, rows, this_machine()))
        file = Path(f"device-test-{asked.target}-{stamp}.tar.gz").absolute()
        pack(file, folder, text, results, rows)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{shown(text)}\nto attach to a report: {file}")
    failed = [result.row for result in results if result.verdict == FAILED]
    if failed:
        raise ReportedError(f"{len(failed)} of {len(results)} rows failed: {', '.join(failed)}; {file} holds the log")


def parse(argv: Sequence[str]) -> Namespace:
    """The command line. Raises UsageError."""
    parser = Parser("bash scripts/test_device.sh CPU|GPU|Ascend [DEVICES] [ROW]...", __doc__)
    parser.add_argument("target", choices=TARGETS, metavar="CPU|GPU|Ascend")
    parser.add_argument("devices", nargs="?", default="", metavar="DEVICES")
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="after which a row is given up")
    parser.add_argument("--bundled", type=Path, default=_BUNDLED, help="the folder of the checkpoint and its logits")
    asked = parser.parse_args(argv)
    usual = "2" if asked.target == "CPU" else "1"
    text = asked.devices or usual
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 1024):
        raise UsageError(f"DEVICES is {text!r}, expected how many to use, a number from 1")
    asked.devices = int(text)
    if unknown := [name for name in asked.rows if name not in NAMES]:
        raise UsageError(f"there is no row {unknown[0]!r}; choose from {', '.join(NAMES)}")
    asked.rows = asked.rows or list(NAMES)
    return asked


def say(result: Result) -> None:
    """A line as soon as a row is done."""
    print(f"{result.verdict:4} {result.row:10} {result.seconds:5.0f} s  {shown(result.figure)}", flush=True)


def describe(target: str, devices: int, rows: Sequence[Row], machine: Machine) -> tuple[str, str, str]:
    """Device, driver and versions, as the doctor found them."""
    found = {row.name: row.found for row in rows}
    versions = f"MindSpore {found.get('MindSpore', 'unknown').split(',')[0]}, Python {platform.python_version()}"
    if target == "CPU":
        model = re.search(r"^model name\s*:\s*(.+)$", machine.read("/proc/cpuinfo"), re.MULTILINE)
        name = model[1] if model else machine.processor
        return f"{devices} x CPU: {name}, {machine.cores} cores", f"Linux {platform.release()}", versions
    if target == "GPU":
        name, _, driver = found.get("GPU", "unknown").partition(", driver ")
        return f"{devices} of {name}", driver or "unknown", f"{versions}, CUDA {found.get('CUDA', 'unknown')}"
    driver = found.get("Ascend driver", "unknown").partition(", ")[2]
    chip = re.search(r"\b(?:Ascend)?\s?(910\w*|310\w*)\b", machine.run(["npu-smi", "info"], 20).said)
    name = f"Ascend {chip[1]}" if chip else "Ascend"
    return f"{devices} x {name}", driver or "unknown", f"{versions}, CANN {found.get('CANN', 'unknown')}"


def table(results: Sequence[Result], description: tuple[str, str, str]) -> str:
    """Markdown, a line for each row."""
    lines = ["| Device | Driver | Versions | Row | Verdict | Figure |", "|---|---|---|---|---|---|"]
    for result in results:
        cells = (*description, result.row, result.verdict, result.figure)
        lines.append(f"| {' | '.join(' '.join(cell.split()).replace('|', '/') for cell in cells)} |")
    passed = sum(result.verdict == PASSED for result in results)
    failed = sum(result.verdict == FAILED for result in results)
    lines += ["", f"{passed} passed, {failed} failed, {len(results) - passed - failed} do not apply"]
    return "\n".join(lines)


def pack(file: Path, folder: Path, text: str, results: Sequence[Result], rows: Sequence[Row]) -> None:
    """One archive: the table, its numbers, what the doctor says, and the log."""
    (folder / "report.md").write_text(f"{text}\n", "utf-8")
    values = {"results": [vars(result) for result in results], "doctor": [row.to_dict() for row in rows]}
    (folder / "report.json").write_text(json.dumps(values, indent=2), "utf-8")
    try:
        with tarfile.open(file, "w:gz") as archive:
            for name in ("report.md", "report.json", "rows.log"):
                if (folder / name).exists():
                    archive.add(folder / name, f"{file.name.removesuffix('.tar.gz')}/{name}")
    except OSError as error:
        raise ReportedError(f"cannot write {file}: {error.strerror}; call it in a folder of yours") from error


if __name__ == "__main__":
    sys.exit(run(main))
