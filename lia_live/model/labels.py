"""What a whole gesture is, in what landmarks show of it: the tracker measures live what training told.

Lengths are in eye distances of an upright, frontal face; numbers are MediaPipe's landmarks.
"""

from __future__ import annotations

from typing import Final

MOUTH: Final = (0.59, 0.17)
"""Width of the mouth at which nobody smiles, and by how much a whole smile widens it."""
NARROWING: Final = 0.1
"""A mouth that opens by one eye distance is so much narrower for it, and smiles no less."""
PUCKER_NARROWS: Final = 0.2
"""By how much lips that are wholly puckered narrow the mouth."""
RELAXED: Final = -0.1
"""A smile may turn into this little, gestures; what narrows a mouth beyond puckers it and does not draw its corners
down."""
LIDS: Final = (0.11, 0.28)
"""Gap of the lids over the eye's width: of a shut eye (its landmarks never quite meet), and of an ordinary open one."""
BROW_RAISE: Final = (0.303, 0.078)
"""Height of brows over the eyes' inner corners at rest, and how much more a whole raise adds."""
BROW_INNER: Final = (0.01, 0.03)
"""How much higher their inner ends are than the rest, likewise. A landmark finder shows two fifths of what these do."""
# fmt: off
BROWS: Final = (105, 334, 66, 296)
BROWS_INNER: Final = (55, 285, 107, 336)
BROWS_BESIDE: Final = (52, 282, 105, 334, 70, 300, 46, 276)
EYES_INNER: Final = (133, 362)
"""The inner corners of the eyes: landmarks of the outer ones go down with the lids."""
# fmt: on
