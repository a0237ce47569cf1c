"""Checkpoints: whole or absent, damage found by hash, the last three kept."""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

import pytest
import torch

from lia_live.errors import StorageError
from lia_live.train.checkpoints import (
    KEEP,
    Checkpoints,
    pack_optimiser,
    unpack_optimiser,
)
from tests.train import runs

FACTS = {"progress": {"step": 3}, "rate": 0.1, "words": "größer"}


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {
        "weight": torch.full((3, 4), value),
        "last": torch.arange(24.0).view(2, 3, 2, 2).contiguous(memory_format=torch.channels_last),
        "step": torch.tensor(value),
        "count": torch.tensor([7], dtype=torch.int64),
    }


def filled(folder: Path, numbers: tuple[int, ...] = (1, 2, 3)) -> Checkpoints:
    checkpoints = Checkpoints(folder)
    for number in numbers:
        checkpoints.save(number, tensors(float(number)), FACTS)
    return checkpoints


def content(folder: Path, number: int) -> Path:
    (path,) = folder.glob(f"step-{number:09d}-*.safetensors")
    return path


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    filled(tmp_path / "deep" / "er")
    found = Checkpoints(tmp_path / "deep" / "er").newest()
    assert found.number == 3
    assert found.facts == FACTS
    assert found.tensors.keys() == tensors(0).keys()
    for name, value in tensors(3.0).items():
        assert found.tensors[name].dtype == value.dtype
        assert torch.equal(found.tensors[name], value)


def test_three_are_kept_and_nothing_else(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path, (0, 5, 6, 7, 20))
    assert checkpoints.numbers() == [6, 7, 20]
    assert len(os.listdir(tmp_path)) == 2 * KEEP


def test_none_in_an_empty_or_missing_folder(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path).newest() is None
    assert Checkpoints(tmp_path / "missing").numbers() == []


def flip(path: Path, dice: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(data)


def truncate(path: Path, dice: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: dice.randrange(path.stat().st_size)])


@pytest.mark.parametrize("damage", [flip, truncate])
@pytest.mark.parametrize("which", ["content", "manifest"])
def test_damage_is_found_and_the_one_before_is_used(tmp_path: Path, damage, which: str) -> None:
    dice = random.Random(4)
    for turn in range(40):
        folder = tmp_path / str(turn)
        checkpoints = filled(folder)
        damage(content(folder, 3) if which == "content" else folder / "step-000000003.json", dice)
        found = checkpoints.newest()
        if found.number == 3:  # a flipped manifest may say the same: space, the case of an escape
            assert which == "manifest"
            assert torch.equal(found.tensors["weight"], tensors(3.0)["weight"])
            continue
        assert found.number == 2
        assert torch.equal(found.tensors["weight"], tensors(2.0)["weight"])
        (line,) = checkpoints.damaged
        assert line.startswith("step 3: ")


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", '{"file": 3}', "\xff", ""])
def test_a_manifest_of_something_else(tmp_path: Path, text: str) -> None:
    checkpoints = filled(tmp_path)
    (tmp_path / "step-000000003.json").write_bytes(text.encode("latin-1"))
    assert checkpoints.newest().number == 2


def test_a_manifest_leads_nowhere_else(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path / "in")
    manifest = json.loads((tmp_path / "in" / "step-000000003.json").read_text())
    content(tmp_path / "in", 3).rename(tmp_path / "outside.safetensors")
    manifest["file"] = "../outside.safetensors"
    (tmp_path / "in" / "step-000000003.json").write_text(json.dumps(manifest))
    assert checkpoints.newest().number == 2


def test_all_damaged_is_none_with_reasons(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path)
    for path in tmp_path.glob("*.safetensors"):
        path.unlink()
    assert checkpoints.newest() is None
    assert [line.split(":")[0] for line in checkpoints.damaged] == ["step 3", "step 2", "step 1"]
    assert "missing" in checkpoints.damaged[0]


def test_saving_a_number_again_is_never_half_done(tmp_path: Path) -> None:
    """Killed between content and manifest, the old pair must still be whole."""
    checkpoints = filled(tmp_path, (2, 3))
    before = (tmp_path / "step-000000003.json").read_bytes()
    old = content(tmp_path, 3).read_bytes()
    old_name = content(tmp_path, 3).name
    checkpoints.save(3, tensors(9.0), FACTS)
    assert checkpoints.newest().tensors["step"] == 9
    # as it is on the disk after the content, before the manifest
    (tmp_path / "step-000000003.json").write_bytes(before)
    (tmp_path / old_name).write_bytes(old)
    assert len(list(tmp_path.glob("step-000000003-*"))) == 2
    found = checkpoints.newest()
    assert found.number == 3
    assert found.tensors["step"] == 3
    assert checkpoints.damaged == []


