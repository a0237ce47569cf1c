"""What a run tells while it works: a line, a log file, TensorBoard scalars and sample grids."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from lia_live.model.pixels import to_pixels


class Reporter(Protocol):
    """Where a run's news go. Called by the first process only."""

    def say(self, text: str) -> None:
        """Something that a person should read."""
        ...

    def advance(self, done: int, of: int, pairs: int) -> None:
        """Steps done, and pairs trained on in this process's life."""
        ...

    def scalars(self, step: int, values: dict[str, Any]) -> None:
        """Figures of a step, counted over the whole run."""
        ...

    def pictures(self, step: int, rows: Tensor) -> None:
        """(N, K, 3, S, S) in [-1, 1]: one portrait a row."""
        ...

    def close(self) -> None: ...


class Quiet:
    """A reporter that keeps everything to itself."""

    def say(self, text: str) -> None: ...

    def advance(self, done: int, of: int, pairs: int) -> None: ...

    def scalars(self, step: int, values: dict[str, Any]) -> None: ...

    def pictures(self, step: int, rows: Tensor) -> None: ...

    def close(self) -> None: ...


class FolderReporter:
    """``log.jsonl``, ``sheet.png`` and TensorBoard events in the run's folder, lines through ``line``.

    TensorBoard and Pillow are used where they are installed; what is missing is said once.
    """

    def __init__(
        self,
        folder: Path,
        line: Callable[[str], None],
        status: Callable[[str], None] | None = None,
    ) -> None:
        """``line``: for news; ``status``: for the progress bar, which overwrites itself."""
        self._folder, self._line, self._status = folder, line, status
        self._board = self._open_board()
        self._end_line()
        self._began = time.monotonic()
        self._first: int | None = None

    def say(self, text: str) -> None:
        self._line(text)

    def advance(self, done: int, of: int, pairs: int) -> None:
        if self._first is None:
            self._first = done - 1
        if self._status is None:
            return
        spent = time.monotonic() - self._began
        left = spent / max(1, done - self._first) * (of - done)
        self._status(
            f"{bar(done / of)} {done}/{of}  {pairs / spent:.1f} pairs/s  {lasting(left)} left"
        )

    def scalars(self, step: int, values: dict[str, Any]) -> None:
        with (self._folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(_finite({"total": step, **values})) + "\n")
        if self._board is not None:
            for name, value in _flat(values):
                if math.isfinite(value):
                    self._board.add_scalar(name, value, step)

    def pictures(self, step: int, rows: Tensor) -> None:
        count, columns, _, size, _ = rows.shape
        pixels = to_pixels(rows.flatten(0, 1)).reshape(count, columns, size, size, 3)
        sheet = pixels.transpose(0, 2, 1, 3, 4).reshape(count * size, columns * size, 3)
        try:
            from PIL import Image
        except ImportError:
            self._line("no sheets are drawn: Pillow is not installed")
            return
        Image.fromarray(sheet).save(self._folder / "sheet.png")
        if self._board is not None:
            self._board.add_image("sheet", torch.from_numpy(sheet.copy()), step, dataformats="HWC")

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def _end_line(self) -> None:
        """A run that was killed, or had no space, may have left half a line."""
        log = self._folder / "log.jsonl"
        if log.is_file() and log.stat().st_size and not log.read_bytes().endswith(b"\n"):
            with log.open("a", encoding="utf-8") as file:
                file.write("\n")

    def _open_board(self) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._line("no TensorBoard events are written: tensorboard is not installed")
            return None
        return SummaryWriter(str(self._folder / "tensorboard"))


def bar(share: float, width: int = 24) -> str:
    """A bar of so many characters, ``share`` of it full."""
    full = round(width * min(1.0, max(0.0, share)))
    return f"[{'#' * full}{'.' * (width - full)}]"


def lasting(seconds: float) -> str:
    """A duration for people: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _flat(values: dict[str, Any], where: str = "") -> list[tuple[str, float]]:
    """Numbers of a nested dict by their path."""
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += _flat(value, f"{where}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append((f"{where}{name}", float(value)))
    return found


def _finite(value: Any) -> Any:
    """The same with null for numbers that JSON has no word for."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
