"""Batches that depend on nothing but (seed, stage, step): a killed run goes on with the same pairs.

Performing a pair costs about as much as a small training step, and a step forgets quickly, so each pair is
used a few times: pairs are made in tiles, tile n of a stream is a pure function of (seed, stage, stream, n),
and a step draws from the latest tiles, which tile and which pair being a pure function of (seed, stage, stream,
step). A resumed run performs the tiles in reach once more; nothing of them is stored.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lia_live.errors import ConfigError
from lia_live.train.clip_pairs import ClipPairs
from lia_live.train.discriminator import GROUP
from lia_live.train.pairs import Pairs
from lia_live.train.performer import Performer
from lia_live.train.schedule import Stage, TrainConfig

LEAD = 4
"""Tiles performed before the first step of a stage."""


def seeded(device: torch.device | str, *what: int | str) -> torch.Generator:
    """A generator that ``what`` alone decides, whatever was drawn before and wherever."""
    digest = hashlib.sha256("/".join(map(str, what)).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "little"))


def check_sharing(config: TrainConfig, world: int) -> None:
    """Raises ``ConfigError`` if ``world`` processes cannot share the run's batches evenly."""
    if config.streams % world:
        raise ConfigError(
            f"{world} processes cannot share {config.streams} stream(s) of pairs evenly",
            f"add --set streams={world} (from the start of the run), or use another number",
        )
    for number, stage in enumerate(config.stages):
        local = stage.batch // world
        if stage.losses.adversarial and local > GROUP and local % GROUP:
            raise ConfigError(
                f"stages.{number}.batch gives each of {world} processes {local} pairs, which the "
                f"discriminator cannot compare in groups of {GROUP}",
                f"make it a multiple of {GROUP * world}",
            )


class Supply:
    """The pairs of one stage for one of ``world`` processes."""

    def __init__(
        self,
        performer: Performer | None,
        clips: ClipPairs | None,
        stage: Stage,
        config: TrainConfig,
        key: Sequence[int | str],
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """``key``: what the draws depend on beside the step (seed, stage, how often the run rolled back)."""
        check_sharing(config, world)
        share = stage.clips if clips is not None else 0.0
        if performer is None:
            share = 1.0
        self._clips = clips
        if clips is not None and stage.clip_pairs is not None:
            self._clips = copy.copy(clips)
            self._clips.config = stage.clip_pairs
        self._performer = performer
        if performer is not None:
            self._performer = copy.copy(performer)
            self._performer.config = stage.performer
        device = performer.device if performer is not None else clips.device  # type: ignore[union-attr]
        self._raster = stage.raster
        self.seconds = 0.0
        """Spent on making pairs so far."""
        own = range(rank, config.streams, world)
        self._streams = [
            _Stream(self, stage, config, (*key, number), share, device) for number in own
        ]

    def batch(self, step: int) -> Pairs:
        """This process's part of the joint step's batch, float32."""
        return Pairs.interleave([stream.draw(step) for stream in self._streams]).restored()

    def singles(self, step: int, turn: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (b, 3, S, S), theta and known (b, 16) of encoder-only step ``turn`` after a joint one.

        Half drivers as drivers look, half sources as portraits look.
        """
        parts = [stream.draw(step, turn) for stream in self._streams]
        pairs = Pairs.interleave(parts).restored()
        half = len(pairs) // 2
        return (
            torch.cat((pairs.driver[:half], pairs.source[half:])),
            torch.cat((pairs.theta_target[:half], pairs.theta_source[half:])),
            pairs.known,
        )

    def perform(self, count: int, share: float, generator: torch.Generator, size: int) -> Pairs:
        """Make ``count`` new pairs, ``share`` of them from clips."""
        began = time.monotonic()
        parts: list[Pairs] = []
        real = round(count * share)
        device = generator.device
        if real and self._clips is not None:
            index = torch.randint(len(self._clips), (real,), generator=generator, device=device)
            parts.append(self._clips.pairs(index, generator, size, self._raster))
        if count - real and self._performer is not None:
            performer = self._performer
            index = performer.draw(count - real, generator)
            performed = performer.pairs(index, generator, size, self._raster)
            parts.append(Pairs.of_performance(performed))
        made = Pairs.join(parts)
        self.seconds += time.monotonic() - began
        return made


class _Stream:
    """One stream's tiles."""

    def __init__(
        self,
        supply: Supply,
        stage: Stage,
        config: TrainConfig,
        key: tuple[int | str, ...],
        clips: float,
        device: torch.device,
    ) -> None:
        self._supply, self._size, self._key, self._share = supply, stage.size, key, clips
        self._device = device
        self._batch = stage.batch // config.streams
        self._single = stage.single_batch // config.streams
        self._fresh_every = config.fresh_every
        self._tile = max(config.tile, self._batch)
        self._reach = max(LEAD, config.window // config.streams // self._tile)
        self._ring: Pairs | None = None
        self._held: dict[int, int] = {}  # place in the ring -> tile that is there

    def draw(self, step: int, turn: int | None = None) -> Pairs:
        """The pairs of a joint step, or of its encoder-only step ``turn``, in half precision."""
        last = LEAD - 1 + step * self._batch // (self._fresh_every * self._tile)
        first = max(0, last - self._reach + 1)
        for tile in range(first, last + 1):
            self._hold(tile)
        count = self._batch if turn is None else self._single
        chooser = seeded("cpu", *self._key, "step", step, "joint" if turn is None else turn)
        low, high = first * self._tile, (last + 1) * self._tile
        rows = torch.randint(low, high, (count,), generator=chooser)
        assert self._ring is not None
        return self._ring.pick((rows % (self._reach * self._tile)).to(self._device))

    def _hold(self, tile: int) -> None:
        """Perform ``tile`` unless it is in the ring."""
        place = tile % self._reach
        if self._held.get(place) == tile:
            return
        generator = seeded(self._device, *self._key, "tile", tile)
        made = self._supply.perform(self._tile, self._share, generator, self._size).stored()
        if self._ring is None:
            room = self._reach * self._tile
            self._ring = replace(
                made,
                **{
                    name: torch.empty(
                        (room, *value.shape[1:]), dtype=value.dtype, device=value.device
                    )
                    for name, value in made.tensors().items()
                },
            )
        for name, value in self._ring.tensors().items():
            value[place * self._tile : (place + 1) * self._tile] = getattr(made, name)
        self._held[place] = tile
