"""Steps replayed from a CUDA graph learn what steps launched one by one learn. Skipped aloud where there is no card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lia_live.model import layers
from lia_live.train import steps as steps_module
from lia_live.train.devices import open_fabric
from lia_live.train.losses import LossWeights
from lia_live.train.pairs import Pairs
from lia_live.train.perceptual import FixedFeatures
from lia_live.train.performer import Performer
from lia_live.train.recorded import WORTH_COMPILING
from lia_live.train.schedule import Stage
from lia_live.train.steps import Progress, Steps
from lia_live.train.trainee import Trainee
from tests.train import runs
from tests.train.faces import drawn_portraits

STAGE = replace(runs.STAGE, losses=LossWeights(coarser=4.0, teeth=1.0, tongue=1.0), registered=True)
CONFIG = runs.config(STAGE, colours="filled")
LONG = replace(STAGE, joint_steps=WORTH_COMPILING)
CPU = torch.device("cpu")


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


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiler_finds_one_graph_and_the_same_gradients(
    precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "folds", lambda x: True)  # as on a GPU
    trainee = held(STAGE, CPU)
    steps = Steps(CONFIG, open_fabric("cpu", 1, precision), trainee, FixedFeatures(), print)
    stage = replace(STAGE, losses=replace(STAGE.losses, perceptual=0.3))
    batch, oracle = pairs(CPU, 0), torch.tensor([True, False, False, True])
    found = []
    for judge in (steps._judge, traced(steps._judge)):
        trainee.teacher.zero_grad(set_to_none=True)
        loss, figures, names = judge(stage, batch, oracle)
        loss.backward()
        gradients = [p.grad for p in trainee.teacher.parameters() if p.grad is not None]
        found.append((dict(zip(names, figures.tolist(), strict=True)), gradients))
    (launched, theirs), (compiled, mine) = found
    assert compiled == pytest.approx(launched, rel=1e-5)
    for gradient, twin in zip(mine, theirs, strict=True):
        assert gradient.stride() == twin.stride()
        assert float((gradient - twin).norm()) <= 1e-4 * float(twin.norm()) + 1e-7


class Launched:
    """What ``Recorded`` is to its caller, without a GPU: the step is launched anew each time."""

    def __init__(
        self, compute: Callable[..., Tensor], inputs: Sequence[Tensor], module: nn.Module
    ) -> None:
        self._compute, self._module = compute, module
        compute(*inputs)

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        self._module.zero_grad(set_to_none=True)
        return self._compute(*inputs)


def no_compiler(function: Any) -> Any:
    def call(*values: Any) -> Any:
        raise RuntimeError("no Triton here\nand much more")

    return call


def traced(function: Any) -> Any:
    return torch.compile(function, fullgraph=True, dynamic=False, backend="aot_eager")


@pytest.mark.parametrize("compiler", [traced, no_compiler])
def test_long_stages_are_compiled_where_there_is_a_compiler(
    compiler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "folds", lambda x: True)  # as on a GPU
    monkeypatch.setattr(steps_module, "Recorded", Launched)
    monkeypatch.setattr(steps_module, "compiled", compiler)
    wanted, _, silence = learned(LONG, CPU)
    monkeypatch.setattr(Trainee, "is_recordable", lambda self, stage: True)
    figures, _, said = learned(LONG, CPU)
    assert [one.keys() for one in figures] == [one.keys() for one in wanted]
    for one, other in zip(figures, wanted, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    refused = ["joint steps go on without being compiled: no Triton here"]
    assert silence == []
    assert said[1:] == (refused if compiler is no_compiler else [])
    assert said[0].startswith("compiling")
    assert learned(STAGE, CPU)[2] == []  # too short for it


def test_running_out_of_memory_says_nothing_of_a_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def small(function: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(steps_module, "Recorded", Launched)
    monkeypatch.setattr(steps_module, "compiled", small)
    monkeypatch.setattr(Trainee, "is_recordable", lambda self, stage: True)
    progress, heard = Progress(), []
    steps = Steps(CONFIG, open_fabric("cpu", 1, "fp32"), held(LONG, CPU), None, heard.append)
    steps.joint(progress, LONG, pairs(CPU, 0))
    assert progress.parts == 2
    assert not any("without" in line for line in heard)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("stage", [STAGE, LONG], ids=["recorded", "compiled and recorded"])
def test_recorded_steps_learn_the_same(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda")
    replayed, mine, said = learned(stage, device)
    assert not any("without being compiled" in line for line in said)
    assert any("compiling" in line for line in said) == (stage is LONG)
    monkeypatch.setattr(Trainee, "is_recordable", lambda self, stage: False)
    launched, theirs, _ = learned(stage, device)
    for one, other in zip(replayed, launched, strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    for parameter, twin in zip(mine, theirs, strict=True):
        assert torch.allclose(parameter, twin, rtol=1e-2, atol=1e-3)


def learned(
    stage: Stage, device: torch.device
) -> tuple[list[dict[str, float]], list[Tensor], list[str]]:
    """Three joint steps: their figures, the parameters behind them, and what was said."""
    said: list[str] = []
    trainee = held(stage, device)
    steps = Steps(CONFIG, open_fabric(device.type, 1, "fp32"), trainee, None, said.append)
    figures = [steps.joint(Progress(), stage, pairs(device, seed)) for seed in range(3)]
    return figures, [p.detach().clone() for p in trainee.teacher.parameters()], said


def held(stage: Stage, device: torch.device) -> Trainee:
    """At the beginning of the stage, with directions that do not learn."""
    trainee = Trainee(CONFIG, device)
    trainee.begin_stage(stage, 0)
    trainee.teacher.model.dec.direction.hold()
    return trainee
