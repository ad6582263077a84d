"""What is no regular file is not opened."""

import os
import socket

import pytest

from src.utils.files import no_file
from src.utils.outside import UnfitFileError, open_ours, open_outside, read_outside


@pytest.fixture
def odd(tmp_path):
    """Names that are no files."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    (tmp_path / "device").symlink_to("/dev/zero")
    return tmp_path


@pytest.mark.parametrize(("name", "kind"), [("pipe", "a named pipe"), ("socket", "a socket"), ("device", "a device")])
def test_what_could_wait_for_ever_is_not_opened(name, kind, odd):
    with pytest.raises(UnfitFileError, match=f"it is {kind}, expected a file"):
        open_outside(odd / name)
    assert no_file(odd / name) == f"is {kind}"


def test_a_folder_is_what_the_system_says(odd):
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        open_outside(odd / "folder")
    assert no_file(odd / "folder") == "is a folder"


def test_a_file_is_read_up_to_a_bound(tmp_path):
    (tmp_path / "a").write_bytes(b"1234")
    assert read_outside(tmp_path / "a", 4) == b"1234"
    with pytest.raises(UnfitFileError, match="it has more than 3 bytes"):
        read_outside(tmp_path / "a", 3)
    with pytest.raises(FileNotFoundError):
        read_outside(tmp_path / "b", 3)
    assert no_file(tmp_path / "b") == no_file(tmp_path / ("x" * 300)) == "does not exist"


def test_our_own_files_are_no_links(odd):
    (odd / "precious").write_text("precious")
    (odd / "link").symlink_to("precious")
    for name, kind in (("link", "a symbolic link"), ("pipe", "a named pipe")):
        with pytest.raises(UnfitFileError, match=f"it is {kind}"):
            open_ours(odd / name, os.O_WRONLY | os.O_TRUNC)
    assert (odd / "precious").read_text() == "precious"
    os.close(open_ours(odd / "new", os.O_WRONLY))
    assert (odd / "new").stat().st_mode & 0o777 == 0o644
