"""Avatars made ready ahead of time on a thread of their own, so that switching costs the loop nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lia_live.engine.performer import PreparedAvatar
from lia_live.engine.stats import Stats
from lia_live.errors import ConfigError, LiaLiveError

if TYPE_CHECKING:
    from lia_live.avatar import Avatar

READY_AT_ONCE = 12
"""So many avatars are kept ready; others are prepared when asked for, in the place of the farthest."""


class AvatarShelf:
    """The avatars of a run. ``ask`` may be called from any thread, ``due`` only from the model thread."""

    def __init__(
        self,
        avatars: Sequence[Avatar],
        prepare: Callable[[Avatar], PreparedAvatar],
        stats: Stats,
    ) -> None:
        if not avatars:
            raise ConfigError("at least one avatar is needed", "name a portrait with --avatar")
        self._avatars = tuple(avatars)
        self._prepare = prepare
        self._stats = stats
        self._ready: dict[int, PreparedAvatar] = {}
        self._broken: set[int] = set()
        self._changed = threading.Condition()
        self._wanted: int | None = None
        self._current = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._avatars)

    @property
    def current(self) -> int:
        """Index of the avatar on stage, or on its way there."""
        wanted = self._wanted
        return self._current if wanted is None else wanted

    def first(self) -> PreparedAvatar:
        """Prepare avatar 0 on the calling thread. Its failure is the caller's."""
        self._ready[0] = self._prepare(self._avatars[0])
        return self._ready[0]

    def ask(self, index: int) -> None:
        """Put avatar ``index`` on stage as soon as it is ready. Raises ``ConfigError`` if there is none."""
        if not 0 <= index < len(self._avatars):
            raise ConfigError(f"there is no avatar {index + 1}: {len(self._avatars)} are loaded")
        with self._changed:
            self._wanted = index
            self._broken.discard(index)  # asking again tries again
            self._changed.notify_all()

    def due(self) -> PreparedAvatar | None:
        """The avatar that was asked for, once it is ready; then None until another is asked for."""
        if self._wanted is None:  # the common case, without the lock
            return None
        with self._changed:
            index = self._wanted
            if index is None or index not in self._ready:
                return None
            self._current, self._wanted = index, None
            self._stats.notes.pop("avatar", None)
            self._changed.notify_all()  # the one that left may make room
            return self._ready[index]

    def run(self) -> None:
        """Body of the preparing thread."""
        while (index := self._next()) is not None:
            try:
                prepared = self._prepare(self._avatars[index])
            except (LiaLiveError, RuntimeError, ValueError, MemoryError) as error:
                self._give_up(index, error)
                continue
            with self._changed:
                self._ready[index] = prepared
            del prepared  # the shelf alone decides how long it stays

    def close(self) -> None:
        """End the preparing thread after what it is doing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next(self) -> int | None:
        """Waits for work: the wanted avatar first, then the nearest that still fit."""
        with self._changed:
            while not self._closed:
                self._make_room()
                missing = [
                    i for i in self._near() if i not in self._ready and i not in self._broken
                ]
                if missing:
                    return missing[0]
                self._changed.wait()
            return None

    def _near(self) -> list[int]:
        """The avatars to keep ready, most wanted first."""
        here = self.current
        order = sorted(range(len(self._avatars)), key=lambda i: abs(i - here))
        return order[:READY_AT_ONCE]

    def _make_room(self) -> None:
        keep = {*self._near(), self._current}
        for index in [i for i in self._ready if i not in keep]:
            del self._ready[index]

    def _give_up(self, index: int, error: Exception) -> None:
        with self._changed:
            self._broken.add(index)
            if self._wanted == index:
                self._wanted = None
        self._stats.notes["avatar"] = f"{self._avatars[index].name} cannot be used: {error}"
