"""The front door: who may come in, from where, how often. No decision here needs the session behind it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from urllib.parse import urlsplit

from lia_live.interfaces import Clock
from lia_live_server.config import LOOPBACK_NAMES, ServerConfig

MOST_PEERS = 4096
"""Addresses whose rate is remembered; the one unseen for longest is forgotten first."""


class Bucket:
    """So many at once, so many a second after that."""

    def __init__(self, burst: float, per_s: float, now: float) -> None:
        self._burst, self._per_s = burst, per_s
        self._left, self._at = burst, now

    def take(self, now: float, count: float = 1.0) -> float:
        """0.0 and ``count`` taken, or the seconds until there is enough (nothing is taken)."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._per_s)
        self._at = now
        if self._left >= count:
            self._left -= count
            return 0.0
        return (count - self._left) / self._per_s


class RateLimit:
    """A bucket for each address. Event loop only."""

    def __init__(self, burst: float, per_s: float, clock: Clock) -> None:
        self._burst, self._per_s, self._clock = burst, per_s, clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, peer: str) -> float:
        """0.0, or how many seconds ``peer`` has to wait."""
        now = self._clock.now()
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

    def host_allowed(self, headers: Mapping[str, str]) -> bool:
        """A server for this machine alone answers to its names only: a page elsewhere cannot rebind one to it."""
        return not self._loopback or _name(headers.get("host", "")) in LOOPBACK_NAMES

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


def _name(host: str) -> str:
    """The host of ``host:port``, without brackets; "" for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