def test_leftovers_of_a_killed_save_go_with_the_next_one(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path, (1,))
    (tmp_path / ".step-000000002-aa.safetensors.ab12.part").write_text("half")
    (tmp_path / "step-000000002-aabbccdd.safetensors").write_text("no manifest")
    (tmp_path / "notes.txt").write_text("mine")
    assert checkpoints.newest().number == 1
    checkpoints.save(2, tensors(2.0), FACTS)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len(os.listdir(tmp_path)) == 2 * 2 + 1


def test_damaged_ones_above_do_not_crowd_out_the_sound_ones(tmp_path: Path) -> None:
    """A run that fell back behind damaged checkpoints keeps three sound ones again."""
    checkpoints = filled(tmp_path, (10, 20, 30))
    for number in (20, 30):
        content(tmp_path, number).write_bytes(b"damaged")
    assert checkpoints.newest().number == 10
    checkpoints.save(12, tensors(12.0), FACTS)
    assert checkpoints.numbers() == [10, 12]
    for number in (13, 14):
        checkpoints.save(number, tensors(float(number)), FACTS)
    assert checkpoints.numbers() == [12, 13, 14]
    assert checkpoints.newest().number == 14
    assert checkpoints.damaged == []


def test_the_newest_below_a_number(tmp_path: Path) -> None:
    assert filled(tmp_path).newest(at_most=2).number == 2
    assert Checkpoints(tmp_path).newest(at_most=0) is None


FULL = """
import sys, resource
from pathlib import Path
from lia_live.errors import StorageError
from tests.train.test_checkpoints import FACTS, Checkpoints, tensors
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    Checkpoints(Path(sys.argv[1])).save(4, tensors(4.0), FACTS)
except StorageError as error:
    print(error.exit_code, error.hint)
"""


@pytest.mark.skipif(os.name != "posix", reason="file size limits")
@pytest.mark.parametrize("room", [0, 400])
def test_a_full_disk_leaves_the_older_ones(tmp_path: Path, room: int) -> None:
    """The system's own limit on a file's size: no room at all, or for a part of it."""
    checkpoints = filled(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = runs.ran([sys.executable, "-c", FULL, str(tmp_path), str(room)])
    assert done.stdout.startswith("4 free some space"), done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert checkpoints.newest().number == 3


def test_no_permission_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        Checkpoints(tmp_path / "file" / "folder").save(1, tensors(1.0), FACTS)


def trained(steps: int, fused: bool, optimiser: torch.optim.Optimizer | None = None) -> tuple:
    torch.manual_seed(1)
    layer = torch.nn.Conv2d(3, 4, 3)
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    unused = torch.nn.Parameter(torch.ones(2))
    groups = [{"params": [layer.weight, unused]}, {"params": [layer.bias], "lr": 0.01}]
    made = torch.optim.Adam(groups, lr=0.1, fused=fused)
    for step in range(steps):
        descend(layer, made, step)
    return layer, made


def descend(layer: torch.nn.Conv2d, optimiser: torch.optim.Optimizer, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    picture = torch.rand(2, 3, 8, 8, generator=generator)
    optimiser.zero_grad()
    layer(picture).square().mean().backward()
    optimiser.step()


@pytest.mark.parametrize("fused", [False, True])
def test_an_optimiser_goes_on_bit_by_bit(tmp_path: Path, fused: bool) -> None:
    whole, _ = trained(6, fused)
    layer, optimiser = trained(3, fused)
    saved = pack_optimiser("joint", optimiser) | {"jointly.0.exp_avg": torch.zeros(1)}
    Checkpoints(tmp_path).save(3, {"w": layer.weight, "b": layer.bias, **saved}, {})
    found = Checkpoints(tmp_path).newest().tensors
    fresh, again = trained(0, fused)
    with torch.no_grad():
        fresh.weight.copy_(found["w"])
        fresh.bias.copy_(found["b"])
    again.param_groups[0]["lr"] = 0.1
    unpack_optimiser("joint", again, found)
    for step in range(3, 6):
        descend(fresh, again, step)
    assert torch.equal(fresh.weight, whole.weight)
    assert torch.equal(fresh.bias, whole.bias)
    state = again.state[fresh.weight]["exp_avg"]
    assert state.stride() == fresh.weight.stride()  # fused kernels rely on it
