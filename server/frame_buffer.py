"""RTP packets to VP8 frames, in order, as soon as they are whole."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from aiortc.codecs import vpx
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket

PATIENCE_S: Final = 0.4
"""Nothing waits longer for a packet before it: that one is given up, the picture goes on with a key frame."""
MOST_WAITING: Final = 1024
"""Packets kept at once: a second of the best picture twice over."""
MOST_LATE: Final = 3000
"""A packet that is later than this is no late packet."""
ASK_KEY_EVERY_S: Final = 0.3
"""A key frame is asked for no oftener."""


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
            ask = now - self._asked_at >= ASK_KEY_EVERY_S
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
