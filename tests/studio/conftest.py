"""A studio on a small generator, and a client of its routes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient

import ganpatch
from ganpatch import Generator, rank
from ganpatch.studio import session
from ganpatch.studio.server import make_app
from ganpatch.studio.session import Opening, Studio
from tests.support.studio_client import HOST, LAYER, TOKEN


@pytest.fixture(scope="session")
def weights(small_dcgan: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.pt"
    torch.save(small_dcgan.module.state_dict(), path)
    rank(ganpatch.load(path), [LAYER], range(40), k=4).save(path.parent / "run")
    return path


@pytest.fixture
def studio(weights: Path, tmp_path: Path) -> Iterator[Studio]:
    made = Studio.open(Opening(model=str(weights), runs=[weights.parent / "run"], out=tmp_path / "s"))
    yield made
    made.engine.close()


@pytest.fixture
def client(studio: Studio) -> TestClient:
    return TestClient(make_app(studio, "secret", {HOST}), base_url=f"http://{HOST}", headers=TOKEN)


@pytest.fixture
def without_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do long work in the thread that waits for it; the browser's tests have it done in processes."""
    monkeypatch.setattr(session, "in_child", lambda task, report, **given: task(report, **given))
