"""No key of any command is left out."""

from keys.key_tables import EXPORT, TRAIN, ZOO

from src.schema.options import COMMANDS, OPTIONS

# What the tests in the files beside this one cover, apart from the tables.
OTHERS = {
    "train": "recompute on_bad_image num_parallel_workers device_target device_id rank group_size deterministic "
    "save_ckpt_path debug resume cpu_precision max_hours",
    "eval": "dataset eval_data_dir per_batch_size num_parallel_workers on_bad_image device_target device_id rank "
    "group_size save_ckpt_path debug is_distributed config_path ckpt_files predictions cpu_kernels cpu_precision "
    "calibrate report weights image_root uncertain "  # the last two: tests/test_several_labels.py
    "eval_image_size tta engine cache",
    "export": "image_root uncertain dataset num_parallel_workers device_target device_id debug",
    "eval_onnx": "net dataset eval_data_dir per_batch_size on_bad_image num_parallel_workers device_target device_id "
    "save_ckpt_path config_path debug ckpt_files predictions images image_root uncertain tta",
}

# tests/test_predict.py, tests/keys/test_predict_keys.py
PREDICT = (
    "model images top output heatmap unknown_below per_batch_size num_parallel_workers on_bad_image device_target "
    "device_id cpu_kernels cpu_precision graph_cache config_path debug weights tta"
)

# tests/test_calibrate.py: calibrate. tests/report: report.
# tests/test_distributed.py: they need a second rank; tests/utils/test_graph_cache.py: it needs a second process
# tests/training: dry_run lr_find
IN_OTHER_FILES = {
    "train": "is_save_on_master sync_bn_stats sync_batch_norm graph_cache dry_run lr_find",
    "eval": "graph_cache",
}

# tests/test_modelarts.py, and one by one tests/model_utils/test_moxing_adapter.py
MODELARTS = {option.name for option in OPTIONS if option.group == "modelarts"}


def test_every_key_is_covered():
    covered = {
        "train": {row[0] for row in TRAIN} | {*OTHERS["train"].split(), *IN_OTHER_FILES["train"].split()} | MODELARTS,
        "eval": set(ZOO) | {*OTHERS["eval"].split(), *IN_OTHER_FILES["eval"].split()} | MODELARTS,
        "export": {row[0] for row in EXPORT} | set(ZOO) | set(OTHERS["export"].split()) | MODELARTS,
        "eval_onnx": set(OTHERS["eval_onnx"].split()),
        "predict": set(PREDICT.split()),
    }
    assert set(covered) == set(COMMANDS)
    for command, keys in covered.items():
        assert keys == {option.name for option in OPTIONS if command in option.commands}
