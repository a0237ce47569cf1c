"""The bench on a tiny network: what it measures, what it calls it, and when it warns."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lia_live.avatar import Avatar
from lia_live.cli.assets import DEMO_AVATAR
from lia_live.errors import ConfigError, DeviceError
from lia_live.evaluate import bench_report
from lia_live.evaluate.bars import bars
from lia_live.evaluate.bench import Bench, BenchConfig, Machine, bench, camera_clip, cut_faces
from lia_live.evaluate.bench_goals import goals
from lia_live.evaluate.bench_loop import LoopRun, busy_core, loop_figures, measure_loop, run_once
from lia_live.evaluate.bench_model import Backend, alpha_error, best_of
from lia_live.evaluate.machine import BUSY_CORES, Matmul, Watch, others_now
from lia_live.evaluate.operations import operations_of
from lia_live.evaluate.recipe import draw, fill_by_recipe
from lia_live.model import LIA, LIAConfig, load_model
from tests.cli.material import write_face_clip, write_weights
from tests.doubles import tiny_config, tiny_model
from tests.model import recipe

TORCH = [("torch", "fp32"), ("torch", "bf16")]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of a face."""
    return write_face_clip(tmp_path_factory.mktemp("bench") / "driver.mp4")


@pytest.fixture(scope="module")
def tiny_bench(driver: Path) -> Bench:
    """Both networks and media, all tiny, through the real code."""
    config = BenchConfig(
        ("full-size", "default", "media"), threads=1, full_rounds=2, default_rounds=3,
        media_rounds=1, matmul_side=64, full_size=replace(tiny_config(), width=0.125),
    )  # fmt: skip
    engines = [*TORCH, ("steam", "fp32")]
    return bench(config, tiny_model(), DEMO_AVATAR, driver, engines=engines)


def test_every_engine_is_measured_for_both_networks(tiny_bench: Bench) -> None:
    told = [(b.model, b.name, b.precision) for b in tiny_bench.backends]
    assert told == [(m, *e) for m in ("full-size", "default") for e in TORCH]
    assert [r.model for r in tiny_bench.references] == ["full-size", "default"]
    for backend in tiny_bench.backends:
        assert 0 < backend.encode_ms < backend.frame_ms_p50 <= backend.frame_ms_p95
        assert backend.batch_frame_ms > 0 and backend.frames >= 4 and backend.drift >= 1
        assert backend.threads == 1 and backend.avatar_mb > 0


def test_fp32_is_the_published_network_and_bf16_is_near_it(tiny_bench: Bench) -> None:
    for backend in tiny_bench.backends:
        exact = backend.precision == "fp32"
        assert backend.psnr_db >= (60 if exact else 25)
        assert backend.psnr_worst_db <= backend.psnr_db
        assert 0 <= backend.alpha_error < (1e-3 if exact else 2)  # that clip hardly moves
        assert backend.largest_difference <= (1 if exact else 255)


def test_an_engine_that_is_not_there_is_left_out_and_said(tiny_bench: Bench) -> None:
    assert list(tiny_bench.left_out) == ["full-size, steam fp32", "default, steam fp32"]
    assert "Left out: default, steam fp32" in bench_report.as_text(tiny_bench)


def test_share_and_speed_up_follow_from_the_other_figures(tiny_bench: Bench) -> None:
    machine = tiny_bench.machine
    for backend in tiny_bench.backends:
        reference = next(r for r in tiny_bench.references if r.model == backend.model)
        rate = machine.matmul_fp32_tflops
        if backend.share_of == "bf16":
            rate = machine.matmul_bf16_tflops
        expected = reference.gflops_driving / backend.frame_ms_p50 / rate  # G/ms is T/s
        # The machine's rate is that of all its turns; beside busy programs a backend's own turns had another.
        assert 1 / 3 < backend.share_of_matmul / expected < 3
        assert backend.speedup == pytest.approx(
            reference.frame_ms / backend.frame_ms_p50, rel=0.02, abs=0.01
        )


def test_keys_of_the_json(tiny_bench: Bench) -> None:
    told = json.loads(json.dumps(bench_report.as_json(tiny_bench), allow_nan=False))
    assert told["machine"]["matmul_bf16_tflops"] > 0
    assert {"busy", "cpu", "cores", "matmul_fp32_tflops", "others_during"} <= set(told["machine"])
    wanted = {
        "model", "name", "precision", "encode_ms", "render_ms", "frame_ms_p50", "frame_ms_p95",
        "psnr_db", "share_of_matmul",
    }  # fmt: skip
    assert all(wanted <= set(one) for one in told["backends"])
    assert told["reference_ms"] == told["references"][0]["frame_ms"] > 0
    assert told["speedup"] == max(b["speedup"] for b in told["backends"][:2] if b["psnr_db"] >= 38)
    assert told["loop"] is None and told["startup"] is None
    assert len(told["media"]) == 9 and all(m["ms_p50"] > 0 for m in told["media"])
    assert {g["what"] for g in told["goals"]} >= {"PSNR to fp32", "of the bf16 matmul rate"}


