"""One tracker, several networks: the square that each of them sees of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lia_live.errors import ConfigError
from lia_live.frame import Box, Crop, Frame

if TYPE_CHECKING:
    from lia_live.model.config import Framing, LIAConfig


class View:
    """How frames are cut for the network ``config``, given what the tracker cuts for ``tracked``.

    The eyes that a square was laid around are found in it again, so another framing's square follows from
    it: as steady, of the same locked scale, with no second face looked for. Raises ``ConfigError`` where the
    network needs a face and the tracker looks for none.
    """

    def __init__(self, config: LIAConfig, tracked: LIAConfig) -> None:
        self._framing, self._size = config.framing, config.size
        self._tracked = tracked.framing
        self._same = (config.framing, config.size) == (tracked.framing, tracked.size)
        self.needs_face = config.framing.kind == "face"
        """Without one there is nothing to cut."""
        if self.needs_face and tracked.framing.kind != "face":
            raise ConfigError(
                "this avatar needs a face tracker, but the run was started without one",
                "start with an avatar whose weights frame a face",
            )

    def cut(self, frame: Frame, tracked: Crop | None) -> Crop | None:
        """The network's crop of ``frame``; ``tracked``: the tracker's, None without a face or if not asked."""
        if self._same and tracked is not None:
            return tracked
        from lia_live.track import crop_square, full_frame_box

        if not self.needs_face:
            box, face = full_frame_box(*frame.pixels.shape[:2]), None
        elif tracked is None:
            return None
        else:
            box, face = reframed(tracked.box, self._tracked, self._framing), tracked.face
        pixels = crop_square(frame.pixels, box, self._size)
        return Crop(pixels, box, face, frame.captured_at, frame.number)


def reframed(box: Box, framing: Framing, wanted: Framing) -> Box:
    """The square that ``wanted`` asks for around the eyes that ``framing`` laid ``box`` around."""
    x, y = box.x + framing.eye_x * box.side, box.y + framing.eye_y * box.side
    side = box.side * framing.eye_distance / wanted.eye_distance
    return Box(x - wanted.eye_x * side, y - wanted.eye_y * side, side)
