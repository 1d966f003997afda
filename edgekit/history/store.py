"""The folder of kept runs, and how one gets there: whole, under a name of its own, never at the cost of a result."""

import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec

from edgekit.entries import FindingEntry
from edgekit.history.record import TICK, Report, RunRecord, make_record

FOLDER = Path(".edgekit") / "runs"
"""In the project: the working directory, as for every command."""
MAX_BYTES = 128 * 1024 * 1024
"""Of one run; every sample is in it, some five bytes each."""
ATTEMPTS = 1000
GIT_TIMEOUT_S = 5.0
IGNORE = "# Runs are large and many; one to keep in git: edgekit runs export ID --format json --output FILE\n*\n"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What became of a run."""

    record: RunRecord
    path: Path | None
    """None: it could not be written, and a finding says why."""
    findings: tuple[FindingEntry, ...] = ()


def runs_folder() -> Path:
    """``EDGEKIT_RUNS_DIR``, else ``.edgekit/runs`` of the working directory."""
    return Path(os.environ.get("EDGEKIT_RUNS_DIR") or FOLDER)


def keep(report: Report, *, note: str | None = None, folder: Path | None = None) -> Kept:
    """Keep a run. A result that is about to be shown is never lost for it: what cannot be written is a finding."""
    folder = runs_folder() if folder is None else folder
    created = datetime.now(UTC)
    commit, own = _commit(), version("edgekit")
    record = make_record(report, created=created, edgekit_version=own, project_commit=commit, note=note)
    try:
        _make(folder)
        for _ in range(ATTEMPTS):
            data = msgspec.json.encode(record, order="sorted")
            if len(data) > MAX_BYTES:
                return _not_kept(record, f"it has {len(data)} bytes, and no more than {MAX_BYTES} are read back.")
            path = folder / f"{record.id}.json"
            if _write_new(path, data):
                return Kept(record=record, path=path)
            created += TICK
            record = make_record(report, created=created, edgekit_version=own, project_commit=commit, note=note)
    except OSError as err:
        return _not_kept(record, f"{folder} cannot be written: {err.strerror or err}.")
    except UnicodeEncodeError:  # names of files may be bytes that are no UTF-8
        return _not_kept(record, "a name in it is no text that JSON can hold.")
    return _not_kept(record, f"{folder} has {ATTEMPTS} runs of this very moment.")


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError), (folder / ".gitignore").open("x") as stream:
        stream.write(IGNORE)


def _write_new(path: Path, data: bytes) -> bool:
    """Write a file that appears whole or not at all; False where the name is taken.

    Who holds the temporary name may take the final one, so two at once cannot replace each other's run, also where
    the file system knows no links.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        stream = temporary.open("xb")
    except FileExistsError:
        return False
    try:
        with stream:
            if path.exists():
                return False
            stream.write(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _not_kept(record: RunRecord, why: str) -> Kept:
    finding = FindingEntry(
        name="run-not-kept",
        severity="warning",
        message=f"The run is not in the history: {why}",
        fix="Free space, correct the permissions or set EDGEKIT_RUNS_DIR; --json prints the same figures.",
    )
    return Kept(record=record, path=None, findings=(finding,))


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):  # no git here, or a checkout too large to look at
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None
