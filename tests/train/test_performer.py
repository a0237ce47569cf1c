"""Performed pairs: the flow is true in the network's own convention, the labels are what is seen."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lia_live.errors import ConfigError
from lia_live.puppet.maps import pixel_middles
from lia_live.puppet.mesh import LIP_LOWER, LIP_UPPER
from lia_live.puppet.raster import rasterise
from lia_live.puppet.theta import (
    MIRROR_ORDER,
    MIRROR_SIGN,
    OPEN,
    YAW,
    X,
    Y,
    limits,
    mirrored,
)
from lia_live.train.light import LightConfig
from lia_live.train.motion import MAX_TURN_DEG, MotionConfig
from lia_live.train.performer import Performer, PerformerConfig
from tests.train.faces import drawn_portraits, smiling_portraits, talking_portraits

DARK = LightConfig(shared=0.0, driver=0.0)


def stage(**changes: object) -> Performer:
    return Performer(drawn_portraits(), config=PerformerConfig(**changes))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def index(count: int) -> Tensor:
    return torch.arange(count) % 3


def as_the_network_samples(features: Tensor, flow: Tensor) -> Tensor:
    """spec section 6: grid_sample(features, G_r + D), align_corners=False, zeros outside."""
    line = torch.linspace(-1, 1, flow.shape[-1])
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy")) + flow
    return functional.grid_sample(features, grid.permute(0, 2, 3, 1), align_corners=False)


@pytest.mark.parametrize(("size", "mirror"), [(64, 0.0), (64, 1.0), (128, 0.5)])
def test_source_warped_by_the_flow_is_the_target(size: int, mirror: float) -> None:
    batch = stage(mirror=mirror, same_pose=0.0).pairs(index(12), seeded(), size)
    valid = batch.valid_at(size)
    assert valid.mean() > 0.8
    warped = as_the_network_samples(batch.source, batch.flow_at(size))
    error = ((warped - batch.target).abs() * valid).sum() / (3 * valid.sum())
    static = ((batch.source - batch.target).abs() * valid).sum() / (3 * valid.sum())
    assert error < 0.02
    assert static > 5 * error


def test_flow_at_a_coarser_level_says_the_same() -> None:
    batch = stage(same_pose=0.0).pairs(index(12), seeded(1), 64)
    for resolution in (32, 16):
        source = functional.interpolate(batch.source, size=(resolution, resolution), mode="area")
        target = functional.interpolate(batch.target, size=(resolution, resolution), mode="area")
        valid = (batch.valid_at(resolution) > 0.95).float()
        warped = as_the_network_samples(source, batch.flow_at(resolution))
        error = ((warped - target).abs() * valid).sum() / valid.sum()
        assert error < 0.35 * ((source - target).abs() * valid).sum() / valid.sum()


def test_without_motion_the_flow_undoes_the_grids_quirk() -> None:
    batch = stage(same_pose=1.0).pairs(index(4), seeded(), 64)
    assert (batch.source - batch.target).abs().max() < 1e-6
    assert batch.displacement.abs().max() < 1e-5
    assert batch.flow.abs().max() == pytest.approx(1 / 64, abs=1e-5)
    warped = as_the_network_samples(batch.source, batch.flow)
    assert (warped - batch.source).abs().max() < 2e-3


def test_the_portraits_own_theta_gives_the_portrait() -> None:
    performer = stage()
    portraits = drawn_portraits()
    for number in range(3):
        frame = performer.perform(number, performer.rig.own[number : number + 1], 160, raster=160)
        shown = frame[0] * 0.5 + 0.5 - portraits.images[number] / 255
        assert shown.abs().mean() < 0.004
        assert performer.rig.own[number, YAW] * 13 == pytest.approx((0, 12, -9)[number], abs=0.5)


def test_mirrored_pairs_carry_mirrored_labels() -> None:
    plain = stage(mirror=0.0, light=DARK).pairs(index(6), seeded(2), 64)
    turned = stage(mirror=1.0, light=DARK).pairs(index(6), seeded(2), 64)
    assert torch.equal(turned.target, plain.target.flip(3))
    assert torch.allclose(turned.theta_target, mirrored(plain.theta_target))
    assert torch.equal(mirrored(mirrored(plain.theta_target)), plain.theta_target)
    assert len(MIRROR_SIGN) == len(MIRROR_ORDER) == 16


def test_the_driver_is_the_target_or_somebody_else_doing_the_same() -> None:
    own = stage(cross_identity=0.0, light=DARK).pairs(index(8), seeded(), 64)
    assert (own.driver - own.target).abs().mean() < 0.02
    crossed = stage(cross_identity=1.0, light=DARK).pairs(index(8), seeded(), 64)
    assert ((crossed.driver - crossed.target).abs().mean((1, 2, 3)) > 0.05).any()


def test_shapes_ranges_and_weights() -> None:
    batch = stage().pairs(index(5), seeded(), 32)
    for picture in (batch.source, batch.target, batch.driver):
        assert picture.shape == (5, 3, 32, 32)
        assert picture.abs().max() <= 1
        assert torch.isfinite(picture).all()
    assert batch.flow.shape == (5, 2, 64, 64)
    assert batch.valid.shape == batch.weights.shape == (5, 1, 64, 64)
    assert torch.allclose(batch.weights.mean((1, 2, 3)), torch.ones(5), atol=1e-4)
    assert batch.weights.amax((1, 2, 3)).min() > 3 * batch.weights.amin((1, 2, 3)).max()
    low, high = limits()
    theta = batch.theta_target
    assert (theta >= torch.minimum(low, -high) - 1e-4).all()  # mirrored ones change sign
    assert (theta <= torch.maximum(high, -low) + 1e-4).all()


def test_an_open_mouth_is_masked_and_painted() -> None:
    performer = stage(light=DARK)
    theta = torch.zeros(2, 16)
    theta[1, OPEN] = 3.0
    shut, wide = performer.perform(0, theta, 128)
    assert (shut - wide).abs().mean() > 0.005
    batch = stage(same_pose=0.0, motion=MotionConfig(open_share=1.0)).pairs(index(6), seeded(), 64)
    open_most = batch.theta_target[:, OPEN].argmax()
    mouth = batch.weights[open_most, 0] > 3
    hidden = mouth & (batch.valid[open_most, 0] == 0)
    assert hidden.any()
    assert (batch.judged[open_most, 0][hidden] > 0.5).any(), "the mask must close over paint"
    assert (batch.judged >= batch.valid).all()


def test_teeth_that_the_portrait_shows_are_copied() -> None:
    """Its own open mouth in the same pose: nothing is painted, and every pixel stays where it is."""
    performer = stage(rest_source=1.0, same_pose=1.0, cross_identity=0.0, light=DARK)
    own = int(performer.rig.gap.argmax())
    performer.rig.gap[own] = performer._puppets.gap[own] = (
        0.2  # one whose mouth is open on the photograph
    )
    performer.rig.own[own, OPEN] = 0.2 / 0.15
    performer._puppets.inside[own] = 1.0
    batch = performer.pairs(torch.tensor([own]), seeded(), 64)
    mouth = batch.weights > 3
    assert batch.valid[mouth].mean() > 0.95
    assert batch.within[mouth].max() < 0.1
    assert batch.displacement.abs().max() < 0.4 / 64, "less than half a pixel"


def test_a_slit_between_lips_is_dark_and_teeth_come_into_the_light() -> None:
    performer = Performer(talking_portraits())
    theta = performer.rig.own[:1].repeat(3, 1)
    theta[:, OPEN] *= torch.tensor([1.0, 0.18, 0.045])
    mouths = performer._scene(torch.zeros(3, dtype=torch.int64), theta, 512).mouths
    middle = (mouths.inside > 0.9) & (mouths.across.abs() < 0.3)
    painted = [float(mouths.painted[row][middle[row]].mean()) for row in range(3)]
    assert painted[0] < 0.05 < painted[1] < 0.6 < 0.8 < painted[2]
    assert painted == sorted(painted)


def test_the_line_of_shut_lids_counts_as_the_eye_does_and_that_of_lips_more() -> None:
    shut = MotionConfig(open_share=0.0, own_share=0.0, blink_share=1.0)
    config = PerformerConfig(rest_source=1.0, any_look=1.0, same_pose=0.0, mirror=0.0, motion=shut)
    performer = Performer(smiling_portraits(), config=config, looks=True)
    batch = performer.pairs(torch.arange(12) % 3, seeded(), 128, 128)
    line = (batch.judged > 0.5) & (batch.valid < 0.5) & (batch.within < 0.5)
    rest = batch.weights.amin((1, 2, 3), keepdim=True)
    counts = (batch.weights / rest).expand_as(line)[line]
    assert set(counts.round().tolist()) == {10.0, 20.0}


def test_the_photograph_itself_can_be_asked_for() -> None:
    config = PerformerConfig(rest_target=1.0, cross_identity=0.0, mirror=0.0)
    performer = Performer(smiling_portraits(), config=config)
    batch = performer.pairs(torch.arange(3), seeded(), 64)
    own = {tuple(row) for row in performer.rig.own.tolist()}
    assert {tuple(row) for row in batch.theta_target.tolist()} == own


def test_shares_outside_0_to_1_are_refused() -> None:
    with pytest.raises(ConfigError, match="cross_identity"):
        PerformerConfig(cross_identity=1.5)
    with pytest.raises(ConfigError, match="pose"):
        MotionConfig(pose=9)


def test_training_needs_no_face_finder() -> None:
    """A bare GPU machine has torch, numpy and safetensors only."""
    code = (
        "import sys, lia_live.train.performer as p; "
        "print([m for m in ('mediapipe', 'cv2', 'PIL', 'av') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_part_of_the_drivers_are_photographs() -> None:
    performer = stage(cross_identity=1.0, rest_driver=1.0, mirror=0.0, same_pose=0.0, light=DARK)
    batch = performer.pairs(index(6), seeded(2), 64)
    own = performer.rig.own
    nearest = (batch.theta_target[:, None] - own).abs().amax(2).amin(1)
    assert nearest.max() < 1e-5  # all turn little: none beyond what the sources can show
    far = Performer(
        drawn_portraits((-22.0, 22.0)),
        config=PerformerConfig(cross_identity=1.0, rest_driver=1.0, mirror=0.0, same_pose=0.0),
    )
    turns = far.pairs(torch.tensor([0, 1] * 6), seeded(2), 64)
    sides = far.rig.own[:, YAW]
    apart = (turns.theta_target[:, YAW, None] - sides).abs().amin(1) * 13
    assert apart.max() == pytest.approx(44 - MAX_TURN_DEG, abs=1.0)
    assert not torch.equal(batch.driver, batch.target)


def test_finer_maps_say_the_same() -> None:
    coarse = stage(same_pose=0.0).pairs(index(6), seeded(), 64)
    fine = stage(same_pose=0.0).pairs(index(6), seeded(), 64, raster=128)
    assert fine.displacement.shape[-1] == 2 * coarse.displacement.shape[-1]
    inside = (fine.valid_at(64) == 1) & (coarse.valid == 1)
    apart = ((fine.flow_at(64) - coarse.flow).abs() * inside).amax(1)
    assert apart[inside[:, 0]].mean() < 0.01
    assert (fine.target - coarse.target).abs().mean() < 0.03


def test_what_lies_above_a_portrait_is_no_second_head() -> None:
    """A head that goes down takes what is above it along: its own upper strip, drawn out; no hair to a border that
    stays, and no mirrored head on top."""
    performer = stage(rest_source=1.0, same_pose=0.0, mirror=0.0, light=DARK)
    rest, down = performer.rig.own[:1], performer.rig.own[:1].clone()
    down[:, Y] += 3.0  # 3 * 0.09 * 0.34 * 160 pixels
    frames = performer.perform(0, torch.cat([rest, down]), 160, raster=160)
    shift = round(3 * 0.09 * 0.34 * 160)
    middle = slice(60, 100)
    apart = (frames[1, :, shift + 8 : 50, middle] - frames[0, :, 8 : 50 - shift, middle]).abs()
    assert apart.mean() < 0.03, "moved as a whole"
    top = frames[0, :, 0].clone()
    first = frames[1, :, shift - 2, middle]  # just above the portrait: its upper edge
    assert (first - top[:, middle]).abs().mean() < 0.06
    for side in (slice(0, 60), slice(100, 160)):  # further up hair has ended: what is beside it
        corner = top[:, 0 if side.start == 0 else -1]
        assert (frames[1, :, 0, side] - corner[:, None]).abs().mean() < 0.06
    batch = performer.pairs(index(12), seeded(4), 64)
    warped = as_the_network_samples(batch.source, batch.flow)
    error = ((warped - batch.target).abs() * batch.valid_at(64)).sum() / batch.valid.sum() / 3
    assert error < 0.03


def smiling() -> Performer:
    return Performer(
        smiling_portraits(),
        config=PerformerConfig(rest_source=1.0, same_pose=0.0, mirror=0.0, light=DARK),
    )


@pytest.mark.parametrize("rests", [1.0, 0.0])
def test_places_beyond_the_edge_are_known_only_where_the_source_mirrors_there(rests: float) -> None:
    """A source that performs has moved what it mirrors: there nothing tells the place."""
    performer = stage(rest_source=rests, same_pose=0.0, mirror=0.0, cross_identity=0.0, light=DARK)
    one = torch.zeros(24, dtype=torch.int64)
    many = performer.pairs(one, seeded(5), 128, 128)
    place = many.displacement + pixel_middles(128)
    target = performer.rig.pose(one, many.theta_target)
    source = performer.rig.pose(one, many.theta_source)
    seen = rasterise(target, performer.rig.triangles, 128).interpolate(source)[:, :2]
    outside = ((seen < -0.01) | (seen > 1.01)).any(1, keepdim=True)
    assert outside.float().mean() > 0.005
    assert many.valid[outside].mean() == pytest.approx(rests, abs=0.02)
    assert place.min() > -0.6
    if rests:
        warped = as_the_network_samples(many.source, many.flow)
        error = (warped - many.target).abs().mean(1, keepdim=True)
        there = outside & (many.valid == 1)
        still = (many.source - many.target).abs().mean(1, keepdim=True)
        assert error[there].mean() < 0.2 * still[there].mean()


def test_the_painted_inside_of_a_mouth_counts_more_than_its_lips() -> None:
    wide = MotionConfig(open_share=1.0, small_share=0.0)
    batch = stage(same_pose=0.0, motion=wide).pairs(index(9), seeded(), 128)
    inside = batch.within > 0.99
    mouth = (batch.within < 0.01) & (batch.valid > 0.5)  # and no seam
    for weights, painted, lips in zip(batch.weights, inside, mouth, strict=True):
        if painted.sum() > 20:
            assert weights[painted].mean() == pytest.approx(6 * float(weights[lips].max()), rel=0.1)


def test_drivers_have_teeth_of_their_own() -> None:
    performer = stage(cross_identity=1.0, same_pose=0.0, mirror=0.0, light=DARK)
    performer._puppets.styles.upper[len(performer) :] = 0.0  # nobody among the drivers shows any
    wide = torch.zeros(3, 16)
    wide[:, OPEN] = 2.0
    own, driver = (
        performer._puppets.paint(performer._scene(torch.arange(3), wide, 128, strangers=n), 128)[0]
        for n in (0, 3)
    )
    assert (own - driver).abs().max() > 0.3
    batch = performer.pairs(torch.arange(3), seeded(3), 64)
    performer._puppets.styles.upper[len(performer) :] = 0.12
    again = performer.pairs(torch.arange(3), seeded(3), 64)
    assert torch.equal(batch.target, again.target)
    assert not torch.equal(batch.driver, again.driver)


def test_the_flow_leads_to_the_teeth_of_a_photographed_source() -> None:
    performer = smiling()
    assert performer.rig.gap[1] > 0.1 > 0.05 > performer.rig.gap[0]
    own = performer.rig.own
    mouth = performer.rig.rest[1, LIP_UPPER[5], :2], performer.rig.rest[1, LIP_LOWER[5], :2]
    middle = ((mouth[0] + mouth[1]) / 2 * 64).long()
    for who, shows in ((1, True), (0, False)):
        target = own[who : who + 1].clone()
        target[:, X] += 0.5
        target[:, OPEN] = own[1, OPEN]
        moved = middle + (0.5 * 0.14 * 0.34 * 64 * torch.tensor([1.0, 0.0])).round().long()
        both = torch.cat([own[who : who + 1], target])
        scene = performer._scene(torch.tensor([who, who]), both, 64)
        rests = torch.ones(1, 1, dtype=torch.bool)
        displacement, valid, _, within, _ = performer._correspondence(scene, 1, rests)
        assert bool(valid[0, 0, moved[1], moved[0]]) is shows
        assert bool(within[0, 0, moved[1], moved[0]] > 0.5) is not shows
        if shows:
            place = displacement[0, :, moved[1], moved[0]] * 64 + moved + 0.5
            assert (place - middle - 0.5).abs().max() < 1.2, "to the teeth of the photograph"


def test_everybody_performs_equally_often() -> None:
    often = smiling().draw(3000, seeded())
    for who in range(3):
        assert (often == who).float().mean() == pytest.approx(1 / 3, abs=0.04)


def test_sources_have_their_lips_apart_nearly_as_their_targets_have() -> None:
    config = PerformerConfig(rest_source=1.0, any_look=0.0, same_pose=0.0, mirror=0.0)
    performer = Performer(smiling_portraits(), config=config, looks=True)
    batch = performer.pairs(torch.arange(60) % 3, seeded(), 64)
    source, target = (theta[:, OPEN] * 0.15 for theta in (batch.theta_source, batch.theta_target))
    within = target < 0.3
    assert (source - target).abs()[within].max() < 0.12
    assert torch.corrcoef(torch.stack([source, target.clamp(max=0.3)]))[0, 1] > 0.95
    assert source[~within].min() > 0.25


def test_some_sources_have_them_apart_in_any_way() -> None:
    config = PerformerConfig(rest_source=1.0, any_look=1.0, same_pose=0.0, mirror=0.0)
    performer = Performer(smiling_portraits(), config=config, looks=True)
    batch = performer.pairs(torch.arange(60) % 3, seeded(), 64)
    source, target = (theta[:, OPEN] * 0.15 for theta in (batch.theta_source, batch.theta_target))
    assert abs(torch.corrcoef(torch.stack([source, target]))[0, 1]) < 0.4
    assert source.min() < 0.02 and source.max() > 0.28


def test_sources_without_looks_are_the_portraits_themselves() -> None:
    config = PerformerConfig(rest_source=1.0, same_pose=0.0, mirror=0.0)
    performer = Performer(smiling_portraits(), config=config)
    batch = performer.pairs(torch.arange(6) % 3, seeded(), 64)
    own = {tuple(row) for row in performer.rig.own.tolist()}
    assert {tuple(row) for row in batch.theta_source.tolist()} == own


def test_targets_that_rest_are_the_portraits_themselves() -> None:
    made = []
    for looks in (True, False):
        config = PerformerConfig(
            rest_source=1.0,
            rest_target=1.0,
            any_look=0.0,
            same_pose=0.0,
            cross_identity=0.0,
            mirror=0.0,
            light=DARK,
        )
        performer = Performer(smiling_portraits(), config=config, looks=looks)
        made.append(performer.pairs(torch.tensor([0, 1, 2, 0]), seeded(), 128))
    for batch in made:
        assert torch.allclose(batch.theta_target, batch.theta_source)
        assert torch.allclose(batch.target, batch.source, atol=2e-3)
    order = [batch.theta_target[:, OPEN].argsort(stable=True) for batch in made]
    first, second = (batch.target[row] for batch, row in zip(made, order, strict=True))
    assert torch.allclose(first, second, atol=2e-3)


@pytest.mark.parametrize("rests", [1.0, 0.0])
def test_the_flow_leads_to_the_teeth_of_an_opened_mouth(rests: float) -> None:
    """Also where the source performs: the same tooth is found at another place."""
    wide = MotionConfig(open_share=1.0, small_share=0.0, aside_share=0.0)
    config = PerformerConfig(
        rest_source=rests, same_pose=0.0, cross_identity=0.0, mirror=0.0, motion=wide, light=DARK
    )
    performer = Performer(smiling_portraits(), config=config, looks=True)
    batch = performer.pairs(torch.arange(12) % 3, seeded(), 128, 128)
    grid = ((batch.displacement + pixel_middles(128)) * 2 - 1).permute(0, 2, 3, 1)
    warped = torch.nn.functional.grid_sample(batch.source, grid, align_corners=False)
    teeth = (batch.valid > 0.5) & (batch.weights > 3 * batch.weights.median())
    teeth = teeth & (batch.weights > 0.9 * batch.weights.amax((1, 2, 3), keepdim=True))
    assert teeth.sum() > 200
    error = (warped - batch.target).abs().mean(1, keepdim=True)[teeth].mean()
    plain = (batch.source - batch.target).abs().mean(1, keepdim=True)[teeth].mean()
    assert error < 0.12 and error < 0.4 * plain


def test_the_generator_decides_everything() -> None:
    performer = stage()
    first, again, other = (performer.pairs(index(4), seeded(s), 64) for s in (7, 7, 8))
    assert torch.equal(first.driver, again.driver)
    assert torch.equal(first.displacement, again.displacement)
    assert not torch.equal(first.driver, other.driver)
