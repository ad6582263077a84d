"""A row a key: two runs or exports that differ in it alone, and what differs."""

from keys.runs import ONNX

CONV0 = "backbone.features.conv0.weight"
LAYER = "backbone.features.denseblock1.cell_list.0."
TRANSITION = "backbone.features.transition1.features."
CHANGED = object()  # anything but what it was

GROUPED = "--per_batch_size 50 --grad_accumulation_steps 2"
COSINE = "--lr_scheduler cosine_annealing"
ZOO_STEM = "--net densenet121"
TEACHER = "--teacher {pretrained}"
PRETRAINED = "--train_pretrained {pretrained} --lr 1e-9"

CSV = "--dataset csv --per_batch_size 2 --train_data_dir {mixed}/labels.csv"
FOLDER = "--dataset folder --per_batch_size 2 --train_data_dir {mixed}"
UNSURE = "--dataset csv --per_batch_size 2 --train_data_dir {mixed}/unsure.csv"

# (key, flags of both runs, what differs, the method of Result that shows it and its arguments, what it then returns)
TRAIN = [
    ("net", "", "--net densenet121", ("shape", CONV0), (8, 3, 7, 7)),
    ("dataset", "--dataset folder --train_data_dir {mixed} --per_batch_size 4", "--dataset cifar10", ("images",),
     "8 images of cifar10"),
    ("num_classes", "", "--num_classes 12", ("shape", "head.fc.bias"), (12,)),
    ("image_size", "", "--image_size 16", ("input_size",), 16),
    ("eval_image_size", "", "--eval_image_size 24", ("input_size",), 24),
    ("progressive_size", "", "--progressive_size 4,8", ("log_says", "are now the means over 1 batches"), True),
    ("resize", "", "--resize letterbox", ("input", "resize_mode"), "letterbox"),
    ("interpolation", "", "--interpolation bicubic", ("input", "interpolation"), "bicubic"),
    ("crop_ratio", "", "--crop_ratio 0.5", ("input", "resize"), 16),
    ("input_channels", "", "--input_channels 1", ("shape", CONV0), (8, 1, 3, 3)),
    ("growth_rate", "", "--growth_rate 6", ("shape", LAYER + "conv2.weight"), (6, 24, 3, 3)),
    ("block_config", "", "--block_config 2,1", ("names", r"block1.cell_list.1.conv1"), CHANGED),
    ("stem_features", "", "--stem_features 10", ("shape", CONV0), (10, 3, 3, 3)),
    ("bn_size", "", "--bn_size 2", ("shape", LAYER + "conv1.weight"), (8, 8, 1, 1)),
    ("compression", "", "--compression 1", ("shape", TRANSITION + "conv.weight"), (12, 12, 1, 1)),
    ("drop_rate", "", "--drop_rate 0.5", ("names", r"^(?!moments).*block1.*random_state"), CHANGED),
    ("freeze", "", "--freeze 1", ("names", r"^moments\..*(conv0|denseblock1|transition1)"), []),
    ("transition_pool", "", "--transition_pool max", ("all_bits",), CHANGED),
    ("stem_pool", ZOO_STEM, "--stem_pool same", ("all_bits",), CHANGED),
    ("train_data_dir", "--dataset cifar10 --per_batch_size 4 --train_data_dir {cifar}", "--train_data_dir {cifar6}",
     ("images",), "6 images of cifar10"),
    ("eval_data_dir", "", "--eval_data_dir bundled", ("evaluated_epochs",), ["1", "2"]),
    ("val_split", "--per_batch_size 50", "--val_split 0.2", ("images",), "116 images of digits"),
    ("image_root", CSV, "--image_root {twin}", ("data_hash",), CHANGED),
    ("uncertain", UNSURE, "--uncertain ones", ("log_says", ", 0.0 % of the labels unknown"), True),
    ("task", CSV, "--task single", ("log_says", "several labels a picture"), False),
    ("cache", FOLDER, "--cache ram", ("log_says", "cache ram: 1 MB for 6 training pictures"), True),
    ("balanced_sampling", "--augmentation none", "--balanced_sampling", ("all_bits",), CHANGED),
    ("class_weights", "", "--class_weights auto", ("all_bits",), CHANGED),
    ("class_weight_power", "--class_weights auto", "--class_weight_power 3", ("all_bits",), CHANGED),
    ("patience", "--eval_data_dir bundled --max_epoch 4", "--patience 1", ("evaluated_epochs",), ["1", "2"]),
    ("best_metric", "--eval_data_dir bundled", "--best_metric loss", ("log_says", "best held-out loss"), True),
    ("per_batch_size", "", "--per_batch_size 50", ("steps",), 2),
    ("augmentation", "", "--augmentation none", ("all_bits",), CHANGED),
    ("auto_augment", "", "--auto_augment trivial", ("all_bits",), CHANGED),
    ("augmentation_streams", "", "--augmentation_streams image", ("all_bits",), CHANGED),
    ("random_erasing", "", "--random_erasing 0.5", ("all_bits",), CHANGED),
    ("mixup", "", "--mixup 0.2", ("all_bits",), CHANGED),
    ("cutmix", "", "--cutmix 1", ("all_bits",), CHANGED),
    ("lr", "", "--lr 0.2", ("rates",), [0.2, 0.2]),
    ("lr_epochs", "", "--lr_epochs 1", ("rates",), [0.1, 0.01]),
    ("lr_gamma", "--lr_epochs 1", "--lr_gamma 0.5", ("rates",), [0.1, 0.05]),
    ("lr_scheduler", "", COSINE, ("rates",), [0.1, 0.05]),
    ("lr_scheduler", "", "--lr_scheduler polynomial", ("rates",), [0.1, 0.05]),
    ("lr_scheduler", "--per_batch_size 50 --max_epoch 1", "--lr_scheduler one_cycle", ("rates",), [0.0000004]),
    ("lr_power", "--lr_scheduler polynomial", "--lr_power 2", ("rates",), [0.1, 0.025]),
    ("layer_lr_decay", "", "--layer_lr_decay 0.5", ("all_bits",), CHANGED),
    ("linear_lr_scaling", GROUPED, f"{GROUPED} --linear_lr_scaling", ("rates",), [0.2, 0.2]),
    ("eta_min", COSINE, "--eta_min 0.02", ("rates",), [0.1, 0.06]),
    ("T_max", COSINE, "--T_max 1", ("rates",), [0.1, 0.0]),
    ("warmup_epochs", "", "--warmup_epochs 2", ("rates",), [0.05, 0.1]),
    ("max_epoch", "", "--max_epoch 1", ("checkpoints",), ["0-1_1.ckpt"]),
    ("momentum", "", "--momentum 0.5", ("all_bits",), CHANGED),
    ("nesterov", "", "--nesterov", ("all_bits",), CHANGED),
    ("weight_decay", "", "--weight_decay 0.1", ("all_bits",), CHANGED),
    ("decay_norm_and_bias", "", "--decay_norm_and_bias false", ("all_bits",), CHANGED),
    ("label_smooth", "", "--label_smooth", ("all_bits",), CHANGED),
    ("label_smooth_factor", "--label_smooth", "--label_smooth_factor 0.3", ("all_bits",), CHANGED),
    ("ema_decay", "", "--ema_decay 0.9", ("names", r"^ema\."), CHANGED),
    ("teacher", "", TEACHER, ("all_bits",), CHANGED),
    ("teacher_temperature", TEACHER, "--teacher_temperature 1", ("all_bits",), CHANGED),
    ("teacher_weight", TEACHER, "--teacher_weight 0.5", ("all_bits",), CHANGED),
    ("grad_clip_norm", "", "--grad_clip_norm 0.01", ("all_bits",), CHANGED),
    ("grad_accumulation_steps", "--per_batch_size 50", "--grad_accumulation_steps 2", ("steps",), 1),
    ("amp_level", "", "--amp_level O2", ("value", "loss_scale"), 1024.0),  # and with it the type of `auto`
    ("loss_scale_type", "", "--loss_scale_type fixed", ("value", "loss_scale"), 1024.0),
    ("loss_scale", "--loss_scale_type fixed", "--loss_scale 64", ("value", "loss_scale"), 64.0),
    ("is_distributed", "", "--is_distributed 0", ("log_says", "running stand-alone: is_distributed is 0"), True),
    ("cpu_kernels", "", "--cpu_kernels off", ("log_says", "the C++ kernels are used"), False),
    ("seed", "", "--seed 2", ("all_bits",), CHANGED),
    ("log_interval", "--per_batch_size 50", "--log_interval 2", ("window_lines",), 0),
    ("ckpt_interval", "--per_batch_size 50", "--ckpt_interval 1", ("checkpoints",),
     ["0-2_2.ckpt", "0-2_1.ckpt", "0-1_2.ckpt", "0-1_1.ckpt"]),
    ("keep_checkpoint_max", "", "--keep_checkpoint_max 1", ("checkpoints",), ["0-2_1.ckpt"]),
    ("eval_interval", "--eval_data_dir bundled", "--eval_interval 2", ("evaluated_epochs",), ["2"]),
    ("train_pretrained", "--lr 1e-9", "--train_pretrained {pretrained}", ("all_bits",), CHANGED),
    ("reset_head", PRETRAINED, "--reset_head", ("head",), CHANGED),
    ("config_path", "", "--config_path {yaml}", ("rates",), [0.3, 0.15]),
]  # fmt: skip

