"""The three measures that need somebody else's network: identity, LPIPS and FID features, each an ONNX file.

None is shipped (their licences do not allow it, or they are large); what is missing is said in every report.
They run in OpenCV, on the CPU.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from lia_live.errors import WeightsError
from lia_live.evaluate.onnx_file import HINT, Input, read_onnx
from lia_live.frame import Pixels
from lia_live.track.crop import Landmarks

Vector = NDArray[np.float64]
Blob = NDArray[np.float32]

HOW: Final[Mapping[str, str]] = {
    "identity": "AED and identity similarity: give a face-recognition network with --identity-net FILE.onnx "
    "(such as SFace or ArcFace; docs/evaluation.md says how to get one)",
    "lpips": "LPIPS: give the distance as a network with --lpips-net FILE.onnx "
    "(docs/evaluation.md has the few lines that export it)",
    "fid": "FID: give Inception features with --fid-net FILE.onnx "
    "(docs/evaluation.md has the few lines that export them)",
}
"""What each absent network would add, and how to get it."""

# The places of eyes, nose and corners of the mouth in the 112-pixel crops that face recognition is trained on.
_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)  # fmt: skip
_TEMPLATE_SIDE = 112
_FID_SIDE = 299

_PROBE = """
import sys, cv2, numpy as np
path, *inputs = sys.argv[1:]
net = cv2.dnn.readNetFromONNX(np.fromfile(path, np.uint8))
for name, height, width in zip(inputs[::3], inputs[1::3], inputs[2::3]):
    net.setInput(np.zeros((1, 3, int(height), int(width)), np.float32), name)
net.forward()
"""
_PROBE_SIDE = 256
_PROBE_LIMIT_S = 120


class _Net:
    """An ONNX file in OpenCV. One thread."""

    def __init__(self, path: Path, pictures: int, what: str) -> None:
        """``pictures``: how many inputs it must have, each (1, 3, H, W). Raises ``WeightsError``."""
        data, self._inputs = read_onnx(path)
        self._path = path
        wrong = [one for one in self._inputs if not _takes_a_picture(one)]
        if wrong or len(self._inputs) != pictures:
            asked = ", ".join(f"{one.name} {list(one.shape)}" for one in self._inputs)
            raise WeightsError(
                f"{path} is no {what}: it must take {pictures} picture(s) (1, 3, H, W), it takes {asked}",
                HINT,
            )
        self._try_in_a_child()
        self._net: Any = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8))

    def side(self, otherwise: int) -> int:
        """Of the pictures it takes: as the file says, or ``otherwise`` where it takes any."""
        lengths = [length for length in self._inputs[0].shape[2:] if length is not None]
        return lengths[0] if lengths else otherwise

    def run(self, *blobs: Blob) -> Vector:
        """The output as one vector of finite numbers. Raises ``WeightsError``."""
        try:
            for one, blob in zip(self._inputs, blobs, strict=True):
                self._net.setInput(blob, one.name)
            out = np.asarray(self._net.forward(), dtype=np.float64).reshape(-1)
        except cv2.error as error:
            raise self._refused(error) from error
        if out.size == 0 or not np.isfinite(out).all():
            raise WeightsError(f"{self._path} gives numbers that are not finite", HINT)
        return out

    def _try_in_a_child(self) -> None:
        """OpenCV's reader crashes on some damaged files: better there than here. Raises ``WeightsError``."""
        words = [str(self._path)]
        for one in self._inputs:
            height, width = (length or _PROBE_SIDE for length in one.shape[2:])
            words += [one.name, str(height), str(width)]
        command = [sys.executable, "-I", "-c", _PROBE, *words]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=_PROBE_LIMIT_S
            )
        except subprocess.TimeoutExpired as error:
            raise self._refused("it takes minutes") from error
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines()
            raise self._refused(lines[-1] if lines and done.returncode == 1 else "it crashes")

    def _refused(self, said: object) -> WeightsError:
        said = " ".join(str(said).split())[-160:]
        return WeightsError(f"OpenCV cannot run {self._path}: {said}", f"export it anew; {HINT}")


