"""A whole evaluation: every clip by itself, every clip moving other faces; what could not be used, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from lia_live.errors import AvatarError, ConfigError, MediaError, StorageError
from lia_live.evaluate.cases import Case, cross_identity, same_identity
from lia_live.evaluate.clips import Clip, Skipped
from lia_live.evaluate.fid import Gallery
from lia_live.evaluate.framing import Tick, frame_clip
from lia_live.evaluate.nets import Nets

if TYPE_CHECKING:
    from lia_live.avatar import Avatar
    from lia_live.frame import Pixels
    from lia_live.model import LIA
    from lia_live.render import Renderer

MOVING_AKD_PX: Final = 4.0
"""A clip whose static copy is off by at least this much (AKD, pixels at 256) counts as moving. Below it, hardly
anything happens, and showing the source all the time scores as well as the best of networks."""

Say = Callable[[str], None]
"""Told where the work is, once a frame; what it raises ends the work."""


@dataclass(frozen=True)
class EvaluateConfig:
    """How much is measured."""

    limit_frames: int = 300
    """Frames of each clip, from its beginning; 10 to 100000."""
    sources: int = 3
    """Portraits that each clip moves, taken in turn; 0 (no cross-identity transfer) to 1000."""

    def __post_init__(self) -> None:
        if not 10 <= self.limit_frames <= 100_000:
            raise ConfigError(
                f"limit-frames must be in [10, 100000], got {self.limit_frames}",
                "300 are ten seconds and tell enough",
            )
        if not 0 <= self.sources <= 1000:
            raise ConfigError(f"sources must be in [0, 1000], got {self.sources}")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What came out."""

    weights: str
    """Name of the model."""
    fingerprint: str
    licence: str
    size: int
    """Side of its pictures, pixels."""
    engine: str
    """What ran it in the cross-identity transfers."""
    config: EvaluateConfig
    same: Sequence[Case]
    cross: Sequence[Case]
    same_fid: tuple[float, float]
    """Of outputs and of static copies."""
    cross_fid: tuple[float, float]
    skipped: Sequence[Skipped]
    missing: dict[str, str]
    """Measures whose networks were not given, and how to get them."""
    took_s: float

    def moving(self, clip: str) -> bool:
        """Does the clip of that name move enough to tell a network from the static copy?"""
        return any(
            case.clip == clip and case.figures.static_akd >= MOVING_AKD_PX for case in self.same
        )


@dataclass(frozen=True, eq=False)
class Source:
    """A face to be moved."""

    name: str
    picture: Path | Pixels
    clip: str = ""
    """The clip that it was taken from, if any: that one does not move it."""


@dataclass
class Sources:
    """Hands out avatars in turn, so that all portraits are used alike; each is read when it is needed."""

    model: LIA
    sources: Sequence[Source]
    skipped: list[Skipped]
    """Takes those that are no portrait."""
    _at: int = 0
    _bad: set[str] = field(default_factory=set)

    def next(self, count: int, apart_from: str) -> Iterator[Avatar]:
        """The next ``count`` avatars, none twice, none from the clip ``apart_from``; fewer if there are not so many."""
        from lia_live.avatar import Avatar

        given = 0
        for _ in range(len(self.sources)):
            if given == count:
                return
            source = self.sources[self._at % len(self.sources)]
            self._at += 1
            if source.name in self._bad or (source.clip and source.clip == apart_from):
                continue
            try:
                avatar = Avatar.from_image(source.picture, self.model, name=Path(source.name).stem)
            except (AvatarError, MediaError, StorageError) as error:
                self._bad.add(source.name)
                self.skipped.append(Skipped.because(source.name, error))
                continue
            given += 1
            yield avatar


def evaluate(
    model: LIA,
    renderer: Renderer,
    clips: Sequence[Clip],
    portraits: Sequence[Path] | None,
    config: EvaluateConfig,
    nets: Nets,
    say: Say,
    skipped: Sequence[Skipped] = (),
) -> Evaluation:
    """Measure ``model`` on ``clips``; ``renderer`` runs it where the product's own path is measured.

    ``portraits``: pictures that the clips move; None takes the first frames of the other clips. ``skipped``: what
    was left out before. Raises ``MediaError`` where no clip can be used.
    """
    began = perf_counter()
    left_out = list(skipped)
    gallery, driven = Gallery(nets.features), Gallery(nets.features)
    same: list[Case] = []
    usable: list[tuple[Clip, int]] = []
    faces: list[Source] = []
    for number, clip in enumerate(clips):
        tick = _ticker(say, f"clip {number + 1} of {len(clips)}, {clip.name}")
        try:
            framed = frame_clip(
                clip, model.config.framing, model.config.size, config.limit_frames, tick
            )
        except (MediaError, StorageError) as error:
            left_out.append(Skipped.because(clip.path.name, error))
            continue
        same.append(same_identity(model, framed, nets, gallery, tick))
        usable.append((clip, framed.frames))
        faces.append(Source(framed.name, framed.first, framed.name))
    if not same:
        raise _nothing(left_out)
    if portraits is not None:
        faces = [Source(path.name, path) for path in portraits]
    found = Sources(model, faces, left_out)
    cross: list[Case] = []
    for number, (clip, frames) in enumerate(usable):
        for avatar in found.next(config.sources, apart_from=same[number].clip):
            tick = _ticker(say, f"driver {number + 1} of {len(usable)}, {clip.name}, {avatar.name}")
            try:
                cross.append(
                    cross_identity(model, renderer, avatar, clip, frames, nets, driven, tick)
                )
            except MediaError as error:
                left_out.append(Skipped.because(f"{clip.name} driving {avatar.name}", error))
    return Evaluation(
        weights=model.name,
        fingerprint=model.fingerprint,
        licence=model.licence,
        size=model.config.size,
        engine=renderer.description,
        config=config,
        same=same,
        cross=cross,
        same_fid=gallery.figures(),
        cross_fid=driven.figures(),
        skipped=left_out,
        missing=nets.missing(),
        took_s=perf_counter() - began,
    )


def _ticker(say: Say, what: str) -> Tick:
    """Counts the frames of one piece of work."""
    count = 0

    def tick() -> None:
        nonlocal count
        count += 1
        say(f"{what}: {count}")

    return tick


def _nothing(skipped: Sequence[Skipped]) -> MediaError:
    if not skipped:
        return MediaError("there is no clip to evaluate on", "name videos, or a folder of them")
    first = skipped[0]
    others = f", and {len(skipped) - 1} more" if len(skipped) > 1 else ""
    return MediaError(
        f"none of the clips can be used: {first.name}: {first.reason}{others}",
        "name videos that show one face, a folder of them, or a folder of folders of frames",
    )
