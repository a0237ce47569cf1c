"""One server: the port is taken, avatars and model are loaded, sessions are served until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lia_live.cli.assets import DEMO_AVATAR
from lia_live.cli.config import ConsentAnswer, ModelSettings, MotionSettings
from lia_live.cli.consent import ConsentBook, state_folder
from lia_live.cli.interrupts import Interrupts
from lia_live.cli.live import policy_config
from lia_live.cli.loading import Networks
from lia_live.cli.portraits import Portrait, find_portraits, open_portraits, settle_portraits
from lia_live_server import ServerConfig, create_app
from lia_live_server.certificate import dev_certificate, fingerprint
from lia_live_server.serving import Bind, Stop, listening, serve
from lia_live_server.turn import read_ice_servers

if TYPE_CHECKING:
    from starlette.applications import Starlette

DEMO_CONSENT: Final = "permission"
"""The shipped portrait shows a real person and is in the public domain: its answer is shipped with it."""


@dataclass(frozen=True)
class Wanted:
    """What the flags say."""

    paths: tuple[str, ...]
    host: str
    port: int
    certificate: Path | None
    key: Path | None
    dev_certificate: bool
    drain_s: float
    token: str | None
    ice_servers: Path | None
    consent: ConsentAnswer | None
    model: ModelSettings
    motion: MotionSettings
    server: Mapping[str, Any]


def serve_avatars(wanted: Wanted, interrupts: Interrupts) -> int:
    """Serve until a signal; returns 0. Raises ``LiaLiveError``, and ``KeyboardInterrupt`` after Ctrl-C."""
    config = server_config(wanted)
    if wanted.paths:
        portraits = settle_portraits(
            find_portraits(wanted.paths), wanted.consent, ConsentBook(), interrupts
        )
    else:
        portraits = [Portrait(DEMO_AVATAR, DEMO_CONSENT)]
    certificate, key = wanted.certificate, wanted.key
    if wanted.dev_certificate:
        certificate, key = dev_certificate(state_folder(), wanted.host)
        print(f"self-signed certificate, SHA-256 {fingerprint(certificate)}", flush=True)
    bind = Bind(wanted.host, wanted.port, certificate, key, wanted.drain_s)
    with listening(bind) as listener:
        app = _application(config, portraits, wanted, interrupts)
        _speak_up()
        stop = Stop()

        def ready(port: int) -> None:
            where = "localhost" if config.loopback else _written(wanted.host)
            print(f"open {'https' if bind.secure else 'http'}://{where}:{port}/", flush=True)
            if config.token is not None:
                print("visitors need the token", flush=True)

        with stop.on_signals(lambda words: print(words, file=sys.stderr, flush=True)):
            asyncio.run(serve(app, bind, stop, listener, ready))
    if stop.interrupted:
        raise KeyboardInterrupt
    return 0


def server_config(wanted: Wanted) -> ServerConfig:
    """The server's settings, as far as they are known before the model is loaded. Raises ``ConfigError``."""
    fields = dict(wanted.server)
    if "origins" in fields:
        fields["origins"] = tuple(fields["origins"])
    servers = () if wanted.ice_servers is None else read_ice_servers(wanted.ice_servers)
    return ServerConfig(
        host=wanted.host,
        token=wanted.token,
        ice_servers=servers,
        policy=policy_config(wanted.motion, len(wanted.motion.edits)),
        **fields,
    )


def _application(
    config: ServerConfig, portraits: list[Portrait], wanted: Wanted, interrupts: Interrupts
) -> Starlette:
    networks = Networks(wanted.model)
    avatars = open_portraits(portraits, networks, interrupts)
    with interrupts.deferred():
        shared = networks.model() if config.allow_upload else networks.loaded
        return create_app(
            config,
            shared,
            avatars,
            renderer=networks.renderer(),
            open_own=networks.open,
        )


def _speak_up() -> None:
    """What the server and uvicorn have to say goes to stderr: warnings, and who came and went is not among them."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    for name in ("lia_live_server", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING)
    for name in ("aiortc", "aioice"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host
