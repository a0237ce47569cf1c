"""``lia-live evaluate`` as it is typed, with the shipped weights and clip; and everything that may be wrong."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from lia_live.cli import main
from lia_live.cli.assets import DEMO_DRIVER
from tests.evaluate.crops import hopper, write_frames
from tests.io import clips

ONNX = Path(__file__).parent.parent / "data" / "onnx"
pytestmark = pytest.mark.timeout(600)  # on a busy machine; 30 s on an idle core
MOVEMENTS = ("yaw", "pitch", "roll", "x", "y", "mouth", "eyes", "brows")


@pytest.fixture(scope="module")
def done(tmp_path_factory, request):
    """One real evaluation: the shipped driver, a folder of frames, and things that are no clip."""
    folder = tmp_path_factory.mktemp("evaluate")
    inputs, out = folder / "clips", folder / "out"
    inputs.mkdir()
    shutil.copy(DEMO_DRIVER, inputs / "driver.mp4")
    write_frames(inputs / "swaying", 30)
    (inputs / "text.mp4").write_text("not a film")
    (inputs / "notes.txt").write_text("x")
    portraits = folder / "portraits"
    portraits.mkdir()
    cv2.imwrite(str(portraits / "hopper.png"), hopper()[:, :, ::-1])
    cv2.imwrite(str(portraits / "wall.png"), np.full((300, 300, 3), 120, np.uint8))
    words = ["evaluate", str(inputs), "--portraits", str(portraits), "--out", str(out)]
    words += ["--limit-frames", "30", "--device", "cpu", "--lpips-net", str(ONNX / "distance.onnx")]
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        from contextlib import redirect_stdout
        from io import StringIO

        text = StringIO()
        with redirect_stdout(text):
            assert main(words) == 0
    return text.getvalue(), json.loads((out / "figures.json").read_text()), out


def test_the_moving_clips_beat_their_static_copy(done):
    _, numbers, _ = done
    moving = numbers["same_identity"]["moving"]
    assert moving["count"] >= 1
    assert moving["akd"] < moving["static_akd"]
    assert moving["face_found"] == 1
    assert 0 < moving["l1"] < 0.15
    assert moving["x_correlation"] > 0.9
    assert 0.5 < moving["x_slope"] < 1.3
    assert 0.1 < moving["sharpness"] < 1.2
    assert 0 < moving["neutral_l1"] < 0.1
    assert 0 < moving["jitter_px"] < 2
    assert moving["lpips"] > 0 and moving["static_lpips"] > 0


def test_another_face_is_moved(done):
    _, numbers, _ = done
    section = numbers["cross_identity"]
    (case,) = section[
        "cases"
    ]  # of the driver, 30 frames are a second: it is over before it is judged
    assert (case["clip"], case["source"]) == ("swaying", "hopper")
    assert case["face_found"] == 1
    assert case["l1"] is None, "there is no truth to compare with"
    assert case["shape_distance"] < case["driver_shape_distance"], "the portrait's head is kept"
    assert case["x_correlation"] > 0.8


def test_what_was_left_out_is_said(done):
    text, numbers, _ = done
    left = {one["name"]: one["reason"] for one in numbers["skipped"]}
    assert set(left) == {"text.mp4", "notes.txt", "wall.png", "driver driving hopper"}
    assert "is not a video" in left["text.mp4"]
    assert "no face" in left["wall.png"]
    assert all(name in text for name in left)


def test_what_is_missing_says_how_to_get_it(done):
    text, numbers, out = done
    assert set(numbers["missing"]) == {"identity", "fid"}
    page = (out / "report.html").read_text(encoding="utf-8")
    for flag in ("--identity-net FILE.onnx", "--fid-net FILE.onnx"):
        assert flag in " ".join(text.split()) and flag in page
    assert "--lpips-net" not in page
    assert numbers["same_identity"]["all"]["fid"] is None
    assert numbers["same_identity"]["all"]["aed"] is None


def test_numbers_are_all_there(done):
    _, numbers, _ = done
    assert set(numbers) == {
        "weights", "engine", "protocol", "same_identity", "cross_identity", "missing", "skipped",
        "published", "took_s",
    }  # fmt: skip
    for section in ("same_identity", "cross_identity"):
        assert set(numbers[section]) == {"moving", "still", "all", "cases"}
        for case in numbers[section]["cases"]:
            assert {f"{m}_{what}" for m in MOVEMENTS for what in ("correlation", "slope")} <= set(
                case
            )
    rows = {row["name"]: row for row in numbers["published"]["same_identity"]}
    assert rows["LIA"] == {"name": "LIA", "l1": 0.041, "akd": 1.353, "aed": 0.138, "lpips": 0.123}
    assert numbers["published"]["cross_identity"][2]["voxceleb"] == 0.161
    assert numbers["protocol"]["moving_akd_px"] == 4


def test_the_page_has_strips_and_curves(done):
    _, numbers, out = done
    page = (out / "report.html").read_text(encoding="utf-8")
    transfers = len(numbers["same_identity"]["cases"]) + len(numbers["cross_identity"]["cases"])
    assert page.count('class="strip"') == 2 * transfers
    assert page.count("data:image/jpeg;base64,") >= 2 * 2 * 9, "a source and eight frames each"
    assert "<polyline" in page
    assert "static copy" in page and "X2Face" in page and "Not the same protocol" in page
    assert not re.search(r"<script|https?:", page)


def test_the_table_is_for_people(done):
    text, _, _ = done
    assert "same identity, moving clips" in text
    assert re.search(r"this model +0\.\d{3} +\d+\.\d+", text)
    assert "static copy" in text
    assert re.search(r"judged in +\d", text)
    *lines, last = text.splitlines()
    assert max(map(len, lines)) < 120
    assert "report.html" in last


@pytest.fixture
def tiny(files, tmp_path):
    """``evaluate`` with the tiny network, which shows no faces."""

    def run(*words: object) -> int:
        more = ["--weights", str(files / "tiny.safetensors"), "--device", "cpu"]
        if "--out" not in words:
            more += ["--out", str(tmp_path / "out")]
        return main(["evaluate", *map(str, words), *more])

    return run


def two_lines(capsys) -> tuple[str, str]:
    what, to_do = capsys.readouterr().err.splitlines()
    assert what.startswith("error: ") and to_do.startswith("to do: ")
    return what, to_do


def test_json_is_alone_on_stdout(tiny, files, capsys, tmp_path):
    assert tiny(files / "clip.mp4", "--json", "--limit-frames", 12) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["same_identity"]["all"]["count"] == 1
    assert numbers["same_identity"]["all"]["l1"] > numbers["same_identity"]["all"]["static_l1"]
    assert numbers["cross_identity"]["cases"] == []
    assert set(numbers["missing"]) == {"identity", "lpips", "fid"}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "with one clip there is no other face" in page


def test_without_portraits_the_other_clips_lend_their_faces(tiny, files, tmp_path, capsys):
    clips_ = tmp_path / "clips"
    clips_.mkdir()
    shutil.copy(files / "clip.mp4", clips_ / "one.mp4")
    write_frames(clips_ / "two", 28)
    nets = ("--identity-net", ONNX / "identity.onnx", "--fid-net", ONNX / "features.onnx")
    assert tiny(clips_, "--json", "--limit-frames", 28, *nets) == 0
    numbers = json.loads(capsys.readouterr().out)
    pairs = {(case["clip"], case["source"]) for case in numbers["cross_identity"]["cases"]}
    # one.mp4 is a second long: it is over before it may be judged
    assert pairs == {("two", "one")}
    assert any("over before" in one["reason"] for one in numbers["skipped"])
    assert set(numbers["missing"]) == {"lpips"}
    everything = numbers["same_identity"]["all"]
    assert everything["fid"] > everything["static_fid"] > 0
    assert everything["static_aed"] > 0


@pytest.mark.parametrize(
    "kind", ("none", "empty folder", "text", "picture", "no face", "only pictures")
)
def test_nothing_usable(kind, tiny, tmp_path, capsys):
    path = tmp_path / "clip.mp4"
    if kind == "text":
        path.write_text("not a film")
    elif kind == "picture":
        cv2.imwrite(str(tmp_path / "face.png"), hopper())
        path = tmp_path / "face.png"
    elif kind == "no face":
        clips.write_clip(path, clips.even_times(12))
    elif kind != "none":
        path.mkdir()
        if kind == "only pictures":
            cv2.imwrite(str(path / "face.png"), hopper())
    assert tiny(path) == 3
    what, to_do = two_lines(capsys)
    assert path.name in what or kind in ("empty folder", "only pictures")
    assert "video" in to_do or "path" in to_do


def test_a_place_that_cannot_be_written(tiny, files, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("x")
    for out in (file, tmp_path / "none" / "out"):
        assert tiny(files / "clip.mp4", "--out", out) == 4
        what, to_do = two_lines(capsys)
        assert str(out.parent) in what
    assert "mkdir -p" in to_do


def test_wrong_words(tiny, files, capsys):
    assert main(["evaluate"]) == 2
    two_lines(capsys)
    assert tiny(files / "clip.mp4", "--limit-frames", 3) == 2
    two_lines(capsys)


def test_portraits_that_are_not_there(tiny, files, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "none", tmp_path / "empty"):
        assert tiny(files / "clip.mp4", "--portraits", folder) == 3
        two_lines(capsys)


def test_a_signal_ends_it_between_two_frames(tiny, files, tmp_path, capsys, monkeypatch):
    """Frames go on being asked for until somebody looks at what is pending."""
    import signal

    from lia_live.evaluate.clips import Clip

    frames = Clip.frames

    def interrupted(clip, limit):
        for frame in frames(clip, limit):
            if frame.number == 5:
                signal.raise_signal(signal.SIGINT)
            yield frame

    monkeypatch.setattr(Clip, "frames", interrupted)
    assert tiny(files / "clip.mp4") == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert list((tmp_path / "out").iterdir()) == [], "no report of half an evaluation"


@pytest.mark.parametrize("flag", ["--identity-net", "--lpips-net", "--fid-net"])
def test_networks_that_are_none(flag, tiny, files, tmp_path, capsys):
    (tmp_path / "net.onnx").write_text("no network")
    assert tiny(files / "clip.mp4", flag, tmp_path / "net.onnx") == 3
    what, to_do = two_lines(capsys)
    assert "net.onnx is not an ONNX file" in what
    assert "docs/evaluation.md" in to_do
    assert tiny(files / "clip.mp4", flag, tmp_path / "none.onnx") == 3
    two_lines(capsys)
