"""The device a command runs on."""

import contextlib
import functools
import io
import logging

import mindspore as ms

from src.model_utils.accelerators import OLDEST_GPU, ask, gpus, unfit
from src.model_utils.local_adapter import launcher_place
from src.utils.errors import ReportedError
from src.utils.logging import get_logger

_PREFERENCE = ("Ascend", "GPU", "CPU")


def set_up_device(target: str, device_id: int | None, *, deterministic: bool) -> str:
    """Point MindSpore at a device, in graph mode, and return its kind.

    `target` is Ascend, GPU, CPU, or auto for the first of these that is there. `device_id` None is the launcher's
    choice, or 0. Raises ReportedError when the asked-for device is not there: there is no fallback.
    """
    if target == "auto":
        target = next(kind for kind in _PREFERENCE if _is_available(kind))
    elif not _is_available(target):
        here = [kind for kind in _PREFERENCE if _is_available(kind)]
        raise ReportedError(
            f"device_target is {target}, but this MindSpore finds only {', '.join(here)} here; "
            f"use --device_target {here[0]} or install the {target} driver and MindSpore for it; python -m src.doctor "
            "says what is missing"
        )
    if target == "GPU":
        _check_gpus()
    ms.set_context(mode=ms.GRAPH_MODE)
    if device_id is None:
        device_id = 0 if target == "CPU" else launcher_place().device_id
    try:
        ms.set_device(target, device_id)
    except (RuntimeError, ValueError) as error:
        raise ReportedError(f"{target} device {device_id} cannot be used: {str(error).splitlines()[0]}") from error
    _set_deterministic(deterministic)
    return target


def _check_gpus() -> None:
    """Say before the first operator fails that MindSpore has no code for the GPUs here: raise ReportedError where they
    are too old, warn where they are newer than its CUDA, whose driver may translate what is there.
    """
    found = [(gpu, unfit(gpu)) for gpu in gpus(ask)]
    if not found or not all(why for _, why in found):
        return
    gpu, why = found[0]
    if gpu.capability < OLDEST_GPU:
        raise ReportedError(f"{why}; use another GPU, or --device_target CPU")
    get_logger().warning("%s; if it fails, use another GPU or --device_target CPU", why)


@functools.cache
def _set_deterministic(deterministic: bool) -> None:
    ms.set_deterministic(deterministic)  # raises when called again, even with the same value


def _is_available(kind: str) -> bool:
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.split(".")[0] == "ME"]
    for logger in loggers:  # it explains at length, as a warning, why a device that nobody asked for is not there
        logger.disabled = True
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return bool(ms.hal.is_available(kind))
    finally:
        for logger in loggers:
            logger.disabled = False
