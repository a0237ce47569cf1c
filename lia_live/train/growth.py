"""How a network starts, and how it gets bigger without forgetting: pass-through and exact growth.

A network whose top level passes the source's own colours through the flow is sharp from the first step, and
the architecture can hold exactly that: ``convs.0`` is a 1x1 convolution of the picture, the mask can start
near one, and the top ``to_rgbs`` is a 1x1 convolution whose leaky ReLU is linear above a positive offset.
What remains to be learned is where things move (flow) and what no warp can show (mouth, uncovered places).
Colour comes through the mask alone, so a closed one shows what is left without any: here the dark of a mouth.

Growing adds a level on top: its flow starts as the upsampled flow below, its colours as the pass-through, and
the new encoder block as the old first layer applied to the filtered, halved picture. The level below keeps
what it had learned beyond the pass-through. Everything but the FIR's softness is preserved exactly.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lia_live.model import LIA
from lia_live.model.layers import (
    GAIN,
    LEAK,
    EqualConv2d,
    EqualLinear,
    FusedLeakyReLU,
    ResBlock,
    StyledConv,
    ToFlow,
    ToRGB,
    all_of,
)

OFFSET = 1.5
"""Added before a leaky ReLU and taken off behind it: the activation is linear for inputs above -OFFSET."""
MASK_START = 3.0
"""Initial mask logit: sigmoid(3) = 0.95."""
DARK = (-0.66, -0.82, -0.80)
"""RGB of a place whose masks are closed, in [-1, 1]: the inside of a mouth."""


class Painted(NamedTuple):
    """Something in mouths that portraits do not show."""

    level: int
    """Which paints it: -2 is the one below the top."""
    colour: tuple[float, float, float]
    """RGB where that level's mask is closed and the last one's as well; a picture ends at 1."""

    @property
    def way(self) -> tuple[float, ...]:
        """What that adds to ``DARK``."""
        return tuple(colour - dark for colour, dark in zip(self.colour, DARK, strict=True))


TEETH = Painted(-2, (0.09, 0.38, 0.30))
"""What turns lips into teeth: the last level shows lips stretched over them, as sharp as it shows everything, and where
its mask is open this light, that has more of what lips lack, is added to them."""
TONGUE = Painted(-3, (-0.19, -0.62, -0.65))
NEARLY = 0.7
"""A colour that has been trained, or made brighter since, differs by up to this share from what it was given."""
CONSTANT = 0.3
"""A channel whose mean is nearer to zero is not turned into a constant."""
FLOW_START = 0.05
"""Share of the unit-normal draw that flow heads start with; more would be tens of pixels of random flow."""


@torch.no_grad()
def start(model: LIA) -> LIA:
    """Prepare a fresh network for training, in place: quiet flow, open masks, colours passed through."""
    to_flows = all_of(ToFlow, model.dec.to_flows)
    for to_flow in to_flows:
        to_flow.conv.weight.mul_(FLOW_START)
    to_flows[0].bias[:, 2] = MASK_START
    for to_rgb in all_of(ToRGB, model.dec.to_rgbs):
        _mute(to_rgb)
    _carry_colours(model)
    _pass_through(model, sign=1.0)
    for linear in all_of(EqualLinear, model.enc.fc)[:-1]:  # identities: only the last one draws
        linear.weight.copy_(torch.eye(linear.weight.shape[0]) / linear.scale)
    return model


@torch.no_grad()
def grow(model: LIA, size: int) -> LIA:
    """A new network of ``size`` (larger, a power of two) that shows what ``model`` shows, sharper."""
    while model.config.size < size:
        model = _grow_once(model)
    return model


@torch.no_grad()
def pass_colours(model: LIA, coarser: bool = False) -> LIA:
    """Let a trained network show the source's own colours and nothing else, in place: sharp wherever it moves them.

    Pixel losses teach the coarser levels to blur what the flow does not place exactly. Without them a picture is
    the warped source where the mask is open, and ``DARK`` where it is closed. ``coarser``: those levels stay as they
    are, for networks whose training kept them from that.
    """
    *below, top = all_of(ToRGB, model.dec.to_rgbs)
    for to_rgb in [] if coarser else below:
        _mute(to_rgb)
    _mute(top)
    # The first layer has moved while it learned: read the colours from all that it makes of them.
    steps = torch.linspace(-1, 1, 9)
    colours = torch.cartesian_prod(steps, steps, steps)  # (729, 3)
    first = model.enc.net_app.convs[0]
    features = first(colours[:, :, None, None].to(next(first.parameters())))[:, :, 0, 0].double()
    dark = torch.tensor(DARK).to(features)
    wanted = (colours.to(features) - dark) / GAIN
    # a little damping, so that channels which are all but equal do not get huge opposite weights
    damped = features.T @ features + 1e-9 * len(features) * torch.eye(features.shape[1]).to(
        features
    )
    weight = torch.linalg.solve(damped, features.T @ wanted).T  # (3, C)
    conv, _ = _parts(top.conv)
    conv.weight.copy_((weight / conv.scale)[:, :, None, None])
    top.bias.add_(dark[None, :, None, None].to(top.bias))
    return model


@torch.no_grad()
def paint(model: LIA, part: Painted, average: LIA | None = None) -> LIA:
    """Let a level below the top paint a ``part`` of mouths where its mask is closed, in place; what paints already is
    left alone, and so is a network that has no such level.

    A colour head sees nothing but masked source features, and a portrait whose lips are closed has no teeth in any of
    them. So one feature channel of that level becomes a constant, and its head shows ``part.colour - DARK`` times
    (1 - mask) of it, added to what the top level shows: nothing where the mask is open.
    The channel given up is the one whose variation is heard least. Heads of coarser levels fall silent: teeth come
    before the tongue. ``average``: of the same training, gives up the same channel. A part that is painted keeps the
    colour that it has.
    """
    if len(all_of(ToRGB, model.dec.to_rgbs)) < -part.level or paints(model, part):
        return model
    channel = _least_heard(model, part.level)
    for one in (model, *([] if average is None else [average])):
        heads = all_of(ToRGB, one.dec.to_rgbs)
        for to_rgb in heads[: part.level + 1]:
            _mute(to_rgb)
        value = _settle(one, part.level, channel)
        conv, activate = _parts(heads[part.level].conv)
        for colour, way in enumerate(part.way):
            conv.weight[colour, channel] = -way / (GAIN * conv.scale * value)
            activate.bias[:, colour] = OFFSET + way / GAIN  # linear down to an open mask
    return model


@torch.no_grad()
def paints(model: LIA, part: Painted) -> bool:
    """Whether the part's level shows that, or nearly, where its mask is closed."""
    heads = all_of(ToRGB, model.dec.to_rgbs)
    if len(heads) < -part.level:
        return False
    head = heads[part.level]
    _, activate = _parts(head.conv)
    nothing = torch.zeros(1, 3, 1, 1).to(activate.bias)
    way = torch.tensor(part.way).to(nothing)
    shown = head(nothing, None).flatten()
    return bool((shown - way).norm() < NEARLY * way.norm())


