"""What a run does and in what order: one dataclass per stage, one for the run."""

from __future__ import annotations

from dataclasses import dataclass, field

from lia_live.errors import ConfigError
from lia_live.model import LIAConfig
from lia_live.train.losses import LossWeights


@dataclass(frozen=True)
class Stage:
    """A stretch of training at one picture size."""

    size: int
    """Side of the pictures, pixels; the network is grown to it first."""
    joint_steps: int
    """Steps of encoder and decoder together (one batch of pairs each)."""
    batch: int = 16
    """Pairs a joint step."""
    single_steps: int = 3
    """Encoder-only steps after each joint step: cheap, and the motion encoder is the bottleneck."""
    single_batch: int = 32
    """Pictures an encoder-only step."""
    oracle: tuple[float, float] = (1.0, 0.1)
    """Share of samples told the true motion, at the start and from the middle of the stage on."""
    learning_rate: float = 5e-3
    """Adam's, joint steps; flow and colour heads take a quarter. Equalised layers want more than usual."""
    single_learning_rate: float = 8e-3
    """Adam's, encoder-only steps."""
    decay_from: float = 0.7
    """Share of the stage after which both rates fall linearly to a tenth."""
    losses: LossWeights = field(default_factory=LossWeights)
    """Weights of the joint step's terms."""
    region_share: float = 0.5
    """How much of the region weighting (mouth, eyes) applies: 0 none, 1 all."""

    def __post_init__(self) -> None:
        for name in ("joint_steps", "batch", "single_batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"stage.{name} must be at least 1, got {getattr(self, name)}")
        if self.single_steps < 0:
            raise ConfigError(f"stage.single_steps must not be negative, got {self.single_steps}")
        for share in (*self.oracle, self.decay_from, self.region_share):
            if not 0 <= share <= 1:
                raise ConfigError(f"stage shares must be in [0, 1], got {share}")


@dataclass(frozen=True)
class TrainConfig:
    """A whole run. Saved with every checkpoint and with the weights it makes."""

    model: LIAConfig
    """The network to end with; stages grow up to its size."""
    stages: tuple[Stage, ...]
    """In order, sizes never falling."""
    seed: int = 1
    """Of data order, motion and initialisation."""
    ema: float = 0.99
    """Decay of the averaged weights that are kept."""
    fresh_every: int = 2
    """A new batch is performed every so many joint steps; the others come from the pool."""
    pool: int = 1024
    """Performed pairs kept for reuse."""
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


def first_weights(scale: float = 1.0) -> TrainConfig:
    """The schedule of the first shipped weights: about 90 minutes on one plain core; ``scale`` stretches it."""
    return TrainConfig(
        model=LIAConfig(size=256, width=0.25, latent_dim=256, motion_dim=20),
        stages=(
            Stage(size=32, joint_steps=int(500 * scale), region_share=0.2),
            Stage(
                size=64,
                joint_steps=int(600 * scale),
                single_steps=2,
                oracle=(0.5, 0.1),
                learning_rate=4e-3,
                single_learning_rate=6e-3,
            ),
            Stage(
                size=128,
                joint_steps=int(200 * scale),
                batch=8,
                single_steps=2,
                single_batch=16,
                oracle=(0.2, 0.0),
                learning_rate=2e-3,
                single_learning_rate=2e-3,
            ),
            Stage(
                size=128,
                joint_steps=int(500 * scale),
                batch=8,
                single_steps=2,
                single_batch=16,
                oracle=(0.1, 0.0),
                learning_rate=3e-3,
                single_learning_rate=3e-3,
                region_share=0.8,
            ),
        ),
    )
