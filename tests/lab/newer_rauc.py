"""RAUC of Debian 13 on Debian 12, and hawkBit's client for it, which only the next Debian has.

Their packages are unpacked, and started by the dynamic linker that comes with them.
"""

import os
import platform
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.lab import debian
from tests.lab.machine import LabUnavailable, require

PROGRAMS = ("apt-get", "dpkg-deb")
SUITE = "trixie"
PACKAGES = (
    "rauc", "libc6", "libglib2.0-0t64", "libatomic1", "libssl3t64", "zlib1g", "libnl-3-200", "libnl-genl-3-200",
    "libjson-glib-1.0-0", "libmount1", "libblkid1", "libfdisk1", "libselinux1", "libpcre2-8-0", "libffi8",
)  # fmt: skip
"""What is too old in Debian 12; the other libraries are those of this machine's own rauc."""
UPDATER_SUITE = "forky"
UPDATER = "rauc-hawkbit-updater"
APT = """\
Dir::Etc::SourceList "{folder}/sources.list"; Dir::Etc::SourceParts "-"; Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}/cache"; Dir::State::status "{folder}/status"; APT::Install-Recommends "false";
APT::Sandbox::User "root"; Acquire::Languages "none"; Acquire::Retries "3";
"""
LINKERS = {"x86_64": "usr/lib64/ld-linux-x86-64.so.2", "aarch64": "usr/lib/ld-linux-aarch64.so.1"}


def newer_rauc() -> str:
    """A shell script that is rauc 1.13; cached, made in some ten seconds. Raises LabUnavailable."""
    return _script("rauc", "rauc 1.13", (SUITE, PACKAGES, _machine()), _fetch_rauc)


def hawkbit_updater() -> str:
    """A shell script that is rauc-hawkbit-updater; as above, from a suite where it may become a newer one."""
    return _script(UPDATER, "Version 1.", (UPDATER_SUITE, _machine()), _fetch_updater)


def _machine() -> str:
    require(PROGRAMS)
    if platform.machine() not in LINKERS:
        raise LabUnavailable(f"no packages are known for {platform.machine()}")
    return platform.machine()


def _script(program: str, version: str, recipe: object, fetch: Callable[[Path], None]) -> str:
    machine = platform.machine()
    root = debian.cached(program, recipe, fetch) / "root"
    words = [
        root / LINKERS[machine],
        "--library-path",
        root / f"usr/lib/{machine}-linux-gnu",
        root / "usr/bin" / program,
    ]
    script = f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n'
    done = subprocess.run(["sh", "-c", script, program, "--version"], capture_output=True, text=True, check=False)
    if not done.stdout.startswith(version):
        raise LabUnavailable(f"{program} of another Debian does not run here: {done.stderr.strip()[-300:]}")
    return script


def _fetch_rauc(folder: Path) -> None:
    environment = _prepare(folder, SUITE)
    debian.apt(["download", *PACKAGES], environment, folder / "debs")
    _unpack(folder / "debs", folder)


def _fetch_updater(folder: Path) -> None:
    """With all that it needs: most libraries of this machine are too old for it."""
    environment = _prepare(folder, UPDATER_SUITE)
    debian.apt(["-y", "--download-only", "install", UPDATER], environment, folder)
    _unpack(folder / "cache/archives", folder)


def _prepare(folder: Path, suite: str) -> dict[str, str]:
    """An apt of its own, for which no package is installed."""
    for name in ("lists/partial", "cache/archives/partial", "debs", "root"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={debian.KEYRING}] {debian.mirror()} {suite} main\n")
    (folder / "apt.conf").write_text(APT.format(folder=folder))
    environment = {**os.environ, "APT_CONFIG": str(folder / "apt.conf")}
    debian.apt(["update"], environment, folder)
    return environment


def _unpack(packages: Path, folder: Path) -> None:
    for package in sorted(packages.glob("*.deb")):
        debian.unpack(package, folder / "root")
