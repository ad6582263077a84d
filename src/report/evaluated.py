"""What a report is about."""

from dataclasses import dataclass

import numpy as np

from src.datasets.source import Source
from src.network.grad_cam import GradCam
from src.report.outcomes import Outcomes
from src.training.evaluation import Counter
from src.training.model_card import ModelCard
from src.utils.checkpoint import Checkpoint


@dataclass(frozen=True)
class Evaluated:
    """What was evaluated, by one process, and what came of it. outcomes: of networks with one class a picture, None of
    others. network: of the checkpoint. batch_size: what it was compiled for. mirrors: each answer is that of an image
    and its mirror image. plain_logits: (images, num_classes), those of several labels a picture without the
    temperature; None where they are the logits times it.
    """

    checkpoint: Checkpoint
    card: ModelCard
    source: Source
    accuracy: Counter
    outcomes: Outcomes | None
    network: GradCam
    batch_size: int
    workers: int
    mirrors: bool = False
    plain_logits: np.ndarray | None = None
