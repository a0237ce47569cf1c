"""The HTTP front: uvicorn's own protocol, but one that does not wait without end."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS: Final = 256
"""Connections that are not WebSockets, at once: far more than pages need, far fewer than descriptors."""


_errors_only = logging.getLogger("lia_live_server.http")
_errors_only.setLevel(logging.ERROR)  # a line for each bad request: whoever likes could fill a disk


class HttpFront(H11Protocol):
    """Cuts a connection that is owed nothing and has not sent a whole request head within ``request_s``.

    uvicorn's keep-alive limit begins after an answer and ends with the next byte: it does not bound a head that comes
    letter by letter, a client that says nothing at all, or one that does not take its answer. Event loop only.
    """

    def __init__(self, *args: Any, request_s: float = 10.0, **more: Any) -> None:
        super().__init__(*args, **more)
        self._request_s = request_s
        self.logger = _errors_only
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if sum(isinstance(one, HttpFront) for one in self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._owes_an_answer:
            self._wait_no_more()

    def on_response_complete(self) -> None:
        self._wait()
        super().on_response_complete()  # may begin with the next request, if that has come already
        if self._owes_an_answer:
            self._wait_no_more()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._wait_no_more()  # the socket has limits of its own
        super().handle_websocket_upgrade(event)

    @property
    def _owes_an_answer(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._wait_no_more()
        self._deadline = self.loop.call_later(self._request_s, self._cut)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut(self) -> None:
        # Not ``close``: that would wait for a peer that takes nothing.
        self._deadline = None
        self.transport.abort()
