"""Batteries as drivers show them: right, wrong, half and gone."""

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.agent import sensors
from edgekit.agent.gauges import CHANNELS, Gauge
from edgekit.agent.sensors import power_supply
from tests.unit.trees import plant

pytestmark = pytest.mark.unit

FOLDER = "sys/class/power_supply"
LAPTOP = {
    "type": "Battery",
    "present": 1,
    "status": "Discharging",
    "voltage_now": 11_400_000,
    "current_now": -1_000_000,
    "energy_now": 25_000_000,
    "energy_full": 50_000_000,
    "capacity": 50,
}


def battery(root: Path, name: str = "BAT0", **files: Any) -> str:
    present = {**LAPTOP, **files}
    return plant(root, f"{FOLDER}/{name}", **{key: value for key, value in present.items() if value is not None})


def only(root: str) -> Gauge:
    found = power_supply.find(root)
    assert found.blocked == []
    (gauge,) = found.gauges
    return gauge


def values(gauge: Gauge) -> dict[str, float]:
    read = gauge.read()
    assert read is not None
    return read


def test_a_battery_by_the_abi(tmp_path: Path) -> None:
    gauge = only(battery(tmp_path))
    assert gauge.name == "power_supply/BAT0"
    assert gauge.whole_device
    assert gauge.capacity_j == pytest.approx(50 * 3600)
    assert gauge.notes == ()
    assert gauge.channels["capacity_percent"].resolution == 1.0
    assert gauge.channels["power_w"].resolution is None
    assert values(gauge) == pytest.approx(
        {
            "voltage_v": 11.4,
            "current_a": 1.0,
            "power_w": 11.4,
            "energy_j": -25 * 3600,
            "capacity_percent": 50,
            "on_battery": 1,
        }
    )
    assert set(gauge.channels) == set(values(gauge))


def test_what_was_drawn_counts_up(tmp_path: Path) -> None:
    gauge = only(battery(tmp_path))
    before = values(gauge)["energy_j"]
    battery(tmp_path, energy_now=24_990_000)
    assert values(gauge)["energy_j"] - before == pytest.approx(36.0)  # 10 mWh


@pytest.mark.parametrize(
    ("status", "current", "drawn", "notes"),
    [
        ("Discharging", -1_000_000, 1.0, []),
        ("Discharging", 1_000_000, 1.0, ["battery-current-sign"]),  # axp20x before 5.18, ACPI before 6.16
        ("Charging", 1_000_000, -1.0, []),
        ("Charging", -1_000_000, -1.0, ["battery-current-sign"]),
        ("Full", -20_000, 0.02, []),
        ("Not charging", 20_000, -0.02, []),
        ("Unknown", -1_000_000, 1.0, []),
        (None, -1_000_000, 1.0, []),
        ("Discharging", 0, 0.0, []),
    ],
)
def test_status_decides_and_not_the_sign(
    tmp_path: Path, status: str | None, current: int, drawn: float, notes: list[str]
) -> None:
    gauge = only(battery(tmp_path, status=status, current_now=current))
    assert values(gauge)["current_a"] == pytest.approx(drawn)
    assert values(gauge)["power_w"] == pytest.approx(drawn * 11.4)
    assert [note["name"] for note in gauge.notes] == notes


def test_a_wrong_sign_is_said(tmp_path: Path) -> None:
    (note,) = only(battery(tmp_path, current_now=1_000_000)).notes
    assert note["message"] == (
        "BAT0: status is 'Discharging' and current_now is 1 A, against the kernel's ABI; the status is believed."
    )
    assert "Compare with a meter" in note["fix"]


@pytest.mark.parametrize(
    ("status", "power", "current", "drawn"),
    [
        ("Discharging", 11_400_000, None, 11.4),  # ACPI: power_now never has a sign
        ("Charging", 11_400_000, None, -11.4),
        ("Discharging", -11_400_000, None, 11.4),
        ("Full", 100_000, 0, 0.1),
        ("Unknown", 11_400_000, 1_000_000, -11.4),  # current_now says that it is charged
        (None, 11_400_000, None, 11.4),
    ],
)
def test_power_now_has_no_sign_of_its_own(
    tmp_path: Path, status: str | None, power: int, current: int | None, drawn: float
) -> None:
    gauge = only(battery(tmp_path, status=status, power_now=power, current_now=current))
    assert values(gauge)["power_w"] == pytest.approx(drawn)


