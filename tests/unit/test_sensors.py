"""What the device knows about itself, from trees of files as kernels show them."""

import os
from pathlib import Path

import pytest

from edgekit.agent import machine
from edgekit.agent.bench import governor
from edgekit.agent.events import AgentError
from edgekit.agent.sensors import cpufreq, thermal, throttle

pytestmark = pytest.mark.unit

PI_CPUINFO = """processor\t: 0
BogoMIPS\t: 108.00
CPU implementer\t: 0x41
CPU part\t: 0xd08

Hardware\t: BCM2835
Model\t\t: Raspberry Pi 4 Model B Rev 1.5
"""


def tree(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def raspberry_pi(root: Path, *, throttled: str = "0") -> str:
    policy = "sys/devices/system/cpu/cpufreq/policy0"
    return tree(
        root,
        {
            f"{policy}/affected_cpus": "0 1 2 3\n",
            f"{policy}/scaling_governor": "ondemand\n",
            f"{policy}/scaling_available_governors": "ondemand performance\n",
            f"{policy}/scaling_cur_freq": "1500000\n",
            f"{policy}/scaling_min_freq": "600000\n",
            f"{policy}/scaling_max_freq": "1800000\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "48312\n",
            "sys/class/thermal/cooling_device0/type": "cpufreq-cpu0\n",
            "sys/class/thermal/cooling_device0/cur_state": "0\n",
            "sys/class/thermal/cooling_device1/type": "gpio-fan\n",
            "sys/class/thermal/cooling_device1/cur_state": "3\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": f"{throttled}\n",
            "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.5\0",
            "proc/cpuinfo": PI_CPUINFO,
            "proc/meminfo": "MemTotal:        3884360 kB\nSwapTotal: 100 kB\nSwapFree: 60 kB\nMemAvailable: 10 kB\n",
            "proc/self/stat": "77 (a) b) R" + " 1" * 35 + " 2 0\n",
            "proc/stat": "cpu  100 20 30 4000 5 6 7 8 0 0\ncpu0 1\n",
        },
    )


def test_raspberry_pi(tmp_path: Path) -> None:
    root = raspberry_pi(tmp_path, throttled="50005")
    assert machine.read_board(root) == "Raspberry Pi 4 Model B Rev 1.5"
    state = machine.read_state(root)
    assert state["policies"] == [
        {
            "name": "policy0",
            "cpus": [0, 1, 2, 3],
            "governor": "ondemand",
            "khz": 1_500_000,
            "min_khz": 600_000,
            "max_khz": 1_800_000,
        }
    ]
    assert state["temperatures_c"] == {"cpu-thermal-0": 48.312}
    assert state["cpu_cooling"] == {"cpufreq-cpu0-0": 0}
    assert state["firmware_throttle"] == {
        "word": 0x50005,
        "now": ["under-voltage", "throttled"],
        "since_boot": ["under-voltage", "throttled"],
    }
    assert state["swap_used_bytes"] == 40 * 1024
    assert state["cpu"] == 2
    ticks = os.sysconf("SC_CLK_TCK")
    assert state["cpu_time_s"]["busy"] == pytest.approx(163 / ticks)
    assert state["cpu_time_s"]["steal"] == pytest.approx(8 / ticks)


def test_a_device_that_tells_nothing(tmp_path: Path) -> None:
    state = machine.read_state(str(tmp_path), slow=True)
    told = ("cpu", "firmware_throttle", "throttle_count", "cpu_time_s", "memory_available_bytes", "swap_used_bytes")
    assert all(state[name] is None for name in told)
    assert state["policies"] == []
    assert state["temperatures_c"] == state["cpu_cooling"] == {}
    facts = machine.describe(str(tmp_path))
    assert facts["board"] is facts["cpu"] is facts["memory_bytes"] is facts["virtual"] is facts["emulated"] is None


@pytest.mark.parametrize("text", ["", "no", "0x", "-1", "123456789"])
def test_a_throttle_file_with_something_else_is_unknown(tmp_path: Path, text: str) -> None:
    assert throttle.read_firmware(raspberry_pi(tmp_path, throttled=text)) is None


def test_vcgencmd_is_asked_where_the_file_is_missing(tmp_path: Path) -> None:
    command = tmp_path / "vcgencmd"
    command.write_text('#!/bin/sh\necho "throttled=0x80000"\n')
    command.chmod(0o755)
    found = throttle.read_firmware(str(tmp_path / "empty"), [str(command), "get_throttled"])
    assert found == {"word": 0x80000, "now": [], "since_boot": ["soft-temperature-limit"]}
    assert throttle.read_firmware(str(tmp_path / "empty"), [str(tmp_path / "none")]) is None


def test_x86_counters_are_summed(tmp_path: Path) -> None:
    folder = "sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count"
    root = tree(tmp_path, {folder.format(0): "3\n", folder.format(1): "4\n", "sys/devices/system/cpu/cpufreq/x": ""})
    assert throttle.read_throttle_count(root) == 7


def test_zone_that_is_off_is_left_out(tmp_path: Path) -> None:
    root = tree(
        tmp_path, {"sys/class/thermal/thermal_zone0/type": "gpu\n", "sys/class/thermal/thermal_zone10/temp": "1500"}
    )
    assert thermal.read_temperatures(root) == {"zone-10": 1.5}


def test_arm64_names_its_cores(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/cpuinfo": PI_CPUINFO.replace("Hardware\t: BCM2835\n", "")})
    assert machine.read_cpu(root) == "Cortex-A72"
    tree(tmp_path, {"proc/cpuinfo": "CPU implementer\t: 0x51\nCPU part\t: 0x800\n"})
    assert machine.read_cpu(root) == "implementer 0x51 part 0x800"


def test_emulation_shows_itself(tmp_path: Path) -> None:
    root = tree(
        tmp_path, {"proc/sys/kernel/arch": "x86_64\n", "proc/cpuinfo": "vendor_id\t: GenuineIntel\nflags\t: fpu\n"}
    )
    found = machine.find_emulation(root, "aarch64")
    assert found == "aarch64, and yet the kernel is x86_64's and /proc/cpuinfo is GenuineIntel's"
    assert machine.find_emulation(root, "x86_64") is None
    parent = tmp_path / "proc" / str(os.getppid())
    parent.mkdir()
    (parent / "exe").symlink_to("/usr/bin/qemu-aarch64-static")
    assert "the parent process is qemu-aarch64-static" in str(machine.find_emulation(root, "aarch64"))


QEMU_CPUINFO = "BogoMIPS\t: {}\nCPU implementer\t: {}\nCPU part\t: {}\n"
VIRT = {"proc/device-tree/model": "linux,dummy-virt\0"}


def test_a_whole_machine_under_qemus_emulator_shows_itself(tmp_path: Path) -> None:
    named = tree(tmp_path / "a72", {**VIRT, "proc/cpuinfo": QEMU_CPUINFO.format("125.00", "0x41", "0xd08")})
    assert "counter runs at 62.5 MHz" in str(machine.find_emulation(named, "aarch64"))
    assert "counter runs at 62.5 MHz" in str(machine.find_emulation(named, "armv7l"))
    newest = tree(tmp_path / "max", {**VIRT, "proc/cpuinfo": QEMU_CPUINFO.format("2000.00", "0x00", "0x051")})
    assert "`max` of QEMU's emulator" in str(machine.find_emulation(newest, "aarch64"))
    pc = tree(tmp_path / "pc", {"proc/cpuinfo": "model name\t: QEMU TCG CPU version 2.5+\nflags\t: fpu hypervisor\n"})
    assert "QEMU TCG CPU version 2.5+" in str(machine.find_emulation(pc, "x86_64"))


def test_a_machine_under_kvm_is_virtual_and_not_emulated(tmp_path: Path) -> None:
    graviton = tree(tmp_path / "arm", {**VIRT, "proc/cpuinfo": QEMU_CPUINFO.format("243.75", "0x41", "0xd0c")})
    assert machine.find_emulation(graviton, "aarch64") is None
    assert machine.is_virtual(graviton) is True
    pc = tree(tmp_path / "pc", {"proc/cpuinfo": "model name\t: Intel Xeon\nflags\t: fpu hypervisor\n"})
    assert machine.find_emulation(pc, "x86_64") is None


def test_a_real_arm_board_is_not_emulated(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/sys/kernel/arch": "aarch64\n", "proc/cpuinfo": PI_CPUINFO})
    assert machine.find_emulation(root, "aarch64") is None
    assert machine.find_emulation(root, "armv7l") is None  # a 32-bit userland under a 64-bit kernel


def test_hypervisor_flag(tmp_path: Path) -> None:
    assert machine.is_virtual(tree(tmp_path, {"proc/cpuinfo": "flags\t: fpu hypervisor avx\n"})) is True
    assert machine.is_virtual(tree(tmp_path, {"proc/cpuinfo": "flags\t: fpu avx\n"})) is False


def test_governor_is_set_and_restored(tmp_path: Path) -> None:
    root = raspberry_pi(tmp_path)
    with governor("performance", root):
        assert cpufreq.read_policies(root)[0]["governor"] == "performance"
    assert cpufreq.read_policies(root)[0]["governor"] == "ondemand"


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit, BrokenPipeError, ValueError])
def test_governor_is_restored_however_it_ends(tmp_path: Path, ending: type[BaseException]) -> None:
    root = raspberry_pi(tmp_path)
    with pytest.raises(ending), governor("performance", root):
        raise ending
    assert cpufreq.read_policies(root)[0]["governor"] == "ondemand"


def test_no_governor_asked_for_touches_nothing() -> None:
    with governor(None, "/does/not/exist"):
        pass


def test_no_cpufreq(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="has no cpufreq: its governor cannot be set"):
        cpufreq.set_governor("performance", str(tmp_path))


def test_governor_that_cannot_be_written_leaves_all_as_they_were(tmp_path: Path) -> None:
    root = raspberry_pi(tmp_path)
    second = tmp_path / "sys/devices/system/cpu/cpufreq/policy4/scaling_governor"
    second.mkdir(parents=True)  # a folder cannot be written to, even by root
    with pytest.raises(AgentError, match=r"'performance' cannot be set: Is a directory") as error:
        cpufreq.set_governor("performance", root)
    assert "It offers: ondemand performance" in error.value.hint
    assert cpufreq.read_policies(root)[0]["governor"] == "ondemand"


def test_governor_that_cannot_be_restored_is_told(tmp_path: Path) -> None:
    root = raspberry_pi(tmp_path)
    file = tmp_path / "sys/devices/system/cpu/cpufreq/policy0/scaling_governor"

    def block() -> None:
        file.unlink()
        file.mkdir()

    with pytest.raises(AgentError, match="policy0 stays off 'ondemand'"), governor("performance", root):
        block()
