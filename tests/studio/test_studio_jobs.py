"""The studio's long work: ranking, baking, quality figures, concepts learned from strokes."""

import io

import pytest
import torch
from fastapi.testclient import TestClient

from ganpatch import Patch
from ganpatch.dissection.result import Dissection
from ganpatch.evaluation.evaluator import Choices, evaluate
from ganpatch.finding.image_features import load_features
from ganpatch.studio.session import Opening, Studio
from tests.support.studio_client import LAYER, done, painting


@pytest.mark.usefixtures("without_children")
def test_ranking_baking_and_files_in_the_background(client: TestClient, studio: Studio) -> None:
    job = client.post("/api/jobs", json={"kind": "bake"})
    assert (job.status_code, job.json()["detail"]) == (422, "no edit is on: there is nothing to bake or to measure")
    ranked = done(client, client.post("/api/jobs", json={"kind": "rank", "layer": "main.2", "n": 20}).json()["id"])
    assert ranked["state"] == "done"
    assert len(client.get("/api/ranking", params={"layer": "main.2"}).json()["layer"]["units"]) == 12
    client.post("/api/changes", json={"kind": "flag", "id": "a", "layer": LAYER, "unit": 1})
    digest = Patch.load(studio.folder.path / "patch.yaml").digest
    baked = done(client, client.post("/api/jobs", json={"kind": "bake"}).json()["id"])["result"]
    assert (baked["digest"], baked["edits"][0]["outcome"]) == (digest, "folded")
    written = done(client, client.post("/api/jobs", json={"kind": "weights"}).json()["id"])["result"]
    repaired = client.get(f"/api/download/{written['file']}")
    state = torch.load(io.BytesIO(repaired.content), weights_only=True)
    before = studio.generator.module.state_dict()
    assert any(not torch.equal(state[name], before[name]) for name in before)
    assert client.get("/api/download/studio.json").status_code == 404


@pytest.mark.usefixtures("without_children")
def test_a_repair_that_weights_cannot_hold_says_why(client: TestClient) -> None:
    client.post("/api/paint", json=painting(id="p1", edit="painted-a"))
    failed = done(client, client.post("/api/jobs", json={"kind": "weights"}).json()["id"])
    assert failed["state"] == "failed"
    assert failed["error"] == (
        "Weights cannot hold “remove unit 3, painted”: upstream, it varies over space, and a normalisation's gain does "
        "not; downstream, it varies over space, and a convolution's weight does not. Switch off what they cannot hold, "
        "or download the patch or ONNX."
    )


@pytest.mark.usefixtures("without_children")
def test_a_quality_figure_is_kept_with_the_patch_that_it_is_of(client: TestClient, studio: Studio) -> None:
    client.post("/api/changes", json={"kind": "flag", "id": "a", "layer": LAYER, "unit": 1})
    few = client.post("/api/jobs", json={"kind": "quality", "n": 49})
    assert (few.status_code, few.json()["detail"]) == (
        422,
        "a quality figure of 49 images says nothing; give 50 or more",
    )
    assert client.post("/api/jobs", json={"kind": "quality", "features": "net.py:make"}).status_code == 422, "no code"
    job = done(client, client.post("/api/jobs", json={"kind": "quality", "n": 60}).json()["id"])
    assert (job["state"], job["done"], job["total"]) == ("done", 6 * 60, 6 * 60)
    (figure,) = client.get("/api/figures").json()["figures"]
    assert figure["patch"] == client.get("/api/session").json()["digest"] == job["result"]["digest"]
    patch = Patch.load(studio.folder.path / "patch.yaml")
    choices = Choices(seeds=range(20_000, 20_060), references=60, features=load_features("plain"))
    wanted = evaluate(studio.generator, patch, choices)
    assert (figure["verdict"], figure["images"], figure["features"]) == (wanted.verdict.sentence, 60, "plain")
    assert figure["most"]["after"] == pytest.approx(wanted.found.most.after, rel=1e-3)
    assert figure["baselines"] == pytest.approx([one.relative for one in wanted.baselines], rel=1e-3)
    page = client.get(f"/api/figures/{figure['report']}")
    assert (page.headers["content-type"], wanted.verdict.sentence in page.text) == ("text/html; charset=utf-8", True)
    saved = client.get(f"/api/figures/{figure['report']}", params={"download": True})
    assert saved.headers["content-disposition"] == f'attachment; filename="{figure["report"]}"'
    assert client.get("/api/figures/studio.json").status_code == 404
    client.post("/api/changes", json={"kind": "flag", "id": "b", "layer": LAYER, "unit": 2})
    assert client.get("/api/session").json()["digest"] != figure["patch"]
    assert client.get("/api/figures").json()["figures"] == [figure]
    (studio.folder.path / "figures" / "broken.json").write_text("{")
    assert client.get("/api/figures").json()["figures"] == [figure]


@pytest.mark.usefixtures("without_children")
def test_strokes_for_a_concept_become_a_brush_and_an_order(client: TestClient, studio: Studio) -> None:
    missing = done(client, client.post("/api/jobs", json={"kind": "learn", "layer": LAYER}).json()["id"])
    assert (missing["state"], missing["error"]) == (
        "failed",
        "there are no strokes yet: paint some for two concepts at least, one may be 'background'",
    )
    for number, (concept, x) in enumerate((("left", 4), ("right", 12))):
        stroke = {"radius": 3, "points": [[x, 2], [x, 14]]}
        label = {"id": f"l{number}", "seed": 3, "size": [16, 16], "concept": concept, "stroke": stroke}
        client.post("/api/changes", json={"kind": "label", "id": f"c{number}", "label": label}).raise_for_status()
    learned = done(client, client.post("/api/jobs", json={"kind": "learn", "layer": LAYER, "n": 40}).json()["id"])
    assert learned["state"] == "done", learned
    run = studio.run_of(LAYER)
    assert run is not None
    assert run.manifest.n == 40
    assert run.folder.parent.name != "concepts", "what ranks the layer stays what it was"
    found = Dissection.load(studio.folder.path / "concepts" / LAYER)
    left = next(one for one in client.get("/api/brushes").json()["brushes"] if one["label"] == "left")
    assert (left["source"], left["count"], left["levels"]) == ("agrees", 8, ["q99", "q999"])
    order = next(one for one in client.get("/api/ranking", params={"layer": LAYER}).json()["orders"])
    assert order["name"] == "agrees with left"
    assert order["scores"] == pytest.approx(found[LAYER].iou[:, 0].tolist())
    body = painting(id="p", edit="painted-a", brush=left["name"], mode="insert", count=2)
    (entry,) = client.post("/api/paint", json=body).json()["content"]["edits"]
    units = found[LAYER].iou[:, 0].topk(2).indices.sort().values.tolist()
    assert entry["edit"]["units"] == units
    assert entry["edit"]["value"] == pytest.approx(found.ranking[LAYER].q99[units].tolist(), rel=1e-4)
    again = Studio.open(Opening(model=studio.model, runs=[run.folder], out=studio.folder.path))
    assert [brush.label for brush in again.brushes()] == ["left", "right"]
    again.engine.close()
