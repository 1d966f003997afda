"""``profile``: what each op of a model takes, by the runtime's own profiler, in fresh processes."""

import re
import time
from typing import Any, BinaryIO, Callable, Dict, List, NamedTuple

from .bench import take_turns
from .events import AgentError, Emit, Request, Result
from .machine import read_rss, read_state
from .measure import take_samples
from .profiler import DROPPED, Profiler, ProfilerMissing, hushed
from .runtime import find_runtime
from .start import read_inputs, set_affinity, time_first

MAX_ROWS = 20000
MAX_VALUES = 200000
"""Durations that one process tells: its answer is one line."""
MAX_RUNS = 2000
NUMBER = r"\s+([0-9.]+)"
ROW = re.compile(
    r"^\s*(\S.*?)" + 3 * NUMBER + NUMBER + "%" + NUMBER + "%" + NUMBER + r"\s+(\d+)\s+\[([^\]]*)\]:(\d+)\s*$"
)
"""node type, start, first, average (ms), share, cumulative share, memory, calls, [owner]:index."""
HEADING = re.compile(r"^=+ (.+?) =+$")
TOTAL = re.compile(r"^Timings \(microseconds\):.*\bcurr=(\d+)", re.MULTILINE)


class Row(NamedTuple):
    """One line of the runtime's summary, of all inferences since the model was loaded."""

    kind: str
    """Such as ``CONV_2D``, or ``Delegate/Convolution (NHWC, QC8) IGEMM``."""
    owner: str
    """``Builtin``: a kernel of the runtime; ``Delegate``: an op inside XNNPACK."""
    place: int
    """Of a kernel the node in the model; inside a delegate the place in its partition."""
    calls: int
    first_us: float
    """Of the first call."""
    total_us: float
    """Of all calls."""


def parse_summary(text: str) -> List[Row]:
    """The rows of the primary graph in the order of execution (litert/runtime/profiler_summarizer.cc writes them).

    Rows of the same kind, owner and place are one for the runtime, also where they are of different partitions.
    Raises ProfilerMissing for another text.
    """
    total = TOTAL.search(text)
    rows: List[Row] = []
    inside = False
    for line in text.splitlines():
        heading = HEADING.match(line)
        if heading is not None:
            if inside:
                break
            inside = heading.group(1) == "Run Order"
        found = ROW.match(line) if inside else None
        if found is not None and len(rows) < MAX_ROWS:
            rows.append(_row(found, int(total.group(1)) if total else 0))
    if not rows or total is None:
        raise ProfilerMissing("the profiler's summary is not as it was: there is no table of ops in their run order")
    return rows


def _row(found: Any, total_us: int) -> Row:
    kind, _start, first, average, share, _cumulative, _memory, calls, owner, place = found.groups()
    count = int(calls)
    # The share is rounded to 0.001 % of all, the average to a microsecond a call: whichever is the finer.
    by_average, by_share = float(average) * 1000 * count, float(share) / 100 * total_us
    spent = by_share if 5e-6 * total_us < 0.5 * count else by_average
    return Row(kind, owner, int(place), count, float(first) * 1000, spent)


def profile(request: Request, stdin: BinaryIO, emit: Emit) -> Result:
    """The ``profile`` command: ``bench`` with what ``profile_process`` adds to a process."""
    return take_turns("profile-process", request, stdin, emit)


def profile_process(request: Request, _stdin: BinaryIO, _emit: Emit) -> Result:
    """The ``profile-process`` command.

    request: as for ``measure.bench_process``. Inferences without and with profiling take turns: what the profiler costs
    is known, and what its summary leaves in the caches is gone before the next one.

    Returns what ``bench_process`` does, ``samples_ns`` without profiling, on the profiler's way through the runtime;
    ``profiled_ns``, the same inferences with it; and ``rows``: ``kind``, ``owner``, ``place``, ``calls`` an inference,
    ``first_us``, of the first call in the first inference, and ``us``, all calls in each inference.
    """
    before = read_state()
    name, version, _ = find_runtime()
    set_affinity(request["cpus"])
    memory_before = read_rss()["rss_bytes"]
    started = time.perf_counter_ns()
    try:
        with hushed() as said:
            found = _measure(request, started)
            _require_all(said())
    except ProfilerMissing as err:
        raise AgentError(
            "device",
            "There is no profile of single ops here: %s." % err,
            "`edgekit bench --coverage` still tells what the delegate takes, and the time with it and without.",
        ) from err
    return dict(
        found,
        runtime={"name": name, "version": version},
        rss_before_load_bytes=memory_before,
        peak_rss_bytes=read_rss()["peak_rss_bytes"],
        before=before,
    )


def _require_all(said: List[str]) -> None:
    if any(DROPPED in line for line in said):
        raise ProfilerMissing("the model has more ops than the profiler keeps")


def _measure(request: Request, started: int) -> Dict[str, Any]:
    model = Profiler(request["model"], request["delegate"], request["num_threads"])
    model.set_inputs(read_inputs(model.inputs, request["inputs"]))
    load_ms = (time.perf_counter_ns() - started) / 1e6
    first_ms = time_first(model.run_first)
    warmup = take_samples(model.run, request["warmup_runs"], 0.0) if request["warmup_runs"] else []
    states = [read_state()]
    series = _Series(model)
    deadline = time.monotonic() + request["min_secs"]
    while not series.full and (len(series.plain) < request["num_runs"] or time.monotonic() < deadline):
        series.take()
    states.append(read_state())
    return {
        "load_ms": load_ms,
        "first_ms": first_ms,
        "warmup_ns": list(warmup),
        "samples_ns": series.plain,
        "profiled_ns": series.profiled,
        "rows": series.rows(),
        "during": states,
    }


class _Series:
    """Inferences without and with profiling, in turns."""

    def __init__(self, model: Profiler) -> None:
        self._model = model
        self._first: List[Row] = []
        self._totals: List[List[float]] = []
        self.plain: List[int] = []
        self.profiled: List[int] = []

    @property
    def full(self) -> bool:
        """More would be too long to tell."""
        most = MAX_VALUES // max(1, len(self._first))
        return len(self.plain) >= max(1, min(MAX_RUNS, most))

    def take(self) -> None:
        """One of each. The runtime adds up: what this one took is what its sums grew by."""
        model = self._model
        self.plain.append(_timed(model.run))
        model.start()
        self.profiled.append(_timed(model.run))
        model.stop()
        rows = parse_summary(model.summary())
        if not self._first:
            self._first, self._totals = rows, [[0.0] for _ in rows]
        times = len(self.profiled)
        if [row[:4] for row in rows] != [(*row[:3], times * row.calls) for row in self._first]:
            raise ProfilerMissing("the model runs other ops from one inference to the next")
        for row, totals in zip(rows, self._totals):
            totals.append(max(totals[-1], row.total_us))

    def rows(self) -> List[Dict[str, Any]]:
        """One for each op, with a value an inference."""
        return [
            {
                "kind": row.kind,
                "owner": row.owner,
                "place": row.place,
                "calls": row.calls,
                "first_us": row.first_us,
                "us": [round(after - before, 2) for before, after in zip(totals, totals[1:])],
            }
            for row, totals in zip(self._first, self._totals)
        ]


def _timed(run: Callable[[], None]) -> int:
    start = time.perf_counter_ns()
    run()
    return time.perf_counter_ns() - start
