"""The samples of fresh processes -> latency with its interval, and memory. Pure."""

from collections.abc import Sequence
from typing import Literal

from edgekit.bench.samples import Measurement, ProcessSamples
from edgekit.bench.statistics import estimate, interval, percentile
from edgekit.documents import Document

NS_PER_MS = 1e6


class Latency(Document, frozen=True, kw_only=True):
    """Milliseconds of one inference."""

    median: float
    """Median of the processes' medians."""
    p90: float
    """Of all samples together, as p95, p99, min and mean."""
    p95: float
    p99: float
    min: float
    mean: float
    median_interval: tuple[float, float]
    """Interval of the long-run median."""
    level: float
    """Chance that ``median_interval`` holds it; small where there are few processes."""
    basis: Literal["over processes", "within this process"]
    """``over processes``: holds for the next run. ``within this process``: another process may differ more."""


class Result(Document, frozen=True, kw_only=True):
    """One thread count."""

    num_threads: int
    num_runs: int
    """Timed inferences, over all processes."""
    latency_ms: Latency
    throughput_per_s: float
    """Inferences per second of inference time, one after the other."""
    load_ms: float
    """Median over the processes, as ``first_ms``."""
    first_ms: float
    peak_rss_bytes: int | None
    """The largest of the processes; with Python and the runtime."""
    rss_before_load_bytes: int | None
    """Python, numpy and the runtime alone, in that process."""
    processes: tuple[ProcessSamples, ...]
    """The raw samples."""


def group_processes(measurement: Measurement, count: int) -> list[list[ProcessSamples]]:
    """The processes of each of ``count`` configurations, in the order they ran."""
    return [[item for item in measurement.processes if item.configuration == place] for place in range(count)]


def summarize_latency(groups: Sequence[Sequence[int]]) -> Latency:
    """``groups``: the durations of each process in ns, in the order they were taken."""
    pooled = sorted(sample for group in groups for sample in group)
    held = interval(groups)
    return Latency(
        median=estimate(groups) / NS_PER_MS,
        p90=percentile(pooled, 90) / NS_PER_MS,
        p95=percentile(pooled, 95) / NS_PER_MS,
        p99=percentile(pooled, 99) / NS_PER_MS,
        min=pooled[0] / NS_PER_MS,
        mean=sum(pooled) / len(pooled) / NS_PER_MS,
        median_interval=(held.low / NS_PER_MS, held.high / NS_PER_MS),
        level=held.level,
        basis="over processes" if len(groups) > 1 else "within this process",
    )


def summarize_processes(processes: Sequence[ProcessSamples]) -> Result:
    """The numbers of one configuration."""
    groups = [item.samples_ns for item in processes]
    num_runs, total_ns = sum(map(len, groups)), sum(map(sum, groups))
    largest = max(processes, key=lambda item: item.peak_rss_bytes or 0)
    return Result(
        num_threads=processes[0].num_threads,
        num_runs=num_runs,
        latency_ms=summarize_latency(groups),
        throughput_per_s=1e9 * num_runs / max(1, total_ns),
        load_ms=estimate([[item.load_ms] for item in processes]),
        first_ms=estimate([[item.first_ms] for item in processes]),
        peak_rss_bytes=largest.peak_rss_bytes,
        rss_before_load_bytes=largest.rss_before_load_bytes,
        processes=tuple(processes),
    )
