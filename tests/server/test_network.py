"""Media over good and poor links. The bounds hold on a busy machine; figures come from scripts/measure_serve.py."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time

import pytest

from lia_live.engine.memory import resident_mb
from lia_live.render.memory import give_back_freed_memory
from lia_live_server import ServerConfig
from tests.doubles import ScriptedRenderer
from tests.server.harness import Client, PaintedCamera, PassThrough, RunningServer, joined
from tests.server.painted import FACE, Ages, Moving, Open, counted, sized
from tests.server.shim import Link, poor_network


def test_media_alone_is_quick() -> None:
    """12 / 50 ms on the development machine under load; 55 ms at p50 with aiortc as it is."""
    renderer = PassThrough(config=sized(256))
    with RunningServer(ServerConfig(policy=FACE), renderer=renderer) as server:
        ages, client = asyncio.run(counted(server, 3, 256))
    found = ages.after(0)
    assert found["fps"] > 12
    assert found["p50"] < 50
    assert client.newest("stats")["age_ms"]["p50"] < 80


def test_a_slow_network_is_not_queued_for() -> None:
    """200 ms a picture: an age of two of these and the way, and not of seconds."""
    renderer = PassThrough(config=sized(128), render_s=0.2)
    with RunningServer(ServerConfig(policy=FACE), renderer=renderer) as server:
        ages, client = asyncio.run(counted(server, 4, 128))
    found = ages.after(0)
    assert found["fps"] > 2
    assert found["p95"] < 800
    assert client.newest("stats")["dropped"] > 20


@pytest.mark.parametrize(("loss", "fps", "p95"), [(0.1, 8, 900), (0.2, 5, 1300)])
def test_lost_packets_cost_a_little_delay_and_no_picture(
    loss: float, fps: float, p95: float
) -> None:
    link = Link(loss=loss, delay_s=0.025)
    with (
        poor_network(link, link),
        RunningServer(ServerConfig(policy=FACE), renderer=PassThrough(config=sized(256))) as server,
    ):
        ages, client = asyncio.run(counted(server, 5, 256, grain=5.0))
    found = ages.after(0)
    assert found["fps"] > fps
    assert found["p95"] < p95
    assert max(m["loss"] for m in client.said if m["type"] == "stats") > 0.02


def test_a_link_of_150_kbit_shows_a_moving_picture_within_five_seconds() -> None:
    down, up = Link(delay_s=0.01), Link(delay_s=0.01)
    marks: dict[str, float] = {}

    async def act(client: Client, ages: Ages) -> None:
        await client.wait_for("stats", lambda m: m["bitrate_kbps"] > 400, 15)
        marks["cut"] = time.perf_counter()
        down.rate_bps = 150_000
        await asyncio.sleep(8)
        marks["free"] = time.perf_counter()
        marks["side"] = client.newest("stats")["side"]
        down.rate_bps = None

    with (
        poor_network(down, up),
        RunningServer(ServerConfig(policy=FACE), renderer=Moving(config=sized(256))) as server,
    ):
        ages, _ = asyncio.run(counted(server, 3, 256, act))
    squeezed = ages.after(marks["cut"] + 5, marks["free"])
    assert squeezed["fps"] > 5
    assert marks["side"] < 384
    assert ages.after(marks["free"] + 1)["fps"] > 8


def test_the_picture_is_back_soon_after_the_network() -> None:
    link = Link(delay_s=0.01)

    async def scenario(server: RunningServer) -> float:
        async with joined(server) as client:
            await client.start(PaintedCamera(128))
            await client.wait_for("status", lambda m: m["media"] == "live")
            await client.picture()
            link.cut = True
            await client.wait_for("status", lambda m: m["media"] == "lost", 10)
            secret = client.welcome["resume"]
            client.drop()
        link.cut = False
        back = time.perf_counter()
        async with joined(server, resume=secret) as again:
            assert again.welcome["resumed"]
            await again.start(PaintedCamera(128))
            await again.picture()
            return time.perf_counter() - back

    with poor_network(link, link), RunningServer(ServerConfig(policy=FACE)) as server:
        assert asyncio.run(scenario(server)) < 4  # 0.1 s on an idle machine; 1.5 s is the promise


def test_sessions_that_come_and_go_leave_nothing_behind() -> None:
    def state(server: RunningServer) -> dict[str, float]:
        gc.collect()
        give_back_freed_memory()  # the server does so a second later
        # The loop's own pool grows to its size once, and stays.
        names = [t.name for t in threading.enumerate() if not t.name.startswith("asyncio_")]
        return {
            "threads": len(names),
            "fds": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
            "tasks": len(asyncio.all_tasks(server.loop)),
        }

    async def one(server: RunningServer) -> None:
        async with joined(server) as client:
            await client.start(PaintedCamera(128))
            await client.picture()
            await client.send("bye")

    async def settled(server: RunningServer) -> dict[str, float]:
        for _ in range(100):
            if not len(server.parts.book):
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        return state(server)

    async def every(server: RunningServer) -> None:
        for _ in range(8):
            await one(server)
        before, memory = await settled(server), resident_mb() or 0.0
        for _ in range(12):
            await one(server)
        after = await settled(server)
        assert {k: after[k] <= before[k] for k in before} == dict.fromkeys(before, True)
        assert (resident_mb() or 0.0) - memory < 25

    with RunningServer(renderer=ScriptedRenderer()) as server:
        server.parts.door.arrivals = Open()
        asyncio.run(every(server))
