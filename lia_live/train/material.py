"""What a fine-tuning has to work with: the avatar's picture, a clip or photographs, and what is held out of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from lia_live.avatar import Avatar
from lia_live.errors import AvatarError, MediaError
from lia_live.frame import Pixels
from lia_live.model import to_pixels
from lia_live.train.clip_pairs import ClipPairs, ClipPairsConfig
from lia_live.train.clips import Clips, starts_of
from lia_live.train.data import Data
from lia_live.train.motion import smooth_motion
from lia_live.train.performer import Performer
from lia_live.train.portraits import Portraits, join

HELD_OUT_SHARE: Final = 0.3
"""Of a clip's end: never trained on, decides whether the result is kept."""
VALIDATION_SHARE: Final = 0.1
"""Of a clip, before that: not trained on either, decides when to stop."""
LEAST_FRAMES: Final = 20
SAME_SCENE: Final = 0.07
"""Mean difference in [0, 1] up to which the avatar's picture counts as a moment of the clip."""
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


def from_clip(avatar: Avatar, clip: Clips) -> Material:
    """A clip of the person. Raises ``MediaError`` for one that is too short to hold anything out."""
    frames = len(clip.frames)
    if frames < LEAST_FRAMES:
        raise MediaError(
            f"{clip.names[0]}: {frames} usable frames are too few, {LEAST_FRAMES} are the least",
            "record ten seconds of yourself talking and turning your head",
        )
    held = round(frames * (1 - HELD_OUT_SHARE))
    validation = round(frames * (1 - HELD_OUT_SHARE - VALIDATION_SHARE))
    training = _cut(clip, 0, validation)
    source = _pictures(clip.frames[:1])[0]
    portrait = _portrait(avatar)
    if _is_moment_of(avatar.crop, training):
        source = avatar.crop
        training = replace(
            training,
            frames=torch.cat([portrait.images, training.frames]),
            landmarks=torch.cat([portrait.landmarks, training.landmarks]),
            starts=starts_of([validation + 1]),
        )
    config = ClipPairsConfig(first_source=0.5, reframe=0.3)
    data = Data(Performer(portrait), ClipPairs(training, config=config), None, _name(clip.frames))
    pictures = _pictures(clip.frames)
    return Material(
        data,
        Test(source, pictures[validation:held]),
        Test(source, pictures[held:]),
        has_clip=True,
        kind=f"a clip of {frames} frames ({frames / float(clip.fps[0]):.1f} s)",
    )


def from_pictures(avatar: Avatar, others: Sequence[Portraits]) -> Material:
    """The avatar's picture, and maybe more photographs of the person, performing.

    With three photographs or more a fifth of them is held out; otherwise the held-out performances are
    other performances of the avatar's picture.
    """
    portrait = _portrait(avatar)
    held = max(1, len(others) // 5) if len(others) >= 3 else 0
    kept = list(others[: len(others) - held])
    performer = Performer(join([portrait, *kept]))
    tested = Performer(join(list(others[len(others) - held :]))) if held else Performer(portrait)
    size = avatar.crop.shape[0]
    photographs = f"{1 + len(others)} photographs" if others else "one photograph"
    return Material(
        Data(performer, None, None, _name(portrait.images)),
        _performed(tested, "validation", size),
        _performed(tested, "held out", size),
        has_clip=False,
        kind=f"synthetic performances of {photographs}",
    )


def _performed(performer: Performer, what: str, size: int) -> Test:
    """A portrait at rest, and a smooth performance of it."""
    generator = torch.Generator().manual_seed(SEEDS[what])
    own = performer.rig.own[0]
    theta = smooth_motion(PERFORMANCE_S, PERFORMANCE_FPS, generator, neutral=own)
    rest = performer.perform(0, own[None], size)
    return Test(_rgb(rest)[0], _rgb(performer.perform(0, theta, size)))


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


def _is_moment_of(crop: Pixels, clip: Clips) -> bool:
    """Whether a picture of the same size shows the clip's scene: same clothes, light and place."""
    if clip.frames.shape[-1] != crop.shape[0]:
        return False
    picture = torch.tensor(crop).permute(2, 0, 1)[:, ::4, ::4].float()
    away = (clip.frames[:, :, ::4, ::4].float() - picture).abs().mean((1, 2, 3)) / 255
    return bool(away.min() < SAME_SCENE)


def _cut(clip: Clips, first: int, last: int) -> Clips:
    return replace(
        clip,
        frames=clip.frames[first:last],
        landmarks=clip.landmarks[first:last],
        starts=starts_of([last - first]),
    )


def _pictures(frames: Tensor) -> list[Pixels]:
    """(F, 3, S, S) uint8 -> (S, S, 3) each."""
    return [np.ascontiguousarray(frame) for frame in frames.permute(0, 2, 3, 1).numpy()]


def _rgb(frames: Tensor) -> list[Pixels]:
    """(F, 3, S, S) in [-1, 1] -> (S, S, 3) uint8 each."""
    return [np.ascontiguousarray(frame) for frame in to_pixels(frames)]


def _name(pictures: Tensor) -> str:
    """16 hex digits of what is trained on: a resumed fine-tuning must find the same."""
    return hashlib.sha256(pictures.contiguous().numpy().tobytes()).hexdigest()[:16]
