"""The review server returns nothing to strangers and loses nothing."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ganpatch import GanpatchError, Generator, rank
from ganpatch.ranking.result import read_manifest
from ganpatch.review.page import write_page
from ganpatch.review.server import make_app, serve
from ganpatch.review.verdicts import read_verdicts

HOST = "127.0.0.1:5000"
TOKEN = {"x-ganpatch-token": "secret"}


@pytest.fixture
def run(small_dcgan: Generator, tmp_path: Path) -> Path:
    rank(small_dcgan, ["main.5"], range(12), k=3).save(tmp_path)
    write_page(tmp_path)
    return tmp_path


@pytest.fixture
def client(run: Path) -> TestClient:
    return TestClient(make_app(run, "secret", {HOST}), base_url=f"http://{HOST}")


def verdicts(run: Path, *flags: dict[str, object]) -> dict[str, object]:
    return {"format": "ganpatch-verdicts/1", "run": read_manifest(run).run, "flags": list(flags)}


def test_the_page_and_its_files(client: TestClient) -> None:
    page = client.get("/?token=secret")
    assert page.status_code == 200
    assert "ganpatchRun" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert client.get("/layer-0.js?token=secret").text.startswith("ganpatchLayer(0, ")
    assert client.get("/thumbs-000.png?token=secret").content.startswith(b"\x89PNG")


def test_verdicts_are_kept(client: TestClient, run: Path) -> None:
    assert client.get("/verdicts", headers=TOKEN).json()["flags"] == []
    body = verdicts(run, {"layer": "main.5", "unit": 3, "reason": "smear"})
    assert client.put("/verdicts", headers=TOKEN, json=body).status_code == 204
    assert client.get("/verdicts", headers=TOKEN).json() == body
    assert read_verdicts(run / "verdicts.json", read_manifest(run)).flags[0].unit == 3


def test_wrong_verdicts_change_nothing(client: TestClient, run: Path) -> None:
    client.put("/verdicts", headers=TOKEN, json=verdicts(run, {"layer": "main.5", "unit": 3}))
    before = (run / "verdicts.json").read_bytes()
    answer = client.put("/verdicts", headers=TOKEN, json=verdicts(run, {"layer": "main.5", "unit": 300}))
    assert answer.status_code == 422
    assert answer.text == "the request: $.flags[0]: unit 300 is outside layer 'main.5' (8 units, 0-7)"
    assert client.put("/verdicts", headers=TOKEN, content=b"\x00" * 9_000_000).status_code == 413
    assert client.put("/verdicts", headers=TOKEN, content=b"nonsense").status_code == 422
    assert (run / "verdicts.json").read_bytes() == before


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "open the address that was printed"),
        ({"x-ganpatch-token": "Secret"}, "open the address that was printed"),
        ({**TOKEN, "host": "evil.example"}, "wrong host"),
        ({**TOKEN, "host": "localhost:5001"}, "wrong host"),
        ({**TOKEN, "origin": "http://evil.example"}, "wrong origin"),
        ({**TOKEN, "origin": "null"}, "wrong origin"),
    ],
)
def test_strangers_get_nothing(client: TestClient, run: Path, headers: dict[str, str], reason: str) -> None:
    for method, path in (
        ("GET", "/"),
        ("GET", "/verdicts"),
        ("PUT", "/verdicts"),
        ("GET", "/layer-0.js"),
        ("GET", "/openapi.json"),
    ):
        answer = client.request(
            method, path, headers=headers, content=json.dumps(verdicts(run)) if method == "PUT" else None
        )
        assert (answer.status_code, answer.text) == (403, reason)
    assert not (run / "verdicts.json").exists()


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "ranking.safetensors",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/run",
        "thumbs-999.png",
        "index.html.bak",
    ],
)
def test_other_files_are_not_given_out(client: TestClient, name: str) -> None:
    assert client.get(f"/{name}", headers=TOKEN).status_code == 404


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(GanpatchError, match="is not a finished run; if it was interrupted, repeat its command"):
        serve(tmp_path, 0, print)
    with pytest.raises(GanpatchError, match="is not a run folder: no such folder"):
        serve(tmp_path / "none", 0, print)


def test_saved_verdicts_that_are_broken_are_said_before_serving(run: Path) -> None:
    (run / "verdicts.json").write_text("{")
    with pytest.raises(GanpatchError, match="verdicts.json: \\$: invalid json"):
        serve(run, 0, print)
    assert (run / "verdicts.json").read_text() == "{"
