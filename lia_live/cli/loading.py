"""The network and what runs it, said aloud: nobody ends up on the CPU without being told."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from lia_live.cli.config import ModelSettings

if TYPE_CHECKING:
    from lia_live.model import LIA
    from lia_live.render import Renderer


def open_network(settings: ModelSettings) -> tuple[LIA, Renderer]:
    """Load the weights, open the engine, print what it is. Raises ``WeightsError``, ``DeviceError``."""
    from lia_live.model import load_model
    from lia_live.render import open_renderer

    model = load_model(settings.weights, settings.device)
    renderer = open_renderer(model, settings.engine)
    print(renderer.description, flush=True)
    if settings.device == "auto" and renderer.device == "cpu" and shutil.which("nvidia-smi"):
        print(
            "note: there is an NVIDIA GPU, but this torch cannot use it; `lia-live doctor` says what to do",
            file=sys.stderr,
        )
    return model, renderer
