"""Settings of the server: who may come in, how many, and what is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from lia_live.engine.policy_config import PolicyConfig
from lia_live.errors import ConfigError

SIDES_PX = (128, 1024)
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def name_of(host: str) -> str:
    """The host of ``host:port``, without brackets; "" for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


@dataclass(frozen=True)
class ServerConfig:
    """What a server is told. One object for its whole life."""

    host: str = "127.0.0.1"
    """Address it is bound to; decides which ``Host`` and ``Origin`` are its own."""
    token: str | None = field(default=None, repr=False)
    """What a client has to know; None: everybody who reaches the server may come in."""
    origins: tuple[str, ...] = ()
    """Pages of other origins that may connect ("https://example.org"), besides the server's own."""
    max_sessions: int = 4
    """Sessions at once, parked ones included; 1 to 1000."""
    max_connections: int = 64
    """WebSockets at once, joined or not; 1 to 10000."""
    ice_servers: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """STUN and TURN servers as in ``turn.read_ice_servers``; none are used by default."""
    badge: bool = True
    """Draw "AI avatar" on every picture."""
    allow_upload: bool = False
    """Visitors may bring a portrait of their own."""
    public_metrics: bool = False
    """``/metrics`` answers other machines too."""
    side_px: int = 384
    """Side of the square picture on a good link; 128 to 1024."""
    fps: float = 30.0
    """Pictures a second at most; 5 to 60."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """What a session begins with."""
    park_s: float = 30.0
    """How long a lost session can be resumed; 0 to 600."""
    join_s: float = 10.0
    """A socket that has not joined by then is closed; 0.1 to 60."""
    rtp_timeout_s: float = 2.0
    """Without video for so long the connection counts as lost; 0.5 to 60."""
    connect_s: float = 15.0
    """A connection that is not up by then counts as lost; 1 to 120."""
    send_s: float = 5.0
    """A socket that takes nothing for so long is closed; 0.1 to 60."""
    track_workers: int = 2
    """Threads that find faces; 1 to 16."""
    max_batch: int = 8
    """Sessions rendered in one call of the network; 1 to 64."""
    idle_after_s: float = 0.3
    """Without a frame for so long the avatar is moved on without one; 0.02 to 5. Longer than a network's gaps."""
    fault_limit_s: float = 5.0
    """A seam of one session that fails for so long ends that session; 0 to 3600."""

    def __post_init__(self) -> None:
        bounds = {
            "max_sessions": (1, 1000),
            "max_connections": (1, 10_000),
            "side_px": SIDES_PX,
            "fps": (5, 60),
            "park_s": (0, 600),
            "join_s": (0.1, 60),
            "rtp_timeout_s": (0.5, 60),
            "connect_s": (1, 120),
            "send_s": (0.1, 60),
            "track_workers": (1, 16),
            "max_batch": (1, 64),
            "idle_after_s": (0.02, 5),
            "fault_limit_s": (0, 3600),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:  # also refuses NaN
                raise ConfigError(f"server.{name} must be in [{low:g}, {high:g}], got {value}")
        if self.side_px % 2:
            raise ConfigError(f"server.side_px must be even, got {self.side_px}")
        if self.token is not None and not 8 <= len(self.token) <= 512:
            raise ConfigError(
                f"the token must have 8 to 512 characters, it has {len(self.token)}",
                "make one: python -c 'import secrets; print(secrets.token_urlsafe(24))'",
            )
        for origin in self.origins:
            scheme, _, rest = origin.partition("://")
            if scheme not in ("http", "https") or not rest or "/" in rest:
                raise ConfigError(
                    f"{origin!r} is no origin",
                    "write scheme, host and port only: https://example.org:8443",
                )
            if self.token is None and name_of(rest) not in LOOPBACK_NAMES:
                raise ConfigError(
                    f"visitors of {origin} could come in without a token",
                    "add one (--token-file, or $LIA_LIVE_TOKEN), or leave that origin out",
                )

    @property
    def loopback(self) -> bool:
        """Only this machine can reach it."""
        return self.host in LOOPBACK_NAMES
