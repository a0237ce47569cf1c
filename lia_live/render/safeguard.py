"""A GPU that runs out of memory or goes away in the middle of a call: the avatar goes on on the cpu, and comes back."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from lia_live.frame import Pixels
from lia_live.model.lia import Look
from lia_live.render.checks import own
from lia_live.render.front import Front
from lia_live.render.interface import Alpha, LoadedAvatar, Renderer

RETRY_S = 10.0
"""The GPU is tried again this long after it failed, and each time it fails again after twice as long."""
LONGEST_RETRY_S = 300.0

Answer = TypeVar("Answer")


def complain(message: str) -> None:
    """To whoever started the program."""
    print(message, file=sys.stderr, flush=True)


@dataclass(eq=False)
class SafeAvatar:
    """An avatar that either renderer can show: its look, and what was loaded of it so far."""

    owner: object
    look: Look
    """On the cpu."""
    loaded: dict[int, LoadedAvatar] = field(default_factory=dict)
    """By ``id`` of the renderer."""

    @property
    def bytes_held(self) -> int:
        return sum(avatar.bytes_held for avatar in self.loaded.values())


class SafeguardedRenderer(Front):
    """A ``Renderer`` that works on ``gpu`` as long as that works, and otherwise on the one ``open_spare`` opens.

    Only faults of the device count (``is_device_fault``); all others are the caller's. The spare is opened when it
    is first needed, in the frame that failed: that frame is late, but it comes.
    """

    def __init__(
        self,
        gpu: Renderer,
        open_spare: Callable[[], Renderer],
        say: Callable[[str], None] = complain,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gpu, self._open_spare = gpu, open_spare
        self._spare: Renderer | None = None
        self._say, self._now = say, now
        self._retry_at: float | None = None
        self._wait_s = RETRY_S

    @property
    def _at_work(self) -> Renderer:
        return self._gpu if self._retry_at is None or self._spare is None else self._spare

    def load_avatar(self, look: Look) -> LoadedAvatar:
        avatar = SafeAvatar(self, look.to("cpu"))
        try:
            self._loaded(self._at_work, avatar)
        except Exception as error:
            if not is_device_fault(error):
                raise  # else it is loaded where it is rendered
        return avatar

    def encode_motion(self, crops: Pixels) -> Alpha:
        return self._done(lambda renderer: renderer.encode_motion(crops))

    def render(self, avatars: Sequence[LoadedAvatar], alpha: Alpha) -> Pixels:
        safe = [own(avatar, SafeAvatar, self) for avatar in avatars]
        return self._done(
            lambda renderer: renderer.render([self._loaded(renderer, a) for a in safe], alpha)
        )

    def _loaded(self, renderer: Renderer, avatar: SafeAvatar) -> LoadedAvatar:
        found = avatar.loaded.get(id(renderer))
        if found is None:
            found = avatar.loaded[id(renderer)] = renderer.load_avatar(avatar.look)
        return found

    def _done(self, work: Callable[[Renderer], Answer]) -> Answer:
        if self._retry_at is None or self._now() >= self._retry_at:
            try:
                answer = work(self._gpu)
            except Exception as error:
                if not is_device_fault(error):
                    raise
                self._gave_way(error)
            else:
                if self._retry_at is not None:
                    self._say(f"the GPU works again: {self._gpu.description}")
                    self._retry_at, self._wait_s = None, RETRY_S
                return answer
        if self._spare is None:
            self._spare = self._open_spare()
        return work(self._spare)

    def _gave_way(self, error: Exception) -> None:
        if torch.cuda.is_initialized() and isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
        if self._retry_at is None:
            why = (
                "ran out of memory"
                if isinstance(error, torch.OutOfMemoryError)
                else f"failed: {error}"
            )
            told = " ".join(why.split())[:200]
            self._say(
                f"warning: the GPU {told}\n"
                "the avatar goes on on the cpu, slower; the GPU is tried again, close what else uses it"
            )
        else:
            self._wait_s = min(2 * self._wait_s, LONGEST_RETRY_S)
        self._retry_at = self._now() + self._wait_s


def is_device_fault(error: Exception) -> bool:
    """Whether the device failed rather than the request: out of memory, lost, or any error of its driver."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    kinds = tuple(
        kind for kind in (getattr(torch, "AcceleratorError", None),) if isinstance(kind, type)
    )
    if isinstance(error, kinds):
        return True
    return isinstance(error, RuntimeError) and any(
        name in str(error) for name in ("CUDA error", "cuDNN error", "CUBLAS_STATUS", "MPS backend")
    )
