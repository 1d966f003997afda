"""RAUC of Debian 13 on Debian 12: its packages unpacked, started by the dynamic linker that comes with them."""

import os
import platform
import shlex
import subprocess
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
APT = """\
Dir::Etc::SourceList "{folder}/sources.list"; Dir::Etc::SourceParts "-"; Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}/cache"; APT::Sandbox::User "root"; Acquire::Languages "none"; Acquire::Retries "3";
"""
LINKERS = {"x86_64": "usr/lib64/ld-linux-x86-64.so.2", "aarch64": "usr/lib/ld-linux-aarch64.so.1"}


def newer_rauc() -> str:
    """A shell script that is rauc 1.13; cached, made in some ten seconds. Raises LabUnavailable."""
    require(PROGRAMS)
    machine = platform.machine()
    if machine not in LINKERS:
        raise LabUnavailable(f"no packages are known for {machine}")
    root = debian.cached("rauc", (SUITE, PACKAGES, machine), _make) / "root"
    words = [root / LINKERS[machine], "--library-path", root / f"usr/lib/{machine}-linux-gnu", root / "usr/bin/rauc"]
    script = f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n'
    done = subprocess.run(["sh", "-c", script, "rauc", "--version"], capture_output=True, text=True, check=False)
    if not done.stdout.startswith("rauc 1.13"):
        raise LabUnavailable(f"RAUC of {SUITE} does not run here: {done.stderr.strip()[-300:]}")
    return script


def _make(folder: Path) -> None:
    for name in ("lists/partial", "cache/archives/partial", "debs", "root"):
        (folder / name).mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb [signed-by={debian.KEYRING}] {debian.mirror()} {SUITE} main\n")
    (folder / "apt.conf").write_text(APT.format(folder=folder))
    environment = {**os.environ, "APT_CONFIG": str(folder / "apt.conf")}
    debian.apt(["update"], environment, folder)
    debian.apt(["download", *PACKAGES], environment, folder / "debs")
    for package in sorted((folder / "debs").glob("*.deb")):
        debian.unpack(package, folder / "root")
