"""What the keys do to a running pipeline, and what is said about it while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lia_live.cli.status import StatusLine
from lia_live.errors import ConfigError

if TYPE_CHECKING:
    from lia_live.engine import Pipeline

MEASURED_FRAMES = 15
"""After so many frames with a face the speed is said."""
NO_FACE_AFTER_S = 6


class LiveControls:
    """What keys do to a running pipeline, and what is said about it."""

    def __init__(self, strength: float = 1.0) -> None:
        self._strength = strength
        self._pipeline: Pipeline | None = None
        self._line = StatusLine()
        self._shown = True
        self._seconds = 0
        self._description = ""
        self._measured = False

    def begin(self, pipeline: Pipeline, description: str) -> None:
        """From now on keys have an effect. ``description``: of the renderer."""
        self._pipeline, self._description = pipeline, description

    def report(self) -> None:
        """Once a second, on the main thread: the status line, and the speed once it is known."""
        pipeline = self._pipeline
        if pipeline is None:
            return
        self._seconds += 1
        stats = pipeline.stats
        if not self._measured and len(stats.model) >= MEASURED_FRAMES:
            self._measured = True
            self._line.say(
                f"{self._description}; live it takes {stats.model.milliseconds(50)['p50']:.0f} ms; "
                f"set an audio delay of {stats.audio_delay_ms()} ms for your microphone "
                "in OBS or Zoom"
            )
        if self._seconds == NO_FACE_AFTER_S and not stats.face_frames:
            self._line.say("no face was seen yet: the avatar rests until there is one")
        if self._shown:
            self._line.show(pipeline.status_line())

    def end(self) -> None:
        """What the run came to, in one line."""
        self._line.clear()
        if self._pipeline is None:
            return
        stats = self._pipeline.stats
        age = stats.age.milliseconds(50, 95)
        print(
            f"{stats.frames_out} frames, {stats.fps():.1f} fps, "
            f"age p50 {age['p50']:.0f} ms p95 {age['p95']:.0f} ms, "
            f"{stats.dropped} dropped",
            flush=True,
        )

    def calibrate(self) -> None:
        if self._pipeline is not None:
            self._pipeline.calibrate()
            self._line.say("calibrating: look straight ahead, mouth closed")

    def choose_avatar(self, index: int) -> None:
        if self._pipeline is not None:
            try:
                self._pipeline.switch_avatar(index)
            except ConfigError as error:
                self._line.say(error.message)

    def step_avatar(self, step: int) -> None:
        if self._pipeline is not None:
            self._pipeline.step_avatar(step)

    def toggle_mirror_in(self) -> None:
        if self._pipeline is not None:
            self._pipeline.mirror_in = not self._pipeline.mirror_in
            self._say_mirrors(self._pipeline)

    def toggle_mirror_out(self) -> None:
        if self._pipeline is not None:
            self._pipeline.mirror_out = not self._pipeline.mirror_out
            self._say_mirrors(self._pipeline)

    def change_strength(self, change: float) -> None:
        if self._pipeline is not None:
            self._strength = self._pipeline.set_strength(self._strength + change)
            self._line.say(f"strength {self._strength:.1f}")

    def show_stats(self) -> None:
        self._shown = not self._shown
        if not self._shown:
            self._line.clear()

    def hold_passthrough(self) -> None:
        if self._pipeline is not None:
            self._pipeline.set_passthrough(True)

    def stop(self) -> None:
        if self._pipeline is not None:
            self._pipeline.stop()

    def _say_mirrors(self, pipeline: Pipeline) -> None:
        words = {True: "on", False: "off"}
        self._line.say(f"mirror in {words[pipeline.mirror_in]}, out {words[pipeline.mirror_out]}")