def _least_heard(model: LIA, level: int) -> int:
    """The feature channel of a level below the top that may best be constant: little heard, and not near zero."""
    after = all_of(ResBlock, model.enc.net_app.convs)[-level - 1]
    main, _ = _parts(after.conv1)
    beside = all_of(EqualConv2d, after.skip)[0]
    styled = all_of(StyledConv, model.dec.convs)[2 * (level + 1)].conv
    heard = (main.weight * main.scale).square().sum((0, 2, 3))  # (C,)
    heard += (beside.weight * beside.scale).square().sum((0, 2, 3))
    heard += (styled.weight[0] * styled.scale).square().sum((0, 2, 3))
    carried = _carried(model, level)
    unfit = torch.where(carried.mean(0).abs() > CONSTANT, 0.0, 1e9)
    return int((heard * carried.var(0) + unfit).argmin())


def _settle(model: LIA, level: int, channel: int) -> float:
    """Let that channel be constant, about as it is on average; its value."""
    mean = float(_carried(model, level)[:, channel].mean())
    here = all_of(ResBlock, model.enc.net_app.convs)[-level - 2]
    last, activate = _parts(here.conv2)
    last.weight[channel] = 0
    all_of(EqualConv2d, here.skip)[0].weight[channel] = 0
    value = mean if abs(mean) > CONSTANT else 1.0
    activate.bias[:, channel] = value if value > 0 else value / LEAK
    return value


def _carried(model: LIA, level: int) -> Tensor:
    """(125, C): what the channels of a level carry of flat patches of many colours."""
    steps = torch.linspace(-1, 1, 5).to(next(model.parameters()))
    patches = torch.cartesian_prod(steps, steps, steps)[:, :, None, None].expand(-1, -1, 32, 32)
    carried = model.enc.net_app.convs[0](patches)
    for block in all_of(ResBlock, model.enc.net_app.convs)[: -level - 1]:
        carried = block(carried)
    middle = carried.shape[-1] // 2
    found: Tensor = carried[:, :, middle, middle]
    return found


