"""The one place that knows the inside of aiortc: its receiver, its jitter buffer, its sender, its VP8 encoder.

Nothing is patched for the process: parts of single receivers and senders are replaced before they start.
``missing_parts`` tells which of the names used here are gone; a test asks it after every change of the pins.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import deque
from collections.abc import Awaitable, Callable
from fractions import Fraction
from typing import Any, Final

import av
from aiortc import RTCRtpReceiver, RTCRtpSender, rtcrtpreceiver
from aiortc.codecs import vpx
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RTP_HISTORY_SIZE, RtpPacket

CLOCK_RATE: Final = 90_000
PATIENCE_S: Final = 0.4
"""Nothing waits longer for a packet before it: that one is given up, the picture goes on with a key frame."""
ASK_AGAIN_S: Final = 0.06
"""A lost packet is asked for so often: about a round trip."""
KEY_EVERY_S: Final = 0.3
"""A key frame is asked for, and made, no oftener."""
KEY_SHARE: Final = 0.3
"""Of the bit rate, for key frames: a poor link that loses them must not be filled with them."""
MOST_WAITING: Final = 1024
"""Packets kept at once: a second of the best picture twice over."""
MOST_LATE: Final = 3000
"""A packet that is later than this is no late packet."""
TWICE_AFTER_S: Final = 0.01
"""Between the two of what is sent twice: what is lost is often lost in a row."""
RETRANSMIT_SHARE: Final = (0.6, 0.15)
"""Of the bit rate, on a link that loses and on one that is choked: there it would choke what is new."""

_RECEIVER: Final = (
    "_RTCRtpReceiver__jitter_buffer",
    "_RTCRtpReceiver__decoder_queue",
    "_RTCRtpReceiver__timestamp_mapper",
    "_RTCRtpReceiver__codecs",
    "_RTCRtpReceiver__nack_generator",
)
_SENDER: Final = ("_RTCRtpSender__encoder", "_RTCRtpSender__rtp_history")


class FrameBuffer:
    """Packets to frames, in order. In the place of aiortc's ``JitterBuffer``, which holds every frame until the
    next one begins; here the marker bit ends it. What stays lost is skipped up to the next key frame.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._packets: dict[int, RtpPacket] = {}
        self._came: dict[int, float] = {}
        self._next: int | None = None
        self._newest = 0
        self._needs_key = True
        self._asked_at = -1e9
        self.ready: deque[JitterFrame] = deque()
        """Frames that became complete with the same packet, after the one that ``add`` returned."""

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """(ask for a key frame?, the next frame if there is one)."""
        number = self._unwrapped(packet.sequence_number)
        if self._next is None:
            self._next = number
        if number < self._next - MOST_LATE:  # the sender began to count anew
            self._packets.clear()
            self._came.clear()
            self._next = self._newest = number
            self._needs_key = True
        elif number < self._next:
            return False, None
        self._packets[number] = packet
        self._came.setdefault(number, self._now())
        ask = self._release()
        if self._packets and (self._expired() or len(self._packets) > MOST_WAITING):
            self._skip()
            ask = self._release() or self._needs_key or ask
        if ask:
            now = self._now()
            ask = now - self._asked_at >= KEY_EVERY_S
            if ask:
                self._asked_at = now
        return ask, self.ready.popleft() if self.ready else None

    def wanted(self, sequence_number: int) -> bool:
        """Would this packet still be of use?"""
        return self._next is not None and self._near(sequence_number) >= self._next

    def _unwrapped(self, number: int) -> int:
        """16 bits to a number that never wraps."""
        if self._next is None:
            self._newest = number
            return number
        near = self._near(number)
        self._newest = max(self._newest, near)
        return near

    def _near(self, number: int) -> int:
        step = (number - self._newest) & 0xFFFF
        return self._newest + (step - 0x10000 if step >= 0x8000 else step)

    def _release(self) -> bool:
        """Move every complete frame at the head into ``ready``. True: a key frame is needed for more."""
        assert self._next is not None
        while (end := self._end_of_frame(self._next)) is not None:
            frame = [self._taken(n) for n in range(self._next, end)]
            self._next = end
            if self._needs_key:
                if not begins_key_frame(frame[0]):
                    continue
                self._needs_key = False
            data = b"".join(_data(packet) for packet in frame)
            self.ready.append(JitterFrame(data, frame[0].timestamp))
        return self._needs_key

    def _taken(self, number: int) -> RtpPacket:
        self._came.pop(number, None)
        return self._packets.pop(number)

    def _end_of_frame(self, first: int) -> int | None:
        """The number after the last packet of the frame that begins at ``first``, once all of it is there."""
        head = self._packets.get(first)
        if head is None:
            return None
        number = first
        while (packet := self._packets.get(number)) is not None:
            if packet.timestamp != head.timestamp:
                return number
            number += 1
            if packet.marker:
                return number
        return None

    def _expired(self) -> bool:
        """Has a packet waited too long for one before it?"""
        hole = self._hole()
        waiting = [came for number, came in self._came.items() if number > hole]
        return bool(waiting) and self._now() - min(waiting) > PATIENCE_S

    def _hole(self) -> int:
        """The first packet that is missing."""
        assert self._next is not None
        number = self._next
        while number in self._packets:
            number += 1
        return number

    def _skip(self) -> None:
        """Give up what is missing: go on with the next key frame here, or with one that is asked for."""
        self._needs_key = True
        hole = self._hole()
        later = sorted(number for number in self._packets if number > hole)
        keys = (number for number in later if begins_key_frame(self._packets[number]))
        start = next(keys, later[0] if later else hole)
        for number in list(self._packets):
            if number < start:
                self._taken(number)
        self._next = start


