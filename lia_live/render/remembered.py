"""What was measured at an earlier start, in a small file of the user's cache folder.

A cache and no more: a file that is missing, damaged, stale or not writable means that it is measured again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from lia_live.model.lia import LIA
from lia_live.render.choice import PRECISIONS, Choice, usable_cores

FILE = "engines.json"
UNFINISHED = ".part"
"""How a file's name ends while it is written."""
MOST_ENTRIES = 64
"""Networks times circumstances; the oldest entries go first."""


def cache_folder() -> Path:
    """Where the system wants caches of this user's programs, or $LIA_LIVE_CACHE; not made here."""
    own = os.environ.get("LIA_LIVE_CACHE")
    if own:
        return Path(own)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "lia-live"


@dataclass(frozen=True)
class Found:
    """The result of measuring."""

    engine: str
    precision: str
    threads: int
    frame_ms: float
    """Of encoding and rendering one frame."""
    good_until: float | None = None
    """Seconds since 1970, for what was measured beside busy programs; None: for good."""

    @staticmethod
    def read(entry: Any) -> Found | None:
        """From the file; None for anything that was not written by ``Notebook``."""
        if not isinstance(entry, dict) or set(entry) != set(Found.__dataclass_fields__):
            return None
        found = Found(**entry)
        well = (
            isinstance(found.engine, str)
            and found.precision in PRECISIONS
            and isinstance(found.threads, int)
            and 1 <= found.threads <= 256
            and isinstance(found.frame_ms, float)
            and 0 < found.frame_ms < math.inf
            and (found.good_until is None or isinstance(found.good_until, float))
        )
        return found if well else None


def kept_whole(path: Path, *parts: bytes) -> bool:
    """Write ``parts`` under ``path``, in a folder that is made if need be: all of them, or nothing and False.

    For what can be found out again: nothing waits for the disk, as ``write_atomically`` does.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=UNFINISHED)
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines(parts)
            os.replace(name, path)
        except BaseException:  # Ctrl-C too: nothing half done stays
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError:
        return False
    return True


class JsonCache:
    """A small file of named entries. ``folder``: None takes the user's cache folder, or nothing for want of one."""

    def __init__(self, file: str, folder: Path | None = None) -> None:
        self._path: Path | None = None
        # RuntimeError: no HOME, and a user whom the system does not know, as containers have them
        with contextlib.suppress(RuntimeError):
            self._path = (folder or cache_folder()) / file

    def get(self, key: str) -> Any:
        """The entry, as JSON has it; None: there is none. Whoever asks checks what it is."""
        return self._entries().get(key)

    def put(self, key: str, entry: Any) -> bool:
        """Remember. Whole or not at all (False); where that cannot be, it is found out again next time."""
        if self._path is None:
            return False
        entries = self._entries()
        entries.pop(key, None)
        entries[key] = entry
        kept = dict(list(entries.items())[-MOST_ENTRIES:])
        return kept_whole(self._path, json.dumps(kept, indent=1).encode())

    def _entries(self) -> dict[str, Any]:
        if self._path is None:
            return {}
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}


class Notebook:
    """The entry of one network in these circumstances."""

    def __init__(self, key: str, folder: Path | None = None) -> None:
        self._key = key
        self._cache = JsonCache(FILE, folder)

    def recall(self) -> Found | None:
        """What was measured before in the same circumstances; None: nothing that can be used."""
        found = Found.read(self._cache.get(self._key))
        stale = (
            found is not None and found.good_until is not None and found.good_until < time.time()
        )
        return None if stale else found

    def write(self, found: Found) -> bool:
        """For the next start. Returns whether that worked."""
        return self._cache.put(self._key, asdict(found))


def circumstances(
    model: LIA, ways: Sequence[Choice], threads: int | None, device: torch.device
) -> str:
    """A name for everything that the fastest way depends on: machine, versions, network, threads."""
    facts = {
        "machine": [platform.machine(), processor(), torch.backends.cpu.get_cpu_capability()],
        "cores": usable_cores(),
        "device": str(device),
        "versions": {name: version(name) for name in ("lia-live", "torch", "openvino")},
        "network": [asdict(model.config), model.fingerprint],
        "ways": [str(way) for way in ways],
        "threads": [threads, os.environ.get("OMP_NUM_THREADS")],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def processor() -> str:
    """As exactly as the system says it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
