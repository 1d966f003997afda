"""Debian for arm64 without an arm64 machine: packages by an apt of their own, unpacked into a root that is cached."""

import compileall
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab.machine import LabUnavailable, run

PROGRAMS = ("apt-get", "dpkg-deb", "chroot", "tar")
SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
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


def cached(name: str, recipe: object, make: Callable[[Path], None]) -> Path:
    """The folder that ``make`` fills, made once for each ``recipe`` and kept outside the checkout (EDGEKIT_LAB)."""
    path = cache() / f"{name}-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]}"
    with (cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            part = path.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            make(part)
            part.rename(path)
    return path


def cache() -> Path:
    folder = Path(os.environ.get("EDGEKIT_LAB") or Path.home() / ".cache" / "edgekit-lab")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def root() -> Path:
    """An arm64 root with Python and an ssh server; 200 MB, made in half a minute."""
    return cached("arm64", recipe(), _make_root)


def recipe() -> tuple[object, ...]:
    """What decides what is in the root."""
    return RECIPE, SUITE, PACKAGES, sorted(FILES.items())


def prepare_apt() -> dict[str, str]:
    """The environment of an apt for arm64 whose state is its own, with fresh lists."""
    folder = cache() / "apt"
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "apt.conf").write_text(APT.format(folder=folder))
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {SUITE} main\n")
    environment = {**os.environ, "APT_CONFIG": str(folder / "apt.conf")}
    apt(["update"], environment, folder)
    return environment


def apt(words: Sequence[str], environment: dict[str, str], folder: Path) -> None:
    """``apt-get`` in ``folder``; raises LabUnavailable with what it said."""
    ask_apt(["apt-get", "-qq", *words], environment, folder)


def ask_apt(command: Sequence[str], environment: dict[str, str], folder: Path | None = None) -> str:
    """What a program of apt answers; raises LabUnavailable with what it said."""
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=200, check=False
    )
    if done.returncode != 0:
        raise LabUnavailable(f"{' '.join(command[:3])} for arm64 failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def mirror() -> str:
    """The mirror that this machine uses for Debian, if it does."""
    lines = run("apt-get", "indextargets", "--format", "$(REPO_URI)", check=False).split()
    return next((line.rstrip("/") for line in lines if line.rstrip("/").endswith("/debian")), MIRROR)


def _make_root(root: Path) -> None:
    environment = prepare_apt()
    archives = cache() / "apt/cache/archives"
    for old in archives.glob("*.deb"):
        old.unlink()
    apt(["-y", "--download-only", "install", *PACKAGES.split()], environment, archives)
    _unpack(sorted(archives.glob("*.deb")), root)


def unpack(package: Path, root: Path) -> None:
    """Its files without its documentation; no maintainer script runs."""
    excluded = ("--exclude=./usr/share/doc", "--exclude=./usr/share/man", "--exclude=./usr/share/locale")
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as archive:
        tar = ["tar", "-x", "-C", str(root), "--keep-directory-symlink", *excluded]
        subprocess.run(tar, stdin=archive.stdout, check=True)


def _unpack(packages: list[Path], root: Path) -> None:
    """Unpack without maintainer scripts, hence without emulation; then what those would have done."""
    for name in ("bin", "sbin", "lib"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda package: unpack(package, root), packages))
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
