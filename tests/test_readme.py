"""README and docs say what is so: the program runs, the commands parse, the links lead somewhere."""

from __future__ import annotations

import re
import shlex
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from skimage import data

from lia_live.cli.main import COMMANDS
from lia_live.cli.parser import Command

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def typed_commands() -> list[str]:
    lines = "".join(blocks("console")).splitlines()
    return [line for line in lines if line.startswith("lia-live")]


def command_of(words: list[str]) -> tuple[Command, list[str]]:
    by_name = {command.name: command for command in COMMANDS}
    for length in (2, 1):
        if " ".join(words[:length]) in by_name:
            return by_name[" ".join(words[:length])], words[length:]
    assert words[0].startswith("-"), f"no command {words[0]}"
    return by_name["run"], words


@pytest.fixture
def portrait_and_clip(tmp_path: Path) -> Path:
    """A folder with me.png and a short driver.mp4: Eileen Collins (NASA, public domain), swaying."""
    portrait = data.astronaut()[:360, 60:420]
    Image.fromarray(portrait).save(tmp_path / "me.png")
    with av.open(str(tmp_path / "driver.mp4"), "w") as clip:
        stream = clip.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuv420p"
        for number in range(10):
            shift = 2 * number
            picture = np.ascontiguousarray(portrait[20:340, shift : shift + 320])
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        clip.mux(stream.encode())
    return tmp_path


def test_the_program_runs(portrait_and_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (program,) = blocks("python")
    assert len(program.splitlines()) <= 15
    monkeypatch.chdir(portrait_and_clip)
    exec(compile(program, "README.md", "exec"), {"__name__": "__readme__"})
    with av.open(str(portrait_and_clip / "out.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) > 0


@pytest.mark.parametrize("line", typed_commands())
def test_commands_parse(line: str) -> None:
    command, rest = command_of(shlex.split(line)[1:])
    command.parser().parse(rest)


def test_every_command_is_described() -> None:
    table = {name.removeprefix("lia-live ") for name in re.findall(r"`([a-z -]+)`", README)}
    assert {command.name for command in COMMANDS} <= table


def test_flags_in_the_text_exist() -> None:
    known = {
        flag
        for command in COMMANDS
        for flag in re.findall(r"--[a-z][a-z-]+", command.parser().format_help())
    }
    prose = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(--[a-z][a-z-]+)", prose)) <= known | {"--help"}


def test_make_targets_in_the_text_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in PAGES:
        named = re.findall(r"(?:^ *|`)make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE)
        assert set(named) <= targets, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
