"""The training loop: it learns, stops and goes on, and ends in weights that load."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lia_live.model import LIAConfig, load_model, save_weights
from lia_live.train import losses
from lia_live.train.loop import Run
from lia_live.train.performer import PerformedBatch
from lia_live.train.pool import Pool
from lia_live.train.portraits import Portraits
from lia_live.train.schedule import Stage, TrainConfig
from lia_live.train.teacher import label_directions

from .faces import drawn_portraits

STAGE = Stage(size=32, joint_steps=4, batch=4, single_steps=1, single_batch=4)
CONFIG = TrainConfig(
    model=LIAConfig(size=64, width=0.0625, latent_dim=32),
    stages=(STAGE, replace(STAGE, size=64, joint_steps=2)),
    pool=16,
)


@pytest.fixture(scope="module")
def portraits() -> Portraits:
    drawn = drawn_portraits()
    return replace(drawn, held_out=torch.tensor([False, False, True]))


def test_a_run_goes_through_its_stages_and_ends_in_weights(
    portraits: Portraits, tmp_path: Path
) -> None:
    run = Run(CONFIG, portraits, tmp_path)
    model = run.train()
    assert model.config.size == 64
    assert run.progress.stage == 2
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    measured = [entry["measured"] for entry in entries if "measured" in entry]
    assert len(measured) == 2  # at the end of each stage
    assert all(0 < figures["l1"] < 1 for figures in measured)
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    model.directions = label_directions(model.config.motion_dim)
    path = save_weights(model, tmp_path / "w.safetensors", name="t", licence="x", dtype="float16")
    loaded = load_model(path, device="cpu")
    assert loaded.directions[6].name == "mouth open"


def test_an_interrupted_run_goes_on_where_it_was_saved(
    portraits: Portraits, tmp_path: Path
) -> None:
    class Stopped(Exception):
        pass

    first = Run(CONFIG, portraits, tmp_path)
    joint_step = first._joint_step

    def stop_in_the_third(*arguments: object) -> dict[str, float]:
        if first.progress.step == 2:
            first._save()
            raise Stopped
        return joint_step(*arguments)

    first._joint_step = stop_in_the_third  # type: ignore[assignment]
    with pytest.raises(Stopped):
        first.train()
    second = Run(CONFIG, portraits, tmp_path)
    assert second.progress.step == 2
    for name, value in first.teacher.state_dict().items():
        assert torch.equal(second.teacher.state_dict()[name], value), name
    second.train()
    assert second.progress.stage == 2


def test_training_changes_every_part(portraits: Portraits, tmp_path: Path) -> None:
    run = Run(replace(CONFIG, stages=(STAGE,)), portraits, tmp_path)
    before = {k: v.clone() for k, v in run.teacher.named_parameters()}
    run.train()
    unused = ("to_rgb1", "noise")  # the official layout's keys that nothing reads
    still = [
        name
        for name, value in run.teacher.named_parameters()
        if torch.equal(before[name], value) and not any(part in name for part in unused)
    ]
    assert still == []


def test_losses_are_zero_for_the_right_answer_and_grow_with_the_error() -> None:
    torch.manual_seed(0)
    picture = torch.rand(2, 3, 32, 32)
    even = torch.ones(2, 1, 32, 32)
    assert sum(losses.pyramid_l1(picture, picture, even)) == 0
    near = losses.pyramid_l1(picture + 0.1, picture, even)[0]
    far = losses.pyramid_l1(picture + 0.2, picture, even)[0]
    assert far > 1.9 * near > 0
    flow = torch.zeros(2, 2, 32, 32)
    one_pixel = torch.full_like(flow, 1 / 64)  # of a 128-pixel picture
    exact = losses.flow_distance(torch.atanh(one_pixel), one_pixel, even)
    off = losses.flow_distance(flow, one_pixel, even)
    assert exact.abs() < 1e-6
    assert off == pytest.approx(2**0.5 - 0.1, abs=0.01)
    assert losses.flow_distance(flow, one_pixel, torch.zeros_like(even)) == 0


def test_mouths_weigh_more_in_the_pixel_loss() -> None:
    target = torch.zeros(1, 3, 32, 32)
    region = torch.full((1, 1, 32, 32), 0.5)
    region[..., 16:, :] = 1.5
    above, below = target.clone(), target.clone()
    above[..., 4:8, :] = 1
    below[..., 20:24, :] = 1
    assert losses.pyramid_l1(below, target, region)[0] == pytest.approx(
        3 * losses.pyramid_l1(above, target, region)[0].item(), rel=1e-4
    )


def test_the_pool_overwrites_its_oldest_and_gives_whole_samples() -> None:
    def batch(value: float) -> PerformedBatch:
        def full(*shape: int) -> torch.Tensor:
            return torch.full((3, *shape), value)

        return PerformedBatch(
            full(3, 8, 8), full(3, 8, 8), full(3, 8, 8), full(2, 8, 8), full(1, 8, 8),
            full(1, 8, 8), full(16), full(16),
        )  # fmt: skip

    pool = Pool(capacity=6)
    for value in (1.0, 2.0, 3.0):
        pool.put(batch(value))
    assert len(pool) == 6
    drawn = pool.draw(40, torch.Generator().manual_seed(0), PerformedBatch)
    values = drawn.theta_source[:, 0]
    assert set(values.tolist()) == {2.0, 3.0}
    assert torch.equal(drawn.source[:, 0, 0, 0], values)  # fields of one sample stay together
    assert drawn.source.dtype == torch.float32
