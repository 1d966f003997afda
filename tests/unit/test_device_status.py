"""``edgekit device status`` as a person reads it; what devices really answer is tests/lab's."""

from pathlib import Path
from typing import Any

import pytest

from edgekit.cli import cli
from edgekit.cli.device_status import print_status
from edgekit.cli.failures import guarded
from edgekit.device import Device
from edgekit.errors import TransportError

pytestmark = pytest.mark.unit


def answer(free_bytes: int) -> dict[str, Any]:
    info: dict[str, Any] = {
        "board": "Raspberry Pi 4",
        "cpu": None,
        "architecture": "aarch64",
        "runtime": None,
        "gauges": [],
        "blocked": [],
    }
    return {"info": info, "status": {"free_bytes": free_bytes, "models": []}, "findings": ()}


def test_little_space_is_not_shown_as_none(capsys: pytest.CaptureFixture[str]) -> None:
    devices = [Device(name=name, transport="ssh") for name in ("porch", "garage")]
    print_status(devices, [answer(25_700_000), answer(67_100_000_000)])
    out = capsys.readouterr().out
    assert "26 MB" in out
    assert "67.1 GB" in out


def test_gauges_and_those_that_cannot_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    told = answer(1)
    told["info"]["gauges"] = [
        {"name": "hwmon1/VDD_IN", "reading": {"voltage_v": 5.0, "power_w": 6.1234567}},
        {"name": "power_supply/[red]BAT0", "reading": {"capacity_percent": 80.0, "on_battery": 1.0}},
        {"name": "pmic", "reading": None},
    ]
    told["info"]["blocked"] = [{"name": "gauge-forbidden", "message": "rapl is there.", "fix": "Log in as root."}]
    print_status([Device(name="garage", transport="ssh")], [told])
    captured = capsys.readouterr()
    for line in ("hwmon1/VDD_IN 6.123 W", "power_supply/[red]BAT0 80 %", "pmic silent"):
        assert line in captured.out
    assert captured.err.splitlines() == ["garage: rapl is there.", "  fix: Log in as root."]


def test_the_active_release_is_named_by_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    told = answer(1)
    kept = {"active": "0123456789abcdef", "damaged": []}
    told["status"]["models"] = [
        {"name": "camera", "release": "1.4.0", **kept},
        {"name": "door", "release": None, **kept},
    ]
    print_status([Device(name="garage", transport="ssh")], [told])
    out = capsys.readouterr().out
    assert "camera: 1.4.0 (0123456789ab) active" in out
    assert "door: 0123456789ab active" in out


def test_an_error_names_its_device_once(capsys: pytest.CaptureFixture[str]) -> None:
    device = Device(name="garage", transport="ssh")
    print_status([device], [TransportError("garage: 10.0.0.4 refuses connections.", hint="Is it on?")])
    assert capsys.readouterr().err.splitlines() == ["garage: 10.0.0.4 refuses connections.", "  next: Is it on?"]


def test_no_device_at_all_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert guarded(cli, ["device", "status"]) == 0
    assert "No device is configured: edgekit device add NAME" in capsys.readouterr().err
