"""The page on which pairs are compared: a folder that opens from disk, or is served and saves every answer.

folder/index.html, folder/pairs/*.png       what the person sees
folder/comparison.json, answers.json        which image is which; what was answered

Example:

    write_judge_page(folder, comparison)
    serve_pairs(folder, port=0, announce=print)
"""

import os
import re
import secrets
import shutil
import threading
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from pydantic import ValidationError

from ganpatch.disk.atomic_files import disk_faults, remove_abandoned, write_text
from ganpatch.disk.json_files import first_fault, write_section
from ganpatch.disk.locks import locked
from ganpatch.errors import GanpatchError
from ganpatch.evaluation.judging import (
    ANSWERS,
    PAIRS,
    Answers,
    Comparison,
    Judged,
    count_answers,
    read_answers,
    read_comparison,
)
from ganpatch.pages.local_server import Bounded, Guarded, hosts_of, listen_near, opened_page, own_file, run
from ganpatch.pages.scripts import asset, inlined, script_json
from ganpatch.patch.patch_file import Patch

PAGE = "index.html"
JUDGING = ".judging.lock"
_OWN = files("ganpatch.evaluation")
_LARGEST_BODY = 2_000_000
_PICTURE = re.compile(r"[0-9a-f]{16}-(left|right)\.png")


def write_judge_page(folder: Path, comparison: Comparison) -> Path:
    """Write the page of a comparison; it does not say which image is edited. Return its path."""
    shown = {"comparison": comparison.id, "folder": folder.name, "pairs": [pair.id for pair in comparison.pairs]}
    text = asset("judge.html", _OWN)
    styles = "".join(asset(name, _OWN) for name in ("theme.css", "judge.css"))
    for mark, content in {"/*STYLE*/": styles, "/*SCRIPT*/": inlined("judge.js", _OWN)}.items():
        text = text.replace(mark, content)
    write_text(folder / PAGE, text.replace("/*SHOWN*/null", script_json(shown)))
    return folder / PAGE


def begun_comparison(folder: Path, patch: Patch) -> Comparison | None:
    """Return the comparison that a folder holds, None for a new folder, which is made.

    What a killed process had drawn is removed. Raises GanpatchError when the comparison is of another patch, or the
    folder holds something else.
    """
    with disk_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        _remove_unfinished(folder)
    if not _names(folder):
        return None
    comparison = read_comparison(folder)
    if comparison.patch != patch.digest:
        raise GanpatchError(
            f"'{folder}' compares patch '{comparison.name}' as it was before, or another one; choose another folder "
            "with --out"
        )
    return comparison


def _remove_unfinished(folder: Path) -> None:
    """Remove the pictures of a comparison whose pairs were not written; others' pictures stay."""
    drawn = folder / PAIRS
    if _names(folder) == [PAIRS] and drawn.is_dir() and all(_PICTURE.fullmatch(name) for name in os.listdir(drawn)):
        shutil.rmtree(drawn)


def _names(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name != JUDGING]


def judged_so_far(folder: Path, comparison: Comparison, answers: Answers | None = None) -> Judged:
    """Count `answers`, which are then kept in the folder, or those that it holds."""
    if answers is not None:
        write_section(folder / ANSWERS, answers)
    return count_answers(comparison, saved_answers(folder, comparison))


def saved_answers(folder: Path, comparison: Comparison) -> Answers:
    """Return the answers that the server saved in the folder, or none."""
    path = folder / ANSWERS
    return read_answers(path, comparison) if path.exists() else Answers(comparison=comparison.id)


def serve_pairs(
    folder: Path,
    port: int,
    announce: Callable[[str], Any],
    launch: Callable[[str], object] | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> None:
    """Serve the page until interrupted, saving every answer; `announce` gets the address, `launch` opens it.

    `say` gets remarks: a port that is in use is not taken.
    """
    comparison = read_comparison(folder)
    with locked(folder, JUDGING):
        write_judge_page(folder, comparison)
        saved_answers(folder, comparison)
        token, listener = secrets.token_urlsafe(24), listen_near(port, say)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/?token={token}"
        announce(address)
        with opened_page(address, folder, launch):
            run(make_judge_app(folder, comparison, token, hosts_of(listener)), listener)


def make_judge_app(folder: Path, comparison: Comparison, token: str, hosts: set[str]) -> FastAPI:
    """Return the application: the page, its pictures, and the answers; nothing says which image is edited."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Bounded, largest=_LARGEST_BODY)
    app.add_middleware(Guarded, token=token, hosts=hosts, inline_scripts=True)
    names = {f"{pair.id}-{side}.png" for pair in comparison.pairs for side in ("left", "right")}
    lock = threading.Lock()

    @app.get("/")
    def page() -> Response:
        return FileResponse(folder / PAGE, media_type="text/html")

    @app.get("/answers")
    def answers() -> Response:
        with lock:
            return JSONResponse(saved_answers(folder, comparison).model_dump())

    @app.put("/answers")
    async def save(request: Request) -> Response:
        try:
            given = _checked(await request.body(), comparison)
        except GanpatchError as fault:
            return PlainTextResponse(str(fault), 422)
        with lock:
            write_section(folder / ANSWERS, given)
        return Response(status_code=204)

    @app.get(f"/{PAIRS}/{{name}}")
    def picture(name: str) -> Response:
        path = own_file(folder / PAIRS, name) if name in names else None
        return PlainTextResponse("no such picture", 404) if path is None else FileResponse(path)

    return app


def _checked(body: bytes, comparison: Comparison) -> Answers:
    try:
        given = Answers.model_validate_json(body)
    except ValidationError as fault:
        raise GanpatchError(f"the request is broken: {first_fault(fault)}") from fault
    known = {pair.id for pair in comparison.pairs}
    if given.comparison != comparison.id or any(answer.pair not in known for answer in given.answers):
        raise GanpatchError("the request answers another comparison; load the page again")
    return given
