"""The disk, kernel and initial RAM disk of the guest: Debian's own, and modules that it leaves out, built here."""

import compileall
import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

from edgekit.provision import Machine, choose_runtime, fetch_wheels
from tests.lab import debian
from tests.lab.machine import LabUnavailable, find

PROGRAMS = (*debian.PROGRAMS, "make", "aarch64-linux-gnu-gcc-12", "modprobe", "depmod", "mke2fs", "cpio")
KBUILD = Path("/usr/lib/linux-kbuild-6.1")
INSIDE = Path(__file__).parent / "inside"
RECIPE = 2
"""Raise it when what ``_make`` makes changes, so that no cached image is used."""
SOURCES = ("drivers/power/supply/test_power.c", "drivers/i2c/i2c-stub.c", "drivers/hwmon/ina2xx.c")
"""Drivers of Linux that Debian does not build: a battery whose values are set, and a power monitor on a bus of such."""
BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4")
MODULES = ("virtio_net", "nvme", "uhid", "hid-generic", "i2c-dev")
RAUC_MODULES = ("loop", "squashfs", "dm-verity")
"""In /lab/rauc-modules, for who wants them."""
RAUC = (
    "rauc dbus-daemon dbus-bin e2fsprogs libapparmor1 libbrotli1 libcurl3-gnutls libdbus-1-3 libext2fs2 libfdisk1 "
    "libglib2.0-0 libgnutls30 libhogweed6 libidn2-0 libjson-glib-1.0-0 libldap-2.5-0 libnettle8 libnghttp2-14 "
    "libp11-kit0 libpsl5 librtmp1 libsasl2-2 libssh2-1 libtasn1-6 libunistring2"
)
"""Packages of RAUC with their libraries, without systemd."""
MACHINE = Machine(python=(3, 11), implementation="cpython", architecture="aarch64", glibc=(2, 36), numpy=False)
PACKAGES = "usr/local/lib/python3.11/dist-packages"
DISK = "700M"


def image() -> Path:
    """The folder with ``vmlinuz``, ``initrd.gz`` and ``disk.ext4``; cached, made in about a minute and a half."""
    wheels = fetch_wheels(choose_runtime("guest", MACHINE))
    own = hashlib.sha256(b"".join((INSIDE / name).read_bytes() for name in ("heat.c", "initrd"))).hexdigest()
    modules = (BOOT_MODULES, MODULES, RAUC_MODULES)
    recipe = (RECIPE, debian.recipe(), SOURCES, modules, RAUC, own, [wheel.name for wheel in wheels])
    return debian.cached("guest", recipe, lambda folder: _make(folder, wheels))


def _make(folder: Path, wheels: tuple[Path, ...]) -> None:
    if not KBUILD.is_dir():
        raise LabUnavailable(f"{KBUILD} not found: install tests/lab/packages.txt")
    work = folder / "work"
    work.mkdir()
    environment = debian.prepare_apt()
    depends = debian.ask_apt(["apt-cache", "depends", "linux-image-arm64"], environment)
    kernel = next(line.split()[-1] for line in depends.splitlines() if "Depends: linux-image-" in line)
    version = kernel.removeprefix("linux-image-")
    common = f"linux-headers-{version.removesuffix('-arm64')}-common"
    packages = (kernel, f"linux-headers-{version}", common, "linux-source-6.1", "busybox-static")
    debian.apt(["download", *packages, *RAUC.split()], environment, work)
    for package in packages:
        if package != "linux-source-6.1":
            _command("dpkg-deb", "-x", _deb(work, package), work)
    shutil.copy(work / f"boot/vmlinuz-{version}", folder / "vmlinuz")
    _command("depmod", "-b", work, version)
    built = _build(work, version, common)
    _make_initrd(work, version, folder / "initrd.gz")
    _make_disk(work, version, built, wheels, folder / "disk.ext4")
    shutil.rmtree(work)


def _deb(folder: Path, package: str) -> Path:
    return next(folder.glob(f"{package}_*.deb"))


