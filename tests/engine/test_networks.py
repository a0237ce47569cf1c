"""Avatars of several networks on one stage: each is seen, moved and rendered by its own."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
import torch

from lia_live.engine import Animator, Pipeline, PipelineConfig, PolicyConfig
from lia_live.engine.networks import LiveNetworks, open_beside
from lia_live.errors import ConfigError
from lia_live.frame import Frame, Pixels
from lia_live.model import LIA, Framing, LIAConfig, to_pixels, to_tensor
from lia_live.render import Renderer, open_renderer
from tests.doubles import (
    ListSink,
    ListSource,
    ScriptedAvatar,
    ScriptedRenderer,
    ScriptedTracker,
    scripted_avatar,
    tiny_model,
)
from tests.engine.live import CONFIG, DIRECTIONS, GREEN, camera, corner, pipeline
from tests.engine.test_fail_closed import Watch, camera_in_reach

RNG = np.random.default_rng(5)
PORTRAITS = [RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(3)]
DRIVER = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
BF16 = 4.0
"""Levels that bf16, taken where the cpu computes in it, may cost such a random network in the mean."""
STRAIGHT = PolicyConfig(mode="absolute", smooth=0.0, return_s=0.0)


def network(seed: int, **config: Any) -> LIA:
    torch.manual_seed(seed)
    options = {"size": 64, "width": 0.0625, "latent_dim": 32, **config}
    return LIA(LIAConfig(**options)).eval()


@torch.no_grad()
def avatar_of(model: LIA, picture: Pixels, name: str, own: bool) -> Any:
    return ScriptedAvatar(
        name,
        model.encode_appearance(to_tensor(picture[None])),
        picture,
        network=model if own else None,
        fingerprint=model.fingerprint,
    )


@torch.no_grad()
def forward(model: LIA, picture: Pixels) -> Pixels:
    return to_pixels(model(to_tensor(picture[None]), to_tensor(DRIVER[None])))[0]


@torch.no_grad()
def resting(model: LIA, picture: Pixels) -> Pixels:
    return to_pixels(model(to_tensor(picture[None]), to_tensor(picture[None])))[0]


def near(found: Pixels, expected: Pixels, within: float = 1.0) -> bool:
    """The same picture to ``within`` levels in the mean. Those of two of these networks differ by 30 levels."""
    return float(np.abs(found.astype(int) - expected).mean()) < within


class Opened:
    """Opens renderers as the pipeline would, and remembers which, and on which thread."""

    def __init__(self) -> None:
        self.networks: list[LIA] = []
        self.threads: set[str] = set()

    def __call__(self, model: LIA, other: Renderer | None) -> Renderer:
        self.networks.append(model)
        self.threads.add(threading.current_thread().name)
        return open_renderer(model, threads=1, precision="fp32", beside=other)


def conducted(
    run: Pipeline, *indexes: int, look: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Run; one avatar after the other is asked for, each once the one before was shown for a moment.

    ``look`` is called while each of them is on stage.
    """
    names = [avatar.name for avatar in run._shelf._avatars]

    def conduct() -> None:
        for index in indexes:
            time.sleep(0.3)
            run.switch_avatar(index)
            deadline = time.perf_counter() + 20
            while run.stats.avatar != names[index] and time.perf_counter() < deadline:
                time.sleep(0.005)
            time.sleep(0.1)
            look()
        time.sleep(0.3)
        run.stop()

    conductor = threading.Thread(target=conduct)
    conductor.start()
    snapshot = run.run(duration=60)
    conductor.join()
    return snapshot


# The whole loop, with real networks


def test_each_avatar_is_shown_by_its_own_network() -> None:
    """Absolute transfer of one driving picture: every picture is one network's own forward, from its encoder
    to its renderer. Were one part another network's, the picture would be neither."""
    shared, mine, hers = tiny_model(), network(5), network(6, width=0.125, latent_dim=64)
    models = [shared, mine, hers]
    avatars = [
        avatar_of(shared, PORTRAITS[0], "shared", own=False),
        avatar_of(mine, PORTRAITS[1], "mine", own=True),
        avatar_of(hers, PORTRAITS[2], "hers", own=True),
    ]
    expected = [forward(m, p) for m, p in zip(models, PORTRAITS, strict=True)]
    calm = [resting(m, p) for m, p in zip(models, PORTRAITS, strict=True)]
    kinds = [*expected, *calm]
    assert not any(near(a, b) for a, b in combinations(kinds, 2))
    sink, opened = ListSink((64, 64)), Opened()
    run = Pipeline(
        ListSource([DRIVER], fps=30, loop=True),
        ScriptedTracker(64),
        open_renderer(shared, threads=1, precision="fp32"),
        avatars,
        [sink],
        PipelineConfig(policy=STRAIGHT, badge=False),
        directions=shared.directions,
        shape_of=None,
        open_own=opened,
    )
    snapshot = conducted(run, 1, 2, 0, 1)
    assert snapshot["faults"] == {}
    assert snapshot["avatar"] == "mine"
    shown = [[i for i, wanted in enumerate(kinds) if near(p, wanted)] for p in sink.pictures]
    assert all(len(match) == 1 for match in shown)
    on_stage = [match[0] % len(models) for match in shown]
    assert [on_stage[0]] + [b for a, b in pairwise(on_stage) if a != b] == [0, 1, 2, 0, 1]
    assert {index for match in shown for index in match} >= {0, 1, 2}  # driven, not only at rest
    assert opened.networks == [mine, hers]  # once each, though shown twice
    assert opened.threads == {"lia-avatars"}  # never in the frame loop


