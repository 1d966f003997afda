"""Pieces of a machine with no hardware: network namespaces, a small disk, ssh servers; all removed afterwards."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

PREFIX = "edgekit-"
_numbers = count(os.getpid() * 8)


class LabUnavailable(Exception):
    """This machine cannot do that tier; says why."""


def run(*command: str | Path, check: bool = True) -> str:
    """Run a command to its end; its stdout."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, check=False)
    if check and done.returncode != 0:
        raise LabUnavailable(f"`{' '.join(map(str, command))}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def require(programs: Sequence[str]) -> None:
    """Raise LabUnavailable where this is not root, or a program of packages.txt is missing."""
    if os.geteuid() != 0:
        raise LabUnavailable("needs root for network namespaces and mounts")
    missing = [program for program in programs if find(program) is None]
    if missing:
        raise LabUnavailable(f"{', '.join(missing)} not found: install tests/lab/packages.txt")


def find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@dataclass(frozen=True)
class Namespace:
    """A network namespace with one address of its own; what is in it is a machine on a cable to this one."""

    name: str
    address: str
    link: str

    def command(self, *words: str | Path) -> list[str]:
        return ["ip", "netns", "exec", self.name, *map(str, words)]

    @contextmanager
    def dropped(self) -> Iterator[None]:
        """The cable is cut: packets vanish in both directions, nobody is told."""
        self.drop()
        try:
            yield
        finally:
            self.restore()

    def drop(self) -> None:
        rules = (
            "add table inet cut; "
            "add chain inet cut in { type filter hook input priority 0; }; add rule inet cut in iifname eth0 drop; "
            "add chain inet cut out { type filter hook output priority 0; }; add rule inet cut out oifname eth0 drop"
        )
        run(*self.command("nft", rules))

    def restore(self) -> None:
        run(*self.command("nft", "delete table inet cut"), check=False)


@contextmanager
def namespace(label: str) -> Iterator[Namespace]:
    """A new namespace; those of test runs that no longer live are removed first."""
    _remove_stale()
    number = next(_numbers) % 16384
    name, link = f"{PREFIX}{os.getpid()}-{label}", f"ek{number}"
    network = f"10.77.{number >> 6}.{(number & 63) * 4}".rpartition(".")
    here, there = (f"{network[0]}.{int(network[2]) + offset}" for offset in (1, 2))
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "addr", "add", f"{here}/30", "dev", link)
        run("ip", "link", "set", link, "up")
        run("ip", "-n", name, "addr", "add", f"{there}/30", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
        yield Namespace(name=name, address=there, link=link)
    finally:
        run("ip", "link", "del", link, check=False)
        run("ip", "netns", "del", name, check=False)


def _remove_stale() -> None:
    for line in run("ip", "netns", "list").splitlines():
        name = line.split()[0]
        pid = name.removeprefix(PREFIX).partition("-")[0]
        if name.startswith(PREFIX) and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            run("ip", "netns", "del", name, check=False)


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """An ext4 file system of its own, so that it can be full or read-only without harm."""
    image, mount = folder / "disk.img", folder / "disk"
    mount.mkdir()
    with image.open("wb") as stream:
        stream.truncate(mebibytes << 20)
    run("mkfs.ext4", "-q", "-F", "-m", "0", image)
    run("mount", "-o", "loop", image, mount)
    try:
        yield mount
    finally:
        run("umount", "-l", mount)


def make_key(path: Path, *, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A key pair."""
    run("ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", path)
    return path


def wait_for_port(address: str, port: int, process: subprocess.Popen[bytes], log: Path, *, timeout_s: float) -> None:
    """Wait until the ssh server answers; raises LabUnavailable with its log when it ended or never did."""
    import socket

    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection((address, port), timeout=1) as connection:
                connection.settimeout(timeout_s)
                if connection.recv(4).startswith(b"SSH"):
                    return
        except OSError:
            time.sleep(0.02)
    raise LabUnavailable(f"the ssh server did not come up: {log.read_text()[-500:]}")


def children(pid: int) -> list[int]:
    """Children, grandchildren and so on of a process; of one that ends meanwhile, those that were found."""
    found: list[int] = []
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, path.read_text().split()):
                found += [child, *children(child)]
    return found
