"""What happens to a picture on its way into the network: one description for training, evaluation and every export.

`Preprocessing` is saved with each checkpoint and each exported model; `eval_transforms` and `train_transforms` turn it
into MindSpore's C++ operators. A Python operator among them would cost most of the pipeline's speed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from reprlib import repr as repr_of_some

from mindspore.dataset import vision

from src.utils.errors import ReportedError

AUGMENTATIONS = ("auto", "full", "shift", "crop", "none")

# Statistics of the training images, per channel, in units where white is 1.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
DIGITS_MEAN, DIGITS_STD = (0.3054, 0.3054, 0.3054), (0.3237, 0.3237, 0.3237)


@dataclass(frozen=True)
class Preprocessing:
    """From an RGB picture of any size to the network's input (3, image_size, image_size).

    The whole picture is squashed to resize x resize (bilinear, no anti-aliasing), its centre of image_size x image_size
    is kept, divided by 255, and each channel has its mean subtracted and is divided by its std. `resize` 0 stands for
    image_size: nothing is cropped.
    """

    image_size: int
    resize: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def to_dict(self) -> dict:
        """Return the description in plain types, for JSON."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    def at(self, image_size: int) -> "Preprocessing":
        """Return the same for another input size; the share of the picture that is kept stays."""
        return replace(self, image_size=image_size, resize=round(self.resize * image_size / self.image_size))

    @classmethod
    def from_dict(cls, values: object) -> "Preprocessing":
        """Read what `to_dict` wrote. `values` comes from a file nobody vouches for: anything odd is a ReportedError."""
        names = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping) or sorted(values, key=str) != sorted(names):
            raise ReportedError(f"the preprocessing should hold {', '.join(names)}, found {_shown(values)}")
        for name, smallest in (("image_size", 1), ("resize", 0)):
            if type(values[name]) is not int or not smallest <= values[name] <= 8192:
                raise ReportedError(
                    f"the preprocessing's {name} should be an integer from {smallest} to 8192, "
                    f"found {_shown(values[name])}"
                )
        if 0 < values["resize"] < values["image_size"]:
            raise ReportedError(
                f"the preprocessing's resize should be 0 or at least image_size {values['image_size']}, "
                f"found {values['resize']}"
            )
        for name in ("mean", "std"):
            if not _is_channel_triple(values[name]) or (name == "std" and min(values[name]) <= 0):
                raise ReportedError(
                    f"the preprocessing's {name} should be three numbers between 0 and 1, found {_shown(values[name])}"
                )
        return cls(values["image_size"], values["resize"], tuple(values["mean"]), tuple(values["std"]))


def _shown(value: object) -> str:
    return repr_of_some(value)[:100]


def _is_channel_triple(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(type(number) in (int, float) and 0 <= number <= 1 for number in value)
    )


def default_preprocessing(dataset: str, image_size: int = 0) -> Preprocessing:
    """Return a data set's own preprocessing; image_size 0 is its own size (CIFAR-10 and digits 32, others 224).

    Photographs of any size are squashed to image_size * 256 / 224 before the centre crop, as 256x256 for 224.
    """
    if dataset == "cifar10":
        return Preprocessing(image_size or 32, 0, CIFAR10_MEAN, CIFAR10_STD)
    if dataset == "digits":
        return Preprocessing(image_size or 32, 0, DIGITS_MEAN, DIGITS_STD)
    image_size = image_size or 224
    return Preprocessing(image_size, round(image_size * 256 / 224), IMAGENET_MEAN, IMAGENET_STD)


def eval_transforms(preprocessing: Preprocessing, encoded: bool) -> list:
    """Operators from one picture, uint8 (H, W, 3) or a file's bytes (length,) if `encoded`, to float32 (3, S, S)."""
    resize = preprocessing.resize or preprocessing.image_size
    return [
        *([vision.Decode()] if encoded else []),
        vision.Resize((resize, resize)),
        vision.CenterCrop(preprocessing.image_size),
        *_normalise(preprocessing),
    ]


def train_transforms(preprocessing: Preprocessing, encoded: bool, augmentation: str) -> list:
    """As `eval_transforms`, at random: photographs (`encoded`) as for ImageNet, small pictures as for CIFAR-10.

    augmentation: 'full' (crop, mirror, colours), 'shift' (crop, mirror: the paper's for CIFAR, section 4.1), 'crop', or
    'none' (the evaluation's operators).
    """
    if augmentation == "none":
        return eval_transforms(preprocessing, encoded)
    size = preprocessing.image_size
    if encoded:
        crop = [vision.RandomCropDecodeResize(size, scale=(0.08, 1.0), ratio=(0.75, 1.333))]
    else:
        crop = [vision.Resize((size, size)), vision.RandomCrop(size, padding=round(4 * size / 32))]
    mirror = [vision.RandomHorizontalFlip(0.5)] if augmentation in ("full", "shift") else []
    colours = [vision.RandomColorAdjust(brightness=0.4, contrast=0.4, saturation=0.4)] if augmentation == "full" else []
    return [*crop, *mirror, *colours, *_normalise(preprocessing)]


def _normalise(preprocessing: Preprocessing) -> list:
    mean = [255 * value for value in preprocessing.mean]
    std = [255 * value for value in preprocessing.std]
    return [vision.Normalize(mean, std), vision.HWC2CHW()]
