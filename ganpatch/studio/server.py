"""The studio, served on loopback: the page, its modules, and the routes behind it; strangers get nothing.

The token and the port of a session are kept in its folder, so that an open page continues when the server is back.
"""

import json
import re
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse

from ganpatch.disk.atomic_files import write_text
from ganpatch.disk.locks import locked
from ganpatch.errors import GanpatchError
from ganpatch.pages.local_server import Bounded, Guarded, hosts_of, listen_near, opened_page, run
from ganpatch.pages.scripts import SHARED
from ganpatch.studio.api import refusal, routes, unfit_request
from ganpatch.studio.changes import Overtaken
from ganpatch.studio.session import Opening, Studio
from ganpatch.studio.trust import SERVER, kept_server
from ganpatch.studio.views import JobRequest
from ganpatch.version import VERSION

_OWN = files("ganpatch.studio").joinpath("static")
LARGEST_BODY = 8_000_000
_NAME = re.compile(r"[a-z][a-z0-9_-]*\.(?:js|css|html)")
_KINDS = {"js": "text/javascript", "css": "text/css", "html": "text/html"}


def make_app(studio: Studio, token: str, hosts: set[str]) -> FastAPI:
    """Make the application; requests must carry `token` and name one of `hosts` as their Host."""
    app = FastAPI(title="ganpatch studio", version=VERSION, docs_url=None, redoc_url=None)
    app.add_middleware(Bounded, largest=LARGEST_BODY)
    app.add_middleware(
        Guarded, token=token, hosts=hosts, inline_scripts=False, is_open=_is_static, in_frames=studio.in_frames
    )
    app.include_router(routes(studio))

    @app.exception_handler(GanpatchError)
    @app.exception_handler(Overtaken)
    def refused(_request: Request, fault: Exception) -> Response:
        return refusal(fault)

    @app.exception_handler(RequestValidationError)
    def unfit(_request: Request, fault: RequestValidationError) -> Response:
        return unfit_request(fault)

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return _asset("index.html")

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return _asset("docs.html")

    @app.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        return _asset(name) if _NAME.fullmatch(name) else PlainTextResponse("no such file", 404)

    return app


def serve(
    opening: Opening,
    port: int | None,
    announce: Callable[[str, Studio], Any],
    launch: Callable[[str], object] | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> None:
    """Serve a studio until interrupted; `announce` gets the address, `launch` opens it, `say` gets remarks.

    Without `port` it is the one that this session had before, or a free one; one that is in use is not taken.
    """
    with ExitStack() as held:
        studio = Studio.open(opening, hold=lambda path: held.enter_context(locked(path)))
        path = studio.folder.path
        before = kept_server(path)
        token = before.get("token") or secrets.token_urlsafe(24)
        listener = _listener(port, before.get("port"), say)
        port = listener.getsockname()[1]
        write_text(path / SERVER, json.dumps({"port": port, "token": token}) + "\n", mode=0o600)
        app = make_app(studio, token, hosts_of(listener))
        if not studio.runs:
            studio.start(JobRequest(kind="rank", n=opening.n))
        address = f"http://127.0.0.1:{port}/?token={token}"
        announce(address, studio)
        held.enter_context(opened_page(address, path, launch))
        run(app, listener, timeout_graceful_shutdown=2)


def _is_static(path: str) -> bool:
    return path.startswith("/static/")


def _listener(port: int | None, before: Any, say: Callable[[str], object]) -> Any:
    known = isinstance(before, int) and 0 < before < 65536
    return listen_near(port if port is not None else before if known else 0, say)


def _asset(name: str) -> Response:
    place = next((room.joinpath(name) for room in (_OWN, SHARED) if room.joinpath(name).is_file()), None)
    if place is None:
        return PlainTextResponse("no such file", 404)
    return Response(place.read_bytes(), media_type=_KINDS[name.rpartition(".")[2]])
