"""An exported network answered by the CPU engine (`engine/`), through its C interface. No MindSpore here."""

import ctypes
import os
from functools import cache
from pathlib import Path

import numpy as np

from src.deploy.engine_file import read_classifier
from src.deploy.engine_library import engine_library
from src.deploy.manifest import Manifest
from src.utils.errors import ReportedError, UsageError
from src.utils.file_kind import what_it_is
from src.utils.files import is_file, no_file
from src.utils.heat import heat_of
from src.utils.shown import printable

_WHY = 2048  # bytes of a sentence


class _Shape(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int32) for name in ("channels", "image_size", "classes", "feature_channels", "feature_size")
    )


class EngineModel:
    """A model file as a function: images (B, C, S, S) float32 -> logits (B, num_classes) float32.

    precision: fp32, or bf16 on a CPU that multiplies it. keeps_features: for `heat`. Any number of threads may call
    one. Raises ReportedError or UsageError.
    """

    def __init__(
        self, path: str | Path, device_target: str = "auto", precision: str = "fp32", *, keeps_features: bool = False
    ):
        path = Path(path)
        if device_target not in ("auto", "CPU"):
            raise UsageError(f"found device_target {device_target}, expected CPU: {path} is a file of the CPU engine")
        if not is_file(path):
            raise ReportedError(f"model {path} {no_file(path)}; give an .engine file that export.py wrote")
        self._path, self._library, self._engine = path, _interface(engine_library()), None
        why = ctypes.create_string_buffer(_WHY)
        self._engine = self._library.densenet_engine_load(os.fsencode(path), precision.encode(), why, _WHY)
        if not self._engine:
            known = what_it_is(path)
            raise ReportedError(_sentence(why) + (f"; {known}" if known and "CPU engine" not in known else ""))
        self.manifest = Manifest.from_text(self._library.densenet_engine_manifest(self._engine), f"{path}'s manifest")
        self._shape = self._library.densenet_engine_describe(self._engine)
        self.instruction_set = self._library.densenet_engine_instruction_set(self._engine).decode()
        self._classifier = read_classifier(path) if keeps_features else None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """See the class."""
        return self._predict(images, None)

    def heat(self, images: np.ndarray, classes: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The logits and the heat maps of `GradCam`: what follows the features is a mean and one layer, so that the
        gradient of a logit is that layer's weights divided by the number of pixels.
        """
        size = self._shape.feature_size
        features = np.empty((len(images), self._shape.feature_channels, size, size), np.float32)
        logits = self._predict(images, features)
        classes = logits.argmax(1) if classes is None else classes
        return logits, heat_of(features, self._classifier[classes] / (size * size))

    def _predict(self, images: np.ndarray, features: np.ndarray | None) -> np.ndarray:
        expected = (self._shape.channels, self._shape.image_size, self._shape.image_size)
        if images.shape[1:] != expected:
            raise ReportedError(f"{self._path} takes images {('B', *expected)}, found {images.shape}")
        images = np.ascontiguousarray(images, np.float32)
        logits = np.empty((len(images), self._shape.classes), np.float32)
        why = ctypes.create_string_buffer(_WHY)
        given = None if features is None else features.ctypes.data
        arguments = (images.ctypes.data, len(images), logits.ctypes.data, given, why, _WHY)
        if self._library.densenet_engine_predict(self._engine, *arguments):
            raise ReportedError(f"{self._path}: {_sentence(why)}")
        return logits

    def __del__(self) -> None:
        if getattr(self, "_engine", None):
            self._library.densenet_engine_free(self._engine)


def _sentence(why: ctypes.Array) -> str:
    return printable(why.value.decode(errors="replace"))


@cache
def _interface(library: Path) -> ctypes.CDLL:
    """The functions of engine/engine.h with their types."""
    loaded = ctypes.CDLL(str(library))
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for name, result, *arguments in (
        ("load", pointer, text, text, text, ctypes.c_size_t),
        ("describe", _Shape, pointer),
        ("manifest", text, pointer),
        ("instruction_set", text, pointer),
        ("predict", ctypes.c_int, *(pointer, pointer, ctypes.c_int64, pointer, pointer, text, ctypes.c_size_t)),
        ("free", None, pointer),
    ):
        function = getattr(loaded, f"densenet_engine_{name}")
        function.restype, function.argtypes = result, arguments
    return loaded
