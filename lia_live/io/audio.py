"""The sound of a clip, carried over into a recording in time with its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av.audio.stream import AudioStream
from av.packet import Packet

COPIED_CODEC: Final = "aac"
"""The one sound that every MP4 player and browser knows: copied bit by bit. The rest becomes it."""
_MAX_RATE: Final = 48_000
_GAP_S: Final = 0.02
_AAC_BITS: Final = 160_000


class AudioTrack:
    """Copies or encodes one clip's sound into an open output container, a piece at a time.

    Its clock starts with the clip's first picture. Pieces before that are dropped; a damaged piece is
    left out: bad sound must not cost the video.
    """

    def __init__(
        self, clip: str | Path, output: av.container.OutputContainer, start_s: float
    ) -> None:
        """Add the stream to ``output`` (before anything is muxed). ``start_s``: the first picture's time
        on the clip's own clock (``VideoReader.start_s``). Raises ``ValueError`` if there is no sound to
        carry.
        """
        self._clip = av.open(f"file:{clip}", options={"protocol_whitelist": "file"})
        self._output = output
        self._start = Fraction(start_s).limit_denominator(1_000_000)
        try:
            if not self._clip.streams.audio:
                raise ValueError(f"{clip} has no sound")
            self._source = self._clip.streams.audio[0]
            self.copied = self._source.codec_context.name == COPIED_CODEC
            """True if the sound goes over unchanged."""
            self._target: AudioStream = (
                output.add_stream_from_template(self._source) if self.copied else self._encoder()
            )
        except BaseException:
            self._clip.close()
            raise
        self._pieces = self._copies() if self.copied else self._encoded()
        self._ahead: Packet[AudioStream] | None = next(self._pieces, None)
        # An AAC stream begins with 21 ms of run-in before time 0. Muxing it takes an edit list, and with
        # one a recording that was killed loses its first half second: so the run-in goes.
        while self._ahead is not None and self._begins(self._ahead) < 0:
            self._ahead = next(self._pieces, None)

    def advance(self, until_s: float) -> None:
        """Mux every piece that begins before ``until_s``, so that sound and pictures lie side by side."""
        while self._ahead is not None and self._begins(self._ahead) < until_s:
            self._output.mux(self._ahead)
            self._ahead = next(self._pieces, None)

    def close(self) -> None:
        """Close the clip. May be called twice."""
        self._ahead = None
        self._clip.close()

    def _encoder(self) -> AudioStream:
        context = self._source.codec_context
        rate = min(context.sample_rate or _MAX_RATE, _MAX_RATE)
        stream = self._output.add_stream("aac", rate=rate)
        stream.bit_rate = _AAC_BITS
        stream.layout = "mono" if context.layout.nb_channels == 1 else "stereo"
        return stream

    def _begins(self, packet: Packet[AudioStream]) -> float:
        """Seconds since the first picture."""
        base, pts = packet.time_base, packet.pts
        return 0.0 if pts is None or base is None else float(pts * base)

    def _packets(self) -> Iterator[Packet[AudioStream]]:
        packets = self._clip.demux(self._source)
        while True:
            try:
                yield next(packets)
            except (StopIteration, av.FFmpegError):
                return

    def _copies(self) -> Iterator[Packet[AudioStream]]:
        for packet in self._packets():
            if packet.pts is None or packet.dts is None:  # the empty one at the end
                continue
            shift = round(self._start / packet.time_base)
            packet.pts -= shift
            packet.dts -= shift
            packet.stream = self._target
            yield packet

    def _encoded(self) -> Iterator[Packet[AudioStream]]:
        context = self._target.codec_context
        rate = context.sample_rate
        resampler = av.AudioResampler(format="fltp", layout=context.layout, rate=rate)
        written = 0  # samples: the encoder's clock, gaps filled by its own time stamps
        for packet in self._packets():
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            for frame in frames:
                at = None if frame.time is None else frame.time - float(self._start)
                if at is not None and at < -1e-3:
                    continue
                # Rounding moves neighbours by a sample; a real gap is larger and is kept.
                if at is not None and at * rate - written > rate * _GAP_S:
                    written = round(at * rate)
                for piece in resampler.resample(frame):
                    piece.pts, piece.time_base = written, Fraction(1, rate)
                    written += piece.samples
                    yield from self._target.encode(piece)
        yield from self._target.encode(None)
