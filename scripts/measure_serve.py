#!/usr/bin/env python3
"""The figures of `lia-live serve`, by a Python client on this machine: `scripts/measure_serve.py [what ...]`.

Ages are told by a counter painted into the camera's picture, from the moment it is painted to the moment the client
has decoded it again; `own` ones are the session's `stats`. Both ends run in this one process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
from aiortc import MediaStreamTrack

from lia_live.engine.memory import resident_mb
from lia_live.render.memory import give_back_freed_memory
from lia_live_server import ServerConfig
from tests.doubles import ScriptedRenderer
from tests.server.harness import (
    Client,
    PaintedCamera,
    PassThrough,
    RunningServer,
    joined,
    opened,
)
from tests.server.painted import FACE, Ages, Moving, Open, counted, sized, tuned
from tests.server.shim import Link, poor_network

ROOT = Path(__file__).resolve().parent.parent


def media(seconds: float = 10) -> dict[str, Any]:
    """Media alone: 512 pixels, a network that hands its crop back."""
    renderer = PassThrough(config=sized(512))
    with RunningServer(ServerConfig(side_px=512, policy=FACE), renderer=renderer) as server:
        ages, client = asyncio.run(counted(server, seconds, 512))
    return {**ages.after(0), "own": client.newest("stats")["age_ms"]}


def slow(seconds: float = 120) -> dict[str, Any]:
    """A network that takes 200 ms a frame. Memory is read every tenth of the time."""
    renderer = PassThrough(config=sized(256), render_s=0.2)
    rss_mb = []

    async def act(client: Client, ages: Ages) -> None:
        for _ in range(10):
            rss_mb.append(resident_mb())
            await asyncio.sleep(seconds / 10)

    with RunningServer(ServerConfig(policy=FACE), renderer=renderer) as server:
        ages, _ = asyncio.run(counted(server, 0, 256, act))
        rss_mb.append(resident_mb())
    return {**ages.after(0), "rss_mb": rss_mb}


def loss(seconds: float = 15) -> dict[str, Any]:
    """Loss at 50 ms round trip, both ways."""
    found = {}
    for percent in (0, 5, 10, 20):
        link = Link(loss=percent / 100, delay_s=0.025)
        with (
            poor_network(link, link),
            RunningServer(
                ServerConfig(policy=FACE), renderer=PassThrough(config=sized(256))
            ) as server,
        ):
            ages, client = asyncio.run(counted(server, seconds, 256, grain=5.0))
        stats = client.newest("stats")
        drops = {k: stats[k] for k in ("dropped", "frames_in", "frames_out", "repeated")}
        drops["painted"] = max(client.camera.shown_at)
        found[f"{percent} %"] = {
            **drops,
            **ages.after(0),
            "kbps": stats["bitrate_kbps"],
            "side": stats["side"],
        }
    return found


def squeeze(seconds: float = 0) -> dict[str, Any]:
    """The way down is cut to 150 kbit/s for 20 s, then released."""
    down = Link(delay_s=0.01)
    up = Link(delay_s=0.01)
    marks: dict[str, float] = {}
    trace = []

    async def act(client: Client, ages: Ages) -> None:
        await asyncio.sleep(6)
        marks["cut"] = time.perf_counter()
        down.rate_bps = 150_000
        for second in range(36):
            if second == 20:
                down.rate_bps = None
                marks["free"] = time.perf_counter()
            await asyncio.sleep(1)
            stats = client.newest("stats")
            trace.append(
                (
                    second,
                    stats["bitrate_kbps"],
                    stats["side"],
                    stats["target_fps"],
                    stats["loss"],
                    stats["rtt_ms"],
                )
            )

    with (
        poor_network(down, up),
        RunningServer(ServerConfig(policy=FACE), renderer=Moving(config=sized(256))) as server,
    ):
        ages, _ = asyncio.run(counted(server, 0, 256, act))
    cut, free = marks["cut"], marks["free"]
    return {
        "before": ages.after(0, cut),
        "0-5 s": ages.after(cut, cut + 5),
        "5-20 s": ages.after(cut + 5, free),
        "0-15 s after": ages.after(free, free + 15),
        "12-15 s after": ages.after(free + 12, free + 15),
        "trace": trace,
    }


def model(seconds: float = 15, sessions: int = 1) -> dict[str, Any]:
    """The default weights, the shipped portrait, the shipped clip as the camera."""

    async def one(server: RunningServer, found: list) -> None:
        async with joined(server) as client:
            client.keep = False
            tuned(client)
            times: list[float] = []
            client.look = lambda at, pixels: times.append(at)
            began = time.perf_counter()
            await client.start(ClipCamera())
            await client.wait_for("status", lambda m: m["media"] == "live" and m["face"])
            while not times:
                await asyncio.sleep(0.005)
            first = times[0] - began
            await asyncio.sleep(3)
            del times[:]
            before = dict(client.newest("stats"))
            await asyncio.sleep(seconds)
            stats = client.newest("stats")
            found.append(
                {
                    "first_picture_s": round(first, 2),
                    "fps_received": round(len(times) / seconds, 1),
                    **{k: stats[k] for k in ("fps", "age_ms", "model_ms", "bitrate_kbps", "side")},
                    "new": stats["frames_out"] - before["frames_out"],
                    "dropped": stats["dropped"] - before["dropped"],
                }
            )

    async def every(server: RunningServer) -> list:
        found: list = []
        await asyncio.gather(*(one(server, found) for _ in range(sessions)))
        return found

    with spawned() as server:
        return {"server": server.said, "sessions": asyncio.run(every(server))}


class Spawned:
    """`lia-live serve` as a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.said = []
        assert process.stdout is not None
        for line in process.stdout:
            self.said.append(line.strip())
            if found := re.match(r"open http://localhost:(\d+)/", line):
                self.ws = f"ws://127.0.0.1:{found[1]}/ws"
                return
        raise SystemExit("the server does not start")


