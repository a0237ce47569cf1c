"""Unknown words are named, with what was probably meant."""

import argparse

import pytest

from lia_live.cli.parser import Command, Parser, did_you_mean, nearest
from lia_live.errors import ConfigError


@pytest.fixture
def parser() -> Parser:
    parser = Parser("lia-live test", "a test")
    parser.add_argument("--strength", type=float)
    parser.add_argument("--avatar", action="append", required=True)
    parser.add_argument("--loop", action="store_true")
    return parser


def test_flags_that_are_not_given_leave_no_trace(parser):
    assert vars(parser.parse(["--avatar", "me.png"])) == {"avatar": ["me.png"]}


@pytest.mark.parametrize(
    ("flag", "meant"),
    [("--strenght", "--strength"), ("--avtar=me.png", "--avatar"), ("--lop", "--loop")],
)
def test_unknown_flag_names_the_nearest(parser, flag, meant):
    with pytest.raises(ConfigError) as caught:
        parser.parse([flag])
    assert flag.split("=")[0] in caught.value.message
    assert f"did you mean {meant}?" in caught.value.hint


def test_unknown_flag_without_a_neighbour_says_where_to_look(parser):
    with pytest.raises(ConfigError) as caught:
        parser.parse(["--zzzzzz"])
    assert caught.value.hint == "`lia-live test --help` lists the flags"


def test_flags_are_not_abbreviated(parser):
    with pytest.raises(ConfigError, match="unknown flag --stren"):
        parser.parse(["--avatar", "me.png", "--stren", "1"])


def test_negative_numbers_are_values_not_flags(parser):
    assert parser.parse(["--avatar", "a", "--strength", "-1"]).strength == -1


@pytest.mark.parametrize(
    "words", [[], ["--avatar"], ["--avatar", "a", "--strength", "much"], ["--avatar", "a", "b"]]
)
def test_argparse_mistakes_are_config_errors(parser, words):
    with pytest.raises(ConfigError):
        parser.parse(words)


def test_nearest_word():
    assert nearest("docter", ["doctor", "demo"]) == "doctor"
    assert nearest("xyz", ["doctor", "demo"]) is None
    assert did_you_mean("xyz", ["doctor"], "see help") == "see help"


def test_a_command_brings_its_parser():
    def nothing(flags: argparse.Namespace, interrupts: object) -> int:
        return 0

    command = Command("nap", "sleeps", lambda parser: None, nothing)
    assert "lia-live nap" in command.parser().format_help()
