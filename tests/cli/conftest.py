"""Every command line test has a state folder of its own and files to work on."""

from pathlib import Path

import pytest

from tests.cli import material


@pytest.fixture(autouse=True)
def state(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Path:
    """tiny.safetensors, me.png, clip.mp4 (1 s, with sound). Not to be written to."""
    folder = tmp_path_factory.mktemp("files")
    material.write_weights(folder / "tiny.safetensors")
    material.write_portrait(folder / "me.png")
    material.write_face_clip(folder / "clip.mp4", sound=True)
    return folder
