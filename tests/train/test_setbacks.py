"""What the loop does about numbers that are not finite and memory that is not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lia_live.errors import TrainingError
from lia_live.train.checkpoints import Checkpoints
from lia_live.train.data import Data
from lia_live.train.loop import PATIENCE, ROLLBACKS, Run
from lia_live.train.pairs import Pairs
from lia_live.train.performer import Performer
from lia_live.train.prepared import Prepared
from lia_live.train.schedule import Stage
from lia_live.train.teacher import Rendered, Teacher
from tests.train import runs
from tests.train.faces import drawn_portraits
from tests.train.runs import SIZE_64, STAGE, after, config, figures, opened, said


@pytest.fixture(scope="module")
def data() -> Data:
    """Portraits and clips, nothing held out."""
    return Data.of(Prepared(drawn_portraits(), runs.performed_clips()))


# Numbers that are not finite


class Poison(Performer):
    """Performs well, except that at some calls a picture is full of NaN."""

    calls = 0
    bad: Callable[[int], bool]

    def pairs(self, index: Tensor, generator: torch.Generator, *given: Any, **more: Any) -> Any:
        made = super().pairs(index, generator, *given, **more)
        # by what is drawn, not by how often it was called: a resumed run performs it again
        if self.bad(generator.initial_seed()):
            made.target[:] = torch.nan
            made.driver[:] = torch.nan
        return made


def poisoned(bad: Callable[[int], bool]) -> Data:
    performer = Poison(drawn_portraits())
    performer.bad = bad
    return Data(performer, None, None, "poisoned")


def finite(run: Run) -> bool:
    return all(bool(torch.isfinite(v).all()) for v in run.trainee.tensors().values())


def test_some_bad_pairs_cost_their_steps_only(tmp_path: Path) -> None:
    """One tile of six is bad; every eighth pair is NaN."""
    stage = replace(STAGE, joint_steps=12)
    run = opened(config(stage, window=128, fresh_every=1), poisoned(lambda s: s % 6 == 0), tmp_path)
    assert run.train()
    bad = [step for step, values in figures(run).items() if values["loss"] != values["loss"]]
    assert 0 < len(bad) < 12
    assert finite(run)
    assert run.progress.rollbacks == 0
    assert run.progress.total == 12


def test_the_same_goes_bit_by_bit_through_a_resume(tmp_path: Path) -> None:
    stage = replace(STAGE, joint_steps=8)
    bad = poisoned(lambda s: s % 6 == 0)
    settings = config(stage, window=64, fresh_every=1)
    whole = opened(settings, bad, tmp_path / "whole")
    whole.train()
    first = opened(settings, bad, tmp_path / "parts")
    first.train(after(first, 5))
    second = opened(settings, bad, tmp_path / "parts", resume=True)
    second.train()
    told = {k: str(v) for k, v in (figures(first) | figures(second)).items()}
    assert told == {k: str(v) for k, v in figures(whole).items()}
    for name, value in whole.finished().state_dict().items():
        assert torch.equal(second.finished().state_dict()[name], value)


class Seeds:
    """Every pair is bad until so many rollbacks have changed what is drawn."""

    def __init__(self, rollbacks: int) -> None:
        self.run: Run | None = None
        self.rollbacks = rollbacks

    def __call__(self, seed: int) -> bool:
        return self.run is not None and self.run.progress.rollbacks < self.rollbacks


def test_it_goes_back_with_half_the_rate_and_other_pairs(tmp_path: Path) -> None:
    seeds = Seeds(2)
    stage = replace(STAGE, joint_steps=PATIENCE + 4, decay_from=1.0)
    run = opened(config(stage), poisoned(seeds), tmp_path)
    seeds.run = run
    assert run.train()
    assert run.progress.rollbacks == 2
    assert run.progress.total == PATIENCE + 4
    assert finite(run)
    assert sum("not finite" in line for line in said(run)) == 2
    assert run.trainee.joint.param_groups[0]["lr"] == pytest.approx(STAGE.learning_rate / 4)
    assert Checkpoints(tmp_path / "checkpoints").newest().facts["progress"]["rollbacks"] == 2


def test_beyond_repair_it_gives_up_and_keeps_its_checkpoints(tmp_path: Path) -> None:
    stage = replace(STAGE, joint_steps=40, single_steps=0)
    run = opened(config(stage), poisoned(lambda seed: True), tmp_path)
    with pytest.raises(TrainingError, match="diverged") as caught:
        run.train()
    assert caught.value.exit_code == 6
    assert run.progress.rollbacks == ROLLBACKS
    assert Checkpoints(tmp_path / "checkpoints").newest().number == 0


class OnlyJoint(Teacher):
    """Pictures that are NaN beside labels that are fine."""

    def forward(self, *given: Any) -> Rendered:
        out = super().forward(*given)
        return replace(out, image=out.image * torch.nan)


def test_good_encoder_steps_do_not_hide_bad_joint_ones(data: Data, tmp_path: Path) -> None:
    run = opened(config(replace(STAGE, joint_steps=40, single_steps=2)), data, tmp_path)
    run.trainee.teacher.__class__ = OnlyJoint
    with pytest.raises(TrainingError):
        run.train()
    assert run.progress.total < PATIENCE


def test_a_second_rollback_from_the_same_place_goes_further_back(
    data: Data, tmp_path: Path
) -> None:
    """A run on its way out is saved while its gradients are still finite: that one is no way back."""
    run = opened(config(replace(STAGE, joint_steps=40)), data, tmp_path)
    run.train(after(run, 3))
    run.train(after(run, 4))
    checkpoint = Checkpoints(tmp_path / "checkpoints").newest()
    assert checkpoint.number == 4
    again = opened(config(replace(STAGE, joint_steps=40)), data, tmp_path, resume=True)
    again.trainee.teacher.__class__ = OnlyJoint
    with pytest.raises(TrainingError):
        again.train()
    backs = [line.split("back to step ")[1][0] for line in said(again) if "back to" in line]
    assert backs == ["4", "3", "4"]


class AtTheBorder(Seeds):
    """All is well up to the second stage; there all is bad, and the checkpoint of the border is lost."""

    def __call__(self, seed: int) -> bool:
        if self.run is None or self.run.progress.stage == 0 or self.run.progress.rollbacks:
            return False
        for path in self.run.checkpoints.folder.glob("step-000000004*"):
            path.unlink()
        return True


def test_a_rollback_across_a_stage_border(tmp_path: Path) -> None:
    """The only sound checkpoint is of the stage before, of a smaller network."""
    settings = config(STAGE, replace(SIZE_64, joint_steps=PATIENCE + 1, single_steps=0))
    border = AtTheBorder(1)
    bad = poisoned(border)
    run = opened(settings, bad, tmp_path)
    run.train(after(run, 2))
    run = border.run = opened(settings, bad, tmp_path, resume=True, every=0)
    assert run.train()
    assert run.progress.rollbacks == 1
    assert any("back to step 2" in line for line in said(run))
    assert run.progress.total == 4 + PATIENCE + 1
    assert run.trainee.size == 64
    assert finite(run)


# Memory that is not there


class Cramped(Teacher):
    """A device with room for so many samples."""

    room = 99
    seen: list[int]

    def forward(self, source: Tensor, *given: Any) -> Rendered:
        if len(source) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.21 GiB")
        return super().forward(source, *given)

    def read_motion(self, picture: Tensor) -> Tensor:
        if len(picture) > self.room:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return super().read_motion(picture)


def cramped(run: Run, room: int) -> Run:
    teacher: Any = run.trainee.teacher
    teacher.__class__ = Cramped
    teacher.room = room
    return run


@pytest.mark.parametrize(("room", "parts"), [(4, 2), (1, 8)])
def test_out_of_memory_halves_the_batch_and_computes_the_same(
    data: Data, tmp_path: Path, room: int, parts: int
) -> None:
    stage = replace(STAGE, joint_steps=1, batch=8, single_batch=8)
    whole = opened(config(stage), data, tmp_path / "whole")
    whole.train()
    run = cramped(opened(config(stage), data, tmp_path / "parts"), room)
    run.train()
    assert run.progress.parts == parts
    assert said(run)[-1].startswith(f"out of memory: batches are worked through in {parts}")
    for name, value in figures(whole)[1].items():
        assert figures(run)[1][name] == pytest.approx(value, rel=1e-5), name


def test_memory_that_no_halving_helps_ends_the_run_in_order(data: Data, tmp_path: Path) -> None:
    run = cramped(opened(config(), data, tmp_path), 0)
    with pytest.raises(MemoryError, match="not even 1 samples"):
        run.train()
    assert Checkpoints(tmp_path / "checkpoints").newest().number == 0


def test_the_encoders_own_steps_are_halved_too(data: Data, tmp_path: Path) -> None:
    stage = replace(STAGE, joint_steps=2, batch=4, single_batch=16)
    run = cramped(opened(config(stage), data, tmp_path), 4)
    assert run.train()
    assert run.progress.parts == 4


def test_parts_are_remembered_and_fit_a_later_smaller_batch(data: Data, tmp_path: Path) -> None:
    large, small = replace(STAGE, batch=16), replace(STAGE, size=64, batch=4, joint_steps=2)
    settings = config(large, small, replace(small, batch=12, losses=runs.ADVERSARIAL))
    run = cramped(opened(settings, data, tmp_path), 1)
    run.train(after(run, 2))
    again = opened(settings, data, tmp_path, resume=True)
    assert again.progress.parts == 16
    assert again.train()


def test_an_ordinary_error_is_no_lack_of_memory(data: Data, tmp_path: Path) -> None:
    class Broken(Teacher):
        def forward(self, *given: Any) -> Rendered:
            raise RuntimeError("shapes do not fit")

    run = opened(config(), data, tmp_path)
    run.trainee.teacher.__class__ = Broken
    with pytest.raises(RuntimeError, match="shapes"):
        run.train()


def gradients(run: Run, stage: Stage, pairs: Pairs, parts: int) -> dict[str, Tensor]:
    """Of a joint step and of the discriminator's, in so many parts."""
    steps, trainee = run._steps, run.trainee
    slices = [slice(first, None, parts) for first in range(parts)]
    oracle = torch.arange(len(pairs)) % 3 == 0
    found: dict[str, Tensor] = {}
    trainee.teacher.zero_grad(set_to_none=True)
    trainee.critic.zero_grad(set_to_none=True)
    _, fakes = steps._descend(stage, pairs, oracle, slices)
    trainee.critic.requires_grad_(True)
    steps._criticise(stage, pairs.target, fakes, slices)
    for name, module in (("teacher", trainee.teacher), ("critic", trainee.critic)):
        for key, parameter in module.named_parameters():
            if parameter.grad is not None:
                found[f"{name}.{key}"] = parameter.grad.clone()
    return found


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_add_up_to_the_gradient_of_the_whole(data: Data, tmp_path: Path, parts: int) -> None:
    """With the discriminator too: its minibatch statistic never looks across parts (``steps.split``)."""
    stage = replace(STAGE, batch=16, clips=0.5, losses=replace(runs.ADVERSARIAL, adversarial=1.0))
    run = opened(config(stage), data, tmp_path)
    run.trainee.begin_stage(stage, 0)
    pairs = run._supply(stage).batch(0)
    whole, pieces = gradients(run, stage, pairs, 1), gradients(run, stage, pairs, parts)
    assert whole.keys() == pieces.keys()
    assert any(key.startswith("critic") for key in whole)
    for name, value in whole.items():
        assert float((pieces[name] - value).norm()) <= 2e-5 * float(value.norm()) + 1e-9, name


def test_parts_of_neighbours_would_not(data: Data, tmp_path: Path) -> None:
    """The measure of the test above can fail: neighbours are in different groups of the statistic."""
    stage = replace(STAGE, batch=16, losses=replace(runs.ADVERSARIAL, adversarial=1.0))
    run = opened(config(stage), data, tmp_path)
    run.trainee.begin_stage(stage, 0)
    pairs = run._supply(stage).batch(0)
    whole = gradients(run, stage, pairs, 1)["critic.final_conv.0.weight"]
    shuffled = pairs.pick(torch.arange(16).view(4, 4).T.flatten())
    other = gradients(run, stage, shuffled, 4)["critic.final_conv.0.weight"]
    assert float((other - whole).norm()) > 1e-3 * float(whole.norm())
