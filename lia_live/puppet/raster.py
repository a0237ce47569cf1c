"""Triangles to pixels: which triangle is nearest at every pixel, and its vertices' values there.

Plain torch, the same on CPU and GPU. Triangles of the whole batch are sorted into a few classes by
the size of their bounding boxes; a class is one tensor operation over (triangles, box pixels).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

BOX_CLASSES = (
    (1, 1),
    (2, 2),
    (3, 3),
    (4, 4),
    (6, 6),
    (8, 8),
    (12, 12),
    (16, 16),
    (24, 24),
    (32, 32),
    (48, 48),
    (64, 64),
    (96, 96),
)
"""(width, height) in pixels of the bounding-box classes; larger boxes take the whole picture."""
DEPTH_STEPS = 1 << 24
DEPTH_RANGE = 8.0
"""Depths within +- this are told apart; in the unit of z."""
CHUNK = 1 << 22
"""Candidate pixels worked on at once: bounds the memory."""


@dataclass(frozen=True)
class Raster:
    """What is seen at every pixel of a batch of R x R pictures."""

    triangle: Tensor
    """(B, R, R) int64: number of the nearest triangle, -1 where there is none."""
    weights: Tensor
    """(B, R, R, 3) float32: barycentric weights of its corners at the pixel's middle."""
    corners: Tensor
    """(B, R, R, 3) int64: its vertices; vertex 0 where there is none."""

    def rows(self, chosen: slice) -> Raster:
        """Some pictures of the batch."""
        return Raster(self.triangle[chosen], self.weights[chosen], self.corners[chosen])

    def interpolate(self, values: Tensor) -> Tensor:
        """(B, V, C) values at the vertices -> (B, C, R, R) at the pixels, 0 where nothing is seen."""
        batch, side = self.triangle.shape[:2]
        channels = values.shape[-1]
        first = torch.arange(batch, device=values.device).view(-1, 1, 1, 1) * values.shape[1]
        corners = (self.corners + first).view(-1, 3)
        weights = self.weights.view(-1, 3, 1)
        table = values.reshape(-1, channels)
        out = table.index_select(0, corners[:, 0]) * weights[:, 0]
        out.addcmul_(table.index_select(0, corners[:, 1]), weights[:, 1])
        out.addcmul_(table.index_select(0, corners[:, 2]), weights[:, 2])
        return out.view(batch, side, side, channels).permute(0, 3, 1, 2)


