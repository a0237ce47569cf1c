"""The front door: who may come in, from where, how often. No decision here needs the session behind it."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Mapping

from lia_live.interfaces import Clock
from lia_live_server.config import LOOPBACK_NAMES, ServerConfig, name_of
from lia_live_server.protocol import ProtocolError

MOST_PEERS = 4096
"""Addresses whose rate is remembered; the one unseen for longest is forgotten first."""


class Bucket:
    """So many at once, so many a second after that."""

    def __init__(self, burst: float, per_s: float, now: float) -> None:
        self._burst, self._per_s = burst, per_s
        self._left, self._at = burst, now

    def wait(self, now: float) -> float:
        """Seconds until there is one, or 0.0. Nothing is taken."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._per_s)
        self._at = now
        return max(0.0, (1.0 - self._left) / self._per_s)

    def take(self, now: float) -> float:
        """0.0 and one taken, or the seconds until there is one (nothing is taken)."""
        wait = self.wait(now)
        self._left -= wait == 0.0
        return wait


class RateLimit:
    """A bucket for each address. Event loop only."""

    def __init__(self, burst: float, per_s: float, clock: Clock) -> None:
        self._burst, self._per_s, self._clock = burst, per_s, clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def wait(self, peer: str) -> float:
        """How many seconds ``peer`` has to wait, or 0.0; nothing is taken."""
        bucket = self._buckets.get(_network(peer))
        return 0.0 if bucket is None else bucket.wait(self._clock.now())

    def take(self, peer: str) -> float:
        """0.0, or how many seconds ``peer`` has to wait."""
        now, peer = self._clock.now(), _network(peer)
        bucket = self._buckets.pop(peer, None) or Bucket(self._burst, self._per_s, now)
        self._buckets[peer] = bucket
        while len(self._buckets) > MOST_PEERS:
            self._buckets.popitem(last=False)
        return bucket.take(now)


class Door:
    """Token, origin and rates of one server."""

    def __init__(self, config: ServerConfig, clock: Clock) -> None:
        self._loopback, self._origins = config.loopback, frozenset(config.origins)
        # Kept and compared as hashes of one length: neither length nor first difference shows in the time.
        self._digest = None if config.token is None else _digest(config.token)
        self._key = secrets.token_bytes(32)
        self.arrivals = RateLimit(30, 2.0, clock)
        """WebSockets."""
        self.guesses = RateLimit(5, 0.2, clock)
        """Wrong tokens."""
        self.uploads = RateLimit(4, 1 / 30, clock)
        """Pictures sent."""

    @property
    def locked(self) -> bool:
        """A token is needed."""
        return self._digest is not None

    def knows(self, token: str | None) -> bool:
        """Is this the token, or none needed? Takes the same time for every wrong one."""
        if self._digest is None:
            return True
        return hmac.compare_digest(_digest(token or ""), self._digest)

    def admit(self, peer: str, token: str | None) -> None:
        """Raises ``ProtocolError`` unless this is the token, or none needed.

        After too many wrong ones the right one has to wait as well: else nothing would slow a guesser down.
        """
        if self._digest is None:
            return
        if token:
            wait = self.guesses.wait(peer)
            if wait:
                raise ProtocolError("rate", "too many wrong tokens", "wait, then try again", wait)
            if self.knows(token):
                return
            self.guesses.take(peer)
        raise ProtocolError(
            "token", "the token is missing or wrong", "ask whoever runs this server for it"
        )

    def host_allowed(self, headers: Mapping[str, str]) -> bool:
        """A server for this machine alone answers to its names only: a page elsewhere cannot rebind one to it."""
        return not self._loopback or name_of(headers.get("host", "")) in LOOPBACK_NAMES

    def origin_allowed(self, headers: Mapping[str, str], secure: bool) -> bool:
        """Exactly the server's own origin, or one that was named. Programs that are no browser send none."""
        origin = headers.get("origin")
        if origin is None or origin in self._origins:
            return True
        if not self.host_allowed(headers):
            return False
        scheme = "https" if secure else "http"
        return origin == f"{scheme}://{headers.get('host', '')}"

    def picture_key(self, name: str) -> str:
        """Makes the address of an avatar's picture one that cannot be guessed."""
        return hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()[:32]

    def opens_picture(self, name: str, key: str) -> bool:
        """Was this address given out?"""
        return hmac.compare_digest(self.picture_key(name).encode(), key.encode())


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _network(peer: str) -> str:
    """What one client can call itself: an IPv6 network of 64 bits, or an address."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if address.version == 4 or address.ipv4_mapped is not None:
        return peer
    return str(ipaddress.ip_network((int(address), 64), strict=False))
