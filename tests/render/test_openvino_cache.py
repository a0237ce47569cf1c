"""Graphs are drawn once a machine: read back alike, bounded, never stale, and a nuisance to nobody when damaged."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from lia_live.render import (
    available,
    open_renderer,
    openvino_cache,
    openvino_renderer,
    openvino_runtime,
)
from lia_live.render.adaptive import AdaptiveRenderer
from lia_live.render.openvino_cache import FOLDER, GraphCache, key_of
from lia_live.render.openvino_renderer import OpenVinoRenderer
from tests.render.networks import CONFIGS, look_of, pictures, random_network

needs_openvino = pytest.mark.skipif(
    not openvino_runtime.installed(), reason="needs the extra: pip install lia-live[openvino]"
)
PRECISIONS = [way.precision for way in available() if way.engine == "openvino"]


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("LIA_LIVE_CACHE", str(tmp_path))
    return tmp_path / FOLDER


def answers(renderer, network):
    crops = pictures(network.config, 2)
    avatar = renderer.load_avatar(look_of(network, crops[0]))
    alpha = renderer.encode_motion(crops)
    return alpha, renderer.render([avatar, avatar], alpha)


def no_drawing(monkeypatch):
    for graph in ("encoder_graph", "renderer_graph"):
        monkeypatch.setattr(openvino_renderer, graph, lambda *given: pytest.fail("drawn again"))


@needs_openvino
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_next_start_reads_what_this_one_drew(precision, folder, monkeypatch):
    network = random_network(CONFIGS["small"])
    drawn = answers(OpenVinoRenderer(network, precision=precision), network)
    assert len(list(folder.iterdir())) == 2
    no_drawing(monkeypatch)
    for threads in (1, 2):  # it serves any number
        read = answers(OpenVinoRenderer(network, precision=precision, threads=threads), network)
        for one, other in zip(drawn, read, strict=True):
            assert np.abs(one.astype(float) - other).max() <= (
                1e-4 if one.dtype == np.float32 else 1
            )
    assert len(list(folder.iterdir())) == 2


@needs_openvino
def test_other_weights_precisions_versions_and_sources_are_other_graphs(folder, monkeypatch):
    network = random_network(CONFIGS["tiny"])
    openvino = openvino_runtime.load()

    def key(network=network, half="encoder", precision="fp32", more=None):
        return key_of(network, openvino, half, precision, more)

    keys = {
        key(),
        key(random_network(CONFIGS["tiny"], seed=1)),
        key(half="renderer"),
        key(precision="bf16"),
        key(more=[[0.0, 1.0]]),
    }
    with monkeypatch.context() as patch:
        patch.setattr(openvino, "get_version", lambda: "2099.1")
        keys.add(key())
    with monkeypatch.context() as patch:
        patch.setattr(openvino_cache, "processor", lambda: "another one")
        keys.add(key())
    with monkeypatch.context() as patch:
        patch.setattr(openvino_cache, "_source", lambda: "a line was changed")
        keys.add(key())
    assert len(keys) == 8
    assert key() == key()


def test_the_source_is_this_programs():
    openvino_cache._source.cache_clear()
    before = openvino_cache._source()
    openvino_cache._source.cache_clear()
    assert openvino_cache._source() == before != ""


@needs_openvino
@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 5000], ids=["empty", "short", "noise"])
def test_damaged_files_are_drawn_again(damage, folder):
    network = random_network(CONFIGS["tiny"])
    drawn = answers(OpenVinoRenderer(network), network)
    for path in folder.iterdir():
        path.write_bytes(damage)
    again = answers(OpenVinoRenderer(network), network)
    assert np.array_equal(drawn[1], again[1])
    assert all(path.stat().st_size > 6000 for path in folder.iterdir())


@needs_openvino
def test_whole_files_that_openvino_cannot_read_are_drawn_again(folder):
    network = random_network(CONFIGS["tiny"])
    drawn = answers(OpenVinoRenderer(network), network)
    for path in list(folder.iterdir()):
        GraphCache().put(path.stem, b"of another make")
    again = answers(OpenVinoRenderer(network), network)
    assert np.array_equal(drawn[1], again[1])


@needs_openvino
def test_where_nothing_can_be_written_it_works_all_the_same(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LIA_LIVE_CACHE", str(tmp_path / "file"))
    network = random_network(CONFIGS["tiny"])
    assert answers(OpenVinoRenderer(network), network)[1].any()
    assert not GraphCache().put("key", b"graph")
    assert GraphCache().get("key") is None


def test_the_folder_is_bounded_in_files_and_bytes(tmp_path, monkeypatch):
    cache = GraphCache(tmp_path)
    for number in range(openvino_cache.MOST_FILES + 3):
        assert cache.put(f"{number:02}", b"graph")
        os.utime(tmp_path / FOLDER / f"{number:02}.graph", (number, number))
    cache.get("03")  # used: it stays
    cache.put("last", b"graph")
    names = {path.stem for path in (tmp_path / FOLDER).iterdir()}
    assert len(names) == openvino_cache.MOST_FILES
    assert {"03", "last"} <= names and not {"00", "04"} & names
    monkeypatch.setattr(openvino_cache, "MOST_BYTES", 1000)
    assert not cache.put("huge", b"g" * 600)
    for name in ("a", "b", "c"):
        cache.put(name, b"g" * 400)
    sizes = [path.stat().st_size for path in (tmp_path / FOLDER).iterdir()]
    assert sum(sizes) <= 1000


def test_what_a_killed_program_left_goes_and_foreign_files_stay(tmp_path):
    folder = tmp_path / FOLDER
    folder.mkdir()
    for name, age in (("old.part", 7200), ("new.part", 5), ("notes.txt", 7200)):
        (folder / name).write_text("x")
        os.utime(folder / name, (time.time() - age,) * 2)
    GraphCache(tmp_path).put("key", b"graph")
    assert {path.name for path in folder.iterdir()} == {"new.part", "notes.txt", "key.graph"}


def test_an_interrupt_leaves_nothing_half_done(tmp_path, monkeypatch):
    def interrupt(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        GraphCache(tmp_path).put("key", b"graph")
    assert list((tmp_path / FOLDER).iterdir()) == []


# Several numbers of threads in one renderer


@needs_openvino
def test_threads_may_change_between_two_frames(folder):
    network = random_network(CONFIGS["small"])
    renderer = OpenVinoRenderer(network, threads=(2, 1))
    assert renderer.threads == 2
    wanted = answers(renderer, network)
    crops = pictures(network.config, 2)
    avatars = [renderer.load_avatar(look_of(network, crop)) for crop in crops]
    for count in (1, 2, 1):
        renderer.threads = count
        assert f"{count} thread" in renderer.description
        found = answers(renderer, network)
        assert np.abs(found[0] - wanted[0]).max() < 1e-4
        assert np.abs(found[1].astype(int) - wanted[1]).max() <= 1
        assert not np.array_equal(*renderer.render(avatars, wanted[0]))  # each its own avatar
    with pytest.raises(KeyError):
        renderer.threads = 7


@needs_openvino
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_what_is_opened_for_any_use_follows_the_machine(folder, monkeypatch):
    from lia_live.render import choosing

    monkeypatch.setattr(choosing, "MEASURE_S", 0.01)
    network = random_network(CONFIGS["tiny"])
    for _ in range(2):  # measured, then remembered
        renderer = open_renderer(network, "openvino", precision="fp32")
        assert isinstance(renderer, AdaptiveRenderer)
        assert renderer.threads in (1, 2)
        assert "ms a frame" in renderer.description
        assert answers(renderer, network)[1].any()
    beside = open_renderer(network, "openvino", precision="fp32", beside=renderer)
    assert isinstance(beside, AdaptiveRenderer)
    fixed = open_renderer(network, "openvino", threads=1, precision="fp32")
    assert isinstance(fixed, OpenVinoRenderer)
