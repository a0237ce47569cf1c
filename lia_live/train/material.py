"""What a fine-tuning has to work with: the avatar's picture, a clip or photographs, and what is held out of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lia_live.avatar import Avatar
from lia_live.errors import AvatarError, MediaError
from lia_live.frame import Pixels
from lia_live.model import to_pixels
from lia_live.model.config import Framing
from lia_live.puppet.lips import GAPS, moved_apart
from lia_live.puppet.maps import pixel_middles
from lia_live.train.clip_pairs import ClipPairs, ClipPairsConfig
from lia_live.train.clips import Clips, starts_of
from lia_live.train.clips import join as join_clips
from lia_live.train.data import Data, fingerprint
from lia_live.train.motion import smooth_motion
from lia_live.train.performer import Performer
from lia_live.train.portraits import Portraits, join
from lia_live.train.prepare_portrait import EYE_CORNERS
from lia_live.train.prepared import Prepared

HELD_OUT_SHARE: Final = 0.3
"""Of a clip's end: never trained on, decides whether the result is kept."""
VALIDATION_SHARE: Final = 0.1
"""Of a clip, before that: not trained on either, decides when to stop."""
LEAST_FRAMES: Final = 20
SAME_SCENE: Final = 0.06
"""Mean difference in [0, 1] up to which the avatar's picture counts as a moment of the clip."""
SAME_PICTURE: Final = 0.04
"""The same for a photograph that is the avatar's own."""
PERFORMANCE_S: Final = 6.0
"""Length of the held-out performances where there is no clip."""
PERFORMANCE_FPS: Final = 6.0
SEEDS: Final = {"validation": 101, "held out": 202}


@dataclass(frozen=True)
class Test:
    """A driver and what should come out of it, frame by frame."""

    source: Pixels
    """(S, S, 3) uint8 RGB: the picture that is animated."""
    real: list[Pixels]
    """What the driver shows, which is also what the output should show."""


@dataclass(frozen=True)
class Material:
    """Everything of one fine-tuning, split."""

    data: Data
    validation: Test
    held_out: Test
    has_clip: bool
    kind: str
    """In words, for the report."""
    tested_on: str
    """What the verdict is about, in words."""


def from_clip(avatar: Avatar, clips: Clips, device: torch.device | str = "cpu") -> Material:
    """Clips of the person, the longest of which is split. Raises ``MediaError`` for one that is too short.

    Held out is its end, or its beginning where the avatar's picture is a moment of the end. The source of both
    tests is that moment, or else the first frame that is trained on.
    """
    longest = int(clips.lengths.argmax())
    every = [clips.select(torch.tensor([number])) for number in range(len(clips))]
    others = [_led_by(one, one, 0) for number, one in enumerate(every) if number != longest]
    clip = every[longest]
    frames = len(clip.frames)
    if frames < LEAST_FRAMES:
        raise MediaError(
            f"{clip.names[0]}: {frames} usable frames are too few, {LEAST_FRAMES} are the least",
            "record ten seconds of yourself talking and turning your head",
        )
    moment = moment_of(avatar, clip)
    held, validation = round(frames * HELD_OUT_SHARE), round(frames * VALIDATION_SHARE)
    if moment is not None and moment >= frames - held - validation:
        spans = (held + validation, frames), (held, held + validation), (0, held)
    else:
        last = frames - held
        spans = (0, last - validation), (last - validation, last), (last, frames)
    (first, end), *tests = spans
    shown = first if moment is None else moment
    training = _led_by(_cut(clip, first, end), clip, shown)
    pictures = [np.ascontiguousarray(frame) for frame in clip.frames.permute(0, 2, 3, 1).numpy()]
    portrait = _portrait(avatar)
    pairs = ClipPairs(
        join_clips([training, *others]),
        device,
        ClipPairsConfig(first_source=0.5, first_frames=len(GAPS), reframe=0.3),
    )
    validated, judged = (Test(pictures[shown], pictures[start:stop]) for start, stop in tests)
    seconds = float((clips.lengths / clips.fps).sum())
    is_moment = "of which the portrait is a moment" if moment is not None else "beside the portrait"
    return Material(
        Data(
            Performer(portrait, device, looks=True),
            pairs,
            None,
            fingerprint(Prepared(portrait, clips)),
        ),
        validated,
        judged,
        has_clip=True,
        kind=f"{seconds:.1f} s of video, {is_moment}",
        tested_on="frames of the video that were neither trained on nor looked at to decide when to stop",
    )


