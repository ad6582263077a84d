"""AIPP's fields and arithmetic, as the ATC guide has them, against the project's own pipeline on real photographs."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from src.datasets.operators import eval_transforms
from src.datasets.preprocessing import CIFAR10_MEAN, CIFAR10_STD, IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from src.datasets.preprocessing_choices import DECODED
from src.deploy import aipp
from src.deploy.aipp_fields import COLOURS, fields_of, simulate, text_of
from src.deploy.manifest import Manifest
from src.network.architecture import architecture
from src.utils.errors import ReportedError, UsageError

GEOMETRIES = {  # squashed to, and the centre of it that is kept
    "squash and crop": Preprocessing(224, 256, IMAGENET_MEAN, IMAGENET_STD),
    "squash": Preprocessing(224, 224, IMAGENET_MEAN, IMAGENET_STD),
    "CIFAR-10": Preprocessing(32, 0, CIFAR10_MEAN, CIFAR10_STD),
    "odd": Preprocessing(99, 120, (0.5, 0.25, 1.0), (1.0, 0.1, 0.5)),
}
PICTURES = [np.asarray(picture) for picture in load_sample_images().images]


def squashed(picture, side):
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR))


def pipeline(preprocessing, pixels):
    """The model's input for a picture that is resized already."""
    for operator in eval_transforms(preprocessing, DECODED):
        pixels = operator(pixels)
    return np.asarray(pixels)


def within_one(found, expected, std):
    """The share of values that differ by at most 1 of 255."""
    return np.mean(abs(found.astype(np.float64) - expected) * 255 * np.reshape(std, (3, 1, 1)) <= 1)


