"""What the server answers over plain HTTP: the page, pictures, health, figures, and portraits that are brought."""

from __future__ import annotations

import asyncio
import ipaddress
import mimetypes
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from lia_live_server.metrics import metrics_text
from lia_live_server.protocol import ProtocolError

if TYPE_CHECKING:
    from lia_live_server.parts import Server

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob: mediastream:; connect-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), picture-in-picture=(self)",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
}
"""Not left to the system's own table: a wrong one there stops modules from loading."""
UPLOAD_STATUS: Final = {
    "consent": 400,
    "picture": 400,
    "late": 408,
    "token": 401,
    "uploads_off": 403,
    "session": 403,
    "origin": 403,
    "too_many": 409,
    "too_big": 413,
    "rate": 429,
}


BODY_S: Final = 120.0
"""A portrait has come by then: 10 MiB at 700 kbit/s."""


class Pages:
    """Handlers of one server."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self._folder = folder.resolve()

    async def page(self, request: Request) -> Response:
        """A file of the page."""
        asked = request.path_params.get("path", "") or "index.html"
        return await run_in_threadpool(self._file, asked, request.headers.get("if-none-match"))

    def _file(self, asked: str, known: str | None) -> Response:
        if "\0" in asked:
            return PlainTextResponse("not found", 404)
        try:
            path = (self._folder / asked).resolve()
            found = path.is_relative_to(self._folder) and path.is_file()
        except OSError:  # a name longer than a file's can be
            found = False
        if not found or path.suffix not in (*TYPES, ".png", ".ico") or path.name.startswith("."):
            return PlainTextResponse("not found", 404)
        kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
        state = path.stat()
        tag = f'"{state.st_mtime_ns:x}-{state.st_size:x}"'
        # no-cache: asked for every time, sent only when changed; a page and its modules always fit
        headers = {"Cache-Control": "no-cache", "ETag": tag}
        if known == tag:
            return Response(status_code=304, headers=headers)
        return Response(path.read_bytes(), media_type=kind, headers=headers)

    async def picture(self, request: Request) -> Response:
        """JPEG of an avatar, to whoever was given its address."""
        address = request.path_params["name"]
        if not self._server.door.opens_picture(address, request.query_params.get("key", "")):
            return PlainTextResponse("not found", 404)
        found = await run_in_threadpool(self._server.gallery.picture, address)
        if found is None:
            return PlainTextResponse("not found", 404)
        return Response(found, media_type="image/jpeg", headers={"Cache-Control": "private"})

    async def health(self, request: Request) -> Response:
        """For whoever watches the server."""
        if self._server.book.draining:
            return JSONResponse({"status": "stopping"}, 503)
        if not self._server.service.alive:
            return JSONResponse({"status": "failed"}, 503)
        return JSONResponse({"status": "ok"})

    async def metrics(self, request: Request) -> Response:
        """Prometheus text."""
        if not self._server.config.public_metrics and not _local(request):
            return PlainTextResponse("not found", 404)
        text = metrics_text(self._server.book, self._server.service)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def upload(self, request: Request) -> Response:
        """A portrait that a session brings."""
        try:
            answer = await self._upload(request)
        except ProtocolError as error:
            payload: dict[str, Any] = {
                "code": error.code,
                "message": error.message,
                "hint": error.hint,
            }
            headers = {}
            if error.retry_after is not None:
                headers["Retry-After"] = str(round(error.retry_after + 0.5))
            return JSONResponse(payload, UPLOAD_STATUS.get(error.code, 400), headers)
        except ClientDisconnect:
            return Response(status_code=400)
        return JSONResponse(answer, 201)

    async def _upload(self, request: Request) -> dict[str, Any]:
        server, headers = self._server, request.headers
        if server.uploads is None:
            raise ProtocolError("uploads_off", "this server takes no portraits")
        if not server.door.origin_allowed(headers, request.url.scheme == "https"):
            raise ProtocolError("origin", "this page may not bring portraits")
        peer = request.client.host if request.client else "?"
        scheme, _, token = headers.get("authorization", "").partition(" ")
        server.door.admit(peer, token if scheme.lower() == "bearer" else None)
        session = server.book.by_secret(headers.get("x-session"))
        if session is None:
            raise ProtocolError("session", "there is no such session", "start first")
        wait = server.door.uploads.take(peer)
        if wait:
            raise ProtocolError("rate", "too many portraits", "wait a moment", wait)
        try:
            async with asyncio.timeout(BODY_S):
                data = await _body(request, server.limits.most_bytes)
        except TimeoutError:
            raise ProtocolError(
                "late", f"the portrait has not come within {BODY_S:g} s", "save it smaller"
            ) from None
        entry = await server.uploads.take(
            session,
            data,
            headers.get("x-consent", ""),
            unquote(headers.get("x-name", "")),
        )
        return {**session.told_of(entry), "notes": list(entry.avatar.notes)}


async def _body(request: Request, most: int) -> bytes:
    """The body, never more than ``most`` bytes of it. Raises ``ProtocolError``."""
    too_big = ProtocolError(
        "too_big", f"a portrait has at most {most / 2**20:.0f} MiB", "save it smaller"
    )
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > most:
        raise too_big
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > most:
            raise too_big
    return bytes(found)


def _local(request: Request) -> bool:
    """Does this request come from the machine itself, under one of its own names?"""
    try:
        address = ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:
        return False
    return address.is_loopback


Handler = Callable[[Request], Awaitable[Response]]
