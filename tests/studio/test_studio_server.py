"""The studio's routes: they return nothing to strangers, refuse what does not fit, and answer as they are described."""

import http.client
import io
import json
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import uvicorn
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CHECKS

from ganpatch import GanpatchError
from ganpatch.pages.local_server import listen, listen_near, way_through_ssh
from ganpatch.studio import notebook
from ganpatch.studio.server import make_app
from ganpatch.studio.session import Opening, Studio, opening_of
from tests.support.studio_client import HOST, LAYER, TOKEN, until


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


def test_runs_and_models_that_do_not_fit(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(GanpatchError, match="ranks small, and the model is churches with other weights"):
        Studio.open(Opening(model="churches", runs=[weights.parent / "run"], out=tmp_path / "s"))
    run = str(weights.parent / "run")
    opening = opening_of(["model.pt", run], {})
    assert (opening.model, opening.runs) == ("model.pt", [Path(run)])
    with pytest.raises(GanpatchError, match="give one model, not a and b"):
        opening_of(["a", "b", run], {})


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


def test_an_answer_is_not_held_back() -> None:
    """asyncio switches Nagle's algorithm off for sockets that are named as TCP, and for no others."""
    with listen(0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


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


@pytest.mark.parametrize("value", ['"\\ud800"', "NaN", "1e999", '["\\ud800"]', '{"\\ud800": 1}', "9" * 5000])
def test_what_no_encoding_holds_is_refused(client: TestClient, studio: Studio, value: str) -> None:
    """An answer that repeats such a value cannot be sent."""
    for field in ("reason", "unit", "id", "\\ud800"):
        body = {"kind": '"flag"', "id": '"a"', "layer": f'"{LAYER}"', "unit": "1", field: value}
        text = "{" + ",".join(f'"{name}":{one}' for name, one in body.items()) + "}"
        answer = client.post("/api/changes", content=text, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422), (field, answer.text)
        assert "detail" in answer.json()
    assert studio.folder.state.content.edits == ()


def test_a_body_that_is_dense_is_refused_before_it_is_read(client: TestClient) -> None:
    for filling, most in (("[],", 413), ('"",', 422)):
        body = '{"points": [' + filling * 900_000 + "1]}"
        answer = client.post("/api/images", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == most, answer.text[:200]
        assert len(answer.content) < 20_000


def test_a_port_in_use_picks_another_and_says_so() -> None:
    taken = listen(0)
    port, said = taken.getsockname()[1], []
    other = listen_near(port, said.append)
    assert said == [f"port {port} is in use: listening on {other.getsockname()[1]} instead"]
    for one in (taken, other):
        one.close()


def test_the_way_through_ssh_keeps_the_port() -> None:
    way = way_through_ssh("http://127.0.0.1:4711/?token=abc")
    assert way == f"from another machine: ssh -L 4711:127.0.0.1:4711 {socket.gethostname()}, then open the same address"


@pytest.mark.parametrize("framed", [False, True])
def test_only_a_notebook_may_frame_the_page(weights: Path, tmp_path: Path, framed: bool) -> None:
    opened = Studio.open(
        Opening(model=str(weights), runs=[weights.parent / "run"], out=tmp_path / "s", in_frames=framed)
    )
    with TestClient(make_app(opened, "secret", {HOST}), base_url=f"http://{HOST}", headers=TOKEN) as client:
        policy = client.get("/").headers["content-security-policy"]
    opened.engine.close()
    wanted = "http://127.0.0.1:* http://localhost:*" if framed else "'none'"
    assert policy.endswith(f"frame-ancestors {wanted}")


def test_a_notebook_shows_the_studio_or_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    class Server:
        stdout = io.StringIO("http://127.0.0.1:4711/?token=abc\n")
        ended = False

        def communicate(self) -> tuple[str, str]:
            return "", "using m\nerror: model 'm' not found\n"

        def terminate(self) -> None:
            self.ended = True

        def wait(self, timeout: float) -> int:
            return 0

    asked: list[list[str]] = []
    server = Server()
    monkeypatch.setattr(notebook.subprocess, "Popen", lambda command, **options: (asked.append(command), server)[1])
    shown = notebook.show("model.pt", "run", out="mine")
    assert asked == [[sys.executable, "-m", "ganpatch", "studio", "model.pt", "run", "--framed", "-o", "mine"]]
    assert '<iframe src="http://127.0.0.1:4711/?token=abc"' in shown._repr_html_()
    shown.close()
    assert server.ended
    with pytest.raises(GanpatchError) as fault:
        notebook.show("m")
    assert str(fault.value) == "model 'm' not found"
