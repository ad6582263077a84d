"""Count what the C++ program answered against the labels, and log the accuracy in the form of eval.py.

python postprocess.py --dataset folder --result_path result_Files --label_file l.txt --summary time_Result/summary.json
python postprocess.py --dataset imagenet --result_path result_Files --label_file labels.txt --num_classes 1000
python postprocess.py --dataset cifar10 --result_path result_Files --label_file test_batch.bin --num_classes 10
python postprocess.py --dataset csv --result_path result_Files --label_file l.csv --summary S.json --model xray.mindir

The label file has a line name:label for each picture (python -m src.deploy.write_labels DATA_DIR LABEL_FILE); for
cifar10 it is the file of the records, for csv the CSV data set, whose classes are found among those of the exported
--model. Without the summary the size of the results tells float32 from float16.
scripts/run_infer_310.sh runs this and keeps the lines in acc.log.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from src.deploy.labels import DATASETS, read_csv_labels, read_labels
from src.deploy.manifest import read_manifest
from src.deploy.results import count_results, form_from_size, read_summary
from src.utils.arguments import Parser
from src.utils.counter import Counter
from src.utils.errors import ReportedError, UsageError, run
from src.utils.logging import get_logger


def main(argv: Sequence[str]) -> Counter:
    """Count as the command line `argv` says and log the accuracy; return it."""
    parser = Parser("python postprocess.py [--key value] ...", __doc__)
    parser.add_argument("--dataset", choices=DATASETS, required=True)
    parser.add_argument("--result_path", type=Path, required=True)
    parser.add_argument("--label_file", type=Path, required=True)
    form_source = parser.add_mutually_exclusive_group(required=True)
    form_source.add_argument("--summary", type=Path)
    form_source.add_argument("--num_classes", type=int)
    parser.add_argument("--model", type=Path)
    asked = parser.parse_args(argv)
    if (asked.dataset == "csv") != (asked.model is not None):
        raise UsageError("--model: needed with --dataset csv, and with no other: it says which class each output is")
    if asked.num_classes is not None and asked.num_classes < 1:
        raise UsageError(f"--num_classes: found {asked.num_classes}, expected at least 1")

    manifest = read_manifest(asked.model) if asked.model else None
    if manifest:
        labels, task = read_csv_labels(asked.label_file, manifest), manifest.task
    else:
        labels, task = read_labels(asked.dataset, asked.label_file), "single"
    form = read_summary(asked.summary) if asked.summary else form_from_size(asked.result_path, asked.num_classes)
    if manifest and form.num_classes != manifest.architecture.num_classes:
        raise ReportedError(
            f"{asked.result_path} holds answers of {form.num_classes} classes, but {asked.model} has "
            f"{manifest.architecture.num_classes}; give the model that made them"
        )
    accuracy = count_results(asked.result_path, labels, form, task)
    for line in accuracy.lines():
        get_logger().info(line)
    return accuracy


if __name__ == "__main__":
    sys.exit(run(main))
