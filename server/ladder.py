"""How much is sent: bit rate, picture size and rate, by what the far end reports. Pure arithmetic, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LOWEST_BPS: Final = 110_000
"""With packet headers this fits a link of 150 kbit/s."""
CLAMP_BPS: Final = (150_000, 2_500_000)
"""What a face is worth on a link in order; below the lower end only on one that is seen to be choked."""
FIRST_BPS: Final = 900_000
TRUSTED_REMB_BPS: Final = 300_000
"""A lower estimate of the receiver counts only if loss or delay bear it out: a static picture makes it shrink."""

LOSS_QUIET: Final = 0.03
LOSS_CHOKED: Final = 0.33
"""More than any radio link loses on its own: a queue that overflows."""
LOSS_DOUBTFUL: Final = 0.12
"""Enough to be a queue that overflows, if the delay has grown too."""
DELAY_GROWN_S: Final = 0.12
"""Round trip above its own least: a queue that fills."""
BACK_OFF: Final = 0.8
GROWTH_PER_S: Final = 1.5
HOLD_S: Final = 2.0
"""After a step down nothing grows for so long."""
FORGET_RTT_PER_S: Final = 0.004
"""The least round trip drifts up so fast: a path may have become longer."""


@dataclass(frozen=True)
class Rung:
    """What is asked of encoder and picture."""

    bitrate_bps: int
    side_px: int
    fps: float


STEPS: Final = ((500_000, 1.0, 1.0), (320_000, 0.84, 1.0), (200_000, 0.67, 0.84), (0, 0.5, 0.5))
"""From so many bit/s on: this part of the full side, this part of the full rate."""
LIKE_STEP: Final = 1.15
"""A step up is taken only with so much more than it needs: no flapping between two sizes."""


class Ladder:
    """The target of one sender. Event loop only.

    ``side_px``, ``fps``: of the best link.
    """

    def __init__(self, side_px: int, fps: float) -> None:
        self._side_px, self._fps = side_px, fps
        self._bps = float(FIRST_BPS)
        self._remb_bps: float | None = None
        self._least_rtt: float | None = None
        self._hold_until = 0.0
        self._at: float | None = None
        self._step = 0

    def remb(self, bps: float) -> None:
        """The receiver's own estimate of the link, bit/s."""
        self._remb_bps = bps

    def report(self, now: float, loss: float, rtt_s: float | None, sent_bps: float) -> None:
        """A receiver report came. ``loss``: fraction since the one before; ``sent_bps``: sent meanwhile."""
        passed = 1.0 if self._at is None else min(max(now - self._at, 0.0), 3.0)
        self._at = now
        grown = self._grown(rtt_s, passed)
        choked = loss >= LOSS_CHOKED or grown or (loss >= LOSS_DOUBTFUL and self._remb_is_low())
        if choked:
            arrived = sent_bps * (1 - loss)
            known = min(self._bps, arrived) if arrived > 0 else self._bps
            self._bps = max(LOWEST_BPS, BACK_OFF * known)
            self._hold_until = now + HOLD_S
        elif now >= self._hold_until and loss <= LOSS_QUIET:
            self._bps *= GROWTH_PER_S**passed
        self._bps = min(max(self._bps, LOWEST_BPS), self._ceiling(choked))

    def _grown(self, rtt_s: float | None, passed: float) -> bool:
        if rtt_s is None:
            return False
        least = self._least_rtt
        least = rtt_s if least is None else min(rtt_s, least + FORGET_RTT_PER_S * passed)
        self._least_rtt = least
        return rtt_s - least > DELAY_GROWN_S

    def _remb_is_low(self) -> bool:
        return self._remb_bps is not None and self._remb_bps < TRUSTED_REMB_BPS

    def _ceiling(self, choked: bool) -> float:
        ceiling = float(CLAMP_BPS[1])
        if self._remb_bps is not None:
            floor = LOWEST_BPS if choked else TRUSTED_REMB_BPS
            ceiling = min(ceiling, max(self._remb_bps, floor))
        return ceiling

    def rung(self) -> Rung:
        """What to send now."""
        bps = self._bps
        while self._step + 1 < len(STEPS) and bps < STEPS[self._step][0]:
            self._step += 1
        while self._step > 0 and bps >= LIKE_STEP * STEPS[self._step - 1][0]:
            self._step -= 1
        _, size, rate = STEPS[self._step]
        side = max(96, round(self._side_px * size / 16) * 16) if size < 1 else self._side_px
        return Rung(round(bps), min(side, self._side_px), self._fps * rate)
