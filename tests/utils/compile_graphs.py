"""Train and evaluate tiny networks, each in a process of its own, as each line on stdin says; a JSON line for each.

A line is FOLDER:SMOOTHING:SEED:ORDER: the cache's folder ("" for none), label smoothing, the seed of weights and
dropout, and t (train) and e (evaluate) in order. The processes are forked once MindSpore is imported, which takes
longer than all that they do.
"""

import hashlib
import json
import logging
import os
import sys
from pathlib import Path

import mindspore as ms
import numpy as np

from src.losses.crossentropy import CrossEntropy
from src.model_utils.device_adapter import set_up_device
from src.network.architecture import architecture
from src.network.densenet import DenseNet
from src.optimizers.sgd import SGD
from src.training.evaluation import PredictStep
from src.training.step import TrainStep
from src.utils.graph_cache import GraphCache
from src.utils.logging import get_logger


def run(folder: str, smoothing: float, seed: int, order: str) -> dict:
    """The results, and the log's lines."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    get_logger().addHandler(handler)
    set_up_device("CPU", 0, deterministic=True)
    arch = architecture("densenet100", 4, growth_rate=4, block_config=(1,), stem_features=4, drop_rate=0.2)
    network = DenseNet(arch, seed=seed)
    step = TrainStep(network, CrossEntropy(smoothing), SGD(network.trainable_params(), momentum=0.9, weight_decay=0.0))
    predict = PredictStep(network)
    step.graph_cache = predict.graph_cache = GraphCache(Path(folder)) if folder else None
    images = np.random.default_rng(0).standard_normal((4, 3, 16, 16)).astype(np.float32)
    labels, rate, is_last = ms.Tensor(np.arange(4, dtype=np.int32)), ms.Tensor(0.1, ms.float32), ms.Tensor(True)
    results = []
    for action in order:
        if action == "t":
            loss, *_ = step.set_train(True)(ms.Tensor(images), labels, rate, is_last)
            results.append(float(loss.asnumpy()))
        else:
            results.append(hashlib.sha256(predict.set_train(False).logits(images).tobytes()).hexdigest())
    weights = b"".join(parameter.asnumpy().tobytes() for parameter in step.get_parameters())
    return {"results": results, "weights": hashlib.sha256(weights).hexdigest(), "log": lines}


def main() -> None:
    """One process a line, which leaves as one that was started would."""
    for line in sys.stdin:
        folder, smoothing, seed, order = line.strip().split(":")
        child = os.fork()
        if child == 0:
            print(json.dumps(run(folder, float(smoothing), int(seed), order)), flush=True)
            return
        _, status = os.waitpid(child, 0)
        if status:
            sys.exit(f"{line}: status {status}")


if __name__ == "__main__":
    main()
