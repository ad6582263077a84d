"""How far a picture's way to the network is the same in every epoch: up to there a cache can keep it.

What is random in MindSpore's pipeline cuts an area while it decodes (`RandomCropDecodeResize`), with other bits at the
area's edges than of the whole decoded picture: there the files themselves are all that can be kept.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from src.datasets.decoding import decoded_pixels
from src.datasets.geometry import as_shown, evaluation_pixels, picture_of, whole_picture
from src.datasets.preprocessing import Preprocessing, is_shifted
from src.datasets.preprocessing_choices import DECODED, FILES, RESIZED
from src.datasets.shown import differs_as_shown
from src.utils.errors import ReportedError

_OPERATORS, _PILLOW = "mindspore", "pillow"
_LONGER = 32  # bytes that what is decoded may be longer than the file: see `image_check.decodable`


@dataclass(frozen=True)
class Stage:
    """kind: one of KEPT: FILES: uint8 (length,); DECODED: uint8 (H, W, 3), of grey (H, W), of 16 bits float32 (H, W);
    RESIZED: the evaluation's of `preprocessing` before it is normalised, uint8 (S, S, 3), of grey float32 (S, S, 1).

    decoder: whose bits these are, `mindspore` or `pillow`; of damaged files they may differ.
    """

    kind: str
    preprocessing: Preprocessing
    decoder: str = _PILLOW

    def make(self, data: np.ndarray) -> np.ndarray:
        """What is kept of a checked file's bytes, uint8 (length,). Raises what the decoders raise."""
        preprocessing = self.preprocessing
        if self.kind == FILES:
            return data
        if preprocessing.antialias:
            picture = picture_of(data, preprocessing, encoded=True)
            return np.asarray(picture) if self.kind == DECODED else evaluation_pixels(picture, preprocessing)
        if self.decoder == _PILLOW:
            pixels = decoded_pixels(data, preprocessing.pixels)
            return pixels if self.kind == DECODED else squashed(pixels, preprocessing)
        from mindspore.dataset import vision

        shown = as_shown(data) if preprocessing.pixels == "shown" and differs_as_shown(data) else data
        return squashed(vision.Decode()(shown), preprocessing)

    def most_bytes(self, file_size: int, content: Callable[[], bytes]) -> int:
        """How many bytes that is at most, of a file that was not decoded yet; content() reads it, for its header."""
        if self.kind == FILES:
            return file_size + _LONGER
        grey = self.preprocessing.input_channels == 1
        if self.kind == RESIZED:
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
        return json.dumps([self.kind, self.decoder, self.preprocessing.input_channels, geometry])

    def in_words(self) -> str:
        """For a line of the log."""
        if self.kind == FILES:
            return "as files, of which each epoch decodes other areas"
        if self.kind == DECODED:
            return "decoded, of which each epoch resizes other areas"
        return f"decoded and resized to {self.preprocessing.image_size} x {self.preprocessing.image_size}"


def evaluation_stage(preprocessing: Preprocessing, encoded: bool) -> Stage | None:
    """That of `evaluation_batches`; None for pictures that are pixels anyway."""
    if not encoded:
        return None
    return Stage(RESIZED, preprocessing, _PILLOW if preprocessing.antialias else _OPERATORS)


def training_stage(
    preprocessing: Preprocessing, encoded: bool, augmentation: str, streams: str, final_size: int = 0
) -> Stage | None:
    """That of `training_batches`, of which see the arguments; augmentation is not 'auto'."""
    if not encoded:
        return None
    decoder = _PILLOW if preprocessing.antialias or streams == "image" else _OPERATORS
    if augmentation == "none":
        return Stage(RESIZED, preprocessing, decoder)
    if is_shifted(final_size or preprocessing.image_size, encoded, augmentation):
        return Stage(RESIZED, whole_picture(preprocessing), decoder)
    of_any_size = whole_picture(preprocessing.at(1))
    return Stage(DECODED if decoder == _PILLOW else FILES, of_any_size, decoder)


def squashed(pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """`pixels` (H, W, 3) resized to a square and its centre cut by MindSpore's operators: (S, S, 3)."""
    from mindspore.dataset import vision

    side, size = preprocessing.resized_to, preprocessing.image_size
    if pixels.shape[:2] != (side, side):
        pixels = vision.Resize((side, side))(pixels)
    return pixels if side == size else vision.CenterCrop(size)(pixels)
