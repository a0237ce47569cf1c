"""VP8 for a face."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

import av
from aiortc.codecs import vpx

CLOCK_RATE: Final = 90_000
KEY_EVERY_S: Final = 0.3
"""A key frame is made no oftener."""
KEY_SHARE: Final = 0.3
"""Of the bit rate, for key frames: a poor link that loses them must not be filled with them."""


class FaceEncoder(vpx.Vp8Encoder):
    """VP8 for a face: the bit rate is told by a ladder, and a change of it costs a key frame only when it is large.

    ``encode`` is called by one executor thread at a time, everything else by the event loop.
    """

    def __init__(self, bitrate_bps: int, on_remb: Callable[[float], None]) -> None:
        super().__init__()
        self.bitrate_bps = bitrate_bps
        """Wanted, bit/s."""
        self.fps = 30.0
        """Expected, for the rate control."""
        self.choked = False
        """The link takes less than was sent."""
        self.doubled = False
        """Everything is sent twice."""
        self._on_remb = on_remb
        self._context: Any = None
        self._in_use_bps = 0
        self._changed_at = -1e9
        self._keyed_at = -1e9
        self._key_bytes = 0
        self._key_due = False

    @property
    def target_bitrate(self) -> int:
        """Of aiortc's interface: what the receiver's estimates are written to."""
        return self.bitrate_bps

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._on_remb(float(bitrate))

    def encode(self, frame: Any, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        now = time.perf_counter()
        self._key_due = self._key_due or force_keyframe
        key = self._stale(frame, now)  # a new encoder begins with a key frame
        if key:
            self._context = self._opened(frame)
            self._in_use_bps, self._changed_at = self.bitrate_bps, now
        elif self._key_due and now - self._keyed_at >= self._key_every_s():
            frame.pict_type = av.video.frame.PictureType.I
            key = True
        data = b"".join(bytes(packet) for packet in self._context.encode(frame))
        if key:
            self._keyed_at, self._key_due, self._key_bytes = now, False, len(data)
        payloads = self._packetize(data, self.picture_id)
        self.picture_id = (self.picture_id + 1) % (1 << 15)
        return payloads, int(frame.pts)

    def _key_every_s(self) -> float:
        return max(KEY_EVERY_S, 8 * self._key_bytes / (KEY_SHARE * self.bitrate_bps))

    def _stale(self, frame: Any, now: float) -> bool:
        context = self._context
        if context is None or (frame.width, frame.height) != (context.width, context.height):
            return True
        ratio = self.bitrate_bps / self._in_use_bps
        waited = now - self._changed_at
        return ratio < 0.5 or (ratio < 0.8 and waited > 1) or (ratio > 1.4 and waited > 3)

    def _opened(self, frame: Any) -> Any:
        context = av.CodecContext.create("libvpx", "w")
        context.width, context.height = frame.width, frame.height
        context.pix_fmt = "yuv420p"
        context.time_base = Fraction(1, CLOCK_RATE)
        context.framerate = Fraction(round(self.fps), 1)
        context.bit_rate = self.bitrate_bps
        context.gop_size = 3000  # key frames are made when they are asked for
        context.qmin, context.qmax = 4, 58
        context.thread_count = 1
        rate = str(self.bitrate_bps)
        context.options = {
            "bufsize": str(self.bitrate_bps // 2),  # half a second: no long bursts
            "minrate": rate,
            "maxrate": rate,
            "cpu-used": "-6",
            "deadline": "realtime",
            "lag-in-frames": "0",
            "max-intra-rate": "500",  # a key frame takes no longer than five others
            "overshoot-pct": "15",
            "undershoot-pct": "100",
            "static-thresh": "1",
        }
        return context