def test_the_page_shows_bars_and_the_same_tables(tiny_bench: Bench, tmp_path) -> None:
    page, numbers = bench_report.write_report(tiny_bench, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") >= 5 and "torch bf16" in text and "as published" in text
    assert json.loads(numbers.read_text())["weights"] == tiny_bench.weights


def machine(before: float = 0.0, during: float = 0.0) -> Machine:
    return Machine("a cpu", 2, [], "Linux", "3.11", "2", "cpu", "", 2, 1.0, 0.5, before, during)


def test_a_busy_machine_is_said_aloud() -> None:
    quiet, busy = machine(0.02, 0.05), machine(0.02, 0.9)
    assert not quiet.busy and busy.busy
    assert bench_report.warnings(Bench(quiet, "w", False)) == []
    (text,) = bench_report.warnings(Bench(busy, "w", False))
    assert "0.9 of 2 on average" in text and "NOTE: this machine was busy" in bench_report.as_text(
        Bench(busy, "w", False)
    )
    assert "quick" in bench_report.warnings(Bench(quiet, "w", True))[0]


def test_the_watch_sees_others_and_not_its_own() -> None:
    """Other programs may run beside the tests: only what the load adds is certain."""
    load = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert others_now(1.5) > BUSY_CORES
    finally:
        load.kill()
        load.wait()
    watch = Watch()
    with busy_core(watch):
        busy = others_now(0.5)
    told = watch.others()
    assert busy > 0.1 and told < busy + 2  # its half second was given back by ``ours``


def test_flops_are_torchs_own_count_without_fixed_filters() -> None:
    config = tiny_config()
    network, picture = tiny_model(), torch.zeros(1, 3, config.size, config.size)
    found = operations_of(config)
    with torch.no_grad():
        look = network.encode_appearance(picture)
        with FlopCounterMode(display=False) as encode:
            alpha = network.encode_motion(picture)
        with FlopCounterMode(display=False) as render:
            network.render(look, alpha)
    # What torch counts beyond: the FIR filters, and styles.
    assert 0.9 < 2 * found.encode / encode.get_total_flops() <= 1
    assert 0.9 < 2 * found.render / render.get_total_flops() <= 1
    assert operations_of(LIAConfig()).flops == pytest.approx(60.5e9, rel=0.002)


def test_weights_are_those_of_the_recipe() -> None:
    keys = {
        "enc.fc.4.weight": [20, 512],
        "enc.net_app.convs.1.conv1.0.weight": [4, 4, 3, 3],
        "enc.fc.0.bias": [512],
        "dec.to_flows.3.conv.weight": [1, 3, 8, 1, 1],
        "dec.to_flows.3.bias": [1, 3, 1, 1],
        "dec.convs.2.conv.modulation.bias": [16],
        "dec.convs.2.noise.weight": [1],
        "dec.to_rgbs.1.conv.0.weight": [3, 8, 1, 1],
        "dec.to_rgbs.1.bias": [1, 3, 1, 1],
        "dec.to_rgb1.bias": [1, 3, 1, 1],
        "dec.to_rgbs.1.conv.1.bias": [1, 3, 1, 1],
        "dec.direction.weight": [512, 20],
    }
    for key, shape in keys.items():
        expected = recipe.draw(key, shape).numpy()
        assert np.abs(draw(key, tuple(shape)) - expected).max() <= 1e-6, key


def test_a_network_is_filled_by_name_and_keeps_its_filters() -> None:
    network = fill_by_recipe(LIA(tiny_config()))
    values = network.state_dict()
    assert torch.equal(values["enc.fc.4.weight"], recipe.draw("enc.fc.4.weight", [20, 32]))
    kernels = {k: v for k, v in tiny_model().state_dict().items() if k.endswith(".kernel")}
    assert kernels and all(torch.equal(values[k], v) for k, v in kernels.items())
    assert not network.training


def test_matmul_rate() -> None:
    matmul = Matmul(torch.float32, torch.device("cpu"), 1, side=64)
    matmul.turn(4)
    assert len(matmul.seconds) == 4 and matmul.tflops > 0


def test_alpha_error_is_of_the_spread() -> None:
    truth = [np.array([0.0, 5.0]), np.array([2.0, 5.0])]
    found = [np.array([0.1, 5.0]), np.array([2.1, 5.0])]
    assert alpha_error(found, truth) == pytest.approx(0.1)  # s.d. 1, off by 0.1; the other is still
    assert alpha_error(truth[:1], truth[:1]) == 0.0


def test_a_precision_that_is_too_far_off_is_not_the_best(tiny_bench: Bench) -> None:
    exact = tiny_bench.backends[0]
    quicker = replace(exact, precision="int8", frame_ms_p50=0.001, psnr_db=37.9)
    assert best_of([exact, quicker], exact.model) is exact
    assert best_of([quicker], exact.model) is None


def live_run(**changes: float) -> LoopRun:
    run = LoopRun(30.0, 40.0, 60.0, 12.0, 4.0, 1.2, 3.0, 600.0, 300, 0, "torch bf16")
    return replace(run, **changes)


def test_live_figures_are_medians_and_have_goals(tiny_bench: Bench) -> None:
    with pytest.raises(ValueError, match="run"):
        loop_figures([])
    runs = [live_run(), live_run(fps=20.0, age_ms_p50=50.0), live_run(fps=29.9, age_ms_p95=80.0)]
    live = loop_figures(runs)
    assert live.fps == 29.9 and live.age_ms == {"p50": 40.0, "p95": 60.0}
    done = replace(tiny_bench, live=live, beside_load=loop_figures([live_run(fps=10.0)]))
    met = {(g.of, g.what): g.met for g in goals(done)}
    assert met["start-up", "to the first avatar picture"] and met["memory", "largest resident set"]
    assert not met["beside a busy core", "rate"]
    told = bench_report.as_json(done)
    assert told["startup"] == {"to_first_picture_s": [3.0, 3.0, 3.0]}
    assert told["memory"] == {"rss_mb": 600.0}
    assert "beside a busy core" in bench_report.as_text(done)


def test_a_live_run_is_the_program_itself(driver: Path, tmp_path: Path) -> None:
    clip, bundle = tmp_path / "camera.mp4", tmp_path / "me.avatar"
    camera_clip(driver, clip)
    weights = write_weights(tmp_path / "tiny.safetensors")
    Avatar.from_image(DEMO_AVATAR, load_model(weights)).with_consent("permission").save(bundle)
    flags = ["--weights", str(weights), "--device", "cpu"]
    watch = Watch()
    run = run_once(bundle, clip, flags, 1.5, 0.25, watch)
    assert run.frames >= 1 and run.fps > 0 and 0 < run.age_ms_p50 <= run.age_ms_p95
    assert run.to_first_picture_s > 0.25 and 50 < run.rss_mb < 4096 and run.engine
    with pytest.raises(DeviceError, match="code 3"):
        run_once(tmp_path / "none.avatar", clip, flags, 1, 0.25, watch)


def test_a_run_that_was_interrupted_is_no_failure(driver: Path, tmp_path: Path) -> None:
    def say(text: str) -> None:
        if text == "live":  # after a run that failed
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_loop(tmp_path / "none.avatar", driver, [], 1, 1, Watch(), say)


def exact(model: str, speedup: float) -> Backend:
    return Backend(
        model, "torch", "fp32", 1, "cpu", 1.0, 1.0, 2.0, 3.0, 2.0, 4, 500.0, 0.5, 99.0, 99.0, 0, 0.0, 0.5, "fp32",
        speedup, 10, 1.0, 1.0,
    )  # fmt: skip


def test_an_fp32_engine_is_judged_by_its_own_matmul_rate() -> None:
    done = Bench(machine(), "w", False, backends=[exact("full-size", 7.0)])
    measured = {g.what: g.measured for g in goals(done)}
    assert measured["faster than published (torch)"] == 7.0
    assert measured["of the bf16 matmul rate"] == pytest.approx(25)  # half of 0.5 of 1.0
    assert done.speedup == 7.0 and done.reference_ms is None


@pytest.mark.parametrize(
    "wrong", [{"parts": ("everything",)}, {"parts": ()}, {"full_rounds": 1}, {"matmul_side": 3}]
)
def test_a_wrong_setting_is_named(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=f"bench.{next(iter(wrong))}"):
        BenchConfig(**wrong)


def test_bars_are_as_long_as_their_values() -> None:
    svg = bars({"a & b": 10.0, "half": 5.0, "unknown": float("nan")}, "ms", "times")
    assert "a &amp; b" in svg and "10 ms" in svg and "–" in svg
    widths = [
        float(part.partition('"')[0])
        for part in svg.split("<rect")[1:]
        for part in [part.split('width="')[1]]
    ]
    assert widths[0] == pytest.approx(2 * widths[1]) and widths[2] == 0


def test_a_gpu_has_goals_of_its_own() -> None:
    card = replace(machine(), gpu="a card", device="cuda:0")
    best = replace(exact("full-size", 300.0), precision="fp16", batch=32, batch_fps=3100.0)
    done = Bench(card, "w", False, backends=[best])
    assert [g.met for g in goals(done)] == [True, True, True]
    assert "an H200" in bench_report.as_text(done) and "a card" in bench_report.as_text(done)


def test_faces_are_cut_once_and_read_where_nothing_can_be_cut(driver: Path, tmp_path: Path) -> None:
    kept = tmp_path / "faces.npz"
    cut = cut_faces(DEMO_AVATAR, driver, tiny_model(), 3, kept)
    none = tmp_path / "none"
    read = cut_faces(none, none, tiny_model(), 3, kept)
    assert all(np.array_equal(a, b) for a, b in zip(cut, read, strict=True))
