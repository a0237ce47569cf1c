"""From the driver's motion codes to the avatar's: relative or absolute, bounded, and calm without a face.

The whole policy is arithmetic on the coefficients of the learned directions. It owns no clock: every step is
told its time, so tests move it by hand and offline rendering uses the clip's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lia_live.engine.bounds import Axes, SoftRange
from lia_live.engine.neutral import DriverNeutral, HeadShape, Sample, Vector
from lia_live.engine.one_euro import OneEuro
from lia_live.engine.policy_config import Mode, PolicyConfig
from lia_live.engine.retargeting import Retargeting
from lia_live.engine.tracked import Tracked
from lia_live.errors import ConfigError

if TYPE_CHECKING:  # the policy itself needs no torch
    from lia_live.model.directions import Direction

Codes = NDArray[np.float32]
Numbers = NDArray[np.floating[Any]]

EDIT_EASE_S = 0.08
"""Time constant with which edits take effect: a slider moves the face, it does not make it jump."""
SHORTEST_RETURN = 0.25
"""After a dropout of one or two frames the return takes this fraction of ``return_s``."""
BREATH_PERIOD_S = 3.8
BREATH_RAMP_S = 2.0
BREATHING = {"pitch": 1.0, "y": 0.6}
"""Directions that breathe and their share of the amplitude; only weights with labels have them."""

__all__ = ["Codes", "Mode", "MotionPolicy", "PolicyConfig", "Sample"]


class MotionPolicy:
    """Turns what was observed of the driver into the code to render. Stateful.

    ``step``, ``set_rest`` and ``set_network`` belong to the model thread; ``calibrate`` and ``update`` may be
    called from any.
    ``directions``: one per coefficient. ``rest``: (M,) the avatar's own code. ``avatar``: the shape of the
    face in its picture, if known.
    """

    def __init__(
        self,
        config: PolicyConfig,
        directions: Sequence[Direction],
        rest: Numbers,
        avatar: HeadShape | None = None,
    ) -> None:
        self._axes = axes = Axes(directions)
        self._tracked = Tracked(axes)
        self._retargeting = Retargeting(axes)
        self._breath = _breathing(axes)
        self._config = config
        self._check(config)
        self._edits = self._wanted_edits()
        self._pending: PolicyConfig | None = None
        self._filter = OneEuro(axes.scale, config.smooth)

        self._rest = self._checked_rest(rest)
        self._avatar = avatar
        self._range = SoftRange(axes.low, axes.high, self._rest)

        self._neutral = DriverNeutral(self._rest, axes.scale, avatar, config.neutral_window_s)
        self._recalibrate = False

        self._now = -math.inf
        self._out = self._range(self._rest + self._edits)
        self._present = False
        self._lost_at: float | None = None
        self._held = self._out
        self._glide_from: Vector | None = None
        self._glide_began = 0.0
        self._glide_s = 0.0
        self.rejected = 0
        """Codes thrown away because they were not finite or had the wrong shape."""

    # What a controller may do, from any thread

    @property
    def config(self) -> PolicyConfig:
        """In use, or about to be."""
        return self._pending or self._config

    def update(self, config: PolicyConfig) -> None:
        """Use ``config`` from the next step on. Raises ``ConfigError`` if its edits do not fit."""
        self._check(config)
        self._pending = config

    def calibrate(self) -> None:
        """Take a new neutral from the next half second of faces."""
        self._recalibrate = True

    @property
    def calibrated(self) -> bool:
        """A neutral was chosen and is no longer being improved."""
        return self._neutral.locked and not self._recalibrate

    @property
    def neutral_score(self) -> float:
        """Score in [0, 1] of the neutral in use; 0 before the first face."""
        return self._neutral.score

    @property
    def neutral_times(self) -> tuple[float, ...]:
        """When the frames were captured that the neutral in use was found in, best first."""
        return self._neutral.times

    @property
    def face(self) -> bool:
        """The last step had a usable code."""
        return self._present

    # The model thread

    @property
    def settled(self) -> bool:
        """Another step without a face would change nothing: no need to render."""
        if self._present or self._glide_from is not None or self._pending is not None:
            return False
        if not np.array_equal(self._edits, self._wanted_edits()):
            return False
        if self._lost_at is None:
            return True
        still = self._config.breathing == 0 or not self._breath.any()
        done = self._lost_at + self._config.hold_s + self._config.ease_s
        return still and self._now >= done

    def set_rest(self, rest: Numbers, avatar: HeadShape | None = None) -> None:
        """Another avatar: its own code (M,) and shape. The driver's neutral stays."""
        before = self._rest + self._retargeting.taken(self._avatar)
        self._rest, self._avatar = self._checked_rest(rest), avatar
        self._range = SoftRange(self._axes.low, self._axes.high, self._rest)
        if self._config.mode == "relative":  # the same motion, about the new rest
            shift = self._rest + self._retargeting.taken(avatar) - before
            self._out = self._out + shift
            self._held = self._held + shift
            if self._glide_from is not None:
                self._glide_from = self._glide_from + shift
        if not self._present and self._lost_at is None:
            self._out = self._range(self._rest + self._edits)

    def set_network(
        self,
        directions: Sequence[Direction],
        rest: Numbers,
        avatar: HeadShape | None,
        neutral: Iterable[Sample],
    ) -> None:
        """An avatar of another network: codes from before mean nothing to it; the settings and the driver stay.

        ``neutral``: what that network makes of the moments at ``neutral_times``; without any, the neutral is
        looked for anew. Edits stay with the directions of the same name.
        """
        before, self._axes = self._axes, Axes(directions)
        self._tracked = Tracked(self._axes)
        self._retargeting = Retargeting(self._axes)
        self._breath = _breathing(self._axes)
        self._rest, self._avatar = self._checked_rest(rest), avatar
        self._range = SoftRange(self._axes.low, self._axes.high, self._rest)
        self._config = self._moved(self._config, before)
        if self._pending is not None:
            self._pending = self._moved(self._pending, before)
        self._edits = self._wanted_edits()
        self._filter = OneEuro(self._axes.scale, self._config.smooth)
        self._neutral.move(self._samples(neutral), self._rest, self._axes.scale, avatar)
        self._out = self._held = self._range(self._rest + self._edits)
        self._glide_from = None

    def learn_neutral(self, samples: Iterable[Sample | tuple[Numbers, HeadShape | None]]) -> float:
        """Choose the neutral from (code, shape) samples and keep it; returns the score of the one in use."""
        usable = self._samples(Sample(*sample) for sample in samples)
        if usable:
            self._neutral.learn(usable, self._rest, self._avatar)
        return self._neutral.score

    def step(self, alpha: Numbers | None, shape: HeadShape | None, now: float) -> Codes:
        """The code to render, (M,) float32, finite.

        ``alpha``: (M,) the driver's code, None without a face; one that is not finite or has another shape
        counts as no face. ``shape``: of the driver's face, if known. ``now``: seconds; never goes back.
        """
        passed = 0.0 if math.isinf(self._now) else max(0.0, now - self._now)
        self._now = now = max(now, self._now)
        self._apply_pending()
        self._ease_edits(passed)
        code = self._usable(alpha)
        if code is None:
            goal = self._absent(now, passed)
        else:
            goal = self._driven(code, shape, now, passed)
        self._out = self._glided(goal, now)
        return self._out.astype(np.float32)

    # With a face

    def _usable(self, alpha: Numbers | None) -> Vector | None:
        if alpha is None:
            return None
        if np.shape(alpha) != self._rest.shape or not np.isfinite(alpha).all():
            self.rejected += 1
            return None
        return np.asarray(alpha, dtype=np.float64)

    def _samples(self, found: Iterable[Sample]) -> list[Sample]:
        """Those that can be used, what the tracker measured in them."""
        usable = ((sample, self._usable(sample.code)) for sample in found)
        return [
            sample._replace(code=self._tracked.still(code, sample.shape))
            for sample, code in usable
            if code is not None
        ]

    def _driven(self, code: Vector, shape: HeadShape | None, now: float, passed: float) -> Vector:
        if not self._present:
            self._arrive(now)
        if self._recalibrate:
            self._recalibrate = False
            self._neutral.restart(self._rest, self._avatar)
        measured = self._tracked(code, shape)
        neutral = self._neutral.follow(measured, shape, now, passed)
        relative = self._config.mode == "relative"
        # absolute: driver and avatar both as measured, or both as encoded
        is_measured = shape is not None and (relative or self._avatar is not None)
        code = self._filter(measured if is_measured else code, now)
        if relative:
            motion = self._retargeting.about(
                code - neutral, self._config.strength, neutral, self._avatar, passed
            )
        else:
            self._retargeting.calm_down(passed)
            own = self._tracked.still(self._rest, self._avatar) if is_measured else self._rest
            motion = self._config.strength * (code - own)
        if is_measured:
            motion = self._retargeting.narrowed(motion, self._avatar)
        return self._range(self._rest + motion + self._edits)

    def _arrive(self, now: float) -> None:
        """A face came (back): start the way from the present pose to the driver's."""
        share = 1.0
        if self._lost_at is not None and self._config.hold_s > 0:
            share = min(1.0, max(SHORTEST_RETURN, (now - self._lost_at) / self._config.hold_s))
        self._present, self._lost_at = True, None
        self._filter.reset()
        self._tracked.forget()
        self._glide(now, share)

    # Without

    def _absent(self, now: float, passed: float) -> Vector:
        if self._present:
            self._present, self._lost_at = False, now
            self._held, self._glide_from = self._out, None
        if self._lost_at is None:
            return self._range(self._rest + self._edits)
        gone = now - self._lost_at - self._config.hold_s
        if gone < 0:
            return self._held
        self._retargeting.calm_down(passed)
        breath = self._breath * self._config.breathing * _breath(gone - self._config.ease_s)
        calm = self._range(self._rest + self._edits + breath)
        return self._held + _smoothstep(gone, self._config.ease_s) * (calm - self._held)

    # Shared

    def _glide(self, now: float, share: float = 1.0) -> None:
        self._glide_from, self._glide_began = self._out, now
        self._glide_s = share * self._config.return_s

    def _glided(self, goal: Vector, now: float) -> Vector:
        if self._glide_from is None:
            return goal
        share = _smoothstep(now - self._glide_began, self._glide_s)
        out = self._glide_from + share * (goal - self._glide_from)
        if share >= 1:
            self._glide_from = None
        return out

    def _apply_pending(self) -> None:
        config, self._pending = self._pending, None
        if config is None:
            return
        before, self._config = self._config, config
        self._filter.smooth = config.smooth
        if config.mode != before.mode:
            self._glide(self._now)

    def _wanted_edits(self) -> Vector:
        count = len(self._axes.low)
        edits = self._config.edits
        if len(edits) != count:  # none, or set in the very moment in which another network came
            return np.zeros(count)
        return np.array(edits, dtype=np.float64)

    def _moved(self, config: PolicyConfig, before: Axes) -> PolicyConfig:
        """``config``, its edits for the directions of the network on stage."""
        if not config.edits or before.names == self._axes.names:
            return config
        return replace(config, edits=self._axes.edits_from(before, config.edits))

    def _ease_edits(self, passed: float) -> None:
        wanted = self._wanted_edits()
        left = math.exp(-passed / EDIT_EASE_S) * (self._edits - wanted)
        self._edits = np.where(np.abs(left) < 1e-3 * self._axes.scale, wanted, wanted + left)

    def _check(self, config: PolicyConfig) -> None:
        if config.edits and len(config.edits) != len(self._axes.low):
            raise ConfigError(
                f"engine.edits must have {len(self._axes.low)} numbers, one a direction, got {len(config.edits)}"
            )

    def _checked_rest(self, rest: Numbers) -> Vector:
        if np.shape(rest) != self._axes.low.shape or not np.isfinite(rest).all():
            raise ValueError(
                f"rest must be {self._axes.low.shape} finite numbers, got shape {np.shape(rest)}"
            )
        return np.array(rest, dtype=np.float64)


def _breathing(axes: Axes) -> Vector:
    """(M,) how far each direction breathes at amplitude 1."""
    amplitude: Vector = axes.scale * [BREATHING.get(name, 0.0) for name in axes.names]
    return amplitude


def _smoothstep(passed: float, whole: float) -> float:
    """0 to 1 over ``whole`` seconds, flat at both ends."""
    if passed >= whole:
        return 1.0
    share = max(0.0, passed / whole)
    return share * share * (3 - 2 * share)


def _breath(passed: float) -> float:
    """The breath ``passed`` seconds after it set in, in [-1, 1], growing from nothing."""
    if passed <= 0:
        return 0.0
    return _smoothstep(passed, BREATH_RAMP_S) * math.sin(2 * math.pi * passed / BREATH_PERIOD_S)
