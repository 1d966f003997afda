"""Kept runs again: one by its id, ``latest`` or path, or all of them. What is in the files is untrusted."""

import difflib
import re
from collections.abc import Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import msgspec

from edgekit.bench.versus.gate import check_baseline
from edgekit.documents import Document, read_bounded
from edgekit.errors import RunError
from edgekit.history.record import ID, Kind, RunRecord, age
from edgekit.history.store import MAX_BYTES, runs_folder

LATEST = re.compile(r"latest(:(?P<model>[^@~]+))?(@(?P<device>[^~]+))?(~(?P<back>\d{1,6}))?")
SHOWN = 3
"""Ids in a message."""


class DamagedRun(Document, frozen=True, kw_only=True):
    """A file among the runs that is none, or none any more."""

    id: str
    """The file's name without ``.json``."""
    message: str


def list_runs(folder: Path | None = None) -> Iterator[RunRecord | DamagedRun]:
    """Every kept run, newest first, read one after the other; one that is damaged does not hide the others."""
    folder = runs_folder() if folder is None else folder
    for name in _names(folder):
        try:
            yield _read_kept(folder, name)
        except RunError as err:
            yield DamagedRun(id=name, message=err.message)


def find_run(ref: str, *, kind: Kind | None = None, folder: Path | None = None) -> RunRecord:
    """A run by its id, the beginning of one, ``latest``, or the path of a file.

    ``latest[:MODEL][@DEVICE][~N]``: the newest (of a model, of a device), or the Nth before it. A file is a run's own
    or what ``edgekit runs export --format json`` made of one. With ``kind`` the others do not count.

    Raises:
        RunError: no such run (the message names the close ones), several, a damaged one, or one of another kind.
    """
    folder = runs_folder() if folder is None else folder
    match = LATEST.fullmatch(ref)
    if match is not None:
        return _latest(ref, match, kind, folder)
    record = read_run(Path(ref)) if "/" in ref or ref.endswith(".json") else _by_id(ref, folder)
    if kind is not None and record.kind != kind:
        raise RunError(
            f"{ref} is a run of `edgekit {record.kind}`, not of `edgekit {kind}`.",
            hint=f"`edgekit runs list` shows which is which; latest is the newest of `edgekit {kind}` here.",
        )
    return record


def find_baseline(ref: str, *, folder: Path | None = None) -> RunRecord | Path:
    """What ``--baseline`` names: a run of ``edgekit bench``, or a model (an artifact's folder or a .tflite).

    A model is measured in turns with the candidate, which tells smaller differences than a run of another day. Look
    it up before the measurement: afterwards ``latest`` is the run itself.

    Raises RunError as ``find_run`` does, and where nothing can be held against the run.
    """
    path = Path(ref)
    if path.is_dir() or path.suffix == ".tflite":
        return path
    record = find_run(ref, kind="bench", folder=folder)
    if record.bench is not None:
        check_baseline(record.bench, name=record.id)
    return record


def read_run(path: Path) -> RunRecord:
    """The run in a file, also in an exported one; raises RunError with one sentence on what is wrong with it."""
    if path.exists() and not path.is_file():
        raise RunError(f"{path} is no file.", hint="Give the JSON file of a run, or its id (`edgekit runs list`).")
    data = read_bounded(path, RunError, limit=MAX_BYTES)
    try:
        head = msgspec.json.decode(data, type=_Head)
        if head.schema_version != 1:
            raise RunError(
                f"{path} has schema_version {head.schema_version}; edgekit {version('edgekit')} reads 1.",
                hint="It was written by a newer edgekit: update this one.",
            )
        if head.runs is None:
            return _consistent(msgspec.json.decode(data, type=RunRecord), path)
        if len(head.runs) != 1:
            raise RunError(f"{path} holds {len(head.runs)} runs.", hint="Export the one that is meant.")
        return _consistent(msgspec.json.decode(head.runs[0], type=RunRecord), path)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise RunError(f"{path} is no run of edgekit: {err}.", hint=_damage_hint(data)) from err


