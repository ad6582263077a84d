"""What a user, a disk or a stranger's file can get wrong: one clear line on stderr, the right status, nothing lost."""

import fcntl
import json
import resource
import shlex
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import mindspore as ms
import numpy as np
import onnx
import pytest
from commands import NETWORK, ROOT, TINY, contents, only, write_cifar, write_pictures

import eval as evaluation
import eval_onnx
import export
import train
from src.deploy import manifest as deploy_manifest
from src.deploy.export import SUFFIXES
from src.deploy.onnx_session import METADATA_KEY as MANIFEST_KEY
from src.utils.checkpoint import METADATA_KEY, save_checkpoint
from src.utils.errors import ReportedError, run

MAIN = {"train": train.main, "eval": evaluation.main, "export": export.main, "eval_onnx": eval_onnx.main}

# (command, flags, exit status, what the line must say). The flags of `train` come after those of the tiny network on
# digits, so they replace them. {b} is the folder that `bench` fills, {run} a finished run in it; the other placeholders
# are in `_fill_in`.
FLAGS = [
    ("train", "--learning 0.1", 2, "unknown flag '--learning' with value '0.1'"),
    ("train", "--max_epochs 3", 2, "unknown flag '--max_epochs' with value '3'; did you mean --max_epoch?"),
    ("train", "-lr 0.1", 2, "unknown flag '-lr' with value '0.1'; did you mean --lr?"),
    ("train", "lr=0.1", 2, "found 'lr=0.1' where a flag was expected, such as --lr 0.1; did you mean --lr?"),
    ("train", "--lr fast", 2, "--lr: found 'fast', expected a number of more than 0"),
    ("train", "--lr nan", 2, "--lr: found 'nan', expected a number of more than 0"),
    ("train", "--lr 0", 2, "--lr: found '0', which is out of range; expected a number of more than 0"),
    ("train", "--lr", 2, "--lr: found no value, expected a number of more than 0"),
    ("train", "--max_epoch 1.5", 2, "--max_epoch: found '1.5', expected a whole number of at least 1"),
    ("train", "--max_epoch 99999999999", 2, "--max_epoch: found '99999999999', which is too large"),
    ("train", "--nesterov maybe", 2, "--nesterov: found 'maybe', expected true or false"),
    ("train", "--lr_epochs 30;60", 2, "--lr_epochs: found '30;60', expected whole numbers separated by commas"),
    ("train", "--net densenet12", 2, "--net: found 'densenet12', expected one of densenet100, densenet121"),
    ("train", "--dataset cifar", 2, "--dataset: found 'cifar', expected one of cifar10, imagenet"),
    ("train", "--momentum 1", 2, "--momentum: found '1', which is out of range"),
    ("train", "--per_batch_size 0", 2, "--per_batch_size: found '0', which is out of range"),
    ("train", "--num_parallel_workers 100000", 2, "num_parallel_workers is 100000; this machine allows 1 to"),
    ("train", "--resume {run} --train_pretrained x.ckpt", 2, "found both resume"),
    ("train", "--reset_head", 2, "reset_head true without train_pretrained"),
    ("train", "--label_smooth --label_smooth_factor 0", 2, "label_smooth true with label_smooth_factor 0"),
    ("train", "--warmup_epochs 2", 2, "warmup_epochs 2 with max_epoch 1, expected no more than max_epoch"),
    ("train", "--lr_epochs 60,30", 2, "lr_epochs 60,30, expected epochs that increase"),
    ("train", "--eta_min 0.5", 2, "eta_min 0.5 with lr 0.1, expected no more than lr"),
    ("train", "--rank 1", 2, "rank 1 with group_size 1, expected less than group_size"),
    ("train", "--rank 1 --group_size 2", 2, "rank 1 of group_size 2 was asked for, but this process is rank 0 of 1"),
    ("train", "--dataset cifar10", 2, "found no train_data_dir, expected the folder or file of the cifar10 data"),
    ("train", "--train_data_dir {b}", 2, "with dataset digits, which is bundled"),
    ("eval", "--ckpt_file {run}/best.ckpt", 2, "found no ckpt_files, expected a checkpoint or a folder of checkpoints"),
    ("eval", "", 2, "found no ckpt_files, expected a checkpoint or a folder of checkpoints"),
    ("eval", "{best} --dataset folder", 2, "found no eval_data_dir"),
    ("eval", "{best} --eval_data_dir {b}/good", 2, "with dataset digits, which is bundled"),
    ("eval", "{best} --net densenet169", 2, "net is densenet169, but"),
    ("eval", "--ckpt_files {run} --predictions {b}/p.csv", 2, "predictions are of one checkpoint"),
    ("eval", "{best} --predictions {b}/a_file", 2, "a_file exists and is not overwritten"),
    ("eval", "{best} --group_size 2", 2, "this process is rank 0 of 1"),
]
YAML = [
    ("train", "--config_path {b}/yaml/syntax.yaml", 2, "syntax.yaml, line 3: found a syntax error"),
    ("train", "--config_path {b}/yaml/tag.yaml", 2, "found the tag '!!python/object/apply:os.system'"),
    ("train", "--config_path {b}/yaml/twice.yaml", 2, "twice.yaml, line 2: lr is given a second time, as '0.2'"),
    ("train", "--config_path {b}/yaml/unknown.yaml", 2, "unknown key 'momentun' with value '0.9', did you mean mom"),
    ("train", "--config_path {b}/yaml/type.yaml", 2, "type.yaml, line 1: max_epoch: found 'ten', expected a whole"),
    ("train", "--config_path {b}/yaml/nothing.yaml", 2, "nothing.yaml, line 1: lr: found no value, expected one"),
    ("train", "--config_path {b}/yaml/list.yaml", 2, "list.yaml: found a list, expected lines such as `lr: 0.1`"),
    ("train", "--config_path {b}/yaml/bomb.yaml", 2, "bomb.yaml, line 1: found unknown key 'a'"),
    ("train", "--config_path {b}/yaml/empty.yaml", 2, "empty.yaml: found no keys at all"),
    ("train", "--config_path {run}/best.ckpt", 2, "best.ckpt, line 2: found byte 0x"),
    ("train", "--config_path {run}/preview.png", 2, "preview.png, line 1: found byte 0x89, expected text in UTF-8"),
    ("train", "--config_path {b}", 2, "cannot be read (Is a directory), expected a YAML file"),
    ("train", "--config_path {b}/none.yaml", 2, "none.yaml: found no such file, expected a YAML file"),
    ("eval", "--config_path {b}/yaml/tag.yaml", 2, "found the tag '!!python/object/apply:os.system'"),
]
DATA = [
    ("train", "{folder}/none", 1, "none cannot be read: No such file or directory"),
    ("train", "{folder}/a_file", 1, "a_file cannot be read: Not a directory"),
    ("train", "{folder}/{long}", 1, "cannot be read: File name too long"),
    ("train", "{folder}/empty", 1, "empty has no class folders"),
    ("train", "{folder}/good/cat", 1, "cat has no class folders"),
    ("train", "{folder}/no_pictures", 1, "no_pictures hold no pictures"),
    ("train", "{folder}/good --num_classes 1", 1, "num_classes is 1, but the data set has 2 classes"),
    ("train", "{folder}/cut", 1, "cut/dog/1.jpg should be a complete JPEG"),
    ("train", "{folder}/text", 1, "text/dog/1.jpg should be a complete JPEG"),
    ("train", "{folder}/text --num_parallel_workers 1", 1, "text/dog/1.jpg should be a complete JPEG"),
    ("train", "{folder}/no_jpegs --on_bad_image skip", 1, "none of the 2 train images in"),
    ("train", "{folder}/good --eval_data_dir {b}/cut", 1, "cut/dog/1.jpg should be a complete JPEG"),
    ("train", "{folder}/good --eval_data_dir {b}/bird", 1, "class folders that the network does not know, first 'bi"),
    ("eval", "{cats} {held_out} {b}/cut", 1, "cut/dog/1.jpg should be a"),
    ("eval", "{cats} {held_out} {b}/text", 1, "text/dog/1.jpg should be a"),
    ("eval", "{cats} {held_out} {b}/bird", 1, "does not know, first 'bird'"),
    ("eval", "{best} --dataset folder --eval_data_dir {b}/good", 1, "not know, first 'cat'"),
    ("train", "{cifar} {b}/empty", 1, "holds no data_batch_*.bin"),
    ("train", "{cifar} {b}/cifar_cut", 1, "has 15000 bytes, not whole records of 3073"),
    ("train", "{cifar} {b}/cifar_label", 1, "has the label 10 in record 0; expected 0 to 9"),
    ("train", "{cifar} {b}/cifar --num_classes 5", 1, "num_classes is 5, but the data set h"),
    ("train", "{cifar} {b}/a_file", 1, "a_file is no folder; expected the one that holds"),
    ("train", "{cifar} {b}/cifar --eval_data_dir {b}/cifar_cut --per_batch_size 8", 1, "bin has 0 b"),
    ("eval", "{best} --dataset cifar10 --eval_data_dir {b}/cifar", 1, "holds no test_batch.bin"),
    ("eval", "{cats} --dataset digits", 1, "labels of 10 classes, but the network knows 2"),
    ("train", "{list}/word.txt", 1, "word.txt line 2: expected `path label`, found 'dog/0.jpg'"),
    ("train", "{list}/negative.txt", 1, "negative.txt line 2: the label should be an integer from 0 to 99999, found"),
    ("train", "{list}/missing.txt", 1, "missing.txt line 2: there is no file"),
    ("train", "{list}/empty.txt", 1, "empty.txt is empty; expected `path label` lines"),
    ("train", "{list}/none.txt", 1, "none.txt is no file; expected a text file"),
    ("train", "{list}/cat/0.jpg", 1, "0.jpg is not UTF-8 text; expected `path label` lines"),
    ("train", "{list}/seven.txt --num_classes 5", 1, "num_classes is 5, but the data set has 8 classes"),
    ("eval", "{cats} --dataset list --eval_data_dir {b}/good/seven.txt", 1, "labels of 8 classes"),
    ("train", "--per_batch_size 5000", 1, "the training set has 1442 images, fewer than one batch of 5000; lower"),
    ("train", "--grad_accumulation_steps 6", 1, "the training set has 1442 images, fewer than one batch of"),
    ("train", "--image_size 1", 1, "image_size is 1: the pools of densenet100 with 2 dense blocks leave no pixel"),
]
CHECKPOINTS = [
    ("eval", "--ckpt_files {b}/none.ckpt", 1, "none.ckpt does not exist; give a .ckpt file"),
    ("eval", "--ckpt_files {b}/{long}", 1, "does not exist; give a .ckpt file"),
    ("eval", "--ckpt_files {b}/empty", 1, "empty holds no .ckpt file"),
    ("eval", "--ckpt_files {b}/good/cat/0.jpg", 1, "0.jpg cannot be read as a MindSpore checkpoint"),
    ("eval", "--ckpt_files {c}/empty.ckpt", 1, "empty.ckpt cannot be read as a MindSpore checkpoint"),
    ("eval", "--ckpt_files {c}/noise.ckpt", 1, "noise.ckpt cannot be read as a MindSpore checkpoint"),
    ("eval", "--ckpt_files {c}/cut_1.ckpt", 1, "cut_1.ckpt cannot be read as a MindSpore checkpoint"),
    ("eval", "--ckpt_files {c}/cut_100.ckpt", 1, "cut_100.ckpt cannot be read as a MindSpore checkpoint"),
    ("eval", "--ckpt_files {c}/cut_half.ckpt", 1, "cut_half.ckpt cannot be read as a MindSpore checkpoint"),
    ("eval", "--ckpt_files {c}/cut_crc.ckpt", 1, "cut_crc.ckpt has lost the checksum at its end"),
    ("eval", "--ckpt_files {c}/cut_byte.ckpt", 1, "cut_byte.ckpt"),
    ("eval", "--ckpt_files {c}/flipped.ckpt", 1, "flipped.ckpt cannot be read as a MindSpore checkpoint"),
    ("eval", "--ckpt_files {c}/not_json.ckpt", 1, "carries metadata that is not this project's JSON"),
    ("eval", "--ckpt_files {c}/format.ckpt", 1, "has format 2, this release reads format 1"),
    ("eval", "--ckpt_files {c}/architecture_text.ckpt", 1, "network architecture: found str, expected a mapping"),
    ("eval", "--ckpt_files {c}/growth_text.ckpt", 1, "network architecture: growth_rate is '4', expected an integer"),
    ("eval", "--ckpt_files {c}/growth_huge.ckpt", 1, "network architecture: growth_rate is 1000000000, expected an in"),
    ("eval", "--ckpt_files {c}/all_memory.ckpt", 1, "all_memory.ckpt describes a network of 1"),
    ("eval", "--ckpt_files {c}/growth.ckpt", 1, "growth.ckpt does not fit the network; of another shape: backbone."),
    ("eval", "--ckpt_files {c}/preprocessing.ckpt", 1, "the preprocessing's std should be three numbers between 0 and"),
    ("eval", "--ckpt_files {c}/preprocessing_none.ckpt", 1, "preprocessing_none.ckpt carries no preprocessing"),
    ("eval", "--ckpt_files {c}/names_text.ckpt", 1, "names_text.ckpt carries class_names that are not a list of names"),
    ("eval", "--ckpt_files {c}/names_none.ckpt {dogs}", 1, "names_none.ckpt carries class_names that are not a list"),
    ("eval", "--ckpt_files {c}/names_many.ckpt {lists}", 1, "names_many.ckpt carries 12 class_names"),
    ("eval", "--ckpt_files {c}/recipe_dataset.ckpt", 2, "found no eval_data_dir"),
    ("eval", "--ckpt_files {c}/not_finite.ckpt", 1, "the network's output holds values that are not finite"),
    ("eval", "--ckpt_files {c}/foreign.ckpt --dataset digits {net}", 1, "missing from it: backbone.features.conv0.w"),
    ("train", "--train_pretrained {b}/none.ckpt", 1, "none.ckpt does not exist; give a .ckpt file"),
    ("train", "--train_pretrained {run}", 1, "is a folder; give a .ckpt file"),
    ("train", "--train_pretrained {c}/flipped.ckpt", 1, "flipped.ckpt cannot be read as a MindSpore checkpoint"),
    ("train", "--train_pretrained {c}/foreign.ckpt", 1, "not in the network: other.weight"),
    ("train", "--train_pretrained {run}/best.ckpt --growth_rate 8", 1, "denseblock1.cell_list.0.conv1.weight is (16, "),
    ("train", "--train_pretrained {run}/best.ckpt --block_config 1,1,1", 1, "missing from it: backbone.features."),
    ("train", "{folder}/good --train_pretrained {run}/best.ckpt", 1, "the class counts differ: to fine-tune with a ne"),
    ("train", "--resume {b}/none", 1, "none does not exist; give a .ckpt file"),
    ("train", "--resume {b}/{long}", 1, "does not exist; give a .ckpt file"),
    ("train", "--resume {b}/empty", 1, "empty holds no valid checkpoint 0-EPOCH_STEP.ckpt to resume from"),
    ("train", "--resume {c}/foreign.ckpt", 1, "foreign.ckpt carries no progress: it was not written by this project"),
    ("train", "--resume {c}/flipped.ckpt", 1, "flipped.ckpt cannot be read as a MindSpore checkpoint"),
    ("train", "--resume {c}/recipe_key.ckpt", 1, "recipe_key.ckpt carries the unknown key 'secret'"),
    ("train", "--resume {c}/recipe_value.ckpt", 1, "recipe_value.ckpt: momentum: found '2', which is out of range"),
    ("train", "--resume {c}/recipe_list.ckpt", 1, "recipe_list.ckpt carries no recipe that can be read"),
    ("train", "--resume {c}/progress_text.ckpt", 1, "the checkpoint's progress entry is not what train.py writes"),
    ("train", "--resume {c}/progress_epoch.ckpt", 1, "the checkpoint's progress entry is not what train.py writes"),
    ("train", "--resume {c}/progress_row.ckpt", 1, "the checkpoint's progress entry is not what train.py writes"),
    ("train", "--resume {run} --growth_rate 8", 1, "does not fit the network; of another shape: backbone.features."),
    ("train", "--resume {b}/busy", 1, "another process is training in"),
]
MACHINE = [
    ("train", "--device_target GPU", 1, "device_target is GPU, but this MindSpore finds only CPU here"),
    ("train", "--device_target Ascend", 1, "device_target is Ascend, but this MindSpore finds only CPU here"),
    ("eval", "{best} --device_target GPU", 1, "device_target is GPU, but this MindSpore finds"),
    ("train", "--save_ckpt_path {b}/a_file", 1, "cannot create {b}/a_file/2"),
    ("train", "--save_ckpt_path {b}/a_file/below", 1, "cannot create {b}/a_file/below/"),
    ("train", "--save_ckpt_path {b}/dangling", 1, "dangling is no folder and cannot become one; choose another path"),
    ("train", "--save_ckpt_path {b}/{long}", 1, "File name too long; choose another --save_ckpt_path"),
    ("train", "--save_ckpt_path /proc/nowhere", 1, "cannot create /proc/nowhere/"),
    ("eval", "{best} --save_ckpt_path /proc/nowhere", 1, "cannot create /proc/nowhere/"),
    ("eval", "{best} --predictions {b}/none/p.csv", 2, "there is no folder {b}/none; create"),
    ("eval", "{best} --predictions {b}/empty", 2, "empty exists and is not overwritten"),
    ("eval", "{best} --predictions /dev/null", 2, "/dev/null exists and is not overwritten"),
    ("eval", "{best} --predictions {b}/dangling", 2, "dangling exists and is not overwritten"),
    ("eval", "{best} --predictions {b}/{long}/p.csv", 2, "cannot be written: there is no folder"),
    ("eval", "{best} --predictions {b}/{long}", 1, "File name too long; free the disk or choose"),
    ("eval", "{best} --per_batch_size 2000000000", 1, "out of memory (Unable to allocate"),
]
EXPORT = [
    ("export", "", 2, "found no ckpt_file, expected a checkpoint; give --ckpt_file"),
    ("export", "--ckpt_files {run}/best.ckpt", 2, "found no ckpt_file, expected a checkpoint; give --ckpt_file"),
    ("export", "{x} --file_format TFLITE", 2, "--file_format: found 'TFLITE', expected one of AIR, MINDIR, ONNX"),
    ("export", "{x} --batch_size -1", 2, "--batch_size: found '-1', which is out of range; expected a whole number of"),
    ("export", "{x} --mindir_version 2", 2, "--mindir_version: found '2', expected one of 1, 3"),
    ("export", "{x} --file_format AIR --device_target CPU", 2, "file_format AIR with device_target CPU, expected Asc"),
    ("export", "{x} --file_format AIR", 1, "AIR is written on an Ascend only, and this is a CPU; export a MINDIR or"),
    ("export", "{x} --device_target GPU", 1, "device_target is GPU, but this MindSpore finds only CPU here"),
    ("export", "{x} --file_format ONNX --mindir_version 1", 2, "mindir_version 1 with file_format ONNX, expected MIN"),
    ("export", "{x} --quantize", 2, "quantize true with file_format MINDIR, expected ONNX"),
    ("export", "{q} {x} --export_fp16", 2, "found both quantize and export_fp16 true, expected one precision"),
    ("export", "{q} {x} --calibration_images 0", 2, "--calibration_images: found '0', which is out of range"),
    ("export", "{x} --net densenet121", 2, "net is densenet121, but {run}/best.ckpt was made with densenet100; leave"),
    ("export", "{x} --num_classes 3", 2, "num_classes is 3, but {run}/best.ckpt was made with 10; leave --num_classe"),
    ("export", "{x} --image_size 1", 1, "image_size is 1: the pools of densenet100 with 2 dense blocks leave no pixel"),
    ("export", "{x} --num_parallel_workers 100000", 2, "num_parallel_workers is 100000; this machine allows 1 to"),
    ("export", "--ckpt_file {b}/none.ckpt", 1, "none.ckpt does not exist; give a .ckpt file"),
    ("export", "--ckpt_file {run}", 1, "is a folder; give a .ckpt file"),
    ("export", "--ckpt_file {c}/flipped.ckpt", 1, "flipped.ckpt cannot be read as a MindSpore checkpoint"),
    ("export", "--ckpt_file {c}/cut_crc.ckpt", 1, "cut_crc.ckpt has lost the checksum at its end"),
    ("export", "--ckpt_file {c}/not_json.ckpt", 1, "carries metadata that is not this project's JSON"),
    ("export", "--ckpt_file {c}/preprocessing.ckpt", 1, "the preprocessing's std should be three numbers between 0 an"),
    ("export", "--ckpt_file {c}/all_memory.ckpt", 1, "all_memory.ckpt describes a network of 1"),
    ("export", "--ckpt_file {c}/names_many.ckpt", 1, "names_many.ckpt carries 12 class_names"),
    ("export", "--ckpt_file {c}/names_odd.ckpt", 1, "names_odd.ckpt carries class_names that are not a list of names"),
    ("export", "--ckpt_file {c}/foreign.ckpt", 1, "foreign.ckpt does not fit the network; missing from it: backbone."),
    ("export", "--ckpt_file {c}/zoo.ckpt {net} --bn_size 3", 1, "zoo.ckpt does not fit the network; of another shape:"),
    ("export", "--ckpt_file {c}/zoo.ckpt {net} --num_classes 3", 1, "is (10, 10) in the file and (3, 10) in the netwo"),
    ("export", "--ckpt_file {c}/zoo.ckpt {net} --image_size 1", 1, "image_size is 1: the pools of densenet100 with 2 "),
    ("export", "--ckpt_file {c}/scalar_head.ckpt {net}", 1, "missing from it: backbone.features.conv0.weight"),
    ("export", "--ckpt_file {c}/not_finite.ckpt", 1, "the network's output holds values that are not finite"),
    ("export", "--ckpt_file {c}/huge.ckpt --file_format ONNX --export_fp16", 1, "more than 0.02; it is not kept"),
    ("export", "{x} --file_name {m}/taken", 2, "taken.mindir exists and is not overwritten; choose another name"),
    ("export", "{x} --file_name {m}/taken.mindir", 2, "/taken.mindir exists and is not overwritten; choose another"),
    ("export", "{x} --file_format ONNX --file_name {m}/described", 2, "described.onnx.json exists and is not overwri"),
    ("export", "{x} --file_format ONNX --file_name {m}/dangling", 2, "dangling.onnx exists and is not overwritten"),
    ("export", "{x} --file_name {b}/none/m", 2, "m.mindir cannot be written: there is no folder {b}/none; create it"),
    ("export", "{x} --file_name {b}/a_file/m", 2, "there is no folder {b}/a_file; create it first"),
    ("export", "{x} --file_name {b}/empty/", 2, "file_name {b}/empty/ ends in no name; give one for the model"),
    ("export", "{x} --file_name {b}/empty/{long}", 1, "File name too long; free the disk or choose another folder"),
    ("export", "{x} --file_name /proc/m", 1, "cannot write /proc/m.mindir: No such file or directory"),
    ("export", "{q} {x} --dataset folder", 2, "found no train_data_dir, expected the folder or file of the folder dat"),
    ("export", "{q} {x} --train_data_dir {b}/good", 2, "with dataset digits, which is bundled"),
    ("export", "{q} {x} --dataset folder --train_data_dir {b}/good", 1, "not know, first 'cat'"),
    ("export", "{q} --ckpt_file {c}/recipe_dataset.ckpt", 2, "found no train_data_dir"),
    ("export", "{q} --ckpt_file {b}/cats.ckpt", 1, "labels of 10 classes, but the network knows 2"),
    ("export", "{quantize_cats} {b}/good", 2, "found no eval_data_dir, expected the folder or file of the folder data"),
    ("export", "{quantize_cats} {b}/empty", 1, "empty has no class folders"),
    ("export", "{quantize_cats} {b}/cut --eval_data_dir {b}/good", 1, "cut/dog/1.jpg should be a complete JPEG"),
    ("export", "{quantize_cats} {b}/good --eval_data_dir {b}/cut", 1, "cut/dog/1.jpg should be a complete JPEG"),
]
ONNX = [
    ("eval_onnx", "", 2, "found no ckpt_files, expected an .onnx model; give --ckpt_files"),
    ("eval_onnx", "--ckpt_files {m}/none.onnx", 1, "none.onnx does not exist; give an .onnx file that export.py wrote"),
    ("eval_onnx", "--ckpt_files {m}/{long}.onnx", 1, "does not exist; give an .onnx file that export.py wrote"),
    ("eval_onnx", "--ckpt_files {m}/dangling.onnx", 1, "dangling.onnx does not exist; give an .onnx file"),
    ("eval_onnx", "--ckpt_files {m}", 1, "is a folder; give an .onnx file that export.py wrote"),
    ("eval_onnx", "--ckpt_files {m}/empty.onnx", 1, "empty.onnx cannot be loaded by ONNX Runtime: it is no ONNX model"),
    ("eval_onnx", "--ckpt_files {m}/noise.onnx", 1, "noise.onnx cannot be loaded by ONNX Runtime"),
    ("eval_onnx", "--ckpt_files {m}/cut_half.onnx", 1, "cut_half.onnx cannot be loaded by ONNX Runtime"),
    ("eval_onnx", "--ckpt_files {m}/cut_byte.onnx", 1, "cut_byte.onnx cannot be loaded by ONNX Runtime"),
    ("eval_onnx", "--ckpt_files {run}/best.ckpt", 1, "best.ckpt cannot be loaded by ONNX Runtime"),
    ("eval_onnx", "--ckpt_files {b}/good/cat/0.jpg", 1, "0.jpg cannot be loaded by ONNX Runtime"),
    ("eval_onnx", "--ckpt_files {m}/operator.onnx", 1, "operator.onnx cannot be loaded by ONNX Runtime"),
    ("eval_onnx", "--ckpt_files {m}/opset.onnx", 1, "opset.onnx cannot be loaded by ONNX Runtime"),
    ("eval_onnx", "--ckpt_files {m}/undescribed.onnx", 1, "undescribed.onnx carries no densenet_manifest, so its cla"),
    ("eval_onnx", "--ckpt_files {m}/not_json.onnx", 1, "densenet_manifest in {m}/not_json.onnx is not JSON"),
    ("eval_onnx", "--ckpt_files {m}/format.onnx", 1, "format.onnx is no description of format 1 as export.py writes"),
    ("eval_onnx", "--ckpt_files {m}/architecture.onnx", 1, "network architecture: found str, expected a mapping"),
    ("eval_onnx", "--ckpt_files {m}/mean.onnx", 1, "the preprocessing's mean should be three numbers between 0 and 1"),
    ("eval_onnx", "--ckpt_files {m}/order.onnx", 1, "order.onnx: channel_order is 'BGR', expected 'RGB'"),
    ("eval_onnx", "--ckpt_files {m}/names_many.onnx", 1, "names_many.onnx carries 12 class_names for 10 classes"),
    ("eval_onnx", "--ckpt_files {m}/names_odd.onnx", 1, "expected a list of names; export the model again"),
    ("eval_onnx", "--ckpt_files {m}/twelve.onnx", 1, "own description says [('images', 'tensor(float)', [3, 8, 8]), "
     "('logits', 'tensor(float)', [12])]"),
    ("eval_onnx", "--ckpt_files {m}/size.onnx", 1, "takes and gives [('images', 'tensor(float)', [3, 8, 8]), "),
    ("eval_onnx", "--ckpt_files {m}/batch.onnx", 1, "batch.onnx fails in ONNX Runtime ([ONNXRuntimeError] : 2 : INVA"),
    ("eval_onnx", "--ckpt_files {m}/kernel.onnx", 1, "kernel.onnx fails in ONNX Runtime ([ONNXRuntimeError] : 1 : F"),
    ("eval_onnx", "--ckpt_files {m}/one_row.onnx", 1, "one_row.onnx gives logits (1, 10), expected (32, 10)"),
    ("eval_onnx", "--ckpt_files {m}/not_finite.onnx", 1, "the network's output holds values that are not finite"),
    ("eval_onnx", "--ckpt_files {m}/not_finite.onnx --images {b}/good/cat", 1, "output holds values that are not fin"),
    ("eval_onnx", "{onnx} --device_target GPU", 1, "this ONNX Runtime has no CUDAExecutionProvider"),
    ("eval_onnx", "{onnx} --device_target Ascend", 2, "found device_target Ascend, expected CPU or GPU"),
    ("eval_onnx", "{onnx} --net densenet169", 2, "net is densenet169, but {m}/good.onnx is a densenet100; leave --net"),
    ("eval_onnx", "{onnx} --per_batch_size 0", 2, "--per_batch_size: found '0', which is out of range"),
    ("eval_onnx", "{onnx} --per_batch_size 2000000000", 1, "out of memory (Unable to allocate"),
    ("eval_onnx", "{onnx} --num_parallel_workers 100000", 2, "num_parallel_workers is 100000; this machine allows 1"),
    ("eval_onnx", "{onnx} --dataset folder", 2, "found no eval_data_dir, expected the folder or file of the folder"),
    ("eval_onnx", "{onnx} --eval_data_dir {b}/good", 2, "with dataset digits, which is bundled"),
    ("eval_onnx", "{onnx} {dogs}", 1, "2 class folders that the network does not know, first 'cat'"),
    ("eval_onnx", "{onnx} --dataset cifar10 --eval_data_dir {b}/cifar", 1, "holds no test_batch.bin"),
    ("eval_onnx", "{onnx} --predictions {b}/a_file", 2, "a_file exists and is not overwritten"),
    ("eval_onnx", "{onnx} --predictions {b}/none/p.csv", 2, "there is no folder {b}/none; create it first"),
    ("eval_onnx", "{onnx} --save_ckpt_path /proc/nowhere", 1, "cannot create /proc/nowhere/"),
    ("eval_onnx", "{onnx} --images {b}/good/cat --dataset folder", 2, "found images '{b}/good/cat' and dataset 'folde"),
    ("eval_onnx", "{onnx} --images {b}/good/cat --eval_data_dir {b}/good", 2, "/good/cat' and eval_data_dir '"),
    ("eval_onnx", "{onnx} --images {b}/good/cat --predictions p.csv", 2, "/good/cat' and predictions 'p.csv', expect"),
    ("eval_onnx", "{onnx} --images {b}/none", 1, "none cannot be read: No such file or directory; expected a picture"),
    ("eval_onnx", "{onnx} --images {b}/{long}", 1, "cannot be read: File name too long; expected a picture or a folde"),
    ("eval_onnx", "{onnx} --images {b}/empty", 1, "empty holds no pictures; expected them directly in it"),
    ("eval_onnx", "{onnx} --images {b}/good", 1, "good holds no pictures; expected them directly in it"),
    ("eval_onnx", "{onnx} --images {b}/a_file", 1, "a_file should be a complete JPEG, PNG, BMP or TIFF picture"),
    ("eval_onnx", "{onnx} --images {b}/cut/dog", 1, "cut/dog/1.jpg should be a complete JPEG"),
    ("eval_onnx", "{onnx} --images {b}/no_jpegs/dog --on_bad_image skip", 1, "none of the 1 pictures in {b}/no_jpegs"),
]  # fmt: skip
BAD_INPUTS = FLAGS + YAML + DATA + CHECKPOINTS + MACHINE + EXPORT + ONNX

