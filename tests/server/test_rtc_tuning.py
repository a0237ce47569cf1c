"""When a lost packet is asked for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from aiortc import RTCRtpCodecParameters
from aiortc.rtp import RtpPacket

from lia_live_server.rtc_tuning import TAIL_S, Reception

VP8, RTX = 97, 98


class Receiver(SimpleNamespace):
    """The parts of aiortc's receiver that are used, and what it was told to ask for."""

    def __init__(self) -> None:
        codecs = {
            VP8: RTCRtpCodecParameters(mimeType="video/VP8", clockRate=90000, payloadType=VP8),
            RTX: RTCRtpCodecParameters(mimeType="video/rtx", clockRate=90000, payloadType=RTX),
        }
        inner = {"codecs": codecs, "nack_generator": SimpleNamespace(missing=set())}
        super().__init__(**{f"_RTCRtpReceiver__{name}": part for name, part in inner.items()})
        self.asked: list[int] = []

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        pass

    async def _send_rtcp_nack(self, ssrc: int, lost: list[int]) -> None:
        self.asked += lost


def packet(number: int, timestamp_s: float, *, marker: int = 1, kind: int = VP8) -> RtpPacket:
    return RtpPacket(
        payload_type=kind,
        marker=marker,
        sequence_number=number,
        timestamp=round(90000 * timestamp_s),
    )


def asked_for(packets: list[RtpPacket], step_s: float, wait_s: float) -> list[int]:
    """What is asked for in ``wait_s`` after ``packets`` have come, ``step_s`` apart."""

    async def scenario() -> list[int]:
        inner: Any = Receiver()
        reception = Reception(inner)
        for one in packets:
            await inner._handle_rtp_packet(one, arrival_time_ms=0)
            await asyncio.sleep(step_s)
        before = list(inner.asked)
        await asyncio.sleep(wait_s)
        reception.close()
        return inner.asked[len(before) :]

    return asyncio.run(scenario())


def test_a_picture_that_is_late_is_asked_for_before_the_next_one_shows_that_it_is_lost() -> None:
    rhythm = [packet(65_534 + n & 0xFFFF, 0.04 * n) for n in range(4)]
    assert asked_for(rhythm, 0.001, 0.04 + TAIL_S + 0.05) == [2]


def test_an_older_packet_that_comes_again_changes_nothing_of_it() -> None:
    rhythm = [packet(n, 0.04 * n) for n in range(4)]
    again = packet(9, 0.04, kind=RTX)
    assert asked_for([*rhythm, again], 0.001, 0.04 + TAIL_S + 0.05) == [4]


def test_without_a_rhythm_no_picture_is_missed() -> None:
    assert asked_for([packet(0, 0.0)], 0.001, 0.15) == []
    rare = [packet(n, 0.5 * n) for n in range(4)]
    assert asked_for(rare, 0.001, 0.15) == []


def test_a_picture_whose_last_packets_are_missing_is_asked_for_at_once() -> None:
    assert asked_for([packet(7, 0.0, marker=0)], 0.001, TAIL_S + 0.05) == [8]
