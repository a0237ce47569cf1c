"""Defaults, a TOML file over them, flags over that; every mistake names its key."""

import math

import pytest

from lia_live.cli.config import RunConfig, overlay, read_toml
from lia_live.cli.flags import add_run_flags, run_config
from lia_live.cli.parser import Parser
from lia_live.errors import ConfigError


def config_of(*words: str) -> RunConfig:
    parser = Parser("lia-live run", "")
    add_run_flags(parser)
    return run_config(parser.parse(list(words)))


@pytest.fixture
def toml(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "my.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_defaults():
    config = config_of()
    assert config == RunConfig()
    assert (config.camera, config.output) == ("0", ("virtual",))
    assert (config.picture.width, config.picture.height, config.picture.fps) == (1280, 720, 30)
    assert not config.allow_passthrough


def test_every_flag_reaches_its_field():
    words = (
        "--avatar a.png --avatar b.png --camera clip.mp4 --output none --output out.mp4"
        " --weights w.safetensors --device cpu --engine torch --mode absolute --strength 1.5"
        " --smooth 0 --mirror --fps 25 --size 640x480 --background blur --loop --duration 3"
        " --stats-json s.json --consent me --no-badge --allow-passthrough"
    )
    config = config_of(*words.split())
    assert config.avatar == ("a.png", "b.png")
    assert (config.camera, config.output) == ("clip.mp4", ("none", "out.mp4"))
    assert (config.model.weights, config.model.device, config.model.engine) == (
        "w.safetensors",
        "cpu",
        "torch",
    )
    assert (config.motion.mode, config.motion.strength, config.motion.smooth) == (
        "absolute",
        1.5,
        0,
    )
    assert (config.picture.width, config.picture.height, config.picture.fps) == (640, 480, 25)
    assert (config.picture.background, config.picture.badge) == ("blur", False)
    assert (config.mirror, config.loop, config.duration, config.consent) == ("in", True, 3, "me")
    assert (config.stats_json, config.allow_passthrough) == ("s.json", True)


def test_file_overlays_defaults_and_flags_overlay_the_file(toml):
    file = toml(
        'strength = 0.5\nsmooth = 1\navatar = "a.png"\ncamera = 2\nstats-json = "s.json"\nedits = [0, 1.5]'
    )
    config = config_of("--config", file, "--strength", "2")
    assert (config.motion.strength, config.motion.smooth) == (2, 1)
    assert (config.avatar, config.camera, config.stats_json) == (("a.png",), "2", "s.json")
    assert config.motion.edits == (0, 1.5)


def test_unknown_key_names_file_and_nearest(toml):
    with pytest.raises(ConfigError) as caught:
        config_of("--config", toml("strenght = 1"))
    assert "my.toml" in caught.value.message
    assert "strenght" in caught.value.message
    assert "did you mean strength?" in caught.value.hint


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('strength = "much"', "strength must be a number"),
        ("strength = true", "strength must be a number"),
        ("strength = 3", r"strength must be in \[0, 2\], got 3"),
        ("fps = nan", "fps must be in"),
        ("width = 12.5", "width must be a whole number"),
        ("width = 641", "width must be even"),
        ("loop = 1", "loop must be true or false"),
        ('mode = "absolut"', "mode must be one of relative, absolute"),
        ("avatar = [1.5]", "avatar must be a text"),
        ("output = []", "output is empty"),
        ("duration = 0", "duration must be above 0"),
        ("edits = [99]", "edits must be in"),
        ("not toml", "my.toml"),
        ("[run]\nfps = 30", "unknown key run"),
    ],
)
def test_wrong_values_name_their_key(toml, line, says):
    with pytest.raises(ConfigError, match=says) as caught:
        config_of("--config", toml(line))
    assert "my.toml" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "words",
    [
        "--fps 0", "--fps 61", "--fps nan", "--fps inf", "--strength -0.1", "--strength 2.1", "--strength nan",
        "--smooth 1.1", "--smooth -1", "--width 62", "--height 4000", "--size 1280", "--size axb",
        "--duration -1", "--duration nan", "--mode sideways", "--mirror up", "--consent maybe", "--device tpu",
    ],
)  # fmt: skip
def test_flags_out_of_range(words):
    with pytest.raises(ConfigError) as caught:
        config_of(*words.split())
    assert caught.value.hint
    assert words.split()[0].lstrip("-") in caught.value.message


def test_configuration_file_missing_or_a_folder(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match="configuration file"):
            read_toml(path)


def test_badge_is_on_in_recordings_unless_told():
    config = config_of()
    assert config.badge("out.mp4")
    assert not config.badge("virtual")
    assert config_of("--badge").badge("virtual")
    assert not config_of("--no-badge").badge("out.mp4")


def test_overlay_leaves_the_base_alone():
    base = RunConfig()
    assert overlay(base, {"strength": 2}, "").motion.strength == 2
    assert base.motion.strength == 1
    assert math.isclose(overlay(base, {"fps": 25}, "").picture.fps, 25)