# The same for export.py; the method is one of Model.
CALIBRATED = f"{ONNX} --calibration_images 8"
INT8 = f"{CALIBRATED} --quantize"
FOLDER_INT8 = f"{INT8} --dataset folder --train_data_dir {{ten}} --eval_data_dir {{ten}}"
EXPORT = [
    ("image_size", "", "--image_size 16", ("input_size",), 16),
    ("eval_image_size", "", "--eval_image_size 16", ("input_size",), 16),
    ("resize", "", "--resize letterbox", ("input", "resize_mode"), "letterbox"),
    ("interpolation", "", "--interpolation bicubic", ("input", "interpolation"), "bicubic"),
    ("crop_ratio", "", "--crop_ratio 0.5", ("input", "resize"), 16),
    ("train_data_dir", FOLDER_INT8, "--train_data_dir {twenty}", ("numbers",), CHANGED),
    ("eval_data_dir", FOLDER_INT8, "--eval_data_dir {twenty}", ("measured_images",), 20),
    ("config_path", "", "--config_path {onnx_yaml}", ("name",), "model.onnx"),
    ("ckpt_file", ONNX, "--ckpt_file {pretrained}", ("numbers",), CHANGED),
    ("weights", f"{ONNX} --ckpt_file {{averaged}}", "--weights raw", ("numbers",), CHANGED),
    ("file_format", "", ONNX, ("name",), "model.onnx"),
    ("file_name", "", "--file_name {other}", ("name",), "other.mindir"),
    ("batch_size", "", "--batch_size 3", ("says", "batch_size"), 3),
    ("mindir_version", "", "--mindir_version 1", ("says", "mindir_version"), 1),
    ("mindir_version", "", "--mindir_version 1", ("version_in_the_file",), 1),
    ("export_fp16", ONNX, "--export_fp16", ("says", "precision"), "float16"),
    ("quantize", CALIBRATED, "--quantize", ("says", "precision"), "int8"),
    ("include_preprocessing", ONNX, "--include_preprocessing", ("says", "dtype"), "uint8"),
    ("calibration_images", INT8, "--calibration_images 40", ("numbers",), CHANGED),
]