def test_on_battery_follows_the_status(tmp_path: Path) -> None:
    gauge = only(battery(tmp_path))
    for status, expected in {"Discharging": 1.0, "Charging": 0.0, "Full": 0.0, "Not charging": 0.0}.items():
        battery(tmp_path, status=status)
        assert values(gauge)["on_battery"] == expected
    battery(tmp_path, status="Unknown")
    assert "on_battery" not in values(gauge)


def test_millivolts_are_left_out_and_said(tmp_path: Path) -> None:
    gauge = only(battery(tmp_path, voltage_now=3300))  # the default of the kernel's test_power
    assert set(gauge.channels) == {"current_a", "energy_j", "capacity_percent", "on_battery"}
    assert [note["name"] for note in gauge.notes] == ["battery-voltage-unit"]
    assert "voltage_now says 0.0033 V" in gauge.notes[0]["message"]


def test_percent_in_charge_full_is_left_out_and_said(tmp_path: Path) -> None:
    root = battery(tmp_path, energy_now=None, energy_full=None, charge_now=50, charge_full=100)
    gauge = only(root)
    assert "charge_c" not in gauge.channels
    assert gauge.capacity_j is None
    assert "charge_full says 100 uAh, so its driver shows percent there" in gauge.notes[0]["message"]
    battery(tmp_path, charge_counter=-1_000)
    assert values(only(root))["charge_c"] == pytest.approx(3.6)  # a counter may be negative


@pytest.mark.parametrize(("power", "notes"), [(11_000_000, []), (11_400, ["battery-power-unit"])])
def test_power_that_is_not_voltage_times_current_is_said(tmp_path: Path, power: int, notes: list[str]) -> None:
    gauge = only(battery(tmp_path, power_now=power))
    assert [note["name"] for note in gauge.notes] == notes
    assert values(gauge)["power_w"] == pytest.approx(power * 1e-6)


def test_charge_and_the_voltage_it_was_designed_for_make_a_capacity(tmp_path: Path) -> None:
    files: dict[str, Any] = {"energy_now": None, "energy_full": None, "charge_now": 1_500_000, "charge_full": 3_000_000}
    gauge = only(battery(tmp_path, voltage_now=4_100_000, voltage_min_design=3_700_000, **files))
    assert gauge.capacity_j == pytest.approx(3.0 * 3.7 * 3600)
    assert values(gauge)["charge_c"] == pytest.approx(-1.5 * 3600)
    (tmp_path / FOLDER / "BAT0/voltage_min_design").unlink()
    assert only(str(tmp_path)).capacity_j == pytest.approx(3.0 * 4.1 * 3600)
    (tmp_path / FOLDER / "BAT0/voltage_now").unlink()
    assert only(str(tmp_path)).capacity_j is None


def test_a_missing_file_is_a_missing_channel(tmp_path: Path) -> None:
    root = battery(tmp_path)
    folder = tmp_path / FOLDER / "BAT0"
    for name in ("current_now", "energy_now", "energy_full", "present"):
        (folder / name).unlink()
    assert set(only(root).channels) == {"voltage_v", "capacity_percent", "on_battery"}


@pytest.mark.parametrize("text", ["", "garbage", "1e9", "0x10", "1_0", "٣", "9" * 20, "-", "12 34", "\x00"])
def test_text_that_is_no_number_is_a_missing_channel(tmp_path: Path, text: str) -> None:
    gauge = only(battery(tmp_path))
    battery(tmp_path, current_now=text, capacity=text)
    assert set(values(gauge)) == {"voltage_v", "energy_j", "on_battery"}


def test_capacity_beyond_percent_is_left_out(tmp_path: Path) -> None:
    assert "capacity_percent" not in only(battery(tmp_path, capacity=255)).channels


def test_the_largest_numbers_of_the_kernel_are_numbers(tmp_path: Path) -> None:
    gauge = only(battery(tmp_path, energy_now=-(2**63), current_now=2**63 - 1))
    assert values(gauge)["energy_j"] == pytest.approx(2**63 * 3600e-6)
    assert values(gauge)["current_a"] == pytest.approx((2**63 - 1) * 1e-6)


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ENODATA, errno.ENODEV, errno.EIO, errno.ETIMEDOUT])
def test_a_fuel_gauge_that_fails_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    gauge = only(battery(tmp_path))
    real = sensors.read_bytes

    def fail(root: str, path: str) -> bytes:
        if path.endswith("current_now"):
            raise OSError(code, os.strerror(code))
        return real(root, path)

    monkeypatch.setattr(sensors, "read_bytes", fail)
    assert set(values(gauge)) == {"voltage_v", "energy_j", "capacity_percent", "on_battery"}
    monkeypatch.setattr(sensors, "read_bytes", real)
    assert values(gauge)["current_a"] == 1.0


