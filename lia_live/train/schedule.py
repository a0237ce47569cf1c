"""What a run does and in what order: one dataclass per stage, one for the run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from lia_live.errors import ConfigError
from lia_live.model.config import LIAConfig
from lia_live.train.clip_pairs import ClipPairsConfig
from lia_live.train.losses import LossWeights
from lia_live.train.motion import MotionConfig
from lia_live.train.paint import LightConfig
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
    clips: float = 0.0
    """Share of pairs that come from real clips, where the data has any; 0 to 1."""
    performer: PerformerConfig = field(default_factory=PerformerConfig)
    """How the portraits perform, and in what light."""
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
        """The gain of each of ``motion.THETA`` that has one."""
        return {
            "yaw": self.yaw,
            "pitch": self.pitch,
            "roll": self.roll,
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
    ema: float = 0.99
    """Decay of the averaged weights that are kept; 0 keeps the last ones (the paper averages none)."""
    fresh_every: int = 2
    """Each performed pair is used about this often."""
    window: int = 1024
    """Performed pairs kept for reuse, over all streams."""
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
        for name in ("fresh_every", "window", "tile", "streams", "warmup_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"train.ema must be in [0, 1), got {self.ema}")
        if not self.clip_norm > 0:
            raise ConfigError(f"train.clip_norm must be above 0, got {self.clip_norm}")
        for number, stage in enumerate(self.stages):
            if stage.batch % self.streams or stage.single_batch % (2 * self.streams):
                raise ConfigError(
                    f"train.streams ({self.streams}) must divide stages.{number}.batch and half of single_batch"
                )


def first_weights(scale: float = 1.0) -> TrainConfig:
    """The schedule of the first shipped weights: about 90 minutes on one plain core; ``scale`` stretches it."""
    return TrainConfig(
        model=LIAConfig(size=256, width=0.25, latent_dim=256, motion_dim=20),
        stages=(
            Stage(size=32, joint_steps=_steps(500, scale), region_share=0.2),
            Stage(
                size=64,
                joint_steps=_steps(600, scale),
                single_steps=2,
                oracle=(0.5, 0.1),
                learning_rate=4e-3,
                single_learning_rate=6e-3,
            ),
            Stage(
                size=128,
                joint_steps=_steps(200, scale),
                batch=8,
                single_steps=2,
                single_batch=16,
                oracle=(0.2, 0.0),
                learning_rate=2e-3,
                single_learning_rate=2e-3,
            ),
            Stage(
                size=128,
                joint_steps=_steps(500, scale),
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


def continued(scale: float = 1.0) -> TrainConfig:
    """Finished weights trained on, at their full size, with real clips mixed in: for ``--base``.

    The second half of the schedule of the shipped weights; sharpness (the perceptual term) comes last.
    """
    stage = Stage(
        size=256,
        joint_steps=_steps(1300, scale),
        batch=8,
        single_steps=1,
        single_batch=16,
        oracle=(0.0, 0.0),
        learning_rate=2e-3,
        heads_rate=0.5,
        single_learning_rate=1.5e-3,
        region_share=0.8,
        clips=0.15,
        clip_pairs=ClipPairsConfig(),
        performer=PerformerConfig(motion=MotionConfig(pose=0.85)),
    )
    sharpened = replace(
        stage,
        joint_steps=_steps(250, scale),
        learning_rate=8e-4,
        single_learning_rate=8e-4,
        decay_from=0.3,
        losses=LossWeights(perceptual=0.3),
    )
    return TrainConfig(
        model=LIAConfig(size=256, width=0.25, latent_dim=256, motion_dim=20),
        stages=(stage, sharpened),
        colours="passed",
        ema=0.995,
    )


def longer(scale: float = 1.0) -> TrainConfig:
    """Finished weights trained on for seven minutes of an H200 (47 ms a step): for ``--base``.

    The last part of the schedule of the shipped weights. Its last level passes the source's own colours; coarser
    ones paint the insides of mouths.
    """
    return TrainConfig(
        model=LIAConfig(size=256, width=0.25, latent_dim=256, motion_dim=20),
        stages=(_longest(scale),),
        colours="filled",
        ema=0.998,
        fresh_every=4,
        window=6144,
        tile=192,
        gains=Gains(yaw=1.4, pitch=1.35, mouth_open=1.1, blink=1.25, brows=1.25),
        warmup_steps=100,
    )


def gpu(scale: float = 1.0) -> TrainConfig:
    """From nothing to the shipped size on one CUDA device; ``train.fitting`` tells the scale for a time.

    Coarse stages as in ``first``, with a GPU's batches; then ``longer``. As a whole not run yet.
    """
    first = Stage(
        size=32, joint_steps=_steps(1500, scale), batch=64, single_batch=128, region_share=0.2
    )
    second = replace(
        first,
        size=64,
        joint_steps=_steps(2500, scale),
        single_steps=2,
        oracle=(0.5, 0.1),
        learning_rate=4e-3,
        single_learning_rate=6e-3,
        region_share=0.5,
    )
    third = replace(
        second,
        size=128,
        joint_steps=_steps(3500, scale),
        single_batch=64,
        single_steps=1,
        oracle=(0.2, 0.0),
        learning_rate=3e-3,
        single_learning_rate=3e-3,
        region_share=0.8,
        clips=0.15,
        clip_pairs=ClipPairsConfig(),
    )
    end = longer(scale)
    return replace(end, stages=(first, second, third, *end.stages))


def _longest(scale: float) -> Stage:
    return Stage(
        size=256,
        joint_steps=_steps(8700, scale),
        batch=48,
        single_steps=0,
        single_batch=16,
        oracle=(0.0, 0.0),
        learning_rate=2.5e-3,
        heads_rate=0.7,
        single_learning_rate=1e-3,
        decay_from=0.35,
        region_share=1.0,
        clips=0.15,
        clip_pairs=ClipPairsConfig(),
        performer=PerformerConfig(motion=MotionConfig(pose=0.85, open_share=0.6, blink_share=0.5)),
        losses=LossWeights(mask=1.0, coarser=4.0),
    )


def paper(scale: float = 1.0) -> TrainConfig:
    """LIA's own recipe (spec section 13): reconstruction of real clips, VGG19, adversarial, nothing labelled.

    Two distinct frames as they are: no mirror, no reframing, no change of colour; the driver is the target.
    """
    as_it_is = LightConfig(shared=0.0, driver=0.0)
    return TrainConfig(
        model=LIAConfig(),
        stages=(
            Stage(
                size=256,
                joint_steps=_steps(800_000, scale),
                batch=64,
                single_steps=0,
                oracle=(0.0, 0.0),
                learning_rate=0.0016,
                heads_rate=1.0,
                betas=(0.0, 0.99199),
                critic_learning_rate=0.0018824,
                decay_from=1.0,
                region_share=0.0,
                clips=1.0,
                clip_pairs=ClipPairsConfig(same_frame=0.0, mirror=0.0, reframe=0.0, light=as_it_is),
                performer=PerformerConfig(  # the same where there are no clips
                    cross_identity=0.0, same_pose=0.0, mirror=0.0, light=as_it_is
                ),
                losses=LossWeights(
                    pixels=1.0,
                    gradients=0.0,
                    flow=0.0,
                    mask=0.0,
                    motion=0.0,
                    free=0.0,
                    perceptual=1.0,
                    adversarial=1.0,
                    scales=1,
                ),
            ),
        ),
        start="paper",
        ema=0.0,
        fresh_every=1,
        window=64,
        clip_norm=1e9,
        warmup_steps=1,
    )


PRESETS = {
    "first": first_weights,
    "continued": continued,
    "longer": longer,
    "gpu": gpu,
    "paper": paper,
}
"""Schedules by the name that the command line knows them by."""


def _steps(count: int, scale: float) -> int:
    return max(1, round(count * scale))
