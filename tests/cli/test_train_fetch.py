"""``train fetch-vgg``: what it says, its exit codes, and Ctrl-C in the middle of a download."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from lia_live.cli import main
from lia_live.train import perceptual
from lia_live.train.perceptual import vgg_shapes


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A small VGG19, converted already."""
    monkeypatch.setattr(perceptual, "BLOCKS", ((4, 4), (4, 4), (8,) * 4, (8,) * 4, (8,)))
    path = tmp_path / "have.safetensors"
    save_file({key: torch.ones(shape) for key, shape in vgg_shapes().items()}, path)
    return path


def test_what_is_said(file, tmp_path, capsys):
    out = tmp_path / "vgg.safetensors"
    assert main(["train", "fetch-vgg", str(file), str(out), "--dtype", "float16"]) == 0
    said = capsys.readouterr()
    assert "converted already" in said.out
    assert f"{out}: VGG19 up to relu5_1, float16" in said.out
    assert "sha256 of have.safetensors: " in said.out
    assert "ImageNet" in said.out
    assert said.err == ""


def test_nothing_is_overwritten_unasked(file, tmp_path, capsys):
    out = tmp_path / "vgg.safetensors"
    out.write_text("mine")
    words = ["train", "fetch-vgg", str(file), str(out)]
    assert main(words) == 2
    assert "--force" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main([*words, "--force"]) == 0
    assert main(["train", "fetch-vgg", str(out), str(out)]) == 0  # the same file: only checked


def test_exit_codes(tmp_path, capsys):
    out = str(tmp_path / "vgg.safetensors")
    assert main(["train", "fetch-vgg", str(tmp_path / "missing.pth"), out]) == 3
    assert "torchvision.models.VGG19_Weights" in capsys.readouterr().err
    assert main(["train", "fetch-vgg", "x.pth", str(tmp_path / "no" / "vgg.safetensors")]) == 4
    assert main(["train", "fetch-vgg", "x.pth", str(tmp_path / "vgg.pth")]) == 2
    assert main(["train", "fetch-vgg", "gopher://x/vgg.pth", out]) == 2
    assert main(["train", "fetch-vgg", "x.pth", out, "--dtype", "int8"]) == 2
    long_address = f"http://127.0.0.1:9/{'x' * 5000}.pth?{'y' * 5000}"
    assert main(["train", "fetch-vgg", long_address, out]) == 3
    assert os.listdir(tmp_path) == []


def test_help_names_it(capsys):
    assert main(["--help"]) == 0
    assert "train fetch-vgg" in capsys.readouterr().out
    assert main(["train", "fetch-vgg", "--help"]) == 0
    assert "http(s)://" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_leaves_nothing(tmp_path):
    """A server that never ends; the signal comes once some of the file is there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        command = [
            sys.executable, "-m", "lia_live", "train", "fetch-vgg",
            f"http://127.0.0.1:{server.getsockname()[1]}/vgg19-dcbb9e9d.pth",
            str(tmp_path / "vgg.safetensors"),
        ]  # fmt: skip
        environment = os.environ | {"no_proxy": "127.0.0.1"}
        program = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(60)
                connection.recv(4096)
                head = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n"
                connection.sendall(head + b"x" * 3_000_000)
                assert len(os.listdir(tmp_path)) == 1
                program.send_signal(signal.SIGINT)
                _, said = program.communicate(timeout=30)
        finally:
            program.kill()
            program.wait()
    assert program.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    assert os.listdir(tmp_path) == []
