"""The studio's routes: they give nothing to strangers, refuse what does not fit, and keep what they are told."""

import http.client
import io
import json
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
import torch
import uvicorn
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from PIL import Image
from schemathesis.checks import CHECKS

from ganpatch import GanpatchError, Generator, Patch, applied, rank
from ganpatch.causes.result import Causes, ConceptCauses
from ganpatch.dissection.result import Dissection
from ganpatch.evaluation.evaluator import Choices, evaluate
from ganpatch.finding.image_features import load_features
from ganpatch.finding.suggestions import Found, MethodFacts, Suggested, save_suggestions
from ganpatch.pages.local_server import listen
from ganpatch.studio import session
from ganpatch.studio.server import make_app
from ganpatch.studio.session import Opening, Studio, opening_of

HOST = "127.0.0.1:5000"
TOKEN = {"x-ganpatch-token": "secret"}
LAYER = "main.5"


@pytest.fixture(scope="module")
def weights(small_dcgan: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.pt"
    torch.save(small_dcgan.module.state_dict(), path)
    rank(small_dcgan_of(path), [LAYER], range(40), k=4).save(path.parent / "run")
    return path


def small_dcgan_of(path: Path) -> Generator:
    import ganpatch

    return ganpatch.load(path)


@pytest.fixture
def studio(weights: Path, tmp_path: Path) -> Iterator[Studio]:
    made = Studio.open(Opening(model=str(weights), runs=[weights.parent / "run"], out=tmp_path / "s"))
    yield made
    made.engine.close()


@pytest.fixture
def client(studio: Studio) -> TestClient:
    return TestClient(make_app(studio, "secret", {HOST}), base_url=f"http://{HOST}", headers=TOKEN)


def done(client: TestClient, number: int) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        (job,) = [job for job in client.get("/api/pulse").json()["jobs"] if job["id"] == number]
        if job["state"] in ("done", "failed"):
            return job
        time.sleep(0.02)
    raise AssertionError("the job does not end")


def pixels(answer: Any) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(int)


def painting(**more: Any) -> dict[str, Any]:
    stroke = {"radius": 4, "points": [[4, 4], [12, 6]]}
    return {"brush": f"unit:{LAYER}:3", "point": {"seed": 7}, "size": [16, 16], "strokes": [stroke], **more}


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/api/session", "/api/pulse", "/api/download/patch"])
@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"x-ganpatch-token": ""}, "open the address that was printed"),
        ({"x-ganpatch-token": "Secret"}, "open the address that was printed"),
        ({**TOKEN, "host": "evil.example"}, "wrong host"),
        ({**TOKEN, "origin": "http://evil.example"}, "wrong origin"),
        ({**TOKEN, "origin": "null"}, "wrong origin"),
    ],
)
def test_strangers_get_nothing(client: TestClient, path: str, headers: dict[str, str], reason: str) -> None:
    answer = client.get(path, headers=headers)
    assert (answer.status_code, answer.text) == (403, reason)


def test_strangers_change_nothing(client: TestClient, studio: Studio) -> None:
    body = {"kind": "flag", "id": "a", "layer": LAYER, "unit": 1}
    assert client.post("/api/changes", json=body, headers={"x-ganpatch-token": "no"}).status_code == 403
    assert client.post("/api/changes", json=body, headers={"origin": "http://evil.example"}).status_code == 403
    assert studio.folder.state.content.edits == ()


def test_modules_are_no_secret_and_nothing_else_is_given_out(client: TestClient) -> None:
    for name in ("main.js", "studio.css", "units.js", "theme.css", "docs.js"):
        answer = client.get(f"/static/{name}", headers={"x-ganpatch-token": ""})
        assert answer.status_code == 200, name
        assert answer.headers["x-content-type-options"] == "nosniff"
    for name in ("none.js", "..%2fserver.py", "%2e%2e/server.py", "page.js", "main.js.bak"):
        assert client.get(f"/static/{name}").status_code == 404
    page = client.get("/?token=secret", headers={"x-ganpatch-token": ""})
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert client.get("/static/main.js", headers={"host": "evil.example"}).status_code == 403


def test_no_page_asks_another_host() -> None:
    import ganpatch.studio

    for path in (Path(ganpatch.studio.__file__).parent / "static").iterdir():
        assert "//" not in path.read_text().replace("https://", "//").split("://")[0] or path.suffix == ".js"
        assert "http" not in path.read_text().replace("http-equiv", ""), path


def test_a_large_body_is_refused(client: TestClient) -> None:
    assert client.post("/api/changes", content=b"x" * 9_000_000).status_code == 413
    assert client.post("/api/changes", content=b"nonsense").status_code == 422


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


@pytest.fixture
def without_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do long work in the thread that waits for it; the browser's tests have it done in processes."""
    monkeypatch.setattr(session, "in_child", lambda task, report, **given: task(report, **given))


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
    assert "cannot bake $.edits[0] ('painted-a' at main.5) into weights" in failed["error"]


