"""An avatar whose mouth has several looks: which of them is rendered, and what it is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lia_live.avatar.mouths import HELD, Mouth
from lia_live.engine import PolicyConfig
from lia_live.engine.networks import LiveNetwork
from lia_live.engine.performer import Performer, prepare, render_together
from lia_live.engine.view import View
from lia_live.model import Direction
from tests.doubles import ScriptedRenderer, scripted_avatar
from tests.engine.live import CONFIG, DIRECTIONS

OWN, SHUT, WIDE = (20, 150, 60), (200, 30, 30), (30, 30, 200)
"""Each look is of another colour."""
PLACE = 3


@pytest.fixture
def network() -> LiveNetwork:
    directions = list(DIRECTIONS)
    directions[PLACE] = Direction("mouth open", scale=2.0)
    return LiveNetwork(ScriptedRenderer(config=CONFIG), tuple(directions), View(CONFIG, CONFIG))


def on_stage(network: LiveNetwork) -> Performer:
    avatar = scripted_avatar(colour=OWN)
    mouths = []
    for by, colour, rest in ((-1.0, SHUT, 0.5), (1.0, WIDE, -0.25)):
        look = replace(avatar.look, latent=torch.tensor([colour]).float())
        mouths.append(Mouth(by, replace(look, motion=torch.full_like(look.motion, rest))))
    avatar.mouths = tuple(mouths)
    return Performer(prepare(avatar, network, None), PolicyConfig())


def code(open_by: float) -> np.ndarray:
    out = np.zeros(CONFIG.motion_dim, np.float32)
    out[PLACE] = 2.0 * open_by
    return out


def colour_of(performer: Performer, open_by: float) -> tuple[int, ...]:
    return tuple(performer.render(code(open_by), None).pixels[-1, -1].tolist())


def test_the_look_that_is_nearest_is_rendered_in_its_own_terms(network: LiveNetwork) -> None:
    performer = on_stage(network)
    renderer = network.renderer
    assert isinstance(renderer, ScriptedRenderer)
    for open_by, colour, told in ((0.0, OWN, 0.0), (0.9, WIDE, -0.25), (-0.9, SHUT, 0.5)):
        assert colour_of(performer, open_by) == colour
        assert renderer.rendered[-1] == pytest.approx(code(open_by) + told)


def test_lips_that_tremble_do_not_change_it(network: LiveNetwork) -> None:
    performer = on_stage(network)
    assert colour_of(performer, 0.0) == OWN
    end = 0.35
    shown = {colour_of(performer, end + sign * 0.9 * HELD) for sign in (1, -1, 1, -1)}
    assert shown == {OWN}
    assert colour_of(performer, end + 1.1 * HELD) == WIDE
    assert colour_of(performer, end - 0.9 * HELD) == WIDE


def test_another_avatar_begins_anew(network: LiveNetwork) -> None:
    performer = on_stage(network)
    assert colour_of(performer, 0.9) == WIDE
    performer.switch(prepare(scripted_avatar(colour=(9, 9, 9)), network, None))
    assert colour_of(performer, 0.9) == (9, 9, 9), "it has one look"


def test_two_that_are_rendered_together_have_looks_of_their_own(network: LiveNetwork) -> None:
    first, second = on_stage(network), on_stage(network)
    made = render_together([(first, code(0.9), None), (second, code(-0.9), None)])
    assert [tuple(picture.pixels[-1, -1].tolist()) for picture in made] == [WIDE, SHUT]
