"""write_atomically: the whole new file or the old one, whatever happens in between; write_new: nobody else's."""

import errno
import os
import threading

import pytest

from src.utils.errors import ReportedError
from src.utils.files import move_new, write_atomically, write_new, write_new_text, write_text_atomically

NO_LINKS = [None, errno.EPERM, errno.EOPNOTSUPP]  # None: a file system that has them


def without_links(monkeypatch, number):
    """Have links fail with this errno, as on a file system that has none."""

    def link(*_):
        raise OSError(number, os.strerror(number))

    if number is not None:
        monkeypatch.setattr(os, "link", link)


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


@pytest.mark.parametrize("links", NO_LINKS)
def test_what_appears_meanwhile_is_not_overwritten(links, tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    without_links(monkeypatch, links)

    def write(temporary):
        temporary.write_text("ours")
        path.write_text("theirs")

    with pytest.raises(ReportedError) as raised:
        write_new(path, write)
    assert str(raised.value) == (
        f"{path} appeared while this command worked and is not overwritten; choose another name or move it away"
    )
    assert raised.value.exit_status == 1
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("links", NO_LINKS)
def test_a_new_file_is_whole_readable_and_alone(links, tmp_path, monkeypatch):
    without_links(monkeypatch, links)
    path = tmp_path / "a.txt"
    write_new_text(path, "grün\n")
    assert path.read_bytes() == "grün\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.stat().st_nlink == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_dangling_link_is_in_the_way_too(tmp_path):
    path = tmp_path / "a.txt"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReportedError, match="appeared while"):
        write_new_text(path, "x")
    assert path.is_symlink() and not (tmp_path / "elsewhere").exists()


def test_a_link_that_was_made_though_the_answer_got_lost_counts(tmp_path):
    temporary, path = tmp_path / "t", tmp_path / "p"
    temporary.write_text("ours")
    os.link(temporary, path)  # NFS asks a second time, and then finds its own
    move_new(temporary, path)
    assert path.read_text() == "ours" and not temporary.exists()


@pytest.mark.parametrize("links", NO_LINKS)
def test_of_many_that_write_one_path_one_wins(links, tmp_path, monkeypatch):
    without_links(monkeypatch, links)
    for race in range(20):
        path, start, told = tmp_path / f"{race}.txt", threading.Barrier(4), []

        def write(who, path=path, start=start, told=told):
            start.wait()
            try:
                write_new_text(path, f"{who}\n" * 1000)
            except ReportedError:
                told.append(who)

        writers = [threading.Thread(target=write, args=(who,)) for who in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        (winner,) = {0, 1, 2, 3} - set(told)
        assert path.read_text() == f"{winner}\n" * 1000
    assert len(list(tmp_path.iterdir())) == 20