class IdentityNet:
    """A face as a unit vector: near for one person, far for two."""

    def __init__(self, path: Path) -> None:
        """``path``: one RGB picture of values 0 to 255 in, (1, D) out. Raises ``WeightsError``."""
        self._net = _Net(path, 1, "face-recognition network")
        self._side = self._net.side(_TEMPLATE_SIDE)
        self.embed(np.zeros((64, 64, 3), np.uint8), _anywhere())

    def embed(self, crop: Pixels, landmarks: Landmarks) -> Vector:
        """(D,) of length 1, from a picture and the (478, 3) landmarks in its pixels."""
        turn = _to_template(_five_points(landmarks), self._side)
        size = (self._side, self._side)
        face = cv2.warpAffine(crop, turn, size, flags=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
        vector = self._net.run(_blob(face))
        unit: Vector = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return unit


class PerceptualNet:
    """LPIPS: the distance of two pictures as a network feels it."""

    def __init__(self, path: Path) -> None:
        """``path``: two RGB pictures of values -1 to 1 in, one number out. Raises ``WeightsError``."""
        self._net = _Net(path, 2, "distance of two pictures")
        probe = np.zeros((64, 64, 3), np.uint8)
        if self._outputs(probe, probe).size != 1:
            raise WeightsError(f"{path} must give one number for two pictures", HINT)

    def distance(self, picture: Pixels, other: Pixels) -> float:
        """Of two pictures (S, S, 3)."""
        return float(self._outputs(picture, other)[0])

    def _outputs(self, picture: Pixels, other: Pixels) -> Vector:
        side = self._net.side(picture.shape[0])
        a, b = (
            _blob(_scaled(p, side)) / np.float32(127.5) - np.float32(1) for p in (picture, other)
        )
        return self._net.run(a, b)


class FeatureNet:
    """Features of pictures whose distribution FID compares."""

    def __init__(self, path: Path) -> None:
        """``path``: one RGB picture of values -1 to 1 in, a feature vector out. Raises ``WeightsError``."""
        self._net = _Net(path, 1, "network of picture features")
        self._side = self._net.side(_FID_SIDE)
        self.features(np.zeros((64, 64, 3), np.uint8))

    def features(self, picture: Pixels) -> Vector:
        """(D,)."""
        return self._net.run(
            _blob(_scaled(picture, self._side)) / np.float32(127.5) - np.float32(1)
        )


@dataclass(frozen=True)
class Nets:
    """Those that were given."""

    identity: IdentityNet | None = None
    perceptual: PerceptualNet | None = None
    features: FeatureNet | None = None

    @classmethod
    def open(cls, identity: Path | None, lpips: Path | None, fid: Path | None) -> Nets:
        """Load and try each that has a path. Raises ``WeightsError``, ``StorageError``."""
        return cls(
            IdentityNet(identity) if identity else None,
            PerceptualNet(lpips) if lpips else None,
            FeatureNet(fid) if fid else None,
        )

    def missing(self) -> dict[str, str]:
        """The measures that cannot be taken, and how to get what they need."""
        have = {
            "identity": self.identity is not None,
            "lpips": self.perceptual is not None,
            "fid": self.features is not None,
        }
        return {name: how for name, how in HOW.items() if not have[name]}


def _takes_a_picture(one: Input) -> bool:
    return len(one.shape) == 4 and one.shape[0] in (1, None) and one.shape[1] in (3, None)


def _blob(picture: Pixels) -> Blob:
    """(S, S, 3) uint8 -> (1, 3, S, S) float32 of the same values."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None]).astype(np.float32)


def _scaled(picture: Pixels, side: int) -> Pixels:
    if picture.shape[0] == side:
        return picture
    how = cv2.INTER_AREA if picture.shape[0] > side else cv2.INTER_LINEAR
    return cv2.resize(picture, (side, side), interpolation=how).astype(np.uint8, copy=False)


def _five_points(landmarks: Landmarks) -> Vector:
    """Eyes, tip of the nose, corners of the mouth: (5, 2), in the order of the template."""
    groups = ((33, 133), (362, 263), (4,), (61,), (291,))
    points: list[Vector] = [landmarks[list(group), :2].mean(axis=0) for group in groups]
    return np.stack(points).astype(np.float64)


def _to_template(points: Vector, side: int) -> Vector:
    """The (2, 3) turn, scale and shift that brings five points nearest to the template in ``side`` pixels."""
    template = _TEMPLATE * (side / _TEMPLATE_SIDE)
    here = (points - points.mean(axis=0)) @ [1, 1j]
    there = (template - template.mean(axis=0)) @ [1, 1j]
    factor = complex(np.vdot(here, there)) / max(float(np.vdot(here, here).real), 1e-12)
    turn = np.array([[factor.real, -factor.imag, 0.0], [factor.imag, factor.real, 0.0]])
    turn[:, 2] = template.mean(axis=0) - turn[:, :2] @ points.mean(axis=0)
    return turn


def _anywhere() -> Landmarks:
    """Landmarks good enough to try a network with."""
    return np.random.default_rng(0).uniform(10, 50, (478, 3)).astype(np.float32)
