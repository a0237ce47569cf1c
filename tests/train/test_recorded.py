"""Steps replayed from a CUDA graph learn what steps launched one by one learn. Skipped aloud where there is no card."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lia_live.train.devices import open_fabric
from lia_live.train.losses import LossWeights
from lia_live.train.pairs import Pairs
from lia_live.train.performer import Performer
from lia_live.train.steps import Progress, Steps
from lia_live.train.trainee import Trainee
from tests.train import runs
from tests.train.faces import drawn_portraits

STAGE = replace(runs.STAGE, losses=LossWeights(coarser=4.0))
CONFIG = runs.config(STAGE, colours="filled")


def pairs(device: torch.device, seed: int) -> Pairs:
    generator = torch.Generator(device).manual_seed(seed)
    performer = Performer(drawn_portraits(), device)
    return Pairs.of_performance(performer.pairs(torch.arange(4) % 3, generator, 32))


def test_only_labelled_steps_on_a_gpu_are_recorded() -> None:
    trainee = Trainee(CONFIG, torch.device("cpu"))
    assert not trainee.is_recordable(STAGE)
    trainee._device = torch.device("cuda")  # what a card would be told
    assert trainee.is_recordable(STAGE)
    assert not trainee.is_recordable(replace(STAGE, losses=runs.ADVERSARIAL))
    trainee.teacher.labels = 0
    assert not trainee.is_recordable(STAGE)


def test_held_directions_stay() -> None:
    trainee = Trainee(CONFIG, torch.device("cpu"))
    direction = trainee.teacher.model.dec.direction
    before = direction.basis().detach().clone()
    direction.hold()
    assert not direction.weight.requires_grad
    assert torch.equal(direction.basis(), before)
    assert not direction.basis().requires_grad
    with torch.no_grad():
        direction.weight.neg_()  # another checkpoint's
    direction.hold()
    assert not torch.equal(direction.basis(), before)
    direction.hold(False)
    assert direction.weight.requires_grad and direction.basis().requires_grad


def test_a_run_that_a_gpu_began_goes_on_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the optimisers remember stays with its parameter, whether the directions learn or not."""

    def stepped(there: bool) -> Trainee:
        monkeypatch.setattr(Trainee, "is_recordable", lambda self, stage: there)
        trainee = Trainee(CONFIG, torch.device("cpu"))
        trainee.begin_stage(STAGE, 0)
        for name, parameter in trainee.teacher.named_parameters():
            if parameter.requires_grad:
                parameter.grad = torch.full_like(parameter, 1 + len(name))
        trainee.joint.step()
        return trainee

    def remembered(trainee: Trainee) -> dict[str, float]:
        names = {parameter: name for name, parameter in trainee.teacher.named_parameters()}
        state = trainee.joint.state
        return {names[p]: float(values["exp_avg"].mean()) for p, values in state.items()}

    for there in (True, False):
        one, other = stepped(there), stepped(not there)
        wanted = remembered(one)
        assert ("model.dec.direction.weight" in wanted) is not there
        other.load({name: value.clone() for name, value in one.tensors().items()}, 32)
        other.begin_stage(STAGE, 0)
        assert remembered(other) == pytest.approx(wanted)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_recorded_steps_learn_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda")
    fabric = open_fabric("cuda", 1, "fp32")
    learned = []
    for recorded in (True, False):
        trainee = Trainee(CONFIG, device)
        trainee.begin_stage(STAGE, 0)
        trainee.teacher.model.dec.direction.hold()
        steps = Steps(CONFIG, fabric, trainee, None, print)
        if not recorded:
            monkeypatch.setattr(Trainee, "is_recordable", lambda self, stage: False)
        figures = [steps.joint(Progress(), STAGE, pairs(device, seed)) for seed in range(3)]
        learned.append((figures, [p.detach().clone() for p in trainee.teacher.parameters()]))
    (replayed, mine), (launched, theirs) = learned
    for one, other in zip(replayed, launched, strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    for parameter, twin in zip(mine, theirs, strict=True):
        assert torch.allclose(parameter, twin, rtol=1e-2, atol=1e-3)