@contextmanager
def spawned() -> Iterator[Any]:
    command = [sys.executable, "-m", "lia_live", "serve", "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield Spawned(process)
    finally:
        process.terminate()
        process.wait(60)


def two(seconds: float = 15) -> dict[str, Any]:
    """The same with two sessions at once."""
    return model(seconds, 2)


class ClipCamera(MediaStreamTrack):
    """The shipped driver clip, to and fro, as a 640 x 480 camera at 25 frames a second."""

    kind = "video"
    frames: ClassVar[list] = []

    def __init__(self) -> None:
        super().__init__()
        self._number, self._began = 0, time.perf_counter()

    async def recv(self) -> Any:
        from fractions import Fraction

        import av

        if not ClipCamera.frames:
            with av.open(str(ROOT / "lia_live/weights/demo/driver.mp4")) as clip:
                for frame in clip.decode(video=0):
                    pixels = frame.to_ndarray(format="rgb24")
                    height, width = pixels.shape[:2]
                    scale = 480 / height
                    small = cv2.resize(pixels, (round(width * scale), 480))
                    wide = np.full((480, 640, 3), 90, np.uint8)
                    left = max(0, (640 - small.shape[1]) // 2)
                    wide[:, left : left + small.shape[1]] = small[:, :640]
                    ClipCamera.frames.append(wide)
        self._number += 1
        due = self._began + self._number / 25
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        count = len(ClipCamera.frames)
        at = self._number % (2 * count - 2)
        pixels = ClipCamera.frames[at if at < count else 2 * count - 2 - at]
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        frame.pts = round((time.perf_counter() - self._began) * 90000)
        frame.time_base = Fraction(1, 90000)
        return frame


def cycles(seconds: float = 0, count: int = 50, real: bool = True) -> dict[str, Any]:
    """Connect, see a picture, leave; again and again. With the real face tracker."""
    from lia_live.model.config import Framing
    from lia_live.track import open_tracker

    def state() -> dict[str, Any]:
        gc.collect()
        give_back_freed_memory()  # kept for the next frame, not lost
        return {
            "rss_mb": resident_mb(),
            "threads": threading.active_count(),
            "fds": len(os.listdir("/proc/self/fd")),
        }

    async def one(server: RunningServer) -> None:
        async with joined(server) as client:
            client.keep = False
            got = asyncio.Event()
            client.look = lambda at, pixels: got.set()
            await client.start(PaintedCamera(128))
            await asyncio.wait_for(got.wait(), 20)
            await client.send("bye")

    async def every(server: RunningServer) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for number in range(count + 10):
            if number in (10, 10 + count // 2):
                await asyncio.sleep(2.5)
                found[f"after {number}"] = {
                    **state(),
                    "tasks": len(asyncio.all_tasks()),
                    "server_tasks": len(asyncio.all_tasks(server.loop)),
                }
            await one(server)
        await asyncio.sleep(2.5)
        found[f"after {count + 10}"] = {
            **state(),
            "tasks": len(asyncio.all_tasks()),
            "server_tasks": len(asyncio.all_tasks(server.loop)),
            "sessions": len(server.parts.book),
        }
        return found

    renderer = ScriptedRenderer()
    tracker = (lambda: open_tracker(Framing(), 64)) if real else None
    with RunningServer(renderer=renderer, tracker=tracker) as server:
        server.parts.door.arrivals = Open()
        return asyncio.run(every(server))


def admission(seconds: float = 0) -> dict[str, Any]:
    """How soon one too many is told so."""

    async def ask(server: RunningServer) -> list[float]:
        spent = []
        async with joined(server):
            for _ in range(20):
                async with opened(server) as client:
                    began = time.perf_counter()
                    await client.send("join")
                    await client.wait_for("error", lambda m: m["code"] == "busy")
                    spent.append(time.perf_counter() - began)
        return spent

    with RunningServer(ServerConfig(max_sessions=1)) as server:
        server.parts.door.arrivals = Open()
        spent = asyncio.run(ask(server))
    return {
        "ms_p50": round(1000 * float(np.median(spent)), 1),
        "ms_max": round(1000 * max(spent), 1),
    }


def outage(seconds: float = 0) -> dict[str, Any]:
    """Both directions cut for 5 s; the client notices for itself and resumes when the network is back."""
    link = Link(delay_s=0.01)

    async def scenario(server: RunningServer) -> dict[str, Any]:
        async with joined(server) as client:
            client.keep = False
            await client.start(PaintedCamera())
            await client.wait_for("status", lambda m: m["media"] == "live")
            await asyncio.sleep(2)
            link.cut = True
            cut = time.perf_counter()
            await client.wait_for("status", lambda m: m["media"] == "lost")
            noticed = time.perf_counter() - cut
            await asyncio.sleep(2)
            secret = client.welcome["resume"]
            client.drop()
        link.cut = False
        back = time.perf_counter()
        async with joined(server, resume=secret) as again:
            got: list[float] = []
            again.keep, again.look = False, lambda at, pixels: got.append(at)
            await again.start(PaintedCamera())
            while not got:
                await asyncio.sleep(0.005)
            return {
                "noticed_s": round(noticed, 2),
                "picture_s": round(got[0] - back, 2),
                "resumed": again.welcome["resumed"],
            }

    with poor_network(link, link), RunningServer(ServerConfig(policy=FACE)) as server:
        return asyncio.run(scenario(server))


WHAT = {f.__name__: f for f in (media, model, two, slow, loss, squeeze, cycles, admission, outage)}


def main() -> int:
    asked = sys.argv[1:] or list(WHAT)
    logging.basicConfig(level=logging.WARNING)
    for name in asked:
        began = time.perf_counter()
        found = WHAT[name]()
        print(
            json.dumps({name: found, "took_s": round(time.perf_counter() - began, 1)}), flush=True
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
