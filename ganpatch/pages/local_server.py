"""A server on loopback: what the review page and the studio need around their pages.

    app.add_middleware(Bounded, largest=8_000_000)
    app.add_middleware(Guarded, token=token, hosts=hosts, inline_scripts=False)
    run(app, listen(port))

Every request needs the token of the printed address, and a Host and Origin of this server. So no other page in the
browser can read or write anything.
"""

import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ganpatch.disk.atomic_files import write_text
from ganpatch.disk.text_bounds import refuse_dense
from ganpatch.errors import GanpatchError

TOKEN = "x-ganpatch-token"


class Guarded:
    """ASGI middleware that refuses requests without the token, except for public paths, for which `is_open` is true.

    `in_frames` lets pages of this machine, such as a notebook, show the page in a frame.
    """

    def __init__(
        self,
        app: ASGIApp,
        token: str,
        hosts: set[str],
        inline_scripts: bool,
        is_open: Callable[[str], bool] = lambda _: False,
        in_frames: bool = False,
    ) -> None:
        self.app, self.token, self.hosts, self.is_open = app, token, hosts, is_open
        self._headers = _headers("'self' 'unsafe-inline'" if inline_scripts else "'self'", in_frames)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = _refusal(Request(scope), self.token, self.hosts, self.is_open(scope["path"]))

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await (PlainTextResponse(refusal, 403) if refusal else self.app)(scope, receive, marked)


class Bounded:
    """ASGI middleware that reads a request's body before the application sees it, and refuses one that is too large.

    That is more than `largest` bytes, or JSON that would take far more memory than its size.
    """

    def __init__(self, app: ASGIApp, largest: int) -> None:
        self.app, self.largest = app, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.largest:
                await PlainTextResponse("the request is too large", 413)(scope, receive, send)
                return
        try:
            refuse_dense(bytes(body), "the request")
        except GanpatchError as fault:
            await PlainTextResponse(str(fault), 413)(scope, receive, send)
            return
        whole = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replayed() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, replayed, send)


def listen_near(port: int, say: Callable[[str], object]) -> socket.socket:
    """Listen on a port of 127.0.0.1; where it is in use, on another one, which `say` reports."""
    try:
        return listen(port)
    except GanpatchError:
        listener = listen(0)
        say(f"port {port} is in use: listening on {listener.getsockname()[1]} instead")
        return listener


def way_through_ssh(address: str) -> str:
    """Return how to open an address of this machine from another one."""
    port = address.split(":")[2].split("/")[0]
    return f"from another machine: ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}, then open the same address"


def listen(port: int) -> socket.socket:
    """Listen on a port of 127.0.0.1, 0 for any free one; raise GanpatchError if it is in use."""
    # Named as TCP: only then does asyncio switch off Nagle's algorithm, which delays the body of a response by 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)  # so that an early request waits and is not refused
    except OSError as fault:
        listener.close()
        raise GanpatchError(f"cannot listen on port {port}: {fault.strerror}; choose another --port") from fault
    return listener


@contextmanager
def opened_page(address: str, folder: Path, launch: Callable[[str], object] | None) -> Iterator[None]:
    """Open `address` in the browser by `launch`, until the block ends.

    The browser gets the name of a file of this user that leads to the address. The address contains the token, and
    everybody can see the arguments of a program in the list of processes.
    """
    if launch is None:
        yield
        return
    page = folder / "open.html"  # not a hidden file: some browsers cannot read those
    write_text(page, f'<!doctype html><meta http-equiv="refresh" content="0; url={escape(address)}">', mode=0o600)
    try:
        launch(page.resolve().as_uri())
        yield
    finally:
        page.unlink(missing_ok=True)


def own_file(folder: Path, name: str) -> Path | None:
    """Return a file of a folder if it may be served: it exists, and no link leads out of the folder."""
    path = folder / name
    return path if path.is_file() and path.resolve().is_relative_to(folder.resolve()) else None


def hosts_of(listener: socket.socket) -> set[str]:
    """Return the names by which a browser on this machine reaches the listener."""
    port = listener.getsockname()[1]
    return {f"127.0.0.1:{port}", f"localhost:{port}"}


def run(app: FastAPI, listener: socket.socket, **options: Any) -> None:
    """Serve until interrupted."""
    uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", **options)).run(sockets=[listener])


def _headers(scripts: str, in_frames: bool) -> dict[str, str]:
    frames = "http://127.0.0.1:* http://localhost:*" if in_frames else "'none'"
    return {
        "Content-Security-Policy": "default-src 'none'; img-src 'self' data: blob:; "
        f"style-src 'self' 'unsafe-inline'; script-src {scripts}; connect-src 'self'; "
        f"base-uri 'none'; form-action 'none'; frame-ancestors {frames}",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }


def _refusal(request: Request, token: str, hosts: set[str], is_open: bool) -> str | None:
    """Return why a request is refused, or None."""
    if request.headers.get("host") not in hosts:
        return "wrong host"
    origin = request.headers.get("origin")
    if origin is not None and origin.removeprefix("http://") not in hosts:
        return "wrong origin"
    given = request.headers.get(TOKEN) or request.query_params.get("token") or ""
    if is_open or secrets.compare_digest(given.encode(), token.encode()):
        return None
    return "open the address that was printed"
