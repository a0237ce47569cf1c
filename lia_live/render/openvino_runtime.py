"""The door to OpenVINO: imported late, only if it is installed, and without its telemetry."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from functools import lru_cache
from types import ModuleType
from typing import Any

from lia_live.errors import ConfigError

TELEMETRY = "openvino_telemetry"


def installed() -> bool:
    """Whether the extra is there. Imports nothing."""
    return importlib.util.find_spec("openvino") is not None


def load() -> Any:
    """The openvino module. Raises ``ConfigError`` that names the extra where it is missing or broken.

    Importing openvino sends a message to its makers, unless a person has refused that in a file of their own. Its
    telemetry is a package of its own that openvino does without: it is kept from being imported, for good.
    """
    if "openvino" not in sys.modules:
        _silence()
    try:
        import openvino

        _ = openvino.Core, openvino.opset13  # else it is what an uninstalled one left behind
    except Exception as error:  # a broken native library raises anything
        if installed():
            what, to_do = f"cannot be loaded ({error})", "pip install --force-reinstall openvino"
        else:
            what, to_do = "is not installed", 'pip install "lia-live[openvino]"'
        raise ConfigError(
            f"the engine openvino needs the package openvino, which {what}",
            f"install it: {to_do}, or leave --engine out",
        ) from error
    return openvino


@lru_cache(maxsize=1)
def core() -> Any:
    """The process's one ``openvino.Core``, which is never taken down. Raises as ``load`` does.

    With a core goes the CPU plugin, which had given the thread that loaded it a stack for signals. It takes that back
    on whatever thread the last network dies, and then the first one's next signal (Ctrl-C) crashes the process.
    """
    made = load().Core()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))  # outlives the interpreter's own end
    return made


def _silence() -> None:
    if TELEMETRY not in sys.modules:
        # None in the table of modules means "cannot be imported"; openvino then takes its own empty stand-in.
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]


def is_silent() -> bool:
    """Whether openvino found no telemetry to send with."""
    telemetry: ModuleType | None = sys.modules.get(TELEMETRY)
    return telemetry is None
