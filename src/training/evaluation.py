"""Exact evaluation: every image once, on any number of ranks and for any batch size."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn
from tqdm import tqdm

from src.datasets.classification import evaluation_batches
from src.datasets.source import Source
from src.model_utils.group import ALONE, Group
from src.training.mirrored import Logits as Logits
from src.training.model_card import ModelCard
from src.utils.counter import Counter, counter_of
from src.utils.graph_cache import CachedCell, GraphCache
from src.utils.padding import padded


class PredictStep(CachedCell):
    """The network in inference mode: images (B, C, H, W) float32 -> logits (B, num_classes) float32.

    temperature: what the logits are divided by, see `src.utils.calibration`.
    """

    def __init__(self, network: nn.Cell, temperature: float = 1.0, graph_cache: GraphCache | None = None) -> None:
        super().__init__(auto_prefix=False)
        self.graph_cache = graph_cache
        self.network = network
        self.temperature = temperature
        self.set_train(False)

    def construct(self, images: Tensor) -> Tensor:
        """See the class."""
        logits = self.network(images).astype(ms.float32)
        return logits if self.temperature == 1 else logits * (1 / self.temperature)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The same for NumPy arrays."""
        return self(Tensor(images)).asnumpy()


def predict(
    model: Logits, batches: Iterable[tuple[np.ndarray, ...]], batch_size: int
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield (logits (B, C), ...) for each batch of (images, ...), the rest as it comes: labels (B,), indices (B,).

    A short last batch is padded with zeros for the network, so that it compiles once, and cut again before it is
    yielded: padding is never seen by the caller.
    """
    for images, *others in batches:
        yield model(padded(images, batch_size))[: len(images)], *others


def evaluate(
    model: Logits,
    batches: Iterable[tuple[np.ndarray, ...]],
    *,
    batch_size: int,
    num_classes: int,
    task: str = "single",
    group: Group = ALONE,
    on_batch: Callable[[np.ndarray, np.ndarray, np.ndarray], bool | None] | None = None,
    total: int = 0,
) -> Counter:
    """Count this rank's `batches` and sum over the ranks. task: see `counter_of`.

    `on_batch(logits, labels, indices)` is called for each batch of real images, for predictions and progress; when it
    returns true this rank leaves out its other batches: the sum is then that of an evaluation cut short.
    total: images of all ranks; given, the master shows a progress bar where stderr is a terminal.
    """
    counter = counter_of(task, num_classes)
    shown = total > 0 and group.is_master
    with tqdm(
        total=-(-total // group.world_size) if shown else None,
        desc="evaluation",
        unit="image",
        leave=False,
        disable=None if shown else True,
    ) as bar:
        for logits, labels, indices in predict(model, batches, batch_size):
            counter.update(logits, labels)
            bar.update(len(labels))
            if on_batch and on_batch(logits, labels, indices):
                break
    counter.merge(group.gather_counts)
    return counter


def held_out_evaluation(
    network: nn.Cell,
    source: Source,
    card: ModelCard,
    shard: Mapping[str, object],
    group: Group,
    beat: Callable[[], None],
    graph_cache: GraphCache | None = None,
) -> Callable[[Callable[[], bool]], Counter]:
    """The evaluation of `network`, as it is at the call, on `source`: a function (stop_requested) -> Counter.

    shard: batch_size, workers, rank and world_size as for `evaluation_batches`. beat () is called, and stop_requested
    () asked, for each batch; what was counted until it says true does not matter.
    """
    predict_step = PredictStep(network, graph_cache=graph_cache)

    def evaluate_now(stop_requested: Callable[[], bool]) -> Counter:
        def on_batch(*_: np.ndarray) -> bool:
            beat()
            return stop_requested()

        return evaluate(
            predict_step.set_train(False).logits,
            evaluation_batches(source, card.preprocessing, **shard),
            batch_size=shard["batch_size"],
            num_classes=card.architecture.num_classes,
            task=card.task,
            group=group,
            on_batch=on_batch,
            total=len(source),
        )

    return evaluate_now