def test_no_shared_network_is_needed() -> None:
    """All bring their own, of other sizes: the tracker's crops are cut again for each."""
    mine, large = network(5), network(7, size=128)
    big = RNG.integers(0, 256, (128, 128, 3), dtype=np.uint8)
    avatars = [avatar_of(mine, PORTRAITS[1], "mine", True), avatar_of(large, big, "large", True)]
    sink, opened = ListSink((128, 128)), Opened()
    run = Pipeline(
        ListSource([DRIVER], fps=30, loop=True),
        ScriptedTracker(64),
        None,
        avatars,
        [sink],
        PipelineConfig(policy=STRAIGHT, badge=False),
        shape_of=None,
        open_own=opened,
    )
    assert opened.networks == [mine]  # the first one is ready before the run
    snapshot = conducted(run, 1)
    assert snapshot["faults"] == {}
    assert (snapshot["avatar"], snapshot["engine"]) == (
        "large",
        run._performer.avatar.network.renderer.engine,
    )
    with torch.no_grad():
        import cv2

        driver = cv2.resize(DRIVER, (128, 128), interpolation=cv2.INTER_LINEAR)
        wanted = to_pixels(large(to_tensor(big[None]), to_tensor(driver[None])))[0]
    assert np.abs(sink.pictures[-1].astype(int) - wanted).mean() < 3


def test_an_avatar_without_a_network_and_none_to_share() -> None:
    with pytest.raises(ConfigError, match="green carries no network"):
        Pipeline(
            camera(), ScriptedTracker(64), None, [scripted_avatar()], [ListSink()], shape_of=None
        )


def test_a_network_that_cannot_be_opened_leaves_the_present_avatar_on() -> None:
    def broken(model: Any, other: Any) -> Any:
        raise RuntimeError("no room on the device")

    other = scripted_avatar("blue", (30, 60, 180))
    other.network = tiny_model()
    sink = ListSink()
    run = Pipeline(
        camera(),
        ScriptedTracker(64),
        ScriptedRenderer(),
        [scripted_avatar(), other],
        [sink],
        PipelineConfig(fps=60.0),
        directions=DIRECTIONS,
        shape_of=None,
        open_own=broken,
    )
    threading.Timer(0.1, run.switch_avatar, (1,)).start()
    snapshot = run.run(duration=0.6)
    assert "blue cannot be used: no room on the device" in snapshot["notes"]["avatar"]
    assert {corner(picture) for picture in sink.pictures} == {GREEN}


# Fail closed


def own_avatar(name: str, colour: tuple[int, int, int]) -> Any:
    """A scripted one whose network is opened by ``colours``."""
    avatar = scripted_avatar(name, colour)
    avatar.network, avatar.fingerprint = tiny_model(), name
    return avatar


def scripted_run(open_own: Callable[[Any, Any], Any], watch: Watch, **more: Any) -> Pipeline:
    return Pipeline(
        camera(60),
        ScriptedTracker(CONFIG.size),
        ScriptedRenderer(),
        [scripted_avatar(), own_avatar("blue", (30, 60, 180)), own_avatar("red", (180, 30, 30))],
        [watch.sink()],
        PipelineConfig(fps=60.0, fault_limit_s=60.0),
        directions=DIRECTIONS,
        shape_of=None,
        open_own=open_own,
        **more,
    )


