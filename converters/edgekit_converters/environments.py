"""Environments of their own for tools whose dependencies cannot live with ours, made on first use.

One is a virtual environment in ``EDGEKIT_ENV_DIR`` (default ``$XDG_DATA_HOME/edgekit/envs``), in a folder named after
the digest of its pinned requirements. ``ready.json`` is written into it last: a folder without one is half made, by a
process that was killed, and is made again. A lock lets one process make it while others wait.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from edgekit_converters.errors import SourceError
from edgekit_converters.interpreters import Maker, Version, find_maker, show_version

READY = "ready.json"
LAST_LINES = 5
"""How much of a failed command's output an error shows."""
_MISPLACING = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
"""Settings of a user that would send the packages elsewhere, or bring others in."""


class Progress(Protocol):
    """Told of every package; ``done`` of ``total`` where they are known."""

    def __call__(self, step: str, done: int | None = None, total: int | None = None) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool, and what its environment is made of."""

    extra: str
    """What ``edgekit doctor --install`` calls it."""
    package: str
    requirements: Path
    """Exact pins of the tool and of everything below it."""
    pythons: tuple[Version, ...]
    """Versions that there are wheels for, best first."""
    purpose: str
    """Such as ``reads ONNX models``."""
    probe: tuple[str, ...]
    """Arguments of its Python that end well if the tool starts."""
    size_gb: float
    """On the disk."""

    @property
    def version(self) -> str:
        """The pinned version of ``package``."""
        return self.pins()[self.package]

    def pins(self) -> dict[str, str]:
        """Package -> version."""
        lines = self.requirements.read_text(encoding="utf-8").splitlines()
        return dict(line.split("==", 1) for line in lines if "==" in line and not line.startswith("#"))


TOOLS = {
    "onnx": Tool(
        extra="onnx",
        package="onnx2tf",
        requirements=Path(__file__).parent / "requirements" / "onnx2tf.txt",
        pythons=((3, 12), (3, 13)),
        purpose="reads ONNX models",
        probe=("-m", "onnx2tf", "--version"),
        size_gb=0.7,
    ),
    "rknn": Tool(
        extra="rknn",
        package="rknn-toolkit2",
        requirements=Path(__file__).parent / "requirements" / "rknn.txt",
        pythons=((3, 11),),
        purpose="compiles for Rockchip's NPUs",
        probe=("-c", "import rknn.api, tensorflow"),
        size_gb=2.3,
    ),
}
"""Source format, or compiler, -> the tool."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A tool's environment as it is on this machine."""

    tool: Tool
    folder: Path
    state: Literal["ready", "missing", "half-made", "broken"]
    """``broken``: it was ready once, and its Python does not run any more."""
    python: str | None
    """Version of its Python where it is ready."""

    @property
    def executable(self) -> Path:
        """Its Python."""
        return self.folder / "bin" / "python"


def root() -> Path:
    """The folder of all environments."""
    given = os.environ.get("EDGEKIT_ENV_DIR")
    if given:
        return Path(given).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser().absolute() / "edgekit" / "envs"


def inspect_environment(tool: Tool) -> Environment:
    """What there is of it; changes nothing."""
    digest = hashlib.sha256(json.dumps(tool.pins(), sort_keys=True).encode()).hexdigest()[:12]
    folder = root() / f"{tool.package}-{tool.version}-{digest}"
    missing = Environment(tool=tool, folder=folder, state="missing", python=None)
    try:
        python = str(json.loads((folder / READY).read_text(encoding="utf-8"))["python"])
    except FileNotFoundError:
        state: Literal["missing", "half-made"] = "half-made" if folder.exists() else "missing"
        return Environment(tool=tool, folder=folder, state=state, python=None)
    except (OSError, ValueError, KeyError, TypeError):
        return Environment(tool=tool, folder=folder, state="broken", python=None)
    try:
        subprocess.run([missing.executable, "-c", ""], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return Environment(tool=tool, folder=folder, state="broken", python=python)
    return Environment(tool=tool, folder=folder, state="ready", python=python)


def prepare(tool: Tool, progress: Progress) -> Environment:
    """The tool's environment, made if it is not there; raises SourceError and leaves nothing half made."""
    found = inspect_environment(tool)
    if found.state == "ready":
        return found
    try:
        found.folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(found.folder.with_name(f"{found.folder.name}.lock"), tool, progress):
            found = inspect_environment(tool)  # another process may have made it meanwhile
            if found.state != "ready":
                _make(found, maker_for(tool), progress)
    except OSError as err:
        raise SourceError(
            f"The environment of {tool.package} cannot be made in {found.folder.parent}: {err.strerror or err}.",
            hint=f"Free some space (it takes {tool.size_gb} GB), or name another folder with EDGEKIT_ENV_DIR.",
        ) from err
    return inspect_environment(tool)


def maker_for(tool: Tool) -> Maker:
    """What would make the tool's environment here; raises SourceError naming how to get a Python for it."""
    return find_maker(tool.pythons, f"{tool.package} {tool.version}, which {tool.purpose},")


@contextlib.contextmanager
def _locked(path: Path, tool: Tool, progress: Progress) -> Iterator[None]:
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another process that installs {tool.package}")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield  # the lock ends with the open file, however this process ends


def _make(environment: Environment, maker: Maker, progress: Progress) -> None:
    tool, folder = environment.tool, environment.folder
    shutil.rmtree(folder, ignore_errors=True)
    progress(f"making an environment for {tool.package} with Python {show_version(maker.version)}")
    try:
        _run([*maker.command, str(folder)], tool)
        _install(environment, progress)
        # Whether it starts is known only now: a shared library may be missing on this machine.
        _run([str(environment.executable), *tool.probe], tool)
        content = json.dumps({"python": show_version(maker.version), **tool.pins()}, indent=2)
        partial = folder / f"{READY}.partial"
        partial.write_text(content + "\n", encoding="utf-8")
        partial.replace(folder / READY)
    except BaseException:  # Ctrl-C too
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _install(environment: Environment, progress: Progress) -> None:
    tool, seen = environment.tool, 0
    total = len(tool.pins())
    arguments = ["install", "--no-deps", "--only-binary", ":all:", "--progress-bar", "off", "--no-input"]
    title = f"installing {tool.package} {tool.version}"
    command = [str(environment.executable), "-m", "pip", *arguments, "-r", str(tool.requirements)]
    with contextlib.closing(_lines(command, tool)) as lines:
        for line in lines:
            named = re.match(r"Collecting ([\w.-]+)", line)
            if named:
                seen += 1
                progress(f"{title}: {named[1]}", seen, total)
            elif line.startswith("Installing collected packages"):
                progress(f"{title}: unpacking", total, total)


def _run(command: Sequence[str], tool: Tool) -> None:
    for _line in _lines(command, tool):
        pass


def _lines(command: Sequence[str], tool: Tool) -> Generator[str, None, None]:
    """Output of a command line by line; SourceError with its last lines if it fails, killed if nobody listens."""
    environment = {name: value for name, value in os.environ.items() if name not in _MISPLACING}
    last: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**environment, "PYTHONNOUSERSITE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - Popen was told to make it
            for line in process.stdout:
                last = [*last, line.rstrip()][-LAST_LINES:]
                yield line
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        said = "\n".join(f"  {line}" for line in last)
        raise SourceError(
            f"The environment of {tool.package} {tool.version} could not be made: "
            f"{Path(command[0]).name} ended with exit status {process.returncode}:\n{said}",
            hint="Check the network and pip's settings (PIP_INDEX_URL, a proxy), then run: "
            f"edgekit doctor --install {tool.extra}.",
        )
