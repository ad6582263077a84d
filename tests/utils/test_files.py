"""write_atomically: the whole new file or the old one, whatever happens in between."""

import pytest

from src.utils.errors import ReportedError
from src.utils.files import write_atomically, write_text_atomically


def test_text_is_written_as_utf8_and_readable_by_others(tmp_path):
    write_text_atomically(tmp_path / "a.txt", "grün\n")
    assert (tmp_path / "a.txt").read_bytes() == "grün\n".encode()
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    path, seen = tmp_path / "a.csv", []
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half")
        seen.extend([path.read_text(), temporary.name[:5], temporary.suffix])
        temporary.write_text("whole")

    write_atomically(path, write)
    assert seen == ["old", ".tmp-", ".csv"]
    assert path.read_text() == "whole"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(error, tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_text("old")

    def write(temporary):
        temporary.with_suffix(".tmp").write_text("what MindSpore fills first")
        temporary.write_text("half")
        raise error

    with pytest.raises((ReportedError, KeyboardInterrupt)) as raised:
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    if isinstance(error, OSError):
        assert str(raised.value) == (
            f"cannot write {path}: No space left on device; free the disk or choose another folder"
        )


def test_a_missing_folder_is_reported(tmp_path):
    with pytest.raises(ReportedError, match=r"cannot write .*/none/a\.txt: No such file or directory"):
        write_text_atomically(tmp_path / "none" / "a.txt", "x")
