"""Which engine is taken: by measuring, within the quality bounds, remembered until something changes."""

from __future__ import annotations

import io
import json
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lia_live.errors import ConfigError
from lia_live.render import Choice, Renderer, available, choosing, engines, open_renderer
from lia_live.render import bystanders as bystanders_module
from lia_live.render.agreement import Trial
from lia_live.render.bystanders import Bystanders
from lia_live.render.choice import computes_bf16, thread_counts
from lia_live.render.choosing import choose
from lia_live.render.remembered import (
    FILE,
    Found,
    JsonCache,
    Notebook,
    cache_folder,
    circumstances,
)
from lia_live.render.safeguard import SafeguardedRenderer
from lia_live.render.torch_renderer import TorchRenderer
from tests.render.networks import CONFIGS, random_network


@pytest.fixture
def network():
    return random_network(CONFIGS["tiny"])


@pytest.fixture
def notebook(tmp_path):
    return Notebook("here", tmp_path)


@pytest.fixture
def clock(monkeypatch):
    """Frames take as long as ``clock[engine, precision, threads]`` says, ms; any other way 100. Nobody disturbs."""
    times: dict[tuple[str, str, int], float] = {}

    def typical_s(frame):
        renderer = frame._renderer
        return times.get((renderer.engine, renderer.precision, renderer.threads), 100) / 1e3

    monkeypatch.setattr(choosing, "typical_s", typical_s)
    monkeypatch.setattr(choosing, "BUDGET_S", math.inf)
    monkeypatch.setattr(Bystanders, "share", lambda self: 0.0)
    return times


class Opener:
    """Opens the torch engine under any name, and writes down what was asked for."""

    def __init__(self, network, broken=()):
        self.network, self.broken = network, broken
        self.asked: list[tuple[str, str, int]] = []

    def __call__(self, way, threads):
        self.asked.append((way.engine, way.precision, threads))
        if way.engine in self.broken:
            raise RuntimeError(f"{way.engine} is broken")
        renderer = TorchRenderer(self.network, threads=threads)
        renderer.engine, renderer.precision = way.engine, way.precision
        return renderer


A, A_LOW, B, B_LOW = (
    Choice("a", "fp32"),
    Choice("a", "bf16"),
    Choice("b", "fp32"),
    Choice("b", "bf16"),
)


def test_the_quickest_is_taken_and_remembered(network, notebook, clock, tmp_path):
    clock |= {("a", "fp32", 1): 30, ("b", "fp32", 1): 20}
    opener = Opener(network)
    first = choose(network, [A, B], 1, opener, notebook)
    assert (first.renderer.engine, first.measured) == ("b", True)
    assert first.found == Found("b", "fp32", 1, 20.0)
    opener.asked.clear()
    second = choose(network, [A, B], 1, opener, Notebook("here", tmp_path))
    assert (second.renderer.engine, second.measured) == ("b", False)
    assert second.found == first.found
    assert opener.asked == [("b", "fp32", 1)]  # nothing else was opened
    elsewhere = choose(network, [A, B], 1, opener, Notebook("elsewhere", tmp_path))
    assert elsewhere.measured


@pytest.mark.parametrize(
    ("times", "chosen"), [((9, 5, 4.5), 2), ((9, 8, 3), 1), ((9, 5, 3), 4)], ids=str
)
def test_a_thread_must_pay(times, chosen, network, notebook, clock, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(4), raising=False)
    assert thread_counts() == [1, 2, 4]
    clock |= {("a", "fp32", count): t for count, t in zip((1, 2, 4), times, strict=True)}
    assert choose(network, [A], None, Opener(network), notebook).found.threads == chosen


def test_a_precision_that_disagrees_is_not_taken(network, notebook, clock, monkeypatch):
    clock |= {("a", "bf16", 1): 1, ("a", "fp32", 1): 30, ("b", "fp32", 1): 40}
    monkeypatch.setattr(Trial, "accepts", lambda self, renderer: renderer.precision == "fp32")
    chosen = choose(network, [A_LOW, B_LOW, A, B], 1, Opener(network), notebook)
    assert (chosen.renderer.engine, chosen.renderer.precision) == ("a", "fp32")


