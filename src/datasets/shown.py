"""Pictures as people see them: EXIF orientation applied, transparency over white; decoded by Pillow.

MindSpore's decoder gives the same pixels of most files, faster in a pipeline: `differs_as_shown` tells which it does
not. Its own are as stored: turned as the camera was held, and with whatever colour lies under what is transparent.
"""

import struct
from collections.abc import Iterator
from io import BytesIO

import numpy as np
from PIL import Image

_ORIENTATION, _SHORT = 0x0112, 3  # a tag of EXIF and its type
MAX_EXIF_BYTES = 2**20  # of a PNG's; a JPEG's has 65 kB at most
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"
_DEEP = ("I;16", "I;16L", "I;16B", "I")
_FORMATS = ("JPEG", "PNG", "BMP", "TIFF")
# How a picture of each orientation is turned upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def differs_as_shown(data: np.ndarray) -> bool:
    """Whether a checked file, uint8 (length,), looks otherwise than MindSpore's decoder gives it.

    CMYK, which Pillow rounds otherwise by a level of 255 at most, is left to MindSpore.
    """
    head = data[:8].tobytes()
    if head.startswith(_JPEG):
        return _jpeg_orientation(memoryview(data)) != 1
    if head == _PNG:
        return _png_differs(memoryview(data))
    with Image.open(BytesIO(data.data), formats=("BMP", "TIFF")) as image:  # MindSpore turns TIFFs as they say
        return image.has_transparency_data


def shown_picture(data: np.ndarray) -> Image.Image:
    """The picture of a file's bytes in the mode RGB, L (8-bit grey) or I;16 (16-bit grey).

    Of TIFFs the first page. 16 bits a colour become 8, the upper ones. Raises what Pillow raises.
    """
    with Image.open(BytesIO(data.data), formats=_FORMATS) as image:
        image.load()
        turn = _TURNS.get(orientation_of(memoryview(data)))  # a TIFF Pillow has turned
        return _on_white(image if turn is None else image.transpose(turn))


def stored_picture(data: np.ndarray) -> Image.Image:
    """As `shown_picture`, but neither turned nor laid over white, as MindSpore's decoder gives it."""
    with Image.open(BytesIO(data.data), formats=_FORMATS) as image:
        if image.mode.startswith("I"):
            return Image.fromarray(np.asarray(image).clip(0, 65535).astype(np.uint16))
        return image.convert("RGB")


def rgb(image: Image.Image) -> Image.Image:
    """A picture of `shown_picture` in 8-bit colours; of 16-bit grey the upper 8 bits are kept."""
    if image.mode == "I;16":
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")


def grey(image: Image.Image) -> Image.Image:
    """A picture of `shown_picture` as L, or, of 16-bit grey, as F in units where white is 255; these as they are."""
    if image.mode == "I;16":
        return Image.fromarray(np.asarray(image).astype(np.float32) / np.float32(257))
    return image if image.mode in ("L", "F") else image.convert("L")


def as_bitmap(image: Image.Image) -> np.ndarray:
    """The bytes of a BMP file of a picture in RGB: MindSpore decodes them without a loss."""
    file = BytesIO()
    image.save(file, "BMP")
    return np.frombuffer(file.getbuffer(), np.uint8)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP:
        grey16 = np.asarray(image).clip(0, 65535).astype(np.uint16)
        if isinstance(transparent := image.info.get("transparency"), int):
            grey16[grey16 == transparent] = 65535
        return Image.fromarray(grey16)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba).convert("RGB")
    if image.mode in ("L", "1"):
        return image.convert("L")
    return image.convert("RGB")


def _jpeg_orientation(data: memoryview) -> int:
    at = 2
    while at + 10 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF:  # stray bytes, over which decoders go, or a fill byte
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # the frame
            break
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xE1 and data[at + 4 : at + 10] == _EXIF:
            return exif_orientation(data[at + 10 : end])
        at = end
    return 1


def _png_differs(data: memoryview) -> bool:
    if data[25] in (4, 6):  # colour types with an alpha channel
        return True
    return any(
        name == b"tRNS" or (name == b"eXIf" and exif_orientation(data[start:end]) != 1)
        for name, start, end in png_chunks(data)
    )


def png_chunks(data: memoryview) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the content of each chunk, up to the last whole one."""
    at = len(_PNG)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            return
        yield name, at + 8, at + 8 + length
        at += 12 + length


def orientation_of(data: memoryview) -> int:
    """The EXIF orientation of a JPEG or PNG, 1 (upright) to 8."""
    if data[:3] == _JPEG:
        return _jpeg_orientation(data)
    for name, start, end in png_chunks(data) if data[:8] == _PNG else ():
        if name == b"eXIf":
            return exif_orientation(data[start:end])
    return 1


def exif_orientation(exif: memoryview) -> int:
    """The orientation of an EXIF block (a TIFF header and its first directory); 1 for what is damaged or says none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(exif[:4]))
    if order is None or len(exif) > MAX_EXIF_BYTES:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, entry)
            if tag == _ORIENTATION:
                return value if kind == _SHORT and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
