"""What the neutral was found in, kept on the camera's side: another network is asked about the same moments.

A neutral is a code, and a code means nothing to another network. With the frames at hand a switch between
networks goes on at once from the same resting face, instead of looking for it anew. They are camera pictures:
the observer alone holds them, what it says of them are numbers, and they go when it is closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from lia_live.engine.neutral import AVERAGED
from lia_live.frame import Crop, Frame

if TYPE_CHECKING:
    from lia_live.engine.networks import LiveNetwork
    from lia_live.engine.neutral import HeadShape
    from lia_live.engine.policy import Codes

KEPT = AVERAGED
"""All that the neutral is the mean of, so that it is the very same moment for every network. Each costs a frame
(2.8 MB at 720p) and, at the first switch to a network, one encoding: together two frames' time or so."""


@dataclass(frozen=True, eq=False)
class Glimpse:
    """One moment of the driver."""

    frame: Frame
    tracked: Crop | None
    """The tracker's square; None where the network that looked needs no face."""
    mirror: bool
    """Looked at in a mirror."""
    shape: HeadShape | None
    codes: WeakKeyDictionary[LiveNetwork, Codes] = field(default_factory=WeakKeyDictionary)
    """What each network made of it."""


class Glimpses:
    """The moments of the neutral in use. Model thread only."""

    def __init__(self) -> None:
        self._kept: list[Glimpse] = []
        self._newest: Glimpse | None = None
        self._times: Sequence[float] = ()

    def offer(self, glimpse: Glimpse | None) -> None:
        """The newest moment; it is forgotten at the next one unless ``keep`` names it."""
        self._newest = glimpse

    def keep(self, times: Sequence[float]) -> None:
        """Keep those captured at the first ``KEPT`` of ``times``, best first, forget the others.

        While none of these is known, what was kept stays: an older neutral is better than none.
        """
        if times == self._times:
            return
        self._times = times
        known = {glimpse.frame.captured_at: glimpse for glimpse in self._kept}
        if self._newest is not None:
            known[self._newest.frame.captured_at] = self._newest
        found = [known[time] for time in times[:KEPT] if time in known]
        if found:
            self._kept = found

    def kept(self) -> list[Glimpse]:
        """Best first."""
        return list(self._kept)

    def clear(self) -> None:
        """Forget everything."""
        self._kept, self._newest, self._times = [], None, ()
