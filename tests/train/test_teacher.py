"""The teacher term folds into a plain network, exactly."""

import pytest
import torch

from lia_live.model import LIA, LIAConfig
from lia_live.puppet.theta import THETA, TRACKED
from lia_live.train.growth import start
from lia_live.train.teacher import (
    ALPHA_GAIN,
    Teacher,
    collapse,
    gains_of,
    in_label_units,
    label_directions,
    turned_up,
)

CONFIG = LIAConfig(size=32, width=0.125, latent_dim=48)
LABELS = 16


def teacher() -> Teacher:
    torch.manual_seed(0)
    wrapped = Teacher(start(LIA(CONFIG)), LABELS)
    with torch.no_grad():
        for linear in wrapped.model.enc.fc:
            linear.bias.normal_(std=0.5)
    return wrapped


@torch.no_grad()
def test_folded_network_renders_what_the_teacher_renders() -> None:
    wrapped = teacher()
    source, driver = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    theta, glance = torch.zeros(2, 2, LABELS)
    glance[:, TRACKED] = torch.randn(2, len(TRACKED))  # is told
    out = wrapped(source, driver, theta, glance, torch.zeros(2, dtype=torch.bool))
    plain = wrapped.folded()
    assert torch.allclose(plain.encode_motion(driver), out.alpha_driver, atol=1e-4)
    look, motion = plain.encode_appearance(source), plain.encode_motion(driver)
    motion[:, TRACKED] = look.motion[:, TRACKED] + ALPHA_GAIN * glance[:, TRACKED]
    assert torch.allclose(plain.render(look, motion), out.image, atol=1e-4)
    assert not torch.allclose(
        wrapped.model(source, driver), out.image, atol=1e-3
    )  # the term did matter


@torch.no_grad()
def test_oracle_replaces_the_encoders_guess_per_sample() -> None:
    wrapped = teacher()
    source, driver = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    theta = torch.randn(2, LABELS)
    guessed = wrapped(source, driver, theta, theta, torch.tensor([False, False])).image
    told = wrapped(source, driver, theta, theta, torch.tensor([False, True])).image
    assert torch.allclose(guessed[0], told[0], atol=1e-5)
    assert (guessed[1] - told[1]).abs().max() > 1e-3


def test_without_labels_it_is_the_plain_network() -> None:
    torch.manual_seed(0)
    model = start(LIA(CONFIG))
    wrapped = Teacher(model, 0)
    source, driver = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    oracle = torch.tensor([True, False])
    out = wrapped(source, driver, torch.zeros(2, 0), torch.zeros(2, 0), oracle)
    assert torch.allclose(model(source, driver), out.image, atol=1e-5)
    out.image.square().mean().backward()
    assert wrapped.term.grad is None
    with torch.no_grad():
        assert torch.allclose(wrapped.folded()(source, driver), out.image, atol=1e-4)


@torch.no_grad()
def test_collapse_is_the_head() -> None:
    head = teacher().model.enc.fc
    matrix, offset = collapse(head)
    code = torch.randn(5, CONFIG.latent_dim)
    assert torch.allclose((code.double() @ matrix.T + offset).float(), head(code), atol=1e-4)


def test_labels_fill_the_first_directions() -> None:
    directions = label_directions(20)
    assert [d.name for d in directions[:2]] == ["yaw", "pitch"]
    assert directions[0].scale == ALPHA_GAIN
    assert [d.name for d in directions[16:]] == ["free 1", "free 2", "free 3", "free 4"]
    assert all(d.low < d.neutral + 1e-6 and d.high > d.neutral - 1e-6 for d in directions)
    for direction, control in zip(directions, THETA, strict=False):
        assert direction.low == control.low * ALPHA_GAIN
        shown = 0.16 / control.scale if control.name == "y" else control.high  # heads that sink
        assert direction.high == pytest.approx(shown * ALPHA_GAIN, rel=0.02)


@torch.no_grad()
def test_a_network_turned_up_moves_further_for_the_same_driver() -> None:
    torch.manual_seed(2)
    model = LIA(CONFIG)
    model.directions = label_directions(CONFIG.motion_dim)
    gains = torch.ones(CONFIG.motion_dim)
    gains[[0, 6]] = torch.tensor([1.4, 1.2])
    louder = turned_up(model, gains)
    picture = torch.rand(2, 3, CONFIG.size, CONFIG.size) * 2 - 1
    looks = [m.encode_appearance(picture) for m in (model, louder)]
    alphas = [m.encode_motion(picture) for m in (model, louder)]
    assert torch.allclose(alphas[1], alphas[0] * gains, atol=1e-4)
    step = torch.randn(2, CONFIG.motion_dim)
    for by in (torch.zeros_like(step), step):
        pictures = [
            m.dec(look.latent + m.dec.direction(alpha + by), look.features)[0]
            for m, look, alpha in zip((model, louder), looks, alphas, strict=True)
        ]
        assert torch.allclose(pictures[0], pictures[1], atol=2e-3)
    assert louder.directions[0].scale == pytest.approx(1.4 * ALPHA_GAIN)
    assert torch.allclose(gains_of(louder), gains)
    assert torch.allclose(in_label_units(louder).encode_motion(picture), alphas[0], atol=1e-4)
    assert in_label_units(model) is model
