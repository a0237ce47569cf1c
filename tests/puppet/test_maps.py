"""Maps of places: torn ones stay torn, and beyond its edges a portrait goes on."""

from __future__ import annotations

import pytest
import torch

from lia_live.puppet.maps import continued_at_edges, resized


def test_lids_do_not_blend_with_the_eye_that_they_hide() -> None:
    """A map of places that is enlarged keeps its tears."""
    places = torch.zeros(1, 2, 8, 8)
    places[..., 4:, :] = 0.5
    torn = resized(places, 16, torn=True)
    assert set(torn.unique().tolist()) == {0.0, 0.5}
    assert len(resized(places, 16).unique()) > 2
    smooth = torch.linspace(0, 0.05, 8).expand(1, 2, 8, 8)
    assert torch.equal(resized(smooth, 16, torn=True), resized(smooth, 16))


def test_beyond_its_edges_a_portrait_goes_on_without_a_jump() -> None:
    inside = torch.rand(1, 2, 9, 9, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    assert torch.allclose(continued_at_edges(inside), inside, atol=1e-6)
    for turned, first in ((False, -0.2), (True, -0.015)):
        x = torch.linspace(first, 1.2, 400).expand(8, 400)
        line = torch.stack([x, torch.full_like(x, 0.4)])[None]
        line = line.flip(1) if turned else line
        found = continued_at_edges(line)
        step = (found[..., 1:] - found[..., :-1]).abs().max()
        assert step < 2 * 1.4 / 399, "no jump"
        assert found.min() > 0 and found.max() < 1, "never where there is nothing"
    above = torch.tensor([[0.3, 0.3, 0.3], [0.0, -0.03, -0.06]]).view(1, 2, 1, 3)
    left = continued_at_edges(above)[0, 0, 0]
    assert left.tolist() == pytest.approx([0.3, 0.2317, 0.002], abs=1e-4), "hair closes to a dome"
    middle = torch.stack([torch.linspace(0.49, 0.51, 20), torch.full((20,), -0.06)])
    beside = continued_at_edges(middle.view(1, 2, 1, 20))[0, 0, 0]
    assert ((beside - 0.5).abs() > 0.45).all(), "no antenna on top of it"
