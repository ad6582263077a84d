"""What is measured: the tasks, the variants that do each of them, and the work of one image. No framework here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.ablation import INGREDIENTS
from src.network.architecture import Architecture, architecture
from src.utils.errors import UsageError

TRAINING, INFERENCE, PIPELINE = "training", "inference", "pipeline"
REFERENCE = "torch-eager"  # what most ratios are to
_QUICK = {"growth_rate": 4, "block_config": (1, 1), "stem_features": 8}


@dataclass(frozen=True)
class Task:
    """One thing to do as often as possible: a training step, an inference, or making a training batch.

    The network is fed with (batch, 3, image_size, image_size). files: a pipeline decodes JPEGs instead of taking pixels
    from memory. about: what the variants differ in, "contention" or "recipe"; the empty text for who computes.
    """

    name: str
    kind: str
    net: str
    classes: int
    image_size: int
    batch: int
    files: bool = False
    about: str = ""
    quick: bool = False

    @property
    def arch(self) -> Architecture:
        """The network; with `quick` a tiny one with the same stem."""
        return architecture(self.net, self.classes, **(_QUICK if self.quick else {}))

    @property
    def flops_per_image(self) -> float:
        """Floating-point operations of the convolutions and the classifier; 0 for a pipeline.

        Two for each multiply-add as convolutions are defined, whatever a variant saves of them; the backward pass
        computes twice what the forward pass does.
        """
        passes = {TRAINING: 3, INFERENCE: 1, PIPELINE: 0}[self.kind]
        return 2.0 * passes * multiply_adds(self.arch, self.image_size)


@dataclass(frozen=True)
class Variant:
    """One way to do a task. module: the file of this package whose `build` makes its step, in a process of its own.

    precision: of the computation, fp32, bf16, int8. options: for `build`. plain_onednn: oneDNN may use all that the CPU
    has, as it comes, and not only AVX2, as src/__init__.py wants it for MindSpore. environment: of its process, which
    has one core if one_core is set. busy: processes that do nothing but compute, on each core beside it.
    """

    name: str
    module: str
    precision: str = "fp32"
    options: tuple[tuple[str, object], ...] = ()
    plain_onednn: bool = True
    environment: tuple[tuple[str, str], ...] = ()
    one_core: bool = False
    busy: int = 0

    @property
    def is_ours(self) -> bool:
        """Whether it is this project as its users run it."""
        return self.name.split("-")[0] in ("ours", "one", "engine", "recipe")


@dataclass(frozen=True)
class Job:
    """What a variant's module gets to build its step of. data: the folder of files that the processes share."""

    task: Task
    variant: Variant
    threads: int
    data: Path


def _ours(name: str, precision: str, kernels: str, one_core: bool = False) -> Variant:
    options = (("cpu_kernels", kernels), ("cpu_precision", precision))
    return Variant(name, "ours", precision, options, plain_onednn=False, one_core=one_core)


def _torch(name: str, precision: str, channels_last: bool = True, compiled: bool = False) -> Variant:
    # Freezing folds constants into what is compiled for inference, and does nothing to training.
    environment = (("TORCHINDUCTOR_FREEZING", "1"),) if compiled else ()
    options = (("channels_last", channels_last), ("compiled", compiled))
    return Variant(name, "torch_networks", precision, options, environment=environment)


_NETWORK_VARIANTS = (
    _ours("ours-fp32", "fp32", "on"),
    _ours("ours-bf16", "bf16", "on"),
    _ours("ours-plain", "fp32", "off"),
    Variant("mindspore", "ours", "fp32", (("cpu_kernels", "off"), ("cpu_precision", "fp32"))),
    _torch(REFERENCE, "fp32", channels_last=False),
    _torch("torch-channels-last", "fp32"),
    _torch("torch-bf16", "bf16"),
    _torch("torch-compile-fp32", "fp32", compiled=True),
    _torch("torch-compile-bf16", "bf16", compiled=True),
)
_TRAINING_VARIANTS = (
    *_NETWORK_VARIANTS,
    _ours("one-core-fp32", "fp32", "on", one_core=True),
    _ours("one-core-bf16", "bf16", "on", one_core=True),
)
_CONTENTION_VARIANTS = tuple(
    replace(variant, name=f"{variant.name}-busy-{busy}", busy=busy) if busy else variant
    for variant in _NETWORK_VARIANTS
    if variant.name in ("ours-fp32", REFERENCE)
    for busy in (0, 1, 2)
)
# What is measured of the ablation's ingredients: not the schedules, which cost nothing, nor growing sizes, which are
# other work; and what costs but is none of them.
_COSTING = ("base", "nesterov", "label_smooth", "ema", "mixup", "cutmix", "random_erasing", "trivial", "rand",
            "layer_lr_decay", "all")  # fmt: skip
