"""What the device is, and what it is doing right now."""

import os
import platform
import re
import shutil
import sys
import time
from typing import Any, BinaryIO, Dict, Optional

from . import runtime
from .events import Emit, Request, Result
from .gauges import survey
from .sensors import entries, read_text
from .sensors.cpufreq import read_policies
from .sensors.thermal import read_cpu_cooling, read_temperatures
from .sensors.throttle import read_firmware, read_throttle_count

CPU_TIMES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""The first line of /proc/stat behind its name (proc_stat(5))."""
PROCESSOR = 36
"""Place behind the command name in /proc/self/stat (field 39 of proc_pid_stat(5))."""
VCGENCMD = ["vcgencmd", "get_throttled"]
X86 = re.compile(r"^(x86_64|i[3-6]86|amd64)$")
ARM = re.compile(r"^(aarch64|arm.*)$")


def info(request: Request, _stdin: BinaryIO, _emit: Emit) -> Result:
    """The ``info`` command; ``request["root"]`` is the device root, whose free disk is told."""
    try:
        name, version, _ = runtime.find_runtime()
        found: Optional[Dict[str, str]] = {"name": name, "version": version}
    except runtime.RuntimeMissing:
        found = None
    disk, state = read_disk(str(request.get("root", "/"))), read_state(slow=True)
    return dict(describe(), runtime=found, disk=disk, state=state, **survey())


def describe(root: str = "/") -> Dict[str, Any]:
    """What does not change while the device runs; a value it does not tell is None."""
    name, version = platform.libc_ver()
    return {
        "python": platform.python_version(),
        "python_executable": sys.executable,
        "architecture": platform.machine(),
        "libc": ("%s %s" % (name, version)).strip() or None,
        "kernel": platform.release(),
        "board": read_board(root),
        "cpu": read_cpu(root),
        "cores": len(entries(root, "sys/devices/system/cpu", "cpu")) or os.cpu_count(),
        "memory_bytes": read_memory(root).get("MemTotal"),
        "emulated": find_emulation(root),
        "virtual": is_virtual(root),
    }


def read_state(root: str = "/", slow: bool = False) -> Dict[str, Any]:
    """Clocks, heat, throttling and load at this moment.

    ``slow`` also asks ``vcgencmd`` where the kernel shows no throttling bits, and the drives for their temperature.
    ``clock_offset_ns`` is the wall clock minus the monotonic one, constant unless somebody sets the clock;
    ``suspended_ns`` grows in suspend.
    """
    memory = read_memory(root)
    swap = memory.get("SwapTotal"), memory.get("SwapFree")
    return {
        "monotonic_ns": time.monotonic_ns(),
        "clock_offset_ns": read_clock_offset(time.CLOCK_REALTIME),
        "suspended_ns": read_clock_offset(time.CLOCK_BOOTTIME),
        "cpu": read_current_cpu(root),
        "policies": read_policies(root),
        "temperatures_c": read_temperatures(root, slow),
        "cpu_cooling": read_cpu_cooling(root),
        "firmware_throttle": read_firmware(root, VCGENCMD if slow else None),
        "throttle_count": read_throttle_count(root),
        "cpu_time_s": read_cpu_time(root),
        "memory_available_bytes": memory.get("MemAvailable"),
        "swap_used_bytes": None if None in swap else swap[0] - swap[1],  # type: ignore[operator]
    }


def read_clock_offset(clock: int) -> int:
    """Nanoseconds of ``clock`` minus the monotonic one; the closest of three, as we may be preempted between."""
    readings = []
    for _ in range(3):
        start = time.monotonic_ns()
        offset = time.clock_gettime_ns(clock) - start
        readings.append((time.monotonic_ns() - start, offset))
    return min(readings)[1]


def read_board(root: str = "/") -> Optional[str]:
    """Name of the board: the device tree's, or the firmware's on a PC."""
    dmi = "sys/class/dmi/id/product_name"
    return read_text(root, "proc/device-tree/model") or _cpuinfo(root, "Model") or read_text(root, dmi) or None


def read_cpu(root: str = "/") -> Optional[str]:
    """Model of the CPU as /proc/cpuinfo names it; arm64 has no names there, only implementer and part."""
    name = _cpuinfo(root, "model name") or _cpuinfo(root, "Hardware")
    part = _cpuinfo(root, "CPU part")
    if name is None and part is not None:
        number = part.lower()
        return ARM_PARTS.get(number, "implementer %s part %s" % (_cpuinfo(root, "CPU implementer"), number))
    return name


ARM_PARTS = {
    "0xc07": "Cortex-A7",
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
    "0xd42": "Cortex-A78AE",
}
"""MIDR part numbers of ARM's own cores on the usual boards: arch/arm64/include/asm/cputype.h of Linux."""


def _cpuinfo(root: str, key: str) -> Optional[str]:
    match = re.search(r"^%s\s*:[ \t]*(.+)$" % re.escape(key), read_text(root, "proc/cpuinfo") or "", re.MULTILINE)
    return match.group(1).strip() if match else None


