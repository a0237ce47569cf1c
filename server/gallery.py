"""The avatars of a server: their names, their pictures, and each made ready for the network when it is asked for."""

from __future__ import annotations

import asyncio
import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from PIL import Image

from lia_live.engine import PreparedAvatar, prepare
from lia_live.errors import ConfigError

if TYPE_CHECKING:
    from lia_live.avatar import Avatar
    from lia_live.engine.networks import LiveNetworks
    from lia_live.engine.observer import ShapeOf
    from lia_live_server.door import Door

READY_AT_ONCE: Final = 12
"""So many avatars are kept ready; what is on stage stays so in any case."""
PICTURE_QUALITY: Final = 85


@dataclass(frozen=True, eq=False)
class Entry:
    """One avatar as the server knows it."""

    name: str
    """Unique among those a session sees."""
    address: str
    """In the picture's URL: the name, or something that cannot be guessed."""
    avatar: Avatar
    owner: str | None = None
    """Public name of the session that brought it; None: everybody's."""


class Gallery:
    """Event loop only, but for what is said otherwise. ``networks``: used by the gallery's own thread alone."""

    def __init__(
        self, avatars: Sequence[Avatar], networks: LiveNetworks, shape_of: ShapeOf | None
    ) -> None:
        if not avatars:
            raise ConfigError(
                "there is no avatar to show", "name a folder with portraits: --avatars DIR"
            )
        self._networks, self._shape_of = networks, shape_of
        self._entries: dict[str, Entry] = {}  # by address
        for avatar in avatars:
            name = self._free_name(avatar.name, None)
            self._entries[name] = Entry(name, name, avatar)
        self._lock = threading.Lock()  # of _ready
        self._ready: OrderedDict[str, PreparedAvatar] = OrderedDict()
        self._pictures: dict[str, bytes] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lia-prepare")

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    @property
    def thread(self) -> ThreadPoolExecutor:
        """Where avatars are built and made ready, one at a time."""
        return self._thread

    def seen_by(self, session: str) -> list[Entry]:
        """What a session may choose from, its own last."""
        return [entry for entry in self._entries.values() if entry.owner in (None, session)]

    def find(self, name: str, session: str) -> Entry | None:
        """By name, among what the session sees."""
        return next((entry for entry in self.seen_by(session) if entry.name == name), None)

    def first(self) -> PreparedAvatar:
        """Make the first one ready, on this thread: at start, before any other thread does so."""
        entry = next(iter(self._entries.values()))
        return self._prepare(entry)

    @property
    def first_entry(self) -> Entry:
        """What a session begins with."""
        return next(iter(self._entries.values()))

    async def prepared(self, entry: Entry) -> PreparedAvatar:
        """Ready for the stage. Raises whatever making it ready raises."""
        with self._lock:
            found = self._ready.get(entry.address)
            if found is not None:
                self._ready.move_to_end(entry.address)
                return found
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._prepare, entry)

    def add(self, avatar: Avatar, owner: str, address: str) -> Entry:
        """A portrait that a session brought."""
        entry = Entry(self._free_name(avatar.name, owner), address, avatar, owner)
        self._entries[address] = entry
        return entry

    def forget(self, owner: str) -> None:
        """Everything that a session brought."""
        for address in [a for a, entry in self._entries.items() if entry.owner == owner]:
            del self._entries[address]
            with self._lock:
                self._ready.pop(address, None)
            self._pictures.pop(address, None)

    def picture(self, address: str) -> bytes | None:
        """JPEG of an avatar, its side the network's; None where there is none. Any thread."""
        entry = self._entries.get(address)
        if entry is None:
            return None
        found = self._pictures.get(address)
        if found is None:
            file = io.BytesIO()
            Image.fromarray(entry.avatar.crop).save(file, "JPEG", quality=PICTURE_QUALITY)
            found = file.getvalue()
            if address in self._entries:
                self._pictures[address] = found
        return found

    def _prepare(self, entry: Entry) -> PreparedAvatar:
        network = self._networks.of(entry.avatar)
        named = replace(prepare(entry.avatar, network, self._shape_of), name=entry.name)
        with self._lock:
            if entry.address in self._entries:
                self._ready[entry.address] = named
            while len(self._ready) > READY_AT_ONCE:
                self._ready.popitem(last=False)
        return named

    def _free_name(self, name: str, owner: str | None) -> str:
        taken = {e.name for e in self._entries.values() if e.owner in (None, owner)}
        name = name or "avatar"
        if name not in taken:
            return name
        return next(new for n in range(2, len(taken) + 3) if (new := f"{name} {n}") not in taken)


def picture_url(entry: Entry, door: Door) -> str:
    """Where its picture is, relative to the page."""
    return f"avatars/{quote(entry.address, safe='')}.jpg?key={door.picture_key(entry.address)}"
