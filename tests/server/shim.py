"""A poor network without root: what aioice sends is delayed, lost and squeezed, the same way every time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aioice.ice import StunProtocol


@dataclass
class Link:
    """One direction. May be changed while it is in use."""

    loss: float = 0.0
    """Of datagrams, 0 to 1."""
    delay_s: float = 0.0
    """One way."""
    rate_bps: float | None = None
    """Of the bottleneck; None: none."""
    queue_s: float = 0.3
    """What the bottleneck holds; more is lost."""
    cut: bool = False
    """Nothing passes."""


class _Way:
    """The state of one socket's sending direction."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.free_at = 0.0

    def due(self, link: Link, size: int, now: float) -> float | None:
        """Seconds until it arrives; None: it does not."""
        if link.cut or self.dice.random() < link.loss:
            return None
        waits = 0.0
        if link.rate_bps is not None:
            waits = max(0.0, self.free_at - now)
            if waits > link.queue_s:
                return None
            self.free_at = max(self.free_at, now) + 8 * (size + 28) / link.rate_bps
            waits = self.free_at - now
        return waits + link.delay_s


@contextmanager
def poor_network(down: Link, up: Link, seed: int = 1) -> Iterator[None]:
    """``down``: what the answering side (the server) sends; ``up``: what the offering side sends.

    Connectivity checks pass untouched, except on a cut link: it is media that is shaped.
    """
    send, send_stun = StunProtocol.send_data, StunProtocol.send_stun
    ways: dict[Any, _Way] = {}

    def link_of(protocol: Any) -> Link:
        return up if protocol.receiver.ice_controlling else down

    async def shaped(self: Any, data: bytes, addr: tuple[str, int]) -> None:
        link = link_of(self)
        way = ways.setdefault(self, _Way(seed + len(ways)))
        loop = asyncio.get_running_loop()
        waits = way.due(link, len(data), loop.time())
        if waits is None:
            return
        if waits == 0:
            await send(self, data, addr)
            return

        def deliver() -> None:
            if self.transport is not None and not self.transport.is_closing():
                self.transport.sendto(data, addr)

        loop.call_later(waits, deliver)

    def stun(self: Any, message: Any, addr: tuple[str, int]) -> None:
        if not link_of(self).cut:
            send_stun(self, message, addr)

    StunProtocol.send_data, StunProtocol.send_stun = shaped, stun
    try:
        yield
    finally:
        StunProtocol.send_data, StunProtocol.send_stun = send, send_stun
