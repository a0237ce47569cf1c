"""One WebRTC connection of a session: an offer answered, video in, video out, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcconfiguration import RTCBundlePolicy
from aiortc.rtcrtpsender import RTT_ALPHA
from aiortc.sdp import SessionDescription

from lia_live.engine.stats import Stats
from lia_live.interfaces import Clock
from lia_live_server.config import ServerConfig
from lia_live_server.encoder import CLOCK_RATE, FaceEncoder
from lia_live_server.ladder import Ladder, Rung
from lia_live_server.media import (
    LARGEST_PIXELS,
    Bunches,
    OutgoingTrack,
    ReceivedFrame,
    SourceClock,
)
from lia_live_server.protocol import ProtocolError
from lia_live_server.rtc_tuning import Reception, tune_sender

log = logging.getLogger("lia_live_server")

MediaState = Literal["none", "connecting", "live", "lost"]

MOST_CANDIDATES: Final = 30
HASHES: Final = ("sha-256", "sha-384", "sha-512")
LOOK_S: Final = 0.25
"""How often the watchdog looks."""
CLOSE_S: Final = 5.0
"""What closing may take."""


class Peer:
    """Made for one offer. Event loop only.

    ``on_frame``: each camera frame. ``on_state``: the connection changed; after "lost" it closes itself.
    """

    def __init__(
        self,
        config: ServerConfig,
        ice_servers: Sequence[Mapping[str, Any]],
        stats: Stats,
        clock: Clock,
        on_frame: Callable[[ReceivedFrame], None],
        on_state: Callable[[], None],
    ) -> None:
        self._config, self._clock = config, clock
        self._on_frame, self._on_state = on_frame, on_state
        self._ladder = Ladder(config.side_px, config.fps)
        self._rung = self._ladder.rung()
        self._encoder = FaceEncoder(self._rung.bitrate_bps, self._ladder.remb)
        self.outgoing = OutgoingTrack(config.badge, self.rung, stats, clock)
        # An empty list, not None: aiortc would ask a public STUN server of its own accord.
        self._connection = RTCPeerConnection(
            RTCConfiguration(
                iceServers=[RTCIceServer(**server) for server in ice_servers],
                bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
            )
        )
        self._connection.on("connectionstatechange", self._changed)
        self._reception: Reception | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._began_at = clock.now()
        self._closing: asyncio.Task[None] | None = None
        self.state: MediaState = "connecting"
        self.too_large = False
        """Frames were thrown away because of their size."""
        self.loss = 0.0
        """Of what was sent, as last reported; 0 to 1."""
        self.rtt_s: float | None = None
        self.sent_bps = 0.0

    def rung(self) -> Rung:
        """What to send now."""
        return self._rung

    async def answer(self, sdp: str) -> str:
        """The answer's SDP, candidates included. Raises ``ProtocolError`` (``bad_offer``)."""
        check_offer(sdp)
        connection = self._connection
        transceiver = connection.addTransceiver(self.outgoing, direction="sendrecv")
        vp8 = [
            codec
            for codec in RTCRtpSender.getCapabilities("video").codecs
            if codec.mimeType.lower() == "video/vp8" or codec.name.lower() == "rtx"
        ]
        transceiver.setCodecPreferences(vp8)
        connection.on("track", self._receive)
        try:
            await connection.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
            tune_sender(transceiver.sender, self._encoder)
            self._reception = Reception(transceiver.receiver, self._clock.now)
            await connection.setLocalDescription(await connection.createAnswer())
        except Exception as error:  # whatever a stranger's SDP sets off in the library
            log.info("an offer was refused: %s: %s", type(error).__name__, error)
            raise _bad_offer("the offer cannot be answered") from None
        self._tasks.append(asyncio.create_task(self._watch()))
        return str(connection.localDescription.sdp)

    async def close(self) -> None:
        """Give everything back. May be called twice, also while it closes by itself."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self.outgoing.stop()
        if self._reception is not None:
            self._reception.close()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        try:
            await asyncio.wait_for(self._connection.close(), CLOSE_S)
        except TimeoutError:
            log.warning("a connection did not close in time")
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def _changed(self) -> None:
        state = self._connection.connectionState
        if state == "connected" and self.state == "connecting":
            self.state = "live"
            self._on_state()
        elif state in ("failed", "closed"):
            self._lost()

    def _lost(self) -> None:
        if self.state == "lost":
            return
        self.state = "lost"
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        self._on_state()

    def _receive(self, track: MediaStreamTrack) -> None:
        self._tasks.append(asyncio.create_task(self._pump(track)))

    async def _pump(self, track: MediaStreamTrack) -> None:
        """Takes every frame as soon as it is there: aiortc's own queue has no end."""
        source, bunches, number = SourceClock(), Bunches(), 0
        while True:
            try:
                frame: Any = await track.recv()
            except MediaStreamError:
                return
            if frame.width * frame.height > LARGEST_PIXELS:
                self.too_large = True
                continue
            pts = int(frame.pts)
            arrived = self._clock.now() if self._reception is None else self._reception.came_at(pts)
            captured_at = source.captured_at(pts / CLOCK_RATE, arrived)
            if wait := bunches.wait(self._clock.now()):
                await asyncio.sleep(wait)
            self._on_frame(ReceivedFrame(frame, captured_at, number))
            number += 1

    async def _watch(self) -> None:
        """The watchdog and the ladder."""
        sender = self._connection.getSenders()[0]
        reported: Any = None
        bytes_before, at_before = 0, self._clock.now()
        while True:
            await asyncio.sleep(LOOK_S)
            if self._silent():
                self._lost()
                return
            if self.state != "live":
                continue
            found = (await sender.getStats()).values()
            report = next((s for s in found if s.type == "remote-inbound-rtp"), None)
            sent = next((s.bytesSent for s in found if s.type == "outbound-rtp"), 0)
            if report is None or report.timestamp == reported:
                continue
            reported = report.timestamp
            now = self._clock.now()
            self.sent_bps = 8 * (sent - bytes_before) / max(now - at_before, 0.1)
            bytes_before, at_before = sent, now
            self.loss = report.fractionLost / 256
            newest = unsmoothed(self.rtt_s, report.roundTripTime)
            self.rtt_s = report.roundTripTime
            self._ladder.report(now, self.loss, newest, self.sent_bps)
            self._rung = rung = self._ladder.rung()
            self._encoder.bitrate_bps, self._encoder.fps = rung.bitrate_bps, rung.fps
            self._encoder.choked, self._encoder.doubled = self._ladder.choked, self._ladder.doubled

    def _silent(self) -> bool:
        now = self._clock.now()
        came = None if self._reception is None else self._reception.packet_at
        if came is None:
            return now - self._began_at > self._config.connect_s
        return now - came > self._config.rtp_timeout_s


