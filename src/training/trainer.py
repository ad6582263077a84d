"""The training loop: epochs of steps, log lines, checkpoints, evaluation; able to stop and go on at any step."""

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterable

from src.model_utils.group import ALONE, Group
from src.training.averaged import evaluate_both, figures, log_lines
from src.training.best import best_epoch, best_of
from src.training.clock import Clock, epoch_bar, time_left
from src.training.closing import closing_line
from src.training.evaluation import Counter
from src.training.limits import OUT_OF_TIME, Limits
from src.training.plan import Plan
from src.training.progress import Mean, Progress, is_evaluated
from src.training.recorder import Recorder
from src.training.saver import ADVICE, Saver
from src.training.statistics import BATCHES, StatisticsRefresh, share_statistics
from src.training.step import TrainStep
from src.training.update import Batch, NextStep, update
from src.utils.errors import ReportedError, StopError
from src.utils.logging import get_logger
from src.utils.signals import StopRequest

UNREADABLE = 63  # beside the numbers of signals, which Group.any takes: a rank's data cannot be read
MAX_SKIPS_IN_A_ROW = 50  # a dynamic scale of 2**15 reaches 1 after 15; beyond, nothing is learnt any more

Batches = Iterable[Batch]


class UnreadableDataError(ReportedError):
    """A file could not be read in the middle of an epoch; the position that was reached is saved."""


