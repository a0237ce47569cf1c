"""A whole session over real sockets and real WebRTC, on doubles of network and tracker."""

from __future__ import annotations

import asyncio

from tests.server.harness import RunningServer, joined, shade


def test_an_avatar_comes_back_and_can_be_changed() -> None:
    async def scenario(server: RunningServer) -> None:
        async with joined(server) as client:
            assert [a["name"] for a in client.welcome["avatars"]] == ["green", "blue"]
            await client.start()
            assert shade(await client.picture()) == "green"
            await client.wait_for("status", lambda m: m["media"] == "live" and m["face"])
            await client.send("avatar", name="blue")
            await client.picture(lambda p: shade(p) == "blue")
            stats = await client.wait_for("stats", lambda m: m["fps"] > 5)
            assert stats["age_ms"]["p50"] > 0

    with RunningServer() as server:
        asyncio.run(scenario(server))
