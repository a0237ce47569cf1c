"""The application: everything of one server put together, ready for uvicorn or for another program."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lia_live.engine import expression_of
from lia_live.engine.networks import LiveNetworks, OpenOwn, open_beside
from lia_live.errors import ConfigError
from lia_live.timing import MonotonicClock
from lia_live_server.config import ServerConfig
from lia_live_server.door import Door
from lia_live_server.page_folder import client_directory
from lia_live_server.pages import SECURITY_HEADERS, Pages
from lia_live_server.parts import Server

if TYPE_CHECKING:
    from lia_live.avatar import Avatar
    from lia_live.engine.observer import ShapeOf
    from lia_live.interfaces import Clock, Tracker
    from lia_live.model import LIA
    from lia_live.model.directions import Direction
    from lia_live.render.interface import Renderer

log = logging.getLogger("lia_live_server")


def create_app(
    config: ServerConfig,
    model: LIA | Renderer | None,
    avatars: Sequence[Avatar],
    *,
    renderer: Renderer | None = None,
    directions: Sequence[Direction] | None = None,
    open_tracker: Callable[[], Tracker] | None = None,
    open_own: OpenOwn | None = None,
    shape_of: ShapeOf | None = expression_of,
    clock: Clock | None = None,
    page: Path | None = None,
) -> Starlette:
    """A server as an ASGI application, to be run by uvicorn or mounted in another one.

        app = create_app(ServerConfig(), lia_live.load_model("default"), avatars)

    ``model``: what the avatars share, a ``LIA`` or an opened renderer; None where each brings its own network.
    ``renderer``: the ``LIA``, opened already. ``directions``: one a coefficient; None takes the model's.
    ``open_tracker``: called for each session; None opens what the networks' framing needs. ``open_own``: opens a
    network that an avatar brings. ``page``: the folder of the page, None: the shipped one. Uploads need a ``LIA``.
    The application has to see ASGI's lifespan; its parts are ``app.state.server``.
    Raises ``ConfigError`` and what opening the network raises.
    """
    from lia_live.model import LIA, Direction
    from lia_live.render import open_renderer

    if config.allow_upload and not isinstance(model, LIA):
        raise ConfigError(
            "portraits can be taken only with weights that build avatars",
            "leave uploads off, or load a model",
        )
    if renderer is None:
        renderer = open_renderer(model) if isinstance(model, LIA) else model
    if directions is None and renderer is not None:
        shared = isinstance(model, LIA)
        count = renderer.config.motion_dim
        directions = model.directions if shared else Direction.unlabelled(count)  # type: ignore[union-attr]
    networks_config = [a.network.config for a in avatars if a.network is not None]
    if renderer is not None:
        networks_config.insert(0, renderer.config)
    tracked = next((c for c in networks_config if c.framing.kind == "face"), None)
    tracked = tracked or (networks_config[0] if networks_config else None)

    def own(network: LIA, other: Renderer | None) -> Renderer:
        return open_beside(network, other or renderer)

    networks = LiveNetworks(
        None if renderer is None else lambda: (renderer, directions or ()),
        open_own or own,
        tracked,
        lambda avatar: isinstance(model, LIA) and avatar.fingerprint == model.fingerprint,
    )

    def tracker() -> Tracker:
        from lia_live.track import open_tracker as opened

        assert tracked is not None  # a gallery without any network has raised by now
        return opened(tracked.framing, tracked.size)

    server = Server(
        config,
        networks,
        avatars,
        open_tracker or tracker,
        model if isinstance(model, LIA) else None,
        shape_of,
        clock or MonotonicClock(),
    )
    pages = Pages(server, page or client_directory())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with server.running():
            yield

    app = Starlette(
        routes=[
            WebSocketRoute("/ws", server.socket),
            Route("/healthz", pages.health),
            Route("/metrics", pages.metrics),
            Route("/avatars", pages.upload, methods=["POST"]),
            Route("/avatars/{name:path}.jpg", pages.picture),
            Route("/", pages.page),
            Route("/{path:path}", pages.page),
        ],
        lifespan=lifespan,
    )
    app.state.server = server
    app.add_middleware(Guard, door=server.door)
    return app


class Guard:
    """Headers for every answer, and no answer to a name that is not this server's."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if not self._door.host_allowed(Headers(scope=scope)):
            await PlainTextResponse("unknown host", 421)(scope, receive, guarded)
            return
        try:
            await self._app(scope, receive, guarded)
        except Exception as error:  # whatever it was, the peer gets no traceback
            log.error("a request broke: %s: %s", type(error).__name__, error)
            raise


def server_of(app: Any) -> Server:
    """The parts behind an application that ``create_app`` made."""
    found: Server = app.state.server
    return found
