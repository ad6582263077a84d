"""A trained network as a thing to use, whatever kind of file it comes from.

from src.deploy.model import load_model

model = load_model("output/2026-01-31_time_12_00_00/best.ckpt")  # or an .onnx or .engine file
for name, probability in model.predict("holiday.jpg"):
    print(f"{name} {probability:.1%}")

A runtime is imported when its kind of file is loaded: the CPU engine answers before MindSpore would be imported.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from src.datasets.classification import worker_count
from src.deploy.loaded import Answer as Answer
from src.deploy.loaded import Model

if TYPE_CHECKING:
    from src.deploy.engine_model import EngineModel
    from src.deploy.onnx_session import OnnxModel

ONNX_SUFFIX, ENGINE_SUFFIX = ".onnx", ".engine"


def load_model(
    path: str | Path,
    *,
    device_target: str = "auto",
    device_id: int | None = None,
    workers: int = 0,
    cpu_kernels: str = "auto",
    cpu_precision: str = "fp32",
    graph_cache: str = "auto",
    heat_maps: bool = False,
    weights: str = "auto",
    tta: bool = False,
) -> Model:
    """Load a checkpoint of train.py or convert_weights, or by its ending an ONNX model or one of the CPU engine, which
    export.py writes.

    The others are keys of predict.py (docs/configuration.md); workers: threads of an ONNX model, 0: as the machine
    allows. Raises ReportedError for a file that is neither, or a device that is not there.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ENGINE_SUFFIX:
        from src.deploy.engine_model import EngineModel

        model = EngineModel(path, device_target, cpu_precision, keeps_features=heat_maps)
        return _exported(path, model, heat_maps, tta)
    if suffix == ONNX_SUFFIX:
        from src.deploy.onnx_session import OnnxModel

        threads = worker_count(workers)
        model = OnnxModel(path, device_target, threads, device_id or 0, keeps_features=heat_maps)
        return _exported(path, model, heat_maps, tta)
    from src.deploy.checkpoint_model import load_checkpoint_model

    return load_checkpoint_model(
        path,
        device_target=device_target,
        device_id=device_id,
        cpu_kernels=cpu_kernels,
        cpu_precision=cpu_precision,
        graph_cache=graph_cache,
        heat_maps=heat_maps,
        weights=weights,
        tta=tta,
    )


def import_runtime(path: Path) -> None:
    """Import what a model at `path` takes, before pictures are looked at: where MindSpore will decode them, it is also
    what tells whether they can be decoded.
    """
    if path.suffix.lower() not in (ONNX_SUFFIX, ENGINE_SUFFIX):
        import src.deploy.checkpoint_model  # noqa: F401


def _exported(path: Path, model: "OnnxModel | EngineModel", heat_maps: bool, tta: bool) -> Model:
    manifest, heat = model.manifest, model.heat if heat_maps else None
    return Model(
        path, manifest.preprocessing, manifest.class_names, model, heat, fixed_batch=False, task=manifest.task, tta=tta
    )
