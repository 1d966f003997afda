"""Waiting for a cool device, and which of its temperatures count; sensors are trees of files that change meanwhile."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekit.agent import cooldown
from edgekit.agent.cooldown import LOOK_S, cool_down
from edgekit.agent.events import AgentError
from edgekit.agent.sensors import thermal
from edgekit.bench.plan import COOLDOWN_TIMEOUT_S, BenchOptions, configurations, read_subject, request
from edgekit.bench.run import bench
from edgekit.device import resolve_device
from edgekit.errors import DeviceFaultError
from edgekit.transport import Connection

pytestmark = pytest.mark.unit

ZONE = "sys/class/thermal/thermal_zone0"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


class Board:
    """A thermal zone that follows a curve; its clock only moves when somebody sleeps."""

    def __init__(self, root: Path, curve: Iterator[float]) -> None:
        self.root, self.curve = root, curve
        self.now = 1000.0
        self.events: list[dict[str, Any]] = []
        write(root, {f"{ZONE}/type": "cpu-thermal\n"})
        self._set()

    def _set(self) -> None:
        temperature_c = next(self.curve, None)
        if temperature_c is None:
            (self.root / ZONE / "temp").unlink()
        else:
            write(self.root, {f"{ZONE}/temp": f"{round(temperature_c * 1000)}\n"})

    def sleep(self, secs: float) -> None:
        self.now += secs
        self._set()

    def emit(self, event: str, **fields: Any) -> None:
        self.events.append({"event": event, **fields})

    def cool_down(self, limit_c: float, timeout_s: float) -> None:
        cool_down(limit_c, timeout_s, self.emit, str(self.root), lambda: self.now, self.sleep)


def test_waits_until_it_is_cool_twice_in_a_row(tmp_path: Path) -> None:
    board = Board(tmp_path, iter([70, 60, 49.9, 50.1, 50.0, 49.0, 20]))
    board.cool_down(50, 100)
    assert [event["temperature_c"] for event in board.events] == [70, 60, 49.9, 50.1, 50.0, 49.0]
    assert board.events[2] == {
        "event": "cooling",
        "zone": "cpu-thermal-0",
        "temperature_c": 49.9,
        "limit_c": 50,
        "waited_s": 2 * LOOK_S,
        "timeout_s": 100,
    }


def test_says_how_far_it_came_and_how_fast_it_cools(tmp_path: Path) -> None:
    board = Board(tmp_path, (80 - look * 0.1 for look in range(1000)))
    with pytest.raises(AgentError) as error:
        board.cool_down(40, 120)
    assert error.value.kind == "measurement"
    assert error.value.message == (
        "The device did not cool down to 40.0 C: after 120 s cpu-thermal-0 is at 74.0 C, "
        "changing by -3.0 degrees a minute."
    )
    assert "give it a fan" in error.value.hint
    assert error.value.details["celsius_per_minute"] == pytest.approx(-3.0)


def test_no_time_at_all_tells_no_rate(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match=r"after 0 s cpu-thermal-0 is at 80\.0 C\.$"):
        Board(tmp_path, iter([80.0])).cool_down(40, 0)


def test_nothing_tells_a_temperature(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="Nothing on the device tells the temperature of its CPU") as error:
        cool_down(40, 10, lambda *_: None, str(tmp_path))
    assert error.value.kind == "device"
    assert "Leave --cooldown out" in error.value.hint


def test_a_zone_that_vanishes_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="stopped telling its CPU's temperature") as error:
        Board(tmp_path, iter([80.0, 79.0])).cool_down(40, 100)
    assert error.value.kind == "device"


def test_a_host_that_is_gone_ends_the_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooldown, "read_temperatures", lambda _root: {"cpu-thermal-0": 80.0})
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as stdin, pytest.raises(BrokenPipeError):
        cooldown.cool_down_as_asked({"temperature_c": 40, "timeout_s": 60}, stdin, lambda *_, **__: None)
    with (tmp_path / "empty").open("x+b") as stdin:
        cooldown.cool_down_as_asked(None, stdin, lambda *_, **__: None)


def hwmon(number: int, driver: str, *channels: tuple[str | None, int]) -> dict[str, str]:
    folder = f"sys/class/hwmon/hwmon{number}"
    files = {f"{folder}/name": f"{driver}\n"}
    for place, (label, millidegrees) in enumerate(channels, 1):
        files[f"{folder}/temp{place}_input"] = f"{millidegrees}\n"
        if label is not None:
            files[f"{folder}/temp{place}_label"] = f"{label}\n"
    return files


def test_hwmon_of_a_pc(tmp_path: Path) -> None:
    write(tmp_path, hwmon(0, "nvme", ("Composite", 71_000)))
    write(tmp_path, hwmon(1, "coretemp", ("Package id 0", 55_000), ("Core 0", 54_000)))
    write(tmp_path, hwmon(2, "acpitz", (None, 30_000)))
    write(tmp_path, hwmon(3, "drivetemp", (None, 80_000)))
    found = thermal.read_temperatures(str(tmp_path))
    assert found == {"coretemp-1/Package id 0": 55.0, "coretemp-1/Core 0": 54.0, "acpitz-2/temp1": 30.0}
    slow = thermal.read_temperatures(str(tmp_path), slow=True)
    assert slow.keys() - found.keys() == {"nvme-0/Composite", "drivetemp-3/temp1"}
    assert thermal.find_hottest(slow) == ("coretemp-1/Package id 0", 55.0)


def test_the_mirror_of_a_thermal_zone_is_no_second_one(tmp_path: Path) -> None:
    write(tmp_path, {f"{ZONE}/type": "cpu-thermal\n", f"{ZONE}/temp": "48000\n"})
    write(tmp_path, hwmon(0, "cpu_thermal", (None, 48_000)))
    assert thermal.read_temperatures(str(tmp_path)) == {"cpu-thermal-0": 48.0}


def test_a_sensor_without_a_value_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, {f"{ZONE}/type": "cpu\n", f"{ZONE}/temp": "-274000\n"})
    write(tmp_path, hwmon(0, "k10temp", ("Tctl", 1_000_000)))
    assert thermal.read_temperatures(str(tmp_path)) == {}


@pytest.mark.parametrize(
    ("zones", "counted"),
    [
        (["x86_pkg_temp-3", "acpitz-0", "nvme-1/Composite", "iwlwifi_1-2"], ["x86_pkg_temp-3"]),
        (["CPU-therm-0", "GPU-therm-1", "PMIC-Die-2", "Tboard_tegra-3"], ["CPU-therm-0"]),
        (
            ["bigcore0-thermal-1", "littlecore-thermal-2", "gpu-thermal-3"],
            ["bigcore0-thermal-1", "littlecore-thermal-2"],
        ),
        (["mtktscpu-1", "mtktsbattery-2"], ["mtktscpu-1"]),
        (["k10temp-0/Tctl", "amdgpu-1/edge"], ["k10temp-0/Tctl"]),
        (["zone-0", "nvme-1/Composite"], ["zone-0"]),
        (["nvme-1/Composite", "battery-0", "iwlwifi_1-0"], []),
    ],
)
def test_zones_of_the_processor(zones: list[str], counted: list[str]) -> None:
    assert thermal.processor_zones(dict.fromkeys(zones, 40.0)) == counted


def test_the_request_asks_for_it(cases: Path) -> None:
    subject = read_subject(cases / "models" / "tflm" / "hello_world_int8.tflite")
    device = resolve_device("local")
    for options, asked in (
        (BenchOptions(), None),
        (BenchOptions(cooldown_c=45.5), {"temperature_c": 45.5, "timeout_s": COOLDOWN_TIMEOUT_S}),
    ):
        assert request(configurations(subject, options, device), options, root="/x")["cooldown"] == asked


@pytest.mark.skipif(thermal.find_hottest(thermal.read_temperatures()) is not None, reason="this machine has a sensor")
def test_a_real_bench_of_a_machine_without_sensors_says_so(cases: Path, connection: Connection) -> None:
    model = cases / "models" / "tflm" / "hello_world_int8.tflite"
    with pytest.raises(DeviceFaultError, match="Nothing on the device tells the temperature"):
        bench(model, connection, BenchOptions(cooldown_c=40.0, processes=1))
