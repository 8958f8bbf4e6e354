"""What the tests share: small generators, patches for them, the face DCGAN."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, sync_playwright

import ganpatch
from ganpatch import Generator, Patch
from tests.support.nets import dcgan, progressive
from tests.support.shared import FACES, FLAGS, patch_for

torch.set_num_threads(1)  # the tests run in several processes, and begin others
os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"] = "1", "PASSIVE"
os.environ["XDG_STATE_HOME"] = os.path.join(tempfile.gettempdir(), "ganpatch-tests")  # the secret of seals


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
    assert FACES.exists(), "run tools/patches/fetch_faces.py first; tools/check does"
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


@pytest.fixture
def make_patch() -> Callable[..., Patch]:
    return patch_for