def read_memory(root: str = "/") -> Dict[str, int]:
    """/proc/meminfo in bytes."""
    lines = re.findall(r"^(\w+):\s+(\d+) kB$", read_text(root, "proc/meminfo") or "", re.MULTILINE)
    return {name: int(kib) * 1024 for name, kib in lines}


def read_disk(path: str) -> Optional[Dict[str, int]]:
    """Free and total bytes of the disk that holds ``path``, or will hold it."""
    path = os.path.abspath(os.path.expanduser(path))
    while not os.path.exists(path):
        path = os.path.dirname(path)
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return None
    return {"free_bytes": usage.free, "total_bytes": usage.total}


def read_rss(root: str = "/") -> Dict[str, Optional[int]]:
    """``rss_bytes`` now and ``peak_rss_bytes`` (VmHWM) of this process, from /proc/self/status."""
    text = read_text(root, "proc/self/status") or ""
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", text, re.MULTILINE))
    sizes = {key: int(kib) * 1024 for key, kib in found.items()}
    return {"rss_bytes": sizes.get("VmRSS"), "peak_rss_bytes": sizes.get("VmHWM")}


def read_current_cpu(root: str = "/") -> Optional[int]:
    """The CPU this process last ran on."""
    fields = (read_text(root, "proc/self/stat") or "").rpartition(")")[2].split()
    return int(fields[PROCESSOR]) if len(fields) > PROCESSOR and fields[PROCESSOR].isdigit() else None


def read_cpu_time(root: str = "/") -> Optional[Dict[str, float]]:
    """Seconds since boot, over all CPUs: ``busy``, and ``steal``, which a hypervisor gave to somebody else.

    ``own`` is this process's share of ``busy``. A load average would lag by minutes and misses short runs.
    """
    fields = (read_text(root, "proc/stat") or "").split("\n")[0].split()[1:]
    if len(fields) < len(CPU_TIMES) or not all(field.isdigit() for field in fields):
        return None
    times = {name: int(field) / os.sysconf("SC_CLK_TCK") for name, field in zip(CPU_TIMES, fields)}
    busy = sum(times[name] for name in ("user", "nice", "system", "irq", "softirq"))
    return {"busy": busy, "steal": times["steal"], "own": time.process_time()}


def is_virtual(root: str = "/") -> Optional[bool]:
    """Whether a hypervisor or full-system emulator shows itself; None where nothing would tell."""
    flags = _cpuinfo(root, "flags")
    if flags is not None:
        return "hypervisor" in flags.split()
    board = read_board(root)
    return None if board is None else "linux,dummy-virt" in board or "QEMU" in board


def find_emulation(root: str = "/", machine: Optional[str] = None) -> Optional[str]:
    """The evidence that the CPU is emulated (qemu-user, or a whole machine under QEMU's TCG), or None.

    None does not prove a real CPU: a machine under TCG with a CPU type newer than QEMU 9.0 looks as under KVM.
    """
    machine = machine or platform.machine()
    return _find_user_emulation(root, machine) or _find_system_emulation(root, machine)


def _find_system_emulation(root: str, machine: str) -> Optional[str]:
    """QEMU's TCG, by what KVM never shows: KVM passes the CPU, and its counter's frequency, of the host through."""
    if X86.match(machine):
        name = _cpuinfo(root, "model name") or ""
        return "the processor is a %r" % name if "QEMU TCG CPU" in name else None
    if not ARM.match(machine):
        return None
    if (_cpuinfo(root, "CPU implementer"), _cpuinfo(root, "CPU part")) == QEMU_MAX:
        return "the processor is `max` of QEMU's emulator"
    if is_virtual(root) and _cpuinfo(root, "BogoMIPS") == QEMU_BOGOMIPS:
        return "a virtual machine whose counter runs at 62.5 MHz, as QEMU's emulator makes it"
    return None


QEMU_MAX = ("0x00", "0x051")
"""Implementer and part of ``-cpu max``: aarch64_max_initfn in target/arm/tcg/cpu64.c of QEMU."""
QEMU_BOGOMIPS = "125.00"
"""Of a counter of 62.5 MHz, which emulated ARM CPUs have (GTIMER_BACKCOMPAT_HZ, target/arm/internals.h of QEMU; no
board is known to us that has it): on ARM, Linux takes BogoMIPS from the counter (arch/arm64/kernel/time.c)."""


def _find_user_emulation(root: str, machine: str) -> Optional[str]:
    """qemu-user answers uname and /proc/self for its guest, and lets the host show through elsewhere."""
    if not ARM.match(machine):
        return None
    evidence = []
    kernel = read_text(root, "proc/sys/kernel/arch")  # Linux >= 6.1
    if kernel and X86.match(kernel):
        evidence.append("the kernel is %s's" % kernel)
    if _cpuinfo(root, "vendor_id") in ("GenuineIntel", "AuthenticAMD"):
        evidence.append("/proc/cpuinfo is %s's" % _cpuinfo(root, "vendor_id"))
    try:
        parent = os.path.basename(os.readlink(os.path.join(root, "proc/%d/exe" % os.getppid())))
    except OSError:
        parent = ""
    if parent.startswith("qemu-"):
        evidence.append("the parent process is %s" % parent)
    return "%s, and yet %s" % (machine, " and ".join(evidence)) if evidence else None
