"""Folder of pictures -> prepared portraits: found, checked, cropped to one framing, with landmarks.

The only module of this room that looks for faces; training reads what it wrote. MediaPipe is
imported when first needed.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lia_live.errors import ConfigError, MediaError, StorageError
from lia_live.frame import Box, Pixels
from lia_live.model.config import Framing
from lia_live.track import framed_box
from lia_live.track.quiet import quiet
from lia_live.train.portraits import Portraits, join

EYE_CORNERS = (33, 263)
"""Outer eye corners in MediaPipe's numbering: left and right in the picture."""
PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
MAX_PIXELS = 64_000_000
"""Pictures larger than this are refused before they are decoded."""
FINDER_SIDE = 1024
"""Larger pictures are reduced to this longer side before looking for the face."""


@dataclass(frozen=True)
class PrepareConfig:
    """What makes a portrait fit for training."""

    side: int = 320
    """Side of the stored pictures in pixels; 64 to 1024."""
    framing: Framing = field(default_factory=Framing)
    """Where the eyes lie in the stored pictures."""
    max_border: float = 0.12
    """Largest share of the crop that may lie outside the picture (replicated there); 0 to 1."""
    max_yaw_deg: float = 25.0
    """Faces turned further than this smear when they are turned back; 0 to 90."""
    min_eye_px: float = 50.0
    """Smallest distance of the outer eye corners in the original picture, pixels."""
    held_out_every: int = 15
    """Every such portrait by number is kept from training; 0 keeps none."""

    def __post_init__(self) -> None:
        if not 64 <= self.side <= 1024:
            raise ConfigError(f"prepare.side must be in [64, 1024], got {self.side}")
        if not 0 <= self.max_border <= 1:
            raise ConfigError(f"prepare.max_border must be in [0, 1], got {self.max_border}")
        if not 0 < self.max_yaw_deg <= 90:
            raise ConfigError(f"prepare.max_yaw_deg must be in (0, 90], got {self.max_yaw_deg}")
        if self.held_out_every < 0:
            raise ConfigError("prepare.held_out_every must not be negative")


@dataclass
class PrepareReport:
    """What became of every file."""

    kept: list[str] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    """File name -> why it was left out."""
    bad: int = 0
    """How many of ``dropped`` could not be read at all."""

    def summary(self) -> str:
        """One line per reason."""
        reasons: dict[str, int] = {}
        for reason in self.dropped.values():
            kind = reason.split(":")[0]
            reasons[kind] = reasons.get(kind, 0) + 1
        lines = [f"kept {len(self.kept)} of {len(self.kept) + len(self.dropped)} pictures"]
        lines += [f"  {count:5d}  {kind}" for kind, count in sorted(reasons.items())]
        return "\n".join(lines)

    def save(self, path: str | Path) -> None:
        """Write the whole report as JSON. Raises ``StorageError``."""
        whole = {"kept": self.kept, "dropped": self.dropped, "not readable": self.bad}
        try:
            Path(path).write_text(json.dumps(whole, indent=1), encoding="utf-8")
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error}", "choose another place") from error


class LandmarkFinder:
    """MediaPipe's face mesh on still pictures. One per thread; close it (context manager)."""

    def __init__(self) -> None:
        with quiet():
            import mediapipe

            self._mesh: Any = mediapipe.solutions.face_mesh.FaceMesh(
                static_image_mode=True, refine_landmarks=True, max_num_faces=1
            )
            # Its threads write their remarks while they start: wait for them here.
            self._mesh.process(np.zeros((64, 64, 3), np.uint8))

    def __enter__(self) -> LandmarkFinder:
        return self

    def __exit__(self, *_: object) -> None:
        self._mesh.close()

    def find(self, pixels: Pixels) -> NDArray[np.float32] | None:
        """Landmarks (478, 3) float32 of the most prominent face in pixels of ``pixels``, or None."""
        height, width = pixels.shape[:2]
        reduced = pixels
        longer = max(height, width)
        if longer > FINDER_SIDE:
            size = (width * FINDER_SIDE // longer, height * FINDER_SIDE // longer)
            reduced = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        with quiet():
            result = self._mesh.process(np.ascontiguousarray(reduced))
        if not result.multi_face_landmarks:
            return None
        points = result.multi_face_landmarks[0].landmark
        found = np.array([(p.x, p.y, p.z) for p in points], np.float32)
        return found * np.array([width, height, width], np.float32)  # MediaPipe: z is in widths


def prepare_folder(
    folder: str | Path, out: str | Path, config: PrepareConfig | None = None
) -> PrepareReport:
    """Prepare every picture under ``folder`` into one file ``out``; returns what happened to each.

    An ``index.csv`` with columns ``file`` and ``repo`` beside the folder or in it gives the licence
    groups (P1, P2, ... in the order in which the origins first appear).
    Raises ``MediaError`` if there is nothing to use or more than a fifth cannot be read.
    """
    config = config or PrepareConfig()
    folder = Path(folder)
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in PICTURE_SUFFIXES)
    if not files:
        raise MediaError(f"no pictures in {folder}", "give a folder of JPEG, PNG or WebP portraits")
    groups = _licence_groups(folder)
    report = PrepareReport()
    made: list[Portraits] = []
    thumbnails: dict[bytes, str] = {}
    with LandmarkFinder() as finder:
        for position, file in enumerate(files, start=1):
            try:
                pixels = _read(file)
            except (OSError, ValueError, MediaError) as error:
                report.dropped[file.name] = f"not readable: {error}"
                report.bad += 1
                continue
            try:
                one = prepare_portrait(pixels, config, finder, name=file.name)
            except MediaError as error:
                report.dropped[file.name] = error.message
                continue
            key = _thumbnail_key(one)
            if key in thumbnails:
                report.dropped[file.name] = f"same picture twice: {thumbnails[key]}"
                continue
            thumbnails[key] = file.name
            number = re.search(r"\d+", file.stem)
            count = int(number.group()) if number else position
            held = config.held_out_every > 0 and count % config.held_out_every == 0
            one = Portraits(
                one.images,
                one.landmarks,
                one.names,
                (groups.get(file.name, ""),),
                torch.tensor([held]),
            )
            made.append(one)
            report.kept.append(file.name)
    if report.bad > len(files) / 5:
        raise MediaError(
            f"{report.bad} of {len(files)} files in {folder} cannot be read",
            "remove the damaged files and prepare again",
        )
    if not made:
        raise MediaError(
            f"no usable portrait in {folder}", "pictures need one frontal face, large enough"
        )
    join(made).save(out)
    return report


