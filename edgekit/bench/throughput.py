"""Several interpreters at once: how many inferences a second they make together, and with how many threads each."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Annotated

import msgspec

from edgekit.bench.latency import Latency, summarize_latency
from edgekit.bench.plan import BenchOptions, Configuration, Subject, configurations, payload, request
from edgekit.bench.samples import Measurement, ProcessSamples
from edgekit.bench.statistics import interval, median
from edgekit.bench.thread_choice import SCREENING, Combination, choose, hopeless, thread_grid
from edgekit.bench.turns import OnProgress, machine_findings, take_turns
from edgekit.documents import Document
from edgekit.entries import FindingEntry
from edgekit.transport import Connection
from edgekit.transport.agent import call, prepare_agent, result

TURNS = 1.2
"""Streams inside ``invoke`` at a time up to which they do not run beside each other."""
Rate = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class StreamsSamples(ProcessSamples, frozen=True, kw_only=True):
    """What one fresh process with several streams measured; ``samples_ns`` is of all of them."""

    streams: Annotated[int, msgspec.Meta(ge=1, le=1_000)]
    rates_per_s: Annotated[tuple[Rate, ...], msgspec.Meta(min_length=1, max_length=100)]
    """Of all streams together by the wall clock, in stretches of equal length."""
    beside: Annotated[float, msgspec.Meta(ge=0, le=1_000)]
    """Streams inside ``invoke`` at a time, while only the runtime can let go of Python's lock."""

    @property
    def rate_per_s(self) -> float:
        """Over the whole time."""
        return sum(self.rates_per_s) / len(self.rates_per_s)


class Throughput(Document, frozen=True, kw_only=True):
    """One number of streams and threads."""

    streams: int
    """Interpreters that run at the same time, as threads of one process."""
    num_threads: int
    """Of each of them."""
    inferences_per_s: float
    """All streams together, by the wall clock; median of the processes."""
    interval: tuple[float, float]
    level: float
    latency_ms: Latency
    """Of one inference while the others run."""
    peak_rss_bytes: int | None
    """The largest of the processes, with Python and the runtime."""
    processes: int
    """Fresh processes; fewer than asked for where it was left out as hopeless after the first ones."""
    beside: float
    """Streams inside ``invoke`` at a time: near ``streams`` where the runtime lets go of Python's lock, else 1."""


class ThroughputReport(Document, frozen=True, kw_only=True):
    """Every combination that was measured, in turns."""

    results: tuple[Throughput, ...]
    best_throughput: int
    """Place in ``results``: the least cores that are not surely slower than the fastest."""
    best_latency: int
    reason: str
    """Why these, in words."""


def measure_throughput(
    subject: Subject,
    connection: Connection,
    options: BenchOptions,
    *,
    streams: Sequence[int] = (1,),
    num_threads: Sequence[int] = (1,),
    on_progress: OnProgress = lambda _done, _total: None,
) -> tuple[ThroughputReport, tuple[FindingEntry, ...]]:
    """Every number of streams with every number of threads, in turns in ``options.processes`` fresh processes each.

    Of ``options``, ``num_runs`` and ``num_threads`` do not count.

    Raises:
        DeviceFaultError: no runtime, a model or delegate that does not run there, an option the device refuses.
        TransportError: connection lost.
    """
    grid = tuple(Combination(streams=count, num_threads=threads) for count, threads in product(streams, num_threads))
    measurement = _measure(subject, connection, options, grid, on_progress)
    return summarize_throughput([measurement])


def tune_threads(
    subject: Subject,
    connection: Connection,
    options: BenchOptions,
    *,
    on_progress: OnProgress = lambda _done, _total: None,
) -> tuple[ThroughputReport, tuple[FindingEntry, ...]]:
    """The best number of threads for the latency, and of streams and threads for the throughput, of this device.

    What is far behind in each of the first rounds is measured no further. Raises as ``measure_throughput`` does.
    """
    grid = thread_grid(_cores(connection, options))
    total = options.processes * len(grid)
    first = msgspec.structs.replace(options, processes=min(SCREENING, options.processes))
    screened = _measure(subject, connection, first, grid, lambda done, _total: on_progress(done, total))
    left = options.processes - first.processes
    kept = tuple(item for item in grid if item not in hopeless(_rounds(screened)))
    if not left:
        return summarize_throughput([screened])
    so_far, total = first.processes * len(grid), first.processes * len(grid) + left * len(kept)
    rest = msgspec.structs.replace(options, processes=left)
    measured = _measure(subject, connection, rest, kept, lambda done, _total: on_progress(so_far + done, total))
    return summarize_throughput([screened, measured])


