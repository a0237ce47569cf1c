"""The doctor names what is missing and the line that mends it, and never falls ill itself."""

import json

import pytest

from lia_live.cli import checkup, main
from lia_live.cli.checkup import Finding, locked_devices, usable
from lia_live.errors import DeviceError


def test_json_has_every_part(capsys):
    code = main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    parts = {finding["part"]: finding for finding in report["findings"]}
    assert {
        "cpu",
        "gpu",
        "engines",
        "model",
        "face tracker",
        "video files",
        "camera",
        "virtual camera",
    } <= set(parts)
    assert code == (0 if report["usable"] else 5)
    for finding in parts.values():
        assert finding["state"] in ("ok", "missing", "broken")
        assert finding["detail"]
        if finding["state"] != "ok":
            assert finding["to_do"]
    for part in ("face tracker", "video files"):
        assert parts[part]["state"] == "ok"


def test_a_check_that_fails_is_a_finding(monkeypatch):
    def raises() -> Finding:
        raise RuntimeError("driver says no")

    monkeypatch.setattr(checkup, "check_gpu", raises)
    gpu = next(finding for finding in checkup.check_all() if finding.part == "gpu")
    assert (gpu.state, gpu.detail) == ("broken", "RuntimeError: driver says no")


def test_our_errors_keep_their_hint(monkeypatch):
    def raises() -> Finding:
        raise DeviceError("no model", "get one")

    monkeypatch.setattr(checkup, "check_model", raises)
    model = next(finding for finding in checkup.check_all() if finding.part == "model")
    assert (model.state, model.detail, model.to_do, model.required) == (
        "broken",
        "no model",
        "get one",
        True,
    )


def test_only_required_parts_decide():
    fine = Finding("model", "ok", "", required=True)
    assert usable([fine, Finding("camera", "missing", "", "plug one in")])
    assert not usable([fine, Finding("tracker", "broken", "", "mend", required=True)])


def test_exit_code_when_nothing_can_work(monkeypatch, capsys):
    broken = Finding("model", "broken", "gone", "install again", required=True)
    monkeypatch.setattr(checkup, "check_all", lambda: [broken])
    assert main(["doctor"]) == 5
    assert "to do: install again" in capsys.readouterr().out


@pytest.mark.skipif("os.geteuid() == 0", reason="root may open everything")
def test_locked_devices(tmp_path):
    (tmp_path / "video0").touch(mode=0o000)
    (tmp_path / "video1").touch(mode=0o600)
    assert locked_devices(tmp_path) == [str(tmp_path / "video0")]


def test_linux_hint_is_the_exact_line(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("lia_live.io.virtual_cameras", list)
    finding = checkup.check_virtual_camera()
    assert finding.state == "missing"
    assert "modprobe v4l2loopback" in finding.to_do
    assert "exclusive_caps=1" in finding.to_do


def test_an_engine_that_would_be_quicker_is_named(monkeypatch):
    from lia_live.render import openvino_runtime

    monkeypatch.setattr(openvino_runtime, "installed", lambda: False)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    found = checkup.check_engines()
    assert found.state == "missing" and "torch fp32" in found.detail
    assert "lia-live[openvino]" in found.to_do
