"""What tests and tools share: where things are, a folder made once per test run, patches for small generators."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from ganpatch import Edit, Generator, Patch
from ganpatch.patch.patch_file import Model

ROOT = Path(__file__).parents[2]
FACES = ROOT / "runs" / "faces.tar"

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
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
