"""The networks and what runs them, said aloud: nobody ends up on the CPU without being told."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from lia_live.cli.config import ModelSettings

if TYPE_CHECKING:
    from lia_live.model import LIA
    from lia_live.render import Renderer


class Networks:
    """The networks of one command: the weights, loaded when an avatar first needs them, and avatars' own.

    Any method may raise ``DeviceError``, those that load weights ``WeightsError``.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        self._model: LIA | None = None
        self._renderer: Renderer | None = None
        self._said = False

    @property
    def device(self) -> str:
        """The one that was asked for, or the best there is."""
        from lia_live.model.weights import pick_device

        return str(pick_device(self.settings.device))

    def model(self) -> LIA:
        """The weights that were asked for, loaded once."""
        if self._model is None:
            from lia_live.model import load_model

            self._model = load_model(self.settings.weights, self.settings.device)
        return self._model

    @property
    def loaded(self) -> LIA | None:
        """The weights, if an avatar has needed them so far."""
        return self._model

    def renderer(self) -> Renderer | None:
        """Of the weights, opened once; None while no avatar has needed them."""
        if self._renderer is None and self._model is not None:
            self._renderer = self.open(self._model)
        return self._renderer

    def open(self, network: LIA, beside: Renderer | None = None) -> Renderer:
        """A renderer for ``network``, on the device of this command; ``beside``: another one that is at work."""
        from lia_live.render import open_renderer

        engine = self.settings.engine
        beside = beside or self._renderer
        renderer = open_renderer(network, engine, device=self.device, beside=beside)
        self.say(renderer)
        return renderer

    def say(self, renderer: Renderer) -> None:
        """Print what it is, once a command: further networks run on the same device."""
        if self._said:
            return
        self._said = True
        print(renderer.description, flush=True)
        if (
            self.settings.device == "auto"
            and renderer.device == "cpu"
            and shutil.which("nvidia-smi")
        ):
            print(
                "note: there is an NVIDIA GPU, but this torch cannot use it; `lia-live doctor` says what to do",
                file=sys.stderr,
            )


def open_network(settings: ModelSettings) -> tuple[LIA, Renderer]:
    """Load the weights, open the engine, print what it is. Raises ``WeightsError``, ``DeviceError``."""
    networks = Networks(settings)
    model = networks.model()
    return model, networks.open(model)