def test_where_a_lower_precision_agrees_fp32_is_not_tried(network, notebook, clock):
    opener = Opener(network)
    choose(network, [A_LOW, B_LOW, A, B], 1, opener, notebook)
    assert {precision for _, precision, _ in opener.asked} == {"bf16"}


def test_a_precision_asked_for_by_name_is_not_judged(network, notebook, clock, monkeypatch):
    clock |= {("b", "bf16", 1): 20}
    monkeypatch.setattr(Trial, "accepts", lambda self, renderer: False)
    chosen = choose(network, [A_LOW, B_LOW], 1, Opener(network), notebook)
    assert (chosen.renderer.engine, chosen.renderer.precision) == ("b", "bf16")
    beside = open_renderer(network, "torch", precision="bf16")
    assert beside.precision == "bf16"
    likewise = open_renderer(
        random_network(CONFIGS["tiny"], 1), "torch", None, "bf16", beside=beside
    )
    assert likewise.precision == "bf16"


def test_once_the_time_is_spent_nothing_else_is_tried(network, notebook, clock, monkeypatch):
    monkeypatch.setattr(choosing, "BUDGET_S", 0)
    opener = Opener(network)
    assert choose(network, [A, B], 1, opener, notebook).renderer.engine == "a"
    assert opener.asked == [("a", "fp32", 1)]


def test_what_a_busy_machine_said_is_good_for_a_while_only(network, notebook, clock, monkeypatch):
    monkeypatch.setattr(Bystanders, "share", lambda self: 0.5)
    first = choose(network, [A], 1, Opener(network), notebook)
    assert first.found.good_until == pytest.approx(time.time() + choosing.PROVISIONAL_S, abs=60)
    assert not choose(network, [A], 1, Opener(network), notebook).measured
    notebook.write(Found("a", "fp32", 1, 100.0, time.time() - 1))
    monkeypatch.setattr(Bystanders, "share", lambda self: 0.0)
    again = choose(network, [A], 1, Opener(network), notebook)
    assert again.measured and again.found.good_until is None


def test_bystanders_are_what_neither_idles_nor_is_ours(monkeypatch):
    seen = iter([(100.0, 50.0, 10.0), (110.0, 57.0, 14.0)])  # all, busy, own
    monkeypatch.setattr(bystanders_module, "_spent", lambda: next(seen))
    assert Bystanders().share() == pytest.approx(0.3)
    monkeypatch.undo()
    assert 0 <= Bystanders().share() <= 1


@pytest.mark.parametrize(("without", "tried"), [(20, False), (60, True), (200, False)])
def test_int8_is_tried_only_where_it_could_make_it_live(without, tried, network, notebook, clock):
    clock |= {("a", "bf16", 1): without, ("a", "int8", 1): 10}
    opener = Opener(network)
    chosen = choose(network, [A_LOW, A, Choice("a", "int8")], 1, opener, notebook)
    assert (("a", "int8", 1) in opener.asked) is tried
    assert chosen.renderer.precision == ("int8" if tried else "bf16")


def test_narrow_networks_are_not_tried_in_int8(network, monkeypatch):
    asked = []

    def note(model, ways, *given):
        asked.extend(ways)
        raise StopIteration

    monkeypatch.setattr(engines, "choose", note)
    with pytest.raises(StopIteration):
        open_renderer(network)
    assert asked and "int8" not in {way.precision for way in asked}


def test_a_broken_engine_is_passed_over(network, notebook, clock):
    clock |= {("b", "fp32", 1): 50}
    chosen = choose(network, [A, B], 1, Opener(network, broken="a"), notebook)
    assert chosen.renderer.engine == "b"
    with pytest.raises(RuntimeError, match="a is broken"):
        choose(network, [A, B], 1, Opener(network, broken="ab"), Notebook("x"))


