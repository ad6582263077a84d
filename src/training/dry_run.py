"""What a run would cost, from a few of its steps: time, memory, the largest batch."""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import mindspore as ms

from src.model_utils.group import Group
from src.training.clock import Clock
from src.training.plan import Plan
from src.training.progress import Progress
from src.training.step import TrainStep
from src.training.update import Batch, arguments, endless_steps, update
from src.utils.memory import available_memory, held_memory, measured_peak

_SECONDS, _FEWEST, _MOST = 5.0, 3, 20  # of the steps that are timed
_EVALUATED = 5  # batches; the first one compiles


@dataclass(frozen=True)
class DryRun:
    """Times in seconds, memory in bytes.

    compilation: until the first step had ended. step: of one, of it `wait_percent` spent waiting for data. evaluation:
    of all held-out images, 0 when there are none. left: of the whole run from where it begins, evaluations included.
    memory: the most that the process held, for each of two numbers of images in a batch. room: what it may hold, None
    when nobody says.
    """

    batch_size: int
    compilation: float
    step: float
    wait_percent: float
    images_per_second: float
    evaluation: float
    left: float
    memory: dict[int, int]
    room: int | None

    @property
    def bytes_per_image(self) -> float:
        """From the two batches that were measured."""
        (few, small), (many, large) = sorted(self.memory.items())
        return (large - small) / (many - few)

    @property
    def largest_batch(self) -> int | None:
        """Estimated: each image more takes as much memory. None when it cannot be told."""
        if self.room is None or self.bytes_per_image <= 0:
            return None
        batch, used = max(self.memory.items())
        return max(math.floor(batch + (self.room - used) / self.bytes_per_image), 0)

    def lines(self) -> list[str]:
        """What to say about it."""
        evaluations = f"evaluations of {_duration(self.evaluation)} included" if self.evaluation else "not evaluated"
        memory = f"memory of a process {self.memory[self.batch_size] / 1e9:.2f} GB at batch {self.batch_size}"
        if self.largest_batch is None:
            memory += "; the largest batch that fits cannot be told here"
        else:
            few, many = sorted(self.memory)
            memory += (
                f", {self.bytes_per_image / 1e6:.3g} MB an image; the largest batch in the {self.room / 1e9:.1f} GB "
                f"that it may have is about {self.largest_batch}, estimated from batches of {few} and {many}"
            )
        return [
            f"dry run: first step, with compilation, {self.compilation:.1f} s; then {self.step:.3g} s a step, "
            f"{self.images_per_second:.1f} images/s, {self.wait_percent:.0f} % of the time waiting for data",
            f"dry run: {_duration(self.left)} to the end, {evaluations}",
            f"dry run: {memory}",
        ]


def dry_run(
    train_step: TrainStep,
    train_batches: Callable[..., Iterator[Batch]],
    plan: Plan,
    progress: Progress,
    group: Group,
    *,
    device: str,
    rate: float,
    evaluate: Callable[[Callable[[], bool]], object] | None = None,
    num_held_out: int = 0,
) -> DryRun:
    """Run a few steps of a run that would go on from `progress`, and the beginning of an evaluation.

    rate: a learning rate. evaluate: of num_held_out images, as for `Trainer`. The weights change. Collective.
    """
    train_step.set_train(True)  # building the evaluation has set the shared network to inference
    steps = endless_steps(train_batches, plan.accumulation_steps, plan.max_epoch - 1)  # where images are largest
    first = next(steps)
    size = plan.batch_size
    # Both compiled before either runs, the smaller run first: what the process keeps counts in neither or in both.
    sizes = sorted({size, size // 2 or 2})
    memory, seconds = {}, {}
    for images in sizes:
        start = time.perf_counter()
        train_step.compile(*arguments(_of_size(first[0], images), rate, is_last=True))
        seconds[images] = time.perf_counter() - start
    for images in sizes:
        start = time.perf_counter()
        with measured_peak(None if device == "CPU" else _device_peak) as peak:
            update(train_step, [_of_size(batch, images) for batch in first], rate)
        memory[images] = peak.bytes
        seconds[images] += time.perf_counter() - start
    room = _room(device, group)

    start = time.perf_counter()
    update(train_step, first, rate)
    wanted = min(max(_FEWEST, round(_SECONDS / (time.perf_counter() - start))), _MOST)
    clock = Clock()
    for _ in range(int(group.from_master(lambda: str(wanted)))):
        start = time.perf_counter()
        batches = next(steps)
        waited = time.perf_counter() - start
        update(train_step, batches, rate)
        clock.add(time.perf_counter() - start, waited, plan.images_per_step)
    step = plan.images_per_step / clock.images_per_second

    evaluation = _time_of_evaluation(evaluate, -(-num_held_out // plan.images_per_batch)) if evaluate else 0.0
    todo = plan.max_epoch * plan.steps_per_epoch - plan.steps_done(progress)
    evaluations = -(-plan.max_epoch // plan.eval_interval) - progress.epoch // plan.eval_interval
    left = max(todo, 0) * step + max(evaluations, 0) * evaluation
    return DryRun(
        size, seconds[size], step, clock.wait_percent, clock.images_per_second, evaluation, left, memory, room
    )


def _of_size(batch: Batch, size: int) -> Batch:
    """`size` of its images: the first ones, or some of them twice."""
    *arrays, mix = batch if len(batch) > 3 else (*batch, None)
    arrays = [values.take(range(size), axis=0, mode="wrap") for values in arrays]
    return (*arrays, mix.of_size(size)) if mix else tuple(arrays)


def _time_of_evaluation(evaluate: Callable[[Callable[[], bool]], object], batches: int) -> float:
    ends = []

    def enough() -> bool:
        ends.append(time.perf_counter())
        return len(ends) > _EVALUATED

    evaluate(enough)
    if len(ends) < 3:  # one or two batches: with their compilation, which is too much rather than too little
        start = time.perf_counter()
        evaluate(lambda: False)
        return time.perf_counter() - start
    return batches * statistics.median(end - start for start, end in itertools.pairwise(ends))


def _room(device: str, group: Group) -> int | None:
    """What this process may hold, shared with the others of its group on a CPU, which may all be on this machine."""
    if device != "CPU":  # not run: no such device could be had
        return ms.hal.get_device_properties(ms.get_context("device_id"), device).total_memory
    free, _ = available_memory()
    return None if free is None else free // group.world_size + held_memory()


def _device_peak() -> int:
    """Of the accelerator, since the last call. Not run: no such device could be had."""
    peak = ms.runtime.max_memory_allocated()
    ms.runtime.reset_peak_memory_stats()
    return peak


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
