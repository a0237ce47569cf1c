"""Random and smooth performances as numbers."""

from __future__ import annotations

import pytest
import torch

from lia_live.errors import ConfigError
from lia_live.puppet.theta import (
    BLINK_L,
    BLINK_R,
    NAMES,
    OPEN,
    PITCH,
    THETA,
    YAW,
    X,
    limits,
)
from lia_live.train.motion import (
    MAX_TURN_DEG,
    NODS,
    PARTED,
    MotionConfig,
    sample_theta,
    smooth_motion,
    within_reach,
)


def many(config: MotionConfig | None = None) -> torch.Tensor:
    return sample_theta(torch.zeros(4000, 16), torch.Generator().manual_seed(0), config)


def test_the_sixteen_controls_keep_their_order() -> None:
    assert (
        *("yaw", "pitch", "roll", "x", "y", "scale", "mouth open", "smile", "pucker"),
        *("blink left", "blink right", "brow raise", "brow inner", "gaze x", "gaze y", "jaw x"),
    ) == NAMES


def test_typical_values_are_about_one_and_within_limits() -> None:
    theta = many()
    low, high = limits()
    assert (theta >= low).all() and (theta <= high).all()
    spread = theta.std(0)
    assert (spread > 0.4).all() and (spread < 1.5).all(), dict(
        zip(NAMES, spread.tolist(), strict=True)
    )


def test_lips_that_part_a_little_can_be_asked_for() -> None:
    gaps = many(MotionConfig(open_share=1.0, small_share=0.7))[:, OPEN] * THETA[OPEN].scale
    assert (gaps < PARTED[1]).float().mean() > 0.7
    assert gaps.max() > 0.4
    assert gaps.min() >= 0


def test_shifts_that_are_no_turns_can_be_asked_for() -> None:
    plain, aside = many(), many(MotionConfig(aside_share=1.0))
    assert aside[:, X].std() > 1.4 * plain[:, X].std()
    assert aside[:, YAW].std() == pytest.approx(0.4 * float(plain[:, YAW].std()), rel=0.1)


def test_people_who_look_about_can_be_asked_for() -> None:
    plain, wide = many(), many(MotionConfig(wide_share=1.0))
    _, high = limits()
    for control in (YAW, PITCH, X):
        ends = [
            (sample[:, control].abs() > 0.9 * high[control]).float().mean()
            for sample in (plain, wide)
        ]
        assert ends[1] > 5 * ends[0] and ends[1] > 0.08
    assert wide[:, PITCH].max() > 1.2 * high[PITCH]
    assert (wide <= high * torch.where(torch.arange(16) == PITCH, NODS, 1.0)).all()


def test_nobody_turns_further_than_there_are_cheeks_to_show() -> None:
    own = torch.zeros(3, 16)
    own[:, YAW] = torch.tensor([-1.5, 0.0, 1.5])
    theta = torch.full((3, 16), 2.4)
    turned = (within_reach(theta, own) - own)[:, YAW] * THETA[YAW].scale
    assert turned.max() <= MAX_TURN_DEG + 1e-3
    assert torch.equal(within_reach(theta, own)[:, 1:], theta[:, 1:])


def test_shares_are_as_asked() -> None:
    theta = many()
    assert (theta[:, OPEN] * THETA[OPEN].scale > 0.015).float().mean() == pytest.approx(
        0.5, abs=0.05
    )
    shut = (theta[:, [BLINK_L, BLINK_R]] > 1.0).any(1).float().mean()
    assert 0.25 < shut < 0.42
    one_eye = ((theta[:, BLINK_L] > 1.5) != (theta[:, BLINK_R] > 1.5)).float().mean()
    assert 0.02 < one_eye < 0.2
    assert many(MotionConfig(pose=0.5))[:, YAW].std() == pytest.approx(0.5, abs=0.05)


def test_faces_are_not_turned_to_the_side_they_do_not_show() -> None:
    own = torch.zeros(2000, 16)
    own[:, YAW] = -20 / 13
    theta = sample_theta(own, torch.Generator().manual_seed(1))
    assert theta[:, YAW].max() * 13 <= 13.01


def test_smooth_motion_is_smooth_talks_and_blinks() -> None:
    theta = smooth_motion(12, 25, torch.Generator().manual_seed(2))
    assert theta.shape == (300, 16)
    assert theta[0].abs().max() < 1e-6
    assert theta[-1].abs().max() < 1e-6
    assert (
        theta.diff(dim=0)[:, :6].abs().max() < 0.35
    )  # of a typical pose, in a twenty-fifth of a second
    assert theta[:, YAW].abs().max() > 0.4
    shut = theta[:, BLINK_L] > 1.5
    assert 2 <= (shut[1:] & ~shut[:-1]).sum() <= 10
    opening = theta[:, OPEN] > 0.3
    assert (opening[1:] & ~opening[:-1]).sum() > 8
    assert torch.equal(theta, smooth_motion(12, 25, torch.Generator().manual_seed(2)))


def test_smooth_motion_rests_where_it_is_told() -> None:
    neutral = torch.zeros(16)
    neutral[YAW] = 0.7
    theta = smooth_motion(3, 30, torch.Generator().manual_seed(0), neutral)
    assert theta[0, YAW] == pytest.approx(0.7)
    with pytest.raises(ConfigError):
        smooth_motion(0, 30, torch.Generator())