@pytest.mark.parametrize("seed", range(3))
def test_faults_of_any_network_show_no_camera(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def fault(crops: Pixels | None = None) -> object:
        kinds = [RuntimeError("broke"), np.full((1, 20), np.nan, np.float32), crops]
        return kinds[rng.integers(len(kinds))] if rng.random() < 0.35 else None

    def troubled(model: Any, other: Any) -> Any:
        renderer = ScriptedRenderer()
        warm = iter([True])  # the shelf's own trial goes well

        def striking(crops: Pixels) -> object:
            return None if next(warm, False) else fault(crops)

        renderer.before_encode = striking
        return renderer

    watch = Watch()
    run = scripted_run(troubled, watch)
    snapshot = conducted(run, 1, 2, 0, 1, 2)
    assert (watch.seen > 40, watch.leaked) == (True, 0)
    assert snapshot["faults"]["encoder"] > 0
    assert snapshot["avatar"] == "red"


def test_kept_frames_are_out_of_reach_of_everything_that_shows() -> None:
    """The observer keeps camera frames for the sake of other networks. Neither the performer, nor an avatar on
    the shelf, nor the output can reach them."""
    watch = Watch()
    run = scripted_run(lambda model, other: ScriptedRenderer(), watch)
    looks: list[tuple[bool, list[str]]] = []

    def look() -> None:
        parts = (run._performer, run._shelf, run._output)
        found = [name for part in parts for name in camera_in_reach(part)]
        kept = bool(run._observer._glimpses.kept()) and bool(camera_in_reach(run._observer))
        looks.append((kept, found))

    conducted(run, 1, 2, 0, 1, look=look)
    assert len(looks) == 4
    assert all(kept for kept, _ in looks)  # there was something to be found, and the look finds it
    assert [found for _, found in looks] == [[]] * 4
    assert watch.leaked == 0
    assert run._observer._glimpses.kept() == []  # and it is gone with the run


# Opening and giving back


def test_a_network_is_opened_once_and_given_back() -> None:
    opened = Opened()
    networks = LiveNetworks(None, opened)
    mine = network(5)
    one = avatar_of(mine, PORTRAITS[0], "one", own=True)
    two = avatar_of(mine, PORTRAITS[1], "two", own=True)
    held = networks.of(one)
    assert networks.of(two) is held
    assert opened.networks == [mine]
    del held
    gc.collect()
    networks.of(one)
    assert opened.networks == [mine, mine]


def test_a_network_needs_the_tracker_of_its_framing() -> None:
    opened = Opened()
    full = network(5, framing=Framing(kind="full"))
    networks = LiveNetworks(None, opened, tracked=full.config)
    face = avatar_of(network(6), PORTRAITS[0], "face", own=True)
    with pytest.raises(ConfigError, match="face tracker"):
        networks.of(face)
    assert opened.networks == []


def test_a_second_network_of_the_same_shape_is_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It runs by the same engine, in the same precision, on as many threads as the one beside it."""
    from lia_live.render import engines

    first = open_renderer(tiny_model(), "torch", threads=3, precision="fp32")

    def no_measuring(*given: object) -> None:
        raise AssertionError("measuring disturbs the one that is at work")

    monkeypatch.setattr(engines, "choose", no_measuring)
    second = open_beside(network(9), first)
    assert second.description == first.description
    assert type(second) is type(first)
    with pytest.raises(AssertionError):
        open_renderer(network(9, width=0.125), precision="fp32", beside=first)


# On one thread


def animated(animator: Animator, number: int = 0) -> Pixels:
    return animator.animate(Frame(DRIVER, number / 30, number)).pixels


def test_the_animator_takes_the_avatars_own_network() -> None:
    shared, mine = tiny_model(), network(5)
    avatar = avatar_of(mine, PORTRAITS[1], "mine", own=True)
    options: dict[str, Any] = {
        "policy": STRAIGHT, "shape_of": None, "threads": 1, "tracker": ScriptedTracker(64),
    }  # fmt: skip
    for model in (shared, open_renderer(shared, threads=1), mine, None):
        with Animator(model, avatar, **options) as animator:
            assert near(animated(animator), forward(mine, PORTRAITS[1]), BF16)
            assert animator.renderer.config == mine.config


def test_the_animator_switches_networks() -> None:
    shared, mine = tiny_model(), network(5)
    one = avatar_of(shared, PORTRAITS[0], "one", own=False)
    two = avatar_of(mine, PORTRAITS[1], "two", own=True)
    with Animator(
        shared, one, policy=STRAIGHT, shape_of=None, threads=1, tracker=ScriptedTracker(64)
    ) as animator:
        assert near(animated(animator, 0), forward(shared, PORTRAITS[0]), BF16)
        animator.switch(two)
        assert near(animated(animator, 1), forward(mine, PORTRAITS[1]), BF16)
        animator.switch(one)
        assert near(animated(animator, 2), forward(shared, PORTRAITS[0]), BF16)


def test_a_pipeline_of_doubles_has_one_network() -> None:
    assert pipeline().description == "cpu, scripted"