# Some rows again as a user types them: these also show what MindSpore itself writes on stderr.
AS_PROCESSES = [
    row
    for row in BAD_INPUTS
    if row[1]
    in (
        "--max_epochs 3",
        "--config_path {b}/yaml/tag.yaml",
        "--device_target GPU",
        "--device_target Ascend",
        "{folder}/cut",
        "{folder}/good --eval_data_dir {b}/cut",
        "--ckpt_files {c}/flipped.ckpt",
        "--train_pretrained {c}/foreign.ckpt",
        "--save_ckpt_path /proc/nowhere",
        "--resume {b}/busy",
        "{x} --file_format AIR",
        "--ckpt_file {c}/not_finite.ckpt",
        "--ckpt_file {c}/huge.ckpt --file_format ONNX --export_fp16",
        "{quantize_cats} {b}/cut --eval_data_dir {b}/good",
        "--ckpt_files {m}/noise.onnx",
        "--ckpt_files {m}/kernel.onnx",
        "{onnx} --device_target GPU",
        "{onnx} --images {b}/cut/dog",
    )
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory, trained_run) -> Path:
    """A folder full of wrong files, and a few right ones."""
    b = tmp_path_factory.mktemp("bench")
    (b / "a_file").write_text("precious")
    (b / "empty").mkdir()
    (b / "dangling").symlink_to("nowhere")
    shutil.copytree(trained_run, b / "run")
    _write_yaml(b / "yaml")
    _write_data(b)
    _write_checkpoints(b)
    _write_models(b)
    return b