def summarize_throughput(
    measurements: Sequence[Measurement],
) -> tuple[ThroughputReport, tuple[FindingEntry, ...]]:
    """The report of runs of the same model, one after the other, and what it is worth. Pure."""
    rounds: dict[Combination, list[StreamsSamples]] = {}
    for measurement in measurements:
        for combination, found in _rounds(measurement).items():
            rounds.setdefault(combination, []).extend(found)
    chosen = choose(rounds)
    results = {combination: _result(combination, found) for combination, found in rounds.items()}
    places = list(results)
    report = ThroughputReport(
        results=tuple(results.values()),
        best_throughput=places.index(chosen.throughput),
        best_latency=places.index(chosen.latency),
        reason=chosen.reason,
    )
    everything = msgspec.structs.replace(
        measurements[0],
        processes=tuple(process for item in measurements for process in item.processes),
        after=measurements[-1].after,
    )
    return report, (*machine_findings(everything), *_own_findings(results.values()))


def _measure(
    subject: Subject,
    connection: Connection,
    options: BenchOptions,
    grid: Sequence[Combination],
    on_progress: OnProgress,
) -> Measurement:
    threads = msgspec.structs.replace(options, num_threads=tuple(item.num_threads for item in grid))
    asked: Sequence[Configuration] = configurations(subject, threads, connection.device)
    agent = prepare_agent(connection)
    message = request(asked, options, root=agent.root)
    for entry, item in zip(message["configurations"], grid, strict=True):
        entry["streams"] = item.streams
    return take_turns(agent, "streams", message, payload(asked), StreamsSamples, on_progress)


def _cores(connection: Connection, options: BenchOptions) -> int:
    """CPUs that the processes may use."""
    if options.cpus is not None:
        return len(options.cpus)
    agent = prepare_agent(connection)
    cores = result(call(agent, "info", {"root": agent.root})).get("cores")
    return cores if isinstance(cores, int) and cores > 0 else 1


def _rounds(measurement: Measurement) -> dict[Combination, list[StreamsSamples]]:
    """The processes of each combination in the order they ran."""
    found: dict[Combination, list[StreamsSamples]] = {}
    for process in measurement.processes:
        if isinstance(process, StreamsSamples):
            found.setdefault(Combination(streams=process.streams, num_threads=process.num_threads), []).append(process)
    return found


def _result(combination: Combination, processes: Sequence[StreamsSamples]) -> Throughput:
    rate = median([process.rate_per_s for process in processes])
    held = interval([process.rates_per_s for process in processes])
    peaks = [process.peak_rss_bytes for process in processes if process.peak_rss_bytes is not None]
    return Throughput(
        streams=combination.streams,
        num_threads=combination.num_threads,
        inferences_per_s=rate,
        interval=(min(held.low, rate), max(held.high, rate)),
        level=held.level,
        latency_ms=summarize_latency([process.samples_ns for process in processes]),
        peak_rss_bytes=max(peaks, default=None),
        processes=len(processes),
        beside=median([process.beside for process in processes]),
    )


def _own_findings(results: Iterable[Throughput]) -> Iterator[FindingEntry]:
    for item in results:
        if item.streams > 1 and item.beside < TURNS:
            yield FindingEntry(
                name="streams-take-turns",
                severity="warning",
                message=f"{item.streams} streams take turns: {item.beside:.1f} of them are in the runtime at a time, "
                "because it, or its delegate, keeps Python's lock (GIL) while a model runs.",
                fix="Run the streams as processes of their own, or in a language without such a lock.",
            )
