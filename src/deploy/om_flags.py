"""Flags of `atc` for one exported model, a line each, when model, device and AIPP configuration fit each other.

python -m src.deploy.om_flags MODEL OUTPUT SOC_VERSION [--aipp FILE] [--batch_size N]

scripts/convert_om.sh asks for them before it calls atc. OUTPUT is the model that atc writes, .om or without ending.
"""

import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from src.datasets.preprocessing import Preprocessing
from src.deploy.aipp_fields import FORMATS, fields_of
from src.deploy.manifest import INPUT_NAME, Manifest, read_manifest
from src.utils.arguments import Parser
from src.utils.errors import ReportedError, UsageError, run
from src.utils.files import require_new
from src.utils.outside import read_outside

_FRAMEWORKS = {"AIR": 1, "ONNX": 5}
_SOC_VERSION = re.compile(r"Ascend\d{3}\w*")
_MOST_TEXT = 2**16  # bytes of an AIPP configuration
_ROUNDING = 0.55  # of a mean, 0...255: whole numbers, and half a step less for YUV


def main(argv: Sequence[str]) -> None:
    """Print the flags for the command line `argv`."""
    parser = Parser("python -m src.deploy.om_flags MODEL OUTPUT SOC_VERSION [FLAGS]", __doc__)
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("output", type=Path, metavar="OUTPUT")
    parser.add_argument("soc_version", metavar="SOC_VERSION")
    parser.add_argument("--aipp", type=Path)
    parser.add_argument("--batch_size", type=int, default=0)
    asked = parser.parse_args(argv)
    found = flags(
        read_manifest(asked.model), asked.model, asked.output, asked.soc_version, asked.aipp, asked.batch_size
    )
    print("\n".join(found))


def flags(
    manifest: Manifest, model: Path, output: Path, soc_version: str, aipp: Path | None, batch_size: int
) -> list[str]:
    """The flags. batch_size 0: the model's own, or 1. Raises UsageError and ReportedError for what atc would refuse."""
    if manifest.file_format not in _FRAMEWORKS:
        raise ReportedError(
            f"{model} is of the format {manifest.file_format}, but atc reads ONNX and AIR; export it with "
            "--file_format ONNX (MindSpore Lite takes a MINDIR as it is)"
        )
    if manifest.precision == "int8":
        raise ReportedError(
            f"{model} is quantized for ONNX Runtime, which atc does not read; export it without --quantize"
        )
    if not _SOC_VERSION.fullmatch(soc_version):
        raise UsageError(
            f"SOC_VERSION is {soc_version!r}, expected a name such as Ascend310P3; `npu-smi info` shows the chip's, "
            "with Ascend before it"
        )
    if manifest.batch_size and batch_size not in (0, manifest.batch_size):
        raise UsageError(f"{model} takes {manifest.batch_size} images at once, but --batch_size is {batch_size}")
    if batch_size < 0:
        raise UsageError(f"--batch_size is {batch_size}, expected a number from 1")
    require_new(output if output.suffix == ".om" else output.with_name(output.name + ".om"))
    preprocessing = manifest.preprocessing
    size = preprocessing.image_size
    images = manifest.batch_size or batch_size or 1
    found = [
        f"--framework={_FRAMEWORKS[manifest.file_format]}",
        f"--model={model}",
        f"--output={str(output).removesuffix('.om')}",
        f"--soc_version={soc_version}",
        "--log=error",
    ]
    if manifest.file_format == "ONNX":
        shape = ",".join(map(str, (images, len(preprocessing.mean), size, size)))
        found += ["--input_format=NCHW", f"--input_shape={INPUT_NAME}:{shape}"]
    if aipp is not None:
        check_aipp(aipp, manifest)
        found.append(f"--insert_op_conf={aipp}")
    return found


def check_aipp(path: Path, manifest: Manifest) -> None:
    """Raise ReportedError when the configuration is none, or of a model with another input.

    Of a dynamic one the program sets the numbers, so that nobody can compare them here.
    """
    try:
        fields = fields_of(read_outside(path, _MOST_TEXT).decode("utf-8", errors="replace"))
    except OSError as error:
        raise ReportedError(
            f"{path} cannot be read: {error.strerror or error}; write it with src.deploy.aipp"
        ) from error
    if fields.get("aipp_mode") not in ("static", "dynamic"):
        raise ReportedError(f"{path} is no AIPP configuration: it names no aipp_mode; write it with src.deploy.aipp")
    if fields["aipp_mode"] == "dynamic":
        return
    size = fields.get("crop_size_w") if fields.get("crop") == "true" else fields.get("src_image_size_w")
    if size != str(manifest.preprocessing.image_size):
        raise ReportedError(
            f"{path} makes pictures of {size} pixels a side, but the model takes {manifest.preprocessing.image_size}; "
            "write it again with src.deploy.aipp"
        )
    if not _normalises_for(fields, manifest.preprocessing):
        raise ReportedError(
            f"{path} cuts or normalises otherwise than the model's {manifest.preprocessing.in_words()}; write it again "
            "with src.deploy.aipp"
        )


def _normalises_for(fields: Mapping[str, str], preprocessing: Preprocessing) -> bool:
    """Whether static `fields` subtract the model's means and divide by its deviations, for as many channels."""
    try:
        means = [float(fields.get(f"mean_chn_{i}", 0)) + float(fields.get(f"min_chn_{i}", 0)) for i in range(3)]
        factors = [float(fields.get(f"var_reci_chn_{i}", 1)) for i in range(3)]
    except ValueError:
        return False
    channels = len(preprocessing.mean)
    return (fields.get("input_format") == FORMATS["grey"][0]) == (channels == 1) and all(
        abs(255 * mean - means[i]) <= _ROUNDING and math.isclose(factors[i], 1 / (255 * std), rel_tol=1e-3)
        for i, (mean, std) in enumerate(zip(preprocessing.mean, preprocessing.std, strict=True))
    )


if __name__ == "__main__":
    sys.exit(run(main))
