"""Tier 3: a whole arm64 machine under QEMU, with a kernel of its own, a battery, a temperature and a wrong clock.

Its only network is a port that is forwarded from 127.0.0.1. The CPU is emulated: no latency means anything there.
"""

import shutil
import socket
import subprocess
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from edgekit.device import Device, DeviceTable
from edgekit.transport import Connection, connect
from tests.lab import guest_image
from tests.lab.machine import LabUnavailable, find, make_key, require, wait_for_port

PROGRAMS = (*guest_image.PROGRAMS, "qemu-system-aarch64", "ssh-keygen")
BOOT_S = 120.0
READY = b"GUEST-READY"
LOG = "/run/battery.log"
PARAMETERS = "/sys/module/test_power/parameters"
BATTERY = "power_supply/test_battery"
"""Name of the gauge of the kernel's test battery."""

SSH_CONFIG = """\
Host guest
  HostName 127.0.0.1
  Port {port}
  User pi
Host *
  IdentityFile {folder}/id
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
"""


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """What battery and temperature do; ``inside/board.py`` explains it."""

    idle_a: float = 0.4
    load_a: float = 1.2
    volts: float = 3.9
    ohms: float = 0.15
    ripple_a: float = 0.05
    ripple_s: float = 0.7
    every_s: float = 0.05
    sign: int = 1
    percent: float = 80.0
    percent_per_h: float = 0.0
    idle_c: float = 45.0
    load_c: float = 60.0
    heat_s: float = 20.0
    throttle_c: float = 80.0


@dataclass(frozen=True)
class Drawn:
    """What the battery and the temperature showed: a step at each of their changes."""

    times_ns: list[int]
    watts: list[float]
    celsius: list[float]

    def energy_j(self, start_ns: int, end_ns: int) -> float:
        """The integral of the power between two moments of the guest's CLOCK_MONOTONIC."""
        return sum(watts * secs for watts, _, secs in self._steps(start_ns, end_ns))

    def hotter_s(self, celsius: float, start_ns: int, end_ns: int) -> float:
        """Seconds above a temperature between two moments."""
        return sum(secs for _, heat, secs in self._steps(start_ns, end_ns) if heat > celsius)

    def heat_c(self, start_ns: int, end_ns: int) -> tuple[float, float]:
        """Lowest and highest temperature between two moments."""
        heat = [heat for _, heat, _ in self._steps(start_ns, end_ns)]
        return min(heat), max(heat)

    def _steps(self, start_ns: int, end_ns: int) -> Iterator[tuple[float, float, float]]:
        """Power, temperature and seconds of each step between two moments."""
        first = max(0, bisect_right(self.times_ns, start_ns) - 1)
        for place in range(first, bisect_left(self.times_ns, end_ns)):
            begin = max(start_ns, self.times_ns[place])
            end = min(end_ns, self.times_ns[place + 1]) if place + 1 < len(self.times_ns) else end_ns
            yield self.watts[place], self.celsius[place], (end - begin) / 1e9


@dataclass(frozen=True)
class Guest:
    """The running machine."""

    folder: Path
    root: Connection
    """Logged in as root, for what a test does to the machine."""

    @property
    def ssh_config(self) -> Path:
        """What EDGEKIT_SSH_CONFIG names; ``Host guest`` is this machine, ``pi`` and ``root`` may log in."""
        return self.folder / "ssh_config"

    def device(self, **table: object) -> Device:
        """The device as edgekit sees it; ``table`` overrides keys of its table."""
        settings = {"host": "guest", "target": "rpi4", **table}
        return Device(name="guest", transport="ssh", table=DeviceTable(**settings))  # type: ignore[arg-type]

    def run(self, *words: str) -> str:
        """A command as root; its stdout."""
        done = self.root.run(list(words))
        assert done.exit_code == 0, f"{words} failed: {done.stderr!r}"
        return done.stdout.decode()

    def plug(self, module: str, *options: str) -> None:
        """Load one of the drivers of ``inside`` or of ``guest_image.SOURCES``, unless it is loaded."""
        if self.root.run(["test", "-d", f"/sys/module/{module.replace('-', '_')}"]).exit_code != 0:
            self.run("busybox", "insmod", f"/lab/{module}.ko", *options)

    def unplug(self, module: str) -> None:
        self.run("busybox", "rmmod", module)

    @contextmanager
    def battery(self, curve: Curve) -> Iterator[Callable[[], Drawn]]:
        """Battery and temperature follow ``curve`` to the end of the block; the value tells what was drawn."""
        command = ["python3", "/lab/board.py", msgspec.json.encode(curve).decode(), LOG]
        with self._started(command):
            yield lambda: _parse(self.run("cat", LOG))

    def set_battery(self, name: str, value: object) -> None:
        """A parameter of the kernel's test battery, such as ``status``."""
        self.run("sh", "-c", f"echo {value} > {PARAMETERS}/battery_{name}")

    @contextmanager
    def keyboard(self, *, percent: int) -> Iterator[str]:
        """A keyboard with a battery; the value is the name of its power supply."""
        with self._started(["python3", "/lab/keyboard.py", str(percent)]):
            yield "hid-lab-1-battery"

    @contextmanager
    def power_monitor(self, *, millivolts: int, milliamperes: int, milliwatts: int) -> Iterator[None]:
        """An INA219 whose registers stand still, behind the kernel's own driver."""
        self.plug("i2c-stub", "chip_addr=0x40")
        self.plug("ina2xx")
        self.run("python3", "/lab/monitor.py", str(millivolts), str(milliamperes), str(milliwatts))
        try:
            yield
        finally:
            self.unplug("ina2xx")
            self.unplug("i2c-stub")

    @contextmanager
    def _started(self, command: list[str]) -> Iterator[None]:
        """A program that says a line when it is ready."""
        with self.root.start(command) as process:
            if not next(process.lines(timeout_s=30), b""):
                raise LabUnavailable(f"{command[1]} does not run: {process.wait(timeout_s=5).stderr.decode()[-500:]}")
            try:
                yield
            finally:
                # it reads nothing, and would not notice; it ended where its driver went away
                self.root.run(["pkill", "-f", command[1]])

    @contextmanager
    def unplugged_later(self, module: str, *, delay_s: float) -> Iterator[None]:
        """The module is told to go ``delay_s`` after a model began to run by a schedule; ``test_power`` takes 10 s.

        A program in the guest does it: a command from here takes seconds to start while the guest is busy.
        """
        with self._started(["python3", "/lab/unplug.py", module, str(delay_s)]):
            yield


