"""Values that are fine alone and impossible together: one function for each, listed for the commands they concern.

A function takes the values and returns the sentence that says what is wrong, or None.
"""

import os
from pathlib import Path
from typing import Any, Protocol

from src.network.architecture import BOUNDS, expected_instead
from src.ops.limits import lacking
from src.schema.options import Value
from src.schema.pretrained_names import hub_name
from src.schema.values import show
from src.utils.errors import UsageError

BUNDLED = ("", "bundled")
ANSWER_FILES = (".csv", ".json")
RESULTS = {"train": ("save_ckpt_path",), "eval": ("save_ckpt_path", "predictions", "report"), "export": ("file_name",)}


class Asked(Protocol):
    """What was asked for, `src.model_utils.config.Config`: each key's value as an attribute, and who chose it."""

    command: str
    ignored: tuple[str, ...]  # the flags that were given and that the command does not use

    def source(self, key: str) -> str:
        """'flag', 'yaml' or 'default'."""

    def given(self, key: str) -> Value | None:
        """The value if a flag or --config_path gave it, else None."""

    def __getattr__(self, key: str) -> Any: ...


def resume_and_pretrained(config: Asked) -> str | None:
    """A resumed run has its weights already; that its checkpoint says what it began with is no request."""
    if config.resume and config.given("train_pretrained"):
        return (
            f"found both resume {show(config.resume)} and train_pretrained {show(config.train_pretrained)}, "
            "expected one way to begin; leave one of them out"
        )
    return None


def one_trial(config: Asked) -> str | None:
    """A dry run measures training, a range test finds a new run's learning rate; each ends the command."""
    if config.dry_run and config.lr_find:
        return "found both dry_run and lr_find, expected one of them; leave one out"
    if config.lr_find and config.resume:
        return f"found lr_find with resume {show(config.resume)}, whose learning rate is chosen; leave one of them out"
    return None


def weights_of_no_name(config: Asked) -> str | None:
    """What begins as the name of weights on the hub is one."""
    try:
        hub_name(config.train_pretrained)
    except UsageError as error:
        return str(error)
    return None


def head_of_nothing(config: Asked) -> str | None:
    """Without pretrained weights the classifier is new anyway."""
    if config.reset_head and not config.train_pretrained:
        return "found reset_head true without train_pretrained, whose classifier it replaces; give --train_pretrained"
    return None


def smoothing_by_nothing(config: Asked) -> str | None:
    """Label smoothing by 0 is no label smoothing."""
    if config.label_smooth and config.label_smooth_factor == 0:
        return "found label_smooth true with label_smooth_factor 0, expected more than 0; give a factor such as 0.1"
    return None


def mixing_alone(config: Asked) -> str | None:
    """A batch is mixed with itself."""
    for key in ("mixup", "cutmix"):
        if getattr(config, key) and config.per_batch_size < 2:
            return (
                f"found {key} {getattr(config, key):g} with per_batch_size {config.per_batch_size}, expected 2 or "
                f"more, as images are mixed with others of their batch; raise per_batch_size, or leave {key} out"
            )
    return None


def warmup_longer_than_training(config: Asked) -> str | None:
    """Then the learning rate would never be reached."""
    if config.warmup_epochs > config.max_epoch:
        return (
            f"found warmup_epochs {config.warmup_epochs:g} with max_epoch {config.max_epoch}, "
            "expected no more than max_epoch; shorten the warm-up"
        )
    return None


def milestones_out_of_order(config: Asked) -> str | None:
    """Each milestone is a later epoch than the one before."""
    if any(a >= b for a, b in zip(config.lr_epochs, config.lr_epochs[1:], strict=False)):
        given = ",".join(map(str, config.lr_epochs))
        return f"found lr_epochs {given}, expected epochs that increase; sort them and leave out repetitions"
    return None


def floor_above_start(config: Asked) -> str | None:
    """The learning rate falls from lr to eta_min."""
    if config.eta_min > config.lr:
        return f"found eta_min {config.eta_min:g} with lr {config.lr:g}, expected no more than lr; lower eta_min"
    return None


def network_out_of_range(config: Asked) -> str | None:
    """What a key's bounds cannot say: 0 and empty mean the named network's own, so that the least value comes after."""
    for key in BOUNDS:
        value = getattr(config, key)
        if value and (wanted := expected_instead(key, value)):
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"
            return f"found {key} {shown}, expected {wanted}; correct it, or leave it out"
    return None


