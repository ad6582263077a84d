"""Whole commands that race for one name: one wins, the others are told so, and nothing is lost or mixed.

python tests/fuzz/races.py 20 [KIND...]      # export, predictions, conversion, resume, running; without a KIND all

Each race is of RACERS processes, forked from one that has imported everything, and let loose together.
"""

import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]


from commands import TINY

import eval as evaluation
import export
import train
from src.datasets.preprocessing import default_preprocessing
from src.deploy import convert_weights
from src.deploy.manifest import manifest_path, read_manifest
from src.network.architecture import architecture
from src.network.densenet import DenseNet
from src.training.model_card import ModelCard
from src.utils.checkpoint import load_checkpoint, save_checkpoint
from src.utils.errors import run

RACERS = 3
ALONE = ["--graph_cache", "off", "--cpu_kernels", "off", "--num_parallel_workers", "1"]
TOLD = (
    "appeared while this command worked",
    "exists and is not overwritten",
    "another process is training in",
    "another process trained in",
)
Command = tuple[Callable[[Sequence[str]], object], list[str]]


class Racer:
    """A command in a process of its own, from the moment that nobody holds the pipe `start` open any more."""

    def __init__(self, output: Path, command: Command, start: tuple[int, int]) -> None:
        self.output = output
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._become(command, start)

    def _become(self, command: Command, start: tuple[int, int]) -> None:
        status = 70
        try:
            descriptor = os.open(self.output, os.O_CREAT | os.O_WRONLY, 0o644)
            for stream in (1, 2):
                os.dup2(descriptor, stream)
            os.close(start[1])
            os.read(start[0], 1)
            status = run(*command)
            sys.stdout.flush()
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(status)

    def ended(self) -> tuple[int, str]:
        """Its exit status, and the error that it told."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        text = self.output.read_text(errors="replace")
        return status, text[text.find("Traceback") :] if "Traceback" in text else text.partition("error: ")[2].strip()


def race(folder: Path, commands: Sequence[Command]) -> tuple[list[int], list[str]]:
    """Run all `commands` at once. The numbers of those that ended well, and what is wrong with what the others said."""
    start = os.pipe()
    racers = [Racer(folder / f"{number}.txt", command, start) for number, command in enumerate(commands)]
    for end in start:
        os.close(end)
    ended = [racer.ended() for racer in racers]
    winners = [number for number, (status, _) in enumerate(ended) if status == 0]
    wrong = [f"{status} {text}" for status, text in ended if status and not any(words in text for words in TOLD)]
    if len(winners) != 1:
        wrong.append(f"{len(winners)} winners")
    return winners, wrong


class Race:
    """What the races need: a short run, and as many checkpoints as racers, each with weights of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checkpoints, self.weights = [], []
        arch = architecture("densenet100", 10, block_config=(1, 1), growth_rate=4, stem_features=8)
        names = tuple(map(str, range(10)))
        card = ModelCard(arch, default_preprocessing("digits", 8), names).to_metadata()
        card["recipe"] = {"dataset": "digits", "eval_data_dir": "bundled"}
        for number in range(RACERS):
            network = DenseNet(arch, seed=number)
            self.checkpoints.append(root / f"{number}.ckpt")
            save_checkpoint(self.checkpoints[-1], network.get_parameters(), card)
            self.weights.append(root / f"{number}.safetensors")
            convert_weights.main([str(self.checkpoints[-1]), str(self.weights[-1])])
        self.heads = [load_checkpoint(path).arrays["head.fc.weight"] for path in self.checkpoints]

    @cached_property
    def run(self) -> Path:
        """A run of one epoch, by a process of its own: what MindSpore's threads hold does not survive a fork."""
        _, wrong = race(self.root, [(train.main, [*TINY, *ALONE, "--save_ckpt_path", str(self.root / "run")])])
        assert not wrong, wrong
        (folder,) = (self.root / "run").iterdir()
        return folder

    def export(self, folder: Path) -> list[str]:
        """To one name; the model has the winner's weights, its description is of it, and nothing else is left."""
        name = ["--file_format", "ONNX", "--file_name", str(folder / "model")]
        winners, wrong = race(
            folder, [(export.main, ["--ckpt_file", str(checkpoint), *name]) for checkpoint in self.checkpoints]
        )
        model = folder / "model.onnx"
        wrong += others_than(folder, model.name, manifest_path(model).name)
        if not wrong:
            read_manifest(model)  # raises when it describes another file
            wrong += [] if self.heads[winners[0]].tobytes() in model.read_bytes() else ["another's weights"]
        return wrong

    def predictions(self, folder: Path) -> list[str]:
        """Into one file, which is the winner's to the end."""
        table = folder / "answers.csv"
        flags = [*ALONE, "--eval_data_dir", "bundled", "--predictions", str(table), "--save_ckpt_path"]
        winners, wrong = race(
            folder,
            [
                (evaluation.main, ["--ckpt_files", str(checkpoint), *flags, str(folder / f"results_{number}")])
                for number, checkpoint in enumerate(self.checkpoints)
            ],
        )
        wrong += others_than(folder, table.name, *(f"results_{number}" for number in range(RACERS)))
        if not wrong:
            alone = folder / "alone.csv"
            flags = [*flags[:-2], str(alone), "--save_ckpt_path", str(folder / "results_alone")]
            _, wrong = race(folder, [(evaluation.main, ["--ckpt_files", str(self.checkpoints[winners[0]]), *flags])])
            wrong += [] if wrong or alone.read_bytes() == table.read_bytes() else ["not the winner's answers"]
        return wrong

    def conversion(self, folder: Path) -> list[str]:
        """Of other weights to one checkpoint."""
        target = folder / "converted.ckpt"
        winners, wrong = race(
            folder,
            [(convert_weights.main, [str(weights), str(target), "--net", "densenet100"]) for weights in self.weights],
        )
        wrong += others_than(folder, target.name)
        if not wrong and load_checkpoint(target).arrays["head.fc.weight"].tobytes() != self.heads[winners[0]].tobytes():
            wrong.append("another's weights")
        return wrong

    def resume(self, folder: Path) -> list[str]:
        """Of one run by all at once, by its folder, by `auto`, by its checkpoint."""
        run_folder = Path(shutil.copytree(self.run, folder / "output" / self.run.name))
        ways = ("auto", str(run_folder), str(max(run_folder.glob("0-*.ckpt"))))
        flags = ["--save_ckpt_path", str(folder / "output"), "--max_epoch", "3"]
        _, wrong = race(folder, [(train.main, ["--resume", way, *flags]) for way in ways[:RACERS]])
        return wrong + self._trained_once(run_folder, 3)

    def running(self, folder: Path) -> list[str]:
        """Of a run that trains already; it goes on as if nothing had been."""
        root = folder / "output"
        start = os.pipe()
        flags = [*TINY, *ALONE, "--max_epoch", "40", "--save_ckpt_path", str(root)]
        first = Racer(folder / "first.txt", (train.main, flags), start)
        for end in start:
            os.close(end)
        patience = time.monotonic() + 120
        while not list(root.glob("*/0-*.ckpt")) and time.monotonic() < patience:
            time.sleep(0.02)
        (run_folder,) = root.iterdir()
        ways = ("auto", str(run_folder), str(run_folder / "0-1_5.ckpt"))
        winners, wrong = race(folder, [(train.main, ["--resume", way, "--save_ckpt_path", str(root)]) for way in ways])
        status, text = first.ended()
        wrong = [line for line in wrong if line != f"{0} winners"] + ([f"first: {status} {text}"] if status else [])
        return wrong + ([f"{len(winners)} resumed it"] if winners else []) + self._trained_once(run_folder, 40)

    def _trained_once(self, run_folder: Path, epochs: int) -> list[str]:
        rows = (run_folder / "metrics.csv").read_text().splitlines()[1:]
        wrong = [] if [row.split(",")[0] for row in rows] == [str(e + 1) for e in range(epochs)] else [f"rows {rows}"]
        others = [path.name for path in run_folder.parent.iterdir() if path != run_folder]
        wrong += [f"other runs {others}"] if others else []
        wrong += [path.name for path in run_folder.iterdir() if "damaged" in path.name or ".tmp" in path.name]
        (digest,) = {load_checkpoint(path).arrays.shapes["head.fc.weight"] for path in run_folder.glob("0-*.ckpt")}
        return wrong if digest[0] == 10 else [*wrong, "another network"]


def others_than(folder: Path, *expected: str) -> list[str]:
    """What else is in `folder`, or not there, apart from what the racers said."""
    found = {path.name for path in folder.iterdir() if path.suffix != ".txt"}
    return [] if found == set(expected) else [f"found {sorted(found)}"]


KINDS = ("export", "predictions", "conversion", "resume", "running")


def main(races: int, *kinds: str) -> int:
    """`races` of each of `kinds`; the number of those in which something was wrong."""
    broken = 0
    with tempfile.TemporaryDirectory() as root:
        runner = Race(Path(root))
        for kind in kinds or KINDS:
            lost = 0
            for number in range(races):
                folder = Path(root, f"{kind}_{number}")
                folder.mkdir()
                if wrong := getattr(runner, kind)(folder):
                    lost += 1
                    print(f"{kind} {number}: {'; '.join(wrong)[:2000]}", flush=True)
                shutil.rmtree(folder)
            print(f"{races} races of {RACERS} for {kind}: {lost} broken", flush=True)
            broken += lost
    return broken


if __name__ == "__main__":
    sys.argv[0] = train.__file__  # kept graphs ask for the script that was started
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]) > 0)
