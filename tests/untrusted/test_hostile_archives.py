"""Archives that were made to harm: zip bombs, two meanings, names that lead out."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ganpatch import GanpatchError
from ganpatch.untrusted.weight_files import read_checkpoint
from tests.support.bounded import refusal
from tests.support.hostile_files import state


def test_an_archive_that_unpacks_to_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "ok.pt")
    with zipfile.ZipFile(tmp_path / "ok.pt") as source, zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as target:  # fmt: skip
        for name in source.namelist():
            target.writestr(name, source.read(name))
        target.writestr("ok/data/99", bytes(100_000_000))
    said = refusal(lambda: read_checkpoint(tmp_path / "a.pt"))
    assert "bytes and says that it unpacks to 100," in said


def _prefixed(good: bytes) -> bytes:
    return b"PK\x03\x04 another archive" + good


def _with_comment(good: bytes) -> bytes:
    return good[:-2] + struct.pack("<H", len(good)) + good


def _twice(good: bytes) -> bytes:
    content = io.BytesIO(good)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(content, "a") as archive:
        archive.writestr(archive.namelist()[0], b"\x80\x02}.")
    return content.getvalue()


def _overlapping(good: bytes) -> bytes:
    """Let two entries of the directory lead to the same place."""
    content = bytearray(good)
    first = content.index(b"PK\x01\x02")
    second = content.index(b"PK\x01\x02", first + 4)
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    return bytes(content)


def _named(name: str) -> Callable[[bytes], bytes]:
    def change(good: bytes) -> bytes:
        content = io.BytesIO(good)
        with zipfile.ZipFile(content, "a") as archive:
            archive.writestr(name, b"x")
        return content.getvalue()

    return change


@pytest.mark.parametrize(
    "change",
    [_prefixed, _with_comment, _twice, _overlapping, *map(_named, ("ok/../../x", "/etc/x", "ok\\x", "other/data.pkl", "x"))],
    ids=lambda change: change.__name__,
)  # fmt: skip
def test_an_archive_with_two_meanings_is_refused(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "ok.pt")
    (tmp_path / "a.pt").write_bytes(change((tmp_path / "ok.pt").read_bytes()))
    with pytest.raises(GanpatchError, match=r"a\.pt"):
        read_checkpoint(tmp_path / "a.pt")
