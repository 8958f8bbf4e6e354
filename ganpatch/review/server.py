"""The review page, served on loopback: verdicts are saved in the run folder as they are made.

Every request needs the token that stands in the printed address, and a Host and Origin of this server, so that no
other page of the browser can read or write anything. Only files of the run folder are given out.
"""

import re
import secrets
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse

from ganpatch.errors import GanpatchError
from ganpatch.ranking import Manifest, read_manifest
from ganpatch.review.page import PAGE, write_page
from ganpatch.review.verdicts import VERDICTS, Verdicts, parse_verdicts, read_verdicts, save_verdicts

_LARGEST_BODY = 8_000_000
_FILES = re.compile(r"layer-\d{1,4}\.js|thumbs-\d{3,6}\.png")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def make_app(folder: Path, token: str, hosts: set[str]) -> FastAPI:
    """Make the application for a run folder; requests must carry `token` and name one of `hosts` as their Host."""
    manifest = read_manifest(folder)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    lock = threading.Lock()

    @app.middleware("http")
    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        refusal = _refusal(request, token, hosts)
        response = PlainTextResponse(refusal, 403) if refusal else await answer(request)
        response.headers.update(_HEADERS)
        return response

    @app.get("/")
    def page() -> Response:
        return FileResponse(folder / PAGE, media_type="text/html")

    @app.get("/verdicts")
    def verdicts() -> Response:
        with lock:
            return JSONResponse(_saved(folder, manifest).model_dump())

    @app.put("/verdicts")
    async def save(request: Request) -> Response:
        body = await _bounded_body(request)
        if body is None:
            return PlainTextResponse("the request is too large", 413)
        try:
            verdicts = parse_verdicts(body, manifest, "the request")
        except GanpatchError as fault:
            return PlainTextResponse(str(fault), 422)
        with lock:
            save_verdicts(folder, verdicts)
        return Response(status_code=204)

    @app.get("/{name}")
    def file(name: str) -> Response:
        if not _FILES.fullmatch(name) or not (folder / name).is_file():
            return PlainTextResponse("no such file", 404)
        return FileResponse(folder / name)

    return app


def serve(folder: Path, port: int, announce: Callable[[str], Any]) -> None:
    """Serve the review page of a run folder until interrupted; `announce` gets the address to open."""
    write_page(folder)
    _saved(folder, read_manifest(folder))
    token = secrets.token_urlsafe(24)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)  # who opens the address at once waits, and is not refused
    except OSError as fault:
        raise GanpatchError(f"cannot listen on port {port}: {fault.strerror}; choose another --port") from fault
    port = listener.getsockname()[1]
    app = make_app(folder, token, {f"127.0.0.1:{port}", f"localhost:{port}"})
    announce(f"http://127.0.0.1:{port}/?token={token}")
    uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off")).run(sockets=[listener])


def _saved(folder: Path, manifest: Manifest) -> Verdicts:
    path = folder / VERDICTS
    return read_verdicts(path, manifest) if path.exists() else Verdicts(run=manifest.run, flags=())


def _refusal(request: Request, token: str, hosts: set[str]) -> str | None:
    """Say why a request is refused, or None."""
    if request.headers.get("host") not in hosts:
        return "wrong host"
    origin = request.headers.get("origin")
    if origin is not None and origin.removeprefix("http://") not in hosts:
        return "wrong origin"
    given = request.headers.get("x-ganpatch-token") or request.query_params.get("token") or ""
    return None if secrets.compare_digest(given.encode(), token.encode()) else "open the address that was printed"


async def _bounded_body(request: Request) -> bytes | None:
    """Read a request's body; None when it is larger than verdicts can be."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_BODY:
            return None
    return bytes(body)
