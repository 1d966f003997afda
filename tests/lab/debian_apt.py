"""The arm64 root with apt and dpkg in it, a package database that knows what is there, and LiteRT."""

import compileall
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edgekit.provision import Machine, choose_runtime, fetch_wheels
from tests.lab import debian
from tests.lab.machine import run

PACKAGES = "apt dpkg diffutils"
RECIPE = 2
"""Raise it when what ``_make`` makes changes, so that no cached root is used."""
MACHINE = Machine(python=(3, 11), implementation="cpython", architecture="aarch64", glibc=(2, 36), numpy=False)
LIBRARIES = "usr/local/lib/python3.11/dist-packages"
"""Where Debian's python3 finds what its packages did not bring."""


def root() -> Path:
    """The folder, cached; made in about a minute. ``python3`` in it has the runtime."""
    wheels = fetch_wheels(choose_runtime("arm64 with apt", MACHINE))
    recipe = (RECIPE, debian.recipe(), PACKAGES, [wheel.name for wheel in wheels])
    return debian.cached("arm64-apt", recipe, lambda folder: _make(folder, wheels))


def _make(folder: Path, wheels: tuple[Path, ...]) -> None:
    base = debian.root()
    environment = debian.prepare_apt()
    archives = debian.cache() / "apt/cache/archives"
    for old in archives.glob("*.deb"):
        old.unlink()
    packages = [*debian.PACKAGES.split(), *PACKAGES.split()]
    debian.apt(["-y", "--download-only", "install", *packages], environment, archives)
    found = sorted(archives.glob("*.deb"))
    folder.rmdir()
    run("cp", "-al", base, folder)  # links: only what is new takes space
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda package: debian.unpack(package, folder), found))
    (folder / "usr/bin/python3").unlink(missing_ok=True)
    (folder / "usr/bin/python3").symlink_to("python3.11")
    _replace(folder / "etc/passwd", debian.FILES["etc/passwd"] + "_apt:x:100:65534::/nonexistent:/usr/sbin/nologin\n")
    _write_database(found, folder / "var/lib/dpkg")
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / LIBRARIES)
    if sys.version_info[:2] == MACHINE.python:  # emulated, compiling takes longer than all the rest
        compileall.compile_dir(folder / LIBRARIES, quiet=2, stripdir=folder, workers=2)
    run("chroot", folder, "/sbin/ldconfig")


def _replace(path: Path, text: str) -> None:
    """Not into the file that the base root has under the same number."""
    path.unlink(missing_ok=True)
    path.write_text(text)


def _write_database(packages: list[Path], folder: Path) -> None:
    """What dpkg would have written, had it unpacked and configured them."""
    (folder / "info").mkdir(parents=True, exist_ok=True)
    for name in ("updates", "triggers", "alternatives"):
        (folder / name).mkdir(exist_ok=True)
    entries = []
    for package in packages:
        fields = subprocess.run(["dpkg-deb", "--field", package], capture_output=True, text=True, check=True).stdout
        head, _, rest = fields.partition("\n")
        entries.append(f"{head}\nStatus: install ok installed\n{rest.strip()}\n")
        _replace(folder / "info" / f"{head.removeprefix('Package: ')}.list", "/.\n")
    _replace(folder / "status", "\n".join(entries))
    _replace(folder / "available", "")
