"""The studio's routes for looking and painting: review ends in YAML, and what a stroke shows is what the patch does."""

import io
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from ganpatch import Patch, applied
from ganpatch.causes.result import Causes, ConceptCauses
from ganpatch.finding.suggestions import Found, MethodFacts, Suggested, save_suggestions
from ganpatch.studio.session import Studio
from tests.support.studio_client import LAYER, painting, pixels


def test_review_ends_in_yaml(client: TestClient, studio: Studio) -> None:
    for number, unit in enumerate((3, 1)):
        body = {"kind": "flag", "id": f"f{number}", "layer": LAYER, "unit": unit, "reason": "smear"}
        now = client.post("/api/changes", json=body).json()
    entry = now["content"]["edits"][0]
    about = {"edit": entry["edit"]["id"], "rev": entry["rev"]}
    client.post("/api/changes", json={"kind": "tune", "id": "t", **about, "unit": 3, "alpha": 0.5})
    stale = client.post("/api/changes", json={"kind": "remove", "id": "r", **about})
    assert (stale.status_code, stale.json()["detail"]) == (409, "edit 'main-5-1' was changed in another tab")
    (edit,) = Patch.load(studio.folder.path / "patch.yaml").edits
    assert (edit.units, edit.alpha, edit.reason) == ((1, 3), (1.0, 0.5), "smear")
    download = client.get("/api/download/patch")
    assert download.headers["content-disposition"] == 'attachment; filename="small-studio.yaml"'
    assert b"units: [1, 3]" in download.content


def test_what_a_stroke_shows_is_what_the_saved_patch_does(client: TestClient, studio: Studio) -> None:
    """The live image, the image after saving, and the patch file as hooks agree to the pixel."""
    shown = pixels(client.post("/api/images", json={"points": [{"seed": 7}], "painting": painting()}))
    plain = pixels(client.post("/api/images", json={"points": [{"seed": 7}]}))
    assert np.abs(shown - plain).max() > 3
    saved = client.post("/api/paint", json=painting(id="p1", edit="painted-a")).json()
    assert saved["content"]["edits"][0]["painted"]["strokes"][0]["radius"] == 4
    after = pixels(client.post("/api/images", json={"points": [{"seed": 7}], "patch": True}))
    patch = Patch.load(studio.folder.path / "patch.yaml")
    with applied(studio.generator.module, patch):
        hooked = (studio.generator.sample([7])[0].permute(1, 2, 0) * 255).round().numpy()
    assert np.abs(shown - after).max() <= 1  # the one before the pass was cut, the other after
    assert np.abs(after - hooked).max() <= 1
    with zipfile.ZipFile(io.BytesIO(client.get("/api/download/patch").content)) as archive:
        assert sorted(archive.namelist()) == ["small-studio.safetensors", "small-studio.yaml"]
    again = {"points": [{"seed": 7}], "patch": True, "without": "painted-a", "painting": painting()}
    assert np.abs(pixels(client.post("/api/images", json=again)) - shown).max() <= 1
    client.post("/api/paint", json=painting(id="p2", edit="painted-a", mode="insert"))
    (edit,) = Patch.load(studio.folder.path / "patch.yaml").edits
    assert edit.value[0] == pytest.approx(float(studio.ranking(LAYER).q99[3]))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (painting(brush="unit:mian.5:1"), "layer 'mian.5' is not among those with maps; did you mean 'main.5'?"),
        (painting(brush=f"unit:{LAYER}:99"), f"unit 99 is outside layer '{LAYER}' (8 units, 0-7)"),
        (painting(brush="edit:none"), "there is no brush 'edit:none'"),
        (painting(strokes=[]), "the strokes cover no part of the image"),
    ],
)
def test_paintings_that_do_not_fit_are_refused(client: TestClient, body: dict[str, Any], text: str) -> None:
    answer = client.post("/api/paint", json={**body, "id": "p", "edit": "painted-a"})
    assert (answer.status_code, answer.json()["detail"]) == (422, text)


