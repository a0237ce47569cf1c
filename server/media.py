"""Video in and out of a session: the source's own clock, pictures on their way to the encoder."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Final, Protocol

import av
import cv2
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from lia_live.engine import Compositor
from lia_live.engine.stats import Stats
from lia_live.frame import Pixels
from lia_live.interfaces import Clock
from lia_live_server.encoder import CLOCK_RATE
from lia_live_server.ladder import Rung

if TYPE_CHECKING:
    from lia_live.engine.performer import AvatarPicture

TIME_BASE: Final = Fraction(1, CLOCK_RATE)
REPEAT_S: Final = 0.25
"""The last picture is sent again after so long: a still avatar stays a live picture, and lost ones are mended."""
DRIFT: Final = 0.002
"""How fast the shortest way of a frame may grow, seconds a second: clocks differ, paths change."""
JUMP_S: Final = 2.0
BURST: Final = 3.0
"""Pictures come unevenly: so many at once, if there were none before. In the long run the rate holds."""
LARGEST_PIXELS: Final = 1920 * 1088


class SourceClock:
    """Timestamps of the sender to times on the loop's clock: arrival, less what a frame was late.

    What arrives in a bunch was not captured in a bunch. The least delay ever seen counts as none; it drifts up slowly.
    """

    def __init__(self) -> None:
        self._offset: float | None = None
        self._arrived = 0.0

    def captured_at(self, pts_s: float, arrived: float) -> float:
        """``pts_s``: the frame's own time, any zero. Never after ``arrived``."""
        offset = arrived - pts_s
        if self._offset is None or abs(offset - self._offset) > JUMP_S:
            self._offset = offset
        else:
            passed = max(0.0, arrived - self._arrived)
            self._offset = min(offset, self._offset + DRIFT * passed)
        self._arrived = arrived
        return pts_s + self._offset


class Pace:
    """A rate that holds in the long run, with short bursts."""

    def __init__(self, burst: float, now: float) -> None:
        self._burst, self._left, self._at = burst, burst, now

    def wait(self, per_s: float, now: float) -> float:
        """Take one; seconds until it is due."""
        self._left = min(self._burst, self._left + (now - self._at) * per_s) - 1
        self._at = now
        return max(0.0, -self._left / per_s)


class Bunches:
    """Frames that a lost one held up come all at once: so many seconds from one to the next, for the first few.

    Else the second would replace the first before anybody has had the time to take it. Never much is added: a long
    bunch is an outage, after which only the newest counts.
    """

    def __init__(self, step_s: float = 0.008, most_s: float = 0.016) -> None:
        self._step_s, self._most_s = step_s, most_s
        self._free_at = -math.inf
        self._added_s = 0.0

    def wait(self, now: float) -> float:
        """Seconds until the frame that came now may be handed on."""
        wait = max(0.0, self._free_at - now)
        self._added_s = self._added_s + wait if wait else 0.0
        if self._added_s > self._most_s:
            wait = 0.0
        self._free_at = now + wait + self._step_s
        return wait


class RawFrame(Protocol):
    """A camera frame that has not been unpacked."""

    captured_at: float
    number: int

    def pixels(self) -> Pixels:
        """(H, W, 3) uint8 RGB. Not on the event loop."""
        ...


class ReceivedFrame:
    """A decoded frame as aiortc hands it over."""

    def __init__(self, frame: av.VideoFrame, captured_at: float, number: int) -> None:
        self._frame = frame
        self.captured_at = captured_at
        self.number = number

    def pixels(self) -> Pixels:
        frame = self._frame
        if frame.format.name == "yuv420p" and not (frame.width % 2 or frame.height % 2):
            planes = frame.to_ndarray()
            return cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420).astype(np.uint8, copy=False)
        return frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


class OutgoingTrack(MediaStreamTrack):
    """The avatar's pictures, newest wins, at the pace and size that the ladder allows. Event loop only.

    ``rung``: asked for each picture. ``stats``: where each hand-over to the encoder is counted.
    """

    kind = "video"

    def __init__(self, badge: bool, rung: Callable[[], Rung], stats: Stats, clock: Clock) -> None:
        super().__init__()
        self._badge, self._rung, self._stats, self._clock = badge, rung, stats, clock
        self._compositor: Compositor | None = None
        self._newest: AvatarPicture | None = None
        self._last: AvatarPicture | None = None
        self._came = asyncio.Event()
        self._pace = Pace(BURST, clock.now())
        self._pts: int | None = None
        self._origin = 0.0
        self.sent = 0
        """Pictures handed to the encoder, repeated ones included."""

    def put(self, picture: AvatarPicture) -> None:
        """The newest picture; one that was not taken yet is dropped."""
        self._stats.dropped_out += self._newest is not None
        self._newest = picture
        self._came.set()

    def stop(self) -> None:
        """No more pictures; whoever waits for one is told."""
        super().stop()
        self._came.set()

    async def recv(self) -> av.VideoFrame:
        """The next picture, on its canvas, as yuv420p."""
        rung = self._rung()
        picture = await self._next(rung)
        loop = asyncio.get_running_loop()
        frame = await loop.run_in_executor(None, self._composed, picture, rung.side_px)
        if self.readyState != "live":
            raise MediaStreamError
        now = self._clock.now()
        new = picture is not self._last
        if new:
            self._stats.count_out(now, picture.captured_at)
        else:
            self._stats.repeated += 1
        frame.pts, frame.time_base = self._timed(picture if new else None, now), TIME_BASE
        self._last = picture
        self.sent += 1
        return frame

    async def _next(self, rung: Rung) -> AvatarPicture:
        """Wait for the pace, then for the newest picture, or for the last one to be due again."""
        early = self._pace.wait(rung.fps, self._clock.now())
        if early > 0:
            await asyncio.sleep(early)
        while self.readyState == "live":
            if self._newest is not None:
                picture, self._newest = self._newest, None
                self._came.clear()
                return picture
            self._came.clear()
            patience = None if self._last is None else REPEAT_S
            try:
                await asyncio.wait_for(self._came.wait(), patience)
            except TimeoutError:
                assert self._last is not None  # else it waits without end
                return self._last
        raise MediaStreamError

    def _timed(self, picture: AvatarPicture | None, now: float) -> int:
        """The source's own time for what a frame drove, the present for the rest; always growing."""
        at = now if picture is None or picture.captured_at is None else picture.captured_at
        if self._pts is None:
            self._origin, self._pts = at, 0
        else:
            self._pts = max(self._pts + 90, round((at - self._origin) * CLOCK_RATE))
        return self._pts

    def _composed(self, picture: AvatarPicture, side: int) -> av.VideoFrame:
        """On an executor's thread, one at a time."""
        compositor = self._compositor
        if compositor is None or compositor.size != (side, side):
            compositor = self._compositor = Compositor((side, side), badge=self._badge)
        canvas = compositor.compose(picture.pixels)
        planes = cv2.cvtColor(canvas, cv2.COLOR_RGB2YUV_I420)
        return av.VideoFrame.from_ndarray(planes.astype(np.uint8, copy=False), format="yuv420p")