def to_nv12(rgb):
    """BT.601 in the whole range, as JPEG has it; U and V are the means of 2 x 2 pixels."""
    weights = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    yuv = rgb @ weights.T + [0, 128, 128]
    chroma = yuv[:, :, 1:].reshape(len(rgb) // 2, 2, -1, 2, 2).mean((1, 3))
    planes = np.concatenate([yuv[:, :, 0], chroma.reshape(len(chroma), -1)])
    return np.clip(np.rint(planes), 0, 255).astype(np.uint8)


def exact_rgb(nv12, colours):
    """What the standards say of the same YUV, rounded."""
    side = nv12.shape[1]
    luma, chroma = nv12[:side].astype(float), nv12[side:].reshape(side // 2, -1, 2).astype(float)
    u, v = (chroma[:, :, i].repeat(2, 0).repeat(2, 1) - 128 for i in range(2))
    red, blue = {"jpeg": (0.299, 0.114), "bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[colours]
    scale = 1 if colours == "jpeg" else 255 / 224
    y = luma if colours == "jpeg" else (luma - 16) * 255 / 219
    r, b = y + 2 * (1 - red) * scale * v, y + 2 * (1 - blue) * scale * u
    g = y - (2 * red * (1 - red) * v + 2 * blue * (1 - blue) * u) * scale / (1 - red - blue)
    return np.clip(np.rint(np.dstack([r, g, b])), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("source", ["rgb", "bgr"])
def test_rgb_input_is_the_pipelines_to_one_of_255(name, source):
    preprocessing = GEOMETRIES[name]
    made = aipp.aipp_of(preprocessing, source)
    for picture in PICTURES:
        pixels = squashed(picture, made.side)
        arriving = pixels[:, :, ::-1] if source == "bgr" else pixels
        found = simulate(fields_of(text_of(made.fields())), np.ascontiguousarray(arriving))
        expected = pipeline(preprocessing, pixels)
        assert found.dtype == np.float16 and found.shape == expected.shape
        assert within_one(found, expected, preprocessing.std) >= 0.999


@pytest.mark.parametrize("colours", COLOURS)
@pytest.mark.parametrize("source", ["nv12", "nv21"])
@pytest.mark.parametrize("name", ["squash and crop", "CIFAR-10"])
def test_yuv_input_is_the_pipelines_on_what_the_standard_makes_of_it(name, source, colours):
    preprocessing = GEOMETRIES[name]
    made, shares = aipp.aipp_of(preprocessing, source, colours), []
    for picture in PICTURES:
        nv12 = to_nv12(squashed(picture, made.side))
        arriving = nv12.copy()
        if source == "nv21":
            arriving[made.side :] = (
                nv12[made.side :].reshape(made.side // 2, -1, 2)[:, :, ::-1].reshape(made.side // 2, -1)
            )
        found = simulate(made.fields(), arriving)
        expected = pipeline(preprocessing, exact_rgb(nv12, colours))
        shares.append(within_one(found, expected, preprocessing.std))
    assert min(shares) >= 0.999, shares


@pytest.mark.parametrize("field", ["load_start_pos_w", "mean_chn_1", "min_chn_0", "var_reci_chn_2", "rbuv_swap_switch"])
def test_a_wrong_field_would_be_noticed(field):
    preprocessing = GEOMETRIES["squash and crop"]
    fields = aipp.aipp_of(preprocessing, "rgb").fields()
    wrong = {"true": "false", "false": "true"}.get(fields[field]) or str(
        type(int(float(fields[field])))(float(fields[field]) + 2)
    )
    if field == "var_reci_chn_2":
        wrong = str(1.02 * float(fields[field]))
    pixels = squashed(PICTURES[0], 256)
    found = simulate(fields | {field: wrong}, pixels)
    assert within_one(found, pipeline(preprocessing, pixels), preprocessing.std) < 0.99


def manifest_file(folder, preprocessing, **changed):
    manifest = Manifest(
        "ONNX", "float32", 0, "digits", architecture("densenet100", 10), preprocessing, tuple("0123456789"), verified={}
    )
    path = folder / "digits.onnx.json"
    path.write_text(json.dumps(manifest.to_dict() | {"file": "digits.onnx", "sha256": "0" * 64} | changed))
    return path


def test_the_command_writes_a_static_file_and_says_what_arrives(tmp_path, capsys):
    path, config = manifest_file(tmp_path, GEOMETRIES["squash and crop"]), tmp_path / "aipp.config"
    aipp.main([str(path), str(config)])
    fields = fields_of(config.read_text())
    assert (fields["aipp_mode"], fields["input_format"], fields["src_image_size_w"]) == ("static", "RGB888_U8", "256")
    assert [fields[name] for name in ("load_start_pos_h", "crop_size_w", "csc_switch")] == ["16", "224", "false"]
    assert [fields[f"mean_chn_{i}"] for i in range(3)] == ["123", "116", "103"]  # of 123.675, 116.28, 103.53
    assert float(fields["min_chn_0"]) == pytest.approx(0.675) and float(fields["var_reci_chn_0"]) == pytest.approx(
        1 / 58.395
    )
    assert re.search(r"RGB888_U8 \(rgb\), 256 x 256; .* at most 0\.\d\d of 255", capsys.readouterr().out)
    with pytest.raises(UsageError, match="exists"):
        aipp.main([str(path), str(config)])


def test_a_dynamic_file_holds_three_fields_and_the_calls(tmp_path):
    path, config = manifest_file(tmp_path, GEOMETRIES["squash and crop"], batch_size=4), tmp_path / "aipp.config"
    aipp.main([str(path), str(config), "--mode", "dynamic", "--input", "nv12"])
    text = config.read_text()
    assert fields_of(text) == {
        "aipp_mode": "dynamic", "related_input_rank": "0", "max_src_image_size": str(256 * 256 * 3 // 2 * 4),
    }  # fmt: skip
    assert "# aclmdlSetAIPPCropParams: 1, 16, 16, 224, 224\n" in text
    assert "# aclmdlSetAIPPCscParams: 1, 256, 0, 359, 256, -88, -183, 256, 454, 0, 0, 0, 0, 0, 128, 128\n" in text
    assert "# aclmdlSetAIPPDtcPixelMean: 123, 115, 103\n" in text


@pytest.mark.parametrize(
    ("preprocessing", "flags", "message"),
    [
        (Preprocessing(99, 120, IMAGENET_MEAN, IMAGENET_STD), ["--input", "nv12"], "cuts YUV420SP at even pixels only"),
        (
            Preprocessing(5000, 5000, IMAGENET_MEAN, IMAGENET_STD),
            [],
            "2 to 4096 pixels a side, but the model's are 5000",
        ),
        (GEOMETRIES["squash"], ["--input", "grey"], "found --input grey, but the model takes 3 channels"),
        (GEOMETRIES["squash"], ["--input", "png"], "invalid choice: 'png'"),
    ],
)
def test_what_aipp_cannot_do_is_refused(tmp_path, preprocessing, flags, message):
    with pytest.raises(UsageError, match=message):
        aipp.main([str(manifest_file(tmp_path, preprocessing)), str(tmp_path / "aipp.config"), *flags])
    assert not (tmp_path / "aipp.config").exists()


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 1}', "\x00"])
def test_a_file_that_is_no_description_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ReportedError, match=r"x\.json"):
        aipp.main([str(tmp_path / "x.json"), str(tmp_path / "aipp.config")])
    with pytest.raises(ReportedError, match=r"none\.json cannot be read"):
        aipp.main([str(tmp_path / "none.json"), str(tmp_path / "aipp.config")])
