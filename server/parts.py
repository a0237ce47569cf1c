"""The parts of one server, put together, and what lives for as long as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket

from lia_live.engine.networks import LiveNetworks
from lia_live_server.book import SessionBook
from lia_live_server.config import ServerConfig
from lia_live_server.door import Door
from lia_live_server.gallery import Gallery
from lia_live_server.service import RenderService
from lia_live_server.signalling import Socket
from lia_live_server.uploads import UploadLimits, Uploads

if TYPE_CHECKING:
    from lia_live.avatar import Avatar
    from lia_live.engine.observer import ShapeOf
    from lia_live.interfaces import Clock, Tracker
    from lia_live.model import LIA


class Server:
    """The parts of one server. ``create_app`` makes it; it is ``app.state.server``."""

    def __init__(
        self,
        config: ServerConfig,
        networks: LiveNetworks,
        avatars: Sequence[Avatar],
        open_tracker: Callable[[], Tracker],
        model: LIA | None,
        shape_of: ShapeOf | None,
        clock: Clock,
    ) -> None:
        self.config = config
        self.door = Door(config, clock)
        self.gallery = Gallery(avatars, networks, shape_of)
        self._first = self.gallery.first()
        self.service = RenderService(config, open_tracker, shape_of, clock)
        self.book = SessionBook(config, self.service, self.gallery, self.door, self._first, clock)
        self.limits = UploadLimits()
        self.uploads: Uploads | None = None
        self._model, self._clock = model, clock
        self._sockets = 0
        self.version = _version()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Threads and tasks, for as long as the application runs."""
        if self.config.allow_upload and self._model is not None:
            self.uploads = Uploads(self.gallery, self._model)
        self.service.start(self._first)
        sweeping = asyncio.create_task(self.book.sweep())
        try:
            yield
        finally:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)
            await self.book.end_all()
            await asyncio.to_thread(self.service.close)
            await asyncio.to_thread(self.gallery.close)

    async def socket(self, websocket: WebSocket) -> None:
        """``/ws``."""
        secure = websocket.url.scheme == "wss"
        if not self.door.origin_allowed(websocket.headers, secure):
            await websocket.close(1008)  # before accept: HTTP 403
            return
        peer = websocket.client.host if websocket.client else "?"
        if self._sockets >= self.config.max_connections or self.door.arrivals.take(peer):
            await websocket.send_denial_response(
                PlainTextResponse("too many connections", 429, {"Retry-After": "5"})
            )
            return
        self._sockets += 1
        try:
            socket = Socket(
                websocket,
                self.config,
                self.door,
                self.book,
                self._clock,
                self.limits,
                self.version,
            )
            await socket.run()
        finally:
            self._sockets -= 1


def _version() -> str:
    try:
        return installed("lia-live")
    except PackageNotFoundError:
        return "unknown"
