"""VGG19's weights on their way in: from disk and from a real server, whole, damaged, foreign and malicious."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import math
import os
import shutil
import threading
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lia_live.errors import ConfigError, StorageError, WeightsError
from lia_live.model import conversion
from lia_live.train import fetch, perceptual
from lia_live.train.fetch import address, check_digits, fetch_vgg, file_name
from lia_live.train.perceptual import load_perceptual, vgg_shapes

SMALL = ((4, 4), (4, 4), (8,) * 4, (8,) * 4, (8,))
"""Channels for tests whose subject is not the size."""


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    """No proxy between a test and its own server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(perceptual, "BLOCKS", SMALL)


def state(shapes=None, **changes) -> dict[str, torch.Tensor]:
    """As torchvision's file: what is kept, a later convolution, a classifier. None removes."""
    random = torch.Generator().manual_seed(7)
    shapes = (shapes or vgg_shapes()) | {
        "features.30.weight": (8, 8, 3, 3),
        "classifier.6.bias": (10,),
    }
    content = {key: torch.randn(shape, generator=random) * 0.1 for key, shape in shapes.items()}
    content |= {key.replace("__", "."): value for key, value in changes.items()}
    return {key: value for key, value in content.items() if value is not None}


def saved(content, folder: Path, name: str | None = None, **options) -> Path:
    """``torch.save`` under a name that carries its own hash, as torchvision's does."""
    path = folder / "vgg19.pth"
    torch.save(content, path, **options)
    return path.rename(folder / (name or f"vgg19-{sha256(path)[:8]}.pth"))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def shelf(tmp_path):
    folder = tmp_path / "shelf"
    folder.mkdir()
    return folder


@pytest.fixture
def out(tmp_path):
    (tmp_path / "made").mkdir()
    return tmp_path / "made" / "vgg.safetensors"


class Server:
    """Serves a folder on 127.0.0.1; ``behave(handler, data)`` may answer in its stead."""

    def __init__(self, folder: Path) -> None:
        self.behave = None
        outer = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self):
                if outer.behave is None:
                    super().do_GET()
                else:
                    outer.behave(self)

            def log_message(self, *args):
                pass

        def handler(*args):
            return Handler(*args, directory=str(folder))

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{name}"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def server(shelf):
    server = Server(shelf)
    yield server
    server.close()


def nothing_left(out: Path) -> bool:
    return not os.listdir(out.parent)


# What is made.


def test_whole_network_over_http_in_float16(shelf, server, out):
    """Real shapes once, in the format of before torch 1.6, which torchvision's file has."""
    content = state()
    source = saved(content, shelf, _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(source)
    seen = []
    made = fetch_vgg(
        server.url(source.name), out, dtype="float16", progress=lambda *args: seen.append(args)
    )
    size = source.stat().st_size
    assert seen[-1] == (size, size)
    assert len(seen) > 10
    assert (made.sha256, made.was_safetensors, made.written) == (sha256(source), False, True)
    assert os.listdir(out.parent) == [out.name]
    assert 25e6 < out.stat().st_size < 27e6
    with safe_open(out, framework="pt") as file:
        assert file.metadata() == {
            "format": "lia-live-vgg19/1",
            "dtype": "float16",
            "source": source.name,
            "sha256": made.sha256,
        }
        assert set(file.keys()) == set(vgg_shapes())
    loaded = load_perceptual(out)
    for key, value in loaded.features.state_dict().items():
        assert torch.equal(value, content[f"features.{key}"].half().float()), key


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["path", "file url"])
def test_from_disk_exact_in_float32(kind, shelf, out):
    content = state()
    folder = shelf / "a b"
    folder.mkdir()
    source = saved(content, folder)
    before = source.read_bytes()
    made = fetch_vgg(str(source) if kind == "path" else source.as_uri(), out)
    assert made.written
    assert source.read_bytes() == before
    written = load_file(out)
    assert written.keys() == vgg_shapes().keys()
    assert all(torch.equal(value, content[key]) for key, value in written.items())
    assert os.listdir(out.parent) == [out.name]


@pytest.mark.usefixtures("small")
def test_converted_already(shelf, server, out):
    """Checked, cut to what is needed, and where source and output are one file left alone."""
    source = shelf / "vgg.safetensors"
    save_file(state(), source)
    made = fetch_vgg(server.url(source.name), out, dtype="float16")
    assert (made.was_safetensors, made.written) == (True, True)
    before = out.read_bytes()
    again = fetch_vgg(str(out), out)
    assert (again.was_safetensors, again.written) == (True, False)
    assert out.read_bytes() == before
    out.write_bytes(before[:-1])
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        fetch_vgg(str(out), out)


