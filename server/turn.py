"""STUN and TURN servers, and credentials for them that are good for an hour."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lia_live.errors import ConfigError

FIELDS: Final = frozenset(
    {"urls", "username", "credential", "secret", "secret_env", "secret_file", "ttl_s"}
)
SCHEMES: Final = ("stun:", "stuns:", "turn:", "turns:")
DEFAULT_TTL_S: Final = 3600
LONGEST_TTL_S: Final = 86_400
MOST_BYTES: Final = 65_536


def read_ice_servers(path: Path) -> tuple[dict[str, Any], ...]:
    """The servers in a JSON file: a list like RTCPeerConnection's ``iceServers``. Raises ``ConfigError``.

    Instead of ``credential`` an entry may have ``secret``, ``secret_env`` or ``secret_file``: what the TURN server and
    this one share (coturn: ``use-auth-secret``). Then each session gets credentials for ``ttl_s`` seconds.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if len(text) <= MOST_BYTES else None
    except FileNotFoundError:
        raise ConfigError(f"no such file: {path}", "check the path after --ice-servers") from None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read as JSON ({type(error).__name__})",
            'write [{"urls": "stun:stun.example.org"}]',
        ) from None
    if not isinstance(found, list):
        raise ConfigError(
            f"{path} is no list of servers", 'write [{"urls": "stun:stun.example.org"}]'
        )
    return tuple(_checked(server, path) for server in found)


def minted(servers: Sequence[Mapping[str, Any]], session: str) -> list[dict[str, Any]]:
    """The servers as a peer is told of them: RTCIceServer objects, shared secrets turned into credentials."""
    return [_minted(server, session) for server in servers]


def _minted(server: Mapping[str, Any], session: str) -> dict[str, Any]:
    told = {k: server[k] for k in ("urls", "username", "credential") if k in server}
    secret = server.get("secret")
    if secret is not None:
        user = f"{int(time.time()) + int(server.get('ttl_s', DEFAULT_TTL_S))}:{session}"
        mac = hmac.new(str(secret).encode(), user.encode(), hashlib.sha1)  # coturn's own choice
        told |= {"username": user, "credential": base64.b64encode(mac.digest()).decode()}
    return told


def _checked(server: object, path: Path) -> dict[str, Any]:
    if not isinstance(server, dict) or not set(server) <= FIELDS:
        raise ConfigError(
            f"{path}: a server is an object of {', '.join(sorted(FIELDS))}", "correct that entry"
        )
    urls = server.get("urls")
    urls = [urls] if isinstance(urls, str) else urls
    if not isinstance(urls, list) or not urls or not all(_is_address(url) for url in urls):
        raise ConfigError(
            f"{path}: urls must be stun:, stuns:, turn: or turns: addresses", "correct that entry"
        )
    ttl = server.get("ttl_s", DEFAULT_TTL_S)
    if isinstance(ttl, bool) or not isinstance(ttl, int) or not 60 <= ttl <= LONGEST_TTL_S:
        raise ConfigError(f"{path}: ttl_s must be a whole number from 60 to {LONGEST_TTL_S}")
    checked = {k: server[k] for k in ("username", "credential", "secret") if k in server}
    if not all(isinstance(value, str) for value in checked.values()):
        raise ConfigError(f"{path}: username, credential and secret are texts")
    if "secret_env" in server:
        checked["secret"] = _from_environment(str(server["secret_env"]), path)
    if "secret_file" in server:
        checked["secret"] = read_secret(Path(str(server["secret_file"])))
    return {**checked, "urls": urls, "ttl_s": ttl}


def _is_address(url: object) -> bool:
    return isinstance(url, str) and url.startswith(SCHEMES)


def _from_environment(name: str, path: Path) -> str:
    found = os.environ.get(name)
    if not found:
        raise ConfigError(f"{path} names the environment variable {name}, which is not set")
    return found


def read_secret(path: Path) -> str:
    """The first line of a file that holds a secret. Raises ``ConfigError``; the secret is in no message."""
    try:
        with path.open(encoding="utf-8") as file:
            found = file.readline(4096).strip()
    except FileNotFoundError:
        raise ConfigError(f"no such file: {path}", "check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read ({type(error).__name__})", "check its permissions"
        ) from None
    if not found:
        raise ConfigError(f"{path} is empty", "write the secret into its first line")
    return found
