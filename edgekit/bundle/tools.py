"""The ecosystems' own tools as processes: found on PATH or beside this Python, run with a limit of time and output."""

import logging
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgekit.compilers.process import ask, how_it_ended
from edgekit.compilers.types import Ran
from edgekit.errors import BundleError, CompilerError, ToolMissingError

TIMEOUT_S = 600.0


def find_tool(name: str, *, install: str) -> str:
    """Path of the program ``name``; raises ToolMissingError that says how to ``install`` it."""
    beside = Path(sys.executable).parent / name  # what pip installs with edgekit[bundle] need not be on PATH
    path = str(beside) if beside.is_file() else shutil.which(name)
    if path is None:
        raise ToolMissingError(f"{name} is not on this machine, and this needs it.", hint=install)
    return path


def check_room(folder: Path, needed: int) -> None:
    """Raise BundleError where ``folder`` has not ``needed`` bytes: a tool would refuse what is good."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BundleError(
            f"{folder.parent} has {free:,} bytes free, and the check takes {needed:,}.",
            hint="Free some space there, or set TMPDIR to a folder elsewhere.",
        )


def run_tool(
    command: Sequence[str], *, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> Ran:
    """Run to the end; raises BundleError where it cannot be started, hangs, says too much or is killed.

    Its exit status is for the caller to judge.
    """
    logging.getLogger(__name__).debug("%r", list(command))
    try:
        ran = ask(command, timeout_s=TIMEOUT_S, folder=folder, environment=environment)
    except CompilerError as err:
        raise BundleError(err.message, hint=err.hint) from err
    if ran.status < 0:  # that is no answer
        raise BundleError(f"{how_it_ended(Path(command[0]).name, ran)}", hint="Free some memory, and run it again.")
    return ran


def make(command: Sequence[str], *, folder: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """As ``run_tool``; raises BundleError with the tool's last words when it fails. Returns what it said."""
    ran = run_tool(command, folder=folder, environment=environment)
    if ran.status != 0:
        raise BundleError(
            f"{how_it_ended(Path(command[0]).name, ran)}",
            hint="Nothing was written. The tool's own words are above; -v shows its command.",
        )
    return ran.output