def recompute_and_sync(config: Asked) -> str | None:
    """The recomputed layers have their own form of batch normalisation."""
    if config.recompute and config.sync_batch_norm:
        return "found both recompute and sync_batch_norm true, expected one of them; leave one of them out"
    return None


def kernels_needed_and_off(config: Asked) -> str | None:
    """MindSpore's own operators have no bfloat16 on a CPU."""
    if config.cpu_kernels == "off" and config.cpu_precision != "fp32":
        return (
            f"found cpu_kernels off with cpu_precision {config.cpu_precision}, expected fp32, as only the kernels have "
            "another; leave one of them out"
        )
    return None


def kernels_off_the_cpu(config: Asked) -> str | None:
    """They are compiled for CPUs."""
    if (asked := _kernels_asked_for(config)) and config.device_target in ("Ascend", "GPU"):
        return f"found {asked} with device_target {config.device_target}, expected CPU; leave one of them out"
    return None


def kernels_and_what_they_lack(config: Asked) -> str | None:
    """With `auto` the plain network is trained instead."""
    other, _ = lacking(
        amp_level="O0" if config.amp_level == "auto" else config.amp_level,  # which it is on a CPU
        norm_ranks=2 if config.sync_batch_norm else 1,
    )
    if other and (asked := _kernels_asked_for(config)):
        value = getattr(config, other)
        shown = str(value).lower() if isinstance(value, bool) else value
        return f"found {asked} with {other} {shown}, which the kernels do not have; leave one of them out"
    return None


def _kernels_asked_for(config: Asked) -> str:
    if config.cpu_precision != "fp32":
        return f"cpu_precision {config.cpu_precision}"
    return "cpu_kernels on" if config.cpu_kernels == "on" else ""


def rank_outside_group(config: Asked) -> str | None:
    """Ranks count from 0."""
    if config.rank >= config.group_size:
        return (
            f"found rank {config.rank} with group_size {config.group_size}, "
            "expected less than group_size, as ranks count from 0; correct one of them"
        )
    return None


def no_training_data(config: Asked) -> str | None:
    """Only the digits come with the code; a run that goes on has its data set in its checkpoint."""
    if config.resume:
        return None
    return missing_data("train_data_dir", config.train_data_dir, config.dataset)


def no_evaluation_data(config: Asked) -> str | None:
    """Asked only about a data set that the user named: otherwise the checkpoint knows it, and it may be digits."""
    if config.source("dataset") == "default":
        return None
    return missing_data("eval_data_dir", config.eval_data_dir, config.dataset)


def folder_of_bundled_training_data(config: Asked) -> str | None:
    """The digits are read from scikit-learn."""
    return folder_of_bundled_data("train_data_dir", config.train_data_dir, config.dataset)


def folder_of_bundled_evaluation_data(config: Asked) -> str | None:
    """The digits are read from scikit-learn."""
    return folder_of_bundled_data("eval_data_dir", config.eval_data_dir, config.dataset)


def two_held_out_parts(config: Asked) -> str | None:
    """A run has one set of held-out data; one that is resumed may be evaluated on others than its own."""
    if config.val_split and config.eval_data_dir and not config.resume:
        return (
            f"found both val_split {config.val_split:g} and eval_data_dir {show(config.eval_data_dir)}, expected one "
            "source of held-out data; leave one of them out"
        )
    return None


def patience_with_nothing(config: Asked) -> str | None:
    """Only evaluations can be better or not; a run that goes on has its held-out data in its checkpoint."""
    if config.patience and not (config.eval_data_dir or config.val_split or config.resume):
        return (
            f"found patience {config.patience} without held-out data, whose evaluations it counts; give "
            "--eval_data_dir or --val_split, or leave it out"
        )
    return None


def teaching_of_nobody(config: Asked) -> str | None:
    """Only a teacher has a temperature and a weight."""
    for key in ("teacher_temperature", "teacher_weight"):
        if not config.teacher and config.source(key) == "flag" and not config.resume:
            return f"found {key} {getattr(config, key):g} without a teacher; give --teacher, or leave it out"
    return None


