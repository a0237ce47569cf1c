"""A bigger network starts by showing what the smaller one showed."""

import pytest
import torch
from torch.nn import functional as F

from lia_live.model import LIA, LIAConfig, Look
from lia_live.model.synthesis import warp
from lia_live.train.growth import DARK, TEETH, TONGUE, grow, paint, paints, pass_colours, start

SMALL = LIAConfig(size=32, width=0.125, latent_dim=32)


def smooth_pictures(size: int, count: int = 2) -> torch.Tensor:
    """(count, 3, size, size) in [-1, 1] with no detail finer than 1/8 of the picture."""
    torch.manual_seed(3)
    coarse = torch.rand(count, 3, 8, 8) * 1.6 - 0.8
    return F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False).clamp(
        -1, 1
    )


def trained_a_little(model: LIA) -> LIA:
    """Move every weight, as training would, so that nothing is preserved by being at its start."""
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


@torch.no_grad()
def test_a_fresh_network_already_passes_the_source_through() -> None:
    model = start(LIA(SMALL))
    picture = smooth_pictures(32)
    still = _still(model)  # no flow at all: what is left is the pass-through
    look = still.encode_appearance(picture)
    out, raws = still.dec(look.latent, look.features)
    mask = torch.sigmoid(raws[-1][:, 2:3])
    assert mask.mean() > 0.85
    dark = torch.tensor(DARK).view(1, 3, 1, 1)
    shown = warp(
        torch.cat((picture - dark, torch.ones(2, 1, 32, 32)), 1), torch.zeros(2, 2, 32, 32)
    )
    assert (out - dark - mask * shown[:, :3]).abs().max() < 1e-3


@torch.no_grad()
def test_growing_keeps_code_and_motion() -> None:
    model = trained_a_little(start(LIA(SMALL)))
    grown = grow(model, 128)
    assert grown.config.size == 128
    small, large = smooth_pictures(32), smooth_pictures(128)
    before, after = model.encode_appearance(small), grown.encode_appearance(large)
    scale = before.latent.std()
    assert (before.latent - after.latent).abs().mean() < 0.1 * scale
    assert (before.motion - after.motion).abs().mean() < 0.1 * before.motion.std()


@torch.no_grad()
def test_growing_keeps_flow_mask_and_picture() -> None:
    model = trained_a_little(start(LIA(SMALL)))
    grown = grow(model, 64)
    small, large = smooth_pictures(32), smooth_pictures(64)
    look, wide = model.encode_appearance(small), grown.encode_appearance(large)
    image, raws = model.dec(look.latent, look.features)
    big_image, big_raws = grown.dec(wide.latent, wide.features)
    assert (F.avg_pool2d(big_raws[-1], 2) - raws[-1]).abs().mean() < 0.05
    assert (F.avg_pool2d(big_image, 2) - image).abs().mean() < 0.1


def _still(model: LIA) -> LIA:
    still = LIA(model.config)
    still.load_state_dict(model.state_dict())
    for to_flow in still.dec.to_flows:
        to_flow.conv.weight[:, :2] = 0
    return still


def test_look_is_complete_after_growth() -> None:
    grown = grow(start(LIA(SMALL)), 64)
    look = grown.encode_appearance(smooth_pictures(64))
    assert isinstance(look, Look)
    assert [f.shape[-1] for f in look.features] == [8, 16, 32, 64]


@torch.no_grad()
def test_passed_colours_are_the_sources_own_or_dark() -> None:
    """Of a trained network: wherever its flow and mask want them."""
    model = trained_a_little(start(LIA(SMALL)))
    picture = smooth_pictures(32)
    look = model.encode_appearance(picture)
    _, before = model.dec(look.latent, look.features)
    out, raws = pass_colours(model).dec(look.latent, look.features)
    assert torch.equal(raws[-1], before[-1]), "nothing moves otherwise"
    flow, mask = torch.tanh(raws[-1][:, :2]), torch.sigmoid(raws[-1][:, 2:3])
    dark = torch.tensor(DARK).view(1, 3, 1, 1)
    expected = dark + mask * (warp(picture, flow) - dark * warp(torch.ones(2, 1, 32, 32), flow))
    inside = warp(torch.ones(2, 1, 32, 32), flow) > 0.999  # beyond the border all features are zero
    assert (out - expected).abs()[inside.expand(-1, 3, -1, -1)].max() < 0.05


