"""The external delegate of these tests, built with the machine's own C compiler."""

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent / "delegate"


@functools.cache
def compiler() -> str:
    """gcc or cc; skips where there is none."""
    found = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if found is None:
        pytest.skip("no C compiler here to build the external delegate with")
    return found


def build_library(path: Path, source: Path = SOURCES / "elementwise.c", *arguments: str) -> Path:
    """``source`` as a shared library."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [compiler(), "-O3", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(path), str(source)]
    subprocess.run([*command, *arguments], check=True, timeout=60)
    return path


def build_text(path: Path, text: str, *arguments: str) -> Path:
    """A library of one C source given as text."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "library.c"
        source.write_text(text)
        return build_library(path, source, *arguments)
