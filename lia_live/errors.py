"""Everything lia-live raises on purpose. The command line turns each into one line and an exit code.

    LiaLiveError
    ├── ConfigError      a wrong flag, setting or key                        exit 2
    ├── WeightsError     a model file that cannot be used                    exit 3
    ├── AvatarError      a portrait or bundle that cannot be used            exit 3
    ├── MediaError       a video or picture that cannot be read or written   exit 3
    ├── StorageError     no space, no permission                             exit 4
    ├── DeviceError      a camera, virtual camera or GPU                     exit 5
    ├── SessionError     a browser session                                   exit 5
    └── TrainingError    training diverged                                   exit 6

Ordinary events are values, not exceptions: no face in the frame is ``None``, a skipped frame is a counter.
"""

from __future__ import annotations

from typing import ClassVar


class LiaLiveError(Exception):
    """Base of the tree. ``message``: what happened. ``hint``: what to do next, one line."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(LiaLiveError):
    """A flag, setting or configuration key is wrong."""

    exit_code = 2


class WeightsError(LiaLiveError):
    """A model file is damaged, unsafe, or made for another architecture."""

    exit_code = 3


class AvatarError(LiaLiveError):
    """A portrait or an avatar bundle cannot be used."""

    exit_code = 3


class MediaError(LiaLiveError):
    """A video or picture cannot be read or written."""

    exit_code = 3


class StorageError(LiaLiveError):
    """The disk is full or the place is not writable."""

    exit_code = 4


class DeviceError(LiaLiveError):
    """A camera, virtual camera or accelerator is missing, busy or gone."""

    exit_code = 5


class SessionError(LiaLiveError):
    """A browser session could not be opened or broke its protocol."""

    exit_code = 5


class TrainingError(LiaLiveError):
    """Training diverged and could not be rolled back."""

    exit_code = 6