def unsmoothed(before: float | None, smooth: float | None) -> float | None:
    """The newest round trip, seconds, out of two values of aiortc's running mean; None where nothing is new."""
    if smooth is None or smooth == before:
        return None
    if before is None:
        return smooth
    return max(0.0, (smooth - RTT_ALPHA * before) / (1 - RTT_ALPHA))


def check_offer(sdp: str) -> None:
    """Raise ``ProtocolError`` unless this is one video section that is sent and received."""
    try:
        description = SessionDescription.parse(sdp)
    except Exception:  # the parser says what is wrong in a dozen ways
        raise _bad_offer("the offer is no SDP that can be read") from None
    media = description.media
    if len(media) != 1 or media[0].kind != "video" or media[0].port == 0:
        raise _bad_offer("an offer has exactly one media section, and that is video")
    if media[0].direction != "sendrecv":
        raise _bad_offer("video must be sendrecv")
    if not any(codec.mimeType.lower() == "video/vp8" for codec in media[0].rtp.codecs):
        raise _bad_offer("the offer has no VP8")
    if len(media[0].ice_candidates) > MOST_CANDIDATES:
        raise _bad_offer(f"an offer has at most {MOST_CANDIDATES} candidates")
    ice, dtls = media[0].ice, media[0].dtls
    if ice is None or not ice.usernameFragment or not ice.password:
        raise _bad_offer("the offer lacks its ICE credentials")
    if dtls is None or not any(one.algorithm.lower() in HASHES for one in dtls.fingerprints):
        raise _bad_offer("the offer lacks a fingerprint by SHA-256 or better")


def _bad_offer(message: str) -> ProtocolError:
    return ProtocolError("bad_offer", message, "see docs/protocol.md, 'The way of a session'")
