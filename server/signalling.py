"""One WebSocket: messages in, checked and answered; messages out, newest wins, and never waiting for a slow peer."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from lia_live_server.door import Bucket, Door
from lia_live_server.protocol import (
    CLOSE_CODES,
    MESSAGE_BYTES,
    Bye,
    Calibrate,
    Choose,
    Join,
    Message,
    Offer,
    Ping,
    ProtocolError,
    Settings,
    parse,
)

if TYPE_CHECKING:
    from lia_live.interfaces import Clock
    from lia_live_server.book import SessionBook
    from lia_live_server.config import ServerConfig
    from lia_live_server.session import Session
    from lia_live_server.uploads import UploadLimits

log = logging.getLogger("lia_live_server")

MESSAGES: Final = (200.0, 100.0)
OFFERS: Final = (5.0, 1.0)
"""At once, and a second after that."""
NEWS_S: Final = 0.1
STATS_S: Final = 1.0
MOST_WAITING: Final = 64
"""Messages on their way out; ``status`` and ``stats`` replace their own kind."""
GOODBYE: Final = (1000, 1001)
"""Close codes of somebody who means it."""
FAREWELL_S: Final = 0.5
"""How long a last word is tried."""


class Closed(Exception):
    """The socket has ended; ``code``: what the peer said."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Socket:
    """From accept to close. Event loop only."""

    def __init__(
        self,
        websocket: WebSocket,
        config: ServerConfig,
        door: Door,
        book: SessionBook,
        clock: Clock,
        limits: UploadLimits,
        version: str,
    ) -> None:
        self._websocket, self._config, self._door = websocket, config, door
        self._book, self._clock, self._limits = book, clock, limits
        self._version = version
        self._session: Session | None = None
        self._out: dict[str, str] = {}  # in order; keyed so that the newest of a kind replaces
        self._numbers = 0
        self._more = asyncio.Event()
        self._slow = False
        self._end: asyncio.Future[ProtocolError | None] = asyncio.get_running_loop().create_future()
        self._messages = Bucket(*MESSAGES, clock.now())
        self._offers = Bucket(*OFFERS, clock.now())
        self._busy: set[asyncio.Task[None]] = set()
        self.peer = websocket.client.host if websocket.client else "?"

    # What others may say

    def say(self, message: dict[str, Any]) -> None:
        """Send as soon as the peer takes it."""
        kind = message["type"]
        if kind not in ("status", "stats"):
            self._numbers += 1
            kind = f"{kind} {self._numbers}"
        self._out.pop(kind, None)
        self._out[kind] = json.dumps(message, separators=(",", ":"))
        if len(self._out) > MOST_WAITING:
            self._slow = True
            self._finish(ProtocolError("rate", "messages are not being taken"))
        self._more.set()

    def replace(self) -> None:
        """The session goes on elsewhere."""
        self._finish(
            ProtocolError("replaced", "the session goes on in another window", "close this one")
        )

    def fail(self) -> None:
        """The session broke down."""
        self._finish(ProtocolError("failed", "the session broke down", "start again"))

    def stop(self) -> None:
        """The server stops."""
        self._finish(ProtocolError("stopping", "the server is being stopped", "try again later"))

    def _finish(self, why: ProtocolError | None) -> None:
        if not self._end.done():
            self._end.set_result(why)

    # Its life

    async def run(self) -> None:
        """Until either side ends it. Never raises for what the peer does."""
        await self._websocket.accept()
        tasks = [
            asyncio.create_task(self._read()),
            asyncio.create_task(self._write()),
            asyncio.create_task(self._report()),
        ]
        code = 1006
        try:
            waited: list[asyncio.Future[Any]] = [*tasks, self._end]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            why: ProtocolError | None = None
            if self._end.done():
                why = self._end.result()
            else:
                ended = next(task for task in tasks if task.done())
                error = ended.exception()
                if isinstance(error, Closed):
                    code = error.code
                    return
                if isinstance(error, ProtocolError):
                    why = error
                elif error is not None:
                    log.error("a socket broke: %s: %s", type(error).__name__, error)
                    why = ProtocolError("failed", "the session broke down", "start again")
            # Whoever breaks the rules is not waited for; whoever is slow may have a poor network.
            code = 1006 if self._slow else 1000
            await self._close(why)
        finally:
            for task in (*tasks, *self._busy):
                task.cancel()
            await asyncio.gather(*tasks, *self._busy, return_exceptions=True)
            if self._session is not None:
                await self._book.leave(self._session, self, code in GOODBYE)

    async def _close(self, why: ProtocolError | None) -> None:
        """The last word, if the peer still listens."""
        code = 1000
        try:
            async with asyncio.timeout(FAREWELL_S):
                if why is not None:
                    code = CLOSE_CODES.get(why.code, 1011)
                    await self._websocket.send_text(json.dumps(why.payload()))
                await self._websocket.close(code)
        except (TimeoutError, RuntimeError, WebSocketDisconnect, OSError):
            return

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(self._config.join_s):
                first = await self._receive()
        except TimeoutError:
            raise ProtocolError(
                "late", f"no join within {self._config.join_s:g} s", "send join first"
            ) from None
        if not isinstance(first, Join):
            raise ProtocolError("bad_message", "the first message must be join")
        self._enter(first)
        while True:
            message = await self._receive()
            if isinstance(message, Bye):
                self._finish(None)
                return
            await self._handle(message)

    async def _receive(self) -> Message:
        event = await self._websocket.receive()
        if event["type"] == "websocket.disconnect":
            raise Closed(event.get("code") or 1005)
        wait = self._messages.take(self._clock.now())
        if wait:
            raise ProtocolError("rate", "too many messages", "slow down", wait)
        text = event.get("text")
        if text is None:
            if len(event.get("bytes") or b"") > MESSAGE_BYTES:
                raise ProtocolError("too_big", f"a message has at most {MESSAGE_BYTES} bytes")
            raise ProtocolError("bad_message", "messages are text, not binary")
        return parse(text)

    def _enter(self, join: Join) -> None:
        # A secret that is known needs no token: it was given to somebody who had one.
        known = self._book.by_secret(join.resume) is not None
        if not known:
            self._door.admit(self.peer, join.token)
        session, resumed = self._book.enter(self, join.resume)
        self._session = session
        limits = {
            "message_bytes": MESSAGE_BYTES,
            "upload_bytes": self._limits.most_bytes,
            "upload_pixels": self._limits.most_pixels,
            "sessions": self._config.max_sessions,
            "park_s": self._config.park_s,
            "settings_hz": 30,
        }
        self.say(session.welcome(self._version, resumed, limits))

    async def _handle(self, message: Message) -> None:
        session = self._session
        assert session is not None  # read only after _enter
        match message:
            case Ping(t):
                self.say({"type": "pong", "t": t})
            case Settings():
                session.settle(message)
            case Calibrate():
                session.calibrate()
            case Choose(name):
                self._run_beside(session.choose(name))
            case Offer(sdp):
                wait = self._offers.take(self._clock.now())
                if wait:
                    raise ProtocolError("rate", "too many offers", "slow down", wait)
                self._run_beside(self._answer(session, sdp))
            case _:
                raise ProtocolError("bad_message", "join comes once, and first")

    async def _answer(self, session: Session, sdp: str) -> None:
        self.say({"type": "answer", "sdp": await session.offer(sdp)})

    def _run_beside(self, work: Any) -> None:
        """What takes time must not keep pings and settings waiting."""
        task = asyncio.create_task(self._guarded(work))
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except ProtocolError as error:
            if error.fatal:
                self._finish(error)
            else:
                self.say(error.payload())
        except Exception as error:
            log.error("a message broke: %s: %s", type(error).__name__, error)
            self.fail()

    async def _write(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._out:
                kind = next(iter(self._out))
                text = self._out.pop(kind)
                try:
                    async with asyncio.timeout(self._config.send_s):
                        await self._websocket.send_text(text)
                except TimeoutError:
                    log.info("a slow client was closed")
                    raise Closed(1006) from None
                except (RuntimeError, WebSocketDisconnect, OSError):
                    raise Closed(1006) from None

    async def _report(self) -> None:
        next_stats = self._clock.now() + STATS_S
        while True:
            await asyncio.sleep(NEWS_S)
            if self._session is None:
                continue
            for message in self._session.news():
                self.say(message)
            if self._clock.now() >= next_stats:
                next_stats = self._clock.now() + STATS_S
                self.say(self._session.stats_message())
