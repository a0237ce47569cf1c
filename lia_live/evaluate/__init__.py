"""How good a model is: figures of quality on clips, and the page that shows them.

Names are looked up when they are first used: the page alone needs neither torch nor mediapipe.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lia_live.evaluate.figures import Figures, compare
    from lia_live.evaluate.page import Page
    from lia_live.evaluate.transfer import look_at, reconstruct

__all__ = ["Figures", "Page", "compare", "look_at", "reconstruct"]

_HOMES = {
    "Figures": "figures",
    "Page": "page",
    "compare": "figures",
    "look_at": "transfer",
    "reconstruct": "transfer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found  # the next use is a plain look-up
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
