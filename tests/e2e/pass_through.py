"""A server whose network shows what it saw, in a process of its own: ``python -m tests.e2e.pass_through --port N``."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace

from lia_live.model.directions import Direction
from lia_live_server import ServerConfig, create_app
from lia_live_server.serving import Bind, Stop, serve
from tests.doubles import ScriptedTracker, scripted_avatar, tiny_config
from tests.server.harness import PassThrough


def main() -> None:
    """Until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--side", type=int, default=512)
    flags = parser.parse_args()
    renderer = PassThrough(config=replace(tiny_config(), size=flags.side))
    app = create_app(
        ServerConfig(side_px=flags.side, badge=False),
        renderer,
        [scripted_avatar()],
        directions=Direction.unlabelled(renderer.config.motion_dim),
        shape_of=None,
        open_tracker=lambda: ScriptedTracker(flags.side),
    )
    stop = Stop()
    with stop.on_signals(print):
        asyncio.run(serve(app, Bind(port=flags.port, drain_s=0), stop))


if __name__ == "__main__":
    main()