class Trainer:
    """Runs `plan` from `progress` on, to its end or to that of `limits`.

    Args:
        train_step: the graph of one micro-batch.
        epoch_batches: (*, epoch, first_image, first_batch) -> this rank's batches of what follows the epoch's
            first_image images, without the first_batch first ones.
        schedule: step since the start of training -> learning rate.
        evaluate: (stop_requested) -> Counter of the held-out data, or None when there are none; stop_requested () is
            asked between two batches, and what was counted until it says true does not matter.
        beat: () is called before each batch, as a sign of life.
        best_metric: the figure whose best evaluation is kept as best.ckpt (see `score_of`).
        refresh: counts the running statistics anew at the end of training; None: they stay as they are.
    """

    def __init__(
        self,
        train_step: TrainStep,
        epoch_batches: Callable[..., Batches],
        schedule: Callable[[int], float],
        plan: Plan,
        progress: Progress,
        saver: Saver,
        recorder: Recorder,
        *,
        evaluate: Callable[[Callable[[], bool]], Counter] | None = None,
        group: Group = ALONE,
        beat: Callable[[], None] = lambda: None,
        best_metric: str = "top1",
        refresh: StatisticsRefresh | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.train_step, self.epoch_batches, self.schedule, self.plan = train_step, epoch_batches, schedule, plan
        self.progress, self.saver, self.recorder = progress, saver, recorder
        self.evaluate, self.group, self.beat, self.best_metric = evaluate, group, beat, best_metric
        self.refresh, self.limits = refresh, limits or Limits()
        self._ends_early = ""  # why
        progress.steps = plan.steps_done(progress)
        self._compiled: set[tuple[int, ...]] = set()  # shapes of batches
        self._skips_in_a_row = 0
        self._run_clock, self._seconds_of_evaluation = Clock(), 0.0
        self._next = NextStep(plan.accumulation_steps)

    def run(self) -> Progress:
        """Train to the last epoch, or until `limits` end it, which the log says.

        Raises StopError after SIGINT or SIGTERM, and UnreadableDataError when a file cannot be read any more, both with
        a checkpoint of the position reached; ReportedError when the loss is not finite any more: the last good
        checkpoint then stays the newest.
        """
        try:
            with StopRequest() as self._stop:
                self.limits.start(self.progress)
                while self.progress.epoch < self.plan.max_epoch and not self._ends_early:
                    self._train_epoch()
                    if not self._ends_early:
                        self._finish_epoch()
                    elif self.refresh and self.progress.steps > 0:
                        self._refresh_statistics()
        except ReportedError as error:
            with contextlib.suppress(ReportedError):  # a full disk refuses the picture too; the first error is told
                self.recorder.close(self.progress.history, self._best_epoch())
            if isinstance(error, StopError | UnreadableDataError):
                self.group.wait()  # a launcher may end all ranks when the first of them ends: let each have finished
            raise
        self.recorder.close(self.progress.history, self._best_epoch())
        if self.group.is_master:
            if self._ends_early:
                get_logger().info("%s", self._ends_early)
            get_logger().info(closing_line(self.progress, self.saver.folder, self.saver.newest(), self.best_metric))
        return self.progress

    def _train_epoch(self) -> None:
        """Train the rest of the current epoch, put its row into the history, and save its end."""
        plan, progress = self.plan, self.progress
        # After a resumption with another global batch the epoch's rest need not be a whole number of steps from here.
        first = progress.images // plan.images_per_step
        end = first + (plan.num_images - progress.images) // plan.images_per_step
        epoch_clock, window_clock = Clock(), Clock()
        if first >= end:
            return
        self.train_step.set_train(True)  # an evaluation in between has set the shared network to inference
        done = progress.batches_done(plan.images_per_batch)
        batches = iter(self.epoch_batches(epoch=progress.epoch, first_image=progress.first_image, first_batch=done))
        with epoch_bar(progress.epoch, plan.max_epoch, first, end, shown=self.group.is_master) as bar:
            if not self._compiled:
                bar.set_postfix_str("compiling the network; it moves after that")
            self._next.fetch(batches)
            stop = self.group.any(UNREADABLE if self._next.error else self._time_is_over())
            if self._end_if_time_is_over(stop):
                return
            self._stop_if(stop)
            for step in range(first, end):
                global_step = progress.epoch * plan.steps_per_epoch + step
                rate = self.schedule(global_step)
                self._one_step(rate, global_step, (epoch_clock, window_clock, self._run_clock))
                progress.images += plan.images_per_step
                progress.steps += 1
                is_last = step + 1 == end
                if not bar.disable:
                    left = time_left(plan, self._run_clock, global_step + 1, self._seconds_of_evaluation)
                    loss = f"{progress.window_loss.value:.3f}"
                    bar.set_postfix(loss=loss, lr=f"{rate:.3g}", left=left, refresh=False)
                bar.update()
                if (global_step + 1) % plan.log_interval == 0 and not is_last:
                    self._log(global_step, rate, window_clock, ends_epoch=False)
                    window_clock = Clock()
                stop = self._stop.signal_number or self._time_is_over()
                if not is_last:
                    self._next.fetch(batches)
                stop = self.group.any(UNREADABLE if self._next.error else stop)
                saves = is_last or stop or (plan.ckpt_interval and (global_step + 1) % plan.ckpt_interval == 0)
                if is_last or (saves and plan.sync_bn_stats):
                    self._share_statistics()
                if is_last:
                    self._log(global_step, rate, epoch_clock, ends_epoch=True)
                    self._begin_row(rate, epoch_clock)
                if saves:
                    progress.seconds = self.limits.seconds()
                    self.saver.save(progress, step + 1)
                if self._end_if_time_is_over(stop):
                    return
                self._stop_if(stop)

    def _time_is_over(self) -> int:
        """OUT_OF_TIME when the master's clock says so and more is left to do than the last evaluation."""
        plan, progress = self.plan, self.progress
        left = progress.epoch + 1 < plan.max_epoch or plan.num_images - progress.images >= plan.images_per_step
        return OUT_OF_TIME if left and self.group.is_master and self.limits.is_out_of_time() else 0

    def _end_if_time_is_over(self, reason: int) -> bool:
        if reason == OUT_OF_TIME:
            self._ends_early = self.limits.why_no_time(self.saver.newest(), self.saver.folder)
        return reason == OUT_OF_TIME

    def _share_statistics(self) -> None:
        if self.group.world_size > 1:
            share_statistics(self.train_step.followed_statistics(), self.group, mean=self.plan.sync_bn_stats)

    def _one_step(self, rate: float, global_step: int, clocks: tuple) -> None:
        plan = self.plan
        batches, waited = self._next.take()
        start = time.perf_counter() - waited
        shape = batches[0][0].shape
        loss, updated, right = update(self.train_step, batches, rate, self.beat)
        seconds = time.perf_counter() - start
        if shape in self._compiled:
            for clock in clocks:
                clock.add(seconds, waited, plan.images_per_step)
        else:  # the first step of a process, and of each size of images, compiles: it would drown the speed
            get_logger().info("the first step, with compilation, took %.1f s", seconds)
            self._compiled.add(shape)
        self._take_loss(loss, updated, rate, global_step)
        if math.isfinite(right):
            self.progress.epoch_top1.add(right)

    def _take_loss(self, loss: float, updated: bool, rate: float, global_step: int) -> None:
        self._skips_in_a_row = 0 if updated else self._skips_in_a_row + 1
        if self._skips_in_a_row >= MAX_SKIPS_IN_A_ROW:
            raise self._diverged(f"{self._skips_in_a_row} updates in a row overflowed", rate, global_step)
        if updated and not math.isfinite(loss):
            raise self._diverged(f"the loss is {loss}", rate, global_step)
        if not updated:
            where, skipped = self._where(rate, global_step), self._skipped_steps()
            get_logger().warning("gradient overflow %s: update skipped (%d so far)", where, skipped)
        if math.isfinite(loss):
            self.progress.epoch_loss.add(loss)
            self.progress.window_loss.add(loss)

    def _diverged(self, what: str, rate: float, global_step: int) -> ReportedError:
        return ReportedError(
            f"{what} {self._where(rate, global_step)}; the last good checkpoint is {self.saver.newest()}; {ADVICE}"
        )

    def _where(self, rate: float, global_step: int) -> str:
        epoch, step = divmod(global_step, self.plan.steps_per_epoch)
        return f"at epoch {epoch + 1}, step {step + 1} (iter {global_step}), learning rate {rate:g}"

    def _log(self, global_step: int, rate: float, clock: Clock, *, ends_epoch: bool) -> None:
        """One line of the log and one point of the events; the line of an epoch's end has the epoch's mean loss."""
        progress = self.progress
        loss = progress.epoch_loss if ends_epoch else progress.window_loss
        if self.group.is_master:
            get_logger().info(
                "epoch[%d], iter[%d], loss:%.3f, mean_fps:%.2f imgs/sec%s",
                progress.epoch, global_step, loss.value, clock.images_per_second,
                "" if ends_epoch else f", lr:{rate:.6g}",
            )  # fmt: skip
        self.recorder.log_step(
            progress.steps,
            loss=progress.window_loss.value,
            learning_rate=rate,
            images_per_second=clock.images_per_second,
        )
        progress.window_loss = Mean()

    def _begin_row(self, rate: float, clock: Clock) -> None:
        """Put the epoch's row, still without its evaluation, into the history, and note what is due at its end."""
        plan, progress = self.plan, self.progress
        progress.begin_row(
            learning_rate=rate,
            images_per_second=round(clock.images_per_second, 2) or "",
            data_wait_percent=round(clock.wait_percent, 2) if clock.seconds else "",
            skipped_steps=self._skipped_steps(),
        )
        last = progress.epoch + 1 == plan.max_epoch
        progress.evaluation_due = last or (progress.epoch + 1) % plan.eval_interval == 0
        progress.refresh_due = last and self.refresh is not None

    def _finish_epoch(self) -> None:
        """Evaluate when due, complete the epoch's row, keep the best, and move to the next epoch."""
        plan, progress = self.plan, self.progress
        if not progress.history or progress.history[-1]["epoch"] <= progress.epoch:
            # Resumed so near the end that no step is left, or from a checkpoint that was saved without the row.
            self._begin_row(self.schedule((progress.epoch + 1) * plan.steps_per_epoch - 1), Clock())
        row = progress.history[-1]
        if progress.refresh_due and self.refresh:
            self._refresh_statistics()
        if self.evaluate and (
            progress.evaluation_due or (not is_evaluated(row) and progress.epoch + 1 == plan.max_epoch)
        ):
            before = progress.not_better
            self._evaluate(row)
            if self.limits.has_no_patience(progress) and progress.epoch + 1 < plan.max_epoch:
                self._ends_early = self.limits.why_no_patience(progress, self.saver.folder)
                if self.refresh:  # the network that stays is evaluated, as after the last epoch
                    progress.evaluation_due, progress.not_better = True, before
                    self._refresh_statistics()
                    self._evaluate(row)
        self.recorder.log_epoch(progress.history, self._best_epoch())
        progress.next_epoch()

    def _evaluate(self, row: dict) -> None:
        """Evaluate, put what is found into the epoch's row, and keep the best."""
        progress = self.progress
        start = time.perf_counter()
        try:
            found = evaluate_both(self.evaluate, self.train_step.average, lambda: self._stop.signal_number > 0)
        except ReportedError as error:
            raise ReportedError(f"{error}; {self._where_to_go_on()}") from error
        self._stop_if(self.group.any(self._stop.signal_number))  # the epoch's end has been saved before
        self._seconds_of_evaluation = time.perf_counter() - start
        row.update(figures(found))
        progress.evaluation_due = False
        if self.group.is_master:
            for line in log_lines(found):
                get_logger().info(line)
        score, weights = best_of(self.best_metric, row)
        progress.not_better += 1
        if score > progress.best_score:
            progress.best_score, progress.not_better, progress.seconds = score, 0, self.limits.seconds()
            self.saver.save_best(progress, weights)

    def _refresh_statistics(self) -> None:
        """Count the running statistics anew, those of the weights' average too, and save them.

        What was saved before is as it was before: whoever is stopped in between begins anew here. An end before the
        last epoch is for those who use the network as it is; training that goes on from it has the same weights.
        """
        plan, progress, average = self.plan, self.progress, self.train_step.average
        steps = min(plan.steps_per_epoch, -(-BATCHES // plan.accumulation_steps))
        self._count_statistics(steps)
        if average is not None:
            with average.in_place():
                self._count_statistics(steps)
                average.take_statistics()
        self._share_statistics()
        progress.refresh_due, progress.seconds = False, self.limits.seconds()
        step = progress.images // plan.images_per_step
        if step:
            self.saver.save(progress, step)
        else:  # between two epochs: in the place of what was saved at the end of the last one
            self.saver.save(progress, plan.steps_per_epoch, epoch=progress.epoch)
        if self.group.is_master:
            get_logger().info(
                "batch normalisation's statistics are now the means over %d batches", steps * plan.accumulation_steps
            )

    def _count_statistics(self, steps: int) -> None:
        """Those of the network as it is, on the batches of so many steps of the epoch after the last one."""
        batches = iter(self.epoch_batches(epoch=self.plan.max_epoch))
        for _ in range(steps):
            self._next.fetch(batches)
            self._stop_if(self.group.any(UNREADABLE if self._next.error else self._stop.signal_number))
            for images, *_ in self._next.take()[0]:
                self.beat()
                self.refresh.take(images)
        self.refresh.finish()

    def _stop_if(self, reason: int) -> None:
        """Raise when a signal came in or a rank's data cannot be read; the position has been saved."""
        if reason == UNREADABLE:
            found = self._next.error or "the data of another rank cannot be read, as its own message says"
            raise UnreadableDataError(f"{found}; {self._where_to_go_on()}") from self._next.error
        if reason:
            name = signal.Signals(reason).name
            raise StopError(
                reason, f"stopped by {name} (saved: {self.saver.newest()}); go on with --resume {self.saver.folder}"
            )

    def _where_to_go_on(self) -> str:
        if not self.saver.active:
            return f"go on with --resume {self.saver.folder}"
        if not self.saver.has_saved:
            return "nothing has been trained yet"
        return f"saved: {self.saver.newest()}; go on with --resume {self.saver.folder}"

    def _best_epoch(self) -> int:
        found = best_epoch(self.progress, self.best_metric)
        return found[0] if found else 0

    def _skipped_steps(self) -> int:
        return int(self.train_step.skipped_steps.asnumpy()) if self.train_step.scaling != "none" else 0
