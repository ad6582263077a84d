"""Running an exported ONNX model with ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnxruntime

from src.deploy.manifest import INPUT_NAME, OUTPUT_NAME
from src.deploy.onnx_features import with_features
from src.deploy.onnx_file import METADATA_KEY as METADATA_KEY
from src.deploy.onnx_file import read_onnx
from src.utils.errors import ReportedError, UsageError
from src.utils.heat import heat_of
from src.utils.shown import printable

_FATAL = 4  # what it logs below this, it also raises
_PROVIDERS = {"CPU": "CPUExecutionProvider", "GPU": "CUDAExecutionProvider"}


class OnnxModel:
    """A model file as a function: images (B, 3, S, S) float32 -> logits (B, num_classes) float32.

    device_target: CPU, GPU or auto. threads: of the CPU. device_id: which GPU. keeps_features: for `heat`. Raises
    ReportedError or UsageError.
    """

    def __init__(
        self, path: Path, device_target: str, threads: int, device_id: int = 0, *, keeps_features: bool = False
    ) -> None:
        model, self.manifest = read_onnx(path)
        self._features = ""
        if keeps_features:
            model, self._features, self._weights = with_features(model)
        self.provider = provider = provider_of(device_target)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = _FATAL
        onnxruntime.set_default_logger_severity(_FATAL)
        provider_options = {"device_id": str(device_id)} if provider == _PROVIDERS["GPU"] else {}
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=[(provider, provider_options)])
        except Exception as error:  # ONNX Runtime's own classes, of which none is public
            raise ReportedError(
                f"{path} cannot be loaded by ONNX Runtime: it is no ONNX model, or is damaged; export it again"
            ) from error
        if provider not in self._session.get_providers():
            raise ReportedError(
                f"ONNX Runtime could not start {provider} and would have used the CPU; install the CUDA and cuDNN that "
                "onnxruntime-gpu names, or give --device_target CPU"
            )
        self._path = path

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """See the class."""
        return self._run(images, [OUTPUT_NAME])[0]

    def heat(self, images: np.ndarray, classes: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The logits and the heat maps of `GradCam`: what follows the features is a mean and one layer, so that the
        gradient of a logit is that layer's weights divided by the number of pixels.
        """
        logits, features = self._run(images, [OUTPUT_NAME, self._features])
        classes = logits.argmax(1) if classes is None else classes
        weights = self._weights[classes] / (features.shape[2] * features.shape[3])
        return logits, heat_of(features.astype(np.float32), weights)

    def _run(self, images: np.ndarray, outputs: list[str]) -> list[np.ndarray]:
        try:
            logits, *others = self._session.run(outputs, {INPUT_NAME: images})
        except Exception as error:  # as above
            raise ReportedError(
                f"{self._path} fails in ONNX Runtime ({printable(str(error))[:300]}); "
                "lower --per_batch_size if memory is short, else export it again"
            ) from error
        expected = (len(images), self.manifest.architecture.num_classes)
        if logits.shape != expected:
            raise ReportedError(f"{self._path} gives logits {logits.shape}, expected {expected}; export it again")
        return [logits, *others]


def provider_of(device_target: str) -> str:
    """ONNX Runtime's name for a device; auto is the GPU where this ONNX Runtime was built for it, else the CPU.

    Raises UsageError for Ascend, and ReportedError for a device that is not available.
    """
    available = onnxruntime.get_available_providers()
    if device_target == "auto":
        device_target = "GPU" if _PROVIDERS["GPU"] in available else "CPU"
    if device_target not in _PROVIDERS:
        raise UsageError(
            f"found device_target {device_target}, expected CPU or GPU: ONNX models run in ONNX Runtime; "
            "for Ascend export a MINDIR"
        )
    provider = _PROVIDERS[device_target]
    if provider not in available:
        raise ReportedError(
            f"this ONNX Runtime has no {provider} (it has {', '.join(available)}); install onnxruntime-gpu instead of "
            "onnxruntime, or give --device_target CPU; python -m src.doctor says what is there"
        )
    return provider
