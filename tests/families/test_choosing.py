"""Which model is meant when none is named, and what a run folder says about it."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import ganpatch
from ganpatch import GanpatchError
from ganpatch.disk.seals import is_sealed, sealed
from ganpatch.families.choosing import choose_model
from ganpatch.families.origins import ORIGIN, read_origin
from ganpatch.runs.ranking_run import rank_to_folder
from tests.support.nets import dcgan
from tests.support.shared import patch_for

NET = """
import pathlib
from tests.support.nets import dcgan
pathlib.Path("ran").touch()
def Net():
    return dcgan()[0]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a user, who has a secret."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return work


def save(name: str) -> None:
    torch.save(dcgan()[0].state_dict(), name)


def refusal(**given: object) -> str:
    with pytest.raises(GanpatchError) as caught:
        choose_model(None, **given)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_named_model_is_that_one(folder: Path) -> None:
    chosen = choose_model("model.pt", latent="normal:8")
    assert (chosen.model, chosen.options.latent, chosen.note) == ("model.pt", "normal:8", "")


def test_the_bundled_generator_is_named(folder: Path) -> None:
    assert choose_model(None).note == "no MODEL given: using the bundled generator churches"


def test_settings_are_named(folder: Path) -> None:
    save("model.pt")
    (folder / "ganpatch.toml").write_text('[model]\npath = "model.pt"\n')
    chosen = choose_model(None)
    assert (chosen.model, chosen.note) == ("model.pt", "no MODEL given: using model.pt, as ganpatch.toml says")


def test_a_checkpoint_in_the_folder_is_not_passed_over(folder: Path) -> None:
    save("model.pt")
    assert refusal() == (
        "no MODEL given, and 'model.pt' is in this folder; name the model, or 'churches' for the bundled generator"
    )


@pytest.mark.parametrize(
    "name", ["churches.fixed.safetensors", "a.reverted.pt", "fix.safetensors", "run.png", "m.onnx"]
)
def test_files_that_ganpatch_writes_are_no_checkpoints(folder: Path, name: str) -> None:
    (folder / "fix.yaml").touch()
    (folder / name).touch()
    assert choose_model(None).model == "churches"


def test_a_patch_for_another_model_is_refused_with_both_names(folder: Path) -> None:
    module, latent = dcgan()
    patch = patch_for(ganpatch.load(module, latent=latent), {"layer": "main.5", "channels": 8, "units": [3]})
    assert refusal(patch=patch) == (
        f"no MODEL given, and patch 'test' is for model '{patch.model.name}', not for the bundled generator "
        "'churches'; name the model"
    )


def ranked(model: str, out: Path = Path("run"), **options: object) -> Path:
    rank_to_folder(ganpatch.load(model, **options), out, ["main.5"], range(4), k=2)
    return out


def test_a_run_knows_how_its_model_was_loaded(folder: Path) -> None:
    (folder / "net.py").write_text(NET)
    save("model.pt")
    options = {"arch": "net.py:Net", "latent": "normal:8", "range": (-1.0, 1.0)}
    run = ranked("model.pt", **options)
    chosen = choose_model(None, run=run)
    assert chosen.model == "model.pt"
    assert {name: getattr(chosen.options, name) for name in options} == options
    assert chosen.note == "no MODEL given: using model.pt, as 'run' was made with"
    assert chosen.load().fingerprint == ganpatch.load("model.pt", **options).fingerprint
    assert choose_model("run").model == "model.pt"
    assert choose_model("run", latent="uniform:-1,1:8").options.latent == "uniform:-1,1:8"
    assert json.loads((run / ORIGIN).read_text())["model"] == "../model.pt"


def test_a_run_that_was_moved_with_its_model_still_knows(folder: Path) -> None:
    save("model.pt")
    ranked("model.pt")
    shutil.copytree(folder, folder.parent / "other")
    origin = read_origin(folder.parent / "other" / "run")
    assert origin is not None
    assert Path(origin.model).resolve() == folder.parent / "other" / "model.pt"


@pytest.mark.parametrize("options", [{"arch": "net.py:Net"}, {"repo": "code"}, {"trust_pickle": True}])
def test_a_run_of_a_stranger_runs_nothing(folder: Path, options: dict[str, object]) -> None:
    """Neither code that it names, nor code that it brings along in place of what this user ran."""
    (folder / "net.py").write_text(NET)
    save("model.pt")
    run = ranked("model.pt")
    content = json.loads((run / ORIGIN).read_text())
    (run / ORIGIN).write_text(json.dumps({**content, "options": {**content["options"], **options}}))
    assert refusal(run=run) == (
        f"'run/origin.json' names code ({options.get('arch') or options.get('repo') or 'model.pt'}) and was not written by you at this place; "
        "name the model yourself, with --arch and the other options"
    )
    assert not Path("ran").exists()


def test_a_folder_of_this_user_that_comes_back_elsewhere_runs_nothing(folder: Path) -> None:
    (folder / "net.py").write_text(NET)
    save("model.pt")
    ranked("model.pt", arch="net.py:Net", latent="normal:8")
    shutil.copytree(folder, folder.parent / "other")
    with pytest.raises(GanpatchError, match="was not written by you at this place"):
        read_origin(folder.parent / "other" / "run")


def test_only_who_holds_the_secret_seals(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = sealed("a")
    secret = folder.parent / "state" / "ganpatch" / "secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert is_sealed("a", mark)
    assert not is_sealed("b", mark)
    assert not is_sealed("a", "")
    secret.chmod(0o644)
    assert not is_sealed("a", mark)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "model.pt" / "x"))
    assert not is_sealed("a", mark)
    (folder / "model.pt").touch()
    assert sealed("a") == ""
    assert not is_sealed("a", "")
