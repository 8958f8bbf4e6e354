"""A studio on the real churches, its session emptied for each test; pages that report faults."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

import ganpatch
from ganpatch import rank
from tests.support.driving import Served, avoidable, own


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studio") / "run"
    rank(ganpatch.load("churches"), ["layer4"], range(48), k=8).save(folder)
    return folder


@pytest.fixture(scope="session")
def studio(run: Path) -> Iterator[Served]:
    server = Served("churches", run, "-o", run.parent / "s")
    yield server
    server.process.poll() is None and server.kill()  # type: ignore[func-returns-value]


@pytest.fixture
def served(studio: Served) -> Served:
    """The server, its session emptied."""
    if studio.process.poll() is not None:
        studio.start()
    address, token = studio.address.split("/?token=")
    with httpx2.Client(base_url=address, headers={"x-ganpatch-token": token}) as client:
        session = client.get("/api/session").json()
        wishes = [
            {"kind": "remove", "edit": one["edit"]["id"], "rev": one["rev"]} for one in session["content"]["edits"]
        ]
        wishes += [{"kind": "unlabel", "label": one["id"]} for one in session["content"]["labels"]]
        wishes += [{"kind": "pin", "point": point, "on": False} for point in session["pins"]]
        for wish in wishes:
            client.post("/api/changes", json={"id": secrets.token_hex(8), **wish}).raise_for_status()
    return studio


@pytest.fixture
def session(run: Path) -> Path:
    """The folder of the session."""
    return run.parent / "s"


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages that fail the test on an error in the console or a request to another host."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def open_page(address: str, **options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1300, "height": 800}, **options})  # type: ignore[arg-type]
        contexts.append(context)
        return add_page(context, address)

    def add_page(context: BrowserContext, address: str) -> Page:
        page = context.new_page()
        page.set_default_timeout(90_000)
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("request", lambda sent: None if own(sent.url, address) else faults.append(f"asked {sent.url}"))
        page.goto(address)
        page.locator("#saved, #lost").first.wait_for(state="attached")
        return page

    open_page.add = add_page  # type: ignore[attr-defined]
    yield open_page
    for context in contexts:
        context.close()
    assert avoidable(faults) == []
