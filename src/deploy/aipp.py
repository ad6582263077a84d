"""The AIPP configuration that gives an exported model its input on an Ascend: crop, colours, mean and std.

python -m src.deploy.aipp MODEL.json aipp.config
python -m src.deploy.aipp MODEL.json aipp.config --input nv12 --colours jpeg
python -m src.deploy.aipp MODEL.json aipp.config --mode dynamic

MODEL.json is what export.py writes beside a model. --input: how pictures arrive, rgb (the default), bgr (OpenCV's
order), nv12 or nv21 (YUV420SP, what DVPP decodes to), grey. --colours: which YUV, jpeg (the default), bt601 or bt709
(videos). --mode dynamic writes the file of a dynamic AIPP; what a program then has to set for each picture is in its
remarks.
AIPP cuts and normalises; it does not resize, turn or pad. Pictures have to arrive upright and resized. What AIPP would
need to be told of each picture (bicubic or other resizing than to a fixed square) is refused, unless --prepared says
that the program does all of it up to the square before the centre crop.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.datasets.preprocessing import Preprocessing
from src.deploy.aipp_fields import COLOURS, FORMATS, IS_YUV, MAX_SIDE, Aipp, fields_of, simulate, text_of
from src.deploy.manifest import read_description
from src.utils.arguments import Parser
from src.utils.errors import ReportedError, UsageError, run
from src.utils.files import require_new, write_new_text

STATIC, DYNAMIC = "static", "dynamic"
_LARGEST_DIFFERENCE = 1.0  # of 255, see `difference`


def main(argv: Sequence[str]) -> None:
    """Write the file as the command line `argv` says."""
    parser = Parser("python -m src.deploy.aipp MODEL.json aipp.config [FLAGS]", __doc__)
    parser.add_argument("manifest", type=Path, metavar="MODEL.json")
    parser.add_argument("config", type=Path, metavar="aipp.config")
    parser.add_argument("--input", choices=sorted(FORMATS))
    parser.add_argument("--colours", choices=sorted(COLOURS), default="jpeg")
    parser.add_argument("--mode", choices=(STATIC, DYNAMIC), default=STATIC)
    parser.add_argument("--prepared", action="store_true")
    asked = parser.parse_args(argv)
    require_new(asked.config)
    manifest = read_description(asked.manifest)
    preprocessing = manifest.preprocessing
    source = asked.input or ("grey" if len(preprocessing.mean) == 1 else "rgb")
    aipp = aipp_of(preprocessing, source, asked.colours, prepared=asked.prepared)
    text = text_of(aipp.fields(), remarks(aipp, preprocessing))
    largest = difference(fields_of(text), aipp, preprocessing)
    if largest > _LARGEST_DIFFERENCE:
        raise ReportedError(
            f"AIPP's arithmetic would differ by {largest:.2f} of 255 from the model's preprocessing; "
            "let your own program prepare the input"
        )
    if asked.mode == DYNAMIC:
        text = dynamic_text(aipp, preprocessing, manifest.batch_size or 1)
    write_new_text(asked.config, text)
    print(
        f"{asked.config}: {asked.mode}, pictures arrive as {FORMATS[source][0]} ({source}), {aipp.side} x {aipp.side}"
        f"; AIPP's arithmetic differs by at most {largest:.2f} of 255 from the model's preprocessing"
    )
    if preprocessing.pixels == "shown":
        print("AIPP turns no picture: hand it pictures that are upright (EXIF) and opaque", file=sys.stderr)


def aipp_of(preprocessing: Preprocessing, source: str, colours: str = "jpeg", *, prepared: bool = False) -> Aipp:
    """AIPP's part of `preprocessing` for pictures that arrive as `source`. Raises UsageError for what it cannot do.

    prepared: the program that feeds the model has resized (and padded) to the square before the centre crop.
    """
    channels = len(preprocessing.mean)
    if (source == "grey") != (channels == 1):
        raise UsageError(f"found --input {source}, but the model takes {channels} channels; choose another --input")
    _refuse_geometry(preprocessing, prepared=prepared)
    side = preprocessing.resize or preprocessing.image_size
    crop = preprocessing.image_size
    start = (side - crop) // 2
    if not 2 <= side <= MAX_SIDE:
        raise UsageError(f"AIPP takes pictures of 2 to {MAX_SIDE} pixels a side, but the model's are {side}")
    if source in IS_YUV and any(number % 2 for number in (side, crop, start)):
        raise UsageError(
            f"AIPP cuts YUV420SP at even pixels only, but the input is the centre {crop} of {side}, from {start}; "
            "give --input rgb"
        )
    lost = 0.5 if source in IS_YUV else 0.0  # on average: AIPP rounds converted colours down
    mean = tuple(max(0.0, 255 * value - lost) for value in preprocessing.mean)
    factor = tuple(1 / (255 * value) for value in preprocessing.std)
    return Aipp(source, side, crop, start, colours, mean, factor)


def _refuse_geometry(preprocessing: Preprocessing, *, prepared: bool) -> None:
    """Raise UsageError for what AIPP would have to do and cannot, when nobody does it before."""
    if prepared:
        return
    mode = preprocessing.resize_mode
    interpolation = preprocessing.interpolation
    lacks = {
        "resizes the shorter side": mode == "shorter_side",
        "pads to a square (letterbox)": mode == "letterbox",
        "resizes bicubically": interpolation == "bicubic",
        f"resizes by {interpolation}": interpolation not in ("bilinear", "bicubic"),
    }
    for what, is_so in lacks.items():
        if is_so:
            raise UsageError(
                f"the model's preprocessing {what}, which AIPP cannot do: it only cuts and normalises; resize in your "
                "program, and give --prepared"
            )


def difference(fields: dict[str, str], aipp: Aipp, preprocessing: Preprocessing) -> float:
    """By how much AIPP's result differs from the model's preprocessing, in 255ths of a channel's range, for every value
    that a pixel can have: the largest of all but one in a thousand.
    """
    levels = np.arange(256, dtype=np.uint8)
    side, crop, start = aipp.side, aipp.crop, aipp.start
    grey = np.resize(levels, (side, side))
    chroma = np.full((side // 2, side), 128, np.uint8)
    planes = {"grey": grey, "rgb": np.dstack([grey] * 3), "bgr": np.dstack([grey] * 3)}
    picture = planes[aipp.source] if aipp.source in planes else np.concatenate([grey, chroma])
    bias, gain = (16, 298 / 256) if aipp.source in IS_YUV and aipp.colours != "jpeg" else (0, 1.0)
    exact = np.clip((grey[start : start + crop, start : start + crop].astype(np.float64) - bias) * gain, 0, 255)
    found = simulate(fields, picture).astype(np.float64)
    errors = [
        abs(found[i] - (exact / 255 - mean) / std) * std * 255
        for i, (mean, std) in enumerate(zip(preprocessing.mean, preprocessing.std, strict=True))
    ]
    return float(np.quantile(errors, 0.999))


def remarks(aipp: Aipp, preprocessing: Preprocessing) -> tuple[str, ...]:
    """What whoever reads the file has to know."""
    return (
        f"Before: the whole picture, upright, resized to {aipp.side} x {aipp.side} as {aipp.source}, uint8.",
        f"After: the model's input, the centre {aipp.crop} x {aipp.crop}, mean {list(preprocessing.mean)}, "
        f"std {list(preprocessing.std)}.",
        "mean_chn and min_chn are both subtracted: the whole number and the fraction of 255 * mean, for YUV half less.",
    )


def dynamic_text(aipp: Aipp, preprocessing: Preprocessing, batch_size: int) -> str:
    """The file of a dynamic AIPP, with what a program has to set through aclmdlSetAIPP* for each picture."""
    fields = aipp.fields()
    size = round(aipp.side * aipp.side * FORMATS[aipp.source][2]) * batch_size
    switch = int(fields["csc_switch"] == "true")
    calls = [
        f"aclmdlSetAIPPInputFormat: {fields['input_format']}",
        f"aclmdlSetAIPPSrcImageSize: {aipp.side}, {aipp.side}",
        f"aclmdlSetAIPPCropParams: {int(aipp.crop != aipp.side)}, {aipp.start}, {aipp.start}, {aipp.crop}, {aipp.crop}",
        f"aclmdlSetAIPPRbuvSwapSwitch: {int(fields['rbuv_swap_switch'] == 'true')}",
    ]
    if switch:
        matrix, bias = COLOURS[aipp.colours]
        calls.append(f"aclmdlSetAIPPCscParams: {', '.join(map(str, (switch, *matrix, 0, 0, 0, *bias)))}")
    channels = range(len(aipp.mean))
    for name, field in (("DtcPixelMean", "mean_chn"), ("DtcPixelMin", "min_chn"), ("PixelVarReci", "var_reci_chn")):
        values = [fields[f"{field}_{i}"] for i in channels]
        calls.append(f"aclmdlSetAIPP{name}: {', '.join(values)}")
    return text_of(
        {"aipp_mode": DYNAMIC, "related_input_rank": "0", "max_src_image_size": str(size)},
        (*remarks(aipp, preprocessing), "For each picture the program sets:", *calls),
    )


if __name__ == "__main__":
    sys.exit(run(main))
