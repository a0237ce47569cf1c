"""Portraits that visitors bring: decoded in a child process without rights, built into an avatar of one session."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from lia_live.avatar import Avatar, Consent, is_consent
from lia_live.errors import LiaLiveError
from lia_live.frame import Pixels
from lia_live_server import upload_child
from lia_live_server.protocol import NAME_CHARACTERS, ProtocolError

if TYPE_CHECKING:
    from lia_live.model import LIA
    from lia_live_server.gallery import Entry, Gallery
    from lia_live_server.session import Session

CHILD_S: Final = 20.0
MOST_A_SESSION: Final = 4
MOST_OUT_BYTES: Final = 100 + 3 * upload_child.LONGEST_SIDE**2


@dataclass(frozen=True)
class UploadLimits:
    """What a portrait may be."""

    most_bytes: int = 10 * 2**20
    most_pixels: int = upload_child.MOST_PIXELS


class Uploads:
    """Event loop only; the slow parts run elsewhere, one at a time."""

    def __init__(self, gallery: Gallery, model: LIA) -> None:
        self._gallery, self._model = gallery, model
        self._one = asyncio.Lock()

    async def take(self, session: Session, data: bytes, consent: str, name: str) -> Entry:
        """The avatar of the picture in ``data``, for this session. Raises ``ProtocolError``."""
        if not is_consent(consent):
            raise ProtocolError(
                "consent",
                "whose portrait it is has not been answered",
                "say me, permission or not-a-person",
            )
        if session.uploads >= MOST_A_SESSION:
            raise ProtocolError(
                "too_many",
                f"a session brings {MOST_A_SESSION} portraits at most",
                "start again for more",
            )
        session.uploads += 1  # before the waiting: several may come at once
        name = " ".join(name.split())[:NAME_CHARACTERS] or "my portrait"
        try:
            async with self._one:
                avatar = await self._avatar(data, consent, name)
            if session.closed:  # nobody would ever forget it
                raise ProtocolError("session", "the session has ended meanwhile", "start again")
        except BaseException:
            session.uploads -= 1
            raise
        return self._gallery.add(avatar, session.name, secrets.token_urlsafe(16))

    async def _avatar(self, data: bytes, consent: Consent, name: str) -> Avatar:
        pixels = await decoded(data)
        loop = asyncio.get_running_loop()
        try:
            built = await loop.run_in_executor(self._gallery.thread, self._built, pixels, name)
        except LiaLiveError as error:
            raise ProtocolError("picture", error.message, error.hint) from error
        return built.with_consent(consent)

    def _built(self, pixels: Pixels, name: str) -> Avatar:
        return Avatar.from_image(pixels, self._model, name=name)


async def decoded(data: bytes) -> Pixels:
    """(H, W, 3) uint8 RGB of a picture file, at most 2048 on the long side. Raises ``ProtocolError``.

    The file goes through a pipe: somebody's portrait is never on a disk.
    """
    with tempfile.TemporaryDirectory(prefix="lia-live-") as folder:
        environment = {
            k: os.environ[k] for k in ("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR") if k in os.environ
        }
        environment |= {"HOME": folder, "TMPDIR": folder, "OMP_NUM_THREADS": "1"}
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(Path(upload_child.__file__).resolve()),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL, cwd=folder, env=environment,
        )  # fmt: skip
        try:
            async with asyncio.timeout(CHILD_S):
                out = await _answer_of(child, data)
        except TimeoutError:
            raise _no_picture("reading it took too long") from None
        finally:
            if child.returncode is None:
                child.kill()
            await child.communicate()  # what still lies in the pipe keeps it open
    head, _, body = out.partition(b"\n")
    words = head.decode("ascii", "replace").split(maxsplit=1)
    if child.returncode == upload_child.REFUSED and words[:1] == ["no"]:
        raise _no_picture(words[1] if len(words) > 1 else "it cannot be read")
    try:
        height, width = (int(word) for word in head.split())
        return np.frombuffer(body, np.uint8).reshape(height, width, 3).copy()
    except ValueError:
        raise _no_picture("it cannot be read") from None


async def _answer_of(child: asyncio.subprocess.Process, data: bytes) -> bytes:
    """What it writes, but never more than a picture has: whoever took it over may write without end."""
    assert child.stdin is not None and child.stdout is not None
    with contextlib.suppress(ConnectionError):  # it has ended; its exit code says why
        child.stdin.write(data)
        await child.stdin.drain()
    child.stdin.close()
    found = bytearray()
    while piece := await child.stdout.read(1 << 16):
        found += piece
        if len(found) > MOST_OUT_BYTES:
            raise _no_picture("it cannot be read")
    await child.wait()
    return bytes(found)


def _no_picture(why: str) -> ProtocolError:
    return ProtocolError(
        "picture", f"this is no usable picture: {why}", "choose a JPEG, PNG or WebP portrait"
    )