def begins_key_frame(packet: RtpPacket) -> bool:
    """The first packet of a VP8 frame that needs no other (RFC 7741, RFC 6386 section 9.1)."""
    try:
        descriptor, data = vpx.VpxPayloadDescriptor.parse(packet.payload)
    except ValueError:
        return False
    first = descriptor.partition_start == 1 and descriptor.partition_id == 0
    return first and bool(data) and not data[0] & 1


def _data(packet: RtpPacket) -> bytes:
    found: bytes = packet._data  # type: ignore[attr-defined]  # set by the receiver
    return found


class Reception:
    """One tuned receiver: releases frames at their marker bit, asks again for what is lost, knows when frames came.

    To be made before the receiver starts (before ``setLocalDescription`` of an answer). Event loop only.
    """

    def __init__(
        self, receiver: RTCRtpReceiver, now: Callable[[], float] = time.perf_counter
    ) -> None:
        inner: Any = receiver
        self._receiver = inner
        self._now = now
        self._buffer = FrameBuffer(now)
        self._asked_at = -1e9
        self._came: deque[tuple[JitterFrame, float]] = deque(maxlen=256)
        self.packet_at: float | None = None
        """When the last packet came; None before the first."""
        self._handle: Callable[..., Awaitable[None]] = inner._handle_rtp_packet
        inner._RTCRtpReceiver__jitter_buffer = self
        inner._handle_rtp_packet = self._on_packet

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """What the receiver calls in the place of its jitter buffer."""
        ask, frame = self._buffer.add(packet)
        if frame is not None:
            self._came.append((frame, self._now()))
        return ask, frame

    def came_at(self, pts: int) -> float:
        """When the last packet of the frame with this timestamp came; now, if that is not known any more."""
        while self._came:
            frame, at = self._came[0]
            if frame.timestamp > pts:
                break
            self._came.popleft()
            if frame.timestamp == pts:
                return at
        return self._now()

    async def _on_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        self.packet_at = self._now()
        await self._handle(packet, arrival_time_ms=arrival_time_ms)
        self._hand_on(packet)
        await self._ask_again(packet)

    def _hand_on(self, packet: RtpPacket) -> None:
        """Frames that one packet completed beside the first: aiortc decodes one a packet, and would lag behind."""
        receiver = self._receiver
        while self._buffer.ready:
            frame = self._buffer.ready.popleft()
            frame.timestamp = receiver._RTCRtpReceiver__timestamp_mapper.map(frame.timestamp)
            self._came.append((frame, self._now()))
            codec = next(
                c for c in receiver._RTCRtpReceiver__codecs.values() if c.name.upper() == "VP8"
            )
            receiver._RTCRtpReceiver__decoder_queue.put((codec, frame))

    async def _ask_again(self, packet: RtpPacket) -> None:
        """aiortc asks once for a lost packet; the asking and the answer may be lost, too."""
        generator = self._receiver._RTCRtpReceiver__nack_generator
        if not generator.missing:
            return
        now = self.packet_at or 0.0
        if now - self._asked_at < ASK_AGAIN_S:
            return
        self._asked_at = now
        generator.missing = {n for n in generator.missing if self._buffer.wanted(n)}
        if generator.missing:
            media = next(iter(self._receiver.getSynchronizationSources()), None)
            ssrc = packet.ssrc if media is None else media.source
            await self._receiver._send_rtcp_nack(ssrc, sorted(generator.missing))


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


