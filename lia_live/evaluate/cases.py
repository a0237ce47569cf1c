"""One clip measured: by itself (absolute, the network alone), or moving another face (relative, the product's path)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from lia_live.avatar.mouths import Mouths
from lia_live.errors import MediaError
from lia_live.evaluate.clips import Clip
from lia_live.evaluate.driven import SETTLE_S, Driven
from lia_live.evaluate.fid import Gallery
from lia_live.evaluate.figures import Figures, Tally, Traces
from lia_live.evaluate.framing import FramedClip, Tick
from lia_live.evaluate.landmarks import landmarks_of
from lia_live.evaluate.nets import Nets
from lia_live.evaluate.picture_measures import l1, trembling
from lia_live.evaluate.transfer import (
    STILL_FRAMES,
    jitter,
    look_at,
    neutral_l1,
    noisy,
    reconstruct,
)
from lia_live.frame import Crop, Frame, Pixels
from lia_live.track.crop import Landmarks

if TYPE_CHECKING:
    from lia_live.avatar import Avatar
    from lia_live.model import LIA
    from lia_live.render import Renderer

CHUNK: Final = 32
"""Frames reconstructed at a time: outputs are judged and let go."""
SHOWN: Final = 8
"""Frames of each clip that the report shows."""


@dataclass(frozen=True, eq=False)
class Case:
    """What came of one clip and one source."""

    clip: str
    source: str
    """Name of the portrait; the clip's own for the same identity."""
    figures: Figures
    traces: Traces
    neutral_l1: float
    """L1 of the source driven by itself, in [0, 1]."""
    jitter_px: float
    """Trembling of the output while the driver is one frame under noise, pixels at 256."""
    driver_jitter_px: float
    """The same of the driver: nothing moves in it, only the landmarks err."""
    faceless: int
    """Frames of the clip without a face; not judged."""
    source_picture: Pixels
    rest_picture: Pixels
    """The source driven by itself."""
    drivers: Sequence[Pixels]
    """Evenly spaced frames of the driver ..."""
    outputs: Sequence[Pixels]
    """... and what became of them."""


def same_identity(model: LIA, framed: FramedClip, nets: Nets, gallery: Gallery, tick: Tick) -> Case:
    """Reconstruct a clip from its first frame: absolute transfer of every frame."""
    crops, source = framed.crops, framed.crops[0]
    mouths = look_at(model, source)
    tally = Tally(source, nets)
    copied = gallery.source(source)
    wanted = _spaced(1, len(crops))
    shown: dict[int, Pixels] = {}
    for begin in range(0, len(crops), CHUNK):
        real = crops[begin : begin + CHUNK]
        for offset, output in enumerate(reconstruct(model, mouths, real)):
            tally.add_real(output, real[offset])
            gallery.add(output, real[offset], copied)
            if begin + offset in wanted:
                shown[begin + offset] = output
            tick()
    trembles, driver_trembles = jitter(model, mouths, crops[len(crops) // 2])
    return Case(
        clip=framed.name,
        source=framed.name,
        figures=tally.figures(),
        traces=tally.traces(),
        neutral_l1=neutral_l1(model, mouths, source),
        jitter_px=trembles,
        driver_jitter_px=driver_trembles,
        faceless=framed.faceless,
        source_picture=source,
        rest_picture=reconstruct(model, mouths, [source])[0],
        drivers=[crops[index] for index in shown],
        outputs=list(shown.values()),
    )


def cross_identity(
    model: LIA,
    renderer: Renderer,
    avatar: Avatar,
    clip: Clip,
    frames: int,
    nets: Nets,
    gallery: Gallery,
    tick: Tick,
) -> Case:
    """Move ``avatar`` with the first ``frames`` of a clip as ``lia-live animate`` does: neutral learned, relative,
    smoothed.

    Raises ``MediaError`` where too little of the clip shows a face.
    """
    tally = Tally(avatar.crop, nets)
    copied = gallery.source(avatar.crop)
    wanted: set[int] = set()
    drivers: list[Pixels] = []
    outputs: list[Pixels] = []
    faceless = 0
    still: Frame | None = None
    with Driven(model, renderer, avatar) as driven:
        driven.learn_neutral(clip.frames(frames))
        for frame in clip.frames(frames):
            output = driven.animate(frame)
            tick()
            crop = driven.crop
            if crop is None:
                faceless += 1
                continue
            if frame.captured_at < SETTLE_S:
                continue
            wanted = wanted or _spaced(frame.number, frames)
            tally.add_driven(output, crop.pixels, _inside(crop))
            gallery.add(output, crop.pixels, copied)
            if frame.number in wanted:
                drivers.append(crop.pixels)
                outputs.append(output)
            if still is None or frame.number <= frames // 2:
                still = frame
        if still is None:
            raise MediaError(
                f"{clip.name} is over before the avatar has eased in", "use a longer clip"
            )
        trembles, driver_trembles = _product_jitter(driven, still, frame.captured_at)
    mouths = Mouths(avatar.look, avatar.mouths, model.directions)
    rest = reconstruct(model, mouths, [avatar.crop])[0]
    return Case(
        clip=clip.name,
        source=avatar.name,
        figures=tally.figures(),
        traces=tally.traces(),
        neutral_l1=l1(rest, avatar.crop),
        jitter_px=trembles,
        driver_jitter_px=driver_trembles,
        faceless=faceless,
        source_picture=avatar.crop,
        rest_picture=rest,
        drivers=drivers,
        outputs=outputs,
    )


def _product_jitter(driven: Driven, still: Frame, after_s: float) -> tuple[float, float]:
    """Trembling of the animated avatar, and of the crops, while the camera shows one frame under noise."""
    settle = STILL_FRAMES // 2  # smoothing and crop come to rest first
    outputs: list[Pixels] = []
    crops: list[Pixels] = []
    for index, picture in enumerate(noisy(still.pixels, settle + STILL_FRAMES)):
        at = after_s + (index + 1) / 25
        made = driven.animate(Frame(picture, at, still.number + index))
        if index >= settle and driven.crop is not None:
            outputs.append(made)
            crops.append(driven.crop.pixels)
    if not outputs:
        return float("nan"), float("nan")
    return (
        trembling([landmarks_of(picture) for picture in outputs], outputs[0].shape[0]),
        trembling([landmarks_of(picture) for picture in crops], crops[0].shape[0]),
    )


def _inside(crop: Crop) -> Landmarks | None:
    """The landmarks in pixels of the crop."""
    if crop.face is None:
        return landmarks_of(crop.pixels)
    scale = crop.pixels.shape[0] / crop.box.side
    corner = np.array([crop.box.x, crop.box.y, 0.0], np.float32)
    return (crop.face.landmarks - corner) * np.float32(scale)


def _spaced(first: int, end: int) -> set[int]:
    """Which frames to show, evenly spaced."""
    return {round(index) for index in np.linspace(first, end - 1, SHOWN)}
