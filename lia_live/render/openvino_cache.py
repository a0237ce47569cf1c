"""Compiled graphs of earlier starts, in the user's cache folder: drawing and compiling takes seconds, reading does not.

A cache and no more: what is missing, damaged or cannot be read is drawn and compiled again. Its key names all that a
compiled graph depends on, this program's own source included, so that nothing of it can be out of date.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import time
from dataclasses import asdict
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from lia_live.model.lia import LIA
from lia_live.render.remembered import (
    UNFINISHED,
    cache_folder,
    kept_whole,
    processor,
    version,
)

FOLDER = "openvino"
MOST_FILES = 12
"""Two a network and precision; those used longest ago go first."""
MOST_BYTES = 512 << 20
"""Of all files. The official network takes 90 MB in bf16, 180 in fp32."""
SUFFIX = ".graph"
ABANDONED_S = 3600.0
"""An unfinished file so old belongs to a program that was killed."""
_DIGEST_BYTES = 32


class GraphCache:
    """Files by key. ``folder``: None takes the user's cache folder, or nothing for want of one."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder: Path | None = None
        with contextlib.suppress(RuntimeError):  # no home, as containers have it
            self._folder = (folder or cache_folder()) / FOLDER

    def get(self, key: str) -> bytes | None:
        """What was put under ``key``, whole; None: nothing that can be used."""
        if self._folder is None:
            return None
        path = self._folder / f"{key}{SUFFIX}"
        try:
            content = path.read_bytes()
        except OSError:
            return None
        digest, graph = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(graph).digest() != digest:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # used now
        return graph

    def put(self, key: str, graph: bytes) -> bool:
        """Keep ``graph``. Whole or not at all (False); older ones make room."""
        if self._folder is None or len(graph) > MOST_BYTES // 2:
            return False
        if not kept_whole(self._folder / f"{key}{SUFFIX}", hashlib.sha256(graph).digest(), graph):
            return False
        try:
            self._make_room()
        except OSError:
            return False
        return True

    def discard(self, key: str) -> None:
        """What is there cannot be used."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                (self._folder / f"{key}{SUFFIX}").unlink()

    def _make_room(self) -> None:
        assert self._folder is not None
        kept, size = 0, 0
        files = [(path, path.stat()) for path in self._folder.iterdir()]
        for path, facts in sorted(files, key=lambda file: -file[1].st_mtime):
            if path.suffix == UNFINISHED:
                gone = time.time() - facts.st_mtime > ABANDONED_S
            elif path.suffix == SUFFIX:
                kept, size = kept + 1, size + facts.st_size
                gone = kept > MOST_FILES or size > MOST_BYTES
            else:
                continue  # not ours
            if gone:
                with contextlib.suppress(OSError):
                    path.unlink()


def key_of(model: LIA, openvino: Any, half: str, precision: str, more: Any) -> str:
    """A name for everything that a compiled graph depends on but the number of threads, which it takes any of.

    ``half``: "encoder" or "renderer"; ``more``: what else went into it, as JSON.
    """
    facts = {
        "graph": [half, precision, more],
        "network": [asdict(model.config), model.fingerprint],
        "source": _source(),
        "versions": [openvino.get_version(), torch.__version__, version("lia-live")],
        "machine": [platform.machine(), processor(), torch.backends.cpu.get_cpu_capability()],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


@lru_cache(maxsize=1)
def _source() -> str:
    """Of the rooms that draw graphs: a changed line is another graph."""
    digest = hashlib.sha256()
    for room in ("lia_live.model", "lia_live.render"):
        for file in sorted(resources.files(room).iterdir(), key=lambda file: file.name):
            if file.name.endswith(".py"):
                digest.update(file.name.encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()
