"""What learns: its start, its growth through the stages, its way through a checkpoint and back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lia_live.errors import ConfigError
from lia_live.model import LIA
from lia_live.puppet.theta import NAMES
from lia_live.train.devices import open_fabric
from lia_live.train.presets import paper
from lia_live.train.schedule import Gains
from lia_live.train.teacher import ALPHA_GAIN, gains_of, label_directions
from lia_live.train.trainee import Trainee
from tests.train import runs

CPU = torch.device("cpu")
CONFIG = runs.config(
    runs.STAGE,
    replace(runs.STAGE, size=64),
    replace(runs.STAGE, size=64, losses=runs.ADVERSARIAL),
)


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())


def touch(trainee: Trainee, seed: int = 0) -> None:
    """A step of every optimiser on made-up gradients."""
    generator = torch.Generator().manual_seed(seed)
    for optimiser in trainee._optimisers.values():
        for group in optimiser.param_groups:
            for parameter in group["params"]:
                if parameter.requires_grad:
                    parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    trainee.average_weights(0.9, seed)


def advanced(stages: int) -> Trainee:
    """Through so many stages, the last one still open."""
    trainee = Trainee(CONFIG, CPU)
    for number in range(stages):
        trainee.begin_stage(CONFIG.stages[number], number)
        touch(trainee, number)
        if number < stages - 1:
            trainee.end_stage()
    return trainee


def test_the_start_is_a_function_of_the_seed_and_draws_nothing_of_ours() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = Trainee(CONFIG, CPU)
    one.begin_stage(CONFIG.stages[1], 1)
    one.begin_stage(CONFIG.stages[2], 2)
    one.finished(64)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert equal(Trainee(CONFIG, CPU).tensors(), Trainee(CONFIG, CPU).tensors())
    other = Trainee(replace(CONFIG, seed=2), CPU).tensors()
    assert not equal(Trainee(CONFIG, CPU).tensors(), other)


def test_stages_grow_it_and_open_what_they_need() -> None:
    trainee = advanced(1)
    assert (trainee.size, trainee.critic) == (32, None)
    trainee = advanced(2)
    assert (trainee.size, trainee.average.model.config.size) == (64, 64)
    trainee = advanced(3)
    assert trainee.critic.config.size == 64
    assert any(name.startswith("critic.") for name in trainee.tensors())
    trainee.end_stage()
    assert not any(name.startswith(("critic", "joint", "single")) for name in trainee.tensors())


@pytest.mark.parametrize("stages", [1, 2, 3])
@pytest.mark.parametrize("when", ["mid-stage", "at its end"])
def test_a_checkpoint_brings_everything_back(stages: int, when: str) -> None:
    trainee = advanced(stages)
    if when == "at its end":
        trainee.end_stage()
    saved = {name: value.clone() for name, value in trainee.tensors().items()}
    fresh = Trainee(CONFIG, CPU)
    fresh.load(saved, trainee.size)
    number = stages - 1 if when == "mid-stage" else min(stages, 2)
    for one in (trainee, fresh):
        if when == "at its end":
            one.begin_stage(CONFIG.stages[number], number)
    if when == "mid-stage":
        fresh.begin_stage(CONFIG.stages[number], number)
    assert equal(fresh.tensors(), trainee.tensors())
    touch(fresh, 9)
    touch(trainee, 9)
    assert equal(fresh.tensors(), trainee.tensors())


def test_growth_is_the_same_in_a_resumed_run() -> None:
    """The new level draws its weights; a run that resumes just before it must draw the same."""
    trainee = advanced(1)
    trainee.end_stage()
    saved = {name: value.clone() for name, value in trainee.tensors().items()}
    fresh = Trainee(CONFIG, CPU)
    fresh.load(saved, 32)
    torch.rand(7)
    fresh.begin_stage(CONFIG.stages[1], 1)
    trainee.begin_stage(CONFIG.stages[1], 1)
    assert equal(fresh.tensors(), trainee.tensors())


def test_a_rollback_may_lead_to_a_smaller_network() -> None:
    early = advanced(1)
    saved = {name: value.clone() for name, value in early.tensors().items()}
    trainee = advanced(3)
    trainee.load(saved, 32)
    trainee.begin_stage(CONFIG.stages[0], 0)
    assert trainee.size == 32
    assert equal(trainee.tensors(), early.tensors())


def test_rates_follow_their_bases() -> None:
    trainee = advanced(3)
    trainee.set_rates(0.5)
    stage = CONFIG.stages[2]
    rest, heads = trainee.joint.param_groups
    assert rest["lr"] == pytest.approx(0.5 * stage.learning_rate)
    assert heads["lr"] == pytest.approx(0.5 * stage.learning_rate * stage.heads_rate)
    assert trainee.single.param_groups[0]["lr"] == pytest.approx(0.5 * stage.single_learning_rate)
    assert trainee.critic_optimiser.param_groups[0]["lr"] == pytest.approx(
        0.5 * stage.critic_learning_rate
    )
    encoder = {id(p) for p in trainee.teacher.model.enc.parameters()}
    assert {id(p) for p in trainee.single.param_groups[0]["params"]} == encoder
    everything = {id(p) for p in trainee.teacher.parameters()}
    assert {id(p) for g in trainee.joint.param_groups for p in g["params"]} == everything


def test_the_average_lags_behind_and_may_be_turned_off() -> None:
    trainee = advanced(1)
    name = "teacher.term"
    before = trainee.tensors()["average.term"].clone()
    with torch.no_grad():
        trainee.teacher.term.add_(1)
    trainee.average_weights(0.9, 10_000)
    now = trainee.tensors()
    assert torch.allclose(now["average.term"], before + 0.1 * (now[name] - before), atol=1e-6)
    trainee.average_weights(0.0, 10_000)
    assert torch.allclose(trainee.tensors()["average.term"], now[name])


def base(size: int = 32, labels: bool = True) -> LIA:
    torch.manual_seed(0)
    model = LIA(replace(runs.TINY, size=size))
    if labels:
        model.directions = label_directions(model.config.motion_dim)
    return model.eval()


@pytest.mark.parametrize("labels", [True, False])
@torch.no_grad()
def test_a_base_comes_out_as_it_went_in(labels: bool) -> None:
    model = base(64, labels)
    trainee = Trainee(runs.config(replace(runs.STAGE, size=64)), CPU, model)
    assert trainee.teacher.labels == (16 if labels else 0)
    trainee.begin_stage(replace(runs.STAGE, size=64), 0)
    out = trainee.finished(64)
    assert out.directions == model.directions
    source, driver = torch.rand(2, 1, 3, 64, 64) * 2 - 1
    assert torch.allclose(out(source, driver), model(source, driver), atol=1e-4)


def test_a_base_grows() -> None:
    trainee = Trainee(CONFIG, CPU, base(32))
    trainee.begin_stage(CONFIG.stages[1], 1)
    assert trainee.finished(64).config == runs.TINY


def test_a_base_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="first stage on 32"):
        Trainee(CONFIG, CPU, base(64))
    with pytest.raises(ConfigError, match="another network"):
        Trainee(replace(CONFIG, model=replace(runs.TINY, width=0.125)), CPU, base(32))


def test_the_paper_starts_without_labels() -> None:
    config = paper(1e-5)
    stage = replace(config.stages[0], size=64, batch=4)
    trainee = Trainee(replace(config, model=runs.TINY, stages=(stage,)), CPU)
    assert trainee.teacher.labels == 0
    assert not trainee.teacher.term.requires_grad
    assert trainee.finished(64).directions[0].name == "direction 1"


def test_named_motions_need_their_coefficients() -> None:
    with pytest.raises(ConfigError, match="motion_dim must be at least 16"):
        Trainee(replace(CONFIG, model=replace(runs.TINY, motion_dim=len(NAMES) - 1)), CPU)


def test_the_truth_is_told_to_the_share_that_the_stage_names() -> None:
    trainee = Trainee(CONFIG, CPU)
    fabric = open_fabric("cpu", 1, "fp32")
    stage = replace(runs.STAGE, joint_steps=100, batch=4, oracle=(1.0, 0.25))

    def share(steps: range) -> float:
        told = [trainee.oracle(stage, 1, 0, step, fabric).float().mean() for step in steps]
        return float(torch.stack(told).mean())

    assert share(range(1)) == 1
    assert share(range(20, 30)) == pytest.approx(0.625, abs=0.2)
    assert share(range(50, 100)) == pytest.approx(0.25, abs=0.08)
    assert torch.equal(*(trainee.oracle(stage, 1, 0, 40, fabric) for _ in range(2)))


@pytest.mark.parametrize("from_base", (False, True))
def test_passed_colours_are_held(from_base: bool) -> None:
    """Through steps and growth, of a fresh network and of one whose colours had been learned."""
    config = replace(CONFIG, colours="passed")
    base = None
    if from_base:
        first = Trainee(CONFIG, CPU)
        first.begin_stage(CONFIG.stages[0], 0)
        touch(first)
        base = first.finished(32)
    trainee = Trainee(config, CPU, base)
    for number, stage in enumerate(config.stages[:2]):
        trainee.begin_stage(stage, number)
        before = {n: p.clone() for n, p in trainee.teacher.named_parameters()}
        touch(trainee)
        kept = {n for n, p in trainee.teacher.named_parameters() if torch.equal(p, before[n])}
        assert kept == {n for n in before if ".to_rgbs." in n or "net_app.convs.0." in n}
    model = trainee.finished(64)
    weights = torch.stack([t.conv.parts()[0].weight.abs().sum() for t in model.dec.to_rgbs])
    assert weights[:-1].abs().max() < 1e-4, "only the finest level shows anything"


def test_filled_colours_hold_the_last_level_and_keep_what_coarser_ones_learned() -> None:
    trainee = Trainee(replace(CONFIG, colours="filled"), CPU)
    for number, stage in enumerate(CONFIG.stages[:2]):
        trainee.begin_stage(stage, number)
        before = {n: p.clone() for n, p in trainee.teacher.named_parameters()}
        touch(trainee)
        last = f".to_rgbs.{len(trainee.teacher.model.dec.to_rgbs) - 1}."
        kept = {n for n, p in trainee.teacher.named_parameters() if torch.equal(p, before[n])}
        assert kept == {n for n in before if last in n or "net_app.convs.0." in n}
    average = trainee.average.model.dec.to_rgbs[-2].conv.parts()[0].weight
    model = trainee.finished(trainee.size)
    assert torch.equal(model.dec.to_rgbs[-2].conv.parts()[0].weight, average)
    assert average.abs().max() > 0


def test_what_starts_as_the_paper_does_has_no_colours_to_pass() -> None:
    for colours in ("passed", "filled"):
        with pytest.raises(ConfigError, match="pass-through"):
            replace(paper(), colours=colours)


def test_gains_are_of_the_finished_network_alone() -> None:
    """What goes on from it is taught in label units again, and its gains stay unless others are asked for."""
    config = replace(CONFIG, gains=Gains(yaw=1.4, blink=1.5))
    first = Trainee(config, CPU)
    first.begin_stage(CONFIG.stages[0], 0)
    touch(first)
    louder = first.finished(32)
    assert louder.directions[0].scale == pytest.approx(1.4 * ALPHA_GAIN)
    assert (
        louder.directions[9].scale == louder.directions[10].scale == pytest.approx(1.5 * ALPHA_GAIN)
    )
    second = Trainee(CONFIG, CPU, louder)
    picture = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        taught = first.average.model.enc.fc(first.average.model.enc.net_app(picture)[0])
        again = second.teacher.read_motion(picture)
    assert torch.allclose(again, taught, atol=1e-3)
    assert torch.allclose(gains_of(second.finished(32)), gains_of(louder))
    third = Trainee(replace(CONFIG, gains=Gains(pitch=1.2)), CPU, louder)
    assert gains_of(third.finished(32))[:3].tolist() == pytest.approx([1, 1.2, 1])


def test_a_gain_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ConfigError, match="yaw"):
        Gains(yaw=0.0)
    wanted = Gains(yaw=1.2)
    with pytest.raises(ConfigError, match="named motions"):
        Trainee(replace(CONFIG, start="paper", gains=wanted), CPU)
    with pytest.raises(ConfigError, match="named motions"):
        Trainee(replace(CONFIG, gains=wanted), CPU, LIA(replace(runs.TINY, size=32)))