def _write_yaml(folder: Path) -> None:
    folder.mkdir()
    for name, text in {
        "syntax": "lr: 0.1\nmomentum: [1, 2\nseed: 1\n",
        "tag": "lr: !!python/object/apply:os.system ['touch hacked']\n",
        "twice": "lr: 0.1\nlr: 0.2\n",
        "unknown": "momentun: 0.9\n",
        "type": "max_epoch: ten\n",
        "nothing": "lr:\n",
        "list": "- lr\n- momentum\n",
        # as ten nested aliases: four to the tenth power of x
        "bomb": "a: &a [x, x, x, x]\n"
        + "".join(f"{c}: &{c} [*{p}, *{p}, *{p}, *{p}]\n" for p, c in zip("abcdefghij", "bcdefghijk", strict=True)),
        "empty": "",
    }.items():
        (folder / f"{name}.yaml").write_text(text)


def _write_data(b: Path) -> None:
    for name in ("good", "cut", "text"):
        write_pictures(b / name, ("cat", "dog"), each=4)
    write_pictures(b / "bird", ("bird", "cat"), each=1)
    (b / "no_pictures" / "cat").mkdir(parents=True)
    (b / "cut" / "dog" / "1.jpg").write_bytes((b / "good" / "dog" / "1.jpg").read_bytes()[:400])
    (b / "text" / "dog" / "1.jpg").write_text("not a picture")
    for name in ("cat", "dog"):
        (b / "no_jpegs" / name).mkdir(parents=True)
        (b / "no_jpegs" / name / "0.jpg").write_text("not a picture")
    write_cifar(b / "cifar" / "data_batch_1.bin", 8)
    write_cifar(b / "cifar_label" / "data_batch_1.bin", 8, label=10)
    (b / "cifar_cut").mkdir()
    (b / "cifar_cut" / "data_batch_1.bin").write_bytes((b / "cifar" / "data_batch_1.bin").read_bytes()[:15000])
    (b / "cifar_cut" / "test_batch.bin").write_bytes(b"")
    for name, line in {
        "word": "dog/0.jpg",
        "negative": "dog/0.jpg -1",
        "missing": "dog/17.jpg 1",
        "seven": "dog/0.jpg 7",
        "two": "dog/0.jpg 1",
    }.items():
        (b / "good" / f"{name}.txt").write_text(f"cat/0.jpg 0\n{line}\n")
    (b / "good" / "empty.txt").write_text("\n")


