"""Images per second of this project, MindSpore, PyTorch, ONNX Runtime and OpenVINO on this CPU, taking turns.

python scripts/benchmark.py
python scripts/benchmark.py --only densenet100-training,ours,torch-eager --rounds 3 --seconds 5
python scripts/benchmark.py --only pipeline
python scripts/benchmark.py --quick --output DIR

Training steps and inference of DenseNet-100 and DenseNet-121 on data in memory, and the data pipelines alone. Each
variant has a process of its own, which is stopped while another one has its turn; libraries that are not installed are
left out. OpenVINO needs NumPy 2: OPENVINO_PYTHON names the Python of an environment that has it. Takes about an hour
and a half, mostly MindSpore as it comes and torch.compile. Results are in a new folder below --output: benchmark.csv,
benchmark.md (also printed), benchmark.png, and the logs of the processes.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts import write_photos
from scripts.benchmarks.machine import measure_machine
from scripts.benchmarks.process import Setting, take_turns
from scripts.benchmarks.report import result_of, write_report
from scripts.benchmarks.tasks import known_words, select
from src.utils.arguments import Parser
from src.utils.errors import ReportedError, run
from src.utils.stamped import make_new, time_stamp


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line; raises UsageError."""
    parser = Parser("python scripts/benchmark.py [FLAG VALUE]...", __doc__)
    parser.add_argument("--only", default="", help="words with commas between them: " + ", ".join(known_words()))
    parser.add_argument("--rounds", type=int, help="turns of each variant, 5")
    parser.add_argument("--seconds", type=float, help="length of a turn, 10; at least one step is measured")
    parser.add_argument("--output", default="output", help="where the new folder is made, output")
    parser.add_argument("--quick", action="store_true", help="tiny networks and turns: to try the command")
    args = parser.parse_args(argv)
    if args.rounds is None:
        args.rounds = 1 if args.quick else 5
    if args.seconds is None:
        args.seconds = 0.1 if args.quick else 10.0
    if not 1 <= args.rounds <= 1000:
        parser.error(f"--rounds is {args.rounds}, expected 1 to 1000")
    if not 0 < args.seconds <= 3600:
        parser.error(f"--seconds is {args.seconds}, expected a number above 0 and up to 3600")
    args.chosen = select(args.only, args.quick)
    return args


def main(argv: Sequence[str]) -> Path:
    """Measure, write the report and print it; return its folder. Raises ReportedError when a process failed."""
    args = parse(argv)
    threads = len(os.sched_getaffinity(0))
    command = shlex.join(["python", "scripts/benchmark.py", *argv])
    try:
        folder = make_new(Path(args.output) / f"benchmark_{time_stamp()}", lambda path: path.mkdir(parents=True))
    except OSError as error:
        raise ReportedError(
            f"no folder can be made in {args.output}: {error.strerror}; choose another --output"
        ) from error
    print(f"results are in {folder}; measuring the machine", flush=True)
    machine = measure_machine(threads, 0.01 if args.quick else 0.2)
    results, failures = [], []
    with TemporaryDirectory() as data:
        if any(task.files for task, _ in args.chosen):
            write_photos.main([str(Path(data) / "photographs")])
        setting = Setting(args.rounds, args.seconds, threads, args.quick, folder.resolve(), Path(data))
        for task, variants in args.chosen:
            measurements, missing, failed = take_turns(task, variants, setting, lambda line: print(line, flush=True))
            results.append(result_of(task, measurements, missing, machine))
            failures += [f"{name} at {task.name}" for name in failed]
            text = write_report(folder, results, machine, command)
    print(f"\n{text}")
    if failures:
        raise ReportedError(f"failed: {', '.join(failures)}; the logs in {folder} say why, the rest was measured")
    return folder


if __name__ == "__main__":
    sys.exit(run(main))
