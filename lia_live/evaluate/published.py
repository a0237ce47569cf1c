"""Figures that others have published, for orientation, and why they are not ours to compare with digit by digit."""

from __future__ import annotations

from typing import Final

SAME_HEADERS: Final = ("VoxCeleb, same identity", "L1", "AKD", "AED", "LPIPS")
SAME: Final[tuple[tuple[str, float, float, float, float | None], ...]] = (
    ("X2Face", 0.078, 7.687, 0.405, None),
    ("Monkey-Net", 0.049, 1.878, 0.199, None),
    ("FOMM", 0.046, 1.395, 0.141, 0.136),
    ("MRAA", 0.043, 1.307, 0.140, 0.127),
    ("LIA", 0.041, 1.353, 0.138, 0.123),
)
CROSS_HEADERS: Final = ("cross identity, lower is better", "VoxCeleb", "GermanAudio")
CROSS: Final = (("FOMM", 0.323, 0.456), ("MRAA", 0.308, 0.454), ("LIA", 0.161, 0.406))

DIFFERENCE: Final = (
    "Not the same protocol: the published rows are of VoxCeleb's test videos, trained on VoxCeleb, with AKD from 68 "
    "landmarks of another detector, AED from another face-recognition network, and LPIPS with AlexNet. Here the "
    "clips are yours, AKD is the mean distance of MediaPipe's 468 landmarks, AED depends on the network that was "
    "given, and every clip is cropped by one square in the framing of these weights. The published cross-identity "
    "measure is not computed here. Compare with the static copy on the same clips first."
)
