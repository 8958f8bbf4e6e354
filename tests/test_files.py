import errno
import os
from pathlib import Path

import pytest

from ganpatch import GanpatchError
from ganpatch.files import read_bytes, refuse_same_file, replacing, write_text


def entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_appears_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "a.txt", "one")
    assert (tmp_path / "deep" / "a.txt").read_text() == "one"
    assert entries(tmp_path / "deep") == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ValueError, match="on the way"), replacing(path) as temporary:
        temporary.write_text("half")
        raise ValueError("on the way")
    assert path.read_text() == "old"
    assert entries(tmp_path) == ["a.txt"]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(GanpatchError) as fault, replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(fault.value) == f"cannot write '{path}': no space left on device"
    assert entries(tmp_path) == []


def test_a_full_disk_in_the_words_of_a_library(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(GanpatchError) as fault, replacing(path):
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    assert str(fault.value) == f"cannot write '{path}': no space left on device"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GanpatchError, match="^cannot write .*: file exists$"):
        write_text(tmp_path / "file" / "a.txt", "")
    with pytest.raises(GanpatchError, match="^cannot write .*: is a folder$"):
        write_text(tmp_path, "")


def test_reading_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_bytes(path, limit=5) == b"12345"
    with pytest.raises(GanpatchError) as fault:
        read_bytes(path, limit=4)
    assert str(fault.value) == f"'{path}': 5 bytes, more than the 4 that such a file may have"
    with pytest.raises(GanpatchError, match="no such file"):
        read_bytes(tmp_path / "b", limit=4)


def test_an_input_is_not_overwritten_through_a_link(tmp_path: Path) -> None:
    source, link = tmp_path / "a", tmp_path / "b"
    source.write_text("")
    link.symlink_to(source)
    refuse_same_file(tmp_path / "c", source)
    with pytest.raises(GanpatchError, match="an input is never overwritten"):
        refuse_same_file(link, source)


def test_a_new_file_can_be_read_by_others(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        write_text(tmp_path / "a", "")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
