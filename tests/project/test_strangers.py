"""Text from a run is only text, and the pages that are served return nothing to anybody else."""

import os
import re
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from playwright.sync_api import Browser

import ganpatch
from ganpatch import GanpatchError, Generator, rank
from ganpatch.causes.report import write_causes_page
from ganpatch.causes.result import Causes
from ganpatch.disk.array_files import write_arrays
from ganpatch.disk.tensor_files import opened_tensors
from ganpatch.dissection.report import write_dissection_page
from ganpatch.dissection.result import Dissection
from ganpatch.finding.suggestions import Found, MethodFacts, Suggested, save_suggestions
from ganpatch.pages.local_server import own_file
from ganpatch.ranking.result import read_manifest
from ganpatch.review import server as review_server
from ganpatch.review.page import write_page
from ganpatch.studio import server as studio_server
from ganpatch.studio.session import Opening, Studio
from tests.support.own_files import make_causes, make_run
from tests.support.shared import patch_for

HOST = "127.0.0.1:5000"
TOKEN = {"x-ganpatch-token": "secret"}
PACKAGE = Path(ganpatch.__file__).parent
PAGES = ("pages/static", "review", "evaluation", "studio/static")
SCRIPT = "</script><script>window.hacked=1</script><img/src=x/onerror=window.hacked=2>'\"><svg/onload=window.hacked=3>"


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A run whose every text is a script: names of the model, of layers, concepts, methods, reasons."""
    make_run(tmp_path / "run")
    make_causes(tmp_path / "causes")
    script = SCRIPT.replace('"', '\\"')
    for path in (tmp_path / "run" / "manifest.json", tmp_path / "run" / "dissection.json"):
        text = path.read_text().replace('"tree"', f'"{script}"').replace('"s"', f'"{script}"')
        path.write_text(text.replace('"small"', f'"{script}"').replace('"normal:8,1,1"', f'"{script}"'))
    manifest = read_manifest(tmp_path / "run")
    facts = MethodFacts(explains=SCRIPT, settings={"x": SCRIPT}, layers=("main.5",))
    save_suggestions(tmp_path / "run", manifest, {"spike": Suggested(facts=facts, layers={"main.5": Found(score=torch.arange(8.0))})})  # fmt: skip
    (tmp_path / "causes" / "causes.json").write_text((tmp_path / "causes" / "causes.json").read_text().replace("alpha", script).replace('"s"', f'"{script}"'))  # fmt: skip
    return tmp_path


def test_text_from_a_run_is_only_text(hostile: Path, browser: Browser, small_dcgan: Generator) -> None:
    pages = [write_page(hostile / "run"), write_dissection_page(Dissection.load(hostile / "run"), hostile / "run")]
    pages.append(write_causes_page(Causes.load(hostile / "causes"), small_dcgan, hostile / "causes", {}))
    context = browser.new_context()
    asked: list[str] = []
    for path in pages:
        page = context.new_page()
        page.on("request", lambda sent: asked.append(sent.url))
        page.goto(path.as_uri())
        page.wait_for_timeout(200)
        assert page.evaluate("window.hacked") is None, path.name
        assert "window.hacked=1" in page.locator("body").inner_text() or "window.hacked=1" in page.title(), path.name
    context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_a_layer_of_a_run_is_only_a_name(tmp_path: Path, browser: Browser) -> None:
    """The names of layers make scripts, buttons and keys of the page's memory."""
    make_run(tmp_path)
    (tmp_path / "suggestions.json").unlink()
    for name in ("</script><script>window.hacked=1</script>", "__proto__"):
        manifest = tmp_path / "manifest.json"
        text = manifest.read_text()
        manifest.write_text(re.sub(r'"(main\.5|[^"]*hacked[^"]*)": \{', f'"{name}": {{', text))
        arrays = tmp_path / "ranking.safetensors"
        found = ganpatch.Ranking  # the arrays carry the layer's name as well
        with opened_tensors(arrays) as file:
            tensors = {key.rpartition(".")[2]: file.tensor(key) for key in file.names}
        write_arrays(arrays, {f"{name}.{key}": tensor for key, tensor in tensors.items()})
        assert list(found.load(tmp_path).layers) == [name]
        context = browser.new_context()
        page = context.new_page()
        page.goto(write_page(tmp_path).as_uri())
        page.locator(".row").first.wait_for()
        page.keyboard.press("f")
        assert page.evaluate("window.hacked") is None
        assert page.evaluate("Object.keys(Object.prototype)") == []
        context.close()