def _write_checkpoints(b: Path) -> None:
    """From the good one of the run: damaged bytes, and well-formed files whose metadata lie."""
    folder = b / "ckpt"
    folder.mkdir()
    good = b / "run" / "best.ckpt"
    data = good.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    for name, damaged in {
        "empty": b"",
        "noise": np.random.default_rng(0).bytes(3000),
        "cut_1": data[:1],
        "cut_100": data[:100],
        "cut_half": data[: len(data) // 2],
        "cut_crc": data[:-17],
        "cut_byte": data[:-1],
        "flipped": bytes(flipped),
    }.items():
        (folder / f"{name}.ckpt").write_bytes(damaged)
    loaded = ms.load_checkpoint(str(good))
    metadata = json.loads(loaded.pop(METADATA_KEY))
    arch, prep, recipe, progress = (metadata[k] for k in ("architecture", "preprocessing", "recipe", "progress"))
    huge = {"growth_rate": 512, "bn_size": 64, "block_config": [256] * 8}
    row = progress["history"][0]
    for name, changes in {
        "format": {"format": 2},
        "architecture_text": {"architecture": "densenet121"},
        "growth_text": {"architecture": arch | {"growth_rate": "4"}},
        "growth_huge": {"architecture": arch | {"growth_rate": 10**9}},
        "all_memory": {"architecture": arch | huge},
        "growth": {"architecture": arch | {"growth_rate": 5}},
        "preprocessing": {"preprocessing": prep | {"std": [0, 0, 0]}},
        "names_text": {"class_names": "0123456789"},
        "names_none": {"class_names": []},
        "names_odd": {"class_names": ["\ud800"] * 10},
        "names_many": {"class_names": [str(i) for i in range(12)]},
        "recipe_dataset": {"recipe": recipe | {"dataset": "secret", "eval_data_dir": "x"}},
        "recipe_key": {"recipe": recipe | {"secret": 1}},
        "recipe_value": {"recipe": recipe | {"momentum": 2}},
        "recipe_list": {"recipe": [1]},
        "progress_text": {"progress": "epoch 3"},
        "progress_epoch": {"progress": progress | {"epoch": -1}},
        "progress_row": {"progress": progress | {"history": [row | {"epoch": "one"}]}},
    }.items():
        save_checkpoint(folder / f"{name}.ckpt", _parameters(loaded), metadata | changes)
    without = {key: value for key, value in metadata.items() if key != "preprocessing"}
    save_checkpoint(folder / "preprocessing_none.ckpt", _parameters(loaded), without)
    not_finite = loaded | {"head.fc.bias": ms.Tensor(np.full(10, np.nan, np.float32))}
    save_checkpoint(folder / "not_finite.ckpt", _parameters(not_finite), metadata)
    huge_bias = loaded | {"head.fc.bias": ms.Tensor(np.full(10, 1e30, np.float32))}
    save_checkpoint(folder / "huge.ckpt", _parameters(huge_bias), metadata)
    save_checkpoint(folder / "zoo.ckpt", _parameters(loaded), None)
    save_checkpoint(folder / "scalar_head.ckpt", [ms.Parameter(ms.Tensor(1.0), name="head.fc.weight")], None)
    other = ms.Parameter(ms.Tensor(np.ones(3, np.float32)), name="other.weight")
    ms.save_checkpoint([{"name": other.name, "data": other}], str(folder / "foreign.ckpt"))
    entry = {METADATA_KEY: "{'format': 1}"}
    ms.save_checkpoint(
        [{"name": other.name, "data": other}], str(folder / "not_json.ckpt"), append_dict=entry, crc_check=True
    )
    heads = {n: ms.Tensor(v.asnumpy()[:2]) if n.startswith("head.fc") else v for n, v in loaded.items()}
    cats = {"class_names": ["cat", "dog"], "architecture": arch | {"num_classes": 2}}
    save_checkpoint(b / "cats.ckpt", _parameters(heads), metadata | cats)
    shutil.copytree(b / "run", b / "busy")
    (b / "busy" / "0-3_1.ckpt").write_bytes(bytes(flipped))


def _write_models(b: Path) -> None:
    """From one good export: damaged bytes, descriptions that lie, and graphs that cannot be computed."""
    folder = b / "models"
    folder.mkdir()
    argv = ["--ckpt_file", str(b / "run" / "best.ckpt"), "--file_format", "ONNX", "--file_name", str(folder / "good")]
    data = export.main(argv).read_bytes()
    for name, damaged in {
        "empty": b"",
        "noise": np.random.default_rng(0).bytes(3000),
        "cut_half": data[: len(data) // 2],
        "cut_byte": data[:-1],
    }.items():
        (folder / f"{name}.onnx").write_bytes(damaged)
    (folder / "taken.mindir").write_text("precious")
    (folder / "described.onnx.json").write_text("precious")
    (folder / "dangling.onnx").symlink_to("nowhere")

    def save(name: str, change) -> None:
        model = onnx.load_from_string(data)
        change(model)
        onnx.save(model, folder / f"{name}.onnx")

    values = json.loads(onnx.load_from_string(data).metadata_props[0].value)
    arch, prep = values["architecture"], values["preprocessing"]
    twelve = [str(i) for i in range(12)]
    for name, changes in {
        "format": {"format": 2},
        "architecture": {"architecture": "densenet121"},
        "mean": {"preprocessing": prep | {"mean": [0.5]}},
        "order": {"channel_order": "BGR"},
        "size": {"preprocessing": prep | {"image_size": 16}},
        "names_many": {"class_names": twelve},
        "names_odd": {"class_names": ["\ud800"] * 10},
        "twelve": {"class_names": twelve, "architecture": arch | {"num_classes": 12}},
    }.items():
        text = json.dumps(values | changes)
        save(name, lambda model, text=text: onnx.helper.set_model_props(model, {MANIFEST_KEY: text}))
    save("not_json", lambda model: onnx.helper.set_model_props(model, {MANIFEST_KEY: "{"}))
    save("undescribed", lambda model: model.ClearField("metadata_props"))
    save("opset", lambda model: setattr(model.opset_import[0], "version", 99))
    save("operator", lambda model: setattr(model.graph.node[0], "op_type", "Convolve"))
    save("batch", _fix_batch)
    save("one_row", _average_rows)
    save("kernel", lambda model: _replace_weight(model, "backbone.features.conv0.weight", np.zeros((8, 4, 3, 3))))
    save("not_finite", lambda model: _replace_weight(model, "head.fc.bias", np.full(10, np.nan)))


def _replace_weight(model: onnx.ModelProto, name: str, values: np.ndarray) -> None:
    (weight,) = (value for value in model.graph.initializer if value.name == name)
    weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), name))


