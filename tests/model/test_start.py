"""What loading weights costs at every start."""

from __future__ import annotations

import torch

from lia_live.model.layers import fir_kernel, unit_normal
from tests.test_architecture import loaded_after


def test_loading_weights_does_not_import_torchs_compiler() -> None:
    """More than a second and a hundred megabytes, for nothing."""
    loaded = loaded_after("from lia_live.model import load_model\nload_model('default', 'cpu')")
    assert "lia_live.model.lia" in loaded
    assert not loaded & {"torch._dynamo", "torch.fx.experimental.symbolic_shapes", "sympy"}


def test_a_new_weight_is_drawn_as_torch_draws_it() -> None:
    torch.manual_seed(3)
    expected = torch.randn(33, 7, 5)
    torch.manual_seed(3)
    assert torch.equal(unit_normal(33, 7, 5), expected)


def test_the_filter_is_the_outer_product() -> None:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    for gain in (1.0, 4.0):
        assert torch.equal(fir_kernel(gain), torch.outer(taps, taps) / 64.0 * gain)
