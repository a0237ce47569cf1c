"""Batches are a function of (seed, stage, step) and of nothing else, shared evenly among processes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lia_live.errors import ConfigError
from lia_live.train.clip_pairs import ClipPairs, ClipPairsConfig
from lia_live.train.light import LightConfig
from lia_live.train.pairs import Pairs
from lia_live.train.performer import Performer, PerformerConfig
from lia_live.train.presets import paper
from lia_live.train.schedule import Stage, TrainConfig
from lia_live.train.supply import LEAD, Supply, check_sharing, seeded
from tests.train import runs
from tests.train.faces import drawn_portraits

STAGE = replace(runs.STAGE, batch=8, single_batch=8, clips=0.25)
CONFIG = runs.config(STAGE, window=96)
KEY = (1, 0, 0)


@pytest.fixture(scope="module")
def performer() -> Performer:
    return Performer(drawn_portraits())


@pytest.fixture(scope="module")
def clips() -> ClipPairs:
    return ClipPairs(runs.performed_clips())


def same(one: Pairs, other: Pairs) -> bool:
    return all(torch.equal(v, other.tensors()[k]) for k, v in one.tensors().items())


def test_a_step_is_the_same_whatever_was_drawn_before(performer, clips) -> None:
    went_through = Supply(performer, clips, STAGE, CONFIG, KEY)
    for step in range(30):
        torch.rand(3)  # the global generator plays no part
        batch, singles = went_through.batch(step), went_through.singles(step, 0)
        if step in (0, 1, 13, 29):
            resumed = Supply(performer, clips, STAGE, CONFIG, KEY)
            assert same(resumed.batch(step), batch), step
            assert all(map(torch.equal, resumed.singles(step, 0), singles))
    assert len(batch) == 8
    assert batch.source.dtype == torch.float32


def test_asking_twice_or_for_singles_first_changes_nothing(performer, clips) -> None:
    one, other = (Supply(performer, clips, STAGE, CONFIG, KEY) for _ in range(2))
    other.singles(20, 1)
    assert same(one.batch(20), other.batch(20))
    assert same(one.batch(20), other.batch(20))


@pytest.mark.parametrize("key", [(2, 0, 0), (1, 1, 0), (1, 0, 1)])
def test_seed_stage_and_rollback_all_count(performer, clips, key: tuple[int, ...]) -> None:
    one, other = (Supply(performer, clips, STAGE, CONFIG, k) for k in (KEY, key))
    assert not same(one.batch(3), other.batch(3))


def test_turns_draw_different_pictures(performer, clips) -> None:
    supply = Supply(performer, clips, STAGE, CONFIG, KEY)
    assert not torch.equal(supply.singles(3, 0)[0], supply.singles(3, 1)[0])
    assert not torch.equal(supply.singles(3, 0)[0], supply.singles(4, 0)[0])


class Counting(Performer):
    counts: list[int]

    def pairs(self, index: Tensor, *given, **more):
        self.counts.append(len(index))
        return super().pairs(index, *given, **more)


def counting(stage: Stage, config: TrainConfig, steps: int, first: int = 0) -> int:
    performer = Counting(drawn_portraits())
    performer.counts = []
    supply = Supply(performer, None, stage, config, KEY)
    for step in range(first, steps):
        supply.batch(step)
    return sum(performer.counts)


def test_each_pair_is_used_about_as_often_as_asked() -> None:
    stage = replace(STAGE, clips=0.0)
    for fresh_every in (1, 2):
        made = counting(stage, replace(CONFIG, fresh_every=fresh_every), 24)
        used = 24 * stage.batch
        assert made == pytest.approx(used / fresh_every + LEAD * CONFIG.tile, abs=CONFIG.tile)


def test_a_resumed_run_performs_only_what_is_in_reach() -> None:
    stage = replace(STAGE, clips=0.0)
    config = replace(CONFIG, window=96)
    assert counting(stage, config, 201, first=200) == 96


def test_singles_are_half_drivers_half_sources_with_their_labels(performer) -> None:
    plain = replace(STAGE, clips=0.0, performer=PerformerConfig(cross_identity=0.0, same_pose=0.0))
    supply = Supply(performer, None, plain, CONFIG, KEY)
    chosen = supply._streams[0].draw(5, 0).restored()
    picture, theta, known = supply.singles(5, 0)
    assert torch.equal(picture[:4], chosen.driver[:4])
    assert torch.equal(theta[:4], chosen.theta_target[:4])
    assert torch.equal(picture[4:], chosen.source[4:])
    assert torch.equal(theta[4:], chosen.theta_source[4:])
    assert known.min() == 1


@pytest.mark.parametrize("batch", ["batch", "singles"])
def test_two_processes_draw_what_one_draws(performer, clips, batch: str) -> None:
    config = replace(CONFIG, streams=2)
    whole = Supply(performer, clips, STAGE, config, KEY)
    halves = [Supply(performer, clips, STAGE, config, KEY, rank, 2) for rank in (0, 1)]
    if batch == "batch":
        expected = whole.batch(7)
        got = [half.batch(7) for half in halves]
        assert same(Pairs.interleave(got), expected)
        assert not same(*got)
    else:
        pictures = whole.singles(7, 0)[0]
        parts = [half.singles(7, 0)[0] for half in halves]
        assert torch.equal(torch.stack(parts, 1).flatten(0, 1), pictures)


def of_clips(batch: Pairs) -> Tensor:
    """(B,) 1 for pairs of clips, which know not every label; 0 for performed ones."""
    return (batch.known == 0).any(1).float()


def test_a_share_of_clips_and_none_where_there_are_none(performer, clips) -> None:
    def real(supply: Supply) -> float:
        batches = [supply.batch(step) for step in range(16)]
        return float(torch.cat([of_clips(batch) for batch in batches]).mean())

    assert real(Supply(performer, clips, STAGE, CONFIG, KEY)) == pytest.approx(0.25, abs=0.1)
    assert real(Supply(performer, None, STAGE, CONFIG, KEY)) == 0
    assert real(Supply(performer, clips, replace(STAGE, clips=0.0), CONFIG, KEY)) == 0
    assert real(Supply(None, clips, replace(STAGE, clips=0.0), CONFIG, KEY)) == 1


def test_the_stage_says_how_portraits_perform(performer) -> None:
    same_pose = replace(STAGE, clips=0.0, performer=PerformerConfig(same_pose=1.0))
    batch = Supply(performer, None, same_pose, CONFIG, KEY).batch(0)
    assert torch.equal(batch.theta_source, batch.theta_target)
    assert performer.config == PerformerConfig(), "the run's own performer is left alone"


def test_the_stage_says_how_frames_become_pairs(clips) -> None:
    dull = LightConfig(shared=0.0, driver=0.0)
    plain = replace(STAGE, clip_pairs=ClipPairsConfig(same_frame=1.0, light=dull))
    batch = Supply(None, clips, plain, CONFIG, KEY).batch(0)
    assert torch.equal(batch.source, batch.target)
    assert torch.equal(batch.driver, batch.target)
    assert clips.config == ClipPairsConfig(), "the run's own clips are left alone"


def test_clips_have_their_own_way_where_the_stage_says_nothing() -> None:
    own = ClipPairs(runs.performed_clips(), config=ClipPairsConfig(same_frame=1.0))
    assert STAGE.clip_pairs is None
    batch = Supply(None, own, STAGE, CONFIG, KEY).batch(0)
    assert torch.equal(batch.source, batch.target)


@pytest.mark.parametrize("share", [1.0, 0.0])
def test_the_papers_driver_is_the_target(performer, clips, share: float) -> None:
    """Of clips; of portraits where there are none."""
    stage = replace(paper().stages[0], size=32, batch=8, single_batch=8)
    batch = Supply(performer, clips if share else None, stage, CONFIG, KEY).batch(0)
    assert of_clips(batch).mean() == share
    assert torch.equal(batch.driver, batch.target)
    alike = (batch.source == batch.target).flatten(1).all(1)
    assert not alike.any()


def test_uneven_sharing_is_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match=r"2 processes cannot share 1 stream") as caught:
        check_sharing(CONFIG, 2)
    assert "streams=2" in caught.value.hint
    check_sharing(replace(CONFIG, streams=4), 2)
    stage = replace(STAGE, batch=12, losses=runs.ADVERSARIAL)
    with pytest.raises(ConfigError, match="groups of 4"):
        check_sharing(runs.config(stage, streams=2), 2)
    check_sharing(runs.config(stage, streams=2), 1)


def test_seeded_is_a_pure_function() -> None:
    one = seeded("cpu", 1, "tile", 3).initial_seed()
    assert one == seeded("cpu", 1, "tile", 3).initial_seed()
    assert (
        len({seeded("cpu", *key).initial_seed() for key in [(1, 23), (12, 3), (1, "23", 0)]}) == 3
    )


def test_maps_are_as_fine_as_the_stage_asks(performer, clips) -> None:
    for share, raster, side in ((0.0, 96, 96), (1.0, 96, 96), (0.5, None, 64)):
        stage = replace(STAGE, raster=raster, clips=share)
        batch = Supply(performer, clips, stage, CONFIG, KEY).batch(0)
        assert batch.displacement.shape[-1] == side
        assert batch.source.shape[-1] == STAGE.size


def test_maps_of_a_few_pixels_are_refused() -> None:
    with pytest.raises(ConfigError, match="raster must be at least 16"):
        replace(STAGE, raster=8)