def _grow_once(model: LIA) -> LIA:
    small = model.config
    grown = LIA(replace(small, size=small.size * 2))
    grown.name, grown.licence, grown.directions = model.name, model.licence, model.directions
    state = grown.state_dict()
    for key, value in model.state_dict().items():
        parts = key.split(".")
        if key.startswith("enc.net_app.convs."):
            index = int(parts[3])
            if index == 0:
                continue  # the old first layer becomes part of the new first block
            key = ".".join([*parts[:3], str(index + 1), *parts[4:]])
        state[key] = value.clone()
    grown.load_state_dict(state)
    _pass_through(grown, sign=-1.0, level=-2)  # the old top keeps what it learned beyond passing
    new_flow = all_of(ToFlow, grown.dec.to_flows)[-1]
    new_flow.conv.weight.mul_(FLOW_START / 5)
    new_flow.bias.zero_()
    _mute(all_of(ToRGB, grown.dec.to_rgbs)[-1])
    _carry_colours(grown)
    _pass_through(grown, sign=1.0)
    _imitate_first_layer(grown, model.enc.net_app.convs[0])
    return grown


def _parts(layer: nn.Module) -> tuple[EqualConv2d, FusedLeakyReLU]:
    """The convolution and the activation of a ``conv_layer``."""
    conv = next(m for m in layer.modules() if isinstance(m, EqualConv2d))
    activate = next(m for m in layer.modules() if isinstance(m, FusedLeakyReLU))
    return conv, activate


def _mute(to_rgb: ToRGB) -> None:
    """Zero output, and linear around it so that learning starts at once."""
    conv, activate = _parts(to_rgb.conv)
    conv.weight.zero_()
    activate.bias.fill_(OFFSET)
    to_rgb.bias.fill_(-GAIN * OFFSET)


def _carry_colours(model: LIA) -> None:
    """Let the first feature channels be the pairs +R, -R, +G, -G, +B, -B and a constant (of 1 times GAIN)."""
    first, activate = _parts(model.enc.net_app.convs[0])
    first.weight[:7] = 0
    for colour in range(3):
        first.weight[2 * colour, colour] = 1 / first.scale
        first.weight[2 * colour + 1, colour] = -1 / first.scale
    activate.bias[:, :6] = 0
    activate.bias[:, 6] = 1


def _pass_through(model: LIA, sign: float, level: int = -1) -> None:
    """Add (or take off) to a level's colours the source's own, read from what ``_carry_colours`` carries.

    They are added as differences from ``DARK``, which is added behind the mask.
    """
    to_rgb = all_of(ToRGB, model.dec.to_rgbs)[level]
    conv, _ = _parts(to_rgb.conv)
    # leaky(x) - leaky(-x) = (1 + LEAK) x; one GAIN from the feature, one from this layer's own activation
    share = sign / ((1 + LEAK) * GAIN * GAIN * conv.scale)
    for colour in range(3):
        conv.weight[colour, 2 * colour] += share
        conv.weight[colour, 2 * colour + 1] -= share
        conv.weight[colour, 6] -= sign * DARK[colour] / (GAIN * GAIN * conv.scale)
        to_rgb.bias[:, colour] += sign * DARK[colour]


def _imitate_first_layer(model: LIA, old: nn.Module) -> None:
    """Make the new first block compute ``old`` (1x1 convolution, activation) on the halved picture.

    conv1 lifts the colours above its activation's bend, conv2 applies ``old`` to them at its middle tap and
    takes the lift off again; sqrt2 inside, 1/sqrt2 outside (leaky ReLU is positively homogeneous).
    """
    block = all_of(ResBlock, model.enc.net_app.convs)[0]
    old_conv, old_activate = _parts(old)
    lift, lift_activate = _parts(block.conv1)
    apply, apply_activate = _parts(block.conv2)
    lift.weight[:3] = 0
    for colour in range(3):  # (f+ - f-) / ((1 + LEAK) GAIN) is the colour itself
        tap = 1 / ((1 + LEAK) * GAIN * lift.scale)
        lift.weight[colour, 2 * colour, 1, 1] = tap
        lift.weight[colour, 2 * colour + 1, 1, 1] = -tap
    lift_activate.bias[:, :3] = OFFSET
    weight = old_conv.weight[:, :, 0, 0] * old_conv.scale * math.sqrt(2)  # (C_old, 3)
    apply.weight.zero_()
    apply.weight[:, :3, 1, 1] = weight / (GAIN * apply.scale)
    lifted = weight.sum(1) * OFFSET
    apply_activate.bias.copy_(
        (old_activate.bias[0, :, 0, 0] * math.sqrt(2) - lifted)[None, :, None, None]
    )
    all_of(EqualConv2d, block.skip)[0].weight.zero_()