# Keys that a file without metadata needs, with the flags that make another network or input.
ZOO = {
    "net": "--net densenet121",
    "num_classes": "--num_classes 12",
    "image_size": "--image_size 16",
    "resize": "--resize shorter_side",
    "interpolation": "--interpolation bicubic",
    "crop_ratio": "--crop_ratio 0.5",
    "input_channels": "--input_channels 1",
    "growth_rate": "--growth_rate 6",
    "block_config": "--block_config 2,1",
    "stem_features": "--stem_features 10",
    "bn_size": "--bn_size 2",
    "compression": "--compression 1",
    "transition_pool": "--transition_pool max",
    "stem_pool": "--stem_pool same",
}


# The methods of Result that show what the steps compute; for the others it is enough that there were steps.
OF_THE_COMPUTATION = ("all_bits", "head")
# Those of Model that show what is in the file; for the others its description is enough.
OF_THE_MODEL = ("numbers", "version_in_the_file", "measured_images")


def assert_the_key_does_something(row: tuple, made) -> None:
    """Look at what `made(flags)` gives without the row's flag and with it."""
    _, common, flag, (method, *arguments), expected = row
    before, after = (getattr(made(flags), method)(*arguments) for flags in (common, f"{common} {flag}".strip()))
    assert before != after
    if expected is not CHANGED:
        assert after == expected