def _consistent(record: RunRecord, path: Path) -> RunRecord:
    """The record, whose parts fit each other; edited by hand they may not."""
    comparison, bench = record.comparison, record.bench
    recordings = () if bench is None else tuple(bench.recordings.values())
    traces = [trace for recording in recordings for trace in recording.traces]
    why = None
    if comparison is not None and len(comparison.models) != len(comparison.comparisons) + 1:
        why = f"{len(comparison.models)} models and {len(comparison.comparisons)} comparisons"
    elif bench is not None and not bench.results:
        why = "no results"
    elif any(stretch.segment >= len(item.schedule) for item in recordings for stretch in item.stretches):
        why = "segments that are not in its schedule"
    elif any(len(column) != len(trace.monotonic_ns) for trace in traces for column in trace.values.values()):
        why = "readings that do not fit their times"
    if why is not None:
        raise RunError(f"{path} is no run of edgekit: it has {why}.", hint="It was changed by hand; measure again.")
    return record


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    schema_version: int
    runs: list[msgspec.Raw] | None = None
    """Of what `edgekit runs export --format json` made."""


class _Writer(msgspec.Struct, frozen=True, kw_only=True):
    edgekit_version: str
    id: str


def _damage_hint(data: bytes) -> str:
    try:
        writer = msgspec.json.decode(data, type=_Writer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "Give a run's file or id (`edgekit runs list`); the output of --json is none. A damaged one: delete it."
    if writer.edgekit_version != version("edgekit"):
        return f"It was written by edgekit {writer.edgekit_version[:40]!r}: use that one, or a newer one."
    return "The file was changed; delete it, and run the benchmark again."


def _names(folder: Path) -> list[str]:
    """Of all files that look like runs, newest first."""
    return sorted((path.stem for path in folder.glob("*.json")), key=age, reverse=True)


def _read_kept(folder: Path, name: str) -> RunRecord:
    record = read_run(folder / f"{name}.json")
    if record.id != name:
        raise RunError(
            f"{folder / name}.json holds the run {record.id}: the file was renamed.",
            hint=f"Rename it to {record.id}.json, or give its path.",
        )
    return record


def _latest(ref: str, match: re.Match[str], kind: Kind | None, folder: Path) -> RunRecord:
    runs = (
        record
        for record in list_runs(folder)
        if isinstance(record, RunRecord)
        and kind in {None, record.kind}
        and match["model"] in {None, *record.models}
        and match["device"] in {None, record.report.device}
    )
    back = int(match["back"] or 0)
    found = next(islice(runs, back, None), None)
    if found is None:
        what = f"`edgekit {kind}` runs" if kind else "runs"
        raise RunError(
            f"There is no {ref}: {folder} has not so many {what} that fit.",
            hint="`edgekit runs list` shows them; `edgekit bench` and `edgekit compare` each keep one.",
        )
    return found


def _by_id(ref: str, folder: Path) -> RunRecord:
    names = _names(folder)
    fitting = [ref] if ref in names else [name for name in names if ref and name.startswith(ref)]
    if len(fitting) == 1:
        return _read_kept(folder, fitting[0])
    if fitting:
        raise RunError(
            f"{ref!r} begins {len(fitting)} runs: {_some(fitting)}.", hint="Write more of the one that is meant."
        )
    ids = [name for name in names if ID.fullmatch(name)]
    close = difflib.get_close_matches(ref, ids, n=SHOWN, cutoff=0.4) or [name for name in ids if ref and ref in name]
    raise RunError(
        f"There is no run {ref!r} in {folder}." + (f" Close: {_some(close)}." if close else ""),
        hint="`edgekit runs list` shows them; latest, latest~1, latest:MODEL@DEVICE and paths are understood too.",
    )


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