def test_pages_put_no_text_into_markup() -> None:
    """Names from files go into the pages as text: nothing in their scripts makes markup of a string."""
    scripts = [path for room in PAGES for path in PACKAGE.glob(f"{room}/*.js")]
    assert {path.name for path in scripts} >= {"judge.js", "main.js", "units.js", "reviewing.js"}
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|\beval\(|new Function"
    assert [path.name for path in scripts if re.search(ways, path.read_text())] == []


# ---- servers --------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(small_dcgan: Generator, tmp_path: Path) -> Path:
    rank(small_dcgan, ["main.5"], range(12), k=3).save(tmp_path / "run")
    write_page(tmp_path / "run")
    return tmp_path / "run"


def test_only_files_of_the_run_are_given_out(run: Path) -> None:
    """A folder that somebody sent may hold links to your files."""
    (run.parent / "secret").write_text("mine")
    client = TestClient(review_server.make_app(run, "secret", {HOST}), base_url=f"http://{HOST}", headers=TOKEN)
    for name in ("thumbs-001.png", "layer-1.js", "thumbs-000.png"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(run.parent / "secret")
        assert client.get(f"/{name}").status_code == 404
        assert own_file(run, name) is None
    assert client.get("/layer-0.js").status_code == 200
    for name in ("..%2fsecret", "%2e%2e/secret", "layer-0.js%00.png", "manifest.json", ".lock"):
        assert client.get(f"/{name}").status_code in (404, 403), name


def test_other_sites_cannot_read_frame_or_learn_the_address(run: Path) -> None:
    client = TestClient(review_server.make_app(run, "secret", {HOST}), base_url=f"http://{HOST}")
    for headers in ({}, TOKEN, {**TOKEN, "origin": "http://evil.example"}, {**TOKEN, "host": "evil.example"}):
        for method in ("GET", "OPTIONS", "POST"):
            answer = client.request(method, "/?token=secret" if not headers else "/", headers=headers)
            assert "access-control-allow-origin" not in answer.headers
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert "form-action 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("given", ["", "x", "secre", "secret ", "secret\0", "SECRET", "ſecret"])
def test_a_token_is_the_whole_token(given: str, run: Path) -> None:
    client = TestClient(review_server.make_app(run, "secret", {HOST}), base_url=f"http://{HOST}")
    assert client.get("/", params={"token": given}).status_code == 403
    assert client.get("/", params={"token": "secret"}).status_code == 200


def test_the_token_stands_in_no_list_of_processes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launched: list[str] = []
    seen: list[tuple[int, bool]] = []

    def look(_app: Any, listener: socket.socket) -> None:
        listener.close()
        page = Path(launched[0].removeprefix("file://"))
        seen.append((stat.S_IMODE(page.stat().st_mode), "token=" in page.read_text()))

    monkeypatch.setattr(review_server, "run", look)
    said: list[str] = []
    review_server.serve(run, 0, said.append, launch=launched.append)
    assert seen == [(0o600, True)]
    assert "token=" not in launched[0]
    assert not Path(launched[0].removeprefix("file://")).exists()
    assert said[0].partition("?token=")[2] not in "".join(path.name for path in run.iterdir())


def test_what_a_session_keeps_of_its_token_is_its_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(ganpatch.load("churches").module.state_dict(), tmp_path / "model.pt")
    old = os.umask(0)
    modes: list[int] = []

    def look(_app: Any, listener: socket.socket, **_options: Any) -> None:
        listener.close()
        modes.append(stat.S_IMODE((tmp_path / "s" / "server.json").stat().st_mode))

    monkeypatch.setattr(studio_server, "run", look)
    monkeypatch.setattr(Studio, "start", lambda *given: None)
    try:
        studio_server.serve(Opening(out=tmp_path / "s"), 0, lambda address, studio: studio.engine.close())
    finally:
        os.umask(old)
    assert modes == [0o600]


def test_a_server_listens_on_this_machine_only() -> None:
    from ganpatch.pages.local_server import hosts_of, listen

    listener = listen(0)
    assert listener.getsockname()[0] == "127.0.0.1"
    port = listener.getsockname()[1]
    assert hosts_of(listener) == {f"127.0.0.1:{port}", f"localhost:{port}"}
    listener.close()


def test_two_processes_do_not_write_one_folder(run: Path, small_dcgan: Generator, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Ranking, suggesting, a review and a studio: each says who is there, and lets go when it ends."""
    from ganpatch.disk.locks import locked
    from ganpatch.runs.ranking_run import rank_to_folder
    from ganpatch.runs.run_folder import RunFolder
    from ganpatch.runs.suggestion_run import suggest_for_run

    who = rf"'{run}' is in use by process {os.getpid()} on .* since .* UTC; stop it, wait for it, or choose another"

    def rank_again() -> None:
        rank_to_folder(small_dcgan, RunFolder(run, overwrite=True), ["main.5"], range(4))

    def review(_app: Any, listener: socket.socket) -> None:
        listener.close()
        with pytest.raises(GanpatchError, match=who):
            rank_again()
        with pytest.raises(GanpatchError, match=who):
            review_server.serve(run, 0, print)

    with locked(run):
        tries: list[Callable[[], object]] = [rank_again, lambda: suggest_for_run(run, small_dcgan, ["spike"])]
        for attempt in tries:
            with pytest.raises(GanpatchError, match=who):
                attempt()
    monkeypatch.setattr(review_server, "run", review)
    review_server.serve(run, 0, print)
    with locked(run.parent / "s"), pytest.raises(GanpatchError, match="is in use by process"):
        studio_server.serve(Opening(out=run.parent / "s"), 0, lambda address, studio: None)
    rank_again()
    assert not [path.name for path in run.iterdir() if path.name.startswith(".")]
    assert patch_for(small_dcgan, {"layer": "main.5", "channels": 8, "units": [1]})
