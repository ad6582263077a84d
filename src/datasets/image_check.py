"""Telling what MindSpore's decoder can be given, before it sees it, within limits of memory that are stated.

MindSpore 2.10's JPEG decoder carries on after libjpeg's fatal errors and then dies of SIGSEGV, SIGFPE or SIGABRT: of
6000 JPEGs with a few random bytes changed, 551 killed the process. Pillow turned every one of them down, and all that
it let pass decoded. Its PNG decoder takes 2 GB for a chunk that only claims to be that long, and a BMP of a kilobyte
may claim 177 million pixels, which it allocates: headers are held against the bytes that are there.
"""

import struct
import warnings
import zlib
from enum import IntFlag
from io import BytesIO

import numpy as np
from PIL import Image

from src.datasets.decoding import decode_to_check
from src.datasets.shown import MAX_EXIF_BYTES
from src.utils.file_kind import kind_of_file

# A picture of more pixels is refused, here and in the C++ program (kMaxPixels of ascend310_infer/src/headers.cc).
# Decoding takes 3 bytes a pixel, for PNG, BMP and TIFF twice that.
MAX_PIXELS = 178_956_970
# The longest side that the decoders take: libjpeg's JPEG_MAX_DIMENSION, libpng's PNG_USER_WIDTH_MAX.
MAX_SIDE, MAX_JPEG_SIDE = 1_000_000, 65_500
MAX_FILE_BYTES = 2**31  # more than MAX_PIXELS need, even uncompressed; as kMaxFileBytes in C++

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit would say "damaged", and warn from half of it on
warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd metadata, several lines on stderr a picture

FORMATS = "a complete JPEG, PNG, BMP or TIFF picture"
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"  # the bytes by which MindSpore chooses its JPEG decoder
# What a Photoshop JPEG begins with: 'Adobe', version 100, flags, transform 0 (CMYK as it is stored).
_ADOBE_MARKER = np.frombuffer(b"\xff\xee\x00\x0eAdobe\0d\0\0\0\0\0", np.uint8)

# The most bytes or pixels that a stored byte can stand for. JPEG: a block of 8 x 8 takes a bit at least, and a factor
# of 2 for odd samplings. deflate: 1032. Runs of BMP: 255 pixels in 2 bytes. LZW: a code of 12 bits is at most a string
# of 4096. By the number of TIFF's compression; others (fax codes, zstd) have no such bound.
_JPEG_PIXELS, _DEFLATE_BYTES, _RLE_PIXELS = 1024, 1040, 256
_TIFF_BYTES = {1: 1, 5: 2800, 8: _DEFLATE_BYTES, 32946: _DEFLATE_BYTES, 32773: 64}
_METADATA_BYTES = 7000  # of a chunk; a compressed one may hold 7 million, and libpng complains of more than 8
_DARK = 64  # of 255: pictures of 8 to 14 bits stored as 16 are nowhere brighter


class UnusablePictureError(Exception):
    """Why a file cannot be used: what follows its name in a sentence."""


class Form(IntFlag):
    """How the bytes of a picture that was checked become what MindSpore's decoder is given."""

    CHECKED = 1
    LARGE_METADATA = 2  # a PNG with more colour profile or text than the decoders take: they are left out
    BARE_CMYK = 4  # a CMYK JPEG without Adobe's marker, read as with it, as Pillow does; MindSpore would make it black
    DARK = 8  # 16 bits, but all values in the lowest quarter: nearly black. Decoded as it is


def check_picture(data: np.ndarray) -> Form:
    """Check a file's bytes, uint8 (length,). Raises UnusablePictureError when they cannot or must not be decoded."""
    head = data[:4096].tobytes()
    try:
        if head.startswith(_JPEG):
            return _check_jpeg(data)
        if head.startswith(_PNG):
            return _check_png(data)
        return _check_bitmap(data, "BMP" if head.startswith(b"BM") else "TIFF")
    except UnusablePictureError:
        raise
    except Exception as error:  # Pillow's parsers raise whatever the damaged bytes lead them to
        raise UnusablePictureError(f"should be {FORMATS}, found {_found(data, head)}") from error


