"""Settings from TOML and from words; what differs is named; presets hold together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from lia_live.errors import ConfigError
from lia_live.train.clip_pairs import ClipPairsConfig
from lia_live.train.light import LightConfig
from lia_live.train.losses import LossWeights
from lia_live.train.presets import PRESETS, first_weights
from lia_live.train.running import resolve
from lia_live.train.schedule import Stage, TrainConfig
from lia_live.train.settings import assign, differences, plain, read_toml
from tests.train import runs


def toml(path: Path, text: str) -> Path:
    path = path / "run.toml"
    path.write_text(text)
    return path


def test_a_file_lies_over_the_preset_and_words_over_the_file(tmp_path: Path) -> None:
    path = toml(tmp_path, 'seed = 5\nprecision = "fp32"\n[model]\nwidth = 0.5\n')
    got = resolve("first", 0.5, path, ["seed=6", "stages.0.batch=8", "stages.1.losses.flow=1"])
    assert (got.seed, got.precision, got.model.width) == (6, "fp32", 0.5)
    assert got.stages[0].batch == 8
    assert got.stages[1].losses.flow == 1.0
    assert got.stages[0].joint_steps == first_weights(0.5).stages[0].joint_steps
    untouched = first_weights(0.5)
    assert got.stages[2:] == untouched.stages[2:]
    assert got.model.size == untouched.model.size


def test_a_list_of_stages_replaces_and_inherits_by_place(tmp_path: Path) -> None:
    path = toml(tmp_path, "[[stages]]\njoint_steps = 3\n[[stages]]\n[stages.losses]\nr1 = 2\n")
    got = read_toml(first_weights(), path)
    assert len(got.stages) == 2
    assert got.stages[0] == replace(first_weights().stages[0], joint_steps=3)
    assert got.stages[1].losses == LossWeights(r1=2.0)
    assert got.stages[1].oracle == first_weights().stages[1].oracle


def test_words_of_every_kind() -> None:
    base = first_weights()
    got = assign(base, ["start=paper", "ema=0", "stages.3.oracle=[0.5, 0]", 'precision="bf16"'])
    assert (got.start, got.ema, got.precision) == ("paper", 0.0, "bf16")
    assert got.stages[3].oracle == (0.5, 0.0)
    got = assign(base, ["stages.0.performer.motion.pose=0.5"])
    assert got.stages[0].performer.motion.pose == 0.5


def test_pairs_of_clips_are_set_where_the_preset_says_nothing(tmp_path: Path) -> None:
    path = toml(tmp_path, "[[stages]]\n[stages.clip_pairs]\nmirror = 0\nlight.driver = 0.5\n")
    words = ["stages.0.clip_pairs.reframe=0", "stages.0.clip_pairs.light.shared=0"]
    got = resolve("first", 1.0, path, words)
    assert got.stages[0].clip_pairs == ClipPairsConfig(
        mirror=0.0, reframe=0.0, light=LightConfig(shared=0.0, driver=0.5)
    )
    assert differences(plain(first_weights().stages[0]), plain(got.stages[0]))[0].startswith(
        "clip_pairs: None -> absent"
    )
    got = assign(PRESETS["paper"](), ["stages.0.clip_pairs.mirror=0.5"])
    assert got.stages[0].clip_pairs.same_frame == 0.0, "over the preset's own"


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("stages.0.clip_pairs.miror=1", "unknown key stages.0.clip_pairs.miror"),
        ("stages.0.clip_pairs.mirror=2", "clip_pairs.mirror must be in"),
        ("stages.0.clip_pairs.light.driver=3", "light.driver must be in"),
        ("stages.0.clip_pairs=1", "must be a table"),
        ("sed=1", "unknown key sed"),
        ("stages.0.batsh=1", "unknown key stages.0.batsh"),
        ("stages.4.batch=8", "unknown key stages.4.batch"),
        ("stages.one.batch=8", "unknown key stages.one.batch"),
        ("stages.0.batch.x=8", "unknown key stages.0.batch.x"),
        ("stages.0.batch=8.5", "whole number"),
        ("stages.0.batch=true", "whole number"),
        ("stages.0.batch=eight", "whole number"),
        ("stages.0.batch=0", "at least 1"),
        ("stages.0.learning_rate=nan", "learning_rate"),
        ("stages.0.learning_rate=0", "learning_rate"),
        ("stages.0.heads_rate=-1", "heads_rate"),
        ("stages.0.betas=[0.9, 1.0]", "betas"),
        ("stages.0.betas=[0.9]", "2 values"),
        ("stages.0.losses.scales=0", "scales"),
        ("stages.0.losses.scales=9", "scales"),
        ("stages.0.losses=3", "table"),
        ("stages.0.size=512", "sizes"),
        ("stages.3.size=32", "sizes"),
        ("stages.0.size=48", "size"),
        ("stages=3", "a list"),
        ("stages=[]", "sizes"),
        ("precision=fp8", "one of"),
        ("model.width=wide", "a number"),
        ("ema=1", "ema"),
        ("clip_norm=0", "clip_norm"),
        ("streams=3", "streams"),
        ("window=0", "window"),
        ("seed", "no setting"),
    ],
)
def test_what_cannot_be_is_refused_by_name(word: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        assign(first_weights(), [word])
    assert caught.value.exit_code == 2


def test_a_near_miss_is_guessed() -> None:
    with pytest.raises(ConfigError) as caught:
        assign(first_weights(), ["stages.0.learning_rat=1e-3"])
    assert "did you mean learning_rate?" in caught.value.hint


@pytest.mark.parametrize("text", ["seed = ", "seed = 'a'", "[[stages]]\nbatch = []", "x = 1"])
def test_a_wrong_file_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"run\.toml"):
        read_toml(first_weights(), toml(tmp_path, text))


def test_a_missing_file_and_a_binary_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration file"):
        read_toml(first_weights(), tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a configuration file"):
        read_toml(first_weights(), tmp_path / "binary.toml")
    with pytest.raises(ConfigError, match="not a configuration file"):
        read_toml(first_weights(), tmp_path)


def test_differences_name_every_leaf() -> None:
    old = plain(first_weights())
    assert differences(old, plain(first_weights())) == []
    new = assign(first_weights(), ["seed=2", "stages.1.losses.flow=0.5", "stages.0.betas=[0, 0.9]"])
    assert differences(old, plain(new)) == [
        "stages.0.betas: [0.9, 0.99] -> [0.0, 0.9]",
        "stages.1.losses.flow: 0.2 -> 0.5",
        "seed: 1 -> 2",
    ]
    shorter = plain(replace(first_weights(), stages=first_weights().stages[:3]))
    assert "stages.3.size: 128 -> absent" in differences(old, shorter)


def test_plain_survives_json() -> None:
    import json

    for preset in PRESETS.values():
        told = plain(preset())
        assert differences(json.loads(json.dumps(told)), told) == []


@dataclass(frozen=True)
class Optional:
    limit: int | None = None
    names: tuple[str, ...] = field(default=("a",))


def test_optional_values_and_plain_lists() -> None:
    assert assign(Optional(), ["limit=3"]).limit == 3
    assert assign(Optional(), ['names=["b", "c"]']).names == ("b", "c")
    assert assign(Optional(), ["names=[]"]).names == ()
    with pytest.raises(ConfigError, match="whole number"):
        assign(Optional(), ["limit=x"])


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 3.0])
def test_presets_resolve(name: str, scale: float) -> None:
    got = resolve(name, scale, None, [])
    assert all(stage.joint_steps >= 1 for stage in got.stages)
    assert got.stages[-1].size <= got.model.size


def test_an_unknown_preset_names_the_others() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("best", 1.0, None, [])
    assert "first, continued, longer, finish, gpu, paper" in caught.value.hint


def test_the_discriminator_needs_whole_groups() -> None:
    with pytest.raises(ConfigError, match="multiple of 4"):
        Stage(size=32, joint_steps=1, batch=6, losses=runs.ADVERSARIAL)


def test_what_the_tests_write_is_read_as_meant(tmp_path: Path) -> None:
    meant = runs.config(
        replace(runs.STAGE, joint_steps=2, clips=0.5),
        replace(runs.STAGE, size=64, losses=runs.ADVERSARIAL),
        streams=2,
    )
    read = resolve("first", 1.0, runs.write_settings(tmp_path / "x.toml", meant), [])
    assert isinstance(read, TrainConfig)
    left = {"stages.0.oracle", "stages.1.oracle", "stages.0.region_share", "stages.1.region_share"}
    assert {line.split(":")[0] for line in differences(plain(meant), plain(read))} <= left
