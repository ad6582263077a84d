"""What a file that is no usable picture is instead, told by its first bytes."""

_TO_PNG = "convert it to PNG or JPEG"

# Signatures at the file's beginning, what they stand for, and what to do.
_SIGNATURES = (
    (b"GIF87a", "a GIF picture", _TO_PNG),
    (b"GIF89a", "a GIF picture", _TO_PNG),
    (b"8BPS", "a Photoshop document (PSD)", _TO_PNG),
    (b"gimp xcf", "a GIMP document (XCF)", _TO_PNG),
    (b"%PDF", "a PDF document", _TO_PNG),
    (b"%!PS", "a PostScript document", _TO_PNG),
    (b"\xff\x0a", "a JPEG XL picture", _TO_PNG),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture", _TO_PNG),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture", _TO_PNG),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture", _TO_PNG),
    (b"\0\0\1\0", "an icon (ICO)", _TO_PNG),
    (b"v/1\1", "an OpenEXR picture", _TO_PNG),
    (b"#?RADIANCE", "a Radiance HDR picture", _TO_PNG),
    (b"DDS ", "a DirectDraw surface (DDS)", _TO_PNG),
    (b"qoif", "a QOI picture", _TO_PNG),
    (b"\x93NUMPY", "a NumPy array", "save it as PNG"),
    (b"\x89HDF", "an HDF5 file", "save its pictures as PNG"),
    (b"PK\3\4", "a ZIP archive", "unpack it"),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (b"Rar!", "a RAR archive", "unpack it"),
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer instead of the file", "run git lfs pull"),
)
# The brand of an ISO media file, ....ftypBRAND.
_BRANDS = {b"avif": "an AVIF picture", b"avis": "an AVIF picture", b"mif1": "a HEIF picture", b"msf1": "a HEIF picture"}
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")


def kind_of_file(data: bytes) -> str | None:
    """Return what a file beginning with `data` (some hundred bytes) is, and what to do; None for what is not known."""
    for signature, kind, remedy in _SIGNATURES:
        if data.startswith(signature):
            return f"{kind}; {remedy}"
    if data[:4] == b"RIFF":
        return f"a WebP picture; {_TO_PNG}" if data[8:12] == b"WEBP" else "a sound or video file (RIFF); remove it"
    if data[4:8] == b"ftyp":
        return _media_kind(data[8:12])
    if data[128:132] == b"DICM":
        return f"a DICOM picture; {_TO_PNG}"
    if data[:2] in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6") and data[2:3].isspace():
        return f"a Netpbm picture (PBM, PGM, PPM); {_TO_PNG}"
    if data and not any(data):
        return "nothing but zero bytes; copy or download it again"
    return _text_kind(data)


def _media_kind(brand: bytes) -> str:
    if brand in _HEIC_BRANDS:
        return f"a HEIC picture; {_TO_PNG}"
    return f"{_BRANDS[brand]}; {_TO_PNG}" if brand in _BRANDS else "a video (MP4 or QuickTime); remove it"


def _text_kind(data: bytes) -> str | None:
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:400].lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page, which a server sent instead of the file; download it again"
    if text.startswith((b"<svg", b"<!doctype svg")) or (text.startswith((b"<?xml", b"<!--")) and b"<svg" in text):
        return f"an SVG drawing; {_TO_PNG}"
    if text.startswith(b"<?xml"):
        return "an XML text, as servers send for an error; download it again"
    if text.startswith(b'{"'):
        return "a JSON text, as servers send for an error; download it again"
    return None
