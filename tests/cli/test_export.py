"""``lia-live weights export --onnx``: two files, or two lines."""

from __future__ import annotations

import pytest

from lia_live.cli.main import main


def test_two_files(files, tmp_path, capsys):
    weights, out = str(files / "tiny.safetensors"), tmp_path / "onnx"
    assert main(["weights", "export", weights, "--onnx", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["encoder.onnx", "renderer.onnx"]
    assert "licence of the weights: none" in capsys.readouterr().out
    assert main(["weights", "export", weights, "--onnx", str(out)]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["weights", "export", weights, "--onnx", str(out), "--force"]) == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "--onnx FOLDER"),
        (["--onnx", "{tmp}/no/such"], 4, "no folder"),
        (["--onnx", "{tmp}/file"], 2, "is a file"),
        (["none.safetensors", "--onnx", "{tmp}/out"], 3, "none.safetensors"),
    ],
)
def test_two_lines(words, code, says, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    words = [word.format(tmp=tmp_path) for word in words]
    assert main(["weights", "export", *words]) == code
    told = capsys.readouterr().err
    assert says in told
    assert len(told.strip().splitlines()) == 2
    assert not (tmp_path / "out").exists()
