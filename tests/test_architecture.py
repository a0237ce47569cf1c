"""The shape of the house: imports point one way, nothing live knows the trainer, files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

GROUND = {"errors", "frame", "interfaces", "timing"}
ARROWS: dict[str, set[str]] = {
    "model": set(),
    "render": {"model"},
    "track": {"model"},  # the framing that belongs to the weights
    "puppet": {"model"},
    "avatar": {"puppet", "track", "model"},
    "engine": {"avatar", "render", "track", "model"},
    "io": {"avatar"},  # decoding of still pictures
    "evaluate": {"engine", "avatar", "render", "track", "model", "io"},
    "train": {"evaluate", "engine", "avatar", "puppet", "render", "track", "model", "io"},
    "cli": {"train", "evaluate", "engine", "avatar", "render", "track", "model", "io", "server"},
    "server": {"evaluate", "engine", "avatar", "render", "track", "model", "io"},
}
"""Which rooms a room may enter (DESIGN: "arrows never turn back"); everybody may use the ground floor."""

LONGEST_MODULE = 400
"""Lines. Past that, look for the second idea in the file."""


def modules() -> dict[str, Path]:
    """Every module of both packages by the name it is imported under."""
    found = {}
    for top, folder in (("lia_live", ROOT / "lia_live"), ("lia_live_server", ROOT / "server")):
        for path in sorted(folder.rglob("*.py")):
            parts = (top, *path.relative_to(folder).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path) -> list[tuple[str, int]]:
    """What a module imports, wherever in it (functions and type checking too): (dotted name, line).

    ``from a.b import c`` counts as ``a.b.c``; the caller decides whether c is a module or a name in one.
    """
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, *([base] if base else [])])
            found += [(f"{base}.{alias.name}", node.lineno) for alias in node.names]
    return found


def room(name: str) -> str:
    """The room a dotted name is in; "" for the front door, lia_live itself."""
    top, _, rest = name.partition(".")
    return "server" if top == "lia_live_server" else rest.partition(".")[0]


def ours(name: str) -> bool:
    return name.partition(".")[0] in ("lia_live", "lia_live_server")


def broken_arrows(name: str, imported: list[tuple[str, int]]) -> list[str]:
    here = room(name)
    if here in ("", "__main__"):
        return []  # the door re-exports from every room
    broken = []
    for target, line in imported:
        there = room(target)
        if not ours(target) or there in GROUND or there == here:
            continue
        if here in GROUND or there not in ARROWS.get(here, set()):
            broken.append(f"{name}, line {line}: {here} may not import {target}")
    return broken


def test_every_room_is_on_the_plan() -> None:
    rooms = {room(name) for name in modules()} - GROUND - {"", "__main__"}
    assert rooms <= set(ARROWS), "new rooms: give them their arrows in ARROWS and in DESIGN"


@pytest.mark.parametrize("name", modules())
def test_imports_point_one_way(name: str) -> None:
    assert broken_arrows(name, imports(name, modules()[name])) == []


def test_a_turned_arrow_is_noticed(tmp_path: Path) -> None:
    turned = tmp_path / "layers.py"
    turned.write_text("def late():\n    from lia_live.engine import slot\n")
    assert (
        len(broken_arrows("lia_live.model.layers", imports("lia_live.model.layers", turned))) == 1
    )
    turned.write_text("from ..cli import main\n")
    assert (
        len(broken_arrows("lia_live.model.layers", imports("lia_live.model.layers", turned))) == 1
    )
    turned.write_text("from lia_live import Avatar\n")
    assert len(broken_arrows("lia_live.engine.slot", imports("lia_live.engine.slot", turned))) == 1


def test_the_plan_itself_has_no_circle() -> None:
    TopologicalSorter(ARROWS).prepare()


def test_no_two_modules_import_each_other() -> None:
    every = modules()
    graph: dict[str, set[str]] = {}
    for name, path in every.items():
        if name == "lia_live":
            continue
        targets = set()
        for target, _ in imports(name, path):
            module = target if target in every else target.rpartition(".")[0]
            if module in every and module not in ("lia_live", name):
                targets.add(module)
        graph[name] = targets
    TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_the_ground_floor_needs_only_numpy() -> None:
    allowed = {*sys.stdlib_module_names, "numpy", "lia_live"}
    for name, path in modules().items():
        if room(name) in GROUND:
            assert {target.partition(".")[0] for target, _ in imports(name, path)} <= allowed


@pytest.mark.parametrize(
    "live", ["avatar", "engine", "io", "puppet", "render", "server", "track", "model"]
)
def test_nothing_live_imports_the_trainer(live: str) -> None:
    package = "lia_live_server" if live == "server" else f"lia_live.{live}"
    assert "lia_live.train" not in loaded_after(f"import {package}")


def test_help_is_light() -> None:
    """``lia-live --help`` answers at once: none of the heavy libraries is imported for it."""
    loaded = loaded_after(
        "from lia_live.cli import main\n"
        "for words in (['--help'], ['run', '--help'], ['demo', '--help'], ['doctor', '--help']):\n"
        "    main(words)"
    )
    assert "lia_live.cli" in loaded
    assert not loaded & {"torch", "mediapipe", "cv2", "av", "jax", "openvino", "aiortc"}


def test_importing_the_package_is_light() -> None:
    assert not loaded_after("import lia_live") & {"numpy", "torch", "mediapipe", "cv2"}


def loaded_after(program: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after running ``program``."""
    show = "\nimport sys\nprint('\\nloaded:', *sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program + show],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("loaded:")[2].split())


@pytest.mark.parametrize("name", modules())
def test_modules_stay_small(name: str) -> None:
    lines = len(modules()[name].read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_MODULE, "look for the second idea in the file"
