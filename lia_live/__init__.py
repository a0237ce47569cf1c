"""One portrait, one camera, one live avatar: the public API.

    model = lia_live.load_model("default", device="auto")
    avatar = lia_live.Avatar.from_image("me.png", model)
    animator = lia_live.Animator(model, avatar)
    out = animator.animate(frame)

Names are looked up when they are first used, so ``import lia_live`` and ``lia-live --help`` import
neither torch nor mediapipe. What is not listed in ``__all__`` may move between versions.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lia_live.errors import (
    AvatarError,
    ConfigError,
    DeviceError,
    LiaLiveError,
    MediaError,
    SessionError,
    StorageError,
    TrainingError,
    WeightsError,
)

if TYPE_CHECKING:
    from lia_live.avatar import Avatar
    from lia_live.engine import Animator, PolicyConfig
    from lia_live.frame import Box, Crop, Face, Frame
    from lia_live.model import LIA, Direction, Framing, LIAConfig, Look, load_model
    from lia_live.track import face_box

    __version__: str

__all__ = [
    "LIA",
    "Animator",
    "Avatar",
    "AvatarError",
    "Box",
    "ConfigError",
    "Crop",
    "DeviceError",
    "Direction",
    "Face",
    "Frame",
    "Framing",
    "LIAConfig",
    "LiaLiveError",
    "Look",
    "MediaError",
    "PolicyConfig",
    "SessionError",
    "StorageError",
    "TrainingError",
    "WeightsError",
    "__version__",
    "face_box",
    "load_model",
]

_HOMES = {
    "Animator": "lia_live.engine",
    "Avatar": "lia_live.avatar",
    "Box": "lia_live.frame",
    "Crop": "lia_live.frame",
    "Direction": "lia_live.model",
    "Face": "lia_live.frame",
    "Frame": "lia_live.frame",
    "Framing": "lia_live.model",
    "LIA": "lia_live.model",
    "LIAConfig": "lia_live.model",
    "Look": "lia_live.model",
    "PolicyConfig": "lia_live.engine",
    "face_box": "lia_live.track",
    "load_model": "lia_live.model",
}
"""Where each name that is looked up late lives: the doors of the rooms."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        found: Any = version("lia-live")
    elif name in _HOMES:
        found = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found  # the next use is a plain look-up
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
