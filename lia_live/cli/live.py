"""One live run: devices are opened, the model and the avatars are loaded, the loop runs, all is closed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from lia_live.cli.config import MotionSettings, RunConfig, is_file
from lia_live.cli.consent import ConsentBook
from lia_live.cli.controls import LiveControls
from lia_live.cli.hotkeys import HELP, Hotkeys, terminal_keys
from lia_live.cli.interrupts import Interrupts
from lia_live.cli.loading import Networks
from lia_live.cli.portraits import find_portraits, open_portraits, settle_portraits
from lia_live.cli.targets import check_distinct, check_target
from lia_live.engine import Output, Pipeline, PipelineConfig, PolicyConfig
from lia_live.errors import ConfigError
from lia_live.interfaces import Clock, Sink
from lia_live.io import open_sink, open_source
from lia_live.timing import MonotonicClock
from lia_live.track import import_ahead, open_tracker

if TYPE_CHECKING:
    from lia_live.model import LIA, LIAConfig


def go_live(config: RunConfig, interrupts: Interrupts, began_at: float) -> int:
    """Run until the source ends, Q, Ctrl-C or the duration; returns 0. Raises ``LiaLiveError``.

    ``began_at``: when the user asked for it, seconds on the monotonic clock.
    """
    clock = MonotonicClock()
    paths = find_portraits(config.avatar)
    _check_targets(config, paths)
    portraits = settle_portraits(paths, config.consent, ConsentBook(), interrupts)
    picture = config.picture
    controls = LiveControls(config.motion.strength)
    keys = Hotkeys(controls, passthrough=config.allow_passthrough)
    with ExitStack() as closing:
        with interrupts.deferred():  # a device is opened whole, or not at all
            source = open_source(
                config.camera,
                loop=config.loop,
                fps=picture.fps,
                width=1280,
                height=720,
                clock=clock,
            )
            closing.callback(source.close)
            devices = {
                output: _open_output(output, config, keys, controls, clock, closing)
                for output in config.output
                if not is_file(output)
            }

        import_ahead()  # weights and engine leave a core idle for it
        networks = Networks(config.model)
        avatars = open_portraits(portraits, networks, interrupts)
        with interrupts.deferred():
            renderer = networks.renderer()
            shown_by = [avatar.network or networks.model() for avatar in avatars]
            tracked = _tracked([network.config for network in shown_by])
            tracker = open_tracker(tracked.framing, tracked.size)
            closing.callback(tracker.close)
            outputs = [
                Output(
                    devices.get(output)
                    or _open_output(output, config, keys, controls, clock, closing),
                    config.badge(output),
                )
                for output in config.output
            ]
            pipeline = Pipeline(
                source,
                tracker,
                renderer,
                avatars,
                outputs,
                pipeline_config(config, shown_by[0]),
                clock,
                directions=() if renderer is None else networks.model().directions,
                began_at=began_at,
                open_own=networks.open,
                tracked=tracked,
            )
        controls.begin(pipeline, pipeline.description)
        if config.stats_json is not None:
            closing.callback(pipeline.stats.write, Path(config.stats_json))
        with interrupts.deferred(pipeline.stop), terminal_keys(keys.press) as listening:
            names = ", ".join(output.sink.name for output in outputs)
            print(f"{source.name} → {avatars[0].name} → {names}", flush=True)
            if listening or "preview" in config.output:
                print(
                    HELP + (" · hold P to be seen" if config.allow_passthrough else ""), flush=True
                )
            try:
                pipeline.run(config.duration, report=controls.report)
            finally:
                controls.end()
    return 0


def pipeline_config(config: RunConfig, model: LIA) -> PipelineConfig:
    """The loop's settings for this run and the network that is on stage first."""
    return PipelineConfig(
        fps=config.picture.fps,
        background=config.picture.background,
        mirror_in=config.mirror in ("in", "both"),
        mirror_out=config.mirror in ("out", "both"),
        allow_passthrough=config.allow_passthrough,
        policy=policy_config(config.motion, model.config.motion_dim),
    )


def policy_config(motion: MotionSettings, motion_dim: int) -> PolicyConfig:
    """The policy's settings; edits that were not given are zero."""
    if len(motion.edits) > motion_dim:
        raise ConfigError(
            f"edits has {len(motion.edits)} numbers, these weights have {motion_dim} directions",
            "leave the surplus out",
        )
    edits = motion.edits + (0.0,) * (motion_dim - len(motion.edits)) if motion.edits else ()
    return PolicyConfig(
        mode=motion.mode, strength=motion.strength, smooth=motion.smooth, edits=edits
    )


def _tracked(configs: Sequence[LIAConfig]) -> LIAConfig:
    """What the one tracker of a run cuts for: the first network that frames a face, if there is one."""
    return next((config for config in configs if config.framing.kind == "face"), configs[0])


def _open_output(
    output: str,
    config: RunConfig,
    keys: Hotkeys,
    controls: LiveControls,
    clock: Clock,
    closing: ExitStack,
) -> Sink:
    sink = open_sink(
        output,
        width=config.picture.width,
        height=config.picture.height,
        fps=config.picture.fps,
        on_key=keys.press,
        on_close=controls.stop,
        clock=clock,
    )
    closing.callback(sink.close)
    return sink


def _check_targets(config: RunConfig, avatars: Sequence[Path]) -> None:
    """Every file that will be written, before anything slow happens."""
    sources = [config.camera, *map(str, avatars)]
    files = [output for output in config.output if is_file(output)]
    if config.stats_json is not None:
        files.append(config.stats_json)
    check_distinct(
        [*(output for output in config.output if not is_file(output)), *map(Path, files)]
    )
    for file in files:
        check_target(Path(file), sources)