def test_runs_and_models_that_do_not_fit(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(GanpatchError, match="ranks small, and the model is churches with other weights"):
        Studio.open(Opening(model="churches", runs=[weights.parent / "run"], out=tmp_path / "s"))
    run = str(weights.parent / "run")
    opening = opening_of(["model.pt", run], {})
    assert (opening.model, opening.runs) == ("model.pt", [Path(run)])
    with pytest.raises(GanpatchError, match="give one model, not a and b"):
        opening_of(["a", "b", run], {})


@pytest.mark.usefixtures("without_children")
def test_a_quality_figure_is_kept_with_the_patch_that_it_is_of(client: TestClient, studio: Studio) -> None:
    client.post("/api/changes", json={"kind": "flag", "id": "a", "layer": LAYER, "unit": 1})
    few = client.post("/api/jobs", json={"kind": "quality", "n": 39})
    assert (few.status_code, few.json()["detail"]) == (
        422,
        "a quality figure of 39 images says nothing; give 40 or more",
    )
    assert client.post("/api/jobs", json={"kind": "quality", "features": "net.py:make"}).status_code == 422, "no code"
    job = done(client, client.post("/api/jobs", json={"kind": "quality", "n": 48}).json()["id"])
    assert (job["state"], job["done"], job["total"]) == ("done", 7 * 48, 7 * 48)
    (figure,) = client.get("/api/figures").json()["figures"]
    assert figure["patch"] == client.get("/api/session").json()["digest"] == job["result"]["digest"]
    patch = Patch.load(studio.folder.path / "patch.yaml")
    choices = Choices(seeds=range(20_000, 20_048), references=48, features=load_features("plain"))
    wanted = evaluate(studio.generator, patch, choices)
    assert (figure["verdict"], figure["images"], figure["features"]) == (wanted.verdict, 48, "plain")
    assert figure["most"]["after"] == pytest.approx(wanted.after["most"].frechet, rel=1e-3)
    assert figure["all"]["random"] == pytest.approx([one.frechet for one in wanted.random["all"]], rel=1e-3)
    page = client.get(f"/api/figures/{figure['report']}")
    assert (page.headers["content-type"], wanted.verdict in page.text) == ("text/html; charset=utf-8", True)
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


def test_earlier_versions_are_listed_and_downloaded(client: TestClient) -> None:
    for number, unit in enumerate((3, 1)):
        client.post("/api/changes", json={"kind": "flag", "id": f"f{number}", "layer": LAYER, "unit": unit})
    newest, older, first = client.get("/api/versions").json()["versions"]
    assert (newest["version"], newest["said"], older["units"]) == (3, f"unit 1 of {LAYER} flagged", 1)
    assert client.get("/api/session").json()["version"] == 3
    assert b"units: [3]" in client.get("/api/download/patch", params={"version": older["version"]}).content
    for version, text in ((first["version"], "no edit is on: there is no patch"), (9, "there is no version 9")):
        answer = client.get("/api/download/patch", params={"version": version})
        assert (answer.status_code, answer.json()["detail"]) == (404, text)
    assert [one["version"] for one in client.get("/api/versions", params={"first": 1}).json()["versions"]] == [3]


def test_whoever_has_left_is_not_waited_for(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a real socket: the connection is closed while the request waits for the model."""
    drawn: list[Any] = []
    images = studio.frames.images
    monkeypatch.setattr(
        studio.frames, "images", lambda *given, **named: (drawn.append(given), images(*given, **named))[1]
    )
    listener = listen(0)
    host, gate = f"127.0.0.1:{listener.getsockname()[1]}", threading.Event()
    server = uvicorn.Server(uvicorn.Config(make_app(studio, "secret", {host}), log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    studio.engine.submit(gate.wait)
    asking = [http.client.HTTPConnection(host) for _ in range(2)]
    for number, connection in enumerate(asking):
        body = json.dumps({"points": [{"seed": number}]})
        connection.request("POST", "/api/images", body, {**TOKEN, "content-type": "application/json"})
        until(lambda number=number: len(studio.engine._waiting) == number + 1)
    waiting = list(studio.engine._waiting)
    asking[0].close()
    until(waiting[0].future.cancelled)
    gate.set()
    answer = asking[1].getresponse()
    assert (answer.status, answer.read()[:4]) == (200, b"\x89PNG")
    asking[1].close()
    assert [points[0].seed for points, *_ in drawn] == [1]
    server.should_exit = True
    thread.join()


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_answer_is_not_held_back() -> None:
    """asyncio switches Nagle's algorithm off for sockets that are named as TCP, and for no others."""
    with listen(0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


# ---- every route against its own description ------------------------------------------------------------------


def test_answers_are_as_described(weights: Path, tmp_path: Path) -> None:
    """Whatever is sent to a route: no server error, and an answer of the status, type and shape that it describes."""
    studio = Studio.open(Opening(model=str(weights), runs=[weights.parent / "run"], out=tmp_path / "s"))
    studio.start = lambda asked: studio.jobs.start(asked.kind, asked.kind, lambda _: {})  # type: ignore[method-assign]
    app = make_app(studio, "secret", {HOST})
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers={**TOKEN, "host": HOST})
    names = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
    checks, answers = CHECKS.get_by_names(names), {}
    for found in schema.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        )
        def check(case: schemathesis.Case) -> None:
            answer = case.call_and_validate(headers={**TOKEN, "host": HOST}, checks=checks)
            answers.setdefault(case.operation.label, set()).add(answer.status_code)

        check()
    studio.engine.close()
    assert len(answers) >= 14
    assert {200, 404, 422} <= set.union(*answers.values())
    again = Studio.open(Opening(model=str(weights), out=tmp_path / "s"))
    assert again.folder.state == studio.folder.state
    again.engine.close()
