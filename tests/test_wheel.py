"""The wheel, as a stranger gets it: built, installed into an empty environment, run there.

One test, since each step needs the one before. It asks the package registry for the dependencies, as
``make`` does, and takes about as long as a cold set-up.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(*words: str | Path, cwd: Path) -> str:
    """Run a program as from a terminal that knows nothing of this checkout; its standard output."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=clean,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def build_wheel(work: Path) -> Path:
    """Built from a copy: what an earlier build left in the checkout cannot slip in."""
    source = work / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source / name)
    for name in ("lia_live", "server", "client_web"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    out = work / "dist"
    # The sdist first and the wheel from it, so both are known to be whole.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source, cwd=work)
    (wheel,) = out.glob("*.whl")
    return wheel


def install_into_empty_environment(wheel: Path, work: Path) -> Path:
    """Its folder with the programs (bin or Scripts)."""
    environment = work / "environment"
    venv.create(environment, with_pip=True, symlinks=os.name != "nt")
    programs = environment / ("Scripts" if os.name == "nt" else "bin")
    pins = ROOT / "constraints.txt"
    run(
        programs / "python",
        "-m",
        "pip",
        "-qq",
        "install",
        "--no-compile",
        "-c",
        pins,
        wheel,
        cwd=work,
    )
    return programs


def frames(video: Path) -> list[np.ndarray]:
    with av.open(str(video)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.network
@pytest.mark.timeout(900)
def test_wheel_installs_into_an_empty_environment_and_runs_the_demo(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "lia_live/py.typed",
        "lia_live/weights/default.safetensors",
        "lia_live/weights/MODEL_CARD.md",
        "lia_live/puppet/face_mesh.npz",
        "lia_live_server/__init__.py",
        "lia_live_server/client_web/index.html",
        "lia_live_server/client_web/css/page.css",
        "lia_live_server/client_web/js/main.js",
    } <= packed
    assert not [name for name in packed if name.startswith(("server/", "tests/", "client_web/"))]
    assert wheel.stat().st_size < 40e6

    programs = install_into_empty_environment(wheel, tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    page = "import lia_live_server as s; print((s.client_directory() / 'index.html').read_text())"
    assert 'id="start"' in run(programs / "python", "-c", page, cwd=home)

    run(programs / "lia-live", "demo", cwd=home)
    shown = frames(home / "demo.mp4")
    assert len(shown) >= 30
    # A live picture: neither blank nor one still repeated.
    assert np.std(shown[-1]) > 10
    assert max(np.abs(shown[0].astype(int) - frame).mean() for frame in shown[1:]) > 1
