"""Other Pythons on this machine, found by running them: a version manager's shim may stand for one that is absent."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit_converters.errors import SourceError

Version = tuple[int, int]
"""Major and minor version of a Python."""

_ASK = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
"""Debian packages ``ensurepip`` apart, and a Python without it makes no environment with pip."""
_PATIENCE_S = 20


@dataclass(frozen=True, kw_only=True)
class Maker:
    """What makes a virtual environment."""

    version: Version
    command: tuple[str, ...]
    """With the folder as one more argument, it makes an environment there that has pip."""


def find_maker(pythons: Sequence[Version], needs: str) -> Maker:
    """Python of one of these versions, or uv, which gets one; raises SourceError naming how to get one."""
    for python in _candidates(pythons):
        version = version_of(python)
        if version is not None and version in pythons:
            return Maker(version=version, command=(str(python), "-m", "venv"))
    uv = shutil.which("uv")
    if uv is not None:
        best = pythons[0]
        return Maker(version=best, command=(uv, "venv", "--quiet", "--seed", "--python", show_version(best)))
    wanted = " or ".join(show_version(version) for version in pythons)
    raise SourceError(
        f"{needs} needs Python {wanted}, and none was found (this is {show_version(sys.version_info[:2])}).",
        hint=f"Get one: pip install uv (it fetches Python by itself), pyenv install {show_version(pythons[0])}, or "
        f"your system's package (python{show_version(pythons[0])} with its venv module).",
    )


def version_of(python: Path) -> Version | None:
    """Version of an interpreter that can make environments; None where it does not run or cannot."""
    try:
        answer = subprocess.run(
            [python, "-I", "-c", _ASK], capture_output=True, text=True, timeout=_PATIENCE_S, check=True
        )
        major, minor = (int(word) for word in answer.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return major, minor


def show_version(version: Sequence[int]) -> str:
    """``(3, 12)`` -> ``3.12``."""
    return ".".join(str(number) for number in version)


def _candidates(pythons: Sequence[Version]) -> Iterator[Path]:
    """This Python, those on PATH, pyenv's, and those that uv has made; each may turn out to be another version."""
    if sys.executable and sys.version_info[:2] in pythons:
        yield Path(sys.executable)
    for version in pythons:
        found = shutil.which(f"python{show_version(version)}")
        if found is not None:
            yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    for version in pythons:
        yield from sorted(pyenv.glob(f"versions/{show_version(version)}*/bin/python"), reverse=True)
    uv = shutil.which("uv")
    for version in pythons if uv else ():
        command = [str(uv), "python", "find", "--no-project", show_version(version)]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            answer = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True)
            yield Path(answer.stdout.strip())
