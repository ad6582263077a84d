"""What a file is, told by its first bytes, where it is not what its reader expects, and what to do with it there.

One table for all readers: of data sets, whose pictures it may be in place of, and of models and weights. Of the former
ascend310_infer/src/file_kind.cc has the same.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from src.utils.outside import open_outside

_HEAD = 1024  # bytes that are looked at
_TO_PNG = "convert it to PNG or JPEG"
_CONVERT = "python -m src.deploy.convert_weights {path} NAME.ckpt makes a checkpoint of it"
_PICTURES = "--images and the data set's flags take pictures"
_ANOTHER = "name the file that was meant"
_AGAIN = "download it again"
_UNPACK = "unpack it"


@dataclass(frozen=True)
class Kind:
    """begins: whether a file that begins so is of this kind. among_pictures, as_model: what to do with one in the place
    of a picture and of a model; empty where it is a fit one. is_photo: a picture to a person, as cameras and browsers
    leave them.
    """

    begins: Callable[[bytes], object]
    name: str
    among_pictures: str
    as_model: str = _ANOTHER
    is_photo: bool = False


def kind_of_file(data: bytes) -> str | None:
    """What a file beginning with `data` (some hundred bytes) is among pictures, and what to do; None for what is not
    known, and for pictures that can be decoded.
    """
    kind = _kind(data)
    return f"{kind.name}; {kind.among_pictures}" if kind and kind.among_pictures else None


def begins_as_photo(data: bytes) -> bool:
    """Whether a file beginning with `data` (16 bytes) is a picture to a person, even if it cannot be decoded here."""
    kind = _kind(data)
    return kind is not None and kind.is_photo


def what_it_is(path: str | os.PathLike) -> str:
    """What a file that is no model or weights of the kind its reader expects is, and what takes it.

    To stand behind "it is"; empty when nothing is known or it cannot be read.
    """
    try:
        with open_outside(path) as file:
            head = file.read(_HEAD)
    except OSError:
        return ""
    kind = _kind(head) if head else _EMPTY
    return f"{kind.name}; {kind.as_model.format(path=path)}" if kind and kind.as_model else ""


def _kind(head: bytes) -> Kind | None:
    return next((kind for kind in _KINDS if kind.begins(head)), None)


def _starts(*prefixes: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(prefixes)


def _text(*prefixes: bytes) -> Callable[[bytes], bool]:
    return lambda head: _plain(head).startswith(prefixes)


def _plain(head: bytes) -> bytes:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:400].lower()


def _brand(*brands: bytes) -> Callable[[bytes], bool]:
    """Of an ISO media file, ....ftypBRAND; without brands any."""
    return lambda head: head[4:8] == b"ftyp" and (not brands or head[8:12] in brands)


def _is_svg(head: bytes) -> bool:
    text = _plain(head)
    return text.startswith((b"<svg", b"<!doctype svg")) or (text.startswith((b"<?xml", b"<!--")) and b"<svg" in text)


def _is_safetensors(head: bytes) -> bool:
    return head[8:10] == b'{"' and 2 <= int.from_bytes(head[:8], "little") < 2**32


_NETPBM = re.compile(rb"P[1-6]\s")
# Its first fields: ir_version (1, a number), and producer (2) or graph (7).
_ONNX = re.compile(rb"\x08[\x01-\x20](?:\x12[\x01-\x40][ -~]|[\x1a\x22\x2a\x32\x3a\x42])")
# Its first fields: ir_version (1) and producer_name (2), both texts.
_MINDIR = re.compile(rb"\x0a[\x01-\x10][0-9][0-9.]*\x12\x09MindSpore")
# Its first entry (1): a name (1) of a parameter, and a tensor (2).
_CHECKPOINT = re.compile(rb"\x0a[\x01-\xff]{1,5}\x0a[\x01-\x7f][\w.]{3,127}\x12")
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_EMPTY = Kind(_starts(), "an empty file", _AGAIN, _AGAIN)
_KINDS = (
    Kind(_starts(b"\xff\xd8\xff"), "a JPEG picture", "", _PICTURES, is_photo=True),
    Kind(_starts(b"\x89PNG\r\n\x1a\n"), "a PNG picture", "", _PICTURES, is_photo=True),
    Kind(_starts(b"BM"), "a BMP picture", "", _PICTURES, is_photo=True),
    Kind(_starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "a TIFF picture", "", _PICTURES, is_photo=True),
    Kind(_starts(b"GIF87a", b"GIF89a"), "a GIF picture", _TO_PNG, is_photo=True),
    Kind(lambda head: head[:4] + head[8:12] == b"RIFFWEBP", "a WebP picture", _TO_PNG, is_photo=True),
    Kind(_starts(b"RIFF"), "a sound or video file (RIFF)", "remove it"),
    Kind(_starts(b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"), "a JPEG XL picture", _TO_PNG, is_photo=True),
    Kind(_starts(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"), "a JPEG 2000 picture", _TO_PNG, is_photo=True),
    Kind(_brand(*_HEIC), "a HEIC picture", _TO_PNG, is_photo=True),
    Kind(_brand(b"avif", b"avis"), "an AVIF picture", _TO_PNG, is_photo=True),
    Kind(_brand(b"mif1", b"msf1"), "a HEIF picture", _TO_PNG, is_photo=True),
    Kind(_brand(), "a video (MP4 or QuickTime)", "remove it"),
    Kind(_starts(b"8BPS"), "a Photoshop document (PSD)", _TO_PNG),
    Kind(_starts(b"gimp xcf"), "a GIMP document (XCF)", _TO_PNG),
    Kind(_starts(b"%PDF"), "a PDF document", _TO_PNG),
    Kind(_starts(b"%!PS"), "a PostScript document", _TO_PNG),
    Kind(_starts(b"\0\0\1\0"), "an icon (ICO)", _TO_PNG),
    Kind(_starts(b"v/1\1"), "an OpenEXR picture", _TO_PNG),
    Kind(_starts(b"#?RADIANCE"), "a Radiance HDR picture", _TO_PNG),
    Kind(_starts(b"DDS "), "a DirectDraw surface (DDS)", _TO_PNG),
    Kind(_starts(b"qoif"), "a QOI picture", _TO_PNG),
    Kind(lambda head: head[128:132] == b"DICM", "a DICOM picture", _TO_PNG),
    Kind(_NETPBM.match, "a Netpbm picture (PBM, PGM, PPM)", _TO_PNG),
    Kind(_starts(b"\x93NUMPY"), "a NumPy array", "save it as PNG", "save weights as .safetensors"),
    Kind(
        _starts(b"\x89HDF"), "an HDF5 file", "save its pictures as PNG",
        "weights of Keras have to be exported to .safetensors or .pth first",
    ),
    Kind(
        _starts(b"PK\3\4", b"PK\5\6"), "a ZIP archive", _UNPACK,
        f"if it holds weights, as PyTorch's .pth and Lightning's .ckpt do, {_CONVERT}",
    ),
    Kind(_starts(b"\x1f\x8b"), "a gzip archive", _UNPACK, _UNPACK),
    Kind(_starts(b"7z\xbc\xaf\x27\x1c"), "a 7z archive", _UNPACK, _UNPACK),
    Kind(_starts(b"Rar!"), "a RAR archive", _UNPACK, _UNPACK),
    Kind(_starts(b"BZh"), "a bzip2 archive", _UNPACK, _UNPACK),
    Kind(_starts(b"\xfd7zXZ\0"), "an xz archive", _UNPACK, _UNPACK),
    Kind(_starts(b"\x28\xb5\x2f\xfd"), "a zstd archive", _UNPACK, _UNPACK),
    Kind(lambda head: head[257:262] == b"ustar", "a tar archive", _UNPACK, _UNPACK),
    Kind(
        _starts(b"version https://git-lfs"), "a Git LFS pointer instead of the file", "run git lfs pull",
        "run git lfs pull",
    ),
    Kind(
        lambda head: _is_safetensors(head) and b'"densenet_manifest"' in head, "a file of the CPU engine", "remove it",
        "predict.py and eval.py --engine take it",
    ),
    Kind(_is_safetensors, "a .safetensors file", "remove it", _CONVERT),
    Kind(
        re.compile(rb"\x80[\x02-\x05]").match, "a Python pickle", "remove it",
        f"if it holds weights, as PyTorch's older .pth do, {_CONVERT}",
    ),
    Kind(_MINDIR.match, "a MindIR model", "remove it", "scripts/run_infer_310.sh takes it"),
    Kind(_ONNX.match, "an ONNX model", "remove it", "eval_onnx.py and predict.py take it"),
    Kind(_CHECKPOINT.match, "a MindSpore checkpoint", "remove it", "eval.py, export.py and predict.py take it"),
    Kind(_starts(b"\x7fELF"), "a program", "remove it"),
    Kind(
        _text(b"<!doctype html", b"<html", b"<head", b"<body"),
        "an HTML page, which a server sent instead of the file", _AGAIN, _AGAIN,
    ),
    Kind(_is_svg, "an SVG drawing", _TO_PNG),
    Kind(_text(b"<?xml", b"<error"), "an XML text, as servers send for an error", _AGAIN, _AGAIN),
    Kind(_text(b'{"'), "a JSON text, as servers send for an error", _AGAIN, _AGAIN),
    Kind(lambda head: head and not any(head), "nothing but zero bytes", f"copy or {_AGAIN}", f"copy or {_AGAIN}"),
)  # fmt: skip
