"""What other tools call our keys: the hint for a flag that is another tool's, or another command's.

Only hints: no alias is accepted, since what it would mean differs between tools.
"""

from src.schema.options import BY_NAME, COMMANDS, OPTIONS
from src.schema.values import nearest

_DATA = {"train": "train_data_dir", "eval": "eval_data_dir", "export": "train_data_dir", "eval_onnx": "eval_data_dir",
         "predict": "images"}  # fmt: skip
_BATCH = {"export": "batch_size"} | dict.fromkeys(("train", "eval", "eval_onnx", "predict"), "per_batch_size")
_RESULTS = (
    {"export": "file_name"} | dict.fromkeys(("train", "eval", "eval_onnx"), "save_ckpt_path") | {"predict": "output"}
)
_WEIGHTS = {"train": "train_pretrained resume", "eval": "ckpt_files", "export": "ckpt_file", "eval_onnx": "ckpt_files",
            "predict": "model"}  # fmt: skip
_MODEL = dict.fromkeys(("train", "eval", "export"), "net") | {"eval_onnx": "ckpt_files", "predict": "model"}
_ANSWERS = {"eval": "predictions", "eval_onnx": "predictions", "predict": "output"}
_HALF = {"train": "amp_level", "export": "export_fp16"}

# The names, and the key that they mean, or one for each command; of two keys either may be meant.
_TABLE: tuple[tuple[str, str | dict[str, str]], ...] = (
    ("epochs epoch num_epochs n_epochs max_epochs train_epochs total_epochs", "max_epoch"),
    ("data data_dir dataset_dir dataset_path data_root root input input_dir", _DATA),
    ("train train_dir train_data train_path train_folder train_root", "train_data_dir"),
    ("val val_dir val_data val_data_dir valid_dir validation_data test_dir test_data eval_dir eval_data",
     "eval_data_dir"),
    ("batch_size per_batch_size batch bs b train_batch_size mini_batch_size batch_size_per_device", _BATCH),
    ("eval_batch_size val_batch_size test_batch_size", {"eval": "per_batch_size", "eval_onnx": "per_batch_size"}),
    ("learning_rate base_lr init_lr lr_init initial_lr max_lr", "lr"),
    ("min_lr lr_min final_lr end_lr", "eta_min"),
    ("scheduler sched lr_schedule lr_policy lr_decay_mode", "lr_scheduler"),
    ("milestones lr_steps lr_step decay_epochs lr_step_size", "lr_epochs"),
    ("gamma lr_decay lr_decay_rate decay_rate", "lr_gamma"),
    ("warmup warmup_epoch lr_warmup_epochs warmup_steps", "warmup_epochs"),
    ("wd l2 l2_reg", "weight_decay"),
    ("beta1 sgd_momentum", "momentum"),
    ("smoothing label_smoothing smooth_factor", "label_smooth_factor"),
    ("clip_grad clip_grad_norm grad_clip clip max_grad_norm gradient_clip_val", "grad_clip_norm"),
    ("accum_iter accum_steps grad_accum grad_accum_steps gradient_accumulation_steps accumulation_steps",
     "grad_accumulation_steps"),
    ("amp fp16 half mixed_precision precision", _HALF),
    ("bf16 bfloat16", "cpu_precision"),
    ("workers j num_workers n_workers data_workers threads num_threads", "num_parallel_workers"),
    ("output output_dir out out_dir outdir save_dir save_path work_dir log_dir logdir results_dir exp_dir", _RESULTS),
    ("save_ckpt_path", {"export": "file_name"}),
    ("checkpoint checkpoints ckpt ckpt_path ckpt_dir checkpoint_path weights weight_file initial_checkpoint load "
     "load_from model_path", _WEIGHTS),
    ("ckpt_file ckpt_files train_pretrained", _WEIGHTS),
    ("pretrained pretrained_model pretrained_path finetune", "train_pretrained"),
    ("resume_from auto_resume continue restore", "resume"),
    ("resume", {"eval": "ckpt_files", "export": "ckpt_file", "eval_onnx": "ckpt_files"}),
    ("train_data_dir", {"eval": "eval_data_dir", "eval_onnx": "eval_data_dir"}),
    ("model", _MODEL | {"eval": "ckpt_files net", "export": "ckpt_file net"}),
    ("arch architecture network backbone model_name a", _MODEL),
    ("onnx onnx_file onnx_path mindir", {"eval_onnx": "ckpt_files", "export": "file_name", "predict": "model"}),
    ("classes n_classes nb_classes num_class class_num nc", "num_classes"),
    ("img_size imgsz input_size size resolution crop_size image_shape", "image_size"),
    ("dropout drop dropout_rate drop_prob", "drop_rate"),
    ("gpus gpu ngpus n_gpu num_gpus device devices accelerator cuda use_cuda target backend", "device_target"),
    ("gpu_id gpu_ids local_rank device_index", "device_id"),
    ("world_size num_ranks rank_size nprocs", "group_size"),
    ("distributed ddp", "is_distributed"),
    ("sync_bn syncbn", "sync_batch_norm"),
    ("random_seed manual_seed", "seed"),
    ("print_freq log_freq log_every log_every_n_steps log_step logging_steps", "log_interval"),
    ("save_freq save_every save_interval save_steps checkpoint_interval save_checkpoint_steps", "ckpt_interval"),
    ("eval_freq eval_every val_interval validation_interval", "eval_interval"),
    ("keep_ckpt_max max_keep save_total_limit", "keep_checkpoint_max"),
    ("aug augment augmentations data_augmentation aa", "augmentation"),
    ("config config_file cfg yaml", "config_path"),
    ("format export_format type opset_format", "file_format"),
    ("int8 quant quantization", "quantize"),
    ("calib_images calibration_size num_calibration", "calibration_images"),
    ("image img picture pictures source", "images"),
    ("prediction_file save_predictions results csv output_csv", _ANSWERS),
    ("topk top_k k", "top"),
    ("heatmaps heat_map gradcam grad_cam cam", "heatmap"),
    ("threshold conf confidence min_confidence", "unknown_below"),
    ("verbose v", "debug"),
)  # fmt: skip
_ALIASES = {name: target for names, target in _TABLE for name in names.split()}
# Names that no key of ours answers to.
_ADVICE = {
    "init_method": "it comes with ModelArts: give --enable_modelarts true, or leave it out",
    "dist_url": "msrun decides where the ranks meet: leave it out",
    "evaluate": "eval.py evaluates",
    "test": "eval.py evaluates",
    "cpu": "did you mean --device_target CPU?",
    "images": "predict.py says what pictures show",
}


def meant(name: str, command: str | None = None) -> list[str]:
    """The keys that the flag `name` may mean to `command`: what other tools call so, else the nearest name.

    Of a key's own name: those that take its place in a command that does not use it. Without a command, those of the
    first one that has some.
    """
    target = _ALIASES.get(name.lower().replace("-", "_"), "")
    commands = COMMANDS if command is None else (command,)
    if isinstance(target, dict):
        target = next((target[one] for one in commands if one in target), "")
    used = {option.name for option in OPTIONS if set(option.commands) & set(commands)} - {name}
    if keys := [key for key in target.split() if key in used]:
        return keys
    near = None if name in BY_NAME else nearest(name, BY_NAME)
    return [near] if near else []


def advice(name: str, command: str | None = None, prefix: str = "--") -> str:
    """What to do about a name that is no key, or none of this command's, in a YAML file with the prefix ""."""
    if known := _ADVICE.get(name.lower()):
        return known
    if keys := meant(name, command):
        return f"did you mean {' or '.join(prefix + key for key in keys)}?"
    if name in BY_NAME:
        return " and ".join(f"{one}.py" for one in BY_NAME[name].commands) + " would"
    return "--help lists the flags" if prefix else "`python train.py --help` lists the keys"
