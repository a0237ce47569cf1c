"""The loop: stages, resuming, what it does about numbers that are not finite and memory that is not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lia_live.errors import ConfigError, TrainingError
from lia_live.model import LIA, load_model, save_weights
from lia_live.train.checkpoints import Checkpoints
from lia_live.train.clip_pairs import ClipPairs, ClipPairsConfig
from lia_live.train.data import Data
from lia_live.train.loop import PATIENCE, ROLLBACKS, Run
from lia_live.train.losses import LossWeights
from lia_live.train.pairs import Pairs
from lia_live.train.perceptual import FixedFeatures
from lia_live.train.performer import Performer
from lia_live.train.prepared import Prepared
from lia_live.train.reporting import FolderReporter
from lia_live.train.schedule import Stage, TrainConfig, paper
from lia_live.train.steps import Progress
from lia_live.train.teacher import Rendered, Teacher
from tests.train import runs
from tests.train.faces import drawn_portraits
from tests.train.runs import STAGE, Heard, config, opened

SIZE_64 = replace(STAGE, size=64, joint_steps=3)
CRITIC = replace(SIZE_64, losses=runs.ADVERSARIAL)


@pytest.fixture(scope="module")
def data() -> Data:
    """Portraits and clips, nothing held out."""
    return Data.of(Prepared(drawn_portraits(), runs.performed_clips()))


@pytest.fixture(scope="module")
def measured() -> Data:
    portraits = replace(drawn_portraits(), held_out=torch.tensor([False, False, True]))
    return Data.of(Prepared(portraits, None))


def figures(run: Run) -> dict[int, dict[str, Any]]:
    assert isinstance(run.reporter, Heard)
    return {step: values for step, values in run.reporter.figures if "measured" not in values}


def said(run: Run) -> list[str]:
    assert isinstance(run.reporter, Heard)
    return run.reporter.lines


def after(run: Run, total: int) -> Callable[[], bool]:
    return lambda: run.progress.total >= total


def test_a_run_goes_through_its_stages_and_ends_in_weights(measured: Data, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    reporter = FolderReporter(folder, lambda text: None)
    run = opened(config(STAGE, SIZE_64), measured, folder, reporter=reporter)
    assert run.train()
    reporter.close()
    model = run.finished()
    assert model.config == runs.TINY
    assert run.progress.stage == 2
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    told = [entry["measured"] for entry in entries if "measured" in entry]
    assert len(told) == 2  # at the end of each stage
    assert all(0 < one["l1"] < 1 for one in told)
    assert [entry["total"] for entry in entries if "loss" in entry] == list(range(1, 8))
    assert (folder / "sheet.png").stat().st_size > 1000
    saved = json.loads((folder / "config.json").read_text())
    assert saved["config"]["stages"][1]["size"] == 64
    path = save_weights(model, tmp_path / "w.safetensors", name="t", licence="x", dtype="float16")
    assert load_model(path, device="cpu").directions[6].name == "mouth open"


def test_training_changes_every_part(data: Data, tmp_path: Path) -> None:
    run = opened(config(CRITIC), data, tmp_path)
    before = {k: v.clone() for k, v in run.trainee.teacher.named_parameters()}
    run.train()
    unused = ("to_rgb1", "noise")  # the official layout's keys that nothing reads
    now = dict(run.trainee.teacher.named_parameters())
    still = [k for k, v in now.items() if k in before and torch.equal(before[k], v)]
    assert [k for k in still if not any(part in k for part in unused)] == []


def test_a_short_run_gets_better_at_one_batch(data: Data, tmp_path: Path) -> None:
    """The loop as a whole descends what it says it descends."""
    stage = replace(STAGE, joint_steps=60, batch=8, single_steps=0, oracle=(1.0, 1.0))
    run = opened(config(stage, window=16), data, tmp_path, every=0)
    run.train()
    told = [values["loss"] for values in figures(run).values()]
    assert sum(told[-10:]) < 0.9 * sum(told[:10])


@pytest.mark.parametrize("interruptions", [(7,), (2, 4, 5, 9)])
def test_a_stopped_run_goes_on_bit_by_bit(
    data: Data, tmp_path: Path, interruptions: tuple[int, ...], whole: Run
) -> None:
    """In the middle of a stage (2, 9), at its very end (4, 7), right after growth (5), with the discriminator (9)."""
    found: dict[int, dict[str, Any]] = {}
    for number, total in enumerate((*interruptions, 99)):
        torch.manual_seed(number)  # whatever it was
        run = opened(MIXED, data, tmp_path, resume=number > 0)
        assert run.train(after(run, total)) == (total == 99)
        assert found.keys().isdisjoint(figures(run))
        found |= figures(run)
    assert found == figures(whole)
    for name, value in whole.finished().state_dict().items():
        assert torch.equal(run.finished().state_dict()[name], value)


MIXED = config(STAGE, SIZE_64, replace(CRITIC, joint_steps=4, clips=0.5, batch=8))


@pytest.fixture(scope="module")
def whole(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = opened(MIXED, data, tmp_path_factory.mktemp("whole"))
    assert run.train()
    assert sorted(figures(run)) == list(range(1, 12))
    assert "critic" in figures(run)[9]
    return run


def test_a_finished_run_resumes_to_its_end(data: Data, tmp_path: Path) -> None:
    opened(config(replace(STAGE, joint_steps=1)), data, tmp_path).train()
    again = opened(config(replace(STAGE, joint_steps=1)), data, tmp_path, resume=True)
    assert again.train()
    assert figures(again) == {}


def test_resuming_nothing_begins(data: Data, tmp_path: Path) -> None:
    assert opened(config(), data, tmp_path, resume=True).progress == Progress()


def test_a_damaged_checkpoint_is_passed_over_aloud(data: Data, tmp_path: Path, whole: Run) -> None:
    run = opened(MIXED, data, tmp_path)
    run.train(after(run, 6))
    (path,) = (tmp_path / "checkpoints").glob("step-000000006-*")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    again = opened(MIXED, data, tmp_path, resume=True)
    assert again.progress.total == 5
    assert said(again)[0].startswith("damaged checkpoint passed over: step 6")
    again.train()
    assert figures(run) | figures(again) == figures(whole)


def test_when_all_are_damaged_nothing_is_overwritten(data: Data, tmp_path: Path) -> None:
    opened(config(), data, tmp_path)
    for path in (tmp_path / "checkpoints").glob("*.safetensors"):
        path.write_bytes(b"")
    before = sorted((p.name, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=r"no checkpoint in .* is whole"):
        opened(config(), data, tmp_path, resume=True)
    with pytest.raises(ConfigError, match="holds a run already"):
        opened(config(), data, tmp_path)
    assert sorted((p.name, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"config": config(replace(STAGE, batch=8), seed=2)}, "seed: 1 -> 2"),
        ({"config": config(replace(STAGE, batch=8))}, "config.stages.0.batch: 4 -> 8"),
        ({"perceptual": FixedFeatures()}, "perceptual: none -> FixedFeatures"),
        (
            {"config": config(replace(STAGE, clip_pairs=ClipPairsConfig(mirror=0.0)))},
            "config.stages.0.clip_pairs.mirror: absent -> 0.0",
        ),
        ({"data": "fingerprint"}, "data: "),
        ({"data": "clips"}, "clips.mirror: 0.5 -> 1.0"),
        ({"base": "model"}, "base: none -> "),
    ],
)
def test_a_run_with_other_settings_is_refused_with_the_difference(
    data: Data, tmp_path: Path, changed: dict[str, Any], says: str
) -> None:
    opened(config(), data, tmp_path)
    if changed.get("data") == "fingerprint":
        changed = {"data": replace(data, fingerprint="another")}
    elif changed.get("data") == "clips":
        clips = ClipPairs(runs.performed_clips(), config=ClipPairsConfig(mirror=1.0))
        changed = {"data": replace(data, clips=clips)}
    elif changed.get("base"):
        torch.manual_seed(0)
        changed = {"base": LIA(replace(runs.TINY, size=32))}
    given = {"config": config(), "data": data} | changed
    with pytest.raises(ConfigError, match="other settings") as caught:
        opened(given.pop("config"), given.pop("data"), tmp_path, resume=True, **given)
    assert says in caught.value.message


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


# Networks without labels


def test_the_papers_recipe_on_clips_alone(tmp_path: Path) -> None:
    clips_only = Data.of(Prepared(None, runs.performed_clips()))
    recipe = paper(1e-5)
    stage = replace(recipe.stages[0], size=64, batch=4, joint_steps=2)
    settings = replace(recipe, model=runs.TINY, stages=(stage,), precision="fp32")
    run = opened(settings, clips_only, tmp_path, perceptual=FixedFeatures())
    assert run.train()
    told = figures(run)[2]
    assert {"pixels", "perceptual", "adversarial", "critic"} <= told.keys()
    assert told.keys().isdisjoint({"motion", "single"})
    assert run.finished().config == runs.TINY


def test_a_base_without_labels_is_never_taught_them(data: Data, tmp_path: Path) -> None:
    """Encoder-only steps would tie its own, unnamed motions to the performer's names."""
    torch.manual_seed(0)
    base = LIA(replace(runs.TINY, motion_dim=10))
    stage = replace(STAGE, size=64, joint_steps=2, single_steps=2, clips=0.5)
    settings = TrainConfig(model=base.config, stages=(stage,), precision="fp32", window=32)
    run = opened(settings, data, tmp_path, base=base)
    assert run.trainee.teacher.labels == 0
    assert run.train()
    assert "single" not in figures(run)[2]
    assert "motion" not in figures(run)[2]
    assert run.finished().config.motion_dim == 10


def test_losses_of_the_log_are_the_weighted_sum(data: Data, tmp_path: Path) -> None:
    run = opened(config(replace(CRITIC, joint_steps=1)), data, tmp_path)
    run.train()
    told = figures(run)[1]
    weights = run.config.stages[0].losses
    terms = [name for name in told if hasattr(LossWeights, name)]
    assert {"pixels", "flow", "motion", "adversarial"} <= set(terms)
    total = sum(getattr(weights, name) * told[name] for name in terms)
    assert total == pytest.approx(told["loss"], rel=1e-5)