def test_a_file_that_never_answers_does_not_hold_us_up(tmp_path: Path) -> None:
    root = battery(tmp_path)
    file = tmp_path / FOLDER / "BAT0/current_now"
    file.unlink()
    os.mkfifo(file)
    assert "current_a" not in only(root).channels


def test_unplugged_in_the_middle(tmp_path: Path) -> None:
    gauge = only(battery(tmp_path))
    shutil.rmtree(tmp_path / FOLDER / "BAT0")
    assert gauge.read() is None
    battery(tmp_path, present=0)  # an empty bay still has its files
    assert gauge.read() is None
    assert power_supply.find(str(tmp_path)).gauges == []
    battery(tmp_path)
    assert values(gauge)["current_a"] == 1.0


def test_a_mouse_is_not_the_device(tmp_path: Path) -> None:
    root = battery(tmp_path, "BAT0")
    plant(tmp_path, f"{FOLDER}/hid-1209-battery", type="Battery", scope="Device", capacity=80, status="Discharging")
    own, mouse = power_supply.find(root).gauges
    assert own.whole_device
    assert not mouse.whole_device
    assert mouse.covers == "a peripheral with a battery of its own, not this device"
    assert values(mouse) == {"capacity_percent": 80, "on_battery": 1}


def test_a_ups_may_feed_others_too(tmp_path: Path) -> None:
    gauge = only(battery(tmp_path, "ups", type="UPS"))
    assert not gauge.whole_device
    assert gauge.covers == "all that hangs on this uninterruptible power supply, this device and others"


def test_of_two_batteries_none_is_the_whole_device(tmp_path: Path) -> None:
    battery(tmp_path, "BAT0")
    root = battery(tmp_path, "BAT1")
    assert [gauge.whole_device for gauge in power_supply.find(root).gauges] == [False, False]


def test_a_measured_supply_is_the_device_where_there_is_no_battery(tmp_path: Path) -> None:
    files: dict[str, object] = {"type": "USB", "online": 1, "voltage_now": 5_100_000, "current_now": 900_000}
    root = plant(tmp_path, f"{FOLDER}/axp20x-usb", **files)
    plant(tmp_path, f"{FOLDER}/AC", type="Mains", online=1)
    gauge = only(root)
    assert gauge.name == "power_supply/axp20x-usb"
    assert gauge.whole_device
    assert values(gauge) == pytest.approx({"voltage_v": 5.1, "current_a": 0.9, "power_w": 4.59})
    battery(tmp_path)
    assert [(item.name, item.whole_device) for item in power_supply.find(root).gauges] == [
        ("power_supply/BAT0", True),
        ("power_supply/axp20x-usb", False),
    ]


def test_what_a_charger_negotiated_is_no_measurement(tmp_path: Path) -> None:
    files: dict[str, object] = {"type": "USB", "voltage_now": 9_000_000, "current_now": 3_000_000}
    assert power_supply.find(plant(tmp_path, f"{FOLDER}/tcpm-source-psy-5-004e", **files)).gauges == []


def test_no_supplies_at_all(tmp_path: Path) -> None:
    assert power_supply.find(str(tmp_path)) == ([], [])


TEXTS = st.one_of(st.integers().map(str), st.text(max_size=20), st.sampled_from(["Discharging", "Battery", "Charging"]))


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted({*LAPTOP, "charge_now", "charge_full", "scope", "power_now"})), TEXTS))
def test_whatever_a_driver_says_nothing_breaks(files: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, FOLDER, "BAT0")
        folder.mkdir(parents=True)
        for name, text in {"type": "Battery", **files}.items():
            (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
        for gauge in power_supply.find(root).gauges:
            read = gauge.read() or {}
            assert set(read) <= set(CHANNELS)
            assert all(abs(value) < 1e17 for value in read.values())  # finite: NaN compares false
            assert gauge.capacity_j is None or gauge.capacity_j > 0
