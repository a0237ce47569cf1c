"""A real server on a free port in a thread of its own, on doubles; and a client with a real WebRTC connection."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from lia_live.frame import Pixels
from lia_live.model.directions import Direction
from lia_live_server import ServerConfig, create_app
from lia_live_server.app import server_of
from lia_live_server.parts import Server
from lia_live_server.serving import Bind, Stop, serve
from tests.doubles import ScriptedRenderer, ScriptedTracker, scripted_avatar, tiny_config

GREEN, BLUE = (20, 150, 60), (30, 60, 180)


class PassThrough(ScriptedRenderer):
    """A network that shows what it last saw: media alone is measured through it. For one session."""

    def encode_motion(self, crops: Pixels) -> np.ndarray:
        self.seen = crops[0].copy()
        return super().encode_motion(crops)

    def render(self, avatars: Sequence[Any], alpha: np.ndarray) -> Pixels:
        time.sleep(self.render_s)
        seen = getattr(self, "seen", None)
        if seen is None:
            return super().render(avatars, alpha)
        return np.repeat(seen[None], len(avatars), axis=0)


class RunningServer:
    """``with RunningServer(...) as server``: ``server.url`` is the page's address, ``server.parts`` what is inside."""

    def __init__(
        self,
        config: ServerConfig | None = None,
        *,
        renderer: Any = None,
        avatars: Sequence[Any] | None = None,
        model: Any = None,
        tracker: Callable[[], Any] | None = None,
        drain_s: float = 0.0,
        ping_s: float = 10.0,
        request_s: float = 10.0,
        **more: Any,
    ) -> None:
        self.config = config or ServerConfig()
        shared = model or renderer or ScriptedRenderer()
        size = getattr(shared, "config", tiny_config()).size
        scripted = model is None
        if scripted:
            more.setdefault("directions", Direction.unlabelled(shared.config.motion_dim))
            more.setdefault("shape_of", None)
        self.app = create_app(
            self.config,
            shared,
            [scripted_avatar("green", GREEN), scripted_avatar("blue", BLUE)]
            if avatars is None
            else avatars,
            open_tracker=tracker or ((lambda: ScriptedTracker(size)) if scripted else None),
            **more,
        )
        self.stop = Stop()
        self._bind = Bind(port=0, drain_s=drain_s, ping_s=ping_s, request_s=request_s)
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="test-server", daemon=True)
        self.port = 0
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def parts(self) -> Server:
        return server_of(self.app)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def _run(self) -> None:
        async def main() -> None:
            self.loop = asyncio.get_running_loop()
            await serve(self.app, self._bind, self.stop, ready=self._opened)

        try:
            asyncio.run(main())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    def _opened(self, port: int) -> None:
        self.port = port
        self._ready.set()

    def __enter__(self) -> RunningServer:
        self._thread.start()
        assert self._ready.wait(30)
        if self._error is not None:
            raise self._error
        return self

    def close(self) -> None:
        self.stop.ask()
        self._thread.join(15)
        assert not self._thread.is_alive(), "the server does not end"
        if self._error is not None:
            raise self._error

    def __exit__(self, *_: object) -> None:
        self.close()


class PaintedCamera(MediaStreamTrack):
    """A camera that paints the number of each frame into it, and keeps when it did."""

    kind = "video"

    def __init__(self, side: int = 256, fps: float = 25.0, grain: float = 0.0) -> None:
        """``grain``: of a film on top, in grey levels; without it a picture is one packet, which no camera's is."""
        super().__init__()
        self._side, self._fps = side, fps
        self._grain = (
            np.random.default_rng(0).normal(0, grain, (8, side, side, 1)) if grain else None
        )
        self._began: float | None = None
        self._origin = time.perf_counter()
        self.number = -1
        self.shown_at: dict[int, float] = {}
        self.muted = False

    async def recv(self) -> av.VideoFrame:
        now = time.perf_counter()
        if self._began is None:
            self._began = now
        self.number += 1
        due = self._began + self.number / self._fps
        if due < now - 0.2:  # a busy machine: go on from here
            self._began += now - due
        await asyncio.sleep(max(0.0, due - now))
        while self.muted:
            await asyncio.sleep(0.05)
        if self.readyState != "live":
            raise MediaStreamError
        pixels = painted(self.number, self._side)
        if self._grain is not None:
            pixels = np.clip(pixels + self._grain[self.number % 8], 0, 255).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = (
            round((time.perf_counter() - self._origin) * 90000),
            Fraction(1, 90000),
        )
        self.shown_at[self.number] = time.perf_counter()
        return frame.reformat(format="yuv420p")


GRID = 4


