"""The browser side of lia-live: an ASGI application, its sessions, and where its page lies.

    app = create_app(ServerConfig(), lia_live.load_model("default"), avatars)

What is imported here is light; ``create_app`` brings torch, mediapipe and aiortc when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lia_live.errors import StorageError

if TYPE_CHECKING:
    from lia_live_server.app import create_app
    from lia_live_server.config import ServerConfig

__all__ = ["ServerConfig", "client_directory", "create_app"]

_HOMES = {"ServerConfig": "lia_live_server.config", "create_app": "lia_live_server.app"}


def client_directory() -> Path:
    """The folder with ``index.html``: inside this package when installed, beside it in a checkout.

    Raises ``StorageError`` where neither has one (a damaged installation).
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "client_web", package.parent / "client_web"):
        if (folder / "index.html").is_file():
            return folder
    raise StorageError(
        "the browser page is missing from this installation", "install lia-live again"
    )


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found
