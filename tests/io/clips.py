"""Clips for the tests, drawn and encoded here: nothing is downloaded or committed."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RED, GREEN, BLUE, WHITE = (200, 40, 40), (40, 180, 40), (40, 60, 210), (235, 235, 235)
BLOCK = 16


def numbered(number: int, width: int = 320, height: int = 192) -> np.ndarray:
    """Red | green | blue, and ``number`` as 8 black or white blocks along the top."""
    pixels = np.zeros((height, width, 3), np.uint8)
    third = width // 3
    for index, colour in enumerate((RED, GREEN, BLUE)):
        pixels[:, index * third : (index + 1) * third if index < 2 else width] = colour
    for bit in range(8):
        pixels[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 255 if number >> bit & 1 else 0
    return pixels


def number_of(pixels: np.ndarray) -> int:
    """Reads what ``numbered`` wrote."""
    rows = pixels[4 : BLOCK - 4]
    return sum(
        int(rows[:, bit * BLOCK + 4 : (bit + 1) * BLOCK - 4].mean() > 128) << bit
        for bit in range(8)
    )


def write_clip(
    path: Path,
    times: Sequence[float],
    *,
    fps: int = 30,
    rotate: int | None = None,
    codec: str = "libx264",
    audio: str | None = None,
    audio_delay_s: float = 0.0,
    first_pts_s: float = 0.0,
    size: tuple[int, int] = (320, 192),
) -> Path:
    """A clip whose frame i shows number i at ``times[i]`` seconds; with ``audio`` (a codec) also a tone that
    starts ``audio_delay_s`` after the first picture and is as long as the pictures.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 12800)
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "qp": "8", "tune": "zerolatency"}
        if rotate is not None:
            stream.set_display_rotation(rotate)
        sound = _tone_stream(container, audio) if audio else None
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered(number, *size), format="rgb24")
            frame.pts, frame.time_base = round((time + first_pts_s) * 12800), Fraction(1, 12800)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            length = times[-1] + 1 / fps
            for frame in tone(sound.codec_context.sample_rate, length):
                frame.pts += round((audio_delay_s + first_pts_s) * frame.sample_rate)
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return path


def even_times(count: int, fps: float = 30.0) -> list[float]:
    return [index / fps for index in range(count)]


def write_sound(path: Path, seconds: float, codec: str = "aac") -> Path:
    """Sound and nothing else."""
    with av.open(str(path), "w") as container:
        stream = _tone_stream(container, codec)
        for frame in tone(stream.codec_context.sample_rate, seconds):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _tone_stream(container, codec: str):
    stream = container.add_stream(codec, rate=48000)
    stream.layout = "mono"
    return stream


def tone(rate: int, seconds: float):
    """Silence with a click-like burst of 1 kHz in the first 50 ms of every second, in pieces of 960 samples."""
    time = np.arange(int(rate * seconds)) / rate
    wave = np.where(time % 1.0 < 0.05, np.sin(2 * np.pi * 1000 * time), 0.0) * 0.8
    samples = (wave * 32767).astype(np.int16)
    for begin in range(0, len(samples), 960):
        piece = np.ascontiguousarray(samples[begin : begin + 960][None])
        frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, begin, Fraction(1, rate)
        yield frame


def bursts(path: Path) -> list[float]:
    """When the tone's bursts begin in a file, seconds on the container's clock (as a player hears it)."""
    with av.open(str(path)) as container:
        begins, loud_until = [], -1.0
        for frame in container.decode(audio=0):
            samples = np.abs(frame.to_ndarray().astype(np.float64)).mean(axis=0)
            samples /= 32768 if frame.format.name.startswith("s16") else 1
            for index in np.flatnonzero(samples > 0.2):
                at = frame.time + index / frame.sample_rate
                if at > loud_until + 0.2:
                    begins.append(round(at, 4))
                loud_until = at
    return begins


def frames_of(path: Path) -> list[tuple[float, np.ndarray]]:
    """(time, pixels) of every frame, read by PyAV alone; a broken tail ends it."""
    found = []
    with av.open(str(path)) as container:
        try:
            for frame in container.decode(video=0):
                found.append((frame.time, frame.to_ndarray(format="rgb24")))
        except av.InvalidDataError:
            pass
    return found