def test_units_maps_and_levels(client: TestClient, studio: Studio) -> None:
    ranking = client.get("/api/ranking", params={"layer": LAYER}).json()
    assert len(ranking["layer"]["units"]) == 8
    sheet = client.get(f"/api/runs/{ranking['run']['run']}/{ranking['run']['thumbnails']['sheets'][0]}")
    assert sheet.content.startswith(b"\x89PNG")
    assert client.get("/api/ranking", params={"layer": "main.2"}).status_code == 404
    found = client.post("/api/activity", json={"point": {"seed": 7}, "layer": LAYER, "x": 3, "y": 3}).json()
    y = studio.frames.activation([*_points(7)], LAYER)[0]
    window = y[:, 0:3, 0:3] if y.shape[1] == 8 else y
    assert {unit["unit"] for unit in found["units"]} == set(range(8))
    assert found["size"] == list(y.shape[1:])
    assert max(unit["activation"] for unit in found["units"]) <= float(y.max()) + 1e-6
    assert window.numel()
    maps = client.post("/api/maps", json={"layer": LAYER, "unit": 2, "points": [{"seed": 7}, {"seed": 8}]}).json()
    assert maps["peaks"][0] == pytest.approx(float(y[2].max()))
    levels = client.get("/api/levels", params={"layer": LAYER, "unit": 2}).json()
    assert levels["low"] < levels["q99"] < levels["high"]
    assert sum(levels["counts"]) > 1000
    assert client.get("/api/levels", params={"layer": LAYER, "unit": 8}).status_code == 404


def test_suggestions_and_causes_are_orders_and_concepts_are_brushes(client: TestClient, studio: Studio) -> None:
    run = studio.run_of(LAYER)
    assert run is not None
    scores = torch.arange(8.0)
    facts = MethodFacts(explains="outbursts", layers=(LAYER,))
    save_suggestions(run.folder, run.manifest, {"spike": Suggested(facts=facts, layers={LAYER: Found(score=scores)})})
    record = ConceptCauses(
        alpha=scores.flip(0), iou=scores, conditional_mean=scores / 10, ace=None, presence=0.1, curves=()
    )
    plain = {"preset": "p", "steps": 1, "radius": 1, "seeds": "0", "held_out": "1", "segmenter": "s", "single": None}
    studio.causes = [
        Causes(
            model=studio.folder.state.model,
            layer=LAYER,
            channels=8,
            size=(8, 8),
            all_concepts=("tree",),
            concepts={"tree": record},
            q99=scores,
            q999=scores,
            **plain,
        )
    ]
    studio.palette = studio._palette()
    found = client.get("/api/ranking", params={"layer": LAYER}).json()["orders"]
    assert found == [
        {"name": "suggested: spike", "explains": "outbursts", "scores": scores.tolist()},
        {"name": "causes tree", "explains": found[1]["explains"], "scores": scores.flip(0).tolist()},
    ]
    (brush,) = client.get("/api/brushes").json()["brushes"]
    assert (brush["label"], brush["count"], brush["levels"]) == ("tree", 8, ["mean", "q99", "q999"])
    body = painting(id="p", edit="painted-a", brush=brush["name"], mode="insert", count=4)
    (entry,) = client.post("/api/paint", json=body).json()["content"]["edits"]
    assert (entry["edit"]["units"], entry["edit"]["reason"]) == ([0, 1, 2, 3], "add tree, painted")
    values = {"mean": scores / 10, "q99": scores, "q999": scores}
    for number, (level, wanted) in enumerate(values.items()):
        again = {**body, "id": f"l{number}", "level": level}
        (entry,) = client.post("/api/paint", json=again).json()["content"]["edits"]
        assert entry["edit"]["value"] == pytest.approx(wanted[:4].tolist())
    (run.folder / "suggestions.json").unlink()
    (order,) = client.get("/api/ranking", params={"layer": LAYER}).json()["orders"]
    assert order["name"] == "causes tree"


def _points(*seeds: int) -> list[Any]:
    from ganpatch.studio.state import Point

    return [Point(seed=seed) for seed in seeds]