@torch.no_grad()
@pytest.mark.parametrize("inside", [False, True])
def test_mouths_are_painted_where_masks_are_closed_and_nowhere_else(inside: bool) -> None:
    """Teeth, and (inside) a tongue one level further down."""
    model = pass_colours(trained_a_little(grow(start(LIA(SMALL)), 64)))
    assert not paints(model, TEETH)
    picture = smooth_pictures(64)
    paint(model, TEETH)
    assert paints(model, TEETH)
    assert not paints(model, TONGUE)
    if inside:
        paint(model, TONGUE)
        assert paints(model, TONGUE)
        assert paints(model, TEETH)
    for module in (*model.dec.to_flows, *model.dec.convs):  # no flow; masks as they are set below
        if hasattr(module, "conv") and hasattr(module, "upsample"):
            module.conv.weight.zero_()
            module.bias.zero_()
    tongue, teeth, top = model.dec.to_flows[-3:]
    look = model.encode_appearance(picture)

    def shown(mask_tongue: float, mask_teeth: float, mask_top: float) -> torch.Tensor:
        tongue.bias[:, 2] = mask_tongue
        teeth.bias[:, 2] = mask_teeth - mask_tongue
        top.bias[:, 2] = mask_top - mask_teeth
        out, _ = model.dec(look.latent, look.features)
        return out[..., 16:-16, 16:-16]

    dark, ivory, red = (
        torch.tensor(colour).view(1, 3, 1, 1) for colour in (DARK, TEETH.colour, TONGUE.colour)
    )
    assert (shown(12, -12, -12) - ivory).abs().max() < 1e-3, "teeth"
    assert (shown(12, 12, -12) - dark).abs().max() < 1e-3, "the dark below them"
    assert (shown(12, 0, -12) - (dark + ivory) / 2).abs().max() < 2e-3, "teeth in half light"
    expected = red if inside else dark
    assert (shown(-12, 12, -12) - expected).abs().max() < 1e-3, "a tongue, where it is painted"
    portrait = warp(picture, torch.zeros(2, 2, 64, 64))[..., 16:-16, 16:-16]
    assert (shown(12, 12, 12) - portrait).abs().max() < 0.05, "the portrait"


@torch.no_grad()
def test_teeth_are_given_a_channel_once() -> None:
    model = paint(grow(start(LIA(SMALL)), 64), TEETH)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    paint(model, TEETH)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not paints(grow(model, 128), TEETH), "a grown network paints them one level higher"
    grown = paint(grow(model, 128), TEETH)
    assert paints(grown, TEETH)
    assert not paints(grow(model, 128), TONGUE), "teeth are no tongue"


@torch.no_grad()
def test_a_network_and_its_average_give_up_the_same_channel() -> None:
    model = trained_a_little(grow(start(LIA(SMALL)), 64))
    average = grow(start(LIA(SMALL)), 64)
    paint(model, TEETH, average)
    picture = smooth_pictures(64)
    still = [
        one.encode_appearance(picture).features[-2].std((0, 2, 3)) < 1e-6
        for one in (model, average)
    ]
    assert still[0].sum() == 1
    assert (still[0] & still[1]).sum() == 1
    assert paints(average, TEETH)


@torch.no_grad()
def test_the_channel_given_up_is_one_that_is_hardly_heard() -> None:
    model = trained_a_little(grow(start(LIA(SMALL)), 64))
    picture = smooth_pictures(64)
    before = model.encode_appearance(picture)
    paint(model, TEETH)
    after = model.encode_appearance(picture)
    assert (after.latent - before.latent).abs().mean() < 0.35 * before.latent.std()
    still = after.features[-2].std((0, 2, 3)) < 1e-6
    assert still.sum() == 1, "one constant channel"
