"""Packets to frames: at the marker bit, in order, and on from the next key frame when something stays lost."""

from __future__ import annotations

import itertools
import random

import pytest
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.rtp import RtpPacket
from hypothesis import given, settings
from hypothesis import strategies as st

from lia_live_server.frame_buffer import PATIENCE_S, FrameBuffer, begins_key_frame
from lia_live_server.rtc_tuning import missing_parts
from tests.doubles import HandClock


def packets(frames: list[tuple[bool, int]], first: int = 65_530) -> list[list[RtpPacket]]:
    """Packets of VP8 frames: (key frame?, packets)."""
    number, found = first, []
    for at, (key, count) in enumerate(frames):
        body = bytes([0 if key else 1, at]) + bytes(1296 * (count - 1))
        frame = []
        for payload in Vp8Encoder._packetize(body, at):
            packet = RtpPacket(
                payload_type=97, sequence_number=number % 65_536, timestamp=3000 * at
            )
            packet.payload, packet.marker = payload, 0
            packet._data = payload[4:]  # type: ignore[attr-defined]  # as the receiver does
            number += 1
            frame.append(packet)
        frame[-1].marker = 1
        found.append(frame)
        assert len(frame) == count
    return found


def told(buffer: FrameBuffer, packet: RtpPacket) -> tuple[bool, list[int]]:
    """What one packet brings: (key frame asked for, numbers of the frames)."""
    ask, frame = buffer.add(packet)
    frames = [] if frame is None else [frame]
    while buffer.ready:
        frames.append(buffer.ready.popleft())
    return ask, [frame.data[1] for frame in frames]


def buffer() -> tuple[FrameBuffer, HandClock]:
    clock = HandClock()
    return FrameBuffer(clock.now), clock


def test_a_frame_is_released_by_its_last_packet() -> None:
    one, _ = buffer()
    for at, frame in enumerate(packets([(True, 3), (False, 1), (False, 2)])):
        for packet in frame[:-1]:
            assert told(one, packet) == (False, []) or at == 0
        assert told(one, frame[-1])[1] == [at]


def test_without_marker_bits_the_next_frame_ends_it() -> None:
    one, _ = buffer()
    first, second = packets([(True, 2), (False, 1)])
    for packet in (*first, *second):
        packet.marker = 0
    assert told(one, first[0])[1] == told(one, first[1])[1] == []
    assert told(one, second[0])[1] == [0]


def test_a_hole_that_is_filled_releases_everything_behind_it() -> None:
    one, clock = buffer()
    key, a, b, c = packets([(True, 1), (False, 2), (False, 1), (False, 1)])
    assert told(one, key[0])[1] == [0]
    told(one, a[1])
    clock.advance(0.1)
    assert told(one, b[0]) == (False, [])
    assert told(one, c[0]) == (False, [])
    assert told(one, a[0]) == (False, [1, 2, 3])


def test_what_stays_lost_is_skipped_up_to_a_key_frame() -> None:
    one, clock = buffer()
    frames = packets([(True, 1), (False, 1), (False, 1), (False, 1), (True, 2), (False, 1)])
    told(one, frames[0][0])  # 1 is lost
    assert told(one, frames[2][0]) == (False, [])
    clock.advance(PATIENCE_S + 0.01)
    assert told(one, frames[3][0]) == (True, [])  # nothing to show: a key frame is asked for
    assert told(one, frames[1][0]) == (False, [])  # too late
    assert told(one, frames[4][0])[1] == []
    assert told(one, frames[4][1]) == (False, [4])
    assert told(one, frames[5][0]) == (False, [5])


def test_a_broken_key_frame_at_the_head_is_given_up_too() -> None:
    """It once was skipped to itself, for ever."""
    one, clock = buffer()
    frames = packets([(True, 1), (True, 3), (False, 1), (False, 1), (True, 1)])
    told(one, frames[0][0])
    told(one, frames[1][0])
    told(one, frames[1][2])  # its middle is lost
    told(one, frames[2][0])
    clock.advance(PATIENCE_S + 0.01)
    assert told(one, frames[3][0]) == (True, [])
    assert told(one, frames[4][0]) == (False, [4])


def test_nothing_waits_longer_because_of_several_holes() -> None:
    one, clock = buffer()
    frames = packets([(True, 1)] + [(True, 2)] * 20)
    told(one, frames[0][0])
    came: dict[int, float] = {}
    longest = 0.0
    for at, frame in enumerate(frames[1:], 1):
        clock.advance(0.04)
        came[at] = clock.now()
        for packet in frame[at % 3 == 0 :]:  # every third loses its first packet
            for number in told(one, packet)[1]:
                longest = max(longest, clock.now() - came.get(number, clock.now()))
    assert longest <= PATIENCE_S + 0.05


def test_a_sender_that_counts_anew_is_followed() -> None:
    one, _ = buffer()
    told(one, packets([(True, 1)], 30_000)[0][0])
    assert told(one, packets([(True, 1)], 100)[0][0])[1] == [0]


def test_a_flood_without_an_end_is_thrown_away() -> None:
    one, _ = buffer()
    (frame,) = packets([(True, 1500)])
    for packet in frame[:-1]:
        told(one, packet)
    assert len(one._packets) < 1100


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 0.3), st.integers(0, 6))
def test_any_order_gives_whole_frames_in_order(seed: int, loss: float, swap: int) -> None:
    dice = random.Random(seed)
    one, clock = buffer()
    shape = [(at == 0 or dice.random() < 0.2, dice.randint(1, 4)) for at in range(40)]
    frames = packets(shape, dice.randint(0, 65_535))
    sent = [p for at, frame in enumerate(frames) for p in frame if at == 0 or dice.random() >= loss]
    keyed = list(enumerate(sent))
    head = len(frames[0])
    order = keyed[:head] + sorted(keyed[head:], key=lambda pair: pair[0] + dice.randint(0, swap))
    numbers: list[int] = []
    for _, packet in order:
        clock.advance(0.01)
        numbers += told(one, packet)[1]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 0
    for before, after in itertools.pairwise(numbers):
        assert after == before + 1 or shape[after][0], "a frame whose reference is missing"


@pytest.mark.parametrize("payload", [b"", b"\x10", b"\x90", b"\x00\x00", b"\x10\x01"])
def test_what_begins_no_key_frame(payload: bytes) -> None:
    packet = RtpPacket()
    packet.payload = payload
    assert not begins_key_frame(packet)


def test_aiortc_still_has_what_is_relied_on() -> None:
    """Fails when a new aiortc has moved its insides: then ``rtc_tuning`` has to be read again, line by line."""
    import asyncio

    from aiortc import RTCPeerConnection

    async def parts() -> list[str]:
        connection = RTCPeerConnection()
        transceiver = connection.addTransceiver("video")
        found = missing_parts(transceiver.receiver, transceiver.sender)
        await connection.close()
        return found

    assert asyncio.run(parts()) == []
