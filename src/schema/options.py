"""The typed schema: every configuration key of every command, once, with its type, default, bounds and meaning.

A key is a flag (`--lr 0.1`), a YAML key (`lr: 0.1`) and an attribute (`config.lr`) of the same name. `config.py` says
which of several values wins, `values.py` how text becomes a value, `combinations.py` which values exclude each other.
To add a key, add one `Option` here; the flag, the YAML key, the check and the line in `--help` follow from it.
"""

from dataclasses import dataclass

from src.datasets.layouts import DATASETS
from src.datasets.preprocessing_choices import (
    AUGMENTATIONS,
    AUTO_AUGMENTS,
    CACHES,
    INTERPOLATIONS,
    RESIZE_MODES,
    STREAMS,
)
from src.network.architecture import BOUNDS, CHOICES, INPUT_CHANNELS, MAX_BLOCKS, NETWORKS

INTS = tuple[int, ...]
Value = str | int | float | bool | tuple[int, ...]

COMMANDS = ("train", "eval", "export", "eval_onnx", "predict")
INT_MAX = 2**31 - 1  # what MindSpore's int32 arguments hold


@dataclass(frozen=True)
class Option:
    """One configuration key.

    `type` is str, int, float, bool or INTS; bounds hold for numbers, and for each item of INTS. `commands` are those
    that use the key. The others accept the flag and report it, so that one list of flags can serve several commands;
    but a key that `asks` for something to be read, written or made is an error there: it would not happen. `saved` keys
    are written to the resolved configuration; keys that are not `in_yaml` can only be flags. In an `is_path`, ~ is the
    user's home.
    """

    name: str
    type: type
    default: Value
    group: str
    help: str
    choices: tuple[str, ...] | tuple[int, ...] = ()
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    commands: tuple[str, ...] = COMMANDS
    saved: bool = True
    in_yaml: bool = True
    asks: bool = False
    is_path: bool = False


_TRAIN, _EVAL, _EXPORT, _ONNX, _PREDICT = ((name,) for name in COMMANDS)
_NETWORK = _TRAIN + _EVAL + _EXPORT
_GROUP = _TRAIN + _EVAL
_CPU = _GROUP + _PREDICT
_DATA = _TRAIN + _EVAL + _EXPORT + _ONNX
_RUNS = _TRAIN + _EVAL + _ONNX
_IMAGES = _RUNS + _PREDICT
_CLOUD = _TRAIN + _EVAL + _EXPORT

