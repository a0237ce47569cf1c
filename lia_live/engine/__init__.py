"""The live loop: slots, motion policy, animator, compositor, pipeline, statistics."""

from lia_live.engine.animator import Animator, beginning, expression_of
from lia_live.engine.compositor import Background, Compositor
from lia_live.engine.config import PipelineConfig
from lia_live.engine.networks import LiveNetwork, LiveNetworks
from lia_live.engine.neutral import HeadShape
from lia_live.engine.output import Output
from lia_live.engine.performer import PreparedAvatar, prepare
from lia_live.engine.pipeline import Pipeline
from lia_live.engine.policy import Mode, MotionPolicy, PolicyConfig
from lia_live.engine.slot import Slot
from lia_live.engine.stats import DriverState, Stats

__all__ = [
    "Animator",
    "Background",
    "Compositor",
    "DriverState",
    "HeadShape",
    "LiveNetwork",
    "LiveNetworks",
    "Mode",
    "MotionPolicy",
    "Output",
    "Pipeline",
    "PipelineConfig",
    "PolicyConfig",
    "PreparedAvatar",
    "Slot",
    "Stats",
    "beginning",
    "expression_of",
    "prepare",
]
