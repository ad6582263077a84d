"""A checkpoint as a `Model`, run by MindSpore."""

from pathlib import Path

from src.datasets.classification import evaluation_batches
from src.deploy.loaded import Model
from src.model_utils.device_adapter import set_up_device
from src.network.build import build_network
from src.network.grad_cam import GradCam
from src.training.evaluation import PredictStep
from src.training.model_card import model_card_of
from src.utils.checkpoint import load_checkpoint, load_weights
from src.utils.errors import ReportedError
from src.utils.graph_cache import open_graph_cache


def load_checkpoint_model(
    path: Path,
    *,
    device_target: str,
    device_id: int | None,
    cpu_kernels: str,
    cpu_precision: str,
    graph_cache: str,
    heat_maps: bool,
    weights: str,
    tta: bool,
) -> Model:
    """See `load_model`."""
    checkpoint = load_checkpoint(path)
    if not checkpoint.metadata:
        raise ReportedError(
            f"{path} holds weights alone, expected a checkpoint that says how pictures become its input; make one of "
            "it: python -m src.deploy.convert_weights"
        )
    card = model_card_of(checkpoint)
    device = set_up_device(device_target, device_id, deterministic=True)
    network = build_network(
        card.architecture,
        device=device,
        cpu_kernels=cpu_kernels,
        cpu_precision=cpu_precision,
        keeps_features=heat_maps,
    )
    load_weights(network, checkpoint, weights=weights)
    step = GradCam if heat_maps else PredictStep
    step = step(network, card.temperature, open_graph_cache(graph_cache, device))
    return Model(
        path,
        card.preprocessing,
        card.class_names,
        step.logits,
        step if heat_maps else None,
        fixed_batch=True,
        task=card.task,
        batches=evaluation_batches,
        tta=tta,
    )