def rasterise(points: Tensor, triangles: Tensor, side: int, cracks: int = 0) -> Raster:
    """Find the nearest triangle of every pixel.

    ``points``: (B, V, 3) x and y as fractions of the picture (0 left or top edge, 1 right or
    bottom), z away from the viewer. ``triangles``: (T, 3) int64. ``side``: R, pixels. ``cracks``:
    an empty pixel takes the nearest triangle up to so many pixels away, continued to it.
    """
    batch, count = points.shape[0], triangles.shape[0]
    device = points.device
    corner = (points[..., :2] * side - 0.5).float()  # pixel i has its middle at i
    flat = torch.cat([corner, points[..., 2:].float()], 2)[:, triangles]  # (B, T, 3 corners, 3)
    flat = flat.reshape(batch * count, 3, 3)
    x, y, z = flat.unbind(2)  # each (B*T, 3)

    low_x, high_x = x.amin(1).ceil().clamp(min=0), x.amax(1).floor().clamp(max=side - 1)
    low_y, high_y = y.amin(1).ceil().clamp(min=0), y.amax(1).floor().clamp(max=side - 1)
    wide, tall = high_x - low_x + 1, high_y - low_y + 1
    double_area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (
        y[:, 1] - y[:, 0]
    )
    box = torch.maximum(wide, tall)
    box = torch.where((wide > 0) & (tall > 0) & (double_area.abs() > 1e-9), box, 0.0)

    # Every quantity is linear over the triangle: value(x, y) = v + vx * x + vy * y from its box's corner.
    inverse = 1 / torch.where(double_area.abs() > 1e-9, double_area, 1.0)
    bx, by = (y[:, 2] - y[:, 0]) * inverse, (x[:, 0] - x[:, 2]) * inverse
    cx, cy = (y[:, 0] - y[:, 1]) * inverse, (x[:, 1] - x[:, 0]) * inverse
    dx, dy = low_x - x[:, 0], low_y - y[:, 0]
    b0, c0 = bx * dx + by * dy, cx * dx + cy * dy
    zx = bx * (z[:, 1] - z[:, 0]) + cx * (z[:, 2] - z[:, 0])
    zy = by * (z[:, 1] - z[:, 0]) + cy * (z[:, 2] - z[:, 0])
    z0 = z[:, 0] + b0 * (z[:, 1] - z[:, 0]) + c0 * (z[:, 2] - z[:, 0])
    scale = -DEPTH_STEPS / (2 * DEPTH_RANGE)
    depth = (z0 * scale + DEPTH_STEPS / 2, zx * scale, zy * scale)  # larger is nearer
    linear = torch.stack([b0, bx, by, c0, cx, cy, *depth, wide, tall], 1)  # (B*T, 11)
    picture = torch.arange(batch, device=device).repeat_interleave(count)
    first = (picture * side + low_y.long()) * side + low_x.long()
    number = torch.arange(count, device=device).repeat(batch)

    nearest = torch.zeros(batch * side * side, dtype=torch.int64, device=device)
    smaller = 0
    for width, height in (*BOX_CLASSES, (side, side)):
        if smaller >= side:
            break
        chosen = ((box > smaller) & (box <= width)).nonzero().flatten()
        smaller = width
        for part in chosen.split(max(1, CHUNK // (width * height))):
            _draw(nearest, linear[part], first[part], number[part], (width, height), side)

    if cracks:
        keys = nearest.view(batch, side, side)
        around = functional.max_pool2d(
            keys.double(), 2 * cracks + 1, 1, cracks
        )  # exact: under 2^53
        nearest = torch.where(keys > 0, keys, around.long()).view(-1)
    triangle = ((nearest & 0xFFFF) - 1).view(batch, side, side)
    seen = triangle >= 0
    safe = triangle.clamp(min=0)
    which = (safe + torch.arange(batch, device=device)[:, None, None] * count).view(-1)
    line = torch.arange(side, device=device, dtype=torch.float32)
    plane = torch.stack(
        [b0 - bx * low_x - by * low_y, bx, by, c0 - cx * low_x - cy * low_y, cx, cy], 1
    )
    terms = plane.index_select(0, which).view(batch, side, side, 6)
    b = terms[..., 0] + terms[..., 1] * line + terms[..., 2] * line[:, None]
    c = terms[..., 3] + terms[..., 4] * line + terms[..., 5] * line[:, None]
    weights = torch.stack([1 - b - c, b, c], 3) * seen[..., None]
    corners = triangles.index_select(0, safe.view(-1)).view(batch, side, side, 3)
    return Raster(triangle, weights, corners * seen[..., None])


def _draw(
    nearest: Tensor, linear: Tensor, first: Tensor, number: Tensor, box: tuple[int, int], side: int
) -> None:
    """Enter one class of triangles into ``nearest`` (packed depth and triangle number + 1)."""
    width, height = box
    i = torch.arange(width, device=linear.device, dtype=torch.float32)
    j = torch.arange(height, device=linear.device, dtype=torch.float32)[:, None]
    b0, bx, by, c0, cx, cy, z0, zx, zy, wide, tall = linear[:, :, None, None].unbind(1)
    b = b0 + bx * i + by * j  # (n, height, width)
    c = c0 + cx * i + cy * j
    slack = -1e-4
    inside = (b >= slack) & (c >= slack) & (b + c <= 1 - slack) & (i < wide) & (j < tall)
    depth = (z0 + zx * i + zy * j).clamp(1, DEPTH_STEPS - 1).long()
    key = (depth << 16) | (number[:, None, None] + 1)
    place = first[:, None, None] + (j * side + i).long()
    if linear.device.type == "cpu":  # fewer entries; on a GPU finding them would wait for it
        nearest.scatter_reduce_(0, place[inside], key[inside], "amax")
    else:
        # What is not inside enters nothing where it lies: sent to one place, they would queue for it.
        place = place.clamp(max=len(nearest) - 1)
        nearest.scatter_reduce_(0, place.view(-1), torch.where(inside, key, 0).view(-1), "amax")