# The hash.


def test_hash_is_the_one_in_the_name():
    digest = "dcbb9e9d" + "0" * 56
    check_digits("vgg19-dcbb9e9d.pth", digest)
    check_digits("anything.pth", digest)
    for name, expected in (
        ("vgg19-dcbb9e9e.pth", "dcbb9e9e"),
        ("vgg19_bn-c79401a0.pth", "c79401a0"),
    ):
        with pytest.raises(
            WeightsError, match=f"begins with dcbb9e9d, expected {expected}"
        ) as failure:
            check_digits(name, digest)
        assert "--any" in failure.value.hint
    with pytest.raises(WeightsError, match="expected dcbb9e9d"):
        check_digits("anything.pth", "0" * 64)


@pytest.mark.usefixtures("small")
def test_wrong_hash_is_refused_before_the_file_is_opened(shelf, server, out, monkeypatch):
    source = saved(state(), shelf, "vgg19-dcbb9e9d.pth")
    with monkeypatch.context() as patch:
        patch.setattr(conversion, "_run_child", lambda *args: pytest.fail("it was opened"))
        with pytest.raises(WeightsError, match="not the file it should be"):
            fetch_vgg(server.url(source.name), out)
    assert nothing_left(out)
    assert fetch_vgg(server.url(source.name), out, any_file=True).written


# What is refused.


