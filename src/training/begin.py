"""Where a training run begins, decided and recorded once and the same on every rank."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from src.datasets.classification import Batch
from src.datasets.preview import save_preview
from src.model_utils.group import Group
from src.training.model_card import ModelCard
from src.training.pretrained import Pretrained
from src.training.progress import Progress
from src.training.step import TrainStep
from src.utils.checkpoint import RUN_CONFIG, Checkpoint, load_training_state, load_weights
from src.utils.errors import UsageError
from src.utils.files import write_text_atomically
from src.utils.logging import get_logger
from src.utils.plotting import write_picture


@dataclass(frozen=True)
class Origin:
    """What training goes on from: a run's checkpoint, or the weights that a new one begins with; both None: neither."""

    checkpoint: Checkpoint | None = None
    pretrained: Pretrained | None = None


def begin(
    train_step: TrainStep,
    origin: Origin,
    card: ModelCard,
    train_batches: Callable[..., Iterator[Batch]],
    folder: Path,
    group: Group,
    *,
    reset_head: bool,
) -> Progress:
    """Bring `train_step` to where training goes on from, and return that position; the same on every rank.

    reset_head: leave out the classifier of pretrained weights. Without an origin: the initial weights.

    1. Decided, before this is called: the checkpoint, the run folder and its lock, the configuration on top of the
       checkpoint's, whether the data are the same. Network and step are built from these.
    2. Loaded, by the master alone: another rank may run on another host, where the file is not. All of the step for a
       resumed run, of pretrained weights the network only; an average of the weights that the file does not have
       begins with these. Nothing is recorded yet of a run whose file does not fit.
    3. Recorded, by the master, of a new run alone, as a resumed one has done so: the class names, and what the network
       is shown, which also finds out whether the first batch can be decoded.
    4. Shared: every rank gets the master's parameters. After 2, so that what came from a file reaches all of them.

    Raises ReportedError when a file does not fit the network or the folder cannot be written.
    """
    resumed, pretrained = origin.checkpoint, origin.pretrained
    progress = Progress.from_dict(resumed.require("progress")) if resumed else Progress()
    if group.is_master and resumed:
        load_state(train_step, resumed)
    elif group.is_master:
        if pretrained:
            load_weights(train_step.network, pretrained.checkpoint, reset_head=reset_head)
            if train_step.average is not None:
                train_step.average.start()  # with these weights
        record_start(card, next(iter(train_batches(epoch=0))), folder)
    if resumed:
        get_logger().info("resumed from %s", resumed.path)
    group.share_parameters(train_step.saved_parameters())
    return progress


def load_state(train_step: TrainStep, resumed: Checkpoint) -> None:
    """Load all of the step; an average that is kept from now on begins with the weights of `resumed`."""
    average, parameters = train_step.average, train_step.saved_parameters()
    if average is None or resumed.has_average:
        load_training_state(parameters, resumed)
        return
    of_average = {parameter.name for parameter in average.own_parameters()}
    load_training_state([p for p in parameters if p.name not in of_average], resumed)
    average.start()
    get_logger().info("ema_decay: the average of the weights begins with those of %s", resumed.path)


def frozen_as_before(resumed: Checkpoint, asked: int | None) -> None:
    """Raise UsageError when another number of frozen blocks is `asked` for than `resumed` was trained with: what is
    frozen has no velocities to go on with.
    """
    run_config = resumed.require(RUN_CONFIG)
    before = run_config.get("freeze", 0) if isinstance(run_config, Mapping) else 0
    if asked not in (None, before):
        raise UsageError(
            f"freeze is {asked}, but the run of {resumed.path} has {before!r:.20}; leave --freeze out, or begin a new "
            "run with --train_pretrained"
        )


def record_start(card: ModelCard, first_batch: Batch, folder: Path) -> None:
    """Write class_names.txt, and preview.png of the first batch, as mixed as it is, into the run folder."""
    images, labels, _, *mixes = first_batch
    for mix in mixes:
        images = mix.mixed(images)
    write_text_atomically(folder / "class_names.txt", "\n".join(card.class_names) + "\n")
    write_picture(
        folder / "preview.png",
        lambda path: save_preview(images, labels, card.preprocessing, card.class_names, path),
    )
