import errno
import os
import resource
import signal
import threading
import time
from pathlib import Path

import pytest
import torch

from ganpatch import GanpatchError
from ganpatch.disk import locks
from ganpatch.disk.atomic_files import (
    enduring,
    read_bytes,
    refuse_same_file,
    remove,
    replacing,
    replacing_both,
    write_text,
)


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


def test_two_processes_move_files_that_belong_together_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, beside = tmp_path / "a.yaml", tmp_path / "a.masks"

    def write() -> None:
        with replacing_both(path, beside) as made:
            for file in made:
                file.write_text("new")

    monkeypatch.setattr(locks, "_PATIENCE", 0.05)
    with locks.briefly_held(tmp_path):
        with pytest.raises(GanpatchError) as fault:
            write()
        assert entries(tmp_path) == []
        monkeypatch.setattr(locks, "_PATIENCE", 60)
        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(0.05)
        assert not path.exists()
    writer.join()
    assert str(fault.value) == f"'{tmp_path}' is in use by another process that moves files in it; try again"
    assert entries(tmp_path) == ["a.masks", "a.yaml"]


def test_a_file_for_torch_keeps_a_fault_until_the_end(tmp_path: Path) -> None:
    """torch ends the process, without a word, when a write into a TorchScript archive fails."""
    script = torch.jit.trace(torch.nn.Linear(90, 90), torch.ones(1, 90))
    saves = (lambda file: torch.jit.save(script, file), lambda file: torch.save(script.state_dict(), file))
    child = os.fork()
    if child == 0:
        told = 0
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
            for save in saves:
                try:
                    with enduring(tmp_path / "a") as file:
                        save(file)
                except OSError as fault:
                    told += fault.errno == errno.EFBIG
        finally:
            os._exit(told)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == len(saves)


def test_what_cannot_be_removed_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    remove(tmp_path / "b")
    remove(tmp_path / "a")
    assert entries(tmp_path) == []
    (tmp_path / "a").write_text("")
    with pytest.raises(GanpatchError, match="^cannot write .*: not a directory$"):
        remove(tmp_path / "a" / "b")


def test_faults_of_the_disk_in_numbers(tmp_path: Path) -> None:
    for number, text in ((27, "file too large"), (30, "read-only file system"), (122, "disk quota exceeded")):
        with pytest.raises(GanpatchError, match=f": {text}$"), replacing(tmp_path / "a"):
            raise RuntimeError(f"I/O error: whatever (os error {number})")
