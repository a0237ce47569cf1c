"""What a run does and in what order: one dataclass per stage, one for the run. ``train.presets`` has ready ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from lia_live.errors import ConfigError
from lia_live.model.config import LIAConfig
from lia_live.train.clip_pairs import ClipPairsConfig
from lia_live.train.losses import LossWeights
from lia_live.train.performer import PerformerConfig


@dataclass(frozen=True)
class Stage:
    """A stretch of training at one picture size. Steps count optimiser steps over the global batch."""

    size: int
    """Side of the pictures, pixels; the network is grown to it first."""
    joint_steps: int
    """Steps of encoder and decoder together (one batch of pairs each)."""
    batch: int = 16
    """Pairs a joint step, over all processes."""
    single_steps: int = 3
    """Encoder-only steps after each joint step: cheap, and the motion encoder is the bottleneck."""
    single_batch: int = 32
    """Pictures an encoder-only step, over all processes."""
    encoder: Literal["learns", "held"] = "learns"
    """held: the decoder alone learns, for what is wrong in the picture and not in its motion; cheaper steps."""
    oracle: tuple[float, float] = (1.0, 0.1)
    """Share of samples told the true motion, at the start and from the middle of the stage on."""
    learning_rate: float = 5e-3
    """Adam's, joint steps. Equalised layers want more than usual."""
    heads_rate: float = 0.25
    """Share of it that flow and colour heads take: they act on pixels directly."""
    single_learning_rate: float = 8e-3
    """Adam's, encoder-only steps."""
    critic_learning_rate: float = 1.9e-3
    """Adam's, the discriminator (spec section 13)."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Adam's, joint and encoder-only steps."""
    decay_from: float = 0.7
    """Share of the stage after which the rates fall linearly to a tenth; 1: never."""
    losses: LossWeights = field(default_factory=LossWeights)
    """Weights of the joint step's terms."""
    region_share: float = 0.5
    """How much of the region weighting (mouth, eyes) applies: 0 none, 1 all."""
    registered: bool = False
    """The inside of mouths is judged between the network's own lips (``train.registration``): sharp teeth."""
    clips: float = 0.0
    """Share of pairs that come from real clips, where the data has any; 0 to 1."""
    performer: PerformerConfig = field(default_factory=PerformerConfig)
    """How the portraits perform, and in what light."""
    raster: int | None = None
    """Side of the maps of flow and parts; None: 64 up to size 64, else 128. As fine as the pictures, lips and lids have
    clean edges, at four times the work of performing."""
    clip_pairs: ClipPairsConfig | None = None
    """How two frames of a clip become a pair, and in what light; None: as the run's clips do by themselves."""

    def __post_init__(self) -> None:
        for name in ("joint_steps", "batch", "single_batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"stage.{name} must be at least 1, got {getattr(self, name)}")
        if self.single_steps < 0:
            raise ConfigError(f"stage.single_steps must not be negative, got {self.single_steps}")
        for share in (*self.oracle, self.decay_from, self.region_share, self.clips):
            if not 0 <= share <= 1:
                raise ConfigError(f"stage shares must be in [0, 1], got {share}")
        for name in ("learning_rate", "single_learning_rate", "critic_learning_rate"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"stage.{name} must be in (0, 1], got {getattr(self, name)}")
        if self.encoder == "held" and self.single_steps:
            raise ConfigError(
                "stage.encoder = held: encoder-only steps would teach nothing",
                "set single_steps of that stage to 0",
            )
        if self.raster is not None and self.raster < 16:
            raise ConfigError(f"stage.raster must be at least 16, got {self.raster}")
        if not 0 < self.heads_rate <= 100:
            raise ConfigError(f"stage.heads_rate must be in (0, 100], got {self.heads_rate}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"stage.betas must be in [0, 1), got {self.betas}")
        if not (self.losses.scales >= 1 and self.size >> (self.losses.scales - 1) >= 2):
            raise ConfigError(
                f"stage.losses.scales: {self.losses.scales} halvings of {self.size} pixels"
            )
        if self.losses.adversarial and self.batch % 4:
            raise ConfigError(
                f"stage.batch must be a multiple of 4 for the discriminator, got {self.batch}"
            )


@dataclass(frozen=True)
class Gains:
    """How much further than it was taught the finished network goes for the same movement of the driver; 1: as taught.

    The performer's heads are flatter than people's: when they turn 20 degrees a landmark finder sees 14.
    """

    yaw: float = 1.0
    pitch: float = 1.0
    roll: float = 1.0
    y: float = 1.0
    """Of a head that goes down; nods take it along."""
    mouth_open: float = 1.0
    blink: float = 1.0
    """Of both eyes."""
    brows: float = 1.0
    """Raised."""

    def __post_init__(self) -> None:
        for name, gain in vars(self).items():
            if not 0.2 <= gain <= 5:
                raise ConfigError(f"gains.{name} must be in [0.2, 5], got {gain}")

    def by_label(self) -> dict[str, float]:
        """The gain of each of ``puppet.theta.THETA`` that has one."""
        return {
            "yaw": self.yaw,
            "pitch": self.pitch,
            "roll": self.roll,
            "y": self.y,
            "mouth open": self.mouth_open,
            "blink left": self.blink,
            "blink right": self.blink,
            "brow raise": self.brows,
        }


@dataclass(frozen=True)
class TrainConfig:
    """A whole run. Saved with every checkpoint; a resumed run must be told the same."""

    model: LIAConfig
    """The network to end with; stages grow up to its size."""
    stages: tuple[Stage, ...]
    """In order, sizes never falling."""
    seed: int = 1
    """Of data order, motion and initialisation."""
    start: Literal["pass-through", "paper"] = "pass-through"
    """How a fresh network begins: quiet flow and the source's own colours, or LIA's plain draws."""
    colours: Literal["learned", "passed", "filled"] = "learned"
    """Learned like everything else; passed: held to be the source's own, moved by the flow, which is sharper; filled:
    the last level's are passed, coarser ones learn what no flow brings (``losses.coarser`` keeps them in mouths)."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of convolutions; flow, sampling and losses are fp32. "auto": bf16 where the device computes in it."""
    compiled: Literal["auto", "always", "never"] = "auto"
    """Joint steps on a CUDA device, before they are recorded. "auto": in stages long enough to win the minutes back."""
    ema: float = 0.99
    """Decay of the averaged weights that are kept; 0 keeps the last ones (the paper averages none)."""
    fresh_every: int = 2
    """Each performed pair is used about this often."""
    window: int = 1024
    """Performed pairs kept for reuse, over all streams."""
    groups: tuple[str, ...] = ()
    """Licence groups that are trained on, "" for what belongs to none; nothing: all."""
    variants: int = 1
    """Each portrait performs in so many shapes: itself, and smoothly bent into others. For few portraits."""
    tile: int = 16
    """Pairs performed at once by a stream, at least: a GPU performs 200 in the time that 50 take."""
    streams: int = 1
    """Independent sources of pairs; the number of processes must divide it, and it the batches."""
    gains: Gains = field(default_factory=Gains)
    """Of the finished network; where all are 1, those of the base."""
    clip_norm: float = 5.0
    """Gradient norm limit of each step."""
    warmup_steps: int = 60
    """Steps of rising learning rate at the start of each stage."""

    def __post_init__(self) -> None:
        sizes = [stage.size for stage in self.stages]
        if not sizes or sizes != sorted(sizes) or sizes[-1] > self.model.size:
            raise ConfigError(
                f"train.stages must have rising sizes up to {self.model.size}, got {sizes}"
            )
        for size in sizes:
            replace(self.model, size=size)  # refuses what no network has
        if self.colours != "learned" and self.start == "paper":
            raise ConfigError(f"train.colours = {self.colours} needs train.start = pass-through")
        for name in ("fresh_every", "window", "variants", "tile", "streams", "warmup_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name} must be at least 1, got {getattr(self, name)}")
        if any(stage.losses.teeth for stage in self.stages) and self.colours != "filled":
            raise ConfigError(
                f"losses.teeth needs train.colours = filled, got {self.colours}",
                "only there does a coarser level keep the colours that it painted",
            )
        if any(stage.losses.tongue and not stage.losses.teeth for stage in self.stages):
            raise ConfigError(
                "losses.tongue needs losses.teeth",
                "whoever paints tongues paints teeth before them",
            )
        if not 0 <= self.ema < 1:
            raise ConfigError(f"train.ema must be in [0, 1), got {self.ema}")
        if not self.clip_norm > 0:
            raise ConfigError(f"train.clip_norm must be above 0, got {self.clip_norm}")
        for number, stage in enumerate(self.stages):
            if stage.batch % self.streams or stage.single_batch % (2 * self.streams):
                raise ConfigError(
                    f"train.streams ({self.streams}) must divide stages.{number}.batch and half of single_batch"
                )
