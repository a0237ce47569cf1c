"""The live loop: four threads, three newest-wins slots, and the controls of a run.

    capture ── Slot[Frame] ──> track ── Slot[Sighting] ──> model ── Slot[AvatarPicture] ──> output

What crosses the last slot can only be made by ``Performer``, which gets numbers and no camera picture.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lia_live.engine.animator import expression_of
from lia_live.engine.capture import CaptureLoop
from lia_live.engine.config import PipelineConfig
from lia_live.engine.networks import LiveNetworks, OpenOwn, open_beside
from lia_live.engine.observer import Observer, ShapeOf, Sighting
from lia_live.engine.output import Output, OutputLoop
from lia_live.engine.pacing import NetworkForecast
from lia_live.engine.passthrough import Passthrough
from lia_live.engine.performer import AvatarPicture, Performer, prepare
from lia_live.engine.performing import PerformingLoop
from lia_live.engine.policy import Mode
from lia_live.engine.shelf import AvatarShelf
from lia_live.engine.slot import Slot
from lia_live.engine.stats import Stats
from lia_live.engine.tracking import TrackingLoop
from lia_live.errors import ConfigError, DeviceError
from lia_live.frame import Frame
from lia_live.interfaces import Clock, Sink, Source, Tracker
from lia_live.timing import MonotonicClock

if TYPE_CHECKING:
    from lia_live.avatar import Avatar
    from lia_live.model.config import LIAConfig
    from lia_live.model.directions import Direction
    from lia_live.render.interface import Renderer

LOOK_EVERY_S = 0.2
"""The caller of ``run`` waits in slices this long, so that Ctrl-C is noticed on every system."""
REPORT_EVERY_S = 1.0
SOURCE_GRACE_S = 0.7
"""A read lasts 0.5 s at most; only a source that hangs for longer is closed under it."""


class Pipeline:
    """One live run from a source to its sinks. ``run`` owns them: its end closes source, tracker and sinks.

    ``run`` may be called once. Everything else may be called from any thread, before and during the run.
    ``renderer`` and ``directions`` (one per coefficient): of the network that avatars share; None where every
    avatar brings its own. ``open_own`` opens those that avatars bring (None: on the shared one's device).
    ``tracked``: what ``tracker`` cuts for; None: the network of the first avatar. ``began_at``: when the user
    asked for the run, seconds on ``clock`` (for ``startup_s``); now if None.
    """

    def __init__(
        self,
        source: Source,
        tracker: Tracker,
        renderer: Renderer | None,
        avatars: Sequence[Avatar],
        sinks: Sequence[Sink | Output],
        config: PipelineConfig | None = None,
        clock: Clock | None = None,
        *,
        directions: Sequence[Direction] = (),
        shape_of: ShapeOf | None = expression_of,
        began_at: float | None = None,
        open_own: OpenOwn | None = None,
        tracked: LIAConfig | None = None,
    ) -> None:
        self.config = config = config or PipelineConfig()
        self._clock = clock = clock or MonotonicClock()
        self._source, self._tracker = source, tracker
        self._outputs = [s if isinstance(s, Output) else Output(s) for s in sinks]
        self._stop, self._ready = threading.Event(), threading.Event()
        self._finished = threading.Event()
        self._errors: list[Exception] = []
        self._threads: list[threading.Thread] = []
        self._started = False
        self.stats = stats = Stats(
            device="",
            engine="",
            precision="",
            began_at=clock.now() if began_at is None else began_at,
            sink_latency_s=config.sink_latency_s,
        )
        if not self._outputs:
            raise ConfigError("at least one output is needed", "name one with --output")

        self._frames: Slot[Frame] = Slot()
        self._sightings: Slot[Sighting] = Slot()
        self._pictures: Slot[AvatarPicture] = Slot()
        self._passthrough = Passthrough() if config.allow_passthrough else None
        networks = LiveNetworks(
            None if renderer is None else lambda: (renderer, directions),
            open_own or (lambda network, other: open_beside(network, other or renderer)),
            tracked,
        )
        self._shelf = AvatarShelf(avatars, lambda a: prepare(a, networks.of(a), shape_of), stats)
        first = self._shelf.first()
        stats.avatar = first.name
        stats.runs_on(first.network.renderer)
        self._observer = Observer(tracker, first.network, shape_of)
        self._observer.mirror = config.mirror_in
        self._performer = Performer(first, config.policy)
        self._policy = self._performer.policy
        self._capture = CaptureLoop(
            source, self._frames, self._passthrough, stats, clock, self._stop
        )
        self._forecast = NetworkForecast(clock)
        self._tracking = TrackingLoop(
            self._frames,
            self._sightings,
            self._observer,
            self._forecast,
            config,
            stats,
            clock,
            self._stop,
        )
        self._performing = PerformingLoop(
            self._sightings,
            self._pictures,
            self._observer,
            self._performer,
            self._shelf,
            self._forecast,
            config,
            stats,
            clock,
            self._stop,
            self._ready,
        )
        self._output = OutputLoop(
            self._pictures, self._outputs, self._passthrough, config, stats, clock, self._stop
        )

    # The run

    def run(
        self, duration: float | None = None, report: Callable[[], None] | None = None
    ) -> dict[str, Any]:
        """Run until the source ends, ``duration`` seconds passed or ``stop``; returns ``stats.snapshot()``.

        ``report`` is called about once a second on this thread. Whatever happens, sinks are finished, the
        source is closed and the threads are joined before this returns. Then the first error of any thread
        or sink is raised; ``KeyboardInterrupt`` goes before all others.
        """
        if self._started:
            raise RuntimeError("a pipeline runs once")
        self._started = True
        interrupted: KeyboardInterrupt | None = None
        try:
            self._start()
            self._wait(duration, report)
        except KeyboardInterrupt as interrupt:
            interrupted = interrupt
        finally:
            while True:
                try:
                    self._shut_down()
                    break
                except KeyboardInterrupt as interrupt:  # a second Ctrl-C: files still get finished
                    interrupted = interrupt
        if interrupted is not None:
            raise interrupted
        errors = [*self._errors, *self._output.errors]
        if errors:
            raise errors[0]
        return self.stats.snapshot()

    def stop(self) -> None:
        """End the run soon: within a frame or two, everything closed properly."""
        self._stop.set()
        self._ready.set()
        for slot in (self._frames, self._sightings, self._pictures):
            slot.close()
        self._forecast.close()
        self._shelf.close()
        self._finished.set()

    def _start(self) -> None:
        loops = {
            "lia-capture": self._capture_when_ready,
            "lia-track": self._tracking.run,
            "lia-model": self._performing.run,
            "lia-output": self._output.run,
            "lia-avatars": self._shelf.run,
        }
        for name, body in loops.items():
            thread = threading.Thread(target=self._guarded, args=(name, body), name=name)
            thread.daemon = True  # a thread that hangs in a driver must not keep the program alive
            thread.start()
            self._threads.append(thread)

    def _capture_when_ready(self) -> None:
        """A file paced as a camera would otherwise play its first second to nobody."""
        self._ready.wait()
        self._capture.run()

    def _guarded(self, name: str, body: Callable[[], None]) -> None:
        try:
            body()
        except Exception as error:
            if error not in self._errors:
                self._errors.append(error)
            self.stop()
        finally:
            if name == "lia-output":
                self._finished.set()

    def _wait(self, duration: float | None, report: Callable[[], None] | None) -> None:
        now = self._clock.now()
        until = float("inf") if duration is None else now + duration
        next_report = now + REPORT_EVERY_S
        while now < until and not self._finished.wait(min(LOOK_EVERY_S, until - now)):
            now = self._clock.now()
            if report is not None and now >= next_report:
                next_report += REPORT_EVERY_S
                report()

    def _shut_down(self) -> None:
        self.stop()
        hung = []
        for thread in self._threads:
            if thread.name == "lia-capture":
                thread.join(SOURCE_GRACE_S)
                self._source.close()  # from here if it hangs in a read; harmless the second time
            thread.join(self.config.join_s)
            if thread.is_alive():
                hung.append(thread.name)
        self._frames.clear()
        self._sightings.clear()
        started = {thread.name for thread in self._threads}
        if "lia-capture" not in started:  # then nobody else will close what it was given
            self._source.close()
        if "lia-track" not in started:
            self._tracker.close()
        if "lia-output" not in started:
            for output in self._outputs:
                output.sink.close()
        if hung:
            self._errors.append(
                DeviceError(
                    f"{' and '.join(hung)} did not end within {self.config.join_s:g} s",
                    "a device does not answer; unplug it or end the program",
                )
            )

    # The controls

    def status_line(self) -> str:
        """One line about the last seconds, with the audio delay to set in OBS or Zoom."""
        return self.stats.line(self._clock.now())

    @property
    def description(self) -> str:
        """What runs the network on stage: "cpu, 2 threads, torch fp32"."""
        return self._performer.avatar.network.renderer.description

    @property
    def avatar(self) -> int:
        """Index of the avatar on stage, or on its way there."""
        return self._shelf.current

    def switch_avatar(self, index: int) -> None:
        """Put another avatar on stage, as soon as it is ready. Raises ``ConfigError`` if there is none."""
        self._shelf.ask(index)

    def step_avatar(self, step: int) -> None:
        """The next (1) or previous (-1) avatar, around the end."""
        self._shelf.ask((self._shelf.current + step) % len(self._shelf))

    def calibrate(self) -> None:
        """Take a new neutral, and a new crop scale, from the next half second of faces."""
        self._tracking.recalibrate()
        self._policy.calibrate()

    def set_strength(self, strength: float) -> float:
        """Motion strength, clamped to [0, 2]; returns what is used."""
        strength = min(2.0, max(0.0, strength))
        self._policy.update(replace(self._policy.config, strength=strength))
        return strength

    def set_smooth(self, smooth: float) -> None:
        """Smoothing in [0, 1]. Raises ``ConfigError`` outside."""
        self._policy.update(replace(self._policy.config, smooth=smooth))

    def set_mode(self, mode: Mode) -> None:
        """Relative or absolute transfer. Raises ``ConfigError`` for anything else."""
        self._policy.update(replace(self._policy.config, mode=mode))

    def set_edits(self, edits: Sequence[float]) -> None:
        """Added to the code of each direction. Raises ``ConfigError`` when they do not fit."""
        self._policy.update(replace(self._policy.config, edits=tuple(edits)))
        self._performing.refresh()

    @property
    def mirror_in(self) -> bool:
        """The driver is flipped before the motion is encoded."""
        return self._observer.mirror

    @mirror_in.setter
    def mirror_in(self, mirror: bool) -> None:
        if mirror != self._observer.mirror:
            self._observer.mirror = mirror
            self._policy.calibrate()  # a neutral that looked left now looks right

    @property
    def mirror_out(self) -> bool:
        """The picture that leaves is flipped (its badge is not)."""
        return self._output.mirror

    @mirror_out.setter
    def mirror_out(self, mirror: bool) -> None:
        self._output.mirror = mirror
        self._performing.refresh()

    def set_passthrough(self, held: bool) -> bool:
        """The passthrough key is down (tell so again at least every half second) or up.

        Returns False, and does nothing, unless the run was started with ``allow_passthrough``.
        """
        if self._passthrough is None:
            return False
        if held:
            self._passthrough.hold(self._clock.now())
        else:
            self._passthrough.release()
        return True
