"""``lia-live serve``: the browser session."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from lia_live.cli.config import in_range
from lia_live.cli.flags import (
    add_badge_flag,
    add_consent_flag,
    add_model_flags,
    add_motion_flags,
    model_settings,
    motion_settings,
)
from lia_live.cli.interrupts import Interrupts
from lia_live.cli.parser import Command, Parser
from lia_live.errors import ConfigError

TOKEN_VARIABLE = "LIA_LIVE_TOKEN"
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--avatars",
        "--avatar",
        action="append",
        metavar="PATH",
        help="portrait, .avatar bundle or a folder of them; repeatable (default: the shipped one)",
    )
    parser.add_argument("--host", metavar="ADDRESS", help="default: 127.0.0.1, this machine only")
    parser.add_argument("--port", type=int, metavar="0..65535", help="default: 8765; 0: any free")
    parser.add_argument("--cert", type=Path, metavar="FILE.pem", help="TLS certificate")
    parser.add_argument("--key", type=Path, metavar="FILE.pem", help="its private key")
    parser.add_argument(
        "--dev-cert", action="store_true", help="TLS with a self-signed certificate, for a try"
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"what visitors must know, in its first line; or in ${TOKEN_VARIABLE}",
    )
    parser.add_argument(
        "--origin",
        action="append",
        metavar="URL",
        help="a page elsewhere that may connect: https://example.org; repeatable",
    )
    parser.add_argument("--max-sessions", type=int, metavar="N", help="at once (default: 4)")
    parser.add_argument(
        "--ice-servers", type=Path, metavar="FILE.json", help="STUN and TURN servers"
    )
    parser.add_argument(
        "--allow-upload", action="store_true", help="visitors may bring a portrait of their own"
    )
    parser.add_argument(
        "--public-metrics", action="store_true", help="/metrics answers other machines too"
    )
    parser.add_argument("--side", type=int, metavar="PIXELS", help="of the picture (default: 384)")
    parser.add_argument("--fps", type=float, metavar="5..60", help="at most (default: 30)")
    parser.add_argument(
        "--drain",
        type=float,
        metavar="SECONDS",
        help="how long sessions may go on after SIGTERM or Ctrl-C (default: 30)",
    )
    add_model_flags(parser)
    add_motion_flags(parser)
    add_consent_flag(parser)
    add_badge_flag(parser, "on")


def _execute(flags: argparse.Namespace, interrupts: Interrupts) -> int:
    given = vars(flags)
    host, port = given.get("host", "127.0.0.1"), given.get("port", 8765)
    in_range("port", port, 0, 65535)
    drain_s = given.get("drain", 30.0)
    in_range("drain", drain_s, 0, 3600)
    token = _token(given.get("token_file"))
    _check_door(host, token, given)
    settings, motion = model_settings(flags), motion_settings(flags)
    if given.get("badge") is False:
        from lia_live.cli.run import DISCLOSURE

        print(f"note: {DISCLOSURE}", file=sys.stderr)
    with interrupts.deferred():
        from lia_live.cli.serving import Wanted, serve_avatars

    wanted = Wanted(
        paths=tuple(given.get("avatars") or ()),
        host=host,
        port=port,
        certificate=given.get("cert"),
        key=given.get("key"),
        dev_certificate=given.get("dev_cert", False),
        drain_s=drain_s,
        token=token,
        ice_servers=given.get("ice_servers"),
        consent=given.get("consent"),
        model=settings,
        motion=motion,
        server={
            name: given[flag] for flag, name in _SERVER_FLAGS.items() if given.get(flag) is not None
        },
    )
    return serve_avatars(wanted, interrupts)


_SERVER_FLAGS = {
    "origin": "origins",
    "max_sessions": "max_sessions",
    "allow_upload": "allow_upload",
    "public_metrics": "public_metrics",
    "side": "side_px",
    "fps": "fps",
    "badge": "badge",
}
"""Flags that fill a field of ``ServerConfig`` as they are."""


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        with file.open(encoding="utf-8") as opened:
            token = opened.readline(4096).strip()
    except FileNotFoundError:
        raise ConfigError(f"no such file: {file}", "check the path after --token-file") from None
    except UnicodeDecodeError:
        raise ConfigError(
            f"{file} is no text file", "write the token into its first line"
        ) from None
    if not token:
        raise ConfigError(f"{file} is empty", "write the token into its first line")
    return token


def _check_door(host: str, token: str | None, given: dict[str, object]) -> None:
    """Other machines come in by TLS and with a token, or not at all."""
    certificate, key = given.get("cert"), given.get("key")
    if (certificate is None) != (key is None):
        raise ConfigError("--cert and --key belong together", "give both, or --dev-cert")
    if certificate is not None and given.get("dev_cert"):
        raise ConfigError("--cert and --dev-cert exclude each other", "give one of them")
    for path in (certificate, key):
        if isinstance(path, Path) and not path.is_file():
            raise ConfigError(f"no such file: {path}", "check the paths after --cert and --key")
    if host in LOOPBACK:
        return
    missing = []
    if certificate is None and not given.get("dev_cert"):
        missing.append("TLS (--cert and --key, or --dev-cert)")
    if token is None:
        missing.append(f"a token (--token-file, or ${TOKEN_VARIABLE})")
    if missing:
        raise ConfigError(
            f"other machines could reach {host} without {' and '.join(m.partition(' (')[0] for m in missing)}",
            f"add {' and '.join(missing)}, or leave --host out",
        )


COMMAND = Command(
    "serve", "the live avatar in a browser: page and WebRTC server", _add_arguments, _execute
)
