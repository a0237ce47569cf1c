"""The browser side of lia-live: an ASGI application, its sessions, and where its page lies.

    app = create_app(ServerConfig(), lia_live.load_model("default"), avatars)

What is imported here is light; ``create_app`` brings torch, mediapipe and aiortc when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lia_live_server.page_folder import client_directory

if TYPE_CHECKING:
    from lia_live_server.app import create_app
    from lia_live_server.config import ServerConfig

__all__ = ["ServerConfig", "client_directory", "create_app"]

_HOMES = {"ServerConfig": "lia_live_server.config", "create_app": "lia_live_server.app"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found