def _fix_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4


def _average_rows(model: onnx.ModelProto) -> None:
    """One answer for all images, declared as one for each."""
    last = model.graph.node[-1]
    assert last.output[0] == "logits"
    last.output[0] = "rows"
    model.graph.node.append(onnx.helper.make_node("ReduceMean", ["rows"], ["logits"], axes=[0], keepdims=1))


def _parameters(arrays: dict[str, ms.Tensor]) -> list[ms.Parameter]:
    return [ms.Parameter(ms.Tensor(value.asnumpy()), name=name) for name, value in arrays.items()]


@pytest.fixture(scope="module", autouse=True)
def busy_run(bench):
    """Somebody trains in {b}/busy."""
    with (bench / "busy" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fill_in(text: str, b: Path) -> str:
    """The placeholders of the table."""
    short = {
        "{net}": " ".join([*NETWORK, "--image_size 8"]),
        "{folder}": "--dataset folder --per_batch_size 4 --train_data_dir {b}",
        "{best}": "--ckpt_files {run}/best.ckpt",
        "{x}": "--ckpt_file {run}/best.ckpt",
        "{q}": "--file_format ONNX --quantize",
        "{quantize_cats}": "--file_format ONNX --quantize --ckpt_file {b}/cats.ckpt --dataset folder --train_data_dir",
        "{onnx}": "--ckpt_files {m}/good.onnx",
        "{cats}": "--ckpt_files {b}/cats.ckpt",
        "{held_out}": "--dataset folder --eval_data_dir",
        "{cifar}": "--dataset cifar10 --train_data_dir",
        "{list}": "--dataset list --per_batch_size 1 --train_data_dir {b}/good",
        "{lists}": "--dataset list --eval_data_dir {b}/good/two.txt",
        "{dogs}": "--dataset folder --eval_data_dir {b}/good",
        "{long}": "x" * 300,
        "{run}": "{b}/run",
        "{c}": "{b}/ckpt",
        "{m}": "{b}/models",
        "{b}": str(b),
    }
    for placeholder, replacement in short.items():
        text = text.replace(placeholder, replacement)
    return text


def _command_line(command: str, flags: str, b: Path, output: Path) -> list[str]:
    argv = shlex.split(_fill_in(flags, b), posix=False)
    flag = "--file_name" if command == "export" else "--save_ckpt_path"
    if flag not in argv:
        argv += [flag, str(output)]
    return [*TINY, *argv] if command == "train" and "--resume" not in argv else argv


def _assert_one_line(stderr: str, fragment: str) -> None:
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("error: ")
    assert fragment in lines[0]
    assert len(lines[0]) < 1200


def _name(row: tuple) -> str:
    return f"{row[0]} {row[1]}"


@pytest.mark.parametrize("row", BAD_INPUTS, ids=_name)
def test_one_clear_line_and_nothing_lost(row, bench, tmp_path, capfd, monkeypatch):
    command, flags, status, fragment = row
    monkeypatch.chdir(tmp_path)
    before = contents(bench)
    assert run(MAIN[command], _command_line(command, flags, bench, tmp_path / "out")) == status
    _assert_one_line(capfd.readouterr().err, _fill_in(fragment, bench))
    after = contents(bench)
    assert {path: after.get(path) for path in before} == before
    assert not (tmp_path / "hacked").exists()
    written = [Path(path).name for path in (*(after.keys() - before.keys()), *contents(tmp_path))]
    assert not [name for name in written if name.startswith(".tmp-") or any(end in name for end in SUFFIXES.values())]


@pytest.mark.slow
@pytest.mark.parametrize("row", AS_PROCESSES, ids=_name)
def test_the_same_as_a_process(row, bench, tmp_path):
    command, flags, status, fragment = row
    argv = _command_line(command, flags, bench, tmp_path / "out")
    done = subprocess.run([sys.executable, ROOT / f"{command}.py", *argv], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == status
    _assert_one_line(done.stderr, _fill_in(fragment, bench))
    assert "Traceback" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "file"),
    [(100, "train.log"), (500, "config.yaml"), (3000, "preview.png"), (22_000, "0-1_5.ckpt"), (30_000, "curves.png")],
)
def test_full_disk(limit, file, tmp_path):
    """A limit on the size of files stands in for it: what can still be written is whole, what cannot is not there."""
    argv = [sys.executable, ROOT / "train.py", *TINY, "--save_ckpt_path", tmp_path]
    full = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
    done = subprocess.run(argv, capture_output=True, text=True, preexec_fn=full)
    assert done.returncode == 1
    _assert_one_line(done.stderr, file)
    assert "File too large" in done.stderr
    assert not list(only(tmp_path).glob("*tmp*"))
    assert all(path.stat().st_size <= limit for path in only(tmp_path).iterdir())
    assert file == "train.log" or not (only(tmp_path) / file).exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "flags"),
    [
        (1000, "--file_format ONNX"),  # MindSpore's own writing
        (15_500, "--file_format ONNX"),
        (16_000, "--file_format ONNX --quantize"),
        (19_000, "--file_format ONNX --quantize"),
        (50_000, "--file_format MINDIR"),
        (50_000, "--file_format MINDIR --mindir_version 1"),
    ],
)
def test_full_disk_leaves_no_model(limit, flags, trained_run, tmp_path, monkeypatch):
    for folder in ("out", "temporary"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    argv = [sys.executable, ROOT / "export.py", "--ckpt_file", trained_run / "best.ckpt", *flags.split()]
    full = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
    done = subprocess.run(
        [*argv, "--file_name", tmp_path / "out" / "model"], capture_output=True, text=True, preexec_fn=full
    )
    assert done.returncode == 1
    _assert_one_line(done.stderr, "free the disk or ")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "temporary"]


def test_a_model_without_its_description_is_not_left(trained_run, tmp_path, monkeypatch):
    def refuse(*_):
        raise ReportedError("no room")

    monkeypatch.setattr(deploy_manifest, "write_text_atomically", refuse)
    with pytest.raises(ReportedError, match="no room"):
        export.main(["--ckpt_file", str(trained_run / "best.ckpt"), "--file_name", str(tmp_path / "model")])
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_that_mindspore_cannot_write_to(trained_run, tmp_path, monkeypatch):
    (tmp_path / "my files").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "my files"))
    with pytest.raises(ReportedError, match=r"the temporary folder is .*/my files/.* set TMPDIR to another one"):
        export.main(["--ckpt_file", str(trained_run / "best.ckpt"), "--file_name", str(tmp_path / "model")])
    assert [path.name for path in tmp_path.rglob("*")] == ["my files"]


def test_rows_are_many_and_different():
    assert len(set(BAD_INPUTS)) == len(BAD_INPUTS) >= 150
    assert len(AS_PROCESSES) >= 16
