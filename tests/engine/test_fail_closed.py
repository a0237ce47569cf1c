"""No fault, at any seam, puts a camera picture in the output.

The camera of these tests shows one colour that no avatar, background or badge comes near. Faults are thrown
at every seam, seeded, many at once; every pixel of every picture that a sink receives is looked at.
"""

from __future__ import annotations

import gc
import random
import threading
import time
import types
from typing import Any

import numpy as np
import pytest

from lia_live.engine import Compositor
from lia_live.errors import DeviceError
from lia_live.frame import Box, Crop, Face, Frame, Pixels
from tests.doubles import (
    ListSink,
    ListSource,
    ScriptedRenderer,
    ScriptedTracker,
    camera_picture,
    scripted_avatar,
    shows_camera,
)
from tests.engine.live import CONFIG, camera, pipeline

S, M = CONFIG.size, CONFIG.motion_dim
RATE = 0.35
"""Share of calls that go wrong, at every seam that a case names."""
SEAMS = ("source", "tracker", "encoder", "renderer", "compositor", "sink")


class Watch:
    """Counts the pictures a sink received, and those that showed the camera."""

    def __init__(self) -> None:
        self.seen = self.leaked = 0

    def __call__(self, pixels: Pixels) -> None:
        self.seen += 1
        self.leaked += shows_camera(pixels)

    def sink(self, **more: Any) -> ListSink:
        return ListSink(keep=False, look=self, **more)


class Trouble:
    """Throws seeded faults. One per seam, as each seam has its own thread."""

    def __init__(self, seed: int, active: bool) -> None:
        self._random = random.Random(seed)
        self._active = active
        self.count = 0

    def strike(self, faults: list[Any]) -> Any:
        """One of ``faults`` (called, if it can be), or None most of the time."""
        if not self._active or self._random.random() > RATE:
            return None
        self.count += 1
        fault = self._random.choice(faults)
        return fault() if callable(fault) else fault


def camera_square() -> Pixels:
    return camera_picture(S, S)


def source_items(trouble: Trouble) -> list[Any]:
    """Frames of wrong shapes and types, and gaps."""
    odd = [
        None,
        lambda: camera_picture()[..., :1],
        lambda: camera_picture()[0],
        lambda: camera_picture(1, 1),
        lambda: camera_picture().astype(np.float32),
        lambda: np.zeros((0, 0, 3), np.uint8),
    ]
    items = []
    for _ in range(40):
        fault = trouble.strike(odd)
        items.append(camera_picture() if fault is None else fault)
    return items


