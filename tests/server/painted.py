"""Ages and rates by a counter painted into the camera's picture, from painting to decoding at the client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from lia_live.engine import PolicyConfig
from lia_live.model.config import LIAConfig
from lia_live_server.door import RateLimit
from lia_live_server.rtc_tuning import Reception
from tests.doubles import HandClock, tiny_config
from tests.server.harness import (
    Client,
    PaintedCamera,
    PassThrough,
    RunningServer,
    joined,
    number_in,
)

FACE = PolicyConfig(smooth=0.0, hold_s=0.1, ease_s=0.1, return_s=0.0)


class Ages:
    """Ages and arrival times of the painted counter."""

    def __init__(self, camera: PaintedCamera) -> None:
        self._camera = camera
        self.seen: list[tuple[float, float]] = []
        self._last = -1

    def look(self, at: float, pixels: np.ndarray) -> None:
        number = number_in(pixels)
        painted = self._camera.shown_at.get(number)
        if painted is None or number == self._last or at - painted > 5:
            return
        self._last = number
        self.seen.append((at, at - painted))

    def after(self, since: float, until: float = 1e12) -> dict[str, float]:
        found = [(at, age) for at, age in self.seen if since <= at <= until]
        if len(found) < 2:
            return {"fps": 0.0, "n": len(found)}
        ages = np.array([age for _, age in found]) * 1000
        span = found[-1][0] - found[0][0]
        p50, p95, p99 = np.percentile(ages, [50, 95, 99])
        gaps = np.diff([at for at, _ in found])
        return {
            "fps": round((len(found) - 1) / span, 1),
            "p50": round(p50, 1),
            "p95": round(p95, 1),
            "p99": round(p99, 1),
            "longest_gap_ms": round(float(gaps.max()) * 1000),
            "n": len(found),
        }


def tuned(client: Client) -> None:
    """The client releases frames at their marker bit, too, as a browser does."""
    client.tune = lambda connection: client.__setattr__(
        "reception", Reception(connection.getReceivers()[0])
    )


async def counted(
    server: RunningServer,
    seconds: float,
    side: int,
    act: Callable[[Client, Ages], Awaitable[None]] | None = None,
    grain: float = 0.0,
) -> tuple[Ages, Client]:
    async with joined(server) as client:
        camera = PaintedCamera(side, grain=grain)
        ages = Ages(camera)
        client.keep, client.look = False, ages.look
        tuned(client)
        await client.start(camera)
        await client.wait_for("status", lambda m: m["media"] == "live")
        await asyncio.sleep(2.0)
        began = time.perf_counter()
        if act is not None:
            await act(client, ages)
        await asyncio.sleep(seconds)
        ages.seen = [(at, age) for at, age in ages.seen if at >= began]
        return ages, client


def sized(size: int) -> LIAConfig:
    """The tiny network's shape with another picture size."""
    return replace(tiny_config(), size=size)


class Moving(PassThrough):
    """Media that costs what a face costs: the counter, and texture that sways behind it."""

    def render(self, avatars: Any, alpha: Any) -> Any:
        found = super().render(avatars, alpha).copy()
        size = self.config.size
        if not hasattr(self, "_texture"):
            noise = np.random.default_rng(0).normal(0, 14, (size, 2 * size, 3)).astype(np.float32)
            self._texture = cv2.GaussianBlur(noise, (0, 0), 1.2) * 2
        shift = int(size / 2 + size / 4 * np.sin(2 * np.pi * time.perf_counter() / 2))
        for picture in found:
            picture[:] = np.clip(picture + self._texture[:, shift : shift + size], 0, 255)
        return found


class Open(RateLimit):
    """No rate limit."""

    def __init__(self) -> None:
        super().__init__(1, 1, HandClock())

    def take(self, peer: str) -> float:
        return 0.0
