"""Whole sessions over real sockets and real WebRTC, on doubles of network and tracker."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lia_live.engine import PolicyConfig
from lia_live_server import ServerConfig
from tests.doubles import (
    CAMERA_COLOUR,
    ScriptedRenderer,
    ScriptedTracker,
    shows_camera,
    tiny_config,
)
from tests.server.harness import (
    Client,
    PaintedCamera,
    RunningServer,
    joined,
    opened,
    shade,
)
from tests.server.painted import Open

TOKEN = "correct horse battery"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(ServerConfig(max_sessions=6)) as running:
        running.parts.door.arrivals = Open()
        yield running


async def until(true, timeout: float = 5.0) -> None:
    async with asyncio.timeout(timeout):
        while not true():
            await asyncio.sleep(0.02)


async def ended(client: Client, timeout: float = 5.0) -> int | None:
    await until(lambda: client.close_code is not None, timeout)
    return client.close_code


def test_an_avatar_comes_back_and_can_be_changed(server: RunningServer) -> None:
    async def scenario() -> None:
        async with joined(server) as client:
            assert [a["name"] for a in client.welcome["avatars"]] == ["green", "blue"]
            assert client.welcome["protocol"] == 1
            assert client.welcome["ice_servers"] == []
            assert len(client.welcome["directions"]) == len(client.welcome["settings"]["edits"])
            await client.start()
            assert shade(await client.picture()) == "green"
            await client.wait_for("status", lambda m: m["media"] == "live" and m["face"])
            await client.send("avatar", name="blue")
            await client.picture(lambda p: shade(p) == "blue")
            await client.wait_for("status", lambda m: m["avatar"] == "blue")
            await client.wait_for("status", lambda m: m["calibrated"])
            stats = await client.wait_for("stats", lambda m: m["fps"] > 5)
            assert stats["age_ms"]["p50"] > 0
            await client.send("ping", t=17)
            assert (await client.wait_for("pong"))["t"] == 17
            await client.send("bye")
            assert await ended(client) == 1000
        await until(lambda: len(server.parts.book) == 0, 1.0)

    asyncio.run(scenario())


def test_a_slider_moves_the_picture(server: RunningServer) -> None:
    """The doubles' white bar is as wide as the first coefficient."""

    async def scenario() -> None:
        async with joined(server) as client:
            await client.start()
            await client.wait_for("status", lambda m: m["face"])
            edits = [6.0] + [0.0] * 19
            await client.send("settings", edits=edits, strength=0.5, smooth=0)

            def bar(pixels) -> float:
                return float((pixels[pixels.shape[0] // 8, :, 0] > 150).mean())

            await client.picture(lambda p: bar(p) > 0.7)
            await client.send("settings", edits=[])
            await client.picture(lambda p: bar(p) < 0.6)
            await client.send("calibrate")
            await client.send("settings", mirror=True, mode="absolute")
            await client.picture()

    asyncio.run(scenario())


def test_two_sessions_keep_their_own_faces(server: RunningServer) -> None:
    async def scenario() -> None:
        async with joined(server) as one, joined(server) as two:
            await asyncio.gather(one.start(), two.start())
            await two.send("avatar", name="blue")
            await one.picture()
            await two.picture(lambda p: shade(p) == "blue")
            one.pictures.clear()
            two.pictures.clear()
            await asyncio.sleep(1.5)
            assert {shade(p) for _, p in one.pictures} == {"green"}
            assert {shade(p) for _, p in two.pictures} == {"blue"}
            assert min(len(one.pictures), len(two.pictures)) > 5

    asyncio.run(scenario())


def test_start_again_on_the_same_socket(server: RunningServer) -> None:
    async def scenario() -> None:
        async with joined(server) as client:
            for _ in range(3):
                await client.start(PaintedCamera(128))
                client.pictures.clear()
                assert shade(await client.picture()) == "green"

    asyncio.run(scenario())


def test_the_camera_picture_is_never_shown() -> None:
    """Whatever the tracker and the network do: nobody, faults, back again."""
    seen = [0]

    def script(frame) -> object:
        seen[0] += 1
        phase = seen[0] // 10 % 4
        return [True, False, RuntimeError("tracker"), True][phase]

    def encode(crops) -> object:
        return RuntimeError("encoder") if seen[0] % 13 == 0 else None

    def render() -> object:
        return RuntimeError("renderer") if seen[0] % 17 == 0 else None

    class Magenta(PaintedCamera):
        async def recv(self):
            frame = await super().recv()
            import av
            import numpy as np

            picture = np.full((128, 128, 3), CAMERA_COLOUR, np.uint8)
            made = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            made.pts, made.time_base = frame.pts, frame.time_base
            return made

    renderer = ScriptedRenderer(before_encode=encode, before_render=render)
    policy = PolicyConfig(hold_s=0.1, ease_s=0.1)

    async def scenario(running: RunningServer) -> None:
        async with joined(running) as client:
            await client.start(Magenta(128))
            await client.picture()
            await asyncio.sleep(3)
            assert len(client.pictures) > 20
            assert not any(shows_camera(p) for _, p in client.pictures)
            faults = running.parts.book.sessions()[0].stage.stats.faults
            assert {"tracker", "encoder", "renderer"} <= set(faults)

    tracker = lambda: ScriptedTracker(tiny_config().size, script)  # noqa: E731
    with RunningServer(ServerConfig(policy=policy), renderer=renderer, tracker=tracker) as running:
        asyncio.run(scenario(running))


def test_a_lost_socket_parks_and_a_secret_brings_the_session_back(server: RunningServer) -> None:
    async def scenario() -> None:
        async with joined(server) as client:
            await client.start()
            await client.send("avatar", name="blue")
            await client.send("settings", strength=1.5)
            await client.wait_for("status", lambda m: m["avatar"] == "blue" and m["calibrated"])
            secret = client.welcome["resume"]
            client.drop()
            await ended(client)
        await until(lambda: server.parts.book.live == 0)
        assert len(server.parts.book) == 1
        async with joined(server, resume=secret) as again:
            assert again.welcome["resumed"]
            assert again.welcome["avatar"] == "blue"
            assert again.welcome["settings"]["strength"] == 1.5
            status = await again.wait_for("status")
            assert status["calibrated"]
            await again.start()
            assert shade(await again.picture()) == "blue"
            # once more, while the server still believes in this socket
            async with joined(server, resume=secret) as third:
                assert third.welcome["resumed"]
                assert (await again.wait_for("error"))["code"] == "replaced"
                assert await ended(again) == 4001
                await third.start()
                await third.picture()
                assert len(server.parts.book) == 1
        await until(lambda: len(server.parts.book) == 0, 1.0)

    asyncio.run(scenario())


def test_a_secret_that_is_not_known_begins_anew(server: RunningServer) -> None:
    async def scenario() -> None:
        async with joined(server, resume="nonsense") as client:
            assert not client.welcome["resumed"]

    asyncio.run(scenario())


def test_parked_sessions_end_and_full_servers_say_so_at_once() -> None:
    async def scenario(running: RunningServer) -> None:
        async with joined(running) as client:
            client.drop()
            await ended(client)
        await until(lambda: running.parts.book.live == 0)
        async with opened(running) as late:
            began = time.perf_counter()
            await late.send("join")
            error = await late.wait_for("error")
            assert (
                time.perf_counter() - began < 1.0
            )  # 0.3 ms on an idle machine; 0.1 s is the promise
            assert (error["code"], error["fatal"]) == ("busy", True)
            assert 0 < error["retry_after"] <= 10
            assert await ended(late) == 1013
        await until(lambda: len(running.parts.book) == 0, 4.0)
        async with joined(running):
            pass

    with RunningServer(ServerConfig(max_sessions=1, park_s=1.0)) as running:
        asyncio.run(scenario(running))


@pytest.mark.parametrize("how", ["bye", "close", "tab"])
def test_whoever_leaves_leaves_nothing(server: RunningServer, how: str) -> None:
    import threading

    async def scenario() -> None:
        before = {t.name for t in threading.enumerate()}
        async with joined(server) as client:
            await client.start()
            await client.picture()
            if how == "bye":
                await client.send("bye")
            else:
                await client.socket.close(1000 if how == "close" else 1001)
            await until(lambda: len(server.parts.book) == 0, 1.0)
            await client.hang_up()
        loop = server.loop

        def left() -> list[str]:
            names = [t.get_coro().__qualname__ for t in asyncio.all_tasks(loop)]
            return [n for n in names if n.startswith(("Socket", "Peer", "RTC"))]

        await until(lambda: not left(), 2.0)
        fresh = {t.name for t in threading.enumerate()} - before
        assert not [name for name in fresh if "decoder" in name]

    asyncio.run(scenario())


def test_no_video_for_two_seconds_is_noticed_and_a_new_offer_mends_it() -> None:
    async def scenario(running: RunningServer) -> None:
        async with joined(running) as client:
            camera = PaintedCamera(128)
            await client.start(camera)
            await client.wait_for("status", lambda m: m["media"] == "live" and m["face"])
            camera.muted = True
            lost = await client.wait_for("status", lambda m: m["media"] == "lost", 8)
            assert not lost["face"] or lost["driver"] != "starting"
            camera.muted = False
            client.said.clear()
            await client.start(PaintedCamera(128))
            await client.wait_for("status", lambda m: m["media"] == "live")
            client.pictures.clear()
            await client.picture()

    with RunningServer(ServerConfig(rtp_timeout_s=1.0)) as running:
        asyncio.run(scenario(running))


# The front door


def test_a_token_is_asked_for() -> None:
    async def scenario(running: RunningServer) -> None:
        for token in (None, "wrong", "correct horse batter"):
            async with opened(running) as client:
                await client.send("join", token=token)
                error = await client.wait_for("error")
                assert error["code"] == "token"
                assert TOKEN not in json.dumps(error)
                assert await ended(client) == 1008
        async with joined(running, token=TOKEN) as client:
            secret = client.welcome["resume"]
            assert TOKEN not in json.dumps(client.welcome)
            client.drop()
            await ended(client)
        async with joined(running, resume=secret) as client:
            assert client.welcome["resumed"]
        codes = []
        for _ in range(5):
            async with opened(running) as client:
                await client.send("join", token="guess")
                codes.append((await client.wait_for("error"))["code"])
        assert codes[-1] == "rate"

    with RunningServer(ServerConfig(token=TOKEN)) as running:
        asyncio.run(scenario(running))


def test_origins(server: RunningServer) -> None:
    async def scenario() -> None:
        for origin in ("http://evil.org", "null", f"https://127.0.0.1:{server.port}"):
            with pytest.raises(InvalidStatus) as caught:
                async with connect(server.ws, origin=origin):
                    pass
            assert caught.value.response.status_code == 403
        async with connect(server.ws, origin=f"http://127.0.0.1:{server.port}"):
            pass

    asyncio.run(scenario())


def test_no_compression(server: RunningServer) -> None:
    async def scenario() -> None:
        async with connect(server.ws, compression="deflate") as socket:
            assert socket.protocol.extensions == []

    asyncio.run(scenario())


def test_too_many_sockets_from_one_address() -> None:
    async def scenario(running: RunningServer) -> None:
        refused = 0
        for _ in range(40):
            try:
                async with connect(running.ws):
                    pass
            except InvalidStatus as error:
                assert error.response.status_code == 429
                refused += 1
        assert refused > 3

    with RunningServer() as running:
        asyncio.run(scenario(running))


@pytest.mark.parametrize(
    ("messages", "code", "close"),
    [
        (["{"], "bad_message", 1008),
        (['{"type":"ping","t":1}'], "bad_message", 1008),
        (['{"type":"join"}', '{"type":"join"}'], "bad_message", 1008),
        (['{"type":"join"}', '{"type":"settings","edits":[1,2]}'], "bad_message", 1008),
        ([b"\x00\x01"], "bad_message", 1008),
        (['{"type":"offer","sdp":"' + "x" * 70_000 + '"}'], "too_big", 1009),
        (['{"type":"join"}'] + ['{"type":"ping","t":1}'] * 400, "rate", 1008),
        (['{"type":"join"}'] + ['{"type":"offer","sdp":"x"}'] * 8, "rate", 1008),
    ],
    ids=["json", "before join", "join twice", "edits", "binary", "big", "messages", "offers"],
)
def test_mistakes_are_said_and_end_the_socket(
    server: RunningServer, messages: list, code: str, close: int
) -> None:
    async def scenario() -> None:
        async with opened(server) as client:
            try:
                for message in messages:
                    await client.socket.send(message)
            except ConnectionClosed:
                pass
            assert await ended(client) == close
            errors = [m for m in client.said if m["type"] == "error"]
            assert errors[-1]["code"] == code
            assert errors[-1]["fatal"]
            assert "Traceback" not in json.dumps(client.said)
        await until(lambda: server.parts.book.live == 0, 2.0)

    asyncio.run(scenario())


def test_far_too_big_is_cut_off(server: RunningServer) -> None:
    async def scenario() -> None:
        async with opened(server) as client:
            await client.socket.send("x" * 300_000)
            assert await ended(client) == 1009

    asyncio.run(scenario())


def test_whoever_does_not_join_is_sent_away() -> None:
    async def scenario(running: RunningServer) -> None:
        async with opened(running) as client:
            assert await ended(client) == 1008
            assert client.said[-1]["code"] == "late"

    with RunningServer(ServerConfig(join_s=0.3)) as running:
        asyncio.run(scenario(running))


def test_a_slow_reader_is_closed() -> None:
    """Its window is full and stays so: the socket and its session go after ``send_s``."""
    import socket as sockets

    async def scenario(running: RunningServer) -> None:
        raw = sockets.socket()
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", running.port))
        raw.setblocking(False)
        async with connect(running.ws, sock=raw, compression=None, max_queue=1) as socket:
            await socket.send('{"type":"join"}')
            await until(lambda: running.parts.book.live == 1)
            (session,) = running.parts.book.sessions()
            say = session._say
            assert say is not None
            stuffing = {"type": "directions", "x": "y" * 200_000}
            socket.transport.pause_reading()

            def stuff() -> None:
                for _ in range(40):
                    say(stuffing)

            running.loop.call_soon_threadsafe(stuff)
            await until(lambda: running.parts.book.live == 0, 8.0)
            socket.transport.abort()

    with RunningServer(ServerConfig(send_s=0.5, park_s=0)) as running:
        asyncio.run(scenario(running))


def test_a_half_open_socket_is_noticed() -> None:
    """Nothing comes back any more, not even answers to pings: two of them, and its session is parked."""

    async def scenario(running: RunningServer) -> None:
        async with opened(running) as client:
            await client.send("join")
            await client.wait_for("welcome")
            client.socket.transport.pause_reading()
            await until(lambda: running.parts.book.live == 0, 6.0)
            assert len(running.parts.book) == 1
            client.drop()

    with RunningServer(ping_s=0.5) as running:
        asyncio.run(scenario(running))


# Offers of strangers

GOOD = (
    """v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0
m=video 9 UDP/TLS/RTP/SAVPF 97
c=IN IP4 0.0.0.0
a=sendrecv
a=mid:0
a=rtcp-mux
a=rtpmap:97 VP8/90000
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuvwx
a=fingerprint:sha-256 """
    + ":".join(["AB"] * 32)
    + """
a=setup:actpass
"""
)


@pytest.mark.parametrize(
    "sdp",
    [
        "",
        "x",
        "v=0\n",
        GOOD.replace("sendrecv", "recvonly"),
        GOOD.replace("VP8", "H264"),
        GOOD.replace("m=video 9", "m=audio 9"),
        GOOD + "m=audio 9 UDP/TLS/RTP/SAVPF 0\nc=IN IP4 0.0.0.0\na=mid:1\n",
        GOOD + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:1\na=sctp-port:5000\n",
        GOOD.replace("a=ice-ufrag:abcd\n", ""),
        GOOD.replace("sha-256", "md9"),
        GOOD.replace("a=fingerprint:sha-256 " + ":".join(["AB"] * 32), ""),
        GOOD + "a=candidate:1 1 udp 1 10.0.0.1 9 typ host\n" * 40,
        GOOD + "a=candidate:1 1 udp x y z\n",
        GOOD.replace("m=video 9", "m=video 0"),
    ],
)
def test_bad_offers_are_refused_and_the_session_goes_on(server: RunningServer, sdp: str) -> None:
    async def scenario() -> None:
        async with joined(server) as client:
            await client.send("offer", sdp=sdp)
            error = await client.wait_for("error")
            assert (error["code"], error["fatal"]) == ("bad_offer", False)
            await client.send("ping", t=1)
            await client.wait_for("pong")

    asyncio.run(scenario())


LINES = GOOD.splitlines()
BROKEN = st.one_of(
    st.text(max_size=200),
    st.lists(st.sampled_from(LINES), max_size=25).map("\n".join),
    st.tuples(st.integers(0, len(LINES) - 1), st.text(max_size=30)).map(
        lambda cut: "\n".join([*LINES[: cut[0]], LINES[cut[0]][:5] + cut[1], *LINES[cut[0] + 1 :]])
    ),
)
MALFORMED = st.one_of(
    st.text(max_size=300),
    st.binary(max_size=100),
    BROKEN.map(lambda sdp: json.dumps({"type": "offer", "sdp": sdp})),
    st.dictionaries(
        st.sampled_from(["type", "name", "edits", "strength", "sdp", "t"]),
        st.sampled_from(["join", "avatar", "settings", "offer", "ping"])
        | st.none()
        | st.integers()
        | st.lists(st.floats(allow_nan=False), max_size=25),
    ).map(json.dumps),
)


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # the server's thread does
def test_two_hundred_malformed_messages_harm_nobody(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    """No crash, no traceback to the peer, and a session beside it does not notice."""
    loop = asyncio.new_event_loop()
    beside = joined(server)
    other = loop.run_until_complete(beside.__aenter__())
    loop.run_until_complete(other.start(PaintedCamera(128)))
    loop.run_until_complete(other.picture())
    before = len(other.pictures)

    async def send(message: str | bytes) -> None:
        async with opened(server) as client:
            await client.send("join")
            await client.wait_for("welcome")
            try:
                await client.socket.send(message)
                await client.socket.send('{"type":"ping","t":4242}')
            except ConnectionClosed:
                pass
            await until(lambda: client.close_code is not None or client.newest("pong") is not None)
            told = json.dumps(client.said)
            assert "Traceback" not in told
            assert '.py"' not in told
            assert client.close_code in (None, 1008, 1009)
            assert not [m for m in client.said if m.get("code") == "failed"]
            await client.socket.close()

    @settings(
        max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(MALFORMED)
    def each(message: str | bytes) -> None:
        loop.run_until_complete(send(message))

    try:
        each()
        loop.run_until_complete(other.picture())
        assert len(other.pictures) > before
        assert other.close_code is None
        assert not [m for m in other.said if m["type"] == "error"]
        assert not [r for r in caplog.records if "broke" in r.getMessage()]
    finally:
        loop.run_until_complete(beside.__aexit__(None, None, None))
        loop.close()