def decodable(data: np.ndarray, form: Form) -> np.ndarray:
    """Return what the decoder is given for the bytes `data` of a picture of this form; mostly `data` itself."""
    if form & Form.BARE_CMYK:
        return np.concatenate([data[:2], _ADOBE_MARKER, data[2:]])
    return np.frombuffer(_PngChunks(data).needed(), np.uint8) if form & Form.LARGE_METADATA else data


def _check_jpeg(data: np.ndarray) -> Form:
    with Image.open(BytesIO(data.data), formats=("JPEG",)) as image:
        _check_size(*image.size, MAX_JPEG_SIDE)
        if not _is_arithmetic(data):  # whose blocks may take less than a bit
            _check_fits(*image.size, image.width * image.height, _JPEG_PIXELS * len(data), len(data))
        image.draft(image.mode, (1, 1))  # at an eighth of its size, which skips most of the work
        image.load()
        bare_cmyk = image.mode == "CMYK" and "adobe_transform" not in image.info
    return Form.CHECKED | (Form.BARE_CMYK if bare_cmyk else 0)


def _check_png(data: np.ndarray) -> Form:
    chunks = _PngChunks(data)
    width, height = chunks.size
    _check_size(width, height, MAX_SIDE)
    _check_fits(width, height, chunks.pixel_bytes, _DEFLATE_BYTES * chunks.compressed_bytes, len(data))
    with Image.open(BytesIO(chunks.needed()), formats=("PNG",)):
        pass
    form = Form.CHECKED | (Form.LARGE_METADATA if chunks.largest_metadata > _METADATA_BYTES else 0)
    return form | _decode(decodable(data, form), chunks.depth == 16)


def _check_bitmap(data: np.ndarray, file_format: str) -> Form:
    with Image.open(BytesIO(data.data), formats=(file_format,)) as image:
        width, height = image.size
        _check_size(width, height, MAX_SIDE)
        if file_format == "BMP":
            needed, allowed = _bmp_bytes(data, width, height)
            deep = False
        else:
            needed, allowed = _tiff_bytes(image, len(data))
            deep = 16 in image.tag_v2.get(258, ())
        if allowed:
            _check_fits(width, height, needed, allowed, len(data))
    return Form.CHECKED | _decode(data, deep)


def _decode(data: np.ndarray, deep: bool) -> Form:
    pixels = decode_to_check(data)
    return Form.DARK if deep and pixels.max() < _DARK else Form(0)


