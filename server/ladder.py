"""How much is sent: bit rate, picture size and rate, by what the far end reports. Pure arithmetic, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LOWEST_BPS: Final = 90_000
"""With headers, and some of it sent again, this fits a link of 150 kbit/s."""
CLAMP_BPS: Final = 2_500_000
"""More than a face is worth on the best link."""
FIRST_BPS: Final = 900_000
REMB_SLACK: Final = 2.0
REMB_FLOOR_BPS: Final = 490_000
"""The receiver's estimate grows slowly, and shrinks with a picture that stands still. So it bounds what is sent only
by a multiple, and never to less than this."""

LOSS_QUIET: Final = 0.03
LOSS_CHOKED: Final = 0.33
"""More than any radio link loses on its own: a queue that overflows."""
DELAY_GROWN_S: Final = 0.12
"""Round trip above its own least: a queue that fills."""
ENOUGH_BPS: Final = 60_000
"""Who sends less than this does not fill a link."""
BACK_OFF: Final = 0.8
GROWTH_PER_S: Final = (1.5, 1.15)
"""On a link that was never choked of late, and on one that was: there each step up may be one too many."""
HOLD_S: Final = (2.0, 6.0)
"""After a step down nothing grows for so long: at first, and when it happens again and again."""
WARY_S: Final = 25.0
"""So long after it was choked, a link is not trusted."""
DOUBLED_LOSS: Final = (0.015, 0.03)
"""Below the first nothing is sent twice any more, above the second it is: waiting for a lost packet to be asked for
costs a round trip, a picture of a face little."""
DOUBLED_BPS: Final = 450_000
"""What is sent twice is at most this."""
FORGET_RTT_PER_S: Final = 0.004
"""The least round trip drifts up so fast: a path may have become longer."""


@dataclass(frozen=True)
class Rung:
    """What is asked of encoder and picture."""

    bitrate_bps: int
    side_px: int
    fps: float


STEPS: Final = ((420_000, 1.0, 1.0), (280_000, 0.84, 1.0), (170_000, 0.67, 0.84), (0, 0.5, 0.6))
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
        self._hold_s = HOLD_S[0]
        self._choked_at = -WARY_S
        self.doubled = False
        """Send everything twice: the link loses, and is not choked."""
        self.choked = False
        """As of the last report: the link takes less than was sent."""
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
        self.choked = sent_bps >= ENOUGH_BPS and (loss >= LOSS_CHOKED or grown)
        wary = now - self._choked_at < WARY_S
        if self.choked:
            self._bps = BACK_OFF * min(self._bps, sent_bps * (1 - loss))
            again = wary and now > self._hold_until
            self._hold_s = min(2 * self._hold_s, HOLD_S[1]) if again else self._hold_s
            self._hold_until, self._choked_at = now + self._hold_s, now
        elif not wary:
            self._hold_s = HOLD_S[0]
        if now >= self._hold_until and loss <= LOSS_QUIET:
            self._bps *= GROWTH_PER_S[wary] ** passed
        if wary or self.choked or loss < DOUBLED_LOSS[0]:
            self.doubled = False
        elif loss > DOUBLED_LOSS[1]:
            self.doubled = True
        self._bps = max(min(self._bps, self._ceiling()), LOWEST_BPS)

    def _grown(self, rtt_s: float | None, passed: float) -> bool:
        if rtt_s is None:
            return False
        least = self._least_rtt
        least = rtt_s if least is None else min(rtt_s, least + FORGET_RTT_PER_S * passed)
        self._least_rtt = least
        return rtt_s - least > DELAY_GROWN_S

    def _ceiling(self) -> float:
        ceiling = DOUBLED_BPS if self.doubled else CLAMP_BPS
        if self._remb_bps is None:
            return ceiling
        return min(ceiling, max(REMB_SLACK * self._remb_bps, REMB_FLOOR_BPS))

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