def painted(number: int, side: int) -> Pixels:
    """A square with 16 large blocks: the bits of ``number`` in white and black."""
    bits = [(number >> bit) & 1 for bit in range(GRID * GRID)]
    blocks = np.array(bits, np.uint8).reshape(GRID, GRID) * 200 + 20
    picture = np.kron(blocks, np.ones((side // GRID, side // GRID), np.uint8))
    return np.repeat(picture[:, :, None], 3, axis=2)


def number_in(pixels: Pixels) -> int:
    """The number that was painted into a picture of any size."""
    height, width = pixels.shape[:2]
    number = 0
    for bit in range(GRID * GRID):
        row, column = divmod(bit, GRID)
        y, x = (2 * row + 1) * height // (2 * GRID), (2 * column + 1) * width // (2 * GRID)
        number |= int(pixels[y - 2 : y + 3, x - 2 : x + 3].mean() > 120) << bit
    return number


class Client:
    """What a page does, in Python. Made by ``joined``."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.welcome: dict[str, Any] = {}
        self.said: list[dict[str, Any]] = []
        self.connection: RTCPeerConnection | None = None
        self.camera: MediaStreamTrack | None = None
        self.pictures: list[tuple[float, Pixels]] = []
        self.keep = True
        self.look: Callable[[float, Pixels], None] | None = None
        self.tune: Callable[[RTCPeerConnection], None] | None = None
        self._tasks: list[asyncio.Task] = []
        self._heard = asyncio.Event()
        self.close_code: int | None = None

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def listen(self) -> None:
        try:
            async for text in self.socket:
                self.said.append(json.loads(text))
                self._heard.set()
        except ConnectionClosed:
            pass
        self.close_code = self.socket.close_code
        self._heard.set()

    def newest(self, kind: str) -> dict[str, Any] | None:
        return next((m for m in reversed(self.said) if m["type"] == kind), None)

    async def wait_for(
        self, kind: str, when: Callable[[dict], bool] = lambda m: True, timeout: float = 20
    ) -> dict[str, Any]:
        """The next or an already heard message of that kind for which ``when`` is true."""
        async with asyncio.timeout(timeout):
            seen = 0
            while True:
                for message in self.said[seen:]:
                    if message["type"] == kind and when(message):
                        return message
                seen = len(self.said)
                assert self.close_code is None, f"closed {self.close_code}: {self.said[-3:]}"
                self._heard.clear()
                await self._heard.wait()

    async def start(self, camera: MediaStreamTrack | None = None) -> None:
        """Offer a camera, take the answer, collect the pictures that come."""
        if self.connection is not None:
            await self.connection.close()
        self.camera = camera or PaintedCamera()
        connection = self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connection.on(
            "track", lambda track: self._tasks.append(asyncio.ensure_future(self._take(track)))
        )
        transceiver = connection.addTransceiver(self.camera, direction="sendrecv")
        await connection.setLocalDescription(await connection.createOffer())
        before = sum(m["type"] == "answer" for m in self.said)
        await self.send("offer", sdp=connection.localDescription.sdp)
        async with asyncio.timeout(20):
            while sum(m["type"] == "answer" for m in self.said) == before:
                if (error := self.newest("error")) is not None:
                    raise AssertionError(error)
                await asyncio.sleep(0.01)
        answer = self.newest("answer")
        if self.tune is not None:
            self.tune(connection)
        del transceiver
        await connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))

    async def _take(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame: Any = await track.recv()
            except MediaStreamError:
                return
            at, pixels = time.perf_counter(), frame.to_ndarray(format="rgb24")
            if self.look is not None:
                self.look(at, pixels)
            if self.keep:
                self.pictures.append((at, pixels))

    async def picture(
        self, when: Callable[[Pixels], bool] = lambda p: True, timeout: float = 20
    ) -> Pixels:
        """The next picture for which ``when`` is true."""
        async with asyncio.timeout(timeout):
            seen = len(self.pictures)
            while True:
                for _, pixels in self.pictures[seen:]:
                    if when(pixels):
                        return pixels
                seen = len(self.pictures)
                await asyncio.sleep(0.01)

    def drop(self) -> None:
        """The network is gone: no close frame, nothing."""
        self.socket.transport.abort()

    async def hang_up(self) -> None:
        """The WebRTC half only."""
        if self.connection is not None:
            await self.connection.close()
            self.connection = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


@asynccontextmanager
async def opened(server: RunningServer, **options: Any) -> AsyncIterator[Client]:
    """A socket that has not joined."""
    async with connect(server.ws, compression=None, **options) as socket:
        client = Client(socket)
        listening = asyncio.create_task(client.listen())
        try:
            yield client
        finally:
            await client.hang_up()
            await socket.close()
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


@asynccontextmanager
async def joined(server: RunningServer, **fields: Any) -> AsyncIterator[Client]:
    """A client that has been let in."""
    async with opened(server) as client:
        await client.send("join", **fields)
        client.welcome = await client.wait_for("welcome")
        yield client


def shade(pixels: Pixels) -> str:
    """Which of the two avatars it is, by the lower half's colour."""
    red, green, blue = pixels[pixels.shape[0] * 5 // 8, pixels.shape[1] * 3 // 4].astype(int)
    return (
        "green" if green > blue + 30 else "blue" if blue > green + 30 else f"{red},{green},{blue}"
    )
