"""``edgekit device setup``: which runtime fits a device, its wheels fetched here, installed and proven there."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from edgekit.documents import Document
from edgekit.errors import DeviceFaultError, EdgekitError
from edgekit.transport import Connection

Progress = Callable[[str, int, int | None], None]
"""What happens, how much is done, how much there is (None: not known)."""
TIMEOUT_S = 300.0
FETCH_S = 600.0
CHUNK_BYTES = 256 * 1024
LITERT_PYTHONS = range(10, 15)
"""Minor versions of Python 3 that ai-edge-litert has wheels for (cp310 to cp314)."""
LITERT_GLIBC = (2, 27)
TFLITE_PYTHONS = range(7, 12)
"""tflite-runtime ends with cp311; older Pythons get its older releases."""
TFLITE_GLIBC = (2, 17)
OLDEST_GLIBC = 17
"""manylinux2014, the oldest platform that wheels are still built for."""


class Machine(Document, frozen=True, kw_only=True):
    """What decides which wheels fit."""

    python: tuple[int, int]
    implementation: str
    architecture: str
    """Of the interpreter: aarch64, armv7l or x86_64; a 32-bit system on a 64-bit kernel is armv7l."""
    glibc: tuple[int, int] | None
    """None: another C library."""
    numpy: bool
    """The device has one of its own."""


class Choice(Document, frozen=True, kw_only=True):
    """What to install."""

    requirements: tuple[str, ...]
    python: tuple[int, int]
    platforms: tuple[str, ...]
    """Wheel platform tags, the newest first."""
    system_packages: bool = False
    """Use the numpy of the device."""


class Runtime(Document, frozen=True, kw_only=True):
    """What is on the device now."""

    name: str
    version: str
    python: str
    digest: str
    """Of the wheels; its folder there."""
    changed: bool
    """False: it was there already."""


def setup(connection: Connection, *, on_progress: Progress = lambda _what, _done, _total: None) -> Runtime:
    """Install a TFLite runtime on the device, or find that it is there.

    Raises:
        DeviceFaultError: nothing fits this device, no space, or what was installed cannot be imported there.
        EdgekitError: the wheels could not be fetched here.
        TransportError: the connection was lost; nothing changed.
    """
    from edgekit.transport.agent import call, prepare_agent, result

    name = connection.device.name
    # not the interpreter of an earlier setup, which is about to be replaced
    agent = prepare_agent(connection, python=connection.device.table.python or "python3")
    machine = read_machine(result(call(agent, "setup-probe", {"root": agent.root})))
    choice = choose_runtime(name, machine)
    on_progress(f"fetching {choice.requirements[0]}", 0, None)
    wheels = fetch_wheels(choice)
    digest = _digest(wheels)
    sizes = [wheel.stat().st_size for wheel in wheels]
    total, sent = sum(sizes), 0

    def answer(event: dict[str, Any]) -> Iterator[bytes]:
        nonlocal sent
        if event["event"] != "need":
            return
        for wheel in wheels:
            with wheel.open("rb") as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    yield chunk
                    sent += len(chunk)
                    on_progress(f"sending {wheel.name.partition('-')[0]}", sent, total)

    request = {
        "root": agent.root,
        "digest": digest,
        "wheels": [
            {"name": wheel.name, "sha256": _sha256(wheel), "bytes": size}
            for wheel, size in zip(wheels, sizes, strict=True)
        ],
        "unpacked_bytes": sum(_unpacked_bytes(wheel) for wheel in wheels),
        "system_packages": choice.system_packages,
    }
    done: dict[str, Any] = {}
    for done in call(agent, "setup", request, answer=answer, timeout_s=TIMEOUT_S):
        if done["event"] == "proving":
            on_progress("importing it there", total, total)
    return Runtime(
        name=str(done["runtime"]["name"]),
        version=str(done["runtime"]["version"]),
        python=".".join(map(str, machine.python)),
        digest=digest,
        changed=bool(done["changed"]),
    )


def read_machine(probe: Mapping[str, Any]) -> Machine:
    """The answer of the agent's ``setup-probe``."""
    architecture = str(probe["architecture"])
    if probe["bits"] == 32 and architecture in {"aarch64", "armv8l"}:  # noqa: PLR2004
        architecture = "armv7l"
    major, _, minor = str(probe["libc_version"]).partition(".")
    known = probe["libc"] == "glibc" and major.isdigit() and minor.isdigit()
    return Machine(
        python=(int(probe["python"][0]), int(probe["python"][1])),
        implementation=str(probe["implementation"]),
        architecture=architecture,
        glibc=(int(major), int(minor)) if known else None,
        numpy=bool(probe["numpy"]),
    )


