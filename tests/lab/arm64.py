"""Tier 2: an arm64 Debian userland under qemu-user, with its own address, namespaces and ssh server.

What runs there is arm64 code; the kernel is this machine's. It tests the plumbing, never the speed.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from edgekit.device import Device, DeviceTable
from tests.lab import debian
from tests.lab.machine import LabUnavailable, Namespace, children, make_key, namespace, require, run, wait_for_port

PROGRAMS = (*debian.PROGRAMS, "ip", "ssh-keygen", "unshare", "qemu-aarch64-static")
BINFMT = Path("/proc/sys/fs/binfmt_misc")
CORE = """\
processor\t: {number}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
CPUINFO = "".join(CORE.format(number=number) for number in range(4)) + (
    "Revision\t: c03115\nSerial\t\t: 1000000000000000\nModel\t\t: Raspberry Pi 4 Model B Rev 1.5\n"
)
"""LiteRT crashes under qemu-user 7.2 while the host's x86 /proc/cpuinfo shows through."""

INIT = """\
set -e
hostname {name}
mount -t tmpfs -o mode=755 tmpfs {top}
mkdir {top}/upper {top}/work {top}/root
mount -t overlay -o lowerdir={lower},upperdir={top}/upper,workdir={top}/work overlay {top}/root
cd {top}/root
cp {folder}/hostkey etc/ssh/host_key
cp {folder}/id.pub etc/ssh/authorized_keys
chmod 600 etc/ssh/host_key
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount --bind {folder}/cpuinfo proc/cpuinfo
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mkdir dev/shm run/sshd
mount -t tmpfs tmpfs dev/shm
ln -s /proc/self/fd dev/fd
exec chroot . /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root \
  /usr/sbin/sshd -D -e -f /etc/ssh/sshd_config
"""

SSH_CONFIG = """\
Host arm64
  HostName {address}
  User pi
Host *
  IdentityFile {folder}/id
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
"""


@dataclass(frozen=True)
class Arm64:
    """The running device; nothing on it outlives the test run."""

    folder: Path
    net: Namespace

    @property
    def ssh_config(self) -> Path:
        """What EDGEKIT_SSH_CONFIG names; ``Host arm64`` is this device, ``pi`` and ``root`` may log in."""
        return self.folder / "ssh_config"

    def device(self, **table: object) -> Device:
        """The device as edgekit sees it; ``table`` overrides keys of its table."""
        settings = {"host": "arm64", "target": "rpi4", **table}
        return Device(name="arm64", transport="ssh", table=DeviceTable(**settings))  # type: ignore[arg-type]


@contextmanager
def arm64(folder: Path) -> Iterator[Arm64]:
    """Bring the device up, from nothing or from the cached root; raises LabUnavailable where this machine cannot."""
    require(PROGRAMS)
    register_emulator()
    lower = debian.root()
    with ExitStack() as stack:
        net = stack.enter_context(namespace("arm64"))
        # sshd refuses a root below a folder that everyone may write to, such as /tmp
        top = Path(f"/run/edgekit-lab-{os.getpid()}")
        top.mkdir()
        stack.callback(top.rmdir)
        make_key(folder / "hostkey")
        make_key(folder / "id")
        (folder / "cpuinfo").write_text(CPUINFO)
        (folder / "init").write_text(INIT.format(name="arm64", top=top, lower=lower, folder=folder))
        (folder / "ssh_config").write_text(SSH_CONFIG.format(address=net.address, folder=folder))
        key = " ".join((folder / "hostkey.pub").read_text().split()[:2])
        (folder / "known_hosts").write_text(f"{net.address} {key}\n")
        words = ("unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--kill-child", "bash", folder / "init")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                net.command(*words), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        stack.callback(_stop, process)
        wait_for_port(net.address, 22, process, folder / "log", timeout_s=30)
        yield Arm64(folder=folder, net=net)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    for pid in children(process.pid):  # the first is pid 1 in there: everything else goes with it
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.kill()
    process.wait()


def register_emulator() -> None:
    """Let this kernel start arm64 programs; with the F flag it holds the emulator open, and a root needs no copy."""
    if not (BINFMT / "register").exists():
        run("mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT)
    if (BINFMT / "qemu-aarch64").exists():
        return
    for config in (Path("/usr/lib/binfmt.d/qemu-aarch64.conf"), Path("/etc/binfmt.d/qemu-aarch64.conf")):
        if config.exists():
            with suppress(FileExistsError):
                (BINFMT / "register").write_text(config.read_text().strip())
            return
    raise LabUnavailable("no qemu-aarch64.conf for binfmt_misc: install qemu-user-static")
