"""Values that are fine alone: each impossible combination, its sentence, and the possible one next to it."""

import pytest

from src.model_utils.config import parse
from src.network.architecture import BOUNDS, architecture
from src.schema.combinations import COMBINATIONS
from src.utils.errors import UsageError

CLOUD = "--enable_modelarts=True --train_url=obs://b/r"
NO_PLACE = (
    "found enable_modelarts true without train_url, expected the URL to copy the results to, as they would be lost "
    "with the job; give --train_url"
)


def outside(key: str, value: str) -> str:
    return (
        f"found {key} {value!r} with output_path '/cache/train', expected a path inside it, as nothing else is copied "
        "to train_url; give a relative path"
    )


TRAIN = {
    "policy_of_grey": (
        "--dataset digits --auto_augment trivial --input_channels 1",
        "found auto_augment trivial with input_channels 1, expected 3, as it changes colours; leave one of them out",
        "--dataset digits --auto_augment none --input_channels 1",
    ),
    "more_sizes_than_epochs": (
        "--dataset digits --progressive_size 16,24,32 --max_epoch 2",
        "found 3 sizes in progressive_size with max_epoch 2, expected no more sizes than epochs; leave some of them "
        "out",
        "--dataset digits --progressive_size 16,24,32 --max_epoch 3",
    ),
    "power_of_nothing": (
        "--dataset digits --class_weight_power 0.5",
        "found class_weight_power 0.5 with class_weights 'none', expected auto; give --class_weights auto, or "
        "leave it out",
        "--dataset digits --class_weight_power 0.5 --class_weights auto",
    ),
    "two_held_out_parts": (
        "--dataset digits --val_split 0.2 --eval_data_dir bundled",
        "found both val_split 0.2 and eval_data_dir 'bundled', expected one source of held-out data; leave one of them "
        "out",
        "--dataset digits --val_split 0.2",
    ),
    "resume_and_pretrained": (
        "--dataset digits --resume auto --train_pretrained a.ckpt",
        "found both resume 'auto' and train_pretrained 'a.ckpt', expected one way to begin; leave one of them out",
        "--dataset digits --resume auto",
    ),
    "one_trial": (
        "--dataset digits --resume auto --lr_find",
        "found lr_find with resume 'auto', whose learning rate is chosen; leave one of them out",
        "--dataset digits --resume auto --dry_run",
    ),
    "weights_of_no_name": (
        "--dataset digits --train_pretrained torchvision/resnet50",
        "found the pretrained weights 'torchvision/resnet50', expected torchvision/ and one of densenet121, "
        "densenet161, densenet169, densenet201; choose one of them",
        "--dataset digits --train_pretrained torchvision/densenet201",
    ),
    "head_of_nothing": (
        "--dataset digits --reset_head",
        "found reset_head true without train_pretrained, whose classifier it replaces; give --train_pretrained",
        "--dataset digits --reset_head --train_pretrained a.ckpt",
    ),
    "smoothing_by_nothing": (
        "--dataset digits --label_smooth --label_smooth_factor 0",
        "found label_smooth true with label_smooth_factor 0, expected more than 0; give a factor such as 0.1",
        "--dataset digits --label_smooth_factor 0",
    ),
    "patience_with_nothing": (
        "--dataset digits --patience 3",
        "found patience 3 without held-out data, whose evaluations it counts; give --eval_data_dir or --val_split, or "
        "leave it out",
        "--dataset digits --patience 3 --val_split 0.2",
    ),
    "teaching_of_nobody": (
        "--dataset digits --teacher_weight 0.5",
        "found teacher_weight 0.5 without a teacher; give --teacher, or leave it out",
        "--dataset digits --teacher_weight 0.5 --teacher a.ckpt",
    ),
    "mixing_alone": (
        "--dataset digits --cutmix 1 --per_batch_size 1",
        "found cutmix 1 with per_batch_size 1, expected 2 or more, as images are mixed with others of their batch; "
        "raise per_batch_size, or leave cutmix out",
        "--dataset digits --cutmix 1 --per_batch_size 2",
    ),
    "warmup_longer_than_training": (
        "--dataset digits --warmup_epochs 5.5 --max_epoch 5",
        "found warmup_epochs 5.5 with max_epoch 5, expected no more than max_epoch; shorten the warm-up",
        "--dataset digits --warmup_epochs 5 --max_epoch 5",
    ),
    "milestones_out_of_order": (
        "--dataset digits --lr_epochs 30,60,60",
        "found lr_epochs 30,60,60, expected epochs that increase; sort them and leave out repetitions",
        "--dataset digits --lr_epochs 30,60,61",
    ),
    "floor_above_start": (
        "--dataset digits --eta_min 0.2",
        "found eta_min 0.2 with lr 0.1, expected no more than lr; lower eta_min",
        "--dataset digits --eta_min 0.1",
    ),
    "recompute_and_sync": (
        "--dataset digits --recompute --sync_batch_norm",
        "found both recompute and sync_batch_norm true, expected one of them; leave one of them out",
        "--dataset digits --sync_batch_norm",
    ),
    "kernels_needed_and_off": (
        "--dataset digits --cpu_kernels off --cpu_precision bf16",
        "found cpu_kernels off with cpu_precision bf16, expected fp32, as only the kernels have another; "
        "leave one of them out",
        "--dataset digits --cpu_kernels auto --cpu_precision bf16",
    ),
    "kernels_off_the_cpu": (
        "--dataset digits --cpu_kernels on --device_target Ascend",
        "found cpu_kernels on with device_target Ascend, expected CPU; leave one of them out",
        "--dataset digits --cpu_kernels auto --device_target Ascend",
    ),
    "kernels_and_what_they_lack": (
        "--dataset digits --cpu_kernels on --sync_batch_norm",
        "found cpu_kernels on with sync_batch_norm true, which the kernels do not have; leave one of them out",
        "--dataset digits --cpu_kernels auto --sync_batch_norm",
    ),
    "rank_outside_group": (
        "--dataset digits --rank 2 --group_size 2",
        "found rank 2 with group_size 2, expected less than group_size, as ranks count from 0; correct one of them",
        "--dataset digits --rank 1 --group_size 2",
    ),
    "no_training_data": (
        "",
        "found no train_data_dir, expected the folder or file of the imagenet data; give --train_data_dir, or "
        "--dataset digits",
        "--train_data_dir d",
    ),
    "folder_of_bundled_training_data": (
        "--dataset digits --train_data_dir d",
        "found train_data_dir 'd' with dataset digits, which is bundled; leave it out or write `bundled`",
        "--dataset digits --train_data_dir bundled",
    ),
    "folder_of_bundled_evaluation_data": (
        "--dataset digits --eval_data_dir d",
        "found eval_data_dir 'd' with dataset digits, which is bundled; leave it out or write `bundled`",
        "--dataset digits --eval_data_dir bundled",
    ),
    "no_place_for_results": (
        "--dataset digits --enable_modelarts",
        NO_PLACE,
        "--dataset digits --enable_modelarts --train_url obs://b/r",
    ),
    "results_outside_output": (
        f"--dataset digits {CLOUD} --save_ckpt_path /cache/training",
        outside("save_ckpt_path", "/cache/training"),
        f"--dataset digits {CLOUD} --save_ckpt_path /cache/train/outputs_imagenet/",
    ),
}
EVAL = {
    "kernels_needed_and_off": (
        "--ckpt_files a --cpu_kernels off --cpu_precision bf16",
        "found cpu_kernels off with cpu_precision bf16, expected fp32, as only the kernels have another; "
        "leave one of them out",
        "--ckpt_files a --cpu_kernels auto --cpu_precision bf16",
    ),
    "kernels_off_the_cpu": (
        "--ckpt_files a --cpu_kernels on --device_target Ascend",
        "found cpu_kernels on with device_target Ascend, expected CPU; leave one of them out",
        "--ckpt_files a --cpu_kernels auto --device_target Ascend",
    ),
    "rank_outside_group": (
        "--ckpt_files a --rank 1",
        "found rank 1 with group_size 1, expected less than group_size, as ranks count from 0; correct one of them",
        "--ckpt_files a --rank 1 --group_size 2",
    ),
    "two_sizes": (
        "--ckpt_files a --image_size 32 --eval_image_size 40",
        "found image_size 32 and eval_image_size 40, expected one size after training; leave one of them out",
        "--ckpt_files a --image_size 40 --eval_image_size 40",
    ),
    "no_checkpoint": (
        "",
        "found no ckpt_files, expected a checkpoint or a folder of checkpoints; give --ckpt_files",
        "--ckpt_files a",
    ),
    "engine_and_what_it_lacks": (
        "--engine a --report b.html",
        "found both engine 'a' and report, expected a file of the CPU engine alone; leave one of them out",
        "--engine a",
    ),
    "no_evaluation_data": (
        "--ckpt_files a --dataset folder",
        "found no eval_data_dir, expected the folder or file of the folder data; give --eval_data_dir, or "
        "--dataset digits",
        "--ckpt_files a --dataset digits",
    ),
    "folder_of_bundled_evaluation_data": (
        "--ckpt_files a --dataset digits --eval_data_dir d",
        "found eval_data_dir 'd' with dataset digits, which is bundled; leave it out or write `bundled`",
        "--ckpt_files a --dataset digits --eval_data_dir bundled",
    ),
    "no_place_for_results": (
        "--ckpt_files a --enable_modelarts",
        NO_PLACE,
        "--ckpt_files a --enable_modelarts --train_url obs://b/r",
    ),
    "results_outside_output": (
        f"--ckpt_files a {CLOUD} --predictions /cache/training",
        outside("predictions", "/cache/training"),
        f"--ckpt_files a {CLOUD} --predictions /cache/train/outputs_imagenet/",
    ),
}
EXPORT = {
    "no_export_checkpoint": (
        "",
        "found no ckpt_file, expected a checkpoint; give --ckpt_file",
        "--ckpt_file a",
    ),
    "air_off_ascend": (
        "--ckpt_file a --file_format AIR --device_target CPU",
        "found file_format AIR with device_target CPU, expected Ascend, which alone writes AIR; "
        "export a MINDIR or ONNX here",
        "--ckpt_file a --file_format AIR --device_target Ascend",
    ),
    "mindir_version_of_another_format": (
        "--ckpt_file a --file_format ONNX --mindir_version 1",
        "found mindir_version 1 with file_format ONNX, expected MINDIR; leave one of them out",
        "--ckpt_file a --file_format ONNX --mindir_version 3",
    ),
    "two_sizes": (
        "--ckpt_file a --image_size 32 --eval_image_size 40",
        "found image_size 32 and eval_image_size 40, expected one size after training; leave one of them out",
        "--ckpt_file a --image_size 0 --eval_image_size 40",
    ),
    "preprocessing_of_another_format": (
        "--ckpt_file a --file_format MINDIR --include_preprocessing",
        "found include_preprocessing true with file_format MINDIR, expected ONNX; give --file_format ONNX",
        "--ckpt_file a --file_format ONNX --include_preprocessing",
    ),
    "quantize_alone": (
        "--ckpt_file a --quantize",
        "found quantize true with file_format MINDIR, expected ONNX or ENGINE; give --file_format ONNX or ENGINE",
        "--ckpt_file a --quantize --file_format ONNX",
    ),
    "engine_in_float16": (
        "--ckpt_file a --file_format ENGINE --export_fp16",
        "found export_fp16 true with file_format ENGINE, expected float32; leave it out: predict.py and eval.py "
        "take --cpu_precision bf16",
        "--ckpt_file a --file_format ENGINE",
    ),
    "no_place_for_results": (
        "--ckpt_file a --enable_modelarts",
        NO_PLACE,
        "--ckpt_file a --enable_modelarts --train_url obs://b/r",
    ),
    "results_outside_output": (
        f"--ckpt_file a {CLOUD} --file_name /cache/training",
        outside("file_name", "/cache/training"),
        f"--ckpt_file a {CLOUD} --file_name /cache/train/outputs_imagenet/",
    ),
}
ONNX = {
    "no_model": ("", "found no ckpt_files, expected an .onnx model; give --ckpt_files", "--ckpt_files a"),
    "images_and_data": (
        "--ckpt_files a --images i --eval_data_dir d",
        "found images 'i' and eval_data_dir 'd', expected pictures to name or a data set to evaluate on; "
        "leave one of them out",
        "--ckpt_files a --images i",
    ),
    "no_evaluation_data": EVAL["no_evaluation_data"],
    "folder_of_bundled_evaluation_data": EVAL["folder_of_bundled_evaluation_data"],
}
# Further sentences of a function above.
MORE = [
    (
        "train",
        "kernels_off_the_cpu",
        "--dataset digits --cpu_precision bf16 --device_target GPU",
        "found cpu_precision bf16 with device_target GPU, expected CPU; leave one of them out",
        "--dataset digits --cpu_precision bf16 --device_target CPU",
    ),
    (
        "train",
        "kernels_and_what_they_lack",
        "--dataset digits --cpu_precision bf16 --sync_batch_norm",
        "found cpu_precision bf16 with sync_batch_norm true, which the kernels do not have; leave one of them out",
        "--dataset digits --cpu_precision fp32 --sync_batch_norm",
    ),
    (
        "train",
        "kernels_and_what_they_lack",
        "--dataset digits --cpu_kernels on --amp_level O2",
        "found cpu_kernels on with amp_level O2, which the kernels do not have; leave one of them out",
        "--dataset digits --cpu_kernels on --amp_level O0",
    ),
    (
        "train",
        "results_outside_output",
        f"--dataset digits {CLOUD} --save_ckpt_path runs/../../elsewhere",
        outside("save_ckpt_path", "runs/../../elsewhere"),
        f"--dataset digits {CLOUD} --save_ckpt_path runs/../here",
    ),
    (
        "eval",
        "results_outside_output",
        f"--ckpt_files a {CLOUD} --save_ckpt_path /",
        outside("save_ckpt_path", "/"),
        f"--ckpt_files a {CLOUD} --output_path / --save_ckpt_path /",
    ),
    (
        "export",
        "quantize_alone",
        "--ckpt_file a --file_format ONNX --quantize --export_fp16",
        "found both quantize and export_fp16 true, expected one precision; leave one of them out",
        "--ckpt_file a --file_format ONNX --export_fp16",
    ),
    (
        "export",
        "mindir_version_of_another_format",
        "--ckpt_file a --file_format AIR --mindir_version 1",
        "found mindir_version 1 with file_format AIR, expected MINDIR; leave one of them out",
        "--ckpt_file a --file_format AIR",  # with device_target auto only the device itself can tell
    ),
    (
        "eval_onnx",
        "images_and_data",
        "--ckpt_files a --images i --dataset digits",
        "found images 'i' and dataset 'digits', expected pictures to name or a data set to evaluate on; "
        "leave one of them out",
        "--ckpt_files a --dataset digits --images=",
    ),
    (
        "eval_onnx",
        "images_and_data",
        "--ckpt_files a --images i --predictions p.csv",
        "found images 'i' and predictions 'p.csv', expected pictures to name or a data set to evaluate on; "
        "leave one of them out",
        "--ckpt_files a --images i --predictions=",
    ),
]
MORE += [
    (command, "network_out_of_range", f"{others} {impossible}", message, f"{others} {possible}")
    for command, others in (
        ("train", "--dataset digits"), ("eval", "--ckpt_files a"), ("export", "--ckpt_file a"),
    )
    for impossible, message, possible in (
        (
            "--compression 0.0005",
            "found compression 0.0005, expected a number from 0.001 to 1; correct it, or leave it out",
            "--compression 0.001",
        ),
        (
            "--block_config 1,1,1,1,1,1,1,1,1",
            "found block_config 1,1,1,1,1,1,1,1,1, expected 1 to 8 integers from 1 to 256; correct it, or leave it out",
            "--block_config 1,1,1,1,1,1,1,1",
        ),
    )
]  # fmt: skip
PREDICT = {
    "nothing_to_predict": (
        "--images a.jpg",
        "found no model, expected a checkpoint or an .onnx model; give --model",
        "--images a.jpg --model m",
    ),
    "output_of_another_kind": (
        "--images a.jpg --model m --output answers.txt",
        "found output 'answers.txt', expected a file name that ends with .csv or .json",
        "--images a.jpg --model m --output answers.JSON",
    ),
    "kernels_needed_and_off": (
        "--images a.jpg --model m --cpu_kernels off --cpu_precision bf16",
        "found cpu_kernels off with cpu_precision bf16, expected fp32, as only the kernels have another; "
        "leave one of them out",
        "--images a.jpg --model m --cpu_precision bf16",
    ),
    "kernels_off_the_cpu": (
        "--images a.jpg --model m --cpu_kernels on --device_target GPU",
        "found cpu_kernels on with device_target GPU, expected CPU; leave one of them out",
        "--images a.jpg --model m --cpu_kernels on",
    ),
}
MORE += [
    (
        "export",
        "preprocessing_of_another_format",
        "--ckpt_file a --file_format ONNX --include_preprocessing --quantize",
        "found both include_preprocessing and quantize true, expected one of them; leave one of them out",
        "--ckpt_file a --file_format ONNX --quantize",
    ),
    (
        "predict",
        "nothing_to_predict",
        "--model m",
        "found no images, expected a picture or a folder of pictures; give --images",
        "--images a.jpg --model m",
    ),
]
TABLES = {"train": TRAIN, "eval": EVAL, "export": EXPORT, "eval_onnx": ONNX, "predict": PREDICT}
CASES = [(command, name, *case) for command, table in TABLES.items() for name, case in table.items()] + MORE


