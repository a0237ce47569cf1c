"""``lia-live bench`` as it is typed."""

from __future__ import annotations

import json

import pytest

from lia_live.cli import main


def test_numbers_alone_on_stdout_and_a_folder(files, tmp_path, capfd):
    out = tmp_path / "out"
    words = ["bench", "--only", "default", "--quick", "--json", "--threads", "1", "--out", str(out)]
    weights = ["--weights", str(files / "tiny.safetensors"), "--device", "cpu", "--engine", "torch"]
    assert main([*words, *weights]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["quick"] is True and told["weights"] == "tiny 0"
    assert told["reference_ms"] is None and told["machine"]["threads"] == 1
    assert {b["model"] for b in told["backends"]} == {"default"}
    assert {b["name"] for b in told["backends"]} == {"torch"}
    assert json.loads((out / "bench.json").read_text()) == told
    assert "<svg" in (out / "bench.html").read_text()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--only", "everything"], "everything"),
        (["--threads", "0"], "threads"),
        (["--threads", "many"], "many"),
        (["--quik"], "--quik"),
        (["--out", "no/such/folder"], "there is no folder"),
        (["--weights", "none.safetensors", "--only", "default"], "none.safetensors"),
    ],
)
def test_mistakes_are_two_lines(words, what, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *words]) in (2, 3, 4)
    told = capfd.readouterr().err.strip().splitlines()
    assert what in told[0] and len(told) == 2
