"""The review page, served on loopback: verdicts are saved in the run folder as they are made.

Strangers get nothing (ganpatch/pages/local_server.py). Only files of the run folder are given out.
"""

import re
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse

from ganpatch.disk.locks import locked
from ganpatch.errors import GanpatchError
from ganpatch.pages.local_server import Bounded, Guarded, hosts_of, listen_near, opened_page, own_file, run
from ganpatch.ranking.result import Manifest, read_manifest
from ganpatch.review.page import PAGE, write_page
from ganpatch.review.verdicts import REVIEWING, VERDICTS, Verdicts, parse_verdicts, read_verdicts, save_verdicts

_LARGEST_BODY = 8_000_000
_FILES = re.compile(r"layer-\d{1,4}\.js|thumbs-\d{3,6}\.png")


def make_app(folder: Path, token: str, hosts: set[str]) -> FastAPI:
    """Make the application for a run folder; requests must carry `token` and name one of `hosts` as their Host."""
    manifest = read_manifest(folder)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Bounded, largest=_LARGEST_BODY)
    app.add_middleware(Guarded, token=token, hosts=hosts, inline_scripts=True)
    lock = threading.Lock()

    @app.get("/")
    def page() -> Response:
        return FileResponse(folder / PAGE, media_type="text/html")

    @app.get("/verdicts")
    def verdicts() -> Response:
        with lock:
            return JSONResponse(_saved(folder, manifest).model_dump())

    @app.put("/verdicts")
    async def save(request: Request) -> Response:
        try:
            verdicts = parse_verdicts(await request.body(), manifest, "the request")
        except GanpatchError as fault:
            return PlainTextResponse(str(fault), 422)
        with lock:
            save_verdicts(folder, verdicts)
        return Response(status_code=204)

    @app.get("/{name}")
    def file(name: str) -> Response:
        path = own_file(folder, name) if _FILES.fullmatch(name) else None
        return PlainTextResponse("no such file", 404) if path is None else FileResponse(path)

    return app


def serve(
    folder: Path,
    port: int,
    announce: Callable[[str], Any],
    launch: Callable[[str], object] | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> None:
    """Serve the review page of a run folder until interrupted; `announce` gets the address, `launch` opens it.

    `say` gets remarks: a port that is in use is not taken.
    """
    read_manifest(folder)
    with locked(folder, REVIEWING):
        write_page(folder)
        _saved(folder, read_manifest(folder))
        token = secrets.token_urlsafe(24)
        listener = listen_near(port, say)
        app = make_app(folder, token, hosts_of(listener))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/?token={token}"
        announce(address)
        with opened_page(address, folder, launch):
            run(app, listener)


def _saved(folder: Path, manifest: Manifest) -> Verdicts:
    path = folder / VERDICTS
    return read_verdicts(path, manifest) if path.exists() else Verdicts(run=manifest.run, flags=())