class Malicious:
    """Unpickled the unsafe way, it creates the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


@pytest.mark.usefixtures("small")
def test_malicious_pickle_never_runs(shelf, out, tmp_path):
    canary = tmp_path / "canary"
    source = saved(state(features__0__weight=Malicious(canary)), shelf)
    with pytest.raises(WeightsError, match="may be malicious") as failure:
        fetch_vgg(str(source), out)
    assert not canary.exists()
    assert "vgg19" in failure.value.hint
    assert nothing_left(out)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features__28__weight": None}, r"1 keys are missing \(features\.28\.weight\)"),
        ({"features__0__weight": torch.zeros(4, 3, 5, 5)}, "4×3×5×5, expected 4×3×3×3"),
        ({"features__0__bias": torch.full((4,), math.nan)}, r"features\.0\.bias holds NaN"),
    ],
)
def test_another_network(change, said, shelf, out):
    source = shelf / "vgg.safetensors"
    save_file(state(**change), source)
    with pytest.raises(WeightsError, match=said) as failure:
        fetch_vgg(str(source), out)
    assert "torchvision" in failure.value.hint
    assert nothing_left(out)


@pytest.mark.usefixtures("small")
def test_another_network_as_pickle(shelf, server, out):
    source = saved(state(features__28__weight=None), shelf, "resnet.pth")
    with pytest.raises(WeightsError, match=r"VGG19 from resnet\.safetensors: 1 keys") as failure:
        fetch_vgg(server.url(source.name), out, any_file=True)
    assert "torchvision" in failure.value.hint
    assert nothing_left(out)


@pytest.mark.usefixtures("small")
def test_damaged_file(shelf, out):
    source = saved(state(), shelf, "vgg.pth")
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError, match="cannot be converted: it is damaged"):
        fetch_vgg(str(source), out, any_file=True)
    for content, said in ((b"", "is empty"), (b"<html>sign in</html>", "sha256")):
        source.write_bytes(content)
        with pytest.raises(WeightsError, match=said):
            fetch_vgg(str(source), out)
    assert nothing_left(out)


@pytest.mark.usefixtures("small")
def test_numbers_too_large_for_float16(shelf, out):
    source = shelf / "vgg.safetensors"
    save_file(state(features__0__bias=torch.full((4,), 1e6)), source)
    with pytest.raises(WeightsError, match="do not fit float16"):
        fetch_vgg(str(source), out, dtype="float16")
    assert nothing_left(out)


def test_words_that_make_no_sense(out, shelf):
    for source in (
        "ftp://127.0.0.1/vgg.pth",
        "http:///vgg.pth",
        "file://host/vgg.pth",
        "http://[1/x",
    ):
        with pytest.raises(ConfigError, match="no address"):
            fetch_vgg(source, out)
    with pytest.raises(ConfigError, match="dtype"):
        fetch_vgg("vgg.pth", out, dtype="int8")
    with pytest.raises(ConfigError, match=r"\.safetensors"):
        fetch_vgg("vgg.pth", out.with_suffix(".bin"))
    with pytest.raises(WeightsError, match="there is no file"):
        fetch_vgg(str(shelf / "missing.pth"), out)
    with pytest.raises(WeightsError, match="is not a file"):
        fetch_vgg(str(shelf), out)
    with pytest.raises(StorageError, match="cannot be written to"):
        fetch_vgg("vgg.pth", out.parent / "no" / "vgg.safetensors")
    assert address("folder/vgg.pth") is None
    assert file_name("https://127.0.0.1/a/vgg%20b.pth?token=secret") == "vgg b.pth"


# The network.


def test_not_there_and_not_reachable(server, out):
    with pytest.raises(
        WeightsError, match=r"the server has no vgg19-dcbb9e9d\.pth \(404\)"
    ) as failure:
        fetch_vgg(server.url("vgg19-dcbb9e9d.pth?token=secret"), out)
    assert "VGG19_Weights" in failure.value.hint
    server.behave = lambda handler: handler.send_error(503)
    with pytest.raises(WeightsError, match="the server answered 503"):
        fetch_vgg(server.url("vgg.pth"), out)
    port = server.server.server_port
    server.close()
    with pytest.raises(WeightsError, match=r"vgg\.pth cannot be fetched") as failure:
        fetch_vgg(f"http://127.0.0.1:{port}/vgg.pth", out)
    assert "give its path" in failure.value.hint
    assert nothing_left(out)


def redirect(handler, location):
    handler.send_response(302)
    handler.send_header("Location", location)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@pytest.mark.usefixtures("small")
def test_redirects_lead_to_servers_only(shelf, server, out):
    source = shelf / "vgg.safetensors"
    save_file(state(), source)

    def once(handler):
        server.behave = None
        redirect(handler, f"/{source.name}")

    server.behave = once
    assert fetch_vgg(server.url("old.safetensors"), out).written
    for location in (source.as_uri(), "ftp://127.0.0.1/x.safetensors"):
        server.behave = lambda handler, location=location: redirect(handler, location)
        with pytest.raises(WeightsError):
            fetch_vgg(server.url("old.safetensors"), out)


def sends(stated, data):
    """A server that states a length and sends what it sends."""

    def behave(handler):
        handler.send_response(200)
        if stated is not None:
            handler.send_header("Content-Length", str(stated))
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(data)

    return behave


def test_download_that_is_cut_short(server, out):
    server.behave = sends(5_000_000, b"x" * 1_500_000)
    with pytest.raises(WeightsError, match=r"ended after 1\.5 of 5\.0 MB"):
        fetch_vgg(server.url("vgg.pth"), out)
    assert nothing_left(out)


@pytest.mark.parametrize("stated", [3_000_000, None])
def test_download_that_is_too_large(stated, server, out, monkeypatch):
    monkeypatch.setattr(fetch, "MAX_BYTES", 2_000_000)
    server.behave = sends(stated, b"x" * 3_000_000)
    with pytest.raises(WeightsError, match="more than 2 MB"):
        fetch_vgg(server.url("vgg.pth"), out)
    assert nothing_left(out)


def test_silent_server(server, out, monkeypatch):
    """It states a length and then says nothing: given up after the time limit."""
    monkeypatch.setattr(fetch, "TIMEOUT_S", 0.2)
    over = threading.Event()

    def behave(handler):
        sends(1000, b"x" * 10)(handler)
        over.wait(5)

    server.behave = behave
    with pytest.raises(WeightsError, match="timed out"):
        fetch_vgg(server.url("vgg.pth"), out)
    over.set()
    assert nothing_left(out)


def test_interrupted_download_leaves_nothing(server, out):
    server.behave = sends(4_000_000, b"x" * 4_000_000)

    def interrupt(done, total):
        assert not nothing_left(out)
        if done > 2_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_vgg(server.url("vgg.pth"), out, progress=interrupt)
    assert nothing_left(out)


def test_full_disk_is_said_before_the_download(server, out, monkeypatch):
    usage = shutil.disk_usage(out.parent)._replace(free=10_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    server.behave = sends(500_000_000, b"")
    with pytest.raises(
        StorageError, match="1067 MB are needed for a while, 10 MB are free"
    ) as failure:
        fetch_vgg(server.url("vgg.pth"), out)
    assert "free some space" in failure.value.hint
    assert nothing_left(out)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_disk_that_fills_up_on_the_way(server, out, monkeypatch):
    """A real ENOSPC, from the kernel's own full device."""
    monkeypatch.setattr("builtins.open", lambda path, mode="r", real=open: real("/dev/full", "wb"))
    server.behave = sends(None, b"x" * 3_000_000)
    with pytest.raises(StorageError, match="No space left") as failure:
        fetch.download(server.url("vgg.pth"), out)
    assert "free some space" in failure.value.hint
