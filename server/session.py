"""One session: what its client may do, and what it is told. It outlives its socket for as long as it may be resumed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

from lia_live.engine import PreparedAvatar
from lia_live.engine.performer import AvatarPicture
from lia_live.errors import ConfigError
from lia_live_server.gallery import Entry, Gallery, picture_url
from lia_live_server.peer import MediaState, Peer
from lia_live_server.protocol import ProtocolError, Settings
from lia_live_server.turn import minted

if TYPE_CHECKING:
    from lia_live.interfaces import Clock
    from lia_live_server.config import ServerConfig
    from lia_live_server.door import Door
    from lia_live_server.media import ReceivedFrame
    from lia_live_server.service import RenderService

Say = Callable[[dict[str, Any]], None]


class Session:
    """Event loop only. ``say``: where messages go while a socket is attached; ``broken``: it cannot go on."""

    def __init__(
        self,
        config: ServerConfig,
        service: RenderService,
        gallery: Gallery,
        door: Door,
        first: PreparedAvatar,
        clock: Clock,
        broken: Callable[[Session], None],
    ) -> None:
        self.name = secrets.token_hex(6)
        """Public: in logs and in ``welcome.session``."""
        self.secret = secrets.token_urlsafe(24)
        """Whoever knows it may resume the session and bring portraits to it."""
        self._config, self._service, self._gallery = config, service, gallery
        self._door, self._clock, self._broken = door, clock, broken
        self._loop = asyncio.get_running_loop()
        self._peer: Peer | None = None
        self._offers = asyncio.Lock()
        self._say: Say | None = None
        self._told: dict[str, Any] = {}
        self._told_large = False
        self._lost = False
        self._choice = 0
        self.parked_at: float | None = None
        """When its socket was lost; None while there is one."""
        self.uploads = 0
        self.closed = False
        """It has ended: nothing may be kept for it any more."""
        self._network = first.network
        self.stage = service.open(first, self._show_from_thread, self._failed_from_thread)

    # Sockets come and go

    def attach(self, say: Say) -> None:
        """A socket is there (again)."""
        self._say, self.parked_at = say, None
        self._service.pause(self.stage, False)

    async def park(self) -> None:
        """The socket is lost: keep what the person set, give back what costs."""
        self._say, self.parked_at = None, self._clock.now()
        self._service.pause(self.stage, True)
        await self._drop_peer()
        self._lost = False

    async def close(self) -> None:
        """Give everything back."""
        self._say, self.closed = None, True
        self._service.leave(self.stage)
        self._gallery.forget(self.name)
        await self._drop_peer()

    # What the client asks

    async def offer(self, sdp: str) -> str:
        """A new connection in the place of the one before; returns the answer. Raises ``ProtocolError``."""
        async with self._offers:
            await self._drop_peer()
            self._lost = False
            servers = minted(self._config.ice_servers, self.name)
            peer = Peer(
                self._config,
                servers,
                self.stage.stats,
                self._clock,
                self._frame_came,
                self._media_changed,
            )
            try:
                answer = await peer.answer(sdp)
            except BaseException:
                await peer.close()
                raise
            self._peer = peer
            self.stage.refresh()  # the first picture must not wait for a face
            self._service.wake()
            return answer

    async def choose(self, name: str) -> None:
        """Another avatar, as soon as it is ready. Raises ``ProtocolError``."""
        entry = self._gallery.find(name, self.name)
        if entry is None:
            raise ProtocolError(
                "unknown_avatar",
                "there is no such avatar",
                "choose one of the list",
            )
        self._choice = choice = self._choice + 1
        try:
            prepared = await self._gallery.prepared(entry)
        except (ConfigError, RuntimeError, ValueError, MemoryError) as error:
            hint = getattr(error, "hint", "") or "choose another one"
            raise ProtocolError("avatar", f"{entry.name} cannot be used", hint) from error
        if choice == self._choice:  # else another one was asked for meanwhile
            self.stage.choose(prepared)
            self._service.wake()

    def settle(self, settings: Settings) -> None:
        """Raises ``ProtocolError`` for edits that do not fit."""
        changes = {
            field.name: value
            for field in fields(settings)
            if (value := getattr(settings, field.name)) is not None
        }
        mirror = changes.pop("mirror", None)
        try:
            self.stage.settle(mirror, changes)
        except ConfigError as error:
            raise ProtocolError("bad_message", error.message, error.hint) from error
        self._service.wake()

    def calibrate(self) -> None:
        """A new neutral."""
        self.stage.calibrate()

    # What the client is told

    def welcome(self, version: str, resumed: bool, limits: dict[str, Any]) -> dict[str, Any]:
        """The first answer."""
        return {
            "type": "welcome",
            "protocol": 1,
            "version": version,
            "session": self.name,
            "resume": self.secret,
            "resumed": resumed,
            "avatars": [self.told_of(entry) for entry in self._gallery.seen_by(self.name)],
            "avatar": self.stage.stats.avatar,
            "directions": self._directions(),
            "settings": self._settings(),
            "ice_servers": minted(self._config.ice_servers, self.name),
            "uploads": self._config.allow_upload,
            "badge": self._config.badge,
            "limits": limits,
        }

    def told_of(self, entry: Entry) -> dict[str, Any]:
        """One avatar, for lists."""
        return {
            "name": entry.name,
            "picture_url": picture_url(entry, self._door),
            "own": entry.owner is not None,
        }

    def news(self) -> list[dict[str, Any]]:
        """What has changed since it was last asked: ``status``, ``directions``, ``error``."""
        found: list[dict[str, Any]] = []
        if self.stage.performer.avatar.network is not self._network:
            self._network = self.stage.performer.avatar.network
            found.append(
                {
                    "type": "directions",
                    "directions": self._directions(),
                    "settings": self._settings(),
                }
            )
        stats = self.stage.stats
        status = {
            "type": "status",
            "face": stats.driver == "face",
            "driver": stats.driver,
            "calibrated": stats.calibrated,
            "neutral_score": round(stats.neutral_score, 2),
            "avatar": stats.avatar,
            "media": self.media,
        }
        if status != self._told:
            self._told = status
            found.append(status)
        if self._peer is not None and self._peer.too_large and not self._told_large:
            self._told_large = True
            error = ProtocolError(
                "picture_size",
                "the camera's picture is too large",
                "choose 640 × 480: the face is enlarged in any case",
            )
            found.append(error.payload())
        return found

    def say_again(self) -> None:
        """Whoever attaches hears the whole status."""
        self._told = {}

    def stats_message(self) -> dict[str, Any]:
        """Once a second."""
        stats, peer = self.stage.stats, self._peer
        rung = None if peer is None else peer.rung()
        return {
            "type": "stats",
            "fps": round(stats.fps_now(self._clock.now()), 1),
            "age_ms": stats.age.milliseconds(50, 95),
            "model_ms": stats.model.milliseconds(50, 95),
            "dropped": stats.dropped,
            "frames_in": stats.frames_in,
            "frames_out": stats.frames_out,
            "repeated": stats.repeated,
            "bitrate_kbps": 0.0 if peer is None else round(peer.sent_bps / 1000, 1),
            "loss": 0.0 if peer is None else round(peer.loss, 3),
            "rtt_ms": None if peer is None or peer.rtt_s is None else round(1000 * peer.rtt_s, 1),
            "side": self._config.side_px if rung is None else rung.side_px,
            "target_fps": self._config.fps if rung is None else rung.fps,
        }

    @property
    def media(self) -> MediaState:
        """The state of its video."""
        if self._peer is not None:
            return self._peer.state
        return "lost" if self._lost else "none"

    def _directions(self) -> list[dict[str, Any]]:
        return [
            {
                "name": direction.name,
                "low": round(direction.low, 4),
                "high": round(direction.high, 4),
                "neutral": round(direction.neutral, 4),
                "scale": round(direction.scale, 4),
            }
            for direction in self.stage.directions
        ]

    def _settings(self) -> dict[str, Any]:
        policy = self.stage.policy_config
        edits = list(policy.edits) or [0.0] * len(self.stage.directions)
        return {
            "strength": policy.strength,
            "mode": policy.mode,
            "mirror": self.stage.mirror,
            "smooth": policy.smooth,
            "edits": edits,
        }

    # Frames and pictures

    def _frame_came(self, frame: ReceivedFrame) -> None:
        self._service.offer(self.stage, frame)

    def _show_from_thread(self, picture: AvatarPicture) -> None:
        self._soon(partial(self._show, picture))

    def _show(self, picture: AvatarPicture) -> None:
        if self._peer is not None:
            self._peer.outgoing.put(picture)

    def _failed_from_thread(self, error: Exception) -> None:
        self._soon(lambda: self._broken(self))

    def _soon(self, call: Callable[[], None]) -> None:
        """From a thread of the service; after the loop's end there is nobody left to tell."""
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            return

    def _media_changed(self) -> None:
        peer = self._peer
        if peer is not None and peer.state == "lost":
            self._peer, self._lost = None, True
        if self._say is not None:
            for message in self.news():
                self._say(message)

    async def _drop_peer(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            await peer.close()