_INGREDIENTS = {name: INGREDIENTS[name] for name in _COSTING} | {
    "autoaugment": {"auto_augment": "auto"},
    "streams": {"augmentation_streams": "image"},
    "freeze": {"freeze": "1"},
    "teacher": {"teacher": "{teacher}"},
}
_RECIPES = {
    f"recipe-{name.replace('_', '-')}": tuple(f"--{key}={value}" for key, value in keys.items())
    for name, keys in _INGREDIENTS.items()
}
RECIPE_BASE = "recipe-base"
_RECIPE_VARIANTS = tuple(
    Variant(name, "recipe", options=(("flags", flags),), plain_onednn=False) for name, flags in _RECIPES.items()
)
_VARIANTS = {
    TRAINING: _TRAINING_VARIANTS,
    "contention": _CONTENTION_VARIANTS,
    "recipe": _RECIPE_VARIANTS,
    INFERENCE: (
        *_NETWORK_VARIANTS,
        Variant("engine-fp32", "engine"),
        Variant("engine-bf16", "engine", "bf16"),
        Variant("engine-int8", "engine", "int8"),
        Variant("onnxruntime", "onnx_runtime"),
        Variant("openvino-fp32", "open_vino"),
        Variant("openvino-bf16", "open_vino", "bf16"),
        Variant("openvino-int8", "open_vino", "int8"),
    ),
    PIPELINE: (Variant("ours", "ours_pipeline", plain_onednn=False), Variant("torch-dataloader", "torch_pipeline")),
}
DESCRIPTIONS = {
    "ours-fp32": "this project, C++ kernels, float32",
    "ours-bf16": "this project, C++ kernels, bfloat16 products, float32 sums and weights",
    "ours-plain": "this project, cpu_kernels off",
    "one-core-fp32": "ours-fp32 on one core",
    "one-core-bf16": "ours-bf16 on one core",
    "mindspore": "the same network on MindSpore as it comes: its oneDNN unrestricted",
    REFERENCE: "PyTorch, torchvision's network, eager, float32",
    "ours-fp32-busy-1": "ours-fp32 beside one busy process a core",
    "ours-fp32-busy-2": "ours-fp32 beside two",
    "torch-eager-busy-1": "torch-eager beside one busy process a core",
    "torch-eager-busy-2": "torch-eager beside two",
    "torch-channels-last": "the same in channels_last",
    "torch-bf16": "the same in channels_last under bfloat16 autocast",
    "torch-compile-fp32": "torch.compile, channels_last, float32",
    "torch-compile-bf16": "torch.compile, channels_last, bfloat16 autocast",
    "engine-fp32": "this project's CPU engine, without MindSpore, float32",
    "engine-bf16": "the same, bfloat16 products",
    "engine-int8": "the same, INT8",
    "onnxruntime": "this project's ONNX export in ONNX Runtime",
    "openvino-fp32": "the same export in OpenVINO, float32",
    "openvino-bf16": "the same export in OpenVINO, bfloat16",
    "openvino-int8": "this project's INT8 ONNX export in OpenVINO",
    "ours": "this project's training pipeline",
    "torch-dataloader": "torchvision's transforms on Pillow images in a DataLoader with a worker a core",
    RECIPE_BASE: "train.py's step of C++ kernels, with its data pipeline",
    **{name: f"the same with {' '.join(flags)}" for name, flags in _RECIPES.items() if flags},
}