def power_of_nothing(config: Asked) -> str | None:
    """Only the weights that are counted have a power."""
    if config.class_weights != "auto" and config.source("class_weight_power") == "flag" and not config.resume:
        return (
            f"found class_weight_power {config.class_weight_power:g} with class_weights {show(config.class_weights)}, "
            "expected auto; give --class_weights auto, or leave it out"
        )
    return None


def policy_of_grey(config: Asked) -> str | None:
    """Its operations change colours."""
    if config.auto_augment != "none" and config.input_channels == 1:
        return (
            f"found auto_augment {config.auto_augment} with input_channels 1, expected 3, as it changes colours; leave "
            "one of them out"
        )
    return None


def more_sizes_than_epochs(config: Asked) -> str | None:
    """Each size has its part of the epochs."""
    if len(config.progressive_size) > config.max_epoch:
        return (
            f"found {len(config.progressive_size)} sizes in progressive_size with max_epoch {config.max_epoch}, "
            "expected no more sizes than epochs; leave some of them out"
        )
    return None


def two_sizes(config: Asked) -> str | None:
    """An evaluation and an export have one size."""
    image_size, eval_image_size = config.given("image_size"), config.given("eval_image_size")
    if config.source("image_size") == "flag" and eval_image_size and image_size not in (0, eval_image_size):
        return (
            f"found image_size {image_size} and eval_image_size {eval_image_size}, expected one size after training; "
            "leave one of them out"
        )
    return None


def no_checkpoint(config: Asked) -> str | None:
    """There is nothing to evaluate."""
    if not config.ckpt_files and not config.engine:
        return "found no ckpt_files, expected a checkpoint or a folder of checkpoints; give --ckpt_files"
    return None


def engine_and_what_it_lacks(config: Asked) -> str | None:
    """It is one exported network; reports and temperatures are made of checkpoints."""
    for key in ("ckpt_files", "report", "calibrate", "weights", "cache"):
        if config.engine and config.source(key) != "default":
            return (
                f"found both engine {show(config.engine)} and {key}, expected a file of the CPU engine alone; leave "
                "one of them out"
            )
    return None


def no_export_checkpoint(config: Asked) -> str | None:
    """There is nothing to export."""
    if not config.ckpt_file:
        return "found no ckpt_file, expected a checkpoint; give --ckpt_file"
    return None


def air_off_ascend(config: Asked) -> str | None:
    """Only the Ascend's own compiler makes it."""
    if config.file_format == "AIR" and config.device_target in ("CPU", "GPU"):
        return (
            f"found file_format AIR with device_target {config.device_target}, expected Ascend, which alone writes "
            "AIR; export a MINDIR or ONNX here"
        )
    return None


def mindir_version_of_another_format(config: Asked) -> str | None:
    """Only a MINDIR has it."""
    if config.mindir_version == 1 and config.file_format != "MINDIR":
        return f"found mindir_version 1 with file_format {config.file_format}, expected MINDIR; leave one of them out"
    return None


def quantize_alone(config: Asked) -> str | None:
    """INT8 is ONNX Runtime's or the CPU engine's."""
    if config.quantize and config.file_format not in ("ONNX", "ENGINE"):
        return (
            f"found quantize true with file_format {config.file_format}, expected ONNX or ENGINE; give --file_format "
            "ONNX or ENGINE"
        )
    if config.quantize and config.export_fp16:
        return "found both quantize and export_fp16 true, expected one precision; leave one of them out"
    return None


def preprocessing_of_another_format(config: Asked) -> str | None:
    """Its operators are ONNX's; those of INT8 are measured without it."""
    if config.include_preprocessing and config.file_format != "ONNX":
        return (
            f"found include_preprocessing true with file_format {config.file_format}, expected ONNX; give "
            "--file_format ONNX"
        )
    if config.include_preprocessing and config.quantize:
        return "found both include_preprocessing and quantize true, expected one of them; leave one of them out"
    return None


def engine_in_float16(config: Asked) -> str | None:
    """The CPU engine's numbers are chosen when it is used."""
    if config.file_format == "ENGINE" and config.export_fp16:
        return (
            "found export_fp16 true with file_format ENGINE, expected float32; leave it out: predict.py and eval.py "
            "take --cpu_precision bf16"
        )
    return None


