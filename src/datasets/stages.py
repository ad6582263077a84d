"""How far a picture's way to the network is the same in every epoch: up to there a cache can keep it.

What is random in MindSpore's pipeline cuts an area while it decodes (`RandomCropDecodeResize`), with other bits at the
area's edges than of the whole decoded picture: there the files themselves are all that can be kept.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from PIL import Image

from src.datasets.augmentation import Changes
from src.datasets.decoding import decoded_pixels
from src.datasets.geometry import as_shown, evaluation_pixels, picture_of, whole_picture
from src.datasets.preprocessing import Preprocessing
from src.datasets.preprocessing_choices import DECODED, FILES, RESIZED, SHIFTED, WHOLE
from src.datasets.shown import differs_as_shown
from src.datasets.source import Source
from src.utils.errors import ReportedError

_OPERATORS, _PILLOW = "mindspore", "pillow"
_LONGER = 32  # bytes that what is decoded may be longer than the file: see `image_check.decodable`


@dataclass(frozen=True)
class Stage:
    """form: one of FORMS; RESIZED: the evaluation's of `preprocessing` before it is normalised. decoder: whose bits
    these are, `mindspore` or `pillow`; of damaged files they may differ.
    """

    form: str
    preprocessing: Preprocessing
    decoder: str = _PILLOW

    def make(self, data: np.ndarray) -> np.ndarray:
        """What is kept of a checked file's bytes, uint8 (length,). Raises what the decoders raise."""
        preprocessing = self.preprocessing
        if self.form == FILES:
            return data
        if preprocessing.antialias:
            picture = picture_of(data, preprocessing, FILES)
            return np.asarray(picture) if self.form == DECODED else evaluation_pixels(picture, preprocessing)
        if self.decoder == _PILLOW:
            pixels = decoded_pixels(data, preprocessing.pixels)
            return pixels if self.form == DECODED else squashed(pixels, preprocessing)
        from mindspore.dataset import vision

        shown = as_shown(data) if preprocessing.pixels == "shown" and differs_as_shown(data) else data
        return squashed(vision.Decode()(shown), preprocessing)

    def most_bytes(self, file_size: int, content: Callable[[], bytes]) -> int:
        """How many bytes that is at most, of a file that was not decoded yet; content() reads it, for its header."""
        if self.form == FILES:
            return file_size + _LONGER
        grey = self.preprocessing.input_channels == 1
        if self.form == RESIZED:
            return self.preprocessing.image_size**2 * (4 if grey else 3)
        try:
            with Image.open(BytesIO(content()), formats=("JPEG", "PNG", "BMP", "TIFF")) as image:
                return image.width * image.height * ((4 if image.mode.startswith("I") else 1) if grey else 3)
        except ReportedError:
            raise
        except Exception:  # whatever damaged bytes lead Pillow to; the picture is named when it is decoded
            return 0

    def identity(self) -> str:
        """A text that tells the stage from others."""
        geometry = {key: value for key, value in self.preprocessing.to_dict().items() if key not in ("mean", "std")}
        return json.dumps([self.form, self.decoder, self.preprocessing.input_channels, geometry])

    def in_words(self) -> str:
        """For a line of the log."""
        if self.form == FILES:
            return "as files, of which each epoch decodes other areas"
        if self.form == DECODED:
            return "decoded, of which each epoch resizes other areas"
        return f"decoded and resized to {self.preprocessing.image_size} x {self.preprocessing.image_size}"


def evaluation_stage(preprocessing: Preprocessing, form: str) -> Stage | None:
    """That of `evaluation_batches` of pictures in `form` (see `Source`); None for those that are pixels anyway."""
    if form != FILES:
        return None
    return Stage(RESIZED, preprocessing, _PILLOW if preprocessing.antialias else _OPERATORS)


def training_stage(preprocessing: Preprocessing, form: str, changes: Changes, streams: str) -> Stage | None:
    """That of `training_batches` whose pictures are changed as `changes` says; streams: see `Augmentation`."""
    if form != FILES:
        return None
    decoder = _PILLOW if preprocessing.antialias or streams == "image" else _OPERATORS
    if changes.place == WHOLE:
        return Stage(RESIZED, preprocessing, decoder)
    if changes.place == SHIFTED:
        return Stage(RESIZED, whole_picture(preprocessing), decoder)
    of_any_size = whole_picture(preprocessing.at(1))
    return Stage(DECODED if decoder == _PILLOW else FILES, of_any_size, decoder)


def as_kept(source: Source, stage: Stage | None) -> Source:
    """`source` with the pictures as a cache keeps them at `stage`; itself where none does."""
    read = source.kept.get(stage)
    return source if read is None else replace(source, read=read, form=stage.form, kept={})


def squashed(pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """`pixels` (H, W, 3) resized to a square and its centre cut by MindSpore's operators: (S, S, 3)."""
    from mindspore.dataset import vision

    side, size = preprocessing.resized_to, preprocessing.image_size
    if pixels.shape[:2] != (side, side):
        pixels = vision.Resize((side, side))(pixels)
    return pixels if side == size else vision.CenterCrop(size)(pixels)
