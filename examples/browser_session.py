#!/usr/bin/env python3
"""A browser session without a browser: a video in place of the camera, the avatar's pictures into a file.

    lia-live serve
    examples/browser_session.py driver.mp4 avatar.mp4

What a page does is all here: join, offer, pictures both ways, settings. The messages are in docs/protocol.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import MediaStreamError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException


async def heard(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """The next message of that type; an error of the server ends the program."""
    async for text in socket:
        message: dict[str, Any] = json.loads(text)
        if message["type"] == "error":
            raise SystemExit(f"error: {message['message']}\nto do: {message['hint']}")
        if message["type"] == kind:
            return message
    raise SystemExit("error: the server closed the connection\nto do: look at its own words")


async def told(socket: ClientConnection) -> None:
    """Print what the server says about the session."""
    async for text in socket:
        message = json.loads(text)
        if message["type"] == "stats":
            age = message["age_ms"]
            print(f"{message['fps']} fps, age {age['p50']:.0f}/{age['p95']:.0f} ms", flush=True)
        elif message["type"] == "error":
            print(f"{message['message']}: {message['hint']}", flush=True)


async def record(track: MediaStreamTrack, out: Path) -> None:
    """Write the pictures that come, with their own times, until the track ends."""
    with av.open(str(out), "w") as file:
        stream = file.add_stream("libx264", rate=30)
        stream.pix_fmt = "yuv420p"
        # The encoder's, too: two pictures in one thirtieth of a second would have the same time.
        stream.time_base = stream.codec_context.time_base = Fraction(1, 90_000)
        first = last = None
        try:
            while True:
                frame: Any = await track.recv()
                if first is None:
                    first = frame.pts
                    stream.width, stream.height = frame.width, frame.height
                pts = frame.pts - first
                if last is not None and pts <= last:
                    continue
                last = pts
                # On a poor link the server sends smaller pictures; the file keeps the first one's size.
                picture = frame.reformat(stream.width, stream.height, "yuv420p")
                picture.pts, picture.time_base = pts, stream.time_base
                file.mux(stream.encode(picture))
        except (MediaStreamError, asyncio.CancelledError):
            file.mux(stream.encode(None))


def camera_from(driver: Path) -> MediaStreamTrack:
    """The video again and again. It is opened before the server is asked: a place there is taken by who can use it."""
    try:
        video = MediaPlayer(str(driver), loop=True).video
    except OSError as error:
        raise SystemExit(f"error: {driver}: {error.strerror}\nto do: check the path") from None
    except av.error.FFmpegError as error:
        raise SystemExit(f"error: {driver}: {error.strerror}\nto do: name a video") from None
    if video is None:
        raise SystemExit(f"error: {driver} has no pictures\nto do: name a video")
    return video


async def session(flags: argparse.Namespace) -> None:
    camera = camera_from(flags.driver)
    if not flags.out.resolve().parent.is_dir():
        raise SystemExit(f"error: there is no folder for {flags.out}\nto do: make it")
    async with connect(flags.server, compression=None) as socket:
        await socket.send(json.dumps({"type": "join", "token": flags.token}))
        welcome = await heard(socket, "welcome")
        print("avatars:", ", ".join(avatar["name"] for avatar in welcome["avatars"]))

        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        recording: list[asyncio.Task[None]] = []
        connection.on(
            "track",
            lambda track: recording.append(asyncio.ensure_future(record(track, flags.out))),
        )
        connection.addTransceiver(camera, direction="sendrecv")
        await connection.setLocalDescription(await connection.createOffer())
        await socket.send(json.dumps({"type": "offer", "sdp": connection.localDescription.sdp}))
        answer = await heard(socket, "answer")
        await connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))

        if flags.avatar is not None:
            await socket.send(json.dumps({"type": "avatar", "name": flags.avatar}))
        await socket.send(json.dumps({"type": "settings", "strength": flags.strength}))
        telling = asyncio.create_task(told(socket))
        await asyncio.sleep(flags.duration)

        telling.cancel()
        for task in recording:
            task.cancel()
        _, *wrong = await asyncio.gather(telling, *recording, return_exceptions=True)
        await socket.send(json.dumps({"type": "bye"}))
        await connection.close()
    if wrong != [None]:
        raise SystemExit(
            f"error: nothing was recorded ({wrong})\nto do: look at the server's own words"
        )
    print(f"wrote {flags.out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("driver", type=Path, help="a video of a face")
    parser.add_argument("out", type=Path, help="an .mp4 to write")
    parser.add_argument("--server", default="ws://localhost:8765/ws")
    parser.add_argument("--token")
    parser.add_argument("--avatar", help="one of the server's, by name")
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--duration", type=float, default=10.0, metavar="SECONDS")
    try:
        asyncio.run(session(parser.parse_args()))
    except OSError as error:
        raise SystemExit(f"error: {error}\nto do: start `lia-live serve`") from None
    except WebSocketException as error:
        hint = "check --server, and look at the server's own words"
        raise SystemExit(f"error: {error}\nto do: {hint}") from None


if __name__ == "__main__":
    main()
