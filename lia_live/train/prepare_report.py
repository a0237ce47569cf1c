"""What became of every file: kept in the prepared folder as JSON, and what a second run goes on from."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from lia_live.errors import MediaError
from lia_live.model.weights_file import write_atomically
from lia_live.train.prepared import FORMAT, REPORT, read_report

Outcome = Literal["kept", "dropped", "unreadable"]
Sort = Literal["portrait", "clip"]
MOVING = 0.06
"""A clip with at least so much motion (see ``Clips.motion``) counts as moving: the head turns or nods."""

MANY_HELD_OUT = 0.3
"""A larger share than this that is kept from training is hardly meant."""


@dataclass(frozen=True)
class Entry:
    """One portrait or clip, kept or not."""

    name: str
    """As in the shard; path inside the input, for a part of a video with "#" and its number."""
    source: str
    """The file or folder that it came from, path inside the input."""
    sort: Sort
    outcome: Outcome
    reason: str = ""
    """Why it was not kept: a kind of reason, then after a colon what was measured."""
    held_out: bool = False
    group: str = ""
    frames: int = 0
    """Of a clip."""
    fps: float = 0.0
    """Of a clip, frames a second."""
    motion: float = 0.0
    """Of a clip, eye distances."""
    key: str = ""
    """What duplicates are found by, hexadecimal."""


@dataclass(frozen=True)
class Shard:
    """One file of the prepared folder."""

    file: str
    sort: Sort
    items: int
    bytes: int


@dataclass
class PrepareReport:
    """Filled while a folder is prepared."""

    input: str
    """Name of the folder, or file, that was prepared; not where it lies, since the report travels."""
    settings: dict[str, Any]
    """The configuration."""
    entries: list[Entry] = field(default_factory=list)
    shards: list[Shard] = field(default_factory=list)
    seconds: float = 0.0
    """Time spent so far, in all runs."""
    finished: bool = False
    stopped: str = ""
    """Why the last run ended before its time."""
    items: str = ""
    """Hash of what was found in the input: names, kinds, groups, what is held out."""

    def continues(self, before: PrepareReport) -> bool:
        """Is this the run that ``before`` began? The input may have moved meanwhile."""
        return (self.input, self.items, self.settings) == (
            before.input,
            before.items,
            before.settings,
        )

    @property
    def kept(self) -> list[str]:
        """Names of what can be trained on."""
        return [entry.name for entry in self.entries if entry.outcome == "kept"]

    @property
    def dropped(self) -> dict[str, str]:
        """Name -> why it was left out, damaged files too."""
        return {entry.name: entry.reason for entry in self.entries if entry.outcome != "kept"}

    @property
    def bad(self) -> int:
        """How many files could not be read at all."""
        return sum(entry.outcome == "unreadable" for entry in self.entries)

    def of(self, sort: Sort, outcome: Outcome = "kept") -> list[Entry]:
        """The entries of one sort with one outcome."""
        return [e for e in self.entries if e.sort == sort and e.outcome == outcome]

    def reasons(self) -> dict[str, int]:
        """Kind of reason -> how often, most frequent first."""
        kinds = Counter(reason.split(":")[0] for reason in self.dropped.values())
        return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))

    def warnings(self) -> list[str]:
        """What may be wrong with the choice of what is held out."""
        kept = [entry for entry in self.entries if entry.outcome == "kept"]
        held = sum(entry.held_out for entry in kept)
        wanted = self.settings.get("held_out_every") or self.settings.get("held_out")
        if kept and not held and wanted:
            return ["nothing is held out: training cannot be judged on this data (--held-out FILE)"]
        if held > MANY_HELD_OUT * len(kept):
            return [f"{held / len(kept):.0%} is held out: check the names, or give --held-out FILE"]
        return []

    def summary(self) -> str:
        """What was kept, one line per reason for what was not, and what may be wrong."""
        lines = []
        for sort, word in (("portrait", "portraits"), ("clip", "clips")):
            every = [entry for entry in self.entries if entry.sort == sort]
            kept = [entry for entry in every if entry.outcome == "kept"]
            if not every:
                continue
            held = sum(entry.held_out for entry in kept)
            line = f"kept {len(kept)} of {len(every)} {word}, {held} of them held out"
            if sort == "clip" and kept:
                seconds = sum(entry.frames / entry.fps for entry in kept)
                moving = sum(entry.motion >= MOVING for entry in kept)
                line += f"; {seconds:.0f} s, {moving} with a head that moves"
            lines.append(line)
        lines += [f"  {count:5d}  {kind}" for kind, count in self.reasons().items()]
        lines += [f"warning: {words}" for words in self.warnings()]
        return "\n".join(lines)

    def save(self, folder: Path) -> None:
        """Write report.json, whole or not at all. Raises ``StorageError``."""
        whole = {"format": FORMAT, "finished": self.finished, **asdict(self)}
        whole["counts"] = dict(Counter(f"{e.sort} {e.outcome}" for e in self.entries))
        write_atomically(folder / REPORT, json.dumps(whole, indent=1).encode())

    @staticmethod
    def load(folder: Path) -> PrepareReport:
        """The report of a prepared folder, finished or not. Raises ``MediaError`` if there is none."""
        whole = read_report(folder)
        try:
            return PrepareReport(
                input=whole["input"],
                settings=whole["settings"],
                items=str(whole.get("items", "")),
                entries=[Entry(**entry) for entry in whole["entries"]],
                shards=[Shard(**shard) for shard in whole["shards"]],
                seconds=float(whole["seconds"]),
                finished=bool(whole["finished"]),
                stopped=str(whole["stopped"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise MediaError(
                f"{folder / REPORT} is damaged: {error}", "prepare into another folder"
            ) from error
