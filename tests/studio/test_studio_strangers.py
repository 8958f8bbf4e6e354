"""A session's folder that came from somebody else: nothing outside is read, nothing hangs, their address is not taken."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ganpatch import GanpatchError, Generator
from ganpatch.patch.patch_file import Model
from ganpatch.studio import trust
from ganpatch.studio.changes import Flag
from ganpatch.studio.history import Folder
from ganpatch.studio.trust import belongs_to_another, kept_server

CHANNELS = {"main.2": 12, "main.5": 8}


@pytest.fixture
def model(small_dcgan: Generator) -> Model:
    return Model.of("small", small_dcgan.fingerprint)


@pytest.fixture
def session(tmp_path: Path, model: Model) -> Path:
    folder = Folder.open(tmp_path / "s", model, CHANNELS)
    folder.change(Flag(id="a", layer="main.5", unit=1))
    (tmp_path / "secret").write_text("mine")
    return folder.path


PLACES = ("patch.yaml", "studio.json", "history/000001.json", "masks/x.safetensors", "figures/x.json", "exports/x.onnx")


@pytest.mark.parametrize("name", PLACES)
def test_no_link_leads_out_of_a_session(name: str, session: Path, model: Model) -> None:
    path = session / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(session.parent / "secret")
    with pytest.raises(GanpatchError) as fault:
        Folder.open(session, model, CHANNELS)
    assert str(fault.value) == f"'{path}' is a link that leads out of the session's folder; remove it"
    assert not any("mine" in kept.read_text() for kept in session.glob("history/*") if not kept.is_symlink())


def test_no_folder_of_a_session_is_elsewhere(session: Path, model: Model) -> None:
    (session / "history").rename(session.parent / "elsewhere")
    (session / "history").symlink_to(session.parent / "elsewhere")
    with pytest.raises(GanpatchError, match="'.*history' is a link that leads out of the session's folder; remove it"):
        Folder.open(session, model, CHANNELS)


PUT: dict[str, Callable[[Path], object]] = {
    "a pipe, socket or device": os.mkfifo,
    "a folder": Path.mkdir,
}


@pytest.mark.parametrize("what", PUT)
@pytest.mark.parametrize("name", ["patch.yaml", "studio.json", "history/000001.json"])
def test_what_is_no_file_is_refused_in_words(what: str, name: str, session: Path, model: Model) -> None:
    path = session / name
    path.unlink()
    PUT[what](path)
    with pytest.raises(GanpatchError) as fault:
        Folder.open(session, model, CHANNELS)
    assert str(fault.value) == f"cannot read '{path}': it is {what}, not a file"


def test_a_patch_changed_by_hand_and_broken_is_kept(session: Path, model: Model) -> None:
    (session / "patch.yaml").write_text("edits: what I wrote")
    Folder.open(session, model, CHANNELS)
    (kept,) = (session / "history").glob("broken-*.yaml")
    assert kept.read_text() == "edits: what I wrote"


@pytest.mark.parametrize(
    ("token", "mode", "taken"),
    [("t" * 32, 0o600, True), ("t" * 31, 0o600, False), ("t" * 32, 0o644, False), ("t" * 31 + '"', 0o600, False)],
)
def test_a_token_is_taken_from_a_private_file_only(token: str, mode: int, taken: bool, tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    path.write_text(json.dumps({"port": 5000, "token": token}))
    path.chmod(mode)
    assert (kept_server(tmp_path) != {}) == taken


def test_neither_token_nor_port_of_another_user_or_behind_a_link_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    path = tmp_path / "server.json"
    path.write_text(json.dumps({"port": 5000, "token": "t" * 32}))
    path.chmod(0o600)
    assert not belongs_to_another(path)
    monkeypatch.setattr(trust.os, "geteuid", lambda: os.getuid() + 1)
    assert belongs_to_another(path)
    assert kept_server(tmp_path) == {}
    monkeypatch.undo()
    path.rename(tmp_path / "kept")
    path.symlink_to(tmp_path / "kept")
    assert kept_server(tmp_path) == {}
