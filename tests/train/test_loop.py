"""The loop: stages, resuming bit by bit, settings that may not change, the paper's recipe."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lia_live.errors import ConfigError
from lia_live.model import LIA, load_model, save_weights
from lia_live.train.clip_pairs import ClipPairs, ClipPairsConfig
from lia_live.train.data import Data
from lia_live.train.growth import TEETH, TONGUE, paints
from lia_live.train.loop import Run
from lia_live.train.losses import LossWeights
from lia_live.train.perceptual import FixedFeatures
from lia_live.train.prepared import Prepared
from lia_live.train.presets import paper
from lia_live.train.reporting import FolderReporter
from lia_live.train.schedule import TrainConfig
from lia_live.train.steps import Progress
from tests.train import runs
from tests.train.faces import drawn_portraits
from tests.train.runs import SIZE_64, STAGE, after, config, figures, opened, said

CRITIC = replace(SIZE_64, losses=runs.ADVERSARIAL)


@pytest.fixture(scope="module")
def data() -> Data:
    """Portraits and clips, nothing held out."""
    return Data.of(Prepared(drawn_portraits(), runs.performed_clips()))


@pytest.fixture(scope="module")
def measured() -> Data:
    portraits = replace(drawn_portraits(), held_out=torch.tensor([False, False, True]))
    return Data.of(Prepared(portraits, None))


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
    stage = replace(STAGE, joint_steps=120, batch=8, single_steps=0, oracle=(1.0, 1.0))
    run = opened(config(stage, window=16), data, tmp_path, every=0)
    run.train()
    told = [values["loss"] for values in figures(run).values()]
    assert sum(told[-10:]) < 0.9 * sum(told[:10])


def test_a_held_encoder_stays_and_learns_again_afterwards(data: Data, tmp_path: Path) -> None:
    held = replace(STAGE, encoder="held", single_steps=0, joint_steps=2)
    run = opened(config(held, replace(STAGE, joint_steps=2)), data, tmp_path)

    def parts() -> dict[str, torch.Tensor]:
        return {k: v.clone() for k, v in run.trainee.teacher.named_parameters() if "noise" not in k}

    start = parts()
    run.train(after(run, 2))
    middle = parts()
    assert {k for k, v in middle.items() if torch.equal(v, start[k])} == {
        k for k in start if ".enc." in k or "to_rgb1" in k
    }
    run.train()
    end = parts()
    assert not any(torch.equal(v, middle[k]) for k, v in end.items() if ".enc." in k)
    with pytest.raises(ConfigError, match="encoder-only steps"):
        replace(held, single_steps=1)


def test_mouths_are_painted_from_the_stage_that_asks_for_them_on(
    data: Data, tmp_path: Path
) -> None:
    """Interrupted right there as well: they are put in once."""
    losses = LossWeights(teeth=1.0, tongue=1.0, coarser=4.0)
    run_config = config(STAGE, replace(SIZE_64, losses=losses), colours="filled")
    whole = opened(run_config, data, tmp_path / "whole")
    whole.train(after(whole, 4))
    assert not paints(whole.finished(), TEETH)
    whole.train()
    assert paints(whole.finished(), TEETH)
    assert paints(whole.finished(), TONGUE)
    for total in (4, 5, 99):
        run = opened(run_config, data, tmp_path / "parts", resume=total > 4)
        run.train(after(run, total))
    assert figures(run) == {k: v for k, v in figures(whole).items() if k > 5}
    with pytest.raises(ConfigError, match="filled"):
        replace(run_config, colours="passed")


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
