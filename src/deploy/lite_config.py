"""What MindSpore Lite's converter quantizes an exported model to INT8 with: its configuration and calibration pictures.

python -m src.deploy.lite_config MODEL.json FOLDER --train_data_dir DIR/train
python -m src.deploy.lite_config digits.mindir.json FOLDER

MODEL.json is what export.py writes beside a model. FOLDER, which must not be there, gets pictures, a random choice of
the training pictures (--images, 256; the converter asks for 100 to 500), and quantize.cfg, for scripts/convert_lite.sh.
The converter itself resizes, cuts and normalises the pictures, as the file says; what it cannot do is refused.
"""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from src.datasets.preprocessing import Preprocessing
from src.datasets.source import Source
from src.datasets.sources import open_source
from src.deploy.manifest import INPUT_NAME, read_description
from src.utils.arguments import Parser
from src.utils.errors import ReportedError, UsageError, run
from src.utils.files import require_new, write_new, write_new_text

CONFIG_NAME, PICTURES = "quantize.cfg", "pictures"
_METHODS = {"bilinear": "LINEAR", "bicubic": "CUBIC"}
_LEAST, _MOST = 1, 65535  # calibrate_size
_ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp"}


def main(argv: Sequence[str]) -> None:
    """Write the folder as the command line `argv` says."""
    parser = Parser("python -m src.deploy.lite_config MODEL.json FOLDER [FLAGS]", __doc__)
    parser.add_argument("manifest", type=Path, metavar="MODEL.json")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--train_data_dir", default="")
    parser.add_argument("--images", type=int, default=256)
    asked = parser.parse_args(argv)
    require_new(asked.folder)
    if not _LEAST <= asked.images <= _MOST:
        raise UsageError(f"--images is {asked.images}, expected a number from {_LEAST} to {_MOST}")
    manifest = read_description(asked.manifest)
    text = config_text(manifest.preprocessing, (asked.folder / PICTURES).absolute(), asked.images)
    source = open_source(manifest.dataset, asked.train_data_dir, split="train", class_names=manifest.class_names)
    if len(source) < asked.images:
        raise UsageError(f"--images is {asked.images}, but there are {len(source)} training pictures; ask for fewer")
    chosen = source.subset(np.random.default_rng(0).permutation(len(source))[: asked.images])
    try:
        (asked.folder / PICTURES).mkdir(parents=True)
    except OSError as error:
        raise ReportedError(f"{asked.folder} cannot be made: {error.strerror}; choose another folder") from error
    write_pictures(chosen, asked.folder / PICTURES)
    write_new_text(asked.folder / CONFIG_NAME, text)
    print(f"{asked.folder / CONFIG_NAME}: INT8 with {asked.images} pictures of {source.origin}")


def config_text(preprocessing: Preprocessing, pictures: Path, images: int) -> str:
    """The file, with the fields of MindSpore Lite's post training quantization. Raises UsageError for a geometry that
    the converter does not have.
    """
    mode = preprocessing.resize_mode
    if mode != "squash":
        raise UsageError(
            f"the model's pictures are resized by {mode}, but MindSpore Lite's converter squashes them only; quantize "
            "for ONNX Runtime (export.py --quantize), or train with --resize squash"
        )
    if "," in str(pictures) or ":" in str(pictures):
        raise UsageError(f"{pictures} has a comma or a colon, which the converter's calibrate_path cannot hold")
    side, crop = preprocessing.resize or preprocessing.image_size, preprocessing.image_size
    cropped = [f"center_crop_{name}={crop}" for name in ("width", "height")] if crop != side else []
    lines = [
        "[common_quant_param]",
        "quant_type=FULL_QUANT",
        "bit_num=8",
        "[full_quant_param]",
        "activation_quant_method=MAX_MIN",
        "bias_correction=true",
        "[data_preprocess_param]",
        f"calibrate_path={INPUT_NAME}:{pictures}",
        f"calibrate_size={images}",
        "input_type=IMAGE",
        f"image_to_format={'RGB' if len(preprocessing.mean) == 3 else 'GRAY'}",
        f"normalize_mean={_vector(preprocessing.mean)}",
        f"normalize_std={_vector(preprocessing.std)}",
        f"resize_width={side}",
        f"resize_height={side}",
        f"resize_method={_METHODS[preprocessing.interpolation]}",
        *cropped,
    ]
    return "\n".join(lines) + "\n"


def write_pictures(source: Source, folder: Path) -> None:
    """Each picture as a file: those that are files as they are, others as PNG."""
    for index in range(len(source)):
        found = source.read(index)
        name, content = f"{index:05d}.png", found.tobytes()
        if source.encoded:
            with Image.open(io.BytesIO(content)) as picture:
                ending = _ENDINGS.get(picture.format)
                if ending:
                    name = f"{index:05d}{ending}"
                else:
                    content = _png(np.asarray(picture.convert("RGB")))
        else:
            content = _png(found)
        write_new(folder / name, lambda temporary, content=content: temporary.write_bytes(content))


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _vector(numbers: Sequence[float]) -> str:
    """The converter subtracts and divides before anything is divided by 255."""
    return f"[{', '.join(f'{255 * number:.6g}' for number in numbers)}]"


if __name__ == "__main__":
    sys.exit(run(main))
