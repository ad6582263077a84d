"""AIPP, what Ascend's hardware does to pictures before a model: its fields, as text, and their arithmetic in NumPy.

Fields and formulas are those of the ATC guide of CANN 8 ("AIPP enabling": configuration file template, CSC
configuration, normalization configuration). The order is fixed: crop, swap of channels, conversion of colours,
(pixel - mean_chn - min_chn) * var_reci_chn. Resizing is a reserved field that no device has.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

FORMATS = {
    # how pictures arrive: input_format, whether red and blue or U and V are swapped, bytes of a pixel
    "rgb": ("RGB888_U8", False, 3.0),
    "bgr": ("RGB888_U8", True, 3.0),
    "nv12": ("YUV420SP_U8", False, 1.5),
    "nv21": ("YUV420SP_U8", True, 1.5),
    "grey": ("YUV400_U8", False, 1.0),
}
IS_YUV = ("nv12", "nv21")
# From YUV to RGB: three rows in 1/256, and what is subtracted from Y, U and V first.
COLOURS = {
    "jpeg": ((256, 0, 359, 256, -88, -183, 256, 454, 0), (0, 128, 128)),
    "bt601": ((298, 0, 409, 298, -100, -208, 298, 516, 0), (16, 128, 128)),
    "bt709": ((298, 0, 459, 298, -55, -136, 298, 541, 0), (16, 128, 128)),
}
MAX_SIDE = 4096


@dataclass(frozen=True)
class Aipp:
    """One static `aipp_op`.

    source: how pictures arrive, one of FORMATS. side: of the square picture, in pixels; crop: of the centre that is
    kept, starting at `start`. colours: of COLOURS, for YUV. mean: subtracted, 0...255 in each channel; factor: what the
    rest is multiplied with.
    """

    source: str
    side: int
    crop: int
    start: int
    colours: str
    mean: tuple[float, ...]
    factor: tuple[float, ...]

    def fields(self) -> dict[str, str]:
        """The fields of the file, in its order.

        mean_chn holds whole numbers and min_chn float16, both are subtracted: the fraction goes into the second, where
        float16 keeps 3 digits of it and not of 123.675.
        """
        input_format, swap, _ = FORMATS[self.source]
        fields = {
            "aipp_mode": "static",
            "related_input_rank": "0",
            "input_format": input_format,
            "src_image_size_w": str(self.side),
            "src_image_size_h": str(self.side),
            "crop": _flag(self.crop != self.side),
        }
        if self.crop != self.side:
            fields |= {f"load_start_pos_{axis}": str(self.start) for axis in "wh"}
            fields |= {f"crop_size_{axis}": str(self.crop) for axis in "wh"}
        fields["csc_switch"] = _flag(self.source in IS_YUV)
        fields["rbuv_swap_switch"] = _flag(swap)
        if self.source in IS_YUV:
            matrix, bias = COLOURS[self.colours]
            fields |= {f"matrix_r{i // 3}c{i % 3}": str(number) for i, number in enumerate(matrix)}
            fields |= {f"input_bias_{i}": str(number) for i, number in enumerate(bias)}
        for i, (mean, factor) in enumerate(zip(self.mean, self.factor, strict=True)):
            fields[f"mean_chn_{i}"] = str(int(mean))
            fields[f"min_chn_{i}"] = f"{mean - int(mean):.6f}"
            fields[f"var_reci_chn_{i}"] = f"{factor:.10f}"
        return fields


def text_of(fields: Mapping[str, str], remarks: tuple[str, ...] = ()) -> str:
    """The configuration file: remarks, then one aipp_op."""
    return "".join([*(f"# {line}\n" for line in remarks), "aipp_op {\n",
                    *(f"    {name}: {value}\n" for name, value in fields.items()), "}\n"])  # fmt: skip


def fields_of(text: str) -> dict[str, str]:
    """The fields in a configuration file of one aipp_op, as `text_of` writes it."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def simulate(fields: Mapping[str, str], picture: np.ndarray) -> np.ndarray:
    """What AIPP makes of one picture: (C, H, W) float16, as the model gets it.

    fields: of a static `aipp_op`. picture: uint8, (H, W, 3) for RGB888_U8, (H * 3 / 2, W) for YUV420SP_U8 (Y, then U
    and V of each 2 x 2 pixels in turn), (H, W) for YUV400_U8. Numbers are float16 wherever the guide says so.
    """
    height, width = int(fields["src_image_size_h"]), int(fields["src_image_size_w"])
    pixels = _planes(fields["input_format"], picture, height, width).astype(np.int32)
    if fields["crop"] == "true":
        top, left = int(fields["load_start_pos_h"]), int(fields["load_start_pos_w"])
        pixels = pixels[top : top + int(fields["crop_size_h"]), left : left + int(fields["crop_size_w"])]
    if fields["rbuv_swap_switch"] == "true":
        swapped = [2, 1, 0] if fields["input_format"] == "RGB888_U8" else [0, 2, 1]
        pixels = pixels[:, :, swapped]
    if fields["csc_switch"] == "true":
        matrix = np.array([[int(fields[f"matrix_r{row}c{column}"]) for column in range(3)] for row in range(3)])
        bias = np.array([int(fields[f"input_bias_{i}"]) for i in range(3)])
        pixels = np.clip((pixels - bias) @ matrix.T >> 8, 0, 255)
    channels = [
        (np.float16(pixels[:, :, i] - int(fields[f"mean_chn_{i}"])) - np.float16(fields[f"min_chn_{i}"]))
        * np.float16(fields[f"var_reci_chn_{i}"])
        for i in range(pixels.shape[2])
    ]
    return np.stack(channels)


def _planes(input_format: str, picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W, C) uint8. AIPP repeats U and V for their four pixels."""
    if input_format == "RGB888_U8":
        return picture.reshape(height, width, 3)
    if input_format == "YUV400_U8":
        return picture.reshape(height, width, 1)
    luma, chroma = picture[:height], picture[height:].reshape(height // 2, width // 2, 2)
    return np.dstack([luma, chroma.repeat(2, axis=0).repeat(2, axis=1)])


def _flag(value: bool) -> str:
    return "true" if value else "false"
