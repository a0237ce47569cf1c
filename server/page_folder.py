"""Where the page lies, in wheel and checkout alike."""

from __future__ import annotations

from pathlib import Path

from lia_live.errors import StorageError


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
