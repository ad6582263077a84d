"""How training changes pictures at random: what is asked for, and what that means for the pictures at hand."""

from dataclasses import dataclass

from src.datasets.preprocessing import SMALL, Preprocessing
from src.datasets.preprocessing_choices import AREA, FILES, SHIFTED, WHOLE
from src.datasets.source import Source


@dataclass(frozen=True)
class Changes:
    """What of each picture is random, decided for one data set and one run.

    place: WHOLE: nothing, it is the evaluation's; SHIFTED: the whole picture is moved, as the paper does on CIFAR
    (section 4.1); AREA: areas of any size are cut from it, as for ImageNet. mirrors: half of them. colours: brightness,
    contrast and saturation, of grey pictures the first two. policy, is_small: see `auto_augment_operators`.
    """

    place: str
    mirrors: bool = False
    colours: bool = False
    policy: str = "none"
    is_small: bool = False


@dataclass(frozen=True)
class Augmentation:
    """What is asked for.

    name: 'full' (place, mirror, colours), 'shift' (place, mirror), 'crop' (place), 'none', or 'auto', see
    `usual_augmentation`. auto_augment: see `auto_augment_operators`. random_erasing: the probability that a rectangle
    of a picture is erased, see `erase`. streams: whose random numbers they are: with 'worker' each worker of a rank has
    a stream, with 'image' each picture, by seed, epoch and picture alone (see `image_streams.py`).
    """

    name: str
    auto_augment: str = "none"
    random_erasing: float = 0.0
    streams: str = "worker"

    def changes_of(self, source: Source, preprocessing: Preprocessing) -> Changes:
        """What it means for the pictures of `source`.

        preprocessing: that of the end of training, whose size decides what is usual for small inputs.
        """
        name = self.name
        if name == "auto":
            name = usual_augmentation(source, preprocessing, self.auto_augment)
        is_small = source.form != FILES or preprocessing.image_size <= SMALL
        if name == "none":
            return Changes(WHOLE, policy=self.auto_augment, is_small=is_small)
        shifts = source.form != FILES or (name == "shift" and preprocessing.image_size <= SMALL)
        return Changes(
            SHIFTED if shifts else AREA,
            mirrors=name in ("full", "shift"),
            colours=name == "full",
            policy=self.auto_augment,
            is_small=is_small,
        )


def usual_augmentation(source: Source, preprocessing: Preprocessing, auto_augment: str = "none") -> str:
    """What --augmentation auto means: 'full', but 'crop' for digits, as a mirrored 2 is no 2, and 'shift' for small
    inputs from files, of which random areas from 0.08 leave too little, and where a policy changes colours.
    """
    if source.dataset == "digits":
        return "crop"
    if auto_augment != "none":
        return "shift"
    # Runs of before, whose pixels are as stored, go on as they began.
    shifts = source.form == FILES and preprocessing.image_size <= SMALL and preprocessing.pixels == "shown"
    return "shift" if shifts else "full"


def shift_padding(image_size: int) -> int:
    """Black pixels on each side, in which a picture is shifted: 4 for 32."""
    return round(4 * image_size / 32)