class _History(dict[int, RtpPacket]):
    """What was sent, and a call for each packet that is added to it."""

    def __init__(self, sent: Callable[[RtpPacket], None]) -> None:
        super().__init__()
        self._sent = sent

    def __setitem__(self, place: int, packet: RtpPacket) -> None:
        super().__setitem__(place, packet)
        self._sent(packet)


def tune_sender(sender: RTCRtpSender, encoder: FaceEncoder) -> None:
    """Give ``sender`` this encoder, a limit to what it sends again, and a way to send all of it twice.

    Before it starts. Event loop only.
    """
    inner: Any = sender
    inner._RTCRtpSender__encoder = encoder
    resend = inner._retransmit
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def again(number: int) -> None:
        task = loop.create_task(resend(number))
        tasks.add(task)
        task.add_done_callback(done)

    def done(task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a connection that closes meanwhile is no news

    def sent(packet: RtpPacket) -> None:
        if encoder.doubled:
            loop.call_later(TWICE_AFTER_S, again, packet.sequence_number)

    history = inner._RTCRtpSender__rtp_history = _History(sent)
    size = RTP_HISTORY_SIZE
    left, at = 4000.0, time.perf_counter()

    async def limited(sequence_number: int) -> None:
        nonlocal left, at
        now = time.perf_counter()
        per_s = RETRANSMIT_SHARE[encoder.choked] * encoder.bitrate_bps / 8
        left, at = min(per_s, left + (now - at) * per_s), now
        packet = history.get(sequence_number % size)
        if packet is None or packet.sequence_number != sequence_number or left <= 0:
            return
        left -= len(packet.payload)
        await resend(sequence_number)

    inner._retransmit = limited


def missing_parts(receiver: RTCRtpReceiver, sender: RTCRtpSender) -> list[str]:
    """Names that this module relies on and that this aiortc does not have."""
    found = [f"receiver.{name}" for name in _RECEIVER if not hasattr(receiver, name)]
    found += [f"sender.{name}" for name in _SENDER if not hasattr(sender, name)]
    sources = {
        (RTCRtpReceiver, "_handle_rtp_packet"): [
            "self.__jitter_buffer.add(packet)",
            "encoded_frame.timestamp = self.__timestamp_mapper.map(",
            "self.__decoder_queue.put((codec, encoded_frame))",
        ],
        (RTCRtpSender, "_next_encoded_frame"): ["if self.__encoder is None:"],
        (RTCRtpSender, "_handle_rtcp_packet"): [
            "await self._retransmit(seq)",
            "self.__encoder.target_bitrate = bitrate",
        ],
        (RTCRtpSender, "_run_rtp"): [
            "self.__rtp_history[packet.sequence_number % RTP_HISTORY_SIZE]"
        ],
        (RTCRtpReceiver, "_send_rtcp_nack"): ["media_ssrc"],
        (vpx.Vp8Encoder, "_packetize"): ["picture_id"],
        (rtcrtpreceiver.NackGenerator, "add"): ["self.missing"],
    }
    for (owner, name), lines in sources.items():
        method = getattr(owner, name, None)
        text = "" if method is None else inspect.getsource(method)
        found += [f"{owner.__name__}.{name}: {line}" for line in lines if line not in text]
    return found
