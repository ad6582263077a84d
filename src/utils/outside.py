"""Files from outside: opened only when they are regular files, read only up to a bound, and named for what they are."""

import errno
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO


class UnfitFileError(OSError):
    """A file of a kind or size that is not read; `strerror` says which, as the operating system's errors do."""

    def __init__(self, path: str | os.PathLike, found: str) -> None:
        super().__init__(None, found, os.fspath(path))


def open_outside(path: str | os.PathLike) -> BinaryIO:
    """Open a file that somebody named, to be read as bytes.

    Raises UnfitFileError for a named pipe, a device or a socket, of which opening or reading could wait for ever, and
    the operating system's OSError for what it refuses and for a folder.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116, asked before it is opened, which alone can wait or do something
    except OSError:
        mode = stat.S_IFREG  # opening it says what is wrong
    _require_regular(path, mode)
    file = Path(path).open("rb")  # noqa: SIM115, it is the caller's
    try:
        _require_regular(path, os.fstat(file.fileno()).st_mode)
    except BaseException:
        file.close()
        raise
    return file


def read_outside(path: str | os.PathLike, most: int) -> bytes:
    """All bytes of such a file. Raises as `open_outside`, and UnfitFileError when there are more than `most`."""
    with open_outside(path) as file:
        # Not read(most + 1): Python allocates what it is asked for.
        data = file.read() if os.fstat(file.fileno()).st_size <= most else None
    if data is None or len(data) > most:
        raise UnfitFileError(path, f"it has more than {most:,} bytes")
    return data


def open_ours(path: str | os.PathLike, flags: int) -> int:
    """A descriptor of a file of ours inside a run folder, made if it is missing.

    Raises OSError: UnfitFileError when the name is taken by a link, which could lead to somebody's file, or by what is
    no regular file.
    """
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except OSError as error:
        kind = kind_of(os.lstat(path).st_mode) if os.path.lexists(path) else ""
        raise (UnfitFileError(path, f"it is {kind}") if kind else error) from error
    try:
        _require_regular(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def kind_of(mode: int) -> str:
    """What has the `st_mode` mode, in words; empty for a regular file."""
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((name for test, name in kinds if test(mode)), "")


def what_it_is(path: str | os.PathLike) -> str:
    """What a file that is not what its reader expects is, and what takes it; empty when nothing known or not readable.

    To stand behind "it is".
    """
    try:
        with open_outside(path) as file:
            head = file.read(1024)
    except OSError:
        return ""
    return next((found.format(path=path) for begins, found in _KINDS if begins(head)), "")


def _starts(*prefixes: bytes):
    return lambda head: head.startswith(prefixes)


def _is_safetensors(head: bytes) -> bool:
    return head[8:10] == b'{"' and 2 <= int.from_bytes(head[:8], "little") < 2**32


def _is_page(head: bytes) -> bool:
    return re.match(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|\?xml|error)\b", head, re.IGNORECASE) is not None


def _is_onnx(head: bytes) -> bool:
    """Its first fields: ir_version (1, a number), and producer (2) or graph (7)."""
    return re.match(rb"\x08[\x01-\x20](?:\x12[\x01-\x40][ -~]|[\x1a\x22\x2a\x32\x3a\x42])", head) is not None


def _is_mindir(head: bytes) -> bool:
    """Its first fields: ir_version (1) and producer_name (2), both texts."""
    return re.match(rb"\x0a[\x01-\x10][0-9][0-9.]*\x12\x09MindSpore", head) is not None


_CONVERT = "python -m src.deploy.convert_weights {path} NAME.ckpt makes a checkpoint of it"
_AGAIN = "fetch the file itself"
_KINDS = (
    (lambda head: not head, "an empty file; " + _AGAIN),
    (_starts(b"version https://git-lfs"), "a Git LFS pointer and not the file it stands for; run git lfs pull"),
    (_is_page, "a web page, as a failed download leaves; " + _AGAIN),
    (_is_safetensors, "a .safetensors file; " + _CONVERT),
    (_starts(b"PK\x03\x04", b"PK\x05\x06"), "a zip archive, as PyTorch's .pth and Lightning's .ckpt are; " + _CONVERT),
    (re.compile(rb"\x80[\x02-\x05]").match, "a Python pickle, as PyTorch's older .pth are; " + _CONVERT),
    (_is_mindir, "a MindIR model; scripts/run_infer_310.sh takes it"),
    (_is_onnx, "an ONNX model; eval_onnx.py takes it"),
    (_starts(b"\x89HDF\r\n\x1a\n"), "an HDF5 file, as Keras' weights are; export those to .safetensors or .pth first"),
    (_starts(b"\x93NUMPY"), "a NumPy array; save weights as .safetensors"),
    (_starts(b"\x1f\x8b"), "a gzip archive; unpack it first"),
    (_starts(b"BZh"), "a bzip2 archive; unpack it first"),
    (_starts(b"\xfd7zXZ\x00"), "an xz archive; unpack it first"),
    (_starts(b"\x28\xb5\x2f\xfd"), "a zstd archive; unpack it first"),
    (_starts(b"7z\xbc\xaf"), "a 7z archive; unpack it first"),
    (_starts(b"Rar!"), "a RAR archive; unpack it first"),
    (lambda head: head[257:262] == b"ustar", "a tar archive; unpack it first"),
    (_starts(b"\x89PNG\r\n"), "a PNG picture; --images and the data set's flags take pictures"),
    (_starts(b"\xff\xd8\xff"), "a JPEG picture; --images and the data set's flags take pictures"),
    (_starts(b"%PDF"), "a PDF document; name the file that was meant"),
    (_starts(b"\x7fELF"), "a program; name the file that was meant"),
    (lambda head: not head.strip(b"\0"), "zeros only, as an interrupted copy leaves; copy it again"),
)


def _require_regular(path: str | os.PathLike, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if kind := kind_of(mode):
        raise UnfitFileError(path, f"it is {kind}, expected a file")
