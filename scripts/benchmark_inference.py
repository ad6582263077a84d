"""Images per second of exported ONNX models: fed with ready tensors, and from files as eval_onnx.py feeds them.

python scripts/benchmark_inference.py MODEL.onnx DATA_DIR
python scripts/benchmark_inference.py MODEL.onnx INT8_MODEL.onnx DATA_DIR

DATA_DIR is a folder of class folders; 64 of its pictures are used. What is compared runs in turn, five times; shown are
medians, and in brackets the share of the first model's rate with ready tensors. Batches of 32, all cores.
"""

import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from src.datasets.classification import evaluation_batches, worker_count
from src.datasets.sources import open_source
from src.deploy.onnx_session import OnnxModel
from src.training.evaluation import predict
from src.utils.errors import UsageError, run

ROUNDS, BATCH, PICTURES = 5, 32, 64


def main(argv: list[str]) -> None:
    """Measure and print a table."""
    if len(argv) < 2:
        raise UsageError("usage: python scripts/benchmark_inference.py MODEL.onnx [OTHER.onnx]... DATA_DIR")
    *models, data_dir = argv
    workers = worker_count()
    source = open_source("folder", data_dir, split="eval")
    source = source.subset(np.linspace(0, len(source) - 1, PICTURES).astype(int))
    jobs = {}
    for path in models:
        model = OnnxModel(Path(path), "CPU", workers)

        def batches(model=model):
            return evaluation_batches(source, model.manifest.preprocessing, batch_size=BATCH, workers=workers)

        ready = [tuple(np.copy(part) for part in batch) for batch in batches()]
        jobs[f"{path}, ready tensors"] = lambda model=model, ready=ready: predict(model, ready, BATCH)
        jobs[f"{path}, from files"] = lambda model=model, batches=batches: predict(model, batches(), BATCH)
    rates = {name: [] for name in jobs}
    for turn in range(ROUNDS + 1):
        for name, job in jobs.items():
            start = time.perf_counter()
            images = sum(len(logits) for logits, *_ in job())
            if turn:  # the first one warms up
                rates[name].append(images / (time.perf_counter() - start))
    first = median(next(iter(rates.values())))
    for name, values in rates.items():
        print(f"{median(values):8.2f} images/s ({median(values) / first:.2f})  {name}")


if __name__ == "__main__":
    sys.exit(run(main))
