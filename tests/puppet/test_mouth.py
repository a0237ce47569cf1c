"""The painted inside of mouths."""

from __future__ import annotations

import torch

from lia_live.puppet.mouth import MouthStyle, mouth_colour


def test_teeth_of_the_unseen_are_all_alike_and_leave_a_dark_gap() -> None:
    light, flesh = torch.tensor([0.4, 0.8]), torch.tensor([[0.6, 0.4, 0.4], [0.8, 0.5, 0.5]])
    style = MouthStyle.plain(light, flesh)
    assert torch.equal(style.tooth[0], style.tooth[1])
    assert style.upper[0] == style.upper[1] > 0
    for gap in (0.06, 0.12, 0.3):
        down = torch.linspace(0.02, 0.98, 25)
        people = style.pick(torch.ones(25, dtype=torch.int64))
        colour, lights = mouth_colour(torch.zeros(25), down, torch.full((25,), gap), people)
        column, (teeth, tongue) = colour.mean(1), lights.T
        assert 0 == teeth[-4:].max() == teeth.min() < 0.1 < teeth.max() <= 1
        assert (column[teeth > 0.5] > 0.4).all()
        assert (column[(teeth == 0) & (tongue < 0.1)] < 0.35).all()
        if gap < 0.2:
            assert column[-4:].max() < 0.35, "dark above the lower lip"
        assert (tongue.max() > 0.3) == (gap > 0.2), "a mouth that opens far shows the tongue"
        assert (tongue + teeth).max() < 1
        if gap > 0.1:
            assert column[:12].max() > 0.45, "teeth below the upper one"
