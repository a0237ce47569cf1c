"""The raster against a triangle-by-triangle, pixel-by-pixel reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lia_live.puppet.raster import rasterise


def reference(
    points: np.ndarray, triangles: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest triangle (R, R), -1 for none, and its barycentric weights (R, R, 3)."""
    nearest, depth = np.full((side, side), -1), np.full((side, side), np.inf)
    weights = np.zeros((side, side, 3))
    at = points[:, :2] * side - 0.5
    for number, corners in enumerate(triangles):
        a, b, c = at[corners]
        matrix = np.array([[a[0], b[0], c[0]], [a[1], b[1], c[1]], [1, 1, 1]])
        if abs(np.linalg.det(matrix)) < 1e-9:
            continue
        for y in range(side):
            for x in range(side):
                share = np.linalg.solve(matrix, (x, y, 1))
                z = share @ points[corners, 2]
                if share.min() >= 0 and z < depth[y, x]:
                    nearest[y, x], depth[y, x], weights[y, x] = number, z, share
    return nearest, weights


@pytest.mark.parametrize("spread", [0.05, 0.3, 2.0])  # tiny, middling and larger than the picture
def test_agrees_with_the_reference(spread: float) -> None:
    generator = np.random.default_rng(int(spread * 100))
    side, count = 24, 30
    middles = generator.uniform(0, 1, (count, 1, 3))
    corners = middles + generator.normal(0, spread, (count, 3, 3)) * [1, 1, 0.2]
    points = corners.reshape(-1, 3).astype(np.float32)
    triangles = np.arange(count * 3).reshape(count, 3)
    nearest, weights = reference(points, triangles, side)
    assert (nearest >= 0).mean() > 0.02

    raster = rasterise(torch.from_numpy(points)[None], torch.from_numpy(triangles), side)
    same = raster.triangle[0].numpy() == nearest
    assert same.mean() > 0.995  # a pixel exactly on an edge may fall either way
    error = np.abs(raster.weights[0].numpy() - weights).max(-1)[same]
    assert error.max() < 2e-3


def test_interpolates_linear_values_exactly() -> None:
    points = torch.tensor([[[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1.0]]])
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3]])
    raster = rasterise(points, triangles, 16)
    assert (raster.triangle >= 0).all()
    middle = (torch.arange(16) + 0.5) / 16
    got = raster.interpolate(points[..., :2])[0]
    assert torch.allclose(got[0], middle.expand(16, 16), atol=1e-5)
    assert torch.allclose(got[1], middle[:, None].expand(16, 16), atol=1e-5)


def test_nearer_hides_farther_whatever_the_order() -> None:
    big = torch.tensor([[-1, -1, 0.0], [3, -1, 0.0], [-1, 3, 0.0]])
    points = torch.cat([big + torch.tensor([0, 0, z]) for z in (0.5, -0.2, 0.1)])[None]
    triangles = torch.arange(9).view(3, 3)
    assert (rasterise(points, triangles, 8).triangle == 1).all()
    assert (rasterise(points, triangles[[1, 0, 2]], 8).triangle == 0).all()


def test_pictures_of_a_batch_do_not_touch_each_other() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(3, 12, 3, generator=generator)
    triangles = torch.arange(12).view(4, 3)
    together = rasterise(points, triangles, 20)
    for number in range(3):
        alone = rasterise(points[number : number + 1], triangles, 20)
        assert torch.equal(alone.triangle[0], together.triangle[number])
        assert torch.allclose(alone.weights[0], together.weights[number])


def test_nothing_is_seen_where_nothing_is() -> None:
    points = torch.tensor([[[0.1, 0.1, 0], [0.3, 0.1, 0], [0.1, 0.3, 0.0], [0.2, 0.2, 0]]])
    degenerate = torch.tensor([[0, 1, 2], [0, 3, 3]])
    raster = rasterise(points, degenerate, 16)
    assert (raster.triangle[0, 8:] == -1).all()
    assert (raster.triangle <= 0).all()
    assert raster.interpolate(points)[0, :, 8:].abs().max() == 0


def test_cracks_are_closed_by_what_is_beside_them() -> None:
    points = torch.tensor(
        [
            [
                [0, 0, 1],
                [0.5, 0, 1],
                [0.5, 1, 1],
                [0, 1, 1],
                [0.58, 0, 1],
                [1, 0, 1],
                [1, 1, 1],
                [0.58, 1, 1.0],
            ]
        ]
    )
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    open_ = rasterise(points, triangles, 16)
    assert (open_.triangle[0, :, 8] == -1).all()
    closed = rasterise(points, triangles, 16, cracks=1)
    assert (closed.triangle >= 0).all()
    middle = (torch.arange(16) + 0.5) / 16
    assert torch.allclose(
        closed.interpolate(points[..., :1])[0, 0], middle.expand(16, 16), atol=1e-5
    )