def no_place_for_results(config: Asked) -> str | None:
    """A ModelArts job's disk ends with the job."""
    if config.enable_modelarts and not config.train_url:
        return (
            "found enable_modelarts true without train_url, expected the URL to copy the results to, as they would be "
            "lost with the job; give --train_url"
        )
    return None


def results_outside_output(config: Asked) -> str | None:
    """Only what is below output_path is copied out."""
    if not config.enable_modelarts:
        return None
    output = os.path.normpath(config.output_path)
    for key in RESULTS[config.command]:
        value = getattr(config, key)
        if value and not Path(os.path.normpath(Path(output, value))).is_relative_to(output):
            return (
                f"found {key} {show(value)} with output_path {show(config.output_path)}, expected a path inside it, as "
                "nothing else is copied to train_url; give a relative path"
            )
    return None


def no_model(config: Asked) -> str | None:
    """There is nothing to run."""
    if not config.ckpt_files:
        return "found no ckpt_files, expected an .onnx model; give --ckpt_files"
    return None


def nothing_to_predict(config: Asked) -> str | None:
    """An answer takes a network and a picture."""
    for key, wanted in (("model", "a checkpoint or an .onnx model"), ("images", "a picture or a folder of pictures")):
        if not getattr(config, key):
            return f"found no {key}, expected {wanted}; give --{key}"
    return None


def output_of_another_kind(config: Asked) -> str | None:
    """The ending says in which form answers are written."""
    if config.output and Path(config.output).suffix.lower() not in ANSWER_FILES:
        return f"found output {show(config.output)}, expected a file name that ends with {' or '.join(ANSWER_FILES)}"
    return None


def images_and_data(config: Asked) -> str | None:
    """A user's own pictures have no labels to count with."""
    for key in ("eval_data_dir", "dataset", "predictions"):
        if config.images and config.given(key):
            return (
                f"found images {show(config.images)} and {key} {show(getattr(config, key))}, expected pictures to name "
                "or a data set to evaluate on; leave one of them out"
            )
    return None


def missing_data(key: str, value: str, dataset: str) -> str | None:
    """The sentence for a data set whose folder (`key`, now `value`) has to be given and was not."""
    if not value and dataset != "digits":
        return f"found no {key}, expected the folder or file of the {dataset} data; give --{key}, or --dataset digits"
    return None


def folder_of_bundled_data(key: str, value: str, dataset: str) -> str | None:
    """The sentence for a path (`key`, now `value`) to the digits, which would not be read."""
    if dataset == "digits" and value not in BUNDLED:
        return f"found {key} {show(value)} with dataset digits, which is bundled; leave it out or write `bundled`"
    return None


COMBINATIONS = {
    "train": (
        resume_and_pretrained,
        one_trial,
        weights_of_no_name,
        head_of_nothing,
        smoothing_by_nothing,
        mixing_alone,
        warmup_longer_than_training,
        milestones_out_of_order,
        floor_above_start,
        network_out_of_range,
        recompute_and_sync,
        kernels_needed_and_off,
        kernels_off_the_cpu,
        kernels_and_what_they_lack,
        rank_outside_group,
        no_training_data,
        folder_of_bundled_training_data,
        folder_of_bundled_evaluation_data,
        two_held_out_parts,
        patience_with_nothing,
        teaching_of_nobody,
        power_of_nothing,
        policy_of_grey,
        more_sizes_than_epochs,
        no_place_for_results,
        results_outside_output,
    ),
    "export": (
        no_export_checkpoint,
        network_out_of_range,
        air_off_ascend,
        mindir_version_of_another_format,
        quantize_alone,
        two_sizes,
        preprocessing_of_another_format,
        engine_in_float16,
        no_place_for_results,
        results_outside_output,
    ),
    "eval_onnx": (no_model, images_and_data, no_evaluation_data, folder_of_bundled_evaluation_data),
    "predict": (nothing_to_predict, output_of_another_kind, kernels_needed_and_off, kernels_off_the_cpu),
    "eval": (
        kernels_needed_and_off,
        kernels_off_the_cpu,
        rank_outside_group,
        network_out_of_range,
        no_checkpoint,
        engine_and_what_it_lacks,
        two_sizes,
        no_evaluation_data,
        folder_of_bundled_evaluation_data,
        no_place_for_results,
        results_outside_output,
    ),
}