def _build(work: Path, version: str, common: str) -> list[Path]:
    """The modules of ``SOURCES`` and of ``inside``, for the kernel of ``version``."""
    source, modules = work / "source", work / "built"
    source.mkdir()
    modules.mkdir()
    names = [f"linux-source-6.1/{name}" for name in SOURCES]
    # tar ends when it has seen them all, and dpkg-deb then breaks its pipe
    unpack = f"dpkg-deb --fsys-tarfile '{_deb(work, 'linux-source-6.1')}' | tar -xO ./usr/src/linux-source-6.1.tar.xz"
    _command("sh", "-c", f"{unpack} | tar -xJ --occurrence=1 -C '{source}' {' '.join(names)}")
    for path in (*(source / name for name in names), INSIDE / "heat.c"):
        shutil.copy(path, modules)
    objects = [path.with_suffix(".o").name for path in sorted(modules.glob("*.c"))]
    (modules / "Makefile").write_text(f"obj-m := {' '.join(objects)}\n")
    headers = work / f"usr/src/linux-headers-{version}"
    makefile = headers / "Makefile"
    # Debian's headers name one another by where they are installed
    makefile.write_text(makefile.read_text().replace(f"/usr/src/{common}", str(work / "usr/src" / common)))
    for folder in (headers, work / "usr/src" / common):
        for name in ("scripts", "tools"):
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(KBUILD / name)
    _command(
        "make", "-j2", "-C", headers, f"M={modules}", "ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-",
        "CC=aarch64-linux-gnu-gcc-12", "modules",
    )  # fmt: skip
    return sorted(modules.glob("*.ko"))


def _modules(work: Path, version: str, names: tuple[str, ...]) -> list[Path]:
    """The modules and what they depend on, in the order to load them."""
    found: dict[Path, None] = {}
    for name in names:
        for line in _command("modprobe", "-d", work, "-S", version, "--show-depends", name).splitlines():
            kind, _, path = line.partition(" ")
            if kind == "insmod":
                found[Path(path.split()[0])] = None
    return list(found)


def _copy_modules(modules: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for module in modules:
        shutil.copy(module, folder)
    (folder / "order").write_text("\n".join(module.name for module in modules))


def _make_initrd(work: Path, version: str, path: Path) -> None:
    top = work / "initrd"
    for name in ("bin", "dev", "proc", "mnt"):
        (top / name).mkdir(parents=True)
    shutil.copy(work / "bin/busybox", top / "bin")
    for name in ("sh", "mount", "insmod", "switch_root", "cat", "cp", "chmod", "sleep"):
        (top / "bin" / name).symlink_to("busybox")
    _copy_modules(_modules(work, version, BOOT_MODULES), top / "modules")
    shutil.copy(INSIDE / "initrd", top / "init")
    path.write_bytes(pack(top))


def pack(folder: Path) -> bytes:
    """A folder as an initial RAM disk; the kernel takes several, one after the other."""
    command = "find . | cpio --quiet -o -H newc -R 0:0 | gzip -1"
    return subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, check=True).stdout


def _make_disk(work: Path, version: str, built: list[Path], wheels: tuple[Path, ...], path: Path) -> None:
    top = work / "root"
    _command("cp", "-al", debian.root(), top)  # links: only what is new takes space
    boot = _modules(work, version, BOOT_MODULES)
    _copy_modules([module for module in _modules(work, version, MODULES) if module not in boot], top / "lab/modules")
    for module in built:
        shutil.copy(module, top / "lab")
    _copy_modules(_modules(work, version, RAUC_MODULES), top / "lab/rauc-modules")
    for package in RAUC.split():
        debian.unpack(_deb(work, package), top)
    shutil.copy(work / "bin/busybox", top / "usr/bin/busybox")
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(top / PACKAGES)
    compileall.compile_dir(top / PACKAGES, quiet=2, stripdir=top, workers=2)
    _command("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", top, path, DISK)


def _command(*words: str | Path) -> str:
    program, *rest = map(str, words)
    done = subprocess.run([find(program) or program, *rest], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise LabUnavailable(f"{program} {' '.join(rest)[:200]} failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout
