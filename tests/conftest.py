"""What the tests share: small generators, patches for them, the face DCGAN."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from nets import dcgan, progressive
from playwright.sync_api import Browser, sync_playwright

import ganpatch
from ganpatch import Edit, Generator, Patch
from ganpatch.patch import Model

ROOT = Path(__file__).parent.parent
FACES = ROOT / "runs" / "faces.tar"

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

torch.set_num_threads(1)  # the tests run in several processes


@pytest.fixture(scope="session")
def small_progressive() -> Generator:
    module, latent = progressive()
    return ganpatch.load(module, latent=latent)


@pytest.fixture(scope="session")
def small_dcgan() -> Generator:
    module, latent = dcgan()
    return ganpatch.load(module, latent=latent)


@pytest.fixture(scope="session")
def faces() -> Path:
    assert FACES.exists(), "run tools/fetch_faces.py first; tools/check does"
    return FACES


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def churches() -> Generator:
    return ganpatch.load("churches")


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Make a folder by `make(folder)`, once for all processes of a test run."""
    shared = factory.getbasetemp()
    place = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / name
    with FileLock(f"{place}.lock"):
        if not (place / "made").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            make(place)
            (place / "made").touch()
    return place


def patch_for(generator: Generator, *edits: dict[str, Any], **fields: Any) -> Patch:
    """Make a patch for `generator`; each edit needs layer, channels and units only."""
    made = [Edit(**{"id": f"edit{index}", **edit}) for index, edit in enumerate(edits)]
    return Patch(**{"name": "test", "model": Model.of(generator.name, generator.fingerprint), "edits": made, **fields})


@pytest.fixture
def make_patch() -> Callable[..., Patch]:
    return patch_for
