"""A pipeline of doubles, for the tests of the loop."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from lia_live.engine import Output, Pipeline, PipelineConfig, PolicyConfig
from lia_live.model.directions import Direction
from tests.doubles import (
    ListSink,
    ListSource,
    ScriptedRenderer,
    ScriptedTracker,
    camera_picture,
    scripted_avatar,
    tiny_config,
)

CONFIG = tiny_config()
DIRECTIONS = Direction.unlabelled(CONFIG.motion_dim)
GREEN, BLUE = (20, 150, 60), (30, 60, 180)
QUICK = PolicyConfig(smooth=0.0, hold_s=0.1, ease_s=0.1, return_s=0.0)


def camera(fps: float = 60, loop: bool = True, count: int = 1) -> ListSource:
    """A camera that shows nothing but the colour that must not come out."""
    return ListSource([camera_picture()] * count, fps=fps, loop=loop)


def pipeline(
    source: Any = None,
    *,
    tracker: Any = None,
    renderer: Any = None,
    avatars: Sequence[Any] | None = None,
    sinks: Sequence[ListSink | Output] = (),
    **config: Any,
) -> Pipeline:
    """A run at 60 pictures a second; every part may be replaced."""
    config.setdefault("fps", 60.0)
    config.setdefault("policy", QUICK)
    config.setdefault("join_s", 3.0)
    return Pipeline(
        source or camera(),
        tracker or ScriptedTracker(CONFIG.size),
        renderer or ScriptedRenderer(),
        [scripted_avatar()] if avatars is None else avatars,
        sinks or [ListSink()],
        PipelineConfig(**config),
        directions=DIRECTIONS,
        shape_of=None,
    )


def corner(pixels: np.ndarray) -> tuple[int, ...]:
    """The avatar's colour: right below the middle of its square."""
    return tuple(int(v) for v in pixels[60, 90])


def lia_threads() -> list[str]:
    """Threads of any pipeline that are alive."""
    return [t.name for t in threading.enumerate() if t.name.startswith("lia-")]
