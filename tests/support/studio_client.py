"""What the tests of the studio's routes share: a session's address, long work waited for, a painting."""

import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

HOST = "127.0.0.1:5000"

TOKEN = {"x-ganpatch-token": "secret"}

LAYER = "main.5"


def done(client: TestClient, number: int) -> dict[str, Any]:
    deadline = time.monotonic() + 90  # the machines that test are busy
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


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90  # the machines that test are busy
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
