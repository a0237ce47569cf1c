"""The networks of a run: the one that avatars share, and those that avatars bring along. Each is opened once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from lia_live.engine.view import View
from lia_live.errors import ConfigError

if TYPE_CHECKING:
    from lia_live.avatar import Avatar
    from lia_live.model import LIA
    from lia_live.model.config import LIAConfig
    from lia_live.model.directions import Direction
    from lia_live.render.interface import Renderer

OpenShared = Callable[[], "tuple[Renderer, Sequence[Direction]]"]
"""Opens the network of the avatars that bring none; called once, when the first of them is prepared."""
OpenOwn = Callable[["LIA", "Renderer | None"], "Renderer"]
"""Opens an avatar's own network; the second is another one that is at work beside it."""


@dataclass(frozen=True, eq=False)
class LiveNetwork:
    """One network at work: it encodes the driver's motion for its own avatars, and renders them.

    Codes of different networks mean nothing to each other, so all of these change together.
    """

    renderer: Renderer
    directions: tuple[Direction, ...]
    """One a coefficient."""
    view: View
    """How frames are cut for it."""


class LiveNetworks:
    """Which network shows which avatar. One thread at a time: the caller's until the run begins, then the shelf's.

    ``shared``: None where every avatar brings its own. ``tracked``: what the tracker cuts for; None: the
    network opened first. ``is_shared`` tells of an avatar that brings a network whether that is the shared one,
    which then needs not be opened twice.
    """

    def __init__(
        self,
        shared: OpenShared | None,
        own: OpenOwn,
        tracked: LIAConfig | None = None,
        is_shared: Callable[[Avatar], bool] = lambda avatar: False,
    ) -> None:
        self._open_shared, self._open_own = shared, own
        self._tracked = tracked
        self._is_shared = is_shared
        self._shared: LiveNetwork | None = None
        # Held by the avatars that are ready and by the one on stage: what nobody needs is given back.
        self._own: WeakValueDictionary[str, LiveNetwork] = WeakValueDictionary()

    def of(self, avatar: Avatar) -> LiveNetwork:
        """The network that shows ``avatar``, opened if it is not.

        Raises ``ConfigError`` where there is none, whatever opening it raises otherwise.
        """
        network = avatar.network
        if network is None or self._is_shared(avatar):
            return self._the_shared(avatar)
        found = self._own.get(avatar.fingerprint)
        if found is None:
            view = self._view(network.config)  # may refuse; opening is slow
            renderer = self._open_own(network, self._at_work())
            _warm_up(renderer, avatar)
            found = LiveNetwork(renderer, tuple(network.directions), view)
            self._own[avatar.fingerprint] = found
        return found

    def _the_shared(self, avatar: Avatar) -> LiveNetwork:
        if self._shared is None:
            if self._open_shared is None:
                raise ConfigError(
                    f"{avatar.name} carries no network of its own, and no weights were loaded",
                    "load the weights that it was made with",
                )
            renderer, directions = self._open_shared()
            view = self._view(renderer.config)
            self._shared = LiveNetwork(renderer, tuple(directions), view)
        return self._shared

    def _view(self, config: LIAConfig) -> View:
        if self._tracked is None:
            self._tracked = config
        return View(config, self._tracked)

    def _at_work(self) -> Renderer | None:
        others = [*self._own.values()] if self._shared is None else [self._shared]
        return others[0].renderer if others else None


def _warm_up(renderer: Renderer, avatar: Avatar) -> None:
    """First calls are slow: pay for them here and not in the frame after the switch."""
    renderer.encode_motion(avatar.crop[None])
    loaded = renderer.load_avatar(avatar.look)
    renderer.render([loaded], avatar.look.motion.detach().float().cpu().numpy())


def open_beside(network: LIA, other: Renderer | None) -> Renderer:
    """Open a renderer for ``network`` where ``other`` runs."""
    from lia_live.render import open_renderer

    device = None if other is None else other.device
    return open_renderer(network, device=device, beside=other)