OPTIONS: tuple[Option, ...] = (
    Option("net", str, "densenet121", "network", "the network; it also picks the YAML file", NETWORKS, commands=_DATA),
    Option("dataset", str, "imagenet", "network",
           "kind of data set: CIFAR's binary versions (of CIFAR-100 the fine labels), class folders (imagenet with its "
           "recipe, folder with any classes), a text list of `path label` lines, a CSV file, MindRecord shards or "
           "scikit-learn's bundled digits", DATASETS, commands=_DATA),
    Option("num_classes", int, 0, "network", "number of classes; 0: as many as the data set has", ge=0,
           le=BOUNDS["num_classes"][1], commands=_NETWORK),
    Option("image_size", int, 0, "network", "height and width of the network's input; 0: the data set's usual", ge=0,
           le=8192, commands=_NETWORK),
    Option("eval_image_size", int, 0, "network",
           "the input's size in evaluations, where another than in training often answers better; a run's checkpoints "
           "and their exports keep it; 0: image_size", ge=0, le=8192, commands=_NETWORK),
    Option("resize", str, "squash", "network",
           "how a picture gets the input's shape: squashed, or undistorted: cut at its longer side, or padded with "
           "black",
           RESIZE_MODES, commands=_NETWORK),
    Option("interpolation", str, "bilinear", "network",
           "of resizing; antialiased as Pillow's, but for the usual squashing with bilinear", INTERPOLATIONS,
           commands=_NETWORK),
    Option("crop_ratio", float, 0.0, "network",
           "the share of the resized picture's side that the centre crop keeps; 0: the data set's usual (photographs "
           "0.875, for inputs up to 64 pixels all), of a letterbox all", ge=0, le=1, commands=_NETWORK),
    Option("input_channels", int, 3, "network",
           "3: colours; 1: grey, of which 16 bits are kept", INPUT_CHANNELS, commands=_NETWORK),
    Option("growth_rate", int, 0, "network", "feature maps each dense layer adds; 0: the network's own", ge=0,
           le=BOUNDS["growth_rate"][1], commands=_NETWORK),
    Option("block_config", INTS, (), "network", "dense layers in each block; empty: the network's own", ge=1,
           le=BOUNDS["block_config"][1], commands=_NETWORK),
    Option("stem_features", int, 0, "network", "feature maps of the first convolution; 0: the network's own", ge=0,
           le=BOUNDS["stem_features"][1], commands=_NETWORK),
    Option("bn_size", int, 0, "network", "bottleneck width in growth rates; 0: the network's own", ge=0,
           le=BOUNDS["bn_size"][1], commands=_NETWORK),
    Option("compression", float, 0.0, "network",
           "share of the feature maps a transition keeps; 0: the network's own", ge=0,
           le=BOUNDS["compression"][1], commands=_NETWORK),
    Option("drop_rate", float, 0.0, "network", "dropout after each dense layer", ge=0, le=BOUNDS["drop_rate"][1],
           commands=_TRAIN),
    Option("transition_pool", str, "avg", "network",
           "pooling in the transitions; max for checkpoints of the MindSpore model zoo", CHOICES["transition_pool"],
           commands=_NETWORK),
    Option("stem_pool", str, "pad", "network",
           "padding of the stem's max pooling; same for checkpoints of the MindSpore model zoo", CHOICES["stem_pool"],
           commands=_NETWORK),
    Option("freeze", int, 0, "network",
           "do not train the stem and so many dense blocks with their transitions, running statistics too", ge=0,
           le=MAX_BLOCKS, commands=_TRAIN),
    Option("recompute", bool, False, "network",
           "recompute the bottlenecks in the backward pass: less memory, more time; cpu_kernels always do",
           commands=_TRAIN),
    Option("train_data_dir", str, "", "data",
           "training data: a folder, or the file for --dataset list or csv; not needed for digits",
           commands=_TRAIN + _EXPORT, asks=True, is_path=True),
    Option("eval_data_dir", str, "", "data",
           "held-out data; train evaluates on it when it is given (bundled: the digits' own)", commands=_DATA,
           is_path=True),
    Option("val_split", float, 0.0, "data",
           "without eval_data_dir, hold out this share of the training data: of each class, by the pictures' contents "
           "and the seed", ge=0, lt=1, commands=_TRAIN),
    Option("image_root", str, "", "data", "csv: the folder that the pictures' paths begin in; empty: the CSV file's",
           commands=_DATA, is_path=True),
    Option("uncertain", str, "ignore", "data", "csv: what the label -1 (uncertain) counts as; ignore: as unknown",
           ("ignore", "zeros", "ones"), commands=_DATA),
    Option("task", str, "auto", "data",
           "single: one class a picture, multilabel: a yes or no to each class; auto: as the data say",
           ("auto", "single", "multilabel"), commands=_TRAIN),
    Option("balanced_sampling", bool, False, "data",
           "show each class equally often: rare ones again and again, of frequent ones a part in each epoch",
           commands=_TRAIN),
    Option("per_batch_size", int, 32, "data", "images in one device's batch", ge=1, commands=_IMAGES, asks=True),
    Option("augmentation", str, "auto", "data",
           "of training images; full: crop, flip and colours, shift: crop and flip as in the paper, auto: full, but "
           "crop for digits, and shift with auto_augment", AUGMENTATIONS, commands=_TRAIN),
    Option("auto_augment", str, "none", "data",
           "a policy that changes training images: TrivialAugment Wide, RandAugment, or AutoAugment as found on "
           "CIFAR-10 for small images, else on ImageNet", AUTO_AUGMENTS, commands=_TRAIN),
    Option("random_erasing", float, 0.0, "data",
           "probability that a rectangle of a training image, 0.02 to 0.33 of it, is erased", ge=0, le=1,
           commands=_TRAIN),
    Option("mixup", float, 0.0, "data",
           "mix each training image with another one, and the loss of both labels, by shares drawn from Beta(a, a) of "
           "this a; 0: not", ge=0, le=1000, commands=_TRAIN),
    Option("cutmix", float, 0.0, "data",
           "put a box of another image into each training image, by shares drawn from Beta(a, a) of this a; with mixup "
           "one of them for each batch; 0: not", ge=0, le=1000, commands=_TRAIN),
    Option("augmentation_streams", str, "worker", "data",
           "worker: each worker thread augments with random numbers of its own; image: each image has its own, so that "
           "the bits are the same for any number of workers and ranks", STREAMS, commands=_TRAIN),
    Option("cache", str, "none", "data",
           "keep pictures decoded and resized, as far as they are the same in each epoch: in memory, which a machine's "
           "ranks share, or on the disk, for later runs too; refused where they do not fit", CACHES, commands=_GROUP),
    Option("on_bad_image", str, "error", "data", "stop at an image that cannot be decoded, or leave such images out",
           ("error", "skip"), commands=_IMAGES),
    Option("num_parallel_workers", int, 0, "data", "threads that prepare images; 0: as the machine allows", ge=0),
    Option("lr_scheduler", str, "cosine_annealing", "schedule",
           "how the learning rate falls, step by step; one_cycle: how it rises and falls",
           ("exponential", "cosine_annealing", "polynomial", "one_cycle"), commands=_TRAIN),
    Option("lr", float, 0.1, "schedule", "initial learning rate; one_cycle: the highest", gt=0, commands=_TRAIN),
    Option("lr_epochs", INTS, (), "schedule", "exponential: the epochs at which the rate is multiplied by lr_gamma",
           ge=1, commands=_TRAIN),
    Option("lr_gamma", float, 0.1, "schedule", "exponential: the factor at each of lr_epochs", gt=0, commands=_TRAIN),
    Option("lr_power", float, 1.0, "schedule", "polynomial: the power of the share of the epochs that is left; 1: a "
           "straight line", gt=0, commands=_TRAIN),
    Option("eta_min", float, 0.0, "schedule", "cosine_annealing, polynomial: the lowest rate, at which it stays", ge=0,
           commands=_TRAIN),
    Option("T_max", int, 0, "schedule", "cosine_annealing, polynomial: the epoch that reaches eta_min; 0: max_epoch",
           ge=0, commands=_TRAIN),
    Option("max_epoch", int, 120, "schedule", "epochs to train", ge=1, commands=_TRAIN),
    Option("progressive_size", INTS, (), "schedule",
           "sizes of training images, one after another over equal parts of the epochs, such as 160,192,224; the last "
           "is image_size, and empty means image_size throughout", ge=1, le=8192, commands=_TRAIN),
    Option("warmup_epochs", float, 0.0, "schedule",
           "epochs of linear warm-up, fractions allowed; one_cycle: of its rise, 0: 30 % of max_epoch", ge=0,
           commands=_TRAIN),
    Option("linear_lr_scaling", bool, False, "schedule",
           "multiply lr and eta_min by the batches in one update: ranks times grad_accumulation_steps",
           commands=_TRAIN),
    Option("layer_lr_decay", float, 1.0, "schedule",
           "what the learning rate is multiplied by for each group of layers before the head: the dense blocks, each "
           "with its transition, and the stem", gt=0, le=1, commands=_TRAIN),
    Option("momentum", float, 0.9, "optimizer", "momentum of SGD", ge=0, lt=1, commands=_TRAIN),
    Option("nesterov", bool, False, "optimizer", "Nesterov's momentum", commands=_TRAIN),
    Option("weight_decay", float, 1e-4, "optimizer", "weight decay (L2 penalty)", ge=0, commands=_TRAIN),
    Option("decay_norm_and_bias", bool, False, "optimizer", "decay batch normalisation's parameters and biases too",
           commands=_TRAIN),
    Option("label_smooth", bool, False, "optimizer", "smooth the labels in the cross entropy", commands=_TRAIN),
    Option("label_smooth_factor", float, 0.1, "optimizer", "label_smooth: the share spread over all classes",
           ge=0, lt=1, commands=_TRAIN),
    Option("class_weights", str, "none", "optimizer",
           "of the classes in the loss: none, auto (rare classes weigh more), or a file of `class weight` lines",
           commands=_TRAIN, is_path=True),
    Option("class_weight_power", float, 1.0, "optimizer",
           "class_weights auto: a class weighs as one over its number of pictures to this power", ge=0, le=4,
           commands=_TRAIN),
    Option("ema_decay", float, 0.0, "optimizer",
           "keep an exponential moving average of the weights as well, with this decay, such as 0.9998; 0: none",
           ge=0, lt=1, commands=_TRAIN),
    Option("teacher", str, "", "optimizer",
           "checkpoint of a network with the same classes and input, whose probabilities are learnt beside the labels",
           commands=_TRAIN, asks=True, is_path=True),
    Option("teacher_temperature", float, 4.0, "optimizer",
           "teacher: what both networks' logits are divided by before they are compared", gt=0, le=1000,
           commands=_TRAIN),
    Option("teacher_weight", float, 0.9, "optimizer", "teacher: the share of the loss that is by the teacher", gt=0,
           le=1, commands=_TRAIN),
    Option("grad_clip_norm", float, 0.0, "optimizer", "largest global norm of the gradient; 0: no clipping", ge=0,
           commands=_TRAIN),
    Option("grad_accumulation_steps", int, 1, "optimizer", "batches whose gradients make one update", ge=1,
           commands=_TRAIN),
    Option("amp_level", str, "auto", "optimizer", "mixed precision; auto: O3 on Ascend, O0 elsewhere",
           ("auto", "O0", "O2", "O3"), commands=_TRAIN),
    Option("loss_scale_type", str, "auto", "optimizer", "loss scaling; auto: none for O0, else dynamic",
           ("auto", "none", "fixed", "dynamic"), commands=_TRAIN),
    Option("loss_scale", float, 1024.0, "optimizer", "the fixed loss scale, or the first dynamic one", gt=0,
           commands=_TRAIN),
    Option("device_target", str, "auto", "run", "where to run; auto: the best this MindSpore supports",
           ("auto", "Ascend", "GPU", "CPU")),
    Option("device_id", int, 0, "run", "which of the machine's devices", ge=0),
    Option("cpu_kernels", str, "auto", "run",
           "on a CPU, compute with this project's C++ kernels, which are compiled on first use: the same results, "
           "faster, in less memory; auto: where they can be used", ("auto", "on", "off"), commands=_CPU),
    Option("cpu_precision", str, "fp32", "run",
           "cpu_kernels: numbers that convolutions multiply; bf16: on a CPU with AMX or AVX512_BF16",
           ("fp32", "bf16"), commands=_CPU),
    Option("graph_cache", str, "auto", "run",
           "keep compiled graphs, so that the next start of the same network takes seconds; auto: on a CPU",
           ("auto", "on", "off"), commands=_CPU),
    Option("is_distributed", int, 1, "run", "1: join the launcher's group if a launcher started this process; "
           "0: run alone", (0, 1), commands=_GROUP),
    Option("rank", int, 0, "run",
           "this process's number in its group: what is expected of the launcher, which decides it", ge=0,
           commands=_GROUP),
    Option("group_size", int, 1, "run",
           "processes in the group: what is expected of the launcher, which decides it", ge=1, commands=_GROUP),
    Option("sync_bn_stats", bool, False, "run",
           "average batch normalisation's running statistics over the ranks before each evaluation and checkpoint, "
           "instead of taking rank 0's", commands=_TRAIN),
    Option("sync_batch_norm", bool, False, "run",
           "normalise with the statistics of all ranks' images, not of each rank's own", commands=_TRAIN),
    Option("seed", int, 1, "run", "seed of everything random", ge=0, commands=_TRAIN),
    Option("deterministic", bool, True, "run", "the same seed gives the same bits", commands=_TRAIN),
    Option("log_interval", int, 100, "run", "steps between log lines", ge=1, commands=_TRAIN),
    Option("save_ckpt_path", str, "output", "run", "folder in which each run makes its own, named after the time",
           commands=_RUNS, asks=True, is_path=True),
    Option("ckpt_interval", int, 0, "run", "steps between checkpoints besides the one at each epoch's end; 0: none",
           ge=0, commands=_TRAIN),
    Option("keep_checkpoint_max", int, 5, "run", "how many of the newest checkpoints to keep", ge=1, commands=_TRAIN),
    Option("is_save_on_master", bool, True, "run", "save on rank 0 only, not on every rank", commands=_TRAIN),
    Option("eval_interval", int, 1, "run", "epochs between evaluations", ge=1, commands=_TRAIN),
    Option("best_metric", str, "auto", "run",
           "what best.ckpt is best in; auto: top1, of multilabel auroc",
           ("auto", "top1", "balanced_accuracy", "macro_f1", "auroc", "loss"), commands=_TRAIN),
    Option("patience", int, 0, "run", "end after so many evaluations with no better best_metric; 0: not", ge=0,
           commands=_TRAIN),
    Option("max_hours", float, 0.0, "run",
           "end after so many hours of training, those before a resumption counted in; 0: not", ge=0, commands=_TRAIN),
    Option("train_pretrained", str, "", "start", "weights to begin with: a checkpoint, or by name torchvision/NET, "
           "timm/NAME or hf://OWNER/REPO, from the Hugging Face hub", commands=_TRAIN,
           asks=True, is_path=True),
    Option("reset_head", bool, False, "start", "train_pretrained: begin with a new classifier", commands=_TRAIN,
           asks=True),
    Option("resume", str, "", "start", "run folder or checkpoint to go on from; auto: the newest valid one",
           commands=_TRAIN, saved=False, asks=True, is_path=True),
    Option("dry_run", bool, False, "start", "run a few steps and say how long training will take, its memory and the "
           "largest batch that fits; nothing is kept", commands=_TRAIN, saved=False, in_yaml=False, asks=True),
    Option("lr_find", bool, False, "start", "a range test instead of training: the loss over growing learning rates, "
           "a picture of it, and the rate at which it falls fastest", commands=_TRAIN, saved=False, in_yaml=False,
           asks=True),
    Option("config_path", str, "", "start", "YAML file to use instead of the network's", saved=False, in_yaml=False,
           is_path=True),
    Option("debug", bool, False, "start", "show the traceback of an error", saved=False, in_yaml=False),
    Option("ckpt_files", str, "", "evaluation", "checkpoint to evaluate, or a folder: all in it, newest first; for "
           "eval_onnx.py the model", commands=_EVAL + _ONNX, asks=True, is_path=True),
    Option("engine", str, "", "evaluation", "instead of ckpt_files: a file of the CPU engine to evaluate",
           commands=_EVAL, asks=True, is_path=True),
    Option("weights", str, "auto", "evaluation",
           "of a run with ema_decay: raw, the last update's, or ema, their average; auto: as the checkpoint says",
           ("auto", "raw", "ema"), commands=_EVAL + _EXPORT + _PREDICT),
    Option("predictions", str, "", "evaluation", "CSV file to write each image's label and top-5 to",
           commands=_EVAL + _ONNX, asks=True, is_path=True),
    Option("report", str, "", "evaluation", "HTML file to write: accuracy, confusions, calibration, the worst mistakes "
           "with heat maps, a model card", commands=_EVAL, asks=True, is_path=True),
    Option("calibrate", bool, False, "evaluation",
           "fit a temperature on the held-out images, so that probabilities mean what they say, and write the "
           "checkpoint that has it to the results", commands=_EVAL, asks=True),
    Option("tta", bool, False, "evaluation",
           "answer with the mean of the probabilities of each image and its mirror image: better, in twice the time",
           commands=_EVAL + _ONNX + _PREDICT, asks=True),
    Option("model", str, "", "prediction", "checkpoint or ONNX model that answers", commands=_PREDICT, saved=False,
           asks=True, is_path=True),
    Option("images", str, "", "prediction", "a picture or a folder of pictures: print what they show",
           commands=_ONNX + _PREDICT, asks=True, is_path=True),
    Option("top", int, 5, "prediction", "how many of the most probable classes to name", ge=1, commands=_PREDICT,
           saved=False, asks=True),
    Option("output", str, "", "prediction", "file to write the answers to: .csv or .json", commands=_PREDICT,
           saved=False, asks=True, is_path=True),
    Option("heatmap", str, "", "prediction", "folder to write a picture to for each image: where the network sees its "
           "answer (Grad-CAM)", commands=_PREDICT, saved=False, asks=True, is_path=True),
    Option("unknown_below", float, 0.0, "prediction", "answer `unknown` where no class has this probability", ge=0,
           le=1, commands=_PREDICT, saved=False, asks=True),
    Option("ckpt_file", str, "", "export", "checkpoint to export", commands=_EXPORT, asks=True, is_path=True),
    Option("file_format", str, "MINDIR", "export", "AIR only on Ascend; ENGINE: for this project's own CPU engine",
           ("AIR", "MINDIR", "ONNX", "ENGINE"), commands=_EXPORT, asks=True),
    Option("file_name", str, "", "export", "the model's path, with its ending or without; empty: the network's",
           commands=_EXPORT, asks=True, is_path=True),
    Option("batch_size", int, 1, "export", "images the model takes at once; 0: any number, as of ONNX and ENGINE",
           ge=0, commands=_EXPORT, asks=True),
    Option("mindir_version", int, 3, "export", "1 for MindSpore Lite 2.0", (1, 3), commands=_EXPORT, asks=True),
    Option("export_fp16", bool, False, "export", "compute in float16", commands=_EXPORT, asks=True),
    Option("quantize", bool, False, "export", "ONNX and ENGINE: compute in INT8, with ranges measured on training "
           "images", commands=_EXPORT, asks=True),
    Option("include_preprocessing", bool, False, "export",
           "ONNX: the model takes decoded pictures of any size, uint8 (N, H, W, 3), and gives probabilities",
           commands=_EXPORT, asks=True),
    Option("calibration_images", int, 256, "export", "quantize: how many training images to measure", ge=1,
           commands=_EXPORT, asks=True),
    Option("enable_modelarts", bool, False, "modelarts",
           "copy data in and results out, between the URLs and the paths below", commands=_CLOUD, saved=False),
    Option("data_url", str, "", "modelarts", "where the data set lies", commands=_CLOUD, saved=False, is_path=True),
    Option("train_url", str, "", "modelarts", "where the results go", commands=_CLOUD, saved=False, is_path=True),
    Option("checkpoint_url", str, "", "modelarts", "where checkpoints to begin with lie", commands=_CLOUD,
           saved=False, is_path=True),
    Option("data_path", str, "/cache/data", "modelarts", "the folder that data_url is copied to", commands=_CLOUD,
           saved=False, is_path=True),
    Option("output_path", str, "/cache/train", "modelarts",
           "the folder that is copied to train_url; relative paths of results are inside it", commands=_CLOUD,
           saved=False, is_path=True),
    Option("load_path", str, "/cache/checkpoint_path", "modelarts", "the folder that checkpoint_url is copied to",
           commands=_CLOUD, saved=False, is_path=True),
    Option("upload_interval", float, 600.0, "modelarts",
           "seconds between copies to train_url while the command runs; 0: only at its end", ge=0, commands=_CLOUD,
           saved=False),
)  # fmt: skip

BY_NAME: dict[str, Option] = {option.name: option for option in OPTIONS}


def network_yaml(net: str) -> str:
    """Name of the network's own YAML file, at the top of the repository."""
    return "densenet100_config.yaml" if net == "densenet100" else "densenet121_config.yaml"


def usual_image_size(net: str) -> int:
    """The input's size when nothing says otherwise; 0: the data set's usual."""
    return 32 if net == "densenet100" else 0


def usual_dataset(net: str) -> str:
    """The data set a network is trained on when nothing says otherwise."""
    return "cifar10" if net == "densenet100" else "imagenet"
