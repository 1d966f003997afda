"""A profile as files for other programs: CSV for spreadsheets, a trace for Perfetto and chrome://tracing. Pure texts.

The trace is of Google's "Trace Event Format": complete events (``ph`` X) with ``ts`` and ``dur`` in microseconds, and
metadata events (``ph`` M) that name the tracks.
"""

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgekit.bench.profile import OpProfile
from edgekit.bench.report import BenchmarkReport
from edgekit.errors import PlotError
from edgekit.files import replace_file
from edgekit.report.plain import plain, spreadsheet_text

COLUMNS = (
    "order", "node", "op", "output", "kernel", "delegate", "calls", "time_us", "low_us", "high_us", "median_us",
    "mean_us", "share", "cumulative", "macs", "gmac_per_s",
)  # fmt: skip
"""Of the CSV; empty is not known. docs/profile.md explains each."""
LAYOUT = (
    "The runtime tells how long an op takes, not when it begins: ops are laid out one after the other, in the order of "
    "execution. Each duration is the mean of the middle half of the profiled inferences of one fresh process."
)


def profile_csv(report: BenchmarkReport) -> str:
    """A row for each op in the order of execution; numbers with three decimals, shares with six."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for op in () if report.profile is None else report.profile.ops:
        writer.writerow(_cell(value) for value in _values(op))
    return text.getvalue()


def _values(op: OpProfile) -> tuple[object, ...]:
    low, high = op.interval_us or (None, None)
    return (
        op.order, op.node, op.op, op.tensor, op.kernel, op.delegate, op.calls, op.time_us, low, high, op.median_us,
        op.mean_us, f"{op.share:.6f}", f"{op.cumulative:.6f}", op.macs, op.gmac_per_s,
    )  # fmt: skip


def _cell(value: object) -> object:
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.3f}"
        case str():
            return spreadsheet_text(value)
    return value


def profile_trace(report: BenchmarkReport) -> str:
    """A track for each fresh process, with one inference and its ops in it; JSON."""
    names = (report.model, report.device, report.delegate)
    document = {
        "traceEvents": list(_events(report)),
        "displayTimeUnit": "ns",
        "otherData": {
            "layout": LAYOUT,
            **dict(zip(("model", "device", "delegate"), map(plain, names), strict=True)),
            "runtime": plain(f"{report.runtime.name} {report.runtime.version}"),
        },
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _events(report: BenchmarkReport) -> Iterator[dict[str, Any]]:
    profile = report.profile
    if profile is None:
        return
    yield _named("process_name", 0, plain(f"{report.model} on {report.device}"))
    for process in range(profile.processes):
        yield _named("thread_name", process, f"process {process + 1}: durations, laid out one after the other")
        whole = sum(op.processes_us[process] for op in profile.ops)
        yield _complete("ops of one inference", "inference", process, 0.0, whole, {"layout": LAYOUT})
        begin = 0.0
        for op in profile.ops:
            duration = op.processes_us[process]
            title = plain(op.kernel if op.op is None else f"{op.op} {op.node}")
            yield _complete(title, "delegate" if op.delegate else "runtime", process, begin, duration, _facts(op))
            begin += duration


def _named(kind: str, track: int, title: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": 1, "tid": track, "args": {"name": title}}


def _complete(
    title: str, category: str, track: int, begin_us: float, duration_us: float, facts: dict[str, Any]
) -> dict[str, Any]:
    times = {"ts": round(begin_us, 3), "dur": round(duration_us, 3)}
    return {"name": title, "cat": category, "ph": "X", "pid": 1, "tid": track, **times, "args": facts}


def _facts(op: OpProfile) -> dict[str, Any]:
    facts = {
        "node": op.node, "kernel": plain(op.kernel), "output": None if op.tensor is None else plain(op.tensor),
        "share": round(op.share, 6), "macs": op.macs, "gmac_per_s": op.gmac_per_s, "calls": op.calls,
    }  # fmt: skip
    return {name: value for name, value in facts.items() if value is not None}


def check_file(path: Path) -> None:
    """Raise PlotError where no file can be written to ``path``: before the measurement that it would hold."""
    if path.is_dir():
        raise PlotError(f"{path} is a folder.", hint="Give the name of a file.")
    if path.exists() and not path.is_file():
        raise PlotError(f"{path} is no ordinary file.", hint="Give the name of a file.")
    if not path.parent.is_dir():
        raise PlotError(f"The folder {path.parent} does not exist.", hint="Create it, or choose another file.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PlotError(f"The folder {path.parent} cannot be written.", hint="Correct it, or choose another file.")


def write_file(path: Path, text: str) -> None:
    """Write it whole or not at all; raises PlotError."""
    try:
        replace_file(path, text.encode())
    except OSError as err:
        raise PlotError(
            f"{path} cannot be written: {err.strerror or err}.", hint="Free some space, or choose another file."
        ) from err