_TASKS = (
    Task("densenet100-training", TRAINING, "densenet100", 10, 32, 64),
    Task("densenet121-training", TRAINING, "densenet121", 1000, 224, 32),
    Task("densenet100-inference-1", INFERENCE, "densenet100", 10, 32, 1),
    Task("densenet121-inference-1", INFERENCE, "densenet121", 1000, 224, 1),
    Task("densenet100-inference-32", INFERENCE, "densenet100", 10, 32, 32),
    Task("densenet121-inference-32", INFERENCE, "densenet121", 1000, 224, 32),
    Task("densenet100-contention", TRAINING, "densenet100", 10, 32, 64, about="contention"),
    Task("densenet100-recipe", TRAINING, "densenet100", 10, 32, 64, about="recipe"),
    Task("pipeline-cifar", PIPELINE, "densenet100", 10, 32, 64),
    Task("pipeline-jpeg", PIPELINE, "densenet121", 2, 224, 32, files=True),
)


def tasks(quick: bool) -> tuple[Task, ...]:
    """All of them in the order of the report; with `quick` those of the networks as small as they can be."""
    if not quick:
        return _TASKS
    return tuple(
        task
        if task.kind == PIPELINE
        else replace(task, classes=10, image_size=32, batch=min(task.batch, 4), quick=True)
        for task in _TASKS
    )


def task_named(name: str, quick: bool) -> Task:
    """The one with this name."""
    return next(task for task in tasks(quick) if task.name == name)


def variants(task: Task) -> tuple[Variant, ...]:
    """All that can do `task`."""
    return _VARIANTS[task.about or task.kind]


def variant_named(task: Task, name: str) -> Variant:
    """The one with this name that does `task`."""
    return next(variant for variant in variants(task) if variant.name == name)


def select(only: str, quick: bool) -> list[tuple[Task, list[Variant]]]:
    """The tasks with their variants that `only` names, all for the empty text.

    only: words with commas between them, each the name of a task or a variant, or some of a name's words as they stand
    there, such as training, densenet121, ours or torch-compile. Words for tasks alone leave all variants, and the other
    way round. Raises UsageError for a word that names nothing, and for words that have nothing in common.
    """
    words = only.split(",") if only else []
    all_tasks = tasks(quick)
    all_variants = {variant.name for task in all_tasks for variant in variants(task)}
    for_tasks = [word for word in words if any(_names(word, task.name) for task in all_tasks)]
    for_variants = [word for word in words if any(_names(word, name) for name in all_variants)]
    if unknown := [word for word in words if word not in for_tasks and word not in for_variants]:
        raise UsageError(
            f"--only has {unknown[0]!r}, which names nothing; there are the tasks "
            f"{', '.join(task.name for task in all_tasks)} and the variants {', '.join(DESCRIPTIONS)}"
        )
    chosen = []
    for task in all_tasks:
        if for_tasks and not any(_names(word, task.name) for word in for_tasks):
            continue
        found = [v for v in variants(task) if not for_variants or any(_names(word, v.name) for word in for_variants)]
        if found:
            chosen.append((task, found))
    if not chosen:
        raise UsageError(f"--only is {only!r}, but none of these variants does any of these tasks; name others")
    return chosen


def _names(word: str, name: str) -> bool:
    return bool(word) and f"-{word}-" in f"-{name}-"


def multiply_adds(arch: Architecture, image_size: int) -> int:
    """Of the convolutions and the classifier for one image, forward, as the paper orders them.

    A transition counts as convolution, then pool, though this project pools first, which is a quarter of the work.
    """
    large = arch.stem == "conv7x7"
    size = -(-image_size // 2) if large else image_size
    channels, width = arch.stem_features, arch.bn_size * arch.growth_rate
    total = 3 * (49 if large else 9) * channels * size**2
    if large:
        size = -(-size // 2)
    for block, layers in enumerate(arch.block_config, 1):
        for _ in range(layers):
            total += (channels * width + 9 * width * arch.growth_rate) * size**2
            channels += arch.growth_rate
        if block < len(arch.block_config):
            out_channels = max(1, int(channels * arch.compression))
            total += channels * out_channels * size**2
            channels, size = out_channels, size // 2
    return total + channels * arch.num_classes


def known_words() -> Sequence[str]:
    """All names that --only takes, for its help."""
    return (*(task.name for task in tasks(False)), *DESCRIPTIONS)
