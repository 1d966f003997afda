"""Tier 2: an arm64 Debian userland under qemu-user, with its own address, namespaces and ssh server.

What runs there is arm64 code; the kernel is this machine's. It tests the plumbing, never the speed.
"""

import compileall
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from edgekit.device import Device, DeviceTable
from tests.lab.machine import LabUnavailable, Namespace, children, make_key, namespace, require, run, wait_for_port

PROGRAMS = ("ip", "ssh-keygen", "apt-get", "dpkg-deb", "unshare", "chroot", "tar", "qemu-aarch64-static")
SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
BINFMT = Path("/proc/sys/fs/binfmt_misc")
PACKAGES = (
    "base-files base-passwd bash coreutils dash sed grep findutils procps tar gzip hostname mount util-linux libc-bin "
    "python3 openssh-server openssh-sftp-server libgcc-s1 libstdc++6 zlib1g ncurses-base"
)
RECIPE = 2
"""Raise it when what ``_unpack`` makes changes, so that no cached root is used."""

APT = """\
APT::Architecture "arm64"; APT::Architectures {{ "arm64"; }}; APT::Sandbox::User "root";
APT::Install-Recommends "false"; Acquire::Languages "none"; Acquire::Retries "3";
Dir::State "{folder}/state"; Dir::State::status "{folder}/status"; Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list"; Dir::Etc::sourceparts "-";
"""

FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n"
    "sshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n"
    "pi:x:1000:1000::/home/pi:/bin/bash\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\ntty:x:5:\npi:x:1000:\nnogroup:x:65534:\n",
    # `*` and not `!`: without PAM sshd refuses a locked account
    "etc/shadow": "root:*:19000:0:99999:7:::\nsshd:*:19000::::::\npi:*:19000:0:99999:7:::\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "etc/ssh/sshd_config": "Port 22\nHostKey /etc/ssh/host_key\nPasswordAuthentication no\n"
    "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nUsePAM no\nPidFile none\n"
    "AuthorizedKeysFile /etc/ssh/authorized_keys\nStrictModes no\nSubsystem sftp /usr/lib/openssh/sftp-server\n"
    # the processor of a Raspberry Pi 4: with qemu-user 7.2's default, `max`, XNNPACK computes wrong int8
    # outputs; sessions take nothing from the environment of sshd itself
    "SetEnv QEMU_CPU=cortex-a72\n",
}

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
    _register_emulator()
    lower = _root()
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


def _register_emulator() -> None:
    """With the F flag the kernel holds the emulator open: the root needs no copy of it."""
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


def _root() -> Path:
    """The arm64 root, cached outside the checkout (EDGEKIT_LAB); 200 MB, made in half a minute."""
    cache = Path(os.environ.get("EDGEKIT_LAB") or Path.home() / ".cache" / "edgekit-lab")
    cache.mkdir(parents=True, exist_ok=True)
    recipe = repr((RECIPE, SUITE, PACKAGES, sorted(FILES.items())))
    root = cache / f"arm64-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            part = root.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            _unpack(_download(cache / "apt"), part)
            part.rename(root)
    return root


def _download(folder: Path) -> list[Path]:
    """The arm64 packages and what they depend on, by an apt whose state is its own."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for old in (folder / "cache" / "archives").glob("*.deb"):
        old.unlink()
    (folder / "status").touch()
    (folder / "apt.conf").write_text(APT.format(folder=folder))
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {SUITE} main\n")
    for command in (("update",), ("-y", "--download-only", "install", *PACKAGES.split())):
        done = subprocess.run(
            ["apt-get", "-qq", *command],
            env={**os.environ, "APT_CONFIG": str(folder / "apt.conf")},
            capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise LabUnavailable(f"apt-get {command[0]} for arm64 failed: {done.stderr.strip()[-300:]}")
    return sorted((folder / "cache" / "archives").glob("*.deb"))


def _mirror() -> str:
    """The mirror that this machine uses for Debian, if it does."""
    lines = run("apt-get", "indextargets", "--format", "$(REPO_URI)", check=False).split()
    return next((line.rstrip("/") for line in lines if line.rstrip("/").endswith("/debian")), MIRROR)


def _unpack(packages: list[Path], root: Path) -> None:
    """Unpack without maintainer scripts, hence without emulation; then what those would have done."""
    for name in ("bin", "sbin", "lib"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    excluded = ("--exclude=./usr/share/doc", "--exclude=./usr/share/man", "--exclude=./usr/share/locale")

    def unpack(package: Path) -> None:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as archive:
            tar = ["tar", "-x", "-C", str(root), "--keep-directory-symlink", *excluded]
            subprocess.run(tar, stdin=archive.stdout, check=True)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(unpack, packages))
    for name in ("proc", "sys", "dev", "run", "tmp", "root", "var/tmp", "home/pi"):
        (root / name).mkdir(parents=True, exist_ok=True)
    os.chown(root / "home/pi", 1000, 1000)
    (root / "tmp").chmod(0o1777)
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name, target in (("bin/sh", "dash"), ("usr/bin/python3", "python3.11")):
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(target)
    run("chroot", root, "/sbin/ldconfig")
    if sys.version_info[:2] == (3, 11):  # what Debian's maintainer script does, without emulation
        for folder in (".", "collections", "ctypes", "email", "encodings", "importlib", "json", "logging", "urllib"):
            library = root / "usr/lib/python3.11" / folder
            compileall.compile_dir(library, maxlevels=0, quiet=2, stripdir=root)