def _parse(log: str) -> Drawn:
    rows = [line.split() for line in log.splitlines(keepends=True) if line.endswith("\n")]
    return Drawn(
        times_ns=[int(row[0]) for row in rows],
        watts=[float(row[1]) for row in rows],
        celsius=[float(row[2]) for row in rows],
    )


@contextmanager
def guest(folder: Path) -> Iterator[Guest]:
    """Boot the machine; raises LabUnavailable where this one cannot."""
    require(PROGRAMS)
    image = guest_image.image()
    port = _free_port()
    initrd = folder / "initrd.gz"
    initrd.write_bytes((image / "initrd.gz").read_bytes() + _run_files(folder))
    key = " ".join((folder / "host_key.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}\n")
    (folder / "ssh_config").write_text(SSH_CONFIG.format(port=port, folder=folder))
    with ExitStack() as stack:
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                _machine(image, initrd, port, folder),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        stack.callback(_stop, process)
        _wait_until_ready(process, folder)
        wait_for_port("127.0.0.1", port, process, folder / "console", timeout_s=30)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("EDGEKIT_SSH_CONFIG", str(folder / "ssh_config"))
            environment.delenv("SSH_AUTH_SOCK", raising=False)
            table = DeviceTable(host="guest", user="root")
            root = stack.enter_context(connect(Device(name="guest", transport="ssh", table=table), timeout_s=30))
        yield Guest(folder=folder, root=root)


def _run_files(folder: Path) -> bytes:
    """Keys and programs of this run, as a RAM disk behind the cached one."""
    make_key(folder / "host_key")
    make_key(folder / "id")
    own = folder / "top" / "run-files"
    shutil.copytree(guest_image.INSIDE, own)
    shutil.copy(folder / "host_key", own)
    shutil.copy(folder / "id.pub", own / "authorized_keys")
    return guest_image.pack(own.parent)


def _machine(image: Path, initrd: Path, port: int, folder: Path) -> list[str]:
    return [
        str(find("qemu-system-aarch64")), "-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "1024",
        "-accel", "tcg,thread=multi", "-nodefaults", "-display", "none", "-no-reboot",
        "-serial", f"file:{folder / 'console'}",
        "-kernel", str(image / "vmlinuz"), "-initrd", str(initrd),
        "-append", "console=ttyAMA0 quiet loglevel=4 mitigations=off net.ifnames=0",
        "-drive", f"file={image / 'disk.ext4'},format=raw,if=none,id=root,snapshot=on",
        "-device", "virtio-blk-pci,drive=root",
        "-drive", "file.driver=null-co,file.size=16M,format=raw,if=none,id=spare",
        "-device", "nvme,drive=spare,serial=lab",
        "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22",
        "-device", "virtio-net-pci,netdev=net,romfile=",
    ]  # fmt: skip


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_until_ready(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    console = folder / "console"
    deadline = time.monotonic() + BOOT_S
    while not console.exists() or READY not in console.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            said = (folder / "log").read_text() + (console.read_text(errors="replace") if console.exists() else "")
            raise LabUnavailable(f"the guest did not boot: {said[-500:]}")
        time.sleep(0.1)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
