"""What ships with the bundled generator: brushes at once, and nothing for any other weights."""

import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ganpatch import Causes, GanpatchError, Generator, Patch
from ganpatch.families.churches import STUDY
from ganpatch.patch.patch_file import Model
from ganpatch.studio.bundled import Study
from ganpatch.studio.palette import Palette

ROOT = Path(__file__).resolve().parents[2]


def model_of(generator: Generator) -> Model:
    return Model.of(generator.name, generator.fingerprint)


def test_the_study_is_of_the_weights_that_ship(churches: Generator) -> None:
    study = Study.of(model_of(churches))
    palette = Palette({"layer4": 256}, lambda layer: {})
    palette.add_dissection("study", study.dissections[0])
    palette.add_causes(study.causes[0])
    brushes = {brush.label: brush.source for brush in palette.all(())}
    assert {name: brushes[name] for name in ("tree", "door", "cloud", "roof")} == {
        "tree": "causes", "door": "causes", "cloud": "agrees", "roof": "agrees",
    }  # fmt: skip
    shipped = Patch.load(ROOT / "patches" / "churches.yaml")
    assert study.edits == shipped.edits
    assert study.evidence == shipped.evidence.choices()
    assert study.first is not None
    assert study.first.layer == study.causes[0].layer
    assert study.first.fault in {edit.id for edit in study.edits}
    assert sum(path.stat().st_size for path in STUDY.rglob("*") if path.is_file()) < 300_000


def test_other_weights_get_nothing(small_dcgan: Generator) -> None:
    assert Study.of(model_of(small_dcgan)) == Study()


def test_causes_of_other_weights_are_refused(churches: Generator, small_dcgan: Generator, tmp_path: Path) -> None:
    shutil.copytree(STUDY, tmp_path / "study")
    manifest = tmp_path / "study" / "causes" / "causes.json"
    own = Causes.load(STUDY / "causes").model.fingerprint.weights
    manifest.write_text(manifest.read_text().replace(own, small_dcgan.fingerprint.weights))
    with pytest.raises(GanpatchError) as fault:
        Study.of(model_of(churches), tmp_path / "study")
    assert str(fault.value) == f"'{tmp_path / 'study'}': the causes that ship are of other weights than churches"


def test_no_edit_ships_with_another_model(client: TestClient) -> None:
    model = client.get("/api/model").json()
    assert (model["offered"], model["first"]) == ([], None)
    refused = client.post("/api/adopt", json={"id": "a", "edit": "stamp"})
    assert (refused.status_code, refused.json()["detail"]) == (422, "no edit 'stamp' ships with small")