@pytest.mark.parametrize(("command", "impossible", "message", "possible"), [(c[0], *c[2:]) for c in CASES], ids=str)
def test_combination(command, impossible, message, possible):
    parse(command, possible.split())
    with pytest.raises(UsageError) as error:
        parse(command, impossible.split())
    assert str(error.value) == message


def test_every_combination_is_tested():
    listed = {(command, function.__name__) for command, functions in COMBINATIONS.items() for function in functions}
    assert listed == {case[:2] for case in CASES}


def test_values_that_the_command_does_not_use_are_not_compared():
    assert parse("eval", ["--ckpt_files", "a", "--eta_min", "1"]).eta_min == 1


def test_a_fine_tuned_run_can_be_resumed():
    """Its checkpoint says what it began with: only a request for other weights contradicts --resume."""
    config = parse("train", ["--resume", "auto"])
    began_with = {"dataset": "digits", "train_pretrained": "gone.ckpt", "reset_head": True}
    assert config.on_top_of(began_with, "0-1_5.ckpt").train_pretrained == "gone.ckpt"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--growth_rate 600", "expected a whole number of at least 0 and at most 512, such as 0"),
        ("--drop_rate 0.995", "expected a number of at least 0 and at most 0.99, such as 0"),
        ("--num_classes 1000001", "expected a whole number of at least 0 and at most 1e+06, such as 0"),
        ("--stem_features 4097", "expected a whole number of at least 0 and at most 4096, such as 0"),
        ("--bn_size 65", "expected a whole number of at least 0 and at most 64, such as 0"),
        ("--block_config 1,257", "each of at least 1 and at most 256"),
    ],
)
def test_what_no_network_can_have_is_wrong_usage_in_every_command_that_builds_one(flags, message):
    needed = {"train": "--dataset digits", "eval": "--ckpt_files a.ckpt", "export": "--ckpt_file a.ckpt"}
    flag, value = flags.split()
    for command, others in needed.items():
        with pytest.raises(UsageError) as error:
            parse(command, f"{others} {flags}".split())
        assert str(error.value).startswith(f"{flag}: found '{value}', which is out of range; expected")
        assert message in str(error.value)


@pytest.mark.parametrize("key", list(BOUNDS))
def test_the_largest_that_a_network_can_have_is_accepted(key):
    largest = BOUNDS[key][1]
    config = parse("train", ["--dataset", "digits", f"--{key}", f"{largest}"])
    fields = {key: getattr(config, key)}
    architecture("densenet121", **({"num_classes": 3} | fields))
