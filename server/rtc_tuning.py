"""The one place that knows the inside of aiortc: its receiver, its sender, and where their parts are kept.

Nothing is patched for the process: parts of single receivers and senders are replaced before they start.
``missing_parts`` tells which of the names used here are gone; a test asks it after every change of the pins.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiortc import RTCRtpReceiver, RTCRtpSender, rtcrtpreceiver
from aiortc.codecs import is_rtx, vpx
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RTP_HISTORY_SIZE, RtpPacket
from aiortc.utils import uint16_add

from lia_live_server.encoder import CLOCK_RATE, FaceEncoder
from lia_live_server.frame_buffer import FrameBuffer

ASK_AGAIN_S: Final = 0.06
"""A lost packet is asked for so often: about a round trip."""
TAIL_S: Final = 0.015
"""A frame whose packets stop coming for so long has lost its last ones, and one that is so late is lost: to wait for
the next frame, which would show it, costs a frame's time before anybody is asked."""
MOST_STEP_S: Final = 0.2
"""Pictures that are farther apart than this follow no rhythm: the next one is not missed."""
STEPS: Final = 4
"""So many steps from picture to picture tell the rhythm, by the longest of them."""
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
        self._began: int | None = None
        self._steps: deque[float] = deque(maxlen=STEPS)
        self._tail: asyncio.TimerHandle | None = None
        self._asking: asyncio.Future[None] | None = None
        self._ssrc: int | None = None
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

    def close(self) -> None:
        """Ask for nothing any more."""
        if self._tail is not None:
            self._tail.cancel()
            self._tail = None

    async def _on_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        self.packet_at = self._now()
        codec = self._receiver._RTCRtpReceiver__codecs.get(packet.payload_type)
        if codec is not None and not is_rtx(codec):
            if self._tail is not None:
                self._tail.cancel()
            self._ssrc = packet.ssrc
            wait = TAIL_S + (self._step_after(packet) if packet.marker else 0.0)
            loop = asyncio.get_running_loop()
            self._tail = loop.call_later(wait, self._ask_for_next, packet.sequence_number)
        await self._handle(packet, arrival_time_ms=arrival_time_ms)
        self._hand_on(packet)
        await self._ask_again()

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

    async def _ask_again(self) -> None:
        """aiortc asks once for a lost packet; the asking and the answer may be lost, too."""
        generator = self._receiver._RTCRtpReceiver__nack_generator
        if not generator.missing:
            return
        now = self.packet_at or 0.0
        if now - self._asked_at < ASK_AGAIN_S:
            return
        self._asked_at = now
        generator.missing = {n for n in generator.missing if self._buffer.wanted(n)}
        if generator.missing and self._ssrc is not None:
            await self._receiver._send_rtcp_nack(self._ssrc, sorted(generator.missing))

    def _step_after(self, last: RtpPacket) -> float:
        """Seconds until the next picture begins, if pictures come in a rhythm; else far more than any wait."""
        before, self._began = self._began, last.timestamp
        if before is not None:
            step = ((last.timestamp - before) & 0xFFFFFFFF) / CLOCK_RATE
            if step < 1e4:  # else an older picture, sent again
                self._steps.append(step)
        longest = max(self._steps, default=math.inf)
        return longest if longest < MOST_STEP_S else 60.0

    def _ask_for_next(self, last: int) -> None:
        """Whoever has not sent it yet does not mind being asked."""
        self._tail = None
        ask = self._receiver._send_rtcp_nack(self._ssrc, [uint16_add(last, 1)])
        self._asking = asyncio.ensure_future(ask)


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
