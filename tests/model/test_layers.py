"""Layers as a GPU computes them."""

from __future__ import annotations

import pytest
import torch

from lia_live.model import layers


@pytest.mark.parametrize("parts", ["down", "up", "block"])
def test_the_fir_folded_into_a_convolution_is_the_same_sum(
    parts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU does, with its gradients."""
    torch.manual_seed(3)
    x = torch.randn(2, 6, 16, 16, requires_grad=True)
    latent = torch.randn(2, 8)
    layer = {
        "down": layers.ConvLayer(6, 4, 3, down=True),
        "up": layers.StyledConv(6, 4, 8, up=True),
        "block": layers.ResBlock(6, 4),
    }[parts]
    for name, value in layer.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(value)

    def run() -> list[torch.Tensor]:
        out = layer(x, latent) if parts == "up" else layer(x)
        wanted = [x, *(p for n, p in layer.named_parameters() if "noise" not in n)]
        return [out, *torch.autograd.grad(out.square().sum(), wanted)]

    apart = run()
    monkeypatch.setattr(layers, "folds", lambda x: True)
    for one, other in zip(run(), apart, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4 * float(other.detach().abs().max()))
