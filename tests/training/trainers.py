"""Trainers of the toy network, as test_trainer.py and test_trainer_stops.py run them."""

import csv

import numpy as np
from toy import give_back, make_data, make_step

from src.training.plan import Plan
from src.training.progress import Progress
from src.training.recorder import Recorder
from src.training.saver import Saver
from src.training.trainer import Trainer
from src.utils.accuracy import Accuracy
from src.utils.checkpoint import load_checkpoint, load_training_state

STEPS, BATCH = 5, 4


def rate(step: int) -> float:
    return 0.1 / (1 + step)


def batches(epoch: int, first_image: int = 0, first_batch: int = 0, accumulation_steps: int = 1):
    """The rest of an epoch: always the same images at the same place in training."""
    assert first_image == 0
    for i in range(first_batch, STEPS * accumulation_steps):
        yield *make_data(BATCH, seed=1000 * epoch + i), np.arange(BATCH)


def make_trainer(
    folder,
    *,
    step=None,
    progress=None,
    keep=100,
    evaluate=None,
    data=batches,
    schedule=rate,
    refresh=None,
    limits=None,
    **plan,
) -> Trainer:
    step, progress = step or make_step(), progress or Progress()
    plan = Plan(**{"max_epoch": 2, "num_images": STEPS * BATCH + 1, "batch_size": BATCH, "log_interval": 2, **plan})
    saver = Saver(folder, step, {"note": "kept"}, rank=0, keep=keep, active=True)
    recorder = Recorder(folder, progress.history, global_step=0, active=True)
    return Trainer(
        step, data, schedule, plan, progress, saver, recorder, evaluate=evaluate, refresh=refresh, limits=limits
    )


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.glob("*.ckpt"))


def rows(folder) -> list[dict]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def go_on(folder, checkpoint, **plan) -> Trainer:
    """A trainer that resumes from the file, in the same folder; what was trained before has ended."""
    give_back()
    found = load_checkpoint(folder / checkpoint)
    step, progress = make_step(), Progress.from_dict(found.require("progress"))
    load_training_state(step.saved_parameters(), found)
    return make_trainer(folder, step=step, progress=progress, **plan)


def half_right(_) -> Accuracy:
    accuracy = Accuracy(2)
    accuracy.set_counts(np.array([[0, 0, 5], [1, 0, 5]]))
    return accuracy