def prepare_portrait(
    pixels: Pixels,
    config: PrepareConfig | None = None,
    finder: LandmarkFinder | None = None,
    name: str = "portrait",
) -> Portraits:
    """One picture (H, W, 3) uint8 RGB as ``Portraits`` of length 1.

    Raises ``MediaError`` (its message is the reason) if there is no face, or the face is too small,
    too far turned, or too close to the edge of the picture.
    """
    config = config or PrepareConfig()
    if finder is None:
        with LandmarkFinder() as own:
            landmarks = own.find(pixels)
    else:
        landmarks = finder.find(pixels)
    hint = "use a frontal portrait with some room around the head"
    if landmarks is None:
        raise MediaError("no face found", hint)
    left, right = landmarks[EYE_CORNERS[0]], landmarks[EYE_CORNERS[1]]
    eye_px = float(np.linalg.norm(right - left))
    if eye_px < config.min_eye_px:
        raise MediaError(f"face too small: eyes {eye_px:.0f} px apart", hint)
    yaw_deg = abs(float(np.degrees(np.arctan2(right[2] - left[2], right[0] - left[0]))))
    if yaw_deg > config.max_yaw_deg:
        raise MediaError(f"turned too far: {yaw_deg:.0f} degrees", hint)
    box = framed_box(landmarks, config.framing)
    border = _border_share(box, pixels.shape[1], pixels.shape[0])
    if border > config.max_border:
        raise MediaError(f"too close to the edge: {border:.0%} of the crop is outside", hint)
    crop = _crop(pixels, box, config.side)
    points = (landmarks - np.array([box.x, box.y, 0], np.float32)) * (config.side / box.side)
    return Portraits(
        torch.from_numpy(crop).permute(2, 0, 1)[None].contiguous(),
        torch.from_numpy(points.astype(np.float32))[None],
        (name,),
        ("",),
        torch.zeros(1, dtype=torch.bool),
    )


def _border_share(box: Box, width: int, height: int) -> float:
    inside_x = min(box.x + box.side, width) - max(box.x, 0)
    inside_y = min(box.y + box.side, height) - max(box.y, 0)
    return 1 - max(inside_x, 0) * max(inside_y, 0) / box.side**2


def _crop(pixels: Pixels, box: Box, side: int) -> Pixels:
    scale = side / box.side
    if scale < 1:  # blur away what the smaller picture cannot hold
        sigma = 0.45 * (1 / scale - 1) + 0.15
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)
    shift = 0.5 * scale - 0.5  # pixel centres, not corners, are what warpAffine counts
    matrix = np.array([[scale, 0, -box.x * scale + shift], [0, scale, -box.y * scale + shift]])
    return np.asarray(
        cv2.warpAffine(
            pixels, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        ),
        np.uint8,
    )


def _read(file: Path) -> Pixels:
    with Image.open(file) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise MediaError(f"{picture.width}x{picture.height} pixels are too many")
        upright = ImageOps.exif_transpose(picture)
        return np.array(upright.convert("RGB"))


def _licence_groups(folder: Path) -> dict[str, str]:
    for place in (folder / "index.csv", folder.parent / "index.csv"):
        if place.is_file():
            with place.open(newline="", encoding="utf-8") as text:
                rows = [row for row in csv.DictReader(text) if row.get("file") and row.get("repo")]
            order = list(dict.fromkeys(row["repo"] for row in rows))
            return {row["file"]: f"P{order.index(row['repo']) + 1}" for row in rows}
    return {}


def _thumbnail_key(portrait: Portraits) -> bytes:
    small = torch.nn.functional.adaptive_avg_pool2d(portrait.images.float().mean(1), 12)
    return bytes((small > small.mean()).flatten().tolist())