def choose_runtime(name: str, machine: Machine) -> Choice:
    """The newest runtime with wheels for the machine; raises DeviceFaultError naming what does not fit."""
    major, minor = machine.python
    seen = f"{name} has {machine.implementation} {major}.{minor}, {machine.architecture}"
    if machine.glibc is None:
        raise DeviceFaultError(
            f"{seen} and no glibc; TFLite runtimes are built for glibc only.",
            hint="Use a system with glibc (Debian, Raspberry Pi OS, Yocto with glibc), or build a runtime for it.",
        )
    platforms = _platforms(machine.architecture, machine.glibc)
    if machine.implementation == "cpython" and major == 3:  # noqa: PLR2004
        if machine.architecture in {"aarch64", "x86_64"} and minor in LITERT_PYTHONS and machine.glibc >= LITERT_GLIBC:
            # the version that audited the model here is the one that runs it there
            litert = f"ai-edge-litert=={metadata.version('ai-edge-litert')}"
            return Choice(requirements=(litert,), python=machine.python, platforms=platforms)
        if minor in TFLITE_PYTHONS and machine.glibc >= TFLITE_GLIBC:
            if machine.architecture in {"aarch64", "x86_64"}:
                requirements = ("tflite-runtime", "numpy<2")
                return Choice(requirements=requirements, python=machine.python, platforms=platforms)
            if machine.architecture == "armv7l":
                return _on_system_numpy(name, machine, platforms)
    raise DeviceFaultError(
        f"{seen}, glibc {machine.glibc[0]}.{machine.glibc[1]}: no TFLite runtime has wheels for that.",
        hint="ai-edge-litert: Python 3.10 to 3.14, glibc 2.27, aarch64 or x86_64; tflite-runtime: Python 3.7 to 3.11. "
        "Name a fitting interpreter as `python` in the device's table.",
    )


def _on_system_numpy(name: str, machine: Machine, platforms: tuple[str, ...]) -> Choice:
    """PyPI has no armv7l wheels of numpy: the system's own is used."""
    if not machine.numpy:
        raise DeviceFaultError(
            f"{name} is a 32-bit ARM without numpy, for which PyPI has no wheels.",
            hint="Install it there with `sudo apt install python3-numpy`, then run this again; "
            "or use a 64-bit system, which needs nothing.",
        )
    return Choice(requirements=("tflite-runtime",), python=machine.python, platforms=platforms, system_packages=True)


def _platforms(architecture: str, glibc: tuple[int, int]) -> tuple[str, ...]:
    tags = [f"manylinux_2_{minor}_{architecture}" for minor in range(glibc[1], OLDEST_GLIBC - 1, -1)]
    return (*tags, f"manylinux2014_{architecture}")


def fetch_wheels(choice: Choice) -> tuple[Path, ...]:
    """The wheels and those they need, by name, from the cache of this machine or by pip.

    Cached in ``$XDG_CACHE_HOME/edgekit/wheels``. Raises EdgekitError when pip cannot fetch them.
    """
    key = hashlib.sha256(repr((choice.requirements, choice.python, choice.platforms)).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgekit" / "wheels"
    folder = cache / key
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=cache, prefix=".part-"))
        try:
            _download(choice, part)
            part.chmod(0o755)
            part.rename(folder)
        except OSError:
            if not folder.is_dir():  # unless another edgekit was faster
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return tuple(sorted(folder.glob("*.whl")))


def _download(choice: Choice, folder: Path) -> None:
    major, minor = choice.python
    command = [
        *_pip(), "download", "--quiet", "--disable-pip-version-check", "--no-input", "--only-binary=:all:",
        "--implementation=cp", f"--python-version={major}.{minor}", f"--dest={folder}",
        *(f"--platform={platform}" for platform in choice.platforms),
        *(["--no-deps"] if choice.system_packages else []), *choice.requirements,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_S, check=False)
    except subprocess.TimeoutExpired as err:
        raise _not_fetched(choice, f"pip did not end within {FETCH_S:g} s") from err
    if done.returncode != 0:
        errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        raise _not_fetched(choice, errors[-1] if errors else done.stderr.strip()[-300:])


def _not_fetched(choice: Choice, cause: str) -> EdgekitError:
    return EdgekitError(
        f"The wheels of {' '.join(choice.requirements)} for Python {choice.python[0]}.{choice.python[1]}, "
        f"{choice.platforms[0]}, could not be fetched: {cause.rstrip('.')}.",
        hint="This machine needs the internet once, or a package index in pip's configuration; then run it again.",
    )


def _pip() -> Sequence[str]:
    from importlib.util import find_spec

    if find_spec("pip") is not None:
        return (sys.executable, "-m", "pip")
    found = shutil.which("pip3") or shutil.which("pip")
    if found is None:
        raise EdgekitError(
            "There is no pip here to fetch wheels with.",
            hint=f"Install it: `{sys.executable} -m ensurepip`, or your system's python3-pip.",
        )
    return (found,)


def _digest(wheels: Sequence[Path]) -> str:
    lines = "".join(f"{wheel.name} {_sha256(wheel)}\n" for wheel in wheels)
    return hashlib.sha256(lines.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _unpacked_bytes(wheel: Path) -> int:
    with zipfile.ZipFile(wheel) as archive:
        return sum(info.file_size for info in archive.infolist())
