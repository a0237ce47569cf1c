"""What `lia-live train prepare` leaves behind, read back for training: portraits, clips, or both.

Needs torch, numpy and safetensors: neither MediaPipe nor OpenCV.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lia_live.errors import MediaError
from lia_live.train import clips as clip_files
from lia_live.train import portraits as portrait_files
from lia_live.train.clips import Clips
from lia_live.train.portraits import Portraits
from lia_live.train.prepared_file import HINT, file_kind

REPORT: Final = "report.json"
"""The file of a prepared folder that lists its shards and says whether it is finished."""
FORMAT: Final = "lia-live prepared 1"
_MAX_REPORT: Final = 1 << 30


@dataclass(frozen=True)
class Prepared:
    """The data of one training run."""

    portraits: Portraits | None
    """None where there are none."""
    clips: Clips | None
    """None where there are none."""

    @staticmethod
    def load(path: str | Path) -> Prepared:
        """Read a folder written by ``train prepare``, or one .safetensors file of portraits or clips.

        Raises ``MediaError`` for anything else, and for a folder whose preparation was not finished.
        """
        path = Path(path)
        if not path.exists():
            raise MediaError(f"there is no prepared data at {path}", HINT)
        files = [path] if path.is_file() else _shards(path)
        portraits, clips = [], []
        for file in files:
            kind = file_kind(file)
            if kind == portrait_files.FORMAT:
                portraits.append(Portraits.load(file))
            elif kind == clip_files.FORMAT:
                clips.append(Clips.load(file))
            else:
                raise MediaError(f"{file} holds neither portraits nor clips", HINT)
        return Prepared(
            portrait_files.join(portraits) if portraits else None,
            clip_files.join(clips) if clips else None,
        )


def read_report(folder: Path) -> dict[str, Any]:
    """The report of a prepared folder, finished or not. Raises ``MediaError`` if there is none."""
    path = folder / REPORT
    try:
        if path.stat().st_size > _MAX_REPORT:
            raise ValueError("it is far too long")
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["format"] != FORMAT:
            raise ValueError(f"it is of another kind ({report['format']!r:.40})")
        if not all(isinstance(shard["file"], str) for shard in report["shards"]):
            raise ValueError("its list of shards is damaged")
    except FileNotFoundError:
        raise MediaError(f"{folder} was not written by `train prepare`", HINT) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MediaError(f"{path} cannot be used: {error}", HINT) from error
    assert isinstance(report, dict)  # it had keys
    return report


def _shards(folder: Path) -> list[Path]:
    """The files that a finished folder is made of, all of them there."""
    report = read_report(folder)
    if report.get("finished") is not True:
        raise MediaError(
            f"the preparation in {folder} is not finished",
            "run the same `lia-live train prepare` again: it goes on where it stopped",
        )
    # a name and no path: a report that came from elsewhere must not lead out of its folder
    files = [folder / Path(shard["file"]).name for shard in report["shards"]]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise MediaError(
            f"{folder} lacks {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}",
            "copy the whole folder again",
        )
    if not files:
        raise MediaError(f"{folder} holds no data", HINT)
    return files