def tracker_script(trouble: Trouble) -> Any:
    def wrong_crop(pixels: Any) -> Any:
        face = Face(np.full((478, 3), np.nan, np.float32), Box(0, 0, 1), 0.5)
        return Crop(pixels, Box(0, 0, 1), face, 0.0, 0)

    faults = [
        RuntimeError("the detector broke"),
        False,
        MemoryError("no room"),
        lambda: wrong_crop(camera_picture(S, S // 2)),
        lambda: wrong_crop(camera_picture(3 * S, 3 * S)),
        lambda: wrong_crop(camera_square().astype(np.float64)),
        lambda: wrong_crop(None),
    ]

    def script(frame: Frame) -> object:
        fault = trouble.strike(faults)
        return True if fault is None else fault

    return script


def encoder_faults(trouble: Trouble) -> Any:
    def strike(crops: Pixels) -> object:
        return trouble.strike(
            [
                RuntimeError("the encoder broke"),
                np.full((1, M), np.nan, np.float32),
                np.full((1, M), np.inf, np.float32),
                np.full((1, M), 1e30, np.float32),
                np.zeros((1, M - 1), np.float32),
                np.zeros((M,), np.float32),
                crops,  # the picture instead of its motion
                crops.astype(np.float32),
            ]
        )

    return strike


def renderer_faults(trouble: Trouble) -> Any:
    def slow() -> None:
        time.sleep(0.1)

    faults = [
        RuntimeError("the device broke"),
        DeviceError("out of memory"),
        lambda: np.zeros((1, S, S, 3), np.float32),
        lambda: np.zeros((1, S // 2, S, 3), np.uint8),
        lambda: np.zeros((0, S, S, 3), np.uint8),
        lambda: np.zeros((S, S, 3), np.uint8),
        slow,
    ]
    return lambda: trouble.strike(faults)


def run_with_faults(
    seams: tuple[str, ...], seed: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[Watch, dict[str, Trouble], dict[str, Any]]:
    trouble = {s: Trouble(1000 * seed + i, s in seams) for i, s in enumerate(SEAMS)}
    compose = Compositor.compose

    def composing(self: Compositor, *args: Any, **more: Any) -> Pixels:
        fault = trouble["compositor"].strike([RuntimeError("resize broke"), ValueError("no")])
        if fault is not None:
            raise fault
        return compose(self, *args, **more)

    monkeypatch.setattr(Compositor, "compose", composing)
    watch = Watch()
    sinks = [watch.sink(), watch.sink(size=(S, S))]
    if "sink" in seams:
        sinks.append(watch.sink(size=(64, 48), fail_at=4))
    run = pipeline(
        ListSource(source_items(trouble["source"]), fps=90, loop=True),
        tracker=ScriptedTracker(S, tracker_script(trouble["tracker"])),
        renderer=ScriptedRenderer(
            code=lambda crop: float(crop.mean()),
            before_encode=encoder_faults(trouble["encoder"]),
            before_render=renderer_faults(trouble["renderer"]),
        ),
        avatars=[scripted_avatar(), scripted_avatar("blue", (30, 60, 180))],
        sinks=sinks,
        fault_limit_s=60.0,
        background="blur" if seed % 2 else "plain",
    )
    threading.Timer(0.3, run.switch_avatar, (1,)).start()
    try:
        run.run(duration=0.9)
    except DeviceError as error:
        assert "sink" in seams and "list has gone" in error.message
    return watch, trouble, run.stats.snapshot()


@pytest.mark.parametrize("seam", SEAMS)
def test_faults_at_one_seam(seam: str, monkeypatch: pytest.MonkeyPatch) -> None:
    watch, trouble, snapshot = run_with_faults(
        (seam,), seed=SEAMS.index(seam), monkeypatch=monkeypatch
    )
    assert watch.seen > 40
    assert watch.leaked == 0
    assert snapshot["frames_out"] > 3
    if seam != "sink":
        assert trouble[seam].count > 3


@pytest.mark.parametrize("seed", range(8))
def test_faults_everywhere_at_once(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    watch, trouble, snapshot = run_with_faults(SEAMS, seed, monkeypatch)
    assert watch.seen > 40
    assert watch.leaked == 0
    assert sum(snapshot["faults"].values()) > 5
    assert all(trouble[seam].count > 0 for seam in SEAMS if seam != "sink")


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", range(10))
def test_faults_everywhere_in_number(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(100 + 20 * block, 120 + 20 * block):
        with monkeypatch.context() as patch:
            watch, _, _ = run_with_faults(SEAMS, seed, patch)
        assert watch.seen > 20
        assert watch.leaked == 0


def test_faults_from_the_very_first_call() -> None:
    """Nothing has been rendered yet, and nothing can be: then nothing is shown."""
    watch = Watch()
    broken = ScriptedRenderer(
        before_encode=lambda crops: crops, before_render=lambda: RuntimeError("broken")
    )
    run = pipeline(renderer=broken, sinks=[watch.sink()], fault_limit_s=60.0)
    run.run(duration=0.3)
    assert (watch.seen, watch.leaked) == (0, 0)


# The structure behind it: what the output can reach


def reachable(root: object) -> list[object]:
    """Everything that can be reached from ``root`` by references, not through classes or modules."""
    skipped = (type, types.ModuleType, types.FrameType, types.BuiltinFunctionType)
    found: dict[int, object] = {id(root): root}
    stack = [root]
    while stack:
        for other in gc.get_referents(stack.pop()):
            if isinstance(other, types.FunctionType):
                closure = [cell.cell_contents for cell in other.__closure__ or ()]
                fresh = [o for o in closure if id(o) not in found]
            elif isinstance(other, skipped):
                continue
            else:
                fresh = [other] if id(other) not in found else []
            for item in fresh:
                found[id(item)] = item
                stack.append(item)
    return list(found.values())


def camera_in_reach(root: object) -> list[str]:
    found = []
    for item in reachable(root):
        if isinstance(item, Frame | Crop | ListSource | ScriptedTracker):
            found.append(type(item).__name__)
        elif isinstance(item, np.ndarray) and item.shape[-1:] == (3,) and shows_camera(item):
            found.append(f"array {item.shape}")
    return found


def look_during_a_run(run: Any, passthrough: bool = False) -> list[list[str]]:
    looks: list[list[str]] = []

    def look() -> None:
        time.sleep(0.3)
        for _ in range(5):
            if passthrough:
                run.set_passthrough(True)
            time.sleep(0.06)
            looks.append(camera_in_reach(run._output))

    looker = threading.Thread(target=look)
    looker.start()
    run.run(duration=1.2)
    looker.join()
    return looks


def test_no_camera_picture_is_in_reach_of_the_output() -> None:
    sink = ListSink(keep=False)
    looks = look_during_a_run(pipeline(sinks=[sink]))
    assert len(looks) == 5
    assert looks == [[]] * 5


def test_that_look_would_find_one() -> None:
    run = pipeline(sinks=[ListSink(keep=False)], allow_passthrough=True)
    assert any(look_during_a_run(run, passthrough=True))


def test_a_renderer_that_shows_the_camera_would_be_found() -> None:
    """The watch is not blind: the one thing it cannot prevent, a lying renderer, it sees."""
    watch = Watch()
    liar = ScriptedRenderer(before_render=lambda: camera_square()[None])
    pipeline(renderer=liar, sinks=[watch.sink()], badge=True).run(duration=0.3)
    assert watch.leaked > 5


# Passthrough


def test_passthrough_does_not_exist_unless_it_was_allowed() -> None:
    watch = Watch()
    run = pipeline(sinks=[watch.sink()])
    assert run._passthrough is None
    assert run._output._passthrough is None
    assert run._capture._passthrough is None
    stop = threading.Event()

    def hold() -> None:
        while not stop.wait(0.02):
            assert run.set_passthrough(True) is False

    holder = threading.Thread(target=hold)
    holder.start()
    snapshot = run.run(duration=0.5)
    stop.set()
    holder.join()
    assert watch.leaked == 0
    assert snapshot["passthrough_frames"] == 0


def test_passthrough_lasts_only_while_the_key_is_held() -> None:
    shown: list[tuple[float, bool]] = []
    sink = ListSink(keep=False, look=lambda p: shown.append((time.perf_counter(), shows_camera(p))))
    run = pipeline(camera(60), sinks=[sink], allow_passthrough=True)
    marks: dict[str, float] = {}

    def press() -> None:
        time.sleep(0.3)
        marks["down"] = time.perf_counter()
        assert run.set_passthrough(True)
        time.sleep(0.8)  # a key whose window died: never renewed, never released
        marks["again"] = time.perf_counter()
        run.set_passthrough(True)
        time.sleep(0.2)
        run.set_passthrough(False)
        marks["up"] = time.perf_counter()

    presser = threading.Thread(target=press)
    presser.start()
    snapshot = run.run(duration=1.7)
    presser.join()
    slack = 0.08

    def during(start: float, end: float) -> list[bool]:
        return [camera for at, camera in shown if start < at < end]

    assert not any(during(0, marks["down"]))
    assert all(during(marks["down"] + slack, marks["down"] + 0.5))
    assert not any(during(marks["down"] + 0.5 + slack, marks["again"]))
    assert any(during(marks["again"], marks["up"]))
    assert not any(during(marks["up"] + slack, float("inf")))
    assert len(during(marks["up"] + slack, float("inf"))) > 5
    assert snapshot["passthrough_frames"] == sum(camera for _, camera in shown)
    assert camera_in_reach(run._output._canvases) == []


def test_a_frame_that_passthrough_cannot_show_leaves_the_avatar_on() -> None:
    watch = Watch()
    source = ListSource([camera_picture()[0]], fps=60, loop=True)
    run = pipeline(source, sinks=[watch.sink()], allow_passthrough=True, fault_limit_s=60.0)
    threading.Timer(0.2, run.set_passthrough, (True,)).start()
    snapshot = run.run(duration=0.5)
    assert watch.seen > 15
    assert watch.leaked == 0
    assert snapshot["faults"]["passthrough"] > 0
