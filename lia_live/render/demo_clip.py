"""Real crops that every installation has: frames of the shipped demo clip, in which a head moves and speaks."""

from __future__ import annotations

from importlib import resources

import numpy as np

from lia_live.frame import Pixels


def demo_crops(size: int, count: int) -> Pixels:
    """(count, size, size, 3) uint8 RGB, spread over the clip: square, the face about as the default framing cuts it."""
    import av

    clip = resources.files("lia_live") / "weights" / "demo" / "driver.mp4"
    with resources.as_file(clip) as path, av.open(str(path)) as container:
        step = max(1, container.streams.video[0].frames // count)
        crops = [
            frame.to_ndarray(width=size, height=size, format="rgb24")
            for number, frame in enumerate(container.decode(video=0))
            if number % step == 0
        ]
    return np.stack(crops[:count]).astype(np.uint8)
