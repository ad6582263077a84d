"""`torchvision`, also where it was built for the CUDA build of PyTorch but stands beside the CPU build."""

import sys

import torch

try:
    import torchvision
except RuntimeError:  # two C++ operators are missing, which nothing here uses, but whose names it looks up
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _OPERATORS = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        _OPERATORS.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

__all__ = ["torchvision"]
