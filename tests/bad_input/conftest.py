"""Everything a person can get wrong: an exit code, one line that says what, one that says what to do.

Most cases run in this process through ``main``; the real program is started where signals or file
descriptors matter (``test_program``).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lia_live.cli import main
from tests.cli import material


@pytest.fixture(autouse=True)
def state(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """tiny.safetensors, other.safetensors, me.png, clip.mp4: good ones. Not to be written to."""
    folder = tmp_path_factory.mktemp("files")
    material.write_weights(folder / "tiny.safetensors")
    material.write_weights(folder / "other.safetensors", seed=1)
    material.write_portrait(folder / "me.png")
    material.write_face_clip(folder / "clip.mp4", sound=True)
    return folder


@pytest.fixture
def refused(capfd):
    """Runs the program and checks the two lines; returns them."""

    def check(code: int, *words: object) -> tuple[str, str]:
        capfd.readouterr()
        found = main([str(word) for word in words])
        said = capfd.readouterr().err
        lines = said.splitlines()
        assert found == code, said
        assert [line.partition(": ")[0] for line in lines] == ["error", "to do"], said
        what, to_do = (line.partition(": ")[2] for line in lines)
        assert what and to_do, said
        return what, to_do

    return check


@pytest.fixture
def live(files, refused):
    """``lia-live`` with good defaults; what the test adds takes their place."""

    def check(code: int, **changes: object) -> tuple[str, str]:
        given = {
            "avatar": files / "me.png",
            "camera": files / "clip.mp4",
            "output": "none",
            "weights": files / "tiny.safetensors",
            "device": "cpu",
            "consent": "me",
            **changes,
        }
        words = [
            word for key, value in given.items() for word in (f"--{key.replace('_', '-')}", value)
        ]
        return refused(code, *words)

    return check


@pytest.fixture
def animate(files, refused, tmp_path):
    """``lia-live animate``, likewise."""

    def check(code: int, **changes: object) -> tuple[str, str]:
        given = {
            "avatar": files / "me.png",
            "driving": files / "clip.mp4",
            "out": tmp_path / "out.mp4",
            "weights": files / "tiny.safetensors",
            "device": "cpu",
            "consent": "me",
            **changes,
        }
        words = [word for key, value in given.items() for word in (f"--{key}", value)]
        return refused(code, "animate", *words)

    return check
