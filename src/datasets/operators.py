"""A picture's way to the network's input as MindSpore's C++ operators; `geometry.py` does before what they cannot."""

from mindspore.dataset import vision

from src.datasets.augmentation import Changes, shift_padding
from src.datasets.auto_augment import auto_augment_operators
from src.datasets.preprocessing import Preprocessing
from src.datasets.preprocessing_choices import AREA, FILES, RESIZED, WHOLE


def eval_transforms(preprocessing: Preprocessing, form: str) -> list:
    """Operators from one picture in `form` (see `Source`) to float32 (input_channels, S, S).

    With `antialias` they get what `geometry.evaluation_pixels` made: (S, S, input_channels), as it is of RESIZED ones.
    """
    return [*_evaluation_geometry(preprocessing, form), *normalisation(preprocessing)]


def train_transforms(preprocessing: Preprocessing, form: str, changes: Changes) -> list:
    """As `eval_transforms`, with random changes; of `antialias` `geometry.training_pixels` does all but the colours."""
    colours = []
    if changes.colours and preprocessing.input_channels == 3:
        colours = [vision.RandomColorAdjust(brightness=0.4, contrast=0.4, saturation=0.4)]
    policy = policy_operators(preprocessing, changes)
    geometry = _random_geometry(preprocessing, form, changes)
    return [*geometry, *policy, *colours, *normalisation(preprocessing)]


def policy_operators(preprocessing: Preprocessing, changes: Changes) -> list:
    """`auto_augment_operators` for these pictures."""
    return auto_augment_operators(changes.policy, is_small=changes.is_small, channels=preprocessing.input_channels)


def normalisation(preprocessing: Preprocessing) -> list:
    """The operators from pixels, (S, S, input_channels) from 0 to 255, to float32 (input_channels, S, S)."""
    mean = [255 * value for value in preprocessing.mean]
    std = [255 * value for value in preprocessing.std]
    return [vision.Normalize(mean, std), vision.HWC2CHW()]


def _evaluation_geometry(preprocessing: Preprocessing, form: str) -> list:
    if preprocessing.antialias or form == RESIZED:
        return []
    return [*_squashed(form, preprocessing.resized_to), vision.CenterCrop(preprocessing.image_size)]


def _random_geometry(preprocessing: Preprocessing, form: str, changes: Changes) -> list:
    if changes.place == WHOLE:
        return _evaluation_geometry(preprocessing, form)
    if preprocessing.antialias:
        return []
    size = preprocessing.image_size
    if changes.place == AREA:
        moved = [vision.RandomCropDecodeResize(size, scale=(0.08, 1.0), ratio=(0.75, 1.333))]
    else:
        whole = [] if form == RESIZED else _squashed(form, size)
        moved = [*whole, vision.RandomCrop(size, padding=shift_padding(size))]
    return [*moved, vision.RandomHorizontalFlip(0.5)] if changes.mirrors else moved


def _squashed(form: str, side: int) -> list:
    decode = [vision.Decode()] if form == FILES else []
    return [*decode, vision.Resize((side, side))]
