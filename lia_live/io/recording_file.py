"""The file under a recording: it survives a full disk with everything written before it."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

from lia_live.errors import LiaLiveError, StorageError

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class RecordingFile:
    """The file object that the MP4 muxer writes to.

    A failed write must not reach the muxer: it would go on to close the file and rewrite its beginning,
    and nothing would play any more. So from the first failure on everything is swallowed, the error
    waits in ``failure``, and ``finish`` cuts the file back to its last whole fragment.
    """

    def __init__(self, path: Path) -> None:
        """Create ``path`` or empty it. Raises ``StorageError``."""
        self.name = str(path)
        self.failure: OSError | None = None
        try:
            self._file = path.open("w+b", buffering=0)
        except OSError as error:
            raise storage_error(path, error) from error

    def write(self, data: bytes) -> int:
        if self.failure is None:
            rest = memoryview(data)
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError as error:
                self.failure = error
        return len(data)

    def read(self, size: int) -> bytes:
        return self._file.read(size) or b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def finish(self, trailer: bytes = b"") -> None:
        """Append ``trailer``, or after a failure cut off the last, broken fragment; then close."""
        if self._file.closed:
            return
        with contextlib.suppress(OSError):  # nothing more can be done for this file
            if self.failure is None:
                self._file.seek(0, os.SEEK_END)
                self.write(trailer)
            else:
                self._file.truncate(self._whole_bytes())
        self._file.close()

    def _whole_bytes(self) -> int:
        """Up to where the file consists of whole boxes, no fragment's index without its pictures."""
        end = os.fstat(self._file.fileno()).st_size
        at = whole = 0
        while at + 8 <= end:
            self._file.seek(at)
            head = self._file.read(16)
            size, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if size == 1:
                size = int.from_bytes(head[8:16], "big")
            if size < 8 or at + size > end:
                break
            at += size
            if kind != b"moof":
                whole = at
        return whole


def storage_error(path: Path, error: OSError) -> LiaLiveError:
    """The one line for a file that cannot be created or written."""
    if error.errno in _NO_SPACE:
        return StorageError(
            f"the disk is full: {path} holds what was recorded before",
            "free some space, or record to another disk",
        )
    if isinstance(error, FileNotFoundError):
        return StorageError(
            f"there is no folder {path.parent}", f"create it: mkdir -p {path.parent}"
        )
    if isinstance(error, IsADirectoryError):
        return StorageError(f"{path} is a folder", "name a file in it, such as out.mp4")
    if isinstance(error, NotADirectoryError):
        return StorageError(f"{path.parent} is a file, not a folder", "choose another place")
    return StorageError(
        f"{path} cannot be written ({error.strerror or error})",
        "choose another place or change its permissions",
    )
