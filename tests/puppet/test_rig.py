"""The rig: labels move what they name, and what they do not name stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lia_live.engine.bounds import Axes
from lia_live.engine.retargeting import Retargeting
from lia_live.engine.tracked import Tracked
from lia_live.puppet.mesh import (
    BROWS,
    EYEBALLS,
    LID_LOWER,
    LID_UPPER,
    LIP_LOWER,
    LIP_UPPER,
    OUTER,
    RING,
)
from lia_live.puppet.raster import rasterise
from lia_live.puppet.rig import Rig
from lia_live.puppet.theta import (
    BLINK_L,
    BLINK_R,
    BROW,
    BROW_INNER,
    GAZE_X,
    NAMES,
    OPEN,
    PITCH,
    PUCKER,
    ROLL,
    SCALE,
    SMILE,
    YAW,
    X,
    Y,
    scales,
)
from lia_live.train.teacher import ALPHA_GAIN, label_directions
from tests.doubles import PlainShape
from tests.train.faces import SIDE, drawn_portraits, talking_portraits


def drawn_rig() -> Rig:
    return Rig(drawn_portraits().landmarks, SIDE)


def test_labels_are_what_the_vertices_do() -> None:
    rig = drawn_rig()
    numbers = torch.arange(3)
    theta = torch.zeros(3, 16)
    rest = rig.pose(numbers, theta)
    for control, vertex, axis in ((YAW, 1, 0), (PITCH, 1, 1), (ROLL, 10, 0), (X, 1, 0), (Y, 1, 1)):
        turned = theta.clone()
        turned[:, control] = 1.5
        assert (rig.pose(numbers, turned)[:, vertex, axis] > rest[:, vertex, axis] + 0.01).all()
    nearer = theta.clone()
    nearer[:, SCALE] = 2.0
    width = rig.pose(numbers, nearer)[:, 263, 0] - rig.pose(numbers, nearer)[:, 33, 0]
    assert torch.allclose(width, torch.full((3,), 0.34 * 2.718281828**0.12), atol=0.004)
    for gap in (0.0, 0.1, 0.5):
        opened = theta.clone()
        opened[:, OPEN] = gap / scales()[OPEN]
        points = rig.pose(numbers, opened)
        between = (points[:, [87, 14, 317], 1] - points[:, [82, 13, 312], 1]).mean(1) / 0.34
        assert torch.allclose(between, torch.full((3,), gap), atol=0.035)
    smiling = theta.clone()
    smiling[:, SMILE] = 2.0
    grin = rig.pose(numbers, smiling)
    assert (grin[:, 291, 0] - grin[:, 61, 0] > rest[:, 291, 0] - rest[:, 61, 0] + 0.03).all()


def test_a_shut_eye_is_shut_and_the_other_is_not() -> None:
    rig = drawn_rig()
    theta = torch.zeros(3, 16)
    theta[:, BLINK_L] = 1 / scales()[BLINK_L]
    points = rig.pose(torch.arange(3), theta)[..., 1]
    gaps = [points[:, LID_LOWER[eye][4]] - points[:, LID_UPPER[eye][4]] for eye in (0, 1)]
    assert gaps[0].max() < 0  # the upper lid lies over the lower one
    assert gaps[0].min() > -0.012
    assert gaps[1].min() > 0.015


def test_background_stays_while_the_head_moves() -> None:
    rig = drawn_rig()
    theta = torch.zeros(3, 16)
    theta[:, [YAW, X, ROLL]] = torch.tensor([1.5, 1.0, 1.5])
    theta[:, Y] = rig.own[:, Y]
    points = rig.pose(torch.arange(3), theta)
    border = slice(OUTER.stop - RING, OUTER.stop)
    assert torch.equal(points[:, border], rig.rest[:, border])
    outside = (rig.rest[:, border, :2] - 0.5).abs().amax(2)
    assert (outside > 0.5).all()
    assert (points[:, 10] - rig.rest[:, 10]).norm(dim=1).min() > 0.05


def test_gaze_moves_the_irises_only() -> None:
    rig = drawn_rig()
    theta = torch.zeros(1, 16)
    looking = theta.clone()
    looking[:, GAZE_X] = 2.0
    numbers = torch.zeros(1, dtype=torch.int64)
    moved = (rig.pose(numbers, looking) - rig.pose(numbers, theta))[0]
    assert moved[:468].abs().max() < 1e-6
    assert moved[520, 0] == pytest.approx(0.34 * 0.06, abs=1e-4)
    assert theta[0, BLINK_R] == 0


def test_what_is_above_a_head_goes_up_and_down_with_it() -> None:
    rig = drawn_rig()
    theta = torch.zeros(3, 16)
    theta[:, Y] = 2.0
    border = slice(OUTER.stop - RING, OUTER.stop)
    moved = (rig.pose(torch.arange(3), theta) - rig.pose(torch.arange(3), 0 * theta))[:, border]
    assert moved[..., [0, 2]].abs().max() < 1e-6
    head = 2.0 * 0.09 * 0.34
    rest = rig.rest[:, border]
    above = (rest[..., 1] < 0) & ((rest[..., 0] - 0.5).abs() < 0.2)
    assert (moved[..., 1][above] > 0.8 * head).all()
    beside = (rest[..., 1] > 0.5) & (rest[..., 1] < 0.9)
    assert beside.sum() > 6
    assert (moved[..., 1][beside] < 0.1 * head).all()
    assert (moved[..., 1][rest[..., 1] > 0.9] == 0).all()


def test_lids_that_shut_hide_the_eye_and_no_white_is_left() -> None:
    rig = drawn_rig()
    eyes = slice(EYEBALLS[0].start, EYEBALLS[1].stop)
    shown = []
    for closure in (0.0, 1.0):
        theta = rig.own.clone()
        theta[:, BLINK_L] = theta[:, BLINK_R] = closure / scales()[BLINK_L]
        points = rig.pose(torch.arange(3), theta)
        seen = rasterise(points, rig.triangles, 256)
        ball = ((seen.corners >= eyes.start) & (seen.corners < eyes.stop)).any(3)
        shown.append(int(ball.sum()))
    assert shown[0] > 300
    assert shown[1] < 0.03 * shown[0]


def test_the_skin_of_lids_begins_beyond_the_lashes() -> None:
    portraits = drawn_portraits((0.0,))
    rig = Rig(portraits.landmarks, SIDE)
    top, landmark = LID_UPPER[0][4], portraits.landmarks[0, LID_UPPER[0][4], 1] / SIDE
    assert landmark - rig.rest[0, top, 1] == pytest.approx(0.012 * 0.34, rel=0.15)
    corner = LID_UPPER[0][0]
    assert torch.allclose(rig.rest[0, corner, :2], portraits.landmarks[0, corner, :2] / SIDE)


def talking() -> tuple[Rig, torch.Tensor, torch.Tensor]:
    """Portraits with open mouths: vertices as they are, and with lips shut, looking up."""
    rig = Rig(talking_portraits().landmarks, SIDE)
    theta = rig.own.clone()
    theta[:, OPEN] = 0.0
    theta[:, PITCH] = -15 / scales()[PITCH]
    numbers = torch.arange(3)
    return rig, rig.pose(numbers, rig.own), rig.pose(numbers, theta)


def test_lips_that_shut_meet_also_seen_from_below() -> None:
    _, own, shut = talking()
    apart = [
        (points[:, list(LIP_LOWER[1:-1]), 1] - points[:, list(LIP_UPPER[1:-1]), 1]) / 0.34
        for points in (own, shut)
    ]
    assert apart[0].mean() > 0.12
    assert apart[1].abs().max() < 0.012


def test_lips_of_an_open_mouth_begin_beyond_its_teeth() -> None:
    beyond = []
    for gap in (0.18, 0.03):  # of nearly closed ones, not so far
        landmarks = talking_portraits(gap).landmarks
        rest = Rig(landmarks, SIDE).rest
        landmarks = landmarks / SIDE
        beyond.append((landmarks[:, LIP_UPPER[5], 1] - rest[:, LIP_UPPER[5], 1]) / 0.34)
        corner = LIP_UPPER[0]
        assert torch.allclose(rest[:, corner, :2], landmarks[:, corner, :2])
    assert torch.allclose(beyond[0], torch.full((3,), 0.012), rtol=0.15)
    assert (beyond[1] < 0.75 * beyond[0]).all()


def test_corners_of_a_mouth_that_shuts_go_up() -> None:
    rig, _, _ = talking()
    shut = rig.own.clone()
    shut[:, OPEN] = 0.0
    moved = (rig.pose(torch.arange(3), shut) - rig.pose(torch.arange(3), rig.own))[:, [61, 291], 1]
    gap = rig.gap * 0.34
    assert (moved < -0.1 * gap[:, None]).all()


def test_eyes_that_are_nearly_shut_on_the_photograph_stay_so() -> None:
    portraits = drawn_portraits((0.0,))
    landmarks = portraits.landmarks.clone()
    for eye in (0, 1):
        for up, down in zip(LID_UPPER[eye][1:-1], LID_LOWER[eye][1:-1], strict=True):
            landmarks[0, up, 1] += 0.75 * (landmarks[0, down, 1] - landmarks[0, up, 1])
    rig = Rig(landmarks, SIDE)
    assert rig.own[0, BLINK_L] * 0.4 > 0.7
    posed = rig.pose(torch.zeros(1, dtype=torch.int64), rig.own)
    assert (posed - rig.rest)[..., :2].abs().max() < 1e-5


def test_brows_and_what_is_beside_them_stay_when_lids_shut() -> None:
    """What lies nearer to the lids than brows do is skin that unfolds."""
    rig = drawn_rig()
    open_eyes, shut = torch.zeros(3, 16), torch.zeros(3, 16)
    shut[:, [BLINK_L, BLINK_R]] = 1 / 0.4
    moved = rig.pose(torch.arange(3), shut) - rig.pose(torch.arange(3), open_eyes)
    way = moved[..., 1].abs() / rig.size[:, None]
    lids = way[:, [159, 386]].min()
    assert lids > 0.04
    for brow in BROWS:
        assert way[:, list(brow)].max() < 0.02 * lids


@pytest.mark.parametrize(("gesture", "least", "most"), [(BROW, 0.7, 1.3), (BROW_INNER, 2.0, 3.2)])
def test_brows_of_a_frame_are_compared_with_those_of_another(
    gesture: int, least: float, most: float
) -> None:
    """In units of what a landmark finder shows of them: of inner ends two fifths of what the mesh does."""
    rig = drawn_rig()
    theta = rig.own.clone()
    theta[:, gesture] += 1.6
    moved = Rig(rig.pose(torch.arange(3), theta)[:, :478] * SIDE, SIDE)
    change = (moved.compared - rig.compared)[:, gesture] / 1.6
    assert ((change > least) & (change < most)).all()
    assert torch.equal(moved.own[:, [BROW, BROW_INNER]], torch.zeros(3, 2)), "nobody's own"


@pytest.mark.parametrize("width", [0.48, 0.55, 0.59, 0.7])
def test_lips_of_clips_are_told_as_they_are_live(width: float) -> None:
    """A mouth that narrows puckers: the same change of smile and pucker, whatever the mouth was before."""
    axes = Axes(label_directions(20))
    tracked = Tracked(axes)
    landmarks = drawn_portraits().landmarks
    source, target = landmarks.clone(), landmarks.clone()
    unit = landmarks[:, 263, 0] - landmarks[:, 33, 0]
    for points, apart in ((source, 0.59), (target, width)):
        middle = (landmarks[:, 61, 0] + landmarks[:, 291, 0]) / 2
        points[:, 61, 0], points[:, 291, 0] = middle - apart * unit / 2, middle + apart * unit / 2
    told = Rig(target, SIDE).compared - Rig(source, SIDE).compared
    shapes = [PlainShape(mouth_width=apart) for apart in (0.59, width)]
    before, after = (tracked.still(np.zeros(20), shape) for shape in shapes)
    live = Retargeting(axes).narrowed(after - before, shapes[0]) / ALPHA_GAIN
    for label in (SMILE, PUCKER):
        found = told[:, label].tolist()
        assert found == pytest.approx([live[label]] * 3, abs=0.2), NAMES[label]
