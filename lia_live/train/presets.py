"""Ready schedules."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lia_live.model.config import LIAConfig
from lia_live.train.clip_pairs import ClipPairsConfig
from lia_live.train.light import LightConfig
from lia_live.train.losses import LossWeights
from lia_live.train.motion import MotionConfig
from lia_live.train.performer import PerformerConfig
from lia_live.train.schedule import Gains, Stage, TrainConfig

SHAPE: Final = LIAConfig(size=256, width=0.25, latent_dim=256, motion_dim=20)
"""Of the shipped network."""
GAINS: Final = Gains(yaw=1.25, pitch=1.6, roll=1.05, y=0.85, mouth_open=1.0, blink=1.1, brows=1.25)
"""Of the shipped weights."""
_VARIED: Final = PerformerConfig(
    rest_source=0.4,
    rest_driver=0.25,
    motion=MotionConfig(aside_share=0.35, open_share=0.65, small_share=0.6, blink_share=0.55),
)
"""Everything that faces in a call do, and what is hard of it more often."""
_CALLS: Final = PerformerConfig(
    rest_source=0.8,
    rest_target=0.08,
    rest_driver=0.25,
    same_pose=0.08,
    motion=MotionConfig(
        aside_share=0.35,
        wide_share=0.3,
        open_share=0.6,
        small_share=0.65,
        blink_share=0.5,
        own_share=0.4,
    ),
)
"""What avatars are asked for: mostly from the picture that they were made of, to the ends of what heads do."""
_FILLED: Final = LossWeights(flow=0.4, mask=2.0, teeth=4.0, tongue=4.0, coarser=4.0)
"""The last level passes the source's own colours, the two below paint teeth and tongue."""


def first_weights(scale: float = 1.0) -> TrainConfig:
    """From nothing on one plain core, about 90 minutes; ``scale`` stretches it."""
    return TrainConfig(
        model=SHAPE,
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

    What ``first`` made, trained on; sharpness (the perceptual term) comes last.
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
        losses=_FILLED,
    )
    sharpened = replace(
        stage,
        joint_steps=_steps(250, scale),
        learning_rate=8e-4,
        single_learning_rate=8e-4,
        decay_from=0.3,
        losses=replace(_FILLED, perceptual=0.3),
    )
    return TrainConfig(
        model=SHAPE,
        stages=(stage, sharpened),
        colours="filled",
        ema=0.995,
    )


def longer(scale: float = 1.0) -> TrainConfig:
    """Finished weights trained on for eight minutes of an H200 (37 ms a step): for ``--base``."""
    return TrainConfig(
        model=SHAPE,
        stages=(
            Stage(
                size=256,
                joint_steps=_steps(13_400, scale),
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
                registered=True,
                performer=_CALLS,
                raster=256,
                losses=replace(_FILLED, mask=4.0, teeth=6.0, perceptual=0.4),
            ),
        ),
        colours="filled",
        ema=0.998,
        fresh_every=8,
        variants=6,
        window=6144,
        tile=192,
        gains=GAINS,
        warmup_steps=100,
    )


def finish(scale: float = 1.0) -> TrainConfig:
    """The decoder of finished weights trained on for an hour of two plain cores (0.75 s a step, 1.05 s with the
    perceptual term): for ``--base``.

    For what is wrong in the picture and not in its motion, mouths above all; for who has no GPU.
    """
    whole = longer(scale)
    stage = replace(
        whole.stages[-1],
        joint_steps=_steps(2600, scale),
        batch=8,
        encoder="held",
        learning_rate=2e-3,
        heads_rate=1.0,
        clips=0.05,
        losses=replace(_FILLED, mask=6.0, teeth=8.0, motion=0.0, free=0.0),
    )
    sharpened = replace(
        stage,
        joint_steps=_steps(1450, scale),
        learning_rate=1.5e-3,
        losses=replace(stage.losses, perceptual=0.5),
    )
    return replace(
        whole, stages=(stage, sharpened), fresh_every=4, window=1024, tile=16, warmup_steps=60
    )


def gpu(scale: float = 1.0) -> TrainConfig:
    """From nothing to the shipped size on one CUDA device, a quarter of an hour; ``train.fitting`` tells the
    scale for another time.

    The schedule of the shipped weights before ``finish`` but for three things: their first stages (450 steps of 16
    pairs at 32 pixels, 900 at 64) were run on a CPU, the last stage in three parts, and some 14,000 small steps on a
    CPU came between.
    """
    first = Stage(
        size=32, joint_steps=_steps(1500, scale), batch=64, single_batch=128, region_share=0.2
    )
    second = replace(
        first,
        size=64,
        joint_steps=_steps(1500, scale),
        single_steps=0,
        oracle=(0.5, 0.05),
        learning_rate=4e-3,
        region_share=0.5,
        losses=LossWeights(coarser=4.0),
        performer=_VARIED,
    )
    third = replace(
        second,
        size=128,
        joint_steps=_steps(2200, scale),
        oracle=(0.1, 0.0),
        learning_rate=3e-3,
        region_share=0.8,
        clips=0.15,
        clip_pairs=ClipPairsConfig(),
        losses=LossWeights(mask=1.0, coarser=4.0),
    )
    end = longer(scale)
    return replace(end, stages=(first, second, third, *end.stages))


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
    "finish": finish,
    "gpu": gpu,
    "paper": paper,
}
"""Schedules by the name that the command line knows them by."""


def _steps(count: int, scale: float) -> int:
    return max(1, round(count * scale))
