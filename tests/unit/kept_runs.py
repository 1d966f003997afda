"""Reports of ``edgekit bench`` and ``edgekit compare`` with chosen latencies, from a recorded run of the agent."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgekit.bench.plan import BenchOptions, Configuration, Subject
from edgekit.bench.report import BenchmarkReport, summarize
from edgekit.bench.samples import Measurement, ProcessSamples, collect
from edgekit.bench.versus.comparison import ComparedModel, Comparison, ComparisonReport
from edgekit.entries import FileEntry, FindingEntry

RECORDED = Path(__file__).parent / "data" / "agent_bench.jsonl"
INVALID = FindingEntry(name="clock-jumped", severity="error", message="Its clock was set.", fix="Wait.")


def measurement() -> Measurement:
    lines = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    return collect(lines, device="garage", processes=2, num_threads=(1, 2))


def bench_report(
    ms: float = 1.0,
    *,
    threads: Sequence[int] = (1,),
    processes: int = 5,
    spread: float = 0.002,
    digest: str = "5" * 64,
    **changes: Any,
) -> BenchmarkReport:
    """Processes with medians of ``ms``, give or take ``spread``, halved for each thread more."""
    found = measurement()
    samples = tuple(
        _process(found.processes[0], place, process, count, ms / count * (1 + spread * (process % 3 - 1)))
        for process in range(processes)
        for place, count in enumerate(threads)
    )
    entry = FileEntry(sha256=digest, bytes=2704)
    subject = Subject(
        name="kws", model=Path("kws.tflite"), entry=entry, inputs={}, artifact_digest=None, delegate="xnnpack"
    )
    asked = [Configuration(subject=subject, delegate="xnnpack", num_threads=count) for count in threads]
    options = BenchOptions(processes=processes, num_threads=tuple(threads))
    full = msgspec.structs.replace(found, processes=samples)
    report = summarize(full, asked, options=options, device="garage")
    machine = msgspec.structs.replace(report.machine, emulated=None, kernel="6.6.31", python="3.11.2")
    report = msgspec.structs.replace(report, machine=machine, findings=())
    return msgspec.structs.replace(report, **changes)


def _process(like: ProcessSamples, place: int, process: int, threads: int, ms: float) -> ProcessSamples:
    nanoseconds = round(ms * 1e6)
    return msgspec.structs.replace(
        like, configuration=place, process=process, num_threads=threads, samples_ns=(nanoseconds,) * 20
    )


def comparison_report(**changes: Any) -> ComparisonReport:
    report = bench_report()
    models = [
        ComparedModel(
            name=name, model_sha256=digit * 64, artifact_digest=None, delegate="xnnpack", num_threads=1,
            median_ms=ms, rounds_ms=(ms,) * 20,
        )
        for name, digit, ms in (("old", "0", 1.0), ("new", "1", 1.05))
    ]  # fmt: skip
    comparison = Comparison(
        baseline="old", candidate="new", verdict="slower", effect=0.05, interval=(0.04, 0.06), level=0.95,
        needed_rounds=None,
    )  # fmt: skip
    made = ComparisonReport(
        device="garage", machine=report.machine, runtime=report.runtime, options=report.options, margin=0.01,
        rounds=20, models=tuple(models), comparisons=(comparison,), findings=(), before=report.before,
        after=report.after,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)