def _check_size(width: int, height: int, longest: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnusablePictureError(
            f"has {width} x {height} pixels, more than the limit of {MAX_PIXELS} pixels; make it smaller"
        )
    if max(width, height) > longest:
        raise UnusablePictureError(
            f"has {width} x {height} pixels, more than the limit of {longest} for a side; make it smaller"
        )


def _check_fits(width: int, height: int, needed: int, allowed: int, length: int) -> None:
    if needed > allowed:
        raise UnusablePictureError(
            f"should be {FORMATS}, found {length} bytes, which cannot hold the {width} x {height} pixels that it claims"
        )


class _PngChunks:
    """The chunks of a PNG. ValueError for one that is longer than the file, or damaged where that is not looked at."""

    def __init__(self, data: np.ndarray) -> None:
        self._data = memoryview(data)
        self._kept = [(0, len(_PNG))]  # start and end
        self.compressed_bytes = self.largest_metadata = 0
        at, name = len(_PNG), b""
        while name != b"IEND":
            length, name = struct.unpack_from(">I4s", self._data, at)
            end = at + 12 + length
            if end > len(data):
                raise ValueError(f"the chunk {name!r} is longer than the file")
            self._take(name, at, end)
            at = end
        width, height, self.depth, colours = struct.unpack_from(">IIBB", self._data, 16)
        self.size = width, height
        bits = self.depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours]
        self.pixel_bytes = height * (1 + width * bits // 8)

    def _take(self, name: bytes, at: int, end: int) -> None:
        if name[:1].isupper() or name == b"tRNS" or (name == b"eXIf" and end - at < MAX_EXIF_BYTES):
            self._kept.append((at, end))
            self.compressed_bytes += end - at if name == b"IDAT" else 0
            return
        self.largest_metadata = max(self.largest_metadata, end - at)
        if not self.compressed_bytes:  # Pillow checks all that comes before the pixels
            (stored,) = struct.unpack_from(">I", self._data, end - 4)
            if zlib.crc32(self._data[at + 4 : end - 4]) != stored:
                raise ValueError(f"the chunk {name!r} is damaged")

    def needed(self) -> bytes:
        """The file without the chunks that do not change its pixels: colour profile, text, and the like."""
        return b"".join(self._data[start:end] for start, end in self._kept)


def _bmp_bytes(data: np.ndarray, width: int, height: int) -> tuple[int, int]:
    """The bytes (or for runs pixels) that the header claims, and the most that there can be."""
    if struct.unpack_from("<I", data, 14)[0] == 12:  # the header of OS/2
        bits, compression = struct.unpack_from("<H", data, 24)[0], 0
    else:
        bits, compression = struct.unpack_from("<HI", data, 28)
    if compression in (1, 2):
        return width * height, _RLE_PIXELS * len(data)
    return height * ((width * bits + 31) // 32 * 4), len(data)


def _tiff_bytes(image: Image.Image, length: int) -> tuple[int, int]:
    """The bytes that the tags claim, and the most that there can be; 0 where that has no bound.

    Raises UnusablePictureError for sound TIFFs that MindSpore does not decode.
    """
    tags = image.tag_v2
    bits, samples = tags.get(258, (1,)), tags.get(277, 1)
    if 3 in tags.get(339, ()):
        raise UnusablePictureError("is a TIFF of floating-point pixels, which are not decoded; convert it to 8 bits")
    if max(bits) > 16:
        raise UnusablePictureError(f"is a TIFF of {max(bits)} bits a sample, more than 16; convert it to 8 bits")
    if tags.get(322, 1) * tags.get(323, 1) > max(4 * image.width * image.height, 2**24):
        raise ValueError("the tiles are larger than the picture")
    row_bytes = (image.width * max(bits) * samples + 7) // 8
    ratio = _TIFF_BYTES.get(tags.get(259, 1), 0)
    return image.height * row_bytes, ratio * length


def _is_arithmetic(data: np.ndarray) -> bool:
    return _jpeg_frame(data)[0] in (0xC9, 0xCA)


def _jpeg_frame(data: np.ndarray) -> tuple[int, int]:
    """The marker that begins a JPEG's frame, 0xC0 for most, and its bits a sample; (0, 0) when none is found."""
    at = 2
    while at + 5 <= len(data) and data[at] == 0xFF:
        marker = int(data[at + 1])
        if marker == 0xFF:  # a fill byte
            at += 1
        elif (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            return marker, int(data[at + 4])
        else:
            at += 2 + int(data[at + 2]) * 256 + int(data[at + 3])
    return 0, 0


def _found(data: np.ndarray, head: bytes) -> str:
    """What an undecodable file is, for a message."""
    if not len(data):
        return "an empty file"
    if kind := kind_of_file(head):
        return kind
    marker, bits = _jpeg_frame(data) if head.startswith(_JPEG) else (0, 8)
    if marker == 0xF7:
        return "a JPEG-LS picture; convert it to PNG"
    if marker in (0xC3, 0xC7, 0xCB, 0xCF):
        return "a lossless JPEG; convert it to PNG"
    if bits == 12:
        return "a JPEG of 12 bits a sample; convert it to 8 bits"
    return f"{len(data)} bytes that cannot be decoded"
