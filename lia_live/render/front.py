"""A renderer that stands in front of others says of itself what the one at work says."""

from __future__ import annotations

from lia_live.model.config import LIAConfig
from lia_live.render.interface import Renderer


class Front:
    """The part of a ``Renderer`` that only tells."""

    @property
    def _at_work(self) -> Renderer:
        raise NotImplementedError

    @property
    def config(self) -> LIAConfig:
        return self._at_work.config

    @property
    def device(self) -> str:
        return self._at_work.device

    @property
    def engine(self) -> str:
        return self._at_work.engine

    @property
    def precision(self) -> str:
        return self._at_work.precision

    @property
    def description(self) -> str:
        return self._at_work.description
