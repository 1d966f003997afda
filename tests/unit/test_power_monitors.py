"""INA2xx and INA3221, the Raspberry Pi 5's PMIC, and RAPL; and how all sensors come together."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.agent import sensors
from edgekit.agent.gauges import CHANNELS, SENSORS, Gauge, describe_gauge, find_gauges
from edgekit.agent.sensors import hwmon, ina3221x, pmic, rapl
from tests.unit.trees import plant

pytestmark = pytest.mark.unit

HWMON = "sys/class/hwmon"
RAPL = "sys/class/powercap"
DATA = Path(__file__).parent / "data"


def values(gauge: Gauge) -> dict[str, float]:
    read = gauge.read()
    assert read is not None
    return read


def forbid(monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """Tests run as root, whom no mode stops."""
    real = sensors.read_bytes

    def guarded(root: str, path: str) -> bytes:
        if path.endswith(ending):
            raise PermissionError(13, "Permission denied")
        return real(root, path)

    monkeypatch.setattr(sensors, "read_bytes", guarded)


def orin_nano(root: Path) -> str:
    """As arch/arm64/boot/dts/nvidia/tegra234-p3767.dtsi labels them, shunts of 5 mOhm; in7 and curr4 are sums."""
    return plant(
        root,
        f"{HWMON}/hwmon1",
        name="ina3221",
        update_interval=20,
        in1_label="VDD_IN",
        in1_input=5000,
        in1_enable=1,
        curr1_input=1200,
        shunt1_resistor=5000,
        in2_label="VDD_CPU_GPU_CV",
        in2_input=4992,
        in2_enable=1,
        curr2_input=400,
        shunt2_resistor=5000,
        in3_label="VDD_SOC",
        in3_input=4992,
        in3_enable=0,
        curr3_input=300,
        in7_label="sum of shunt voltages",
        in7_input=9,
        curr4_input=1900,
    )


def test_a_jetson(tmp_path: Path) -> None:
    root = orin_nano(tmp_path)
    plant(tmp_path, "proc/device-tree", compatible="nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0")
    whole, part = hwmon.find(root).gauges  # the third is switched off
    assert (whole.name, part.name) == ("hwmon1/VDD_IN", "hwmon1/VDD_CPU_GPU_CV")
    assert (whole.whole_device, part.whole_device) == (True, False)
    assert "not what the carrier board draws" in whole.covers
    assert values(whole) == pytest.approx({"current_a": 1.2, "voltage_v": 5.0, "power_w": 6.0})
    assert whole.interval_s == pytest.approx(0.02)
    steps = {name: channel.resolution for name, channel in whole.channels.items()}
    assert steps == pytest.approx({"current_a": 0.008, "voltage_v": 0.008, "power_w": 0.04})  # 40 uV at 5 mOhm


def test_a_label_means_a_module_on_a_jetson_only(tmp_path: Path) -> None:
    (gauge, _) = hwmon.find(orin_nano(tmp_path)).gauges
    assert not gauge.whole_device
    assert gauge.covers == "what is behind 'VDD_IN' of the chip 'ina3221'; its label is all that is known"


def test_the_5_v_rail_of_an_agx_orin_is_not_the_module(tmp_path: Path) -> None:
    files: dict[str, object] = {"name": "ina3221", "in3_label": "VIN_SYS_5V0", "in3_input": 4968, "curr3_input": 953}
    root = plant(tmp_path, f"{HWMON}/hwmon3", **files)
    plant(tmp_path, f"{HWMON}/hwmon4", name="ina3221", in1_label="NC", in1_input=0, curr1_input=0)
    (gauge,) = hwmon.find(root).gauges
    assert not gauge.whole_device
    assert gauge.channels["current_a"].resolution is None  # the shunt is not told
    assert gauge.channels["voltage_v"].resolution == 0.008


@pytest.mark.parametrize(
    ("chip", "current", "power", "volts"),
    [
        ("ina219", 1e-3, 20e-3, 4e-3),
        ("ina226", 1e-3, 6.25e-3, 1.25e-3),
        ("ina260", 1.25e-3, 10e-3, 1.25e-3),
        ("ina238", None, None, None),
    ],
)
def test_steps_of_the_data_sheets(
    tmp_path: Path, chip: str, current: float | None, power: float | None, volts: float | None
) -> None:
    files = {"power1_input": 3_250_000, "curr1_input": 650, "in1_input": 5000, "shunt_resistor": 10_000}
    (gauge,) = hwmon.find(plant(tmp_path, f"{HWMON}/hwmon0", name=chip, label="board", **files)).gauges
    assert gauge.name == "hwmon0/board"
    assert not gauge.whole_device
    assert values(gauge)["power_w"] == pytest.approx(3.25)
    steps = {name: channel.resolution for name, channel in gauge.channels.items()}
    if power is None:
        assert set(steps.values()) == {None}
    else:
        assert steps == pytest.approx({"current_a": current, "power_w": power, "voltage_v": volts})
    assert gauge.interval_s == (0.07 if chip == "ina219" else 0.05)


def test_a_chip_of_which_only_the_label_is_known(tmp_path: Path) -> None:
    root = plant(
        tmp_path, f"{HWMON}/hwmon0", name="power_meter", power1_average=250_000_000, power1_average_interval=1000
    )
    plant(tmp_path, f"{HWMON}/hwmon1", name="xe", energy1_label="card", energy1_input=5_000_000, energy2_input=1)
    plant(tmp_path, f"{HWMON}/hwmon2", name="cpu_thermal", temp1_input=48_000)
    meter, card, other = hwmon.find(root).gauges
    assert meter.covers == "what is behind 'power_meter' of the chip 'power_meter'; its label is all that is known"
    assert values(meter) == {"power_w": 250.0}
    assert meter.interval_s == 1.0
    assert (card.name, values(card)) == ("hwmon1/card", {"energy_j": 5.0})
    assert other.name == "hwmon1/xe"
    assert values(other) == {"energy_j": pytest.approx(1e-6)}


def test_a_battery_is_not_counted_twice(tmp_path: Path) -> None:
    plant(tmp_path, "sys/class/power_supply/BAT0", type="Battery", status="Discharging", power_now=5_000_000)
    root = plant(tmp_path, f"{HWMON}/hwmon0", name="BAT0", power1_input=5_000_000)
    (tmp_path / HWMON / "hwmon0/device").symlink_to("../../power_supply/BAT0")
    assert [gauge.name for gauge in find_gauges(root).gauges] == ["power_supply/BAT0"]


def test_channels_of_one_label_have_names_of_their_own(tmp_path: Path) -> None:
    root = plant(tmp_path, f"{HWMON}/hwmon0", name="amd\x07gpu", power1_input=1, power2_input=2)
    assert [gauge.name for gauge in hwmon.find(root).gauges] == ["hwmon0/amd?gpu-1", "hwmon0/amd?gpu-2"]


@pytest.mark.parametrize("told", ["0", "-5", "x", ""])
def test_an_interval_that_is_none_is_the_usual_one(tmp_path: Path, told: str) -> None:
    root = plant(tmp_path, f"{HWMON}/hwmon0", name="ina226", power1_input=1, update_interval=told)
    assert hwmon.find(root).gauges[0].interval_s == 0.05


def test_a_monitor_that_goes_away(tmp_path: Path) -> None:
    gauge = hwmon.find(orin_nano(tmp_path)).gauges[0]
    (tmp_path / HWMON / "hwmon1/curr1_input").write_text("garbage")
    assert gauge.read() is None  # a voltage alone is no power
    shutil.rmtree(tmp_path / HWMON)
    assert gauge.read() is None
    assert hwmon.find(str(tmp_path)) == ([], [])


def test_a_monitor_for_root_only_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = plant(tmp_path, f"{HWMON}/hwmon0", name="amd_energy", energy1_label="Esocket0", energy1_input=1)
    forbid(monkeypatch, "energy1_input")
    found = hwmon.find(root)
    assert found.gauges == []
    assert "this user may not read it" in found.blocked[0]["message"]
    assert "sudo chmod a+r /sys/class/hwmon/hwmon0/energy1_input" in found.blocked[0]["fix"]


def test_an_older_jetson(tmp_path: Path) -> None:
    folder = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    rails = {"POM_5V_IN": (4976, 400, 1990), "POM_5V_GPU": (4960, 0, 0), "NC": (0, 0, 0)}
    for number, (name, (volts, current, power)) in enumerate(rails.items()):
        files = {f"rail_name_{number}": name, f"in_voltage{number}_input": volts}
        plant(tmp_path, folder, **files, **{f"in_current{number}_input": current, f"in_power{number}_input": power})
    found = ina3221x.find(str(tmp_path))
    whole, part = found.gauges
    assert found.blocked == []
    assert (whole.name, whole.whole_device, part.whole_device) == ("iio:device0/POM_5V_IN", True, False)
    assert values(whole) == pytest.approx({"power_w": 1.99, "current_a": 0.4, "voltage_v": 4.976})
    assert values(part)["power_w"] == 0.0
    assert whole.channels["voltage_v"].resolution == 0.008
    assert whole.channels["power_w"].resolution is None
    (tmp_path / folder / "in_power0_input").unlink()
    assert whole.read() is None


def raspberry_pi_5(root: Path) -> str:
    return plant(root, "proc/device-tree", compatible="raspberrypi,5-model-b\0brcm,bcm2712\0")


@pytest.mark.parametrize(("file", "watts"), [("pmic_idle.txt", 1.7667), ("pmic_load.txt", 5.9216)])
def test_the_rails_of_a_raspberry_pi_5(tmp_path: Path, file: str, watts: float) -> None:
    found = pmic.find(raspberry_pi_5(tmp_path), ["cat", str(DATA / file)])
    (gauge,) = found.gauges
    assert found.blocked == []
    assert values(gauge) == {"power_w": pytest.approx(watts, abs=5e-5)}
    assert not gauge.whole_device
    assert gauge.interval_s == 0.2
    assert "VDD_CORE" in gauge.covers
    assert "not the USB ports" in gauge.covers
    assert "EXT5V" not in gauge.covers  # a voltage without a current is no power


def test_a_rail_that_is_missing_is_not_a_device_that_draws_less(tmp_path: Path) -> None:
    output = tmp_path / "output"
    text = (DATA / "pmic_idle.txt").read_text()
    output.write_text(text)
    (gauge,) = pmic.find(raspberry_pi_5(tmp_path), ["cat", str(output)]).gauges
    output.write_text("\n".join(line for line in text.splitlines() if "VDD_CORE_A" not in line))
    assert gauge.read() is None
    output.unlink()
    assert gauge.read() is None


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ('echo "Can\'t open device file: /dev/vcio"; exit 255', 'status 255, "Can\'t open device file: /dev/vcio"'),
        ("echo 'error=1 error_msg=\"Command not registered\"'", "status 0, 'error=1"),
        ("sleep 5", "no answer within 0.1 s"),
    ],
)
def test_a_pmic_that_does_not_tell_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    monkeypatch.setattr(pmic, "TIMEOUT_S", 0.1 if "sleep" in script else 2.0)
    found = pmic.find(raspberry_pi_5(tmp_path), ["sh", "-c", f"exec {script}" if "sleep" in script else script])
    assert found.gauges == []
    assert why in found.blocked[0]["message"]
    assert "usermod -aG video" in found.blocked[0]["fix"]


def test_a_missing_vcgencmd_is_said(tmp_path: Path) -> None:
    found = pmic.find(raspberry_pi_5(tmp_path), ["/does/not/exist"])
    assert "No such file or directory" in found.blocked[0]["message"]
    assert "apt install raspi-utils" in found.blocked[0]["fix"]


def test_on_other_boards_nothing_is_run(tmp_path: Path) -> None:
    command = ["touch", str(tmp_path / "ran")]
    assert pmic.find(str(tmp_path), command) == ([], [])
    assert not (tmp_path / "ran").exists()


@settings(max_examples=30, deadline=None)
@given(st.text(), st.sampled_from(["VDD_CORE_A current(7)=", "VDD_CORE_V volt(7)=", ""]), st.text(max_size=12))
def test_whatever_the_firmware_prints_nothing_breaks(before: str, name: str, value: str) -> None:
    for watts in pmic.parse_rails(f"{before}\n{name}{value}\nVDD_CORE_V volt(1)=0.9V\n").values():
        assert 0 <= watts < 1e9  # neither NaN nor infinity


@pytest.mark.parametrize("value", ["nanA", "infA", "1.2.3A", "-1.0A", "1.0V", "1.0", "1e9A", "٣.0A"])
def test_what_is_no_current_makes_no_power(value: str) -> None:
    assert pmic.parse_rails(f"VDD_CORE_A current(7)={value}\nVDD_CORE_V volt(1)=0.9V") == {}


def intel(root: Path) -> str:
    domains = {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "dram",
        "intel-rapl:1": "psys",
        "intel-rapl-mmio:0": "package-0",
    }
    for domain, name in domains.items():
        plant(root, f"{RAPL}/{domain}", name=name, energy_uj=5_000_000, max_energy_range_uj=262_143_328_850)
    return plant(root, f"{RAPL}/intel-rapl", enabled=1)


def test_rapl(tmp_path: Path) -> None:
    gauges = {gauge.name: gauge for gauge in rapl.find(intel(tmp_path)).gauges}
    assert list(gauges) == ["rapl/package-0", "rapl/package-0/dram", "rapl/psys"]
    assert [gauge.whole_device for gauge in gauges.values()] == [False, False, True]
    package = gauges["rapl/package-0"]
    assert package.channels["energy_j"].wraps_at == pytest.approx(262_143.32885)
    assert values(package) == {"energy_j": 5.0}
    assert "not memory, disks" in package.covers


@pytest.mark.parametrize("text", ["-1", "", "garbage", "9" * 30])
def test_a_counter_that_is_none(tmp_path: Path, text: str) -> None:
    gauge = rapl.find(intel(tmp_path)).gauges[0]
    plant(tmp_path, f"{RAPL}/intel-rapl:0", energy_uj=text)
    assert gauge.read() is None


def test_rapl_for_root_only_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = intel(tmp_path)
    forbid(monkeypatch, "energy_uj")
    found = find_gauges(root)
    assert found.gauges == []
    assert [note["name"] for note in found.blocked] == ["gauge-forbidden"] * 3
    assert found.blocked[0]["message"] == (
        "The energy counter rapl/package-0 is there, but only root may read it (since CVE-2020-8694)."
    )
    assert found.blocked[0]["fix"] == (
        "Log in as root, or let this user read it until the next boot: "
        "`sudo chmod a+r /sys/class/powercap/intel-rapl:0/energy_uj`."
    )


def test_all_sensors_together(tmp_path: Path) -> None:
    orin_nano(tmp_path)
    intel(tmp_path)
    plant(tmp_path, "sys/class/power_supply/BAT0", type="Battery", capacity=50)
    gauges, blocked = find_gauges(str(tmp_path))
    assert blocked == []
    assert [gauge.sensor for gauge in gauges] == ["power_supply", "hwmon", "hwmon", "rapl", "rapl", "rapl"]
    assert {gauge.sensor for gauge in gauges} < set(SENSORS)
    assert len({gauge.name for gauge in gauges}) == len(gauges)
    described = describe_gauge(gauges[0])
    assert "read" not in described
    assert described["channels"] == {"capacity_percent": {"resolution": 1.0, "wraps_at": None}}


TEXTS = st.one_of(st.integers().map(str), st.text(max_size=12), st.sampled_from(["ina226", "ina3221", "VDD_IN"]))
FILES = ("name", "label", "power1_input", "curr1_input", "in1_input", "in1_label", "update_interval", "shunt_resistor")


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.sampled_from(FILES), TEXTS))
def test_whatever_a_chip_says_nothing_breaks(files: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, HWMON, "hwmon0")
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
        for gauge in hwmon.find(root).gauges:
            read = gauge.read() or {}
            assert set(read) <= set(CHANNELS)
            assert all(abs(value) < 1e34 for value in read.values())
            assert 0.01 <= gauge.interval_s <= 10
            assert all(channel.resolution is None or channel.resolution > 0 for channel in gauge.channels.values())
