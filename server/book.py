"""Who is in: admission, parking, resuming, and the end of the server."""

from __future__ import annotations

import asyncio
import hmac
import logging
from typing import TYPE_CHECKING, Any, Protocol

from lia_live.render.memory import give_back_freed_memory
from lia_live_server.protocol import ProtocolError
from lia_live_server.session import Session

if TYPE_CHECKING:
    from lia_live.engine import PreparedAvatar
    from lia_live.interfaces import Clock
    from lia_live_server.config import ServerConfig
    from lia_live_server.door import Door
    from lia_live_server.gallery import Gallery
    from lia_live_server.service import RenderService

log = logging.getLogger("lia_live_server")

SWEEP_S = 0.5
QUIET_S = 1.0
BUSY_RETRY_S = 10.0
STOPPING_RETRY_S = 30.0


class Attached(Protocol):
    """The socket of a session, as far as the book has to do with it."""

    def say(self, message: dict[str, Any]) -> None:
        """Send as soon as the peer takes it."""
        ...

    def replace(self) -> None:
        """End: the session goes on elsewhere."""
        ...

    def fail(self) -> None:
        """End: the session broke down."""
        ...

    def stop(self) -> None:
        """End: the server stops."""
        ...


class SessionBook:
    """Every session, with a socket or parked. Event loop only."""

    def __init__(
        self,
        config: ServerConfig,
        service: RenderService,
        gallery: Gallery,
        door: Door,
        first: PreparedAvatar,
        clock: Clock,
    ) -> None:
        self._config, self._service, self._gallery = config, service, gallery
        self._door, self._first, self._clock = door, first, clock
        self._sessions: dict[Session, Attached | None] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._emptied_at: float | None = None
        self.draining = False
        """No new sessions: the server is being stopped."""
        self.admitted = 0
        self.refused = 0
        self.resumed = 0
        self.failed = 0

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def live(self) -> int:
        """Sessions with a socket."""
        return sum(socket is not None for socket in self._sessions.values())

    def sessions(self) -> list[Session]:
        """All of them, for what is measured."""
        return list(self._sessions)

    def by_secret(self, secret: str | None) -> Session | None:
        """The session with this secret; the time it takes tells nothing of it."""
        found = None
        given = (secret or "").encode()
        for session in self._sessions:
            if hmac.compare_digest(session.secret.encode(), given):
                found = session
        return found

    def enter(self, socket: Attached, resume: str | None) -> tuple[Session, bool]:
        """A session for this socket, and whether it is a former one. Raises ``ProtocolError``: busy, stopping."""
        session = self.by_secret(resume)
        if session is not None:
            former = self._sessions[session]
            if former is not None and former is not socket:
                former.replace()
            self._sessions[session] = socket
            session.attach(socket.say)
            session.say_again()
            self.resumed += 1
            return session, True
        if self.draining:
            self.refused += 1
            raise ProtocolError(
                "stopping", "the server is being stopped", "try again later", STOPPING_RETRY_S
            )
        if len(self._sessions) >= self._config.max_sessions:
            self.refused += 1
            raise ProtocolError(
                "busy",
                f"all {self._config.max_sessions} places are taken",
                "try again in a moment",
                self._retry_after(),
            )
        session = Session(
            self._config,
            self._service,
            self._gallery,
            self._door,
            self._first,
            self._clock,
            self._broken,
        )
        self._sessions[session] = socket
        session.attach(socket.say)
        self.admitted += 1
        log.info("session %s begins", session.name)
        return session, False

    async def leave(self, session: Session, socket: Attached, gone_for_good: bool) -> None:
        """``socket`` has ended. A session that was resumed on another one meanwhile is left alone."""
        if self._sessions.get(session) is not socket:
            return
        if gone_for_good or self._config.park_s == 0 or self.draining:
            await self.end(session)
        else:
            self._sessions[session] = None
            await session.park()

    async def end(self, session: Session) -> None:
        """Free everything of it."""
        if session in self._sessions:
            del self._sessions[session]
            await session.close()
            log.info("session %s ended", session.name)
            if not self._sessions:
                self._emptied_at = self._clock.now()

    async def sweep(self) -> None:
        """Body of a task: ends parked sessions whose time is over, gives memory back when nobody is there."""
        while True:
            await asyncio.sleep(SWEEP_S)
            for session in self._overdue():
                await self.end(session)
            # Not at once: trackers and connections are freed a moment after their session.
            emptied = self._emptied_at
            if emptied is not None and self._clock.now() - emptied > QUIET_S:
                self._emptied_at = None
                await asyncio.to_thread(give_back_freed_memory)

    def _overdue(self) -> list[Session]:
        now, most = self._clock.now(), self._config.park_s
        return [s for s in self._sessions if s.parked_at is not None and now - s.parked_at > most]

    async def end_all(self) -> None:
        """The server stops: sockets are told, sessions freed."""
        self.draining = True
        for session, socket in list(self._sessions.items()):
            if socket is not None:
                socket.stop()
            await self.end(session)
        if self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)

    def _broken(self, session: Session) -> None:
        """It cannot go on. Called by the session, on the loop."""
        if session not in self._sessions:
            return
        self.failed += 1
        socket = self._sessions[session]
        if socket is not None:
            socket.fail()
        task = asyncio.create_task(self.end(session))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _retry_after(self) -> float:
        """When the next parked session makes room, or a guess."""
        now = self._clock.now()
        waits = [
            self._config.park_s - (now - session.parked_at)
            for session in self._sessions
            if session.parked_at is not None
        ]
        return max(1.0, min(waits, default=BUSY_RETRY_S))