def test_an_engine_that_broke_since_is_measured_away(network, notebook, clock):
    notebook.write(Found("a", "fp32", 1, 1.0))
    chosen = choose(network, [A, B], 1, Opener(network, broken="a"), notebook)
    assert (chosen.renderer.engine, chosen.measured) == ("b", True)


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", '{"here": 3}', '{"here": {"engine": "a"}}', "\0\xff", "[" * 100_000,
     '{"here": {"engine": "a", "precision": "fp32", "threads": -3, "frame_ms": 5.0, "good_until": null}}',
     '{"here": {"engine": "a", "precision": "int1", "threads": 1, "frame_ms": 5.0, "good_until": null}}',
     '{"here": {"engine": "a", "precision": "fp32", "threads": 1, "frame_ms": Infinity, "good_until": null}}',
     '{"here": {"engine": "a", "precision": "fp32", "threads": 1, "frame_ms": 5.0, "good_until": "noon"}}'],
    ids=["empty", "cut", "list", "number", "keys", "binary", "deep", "threads", "precision", "time", "until"],
)  # fmt: skip
def test_a_damaged_file_is_measured_again(damage, network, notebook, clock, tmp_path):
    (tmp_path / FILE).write_text(damage, encoding="latin-1")
    assert choose(network, [A, B], 1, Opener(network), notebook).measured
    assert json.loads((tmp_path / FILE).read_text())["here"]["engine"] in ("a", "b")
    assert not choose(network, [A, B], 1, Opener(network), notebook).measured
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_where_nothing_can_be_written_it_goes_on(network, clock, tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    notebook = Notebook("here", in_the_way / "folder")
    for _ in range(2):
        chosen = choose(network, [A], 1, Opener(network), notebook)
        assert chosen.measured and not chosen.kept


def test_nobody_is_told_that_it_is_remembered_if_it_is_not(network, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LIA_LIVE_CACHE", str(tmp_path / "file"))
    said = open_renderer(network, "torch", precision="fp32").description
    assert "could not be written" in said and "remembered" not in said


def test_a_user_without_a_home_measures_each_time(network, clock, monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    for name in ("LIA_LIVE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert not JsonCache(FILE).put("here", 1) and JsonCache(FILE).get("here") is None
    assert choose(network, [A], 1, Opener(network), Notebook("here")).measured


def test_interrupted_writing_leaves_nothing(monkeypatch, tmp_path):
    def interrupt(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        JsonCache(FILE, tmp_path).put("here", 1)
    assert list(tmp_path.iterdir()) == []


def test_the_file_does_not_grow_for_ever(tmp_path):
    for number in range(70):
        Notebook(str(number), tmp_path).write(Found("a", "fp32", 1, 1.0))
    assert len(json.loads((tmp_path / FILE).read_text())) == 64
    assert Notebook("69", tmp_path).recall() is not None
    assert Notebook("0", tmp_path).recall() is None


def test_circumstances_name_network_and_threads(network, monkeypatch):
    cpu = torch.device("cpu")
    before = circumstances(network, [A], None, cpu)
    assert circumstances(network, [A], None, cpu) == before
    others = {
        circumstances(random_network(CONFIGS["tiny"], seed=1), [A], None, cpu),
        circumstances(network, [A, B], None, cpu),
        circumstances(network, [A], 1, cpu),
    }
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    others.add(circumstances(network, [A], None, cpu))
    assert len(others | {before}) == 5


def test_the_cache_is_the_users_not_the_packages(monkeypatch, tmp_path):
    assert "lia-live" in str(cache_folder()) or os.environ.get("LIA_LIVE_CACHE")
    monkeypatch.delenv("LIA_LIVE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_folder() == tmp_path / "lia-live"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_person_is_told_that_it_takes_a_while(network, monkeypatch, tmp_path):
    monkeypatch.setenv("LIA_LIVE_CACHE", str(tmp_path))
    monkeypatch.setattr(choosing, "MEASURE_S", 0.01)
    terminal, pipe = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    open_renderer(network, "torch", precision="fp32")
    open_renderer(network, "torch", precision="fp32")
    assert terminal.getvalue().count("measuring") == 1  # not where it is remembered
    monkeypatch.setattr(sys, "stderr", pipe)
    open_renderer(network, "torch", 1, precision="auto")
    assert pipe.getvalue() == ""


@pytest.mark.parametrize(
    ("duration", "words"),
    [(5.0, "5 ms"), (15.24, "15.2 ms"), (376.9, "377 ms"), (1234.5, "1234 ms")],
)
def test_slow_frames_are_told_in_plain_numbers(duration, words):
    assert engines._in_ms(duration) == words


def test_a_copy_of_a_network_is_the_same_network(network):
    network.name, network.licence = "mine", "CC0"
    copy = engines._copied(network)
    assert (copy.name, copy.licence, copy.directions) == ("mine", "CC0", network.directions)
    assert copy.fingerprint == network.fingerprint
    theirs = {parameter.data_ptr() for parameter in network.parameters()}
    assert not theirs & {parameter.data_ptr() for parameter in copy.parameters()}
    assert engines._out_of_reach(network) is network  # on the cpu already


@pytest.mark.gpu
def test_a_lost_gpu_does_not_take_the_spare_along(network, monkeypatch):
    renderer = open_renderer(network.to("cuda"), "torch", threads=1)
    network.to_empty(device="meta")  # as good as lost

    def lost(crops):
        raise RuntimeError("CUDA error: unspecified launch failure")

    assert isinstance(renderer, SafeguardedRenderer)
    monkeypatch.setattr(renderer._gpu, "encode_motion", lost)
    size = network.config.size
    assert renderer.encode_motion(np.zeros((1, size, size, 3), np.uint8)).shape == (1, 4)
    assert renderer.device == "cpu"


# Real engines


def test_auto_measures_says_so_and_remembers(network, monkeypatch, tmp_path):
    monkeypatch.setenv("LIA_LIVE_CACHE", str(tmp_path))
    monkeypatch.setattr(choosing, "MEASURE_S", 0.01)
    renderer: Renderer = open_renderer(network)
    assert Choice(renderer.engine, renderer.precision) in available()
    assert renderer.device == "cpu"
    assert f"{renderer.engine} {renderer.precision}, " in renderer.description
    assert "ms a frame" in renderer.description and "measured now" in renderer.description
    assert "fastest" not in renderer.description  # which depends on how many there was time for
    monkeypatch.setattr(Trial, "of", lambda model: pytest.fail("measured again"))
    again = open_renderer(network)
    assert (again.engine, again.precision) == (renderer.engine, renderer.precision)
    assert "as measured before" in again.description


@pytest.mark.parametrize("engine", sorted({way.engine for way in available()}))
def test_an_engine_can_be_forced(engine, network):
    renderer = open_renderer(network, engine, threads=1, precision="fp32")
    assert renderer.engine == engine
    assert renderer.description == f"cpu, 1 thread, {engine} fp32"


def test_available_leaves_out_what_gains_nothing():
    ways = available()
    assert Choice("torch", "fp32") in ways
    assert (Choice("torch", "bf16") in ways) == computes_bf16()
    assert len(set(ways)) == len(ways)
    assert {way.engine for way in ways} <= set(engines.ENGINES)
    assert {way.engine for way in available("cuda")} == {"torch"}
    assert available("mps") == (Choice("torch", "fp32"),)


def test_a_probe_tells_networks_apart(network):
    other = random_network(CONFIGS["tiny"], seed=1)
    trial = Trial.of(network)
    assert trial.accepts(TorchRenderer(network, threads=1))
    assert not trial.accepts(TorchRenderer(other, threads=1))
    broken = TorchRenderer(network, threads=1)
    broken.encode_motion = lambda crops: np.full((1, 4), np.nan, np.float32)
    assert not trial.accepts(broken)


def test_a_network_beside_another_whose_precision_fails_it_is_measured(network, monkeypatch):
    beside = open_renderer(network, "torch", threads=1, precision="bf16")
    other = random_network(CONFIGS["tiny"], seed=1)
    monkeypatch.setattr(Trial, "accepts", lambda self, renderer: False)
    found = open_renderer(other, "torch", threads=1, beside=beside)
    assert found.precision == "fp32"


def test_unknown_names_are_refused(network):
    for options in (
        {"engine": "abacus"}, {"threads": 0}, {"precision": "int3"},
        {"engine": "torch", "precision": "int8"}, {"engine": "openvino", "precision": "fp16", "threads": 1},
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            open_renderer(network, **options)
