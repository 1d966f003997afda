"""Tier 1: a native sshd with its own address, host key and a disk of 32 MB, and every way to break it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.device import Device, DeviceTable
from tests.lab.machine import (
    Namespace,
    children,
    find,
    make_key,
    namespace,
    require,
    run,
    small_disk,
    wait_for_port,
)

PROGRAMS = ("ip", "nft", "sshd", "ssh-keygen", "mkfs.ext4", "mount")
DISK_MEBIBYTES = 32
INNER_PORT = 2222
"""The server listens here too, on the namespace's own loopback: reachable only through itself as jump host."""

CONFIG = """\
ListenAddress {address}:22
ListenAddress 127.0.0.1:{inner_port}
HostKey {folder}/hostkey
HostKey {folder}/hostkey_ecdsa
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
Subsystem sftp internal-sftp
MaxStartups 100
# a home of the device's own: neither the start-up files nor the ~/.edgekit of whoever runs this
SetEnv HOME={folder}/home
"""

SSH_CONFIG = """\
Host lab
  HostName {address}
Host *
  User root
  IdentityFile {folder}/id
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
"""


@dataclass
class Sshd:
    """The running device. Every fault is a context manager that mends it again."""

    folder: Path
    net: Namespace
    storage: Path
    """Mount point of the small disk, the same path on the device and here."""
    user: str = "root"
    port: int = 22
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        return self.net.address

    @property
    def key(self) -> Path:
        """Private key that may log in."""
        return self.folder / "id"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """What EDGEKIT_SSH_CONFIG names in the lab; ``Host lab`` is this device."""
        return self.folder / "ssh_config"

    @property
    def root(self) -> Path:
        """edgekit's folder on the device, on the small disk."""
        return self.storage / "edgekit"

    def device(self, **table: object) -> Device:
        """The device as edgekit sees it; ``table`` overrides keys of its table."""
        settings = {"host": "lab", "root": str(self.root), **table}
        return Device(name="lab", transport="ssh", table=DeviceTable(**settings))  # type: ignore[arg-type]

    def start(self) -> None:
        log = self.folder / "log"
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                self.net.command(str(find("sshd")), "-D", "-e", "-f", self.folder / "sshd_config"),
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True,
            )  # fmt: skip
        wait_for_port(self.host, self.port, self._process, log, timeout_s=10)

    def stop(self) -> None:
        if self._process is not None:
            self.kill_sessions()
            self._process.kill()
            self._process.wait()
            self._process = None

    def kill_sessions(self) -> None:
        """kill -9 of every session and what runs in it; the server goes on."""
        assert self._process is not None
        for pid in children(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def sessions(self) -> int:
        """Number of processes of open sessions."""
        return 0 if self._process is None else len(children(self._process.pid))

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Nothing listens: connections are refused."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def new_host_key(self) -> Iterator[None]:
        """As after a reflash."""
        self.stop()
        kept = {path: path.read_bytes() for path in (self.folder / "hostkey", self.folder / "hostkey.pub")}
        for path in kept:
            path.unlink()
        make_key(self.folder / "hostkey")
        self.start()
        try:
            yield
        finally:
            self.stop()
            for path, data in kept.items():
                path.write_bytes(data)
            self.start()

    @contextmanager
    def dropped(self) -> Iterator[None]:
        """Packets vanish (nft) until the end of the block."""
        with self.net.dropped():
            yield

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """The disk is mounted read-only."""
        run("mount", "-o", "remount,ro", self.storage)
        try:
            yield
        finally:
            run("mount", "-o", "remount,rw", self.storage)

    @contextmanager
    def full(self, *, free_bytes: int = 0) -> Iterator[None]:
        """The disk has at most about ``free_bytes`` left."""
        filler = self.storage / "filler"
        state = os.statvfs(self.storage)
        size = max(0, state.f_bavail * state.f_frsize - free_bytes)
        try:
            with filler.open("wb") as stream, suppress(OSError):
                os.posix_fallocate(stream.fileno(), 0, size)
                while free_bytes == 0:
                    stream.seek(0, os.SEEK_END)
                    stream.write(b"\0" * 4096)
                    stream.flush()
            yield
        finally:
            filler.unlink()


@contextmanager
def tier1(folder: Path) -> Iterator[Sshd]:
    """Bring the device up; raises LabUnavailable where this machine cannot."""
    require(PROGRAMS)
    with ExitStack() as stack:
        net = stack.enter_context(namespace("sshd"))
        storage = stack.enter_context(small_disk(folder, DISK_MEBIBYTES))
        (folder / "home").mkdir()
        make_key(folder / "hostkey")
        make_key(folder / "hostkey_ecdsa", kind="ecdsa")
        make_key(folder / "id")
        (folder / "authorized_keys").write_text((folder / "id.pub").read_text())
        (folder / "sshd_config").write_text(CONFIG.format(address=net.address, folder=folder, inner_port=INNER_PORT))
        (folder / "ssh_config").write_text(SSH_CONFIG.format(address=net.address, folder=folder))
        key = " ".join((folder / "hostkey.pub").read_text().split()[:2])
        (folder / "known_hosts").write_text(f"{net.address} {key}\n[127.0.0.1]:{INNER_PORT} {key}\n")
        Path("/run/sshd").mkdir(exist_ok=True)
        device = Sshd(folder=folder, net=net, storage=storage)
        stack.callback(device.stop)
        device.start()
        yield device


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    """Wait for something on the device to happen."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