def from_pictures(
    avatar: Avatar, others: Sequence[Portraits], device: torch.device | str = "cpu"
) -> Material:
    """The avatar's picture, and maybe more photographs of the person, performing.

    The avatar's own photograph among the others is left out. With four others or more, one is kept for
    deciding when to stop and one for the verdict; otherwise those are other performances of the avatar's picture.
    """
    portrait = _portrait(avatar)
    distinct = [one for one in others if _distance(one.images, portrait.images) > SAME_PICTURE]
    kept, tested = distinct, [portrait, portrait]
    tested_on = "other synthetic performances of the same picture: nothing real was held out"
    if len(distinct) >= 4:
        kept, tested = distinct[:-2], distinct[-2:]
        tested_on = "synthetic performances of a photograph that was not trained on"
    trained = join([portrait, *kept])
    size = avatar.crop.shape[0]
    photographs = f"{1 + len(distinct)} photographs" if distinct else "one photograph"
    return Material(
        Data(
            Performer(trained, device, looks=True),
            None,
            None,
            fingerprint(Prepared(trained, None)),
        ),
        _performed(tested[0], "validation", size),
        _performed(tested[1], "held out", size),
        has_clip=False,
        kind=f"synthetic performances of {photographs}",
        tested_on=tested_on,
    )


def _performed(portrait: Portraits, what: str, size: int) -> Test:
    """A portrait at rest, and a smooth performance of it."""
    performer = Performer(portrait)
    generator = torch.Generator().manual_seed(SEEDS[what])
    own = performer.rig.own[0]
    theta = smooth_motion(PERFORMANCE_S, PERFORMANCE_FPS, generator, neutral=own)
    rest = performer.perform(0, own[None], size)
    return Test(_rgb(rest)[0], _rgb(performer.perform(0, theta, size)))


def moment_of(avatar: Avatar, clip: Clips) -> int | None:
    """The frame of a clip that the avatar's picture shows; None where it shows another scene.

    Each frame is cut as the avatar's picture was, around its own face, and compared with it.
    """
    if avatar.face_landmarks is None:
        return None
    side, small = clip.side, 64
    corners = list(EYE_CORNERS)
    eyes = clip.landmarks[:, corners, :2]  # (F, 2, 2)
    own = torch.tensor(avatar.face_landmarks)[corners, :2] / avatar.crop.shape[0]
    scale = (eyes[:, 1] - eyes[:, 0]).norm(dim=1) / side / (own[1] - own[0]).norm()  # (F,)
    offset = eyes.mean(1) / side - scale[:, None] * own.mean(0)  # (F, 2)
    plane = pixel_middles(small).permute(1, 2, 0)
    places = plane * scale[:, None, None, None] + offset[:, None, None]  # (F, small, small, 2)
    inside = ((places > 0) & (places < 1)).all(3).float()
    reduced = functional.interpolate(clip.frames.float(), size=(small, small), mode="area")
    cut = functional.grid_sample(reduced, places * 2 - 1, align_corners=False)
    picture = torch.tensor(avatar.crop).permute(2, 0, 1)[None].float()
    picture = functional.interpolate(picture, size=(small, small), mode="area")
    away = ((cut - picture).abs().mean(1) * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)
    best = int(away.argmin())
    return best if float(away[best]) / 255 < SAME_SCENE else None


def _led_by(training: Clips, clip: Clips, frame: int) -> Clips:
    """``training`` with a frame of ``clip`` before it, its lips apart in all the ways of an avatar: pairs whose source
    is the first frame have one of these.
    """
    shown = moved_apart(
        clip.frames[frame].permute(1, 2, 0).numpy(), clip.landmarks[frame].numpy(), Framing()
    )
    pictures = torch.stack([torch.tensor(one.picture).permute(2, 0, 1) for one in shown])
    landmarks = torch.stack([torch.tensor(one.landmarks) for one in shown])
    return replace(
        training,
        frames=torch.cat([pictures, training.frames]),
        landmarks=torch.cat([landmarks, training.landmarks]),
        starts=starts_of([len(training.frames) + len(shown)]),
    )


def _distance(first: Tensor, second: Tensor) -> float:
    """Mean difference of two pictures (1, 3, P, P) uint8 of one framing, whatever their sizes, in [0, 1]."""
    small = [
        functional.interpolate(picture.float(), size=(32, 32), mode="area")
        for picture in (first, second)
    ]
    return float((small[0] - small[1]).abs().mean()) / 255


def _portrait(avatar: Avatar) -> Portraits:
    """The avatar's crop with its landmarks. Raises ``AvatarError`` for a framing without a face."""
    if avatar.face_landmarks is None:
        raise AvatarError(
            "these weights frame the whole picture: there is no face to perform",
            "fine-tune weights whose framing is a face",
        )
    return Portraits(
        torch.tensor(avatar.crop).permute(2, 0, 1)[None].contiguous(),
        torch.tensor(avatar.face_landmarks)[None],
        (avatar.name,),
        ("",),
        torch.zeros(1, dtype=torch.bool),
    )


def _cut(clip: Clips, first: int, last: int) -> Clips:
    return replace(
        clip,
        frames=clip.frames[first:last],
        landmarks=clip.landmarks[first:last],
        starts=starts_of([last - first]),
    )


def _rgb(frames: Tensor) -> list[Pixels]:
    """(F, 3, S, S) in [-1, 1] -> (S, S, 3) uint8 each."""
    return [np.ascontiguousarray(frame) for frame in to_pixels(frames)]
