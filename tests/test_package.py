"""What people import: the public names, and every module with the base dependencies alone."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lia_live
import lia_live_server
from lia_live.errors import LiaLiveError, StorageError
from lia_live_server import page_folder

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_all_is_sorted_and_complete() -> None:
    """Sorted as ruff sorts it: CONSTANTS, then Classes, then the rest."""

    def rank(name: str) -> tuple[bool, bool, str]:
        return not name.isupper(), not name[0].isupper(), name

    assert list(lia_live.__all__) == sorted(lia_live.__all__, key=rank)
    assert dir(lia_live) == sorted(lia_live.__all__)


@pytest.mark.parametrize("name", lia_live.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(lia_live, name) is not None


def test_late_names_and_typed_names_are_the_same() -> None:
    """What a type checker sees (TYPE_CHECKING imports) is what ``__getattr__`` hands out."""
    tree = ast.parse(Path(lia_live.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == lia_live._HOMES
    errors = {name for name in lia_live.__all__ if name.endswith("Error")}
    assert set(lia_live.__all__) == set(typed) | errors | {"__version__"}


def test_every_error_is_public() -> None:
    tree: list[type[LiaLiveError]] = [LiaLiveError, *LiaLiveError.__subclasses__()]
    exported = {error.__name__ for error in tree if error.__module__ == "lia_live.errors"}
    assert exported <= set(lia_live.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Avatra'"):
        lia_live.Avatra  # noqa: B018


def test_version_is_the_projects() -> None:
    assert lia_live.__version__ == PROJECT["project"]["version"]


def test_pyproject_names_every_package() -> None:
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "lia_live").rglob("__init__.py")
    } | {
        ".".join(("lia_live_server", *path.parent.relative_to(ROOT / "server").parts))
        for path in (ROOT / "server").rglob("__init__.py")
    }
    named = set(PROJECT["tool"]["setuptools"]["packages"]) - {"lia_live_server.client_web"}
    assert named == found, "tool.setuptools.packages in pyproject.toml"


def test_every_dependency_is_pinned() -> None:
    pins = {
        line.partition("==")[0]
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith("#")
    }
    asked = list(PROJECT["project"]["dependencies"])
    for extra in PROJECT["project"]["optional-dependencies"].values():
        asked += extra
    for requirement in asked:
        name = next(part for part in requirement.replace(">", "=").split("="))
        assert name.strip() in pins


def test_every_module_imports_with_base_dependencies() -> None:
    """In an interpreter where the packages of the extras cannot be found."""
    blocked = [
        "build",
        "lightning",
        "lightning_fabric",
        "onnx",
        "onnxruntime",
        "openvino",
        "pytest",
        "skimage",
        "tensorboard",
    ]
    program = (
        "import importlib, pkgutil, sys\n"
        f"for name in {blocked!r}:\n"
        "    sys.modules[name] = None\n"  # importing it raises ImportError
        "import lia_live, lia_live_server\n"
        "for package in (lia_live, lia_live_server):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if module.name.endswith('.triton_kernels'):\n"  # Triton comes with torch for CUDA
        "            continue\n"
        "        importlib.import_module(module.name)\n"
        "        print(module.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "lia_live.cli" in done.stdout.split()


def test_the_servers_page_is_found() -> None:
    page = lia_live_server.client_directory() / "index.html"
    text = page.read_text(encoding="utf-8")
    assert "<title>lia-live" in text
    for element in (
        "token",
        "avatars",
        "start",
        "stop",
        "calibrate",
        "camera",
        "output",
        "status",
        "stats",
    ):
        assert f'id="{element}"' in text


def test_a_missing_page_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_folder, "__file__", str(tmp_path / "server" / "page_folder.py"))
    with pytest.raises(StorageError) as caught:
        lia_live_server.client_directory()
    assert "install" in caught.value.hint


def test_packages_carry_their_types() -> None:
    for package in (lia_live, lia_live_server):
        assert (Path(package.__path__[0]) / "py.typed").is_file()


def test_main_module_is_the_command() -> None:
    module = importlib.import_module("lia_live.__main__")
    assert module.main is importlib.import_module("lia_live.cli").main
