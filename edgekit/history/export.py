"""Kept runs as CSV (one row a result), as JSON (the records), and as Markdown for a pull request. Pure."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from edgekit.bench.latency import Result
from edgekit.bench.report import BenchmarkReport
from edgekit.bench.versus.comparison import Comparison, ComparisonReport
from edgekit.bench.versus.gate import decide, describe, gate_run
from edgekit.errors import EdgekitError
from edgekit.history.record import RunRecord
from edgekit.report.plain import plain, spreadsheet_text
from edgekit.report.units import mebibytes, milliseconds

COLUMNS = (
    "id", "created", "kind", "edgekit_version", "project_commit", "note", "valid",
    "device", "board", "cpu", "runtime", "runtime_version",
    "model", "model_sha256", "artifact_digest", "delegate", "num_threads",
    "processes", "num_runs", "median_ms", "median_low_ms", "median_high_ms", "level",
    "p90_ms", "p95_ms", "p99_ms", "min_ms", "mean_ms", "throughput_per_s", "load_ms", "first_ms",
    "peak_rss_bytes", "rss_before_load_bytes",
    "energy_per_inference_mj", "energy_low_mj", "energy_high_mj",
    "baseline", "verdict", "effect", "effect_low", "effect_high",
)  # fmt: skip
"""Of the CSV; units are in the names, empty is not known. docs/runs.md explains each."""


def to_json(records: Sequence[RunRecord]) -> str:
    """``{"schema_version": 1, "runs": [...]}``; with one run in it, what every REF takes as a path."""
    document = {"schema_version": 1, "runs": records}
    return msgspec.json.format(msgspec.json.encode(document, order="deterministic")).decode() + "\n"


def to_csv(records: Sequence[RunRecord]) -> str:
    """A row for each number of threads of a benchmark, and for each model of a comparison."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=COLUMNS, lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in _rows(record))
    return text.getvalue()


def _rows(record: RunRecord) -> Iterator[dict[str, Any]]:
    report = record.report
    shared = {
        **{name: getattr(record, name) for name in COLUMNS[:6]},
        "valid": record.valid,
        "device": report.device,
        "board": report.machine.board,
        "cpu": report.machine.cpu,
        "runtime": report.runtime.name,
        "runtime_version": report.runtime.version,
    }
    rows = _results(report) if isinstance(report, BenchmarkReport) else _models(report)
    for row in rows:
        yield {**shared, **row}


def _results(report: BenchmarkReport) -> Iterator[dict[str, Any]]:
    for place, result in enumerate(report.results):
        latency, own = result.latency_ms, result
        yield {
            **{name: getattr(report, name) for name in ("model", "model_sha256", "artifact_digest", "delegate")},
            "num_threads": own.num_threads,
            "processes": len(own.processes),
            "median_ms": latency.median,
            "median_low_ms": latency.median_interval[0],
            "median_high_ms": latency.median_interval[1],
            "level": latency.level,
            **{f"{name}_ms": getattr(latency, name) for name in ("p90", "p95", "p99", "min", "mean")},
            **{name: getattr(own, name) for name in ("num_runs", "throughput_per_s", "load_ms", "first_ms")},
            **{name: getattr(own, name) for name in ("peak_rss_bytes", "rss_before_load_bytes")},
            **(_energy(report) if place == 0 else {}),
        }


def _energy(report: BenchmarkReport) -> dict[str, Any]:
    """Energy is measured with the first number of threads."""
    if report.energy is None:
        return {}
    low, high = report.energy.interval_mj or (None, None)
    return {
        "energy_per_inference_mj": report.energy.energy_per_inference_mj,
        "energy_low_mj": low,
        "energy_high_mj": high,
    }


def _models(report: ComparisonReport) -> Iterator[dict[str, Any]]:
    for place, model in enumerate(report.models):
        held = _effect(report.comparisons[place - 1]) if place else {}
        names = ("model_sha256", "artifact_digest", "delegate", "num_threads", "median_ms")
        yield {
            "model": model.name,
            **{name: getattr(model, name) for name in names},
            "processes": len(model.rounds_ms),
            **held,
        }


def _effect(item: Comparison) -> dict[str, Any]:
    low, high = item.interval
    return {
        "baseline": item.baseline,
        "verdict": item.verdict,
        "effect": item.effect,
        "effect_low": low,
        "effect_high": high,
        "level": item.level,
    }


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return spreadsheet_text(value)
    return msgspec.to_builtins(value)


def to_markdown(records: Sequence[RunRecord], *, max_regression: float) -> str:
    """Tables for a comment: the benchmarks, each held against the first; then every comparison; then the findings."""
    benches = [record for record in records if record.bench is not None]
    parts = [*(_bench_table(benches, max_regression) if benches else ())]
    for record in records:
        if record.comparison is not None:
            parts += ["", *_comparison_table(record, record.comparison)]
    found = [
        f"- **{finding.severity}** {_text(finding.name)} ({_text(record.id)}): {_text(finding.message)}"
        for record in records
        for finding in record.report.findings
        if finding.severity != "info"
    ]
    return "\n".join([*parts, *([""] if found else []), *found]).lstrip("\n") + "\n"


def _bench_table(records: Sequence[RunRecord], max_regression: float) -> list[str]:
    against = len(records) > 1
    heads = ["run", "model", "device", "threads", "median, ms", "interval", "p99, ms", "energy, mJ", "peak RSS, MiB"]
    rows = []
    for record in records:
        report = record.report
        assert isinstance(report, BenchmarkReport)  # noqa: S101 - the caller chose these
        changes = _changes(record, records[0], max_regression) if against else {}
        for place, result in enumerate(report.results):
            cells = _bench_cells(record, report, result, energy=place == 0)
            rows.append([*cells, *([changes.get(result.num_threads, "not in the baseline")] if against else [])])
    return _table([*heads, *(["change"] if against else [])], rows, left=3)


def _bench_cells(record: RunRecord, report: BenchmarkReport, result: Result, *, energy: bool) -> list[str]:
    latency = result.latency_ms
    low, high = latency.median_interval
    used = report.energy.energy_per_inference_mj if energy and report.energy is not None else None
    return [
        _text(record.id) + ("" if record.valid else " (invalid)"),
        _text(report.model),
        _text(report.device),
        str(result.num_threads),
        milliseconds(latency.median),
        f"{milliseconds(low)} to {milliseconds(high)} ({100 * latency.level:.0f} %)",
        milliseconds(latency.p99),
        "" if used is None else f"{used:.4g}",
        mebibytes(result.peak_rss_bytes),
    ]


def _changes(record: RunRecord, first: RunRecord, max_regression: float) -> dict[int, str]:
    """Number of threads -> change against the first run, or why there is none."""
    report, baseline = record.report, first.report
    assert isinstance(report, BenchmarkReport)  # noqa: S101 - the caller chose these
    assert isinstance(baseline, BenchmarkReport)  # noqa: S101
    if record is first:
        return dict.fromkeys((result.num_threads for result in report.results), "baseline")
    try:
        gate = gate_run(report, baseline, name=first.id, max_regression=max_regression)
    except EdgekitError as err:
        return dict.fromkeys((result.num_threads for result in report.results), _text(err.message))
    words = {"kept": f"within {100 * max_regression:g} %", "exceeded": "**slower**", "open": "inconclusive"}
    return {
        threads: f"{line.partition(': ')[2]}, {words[decide(item, max_regression)]}"
        for threads, item, line in zip(gate.num_threads, gate.comparisons, describe(gate), strict=True)
    }


def _comparison_table(record: RunRecord, report: ComparisonReport) -> list[str]:
    heads = ["model", "threads", "median, ms", "change", "interval", "verdict"]
    rows = []
    for place, model in enumerate(report.models):
        cells = [_text(model.name), str(model.num_threads), milliseconds(model.median_ms)]
        if place:
            item = report.comparisons[place - 1]
            low, high = (f"{100 * bound:+.1f} %" for bound in item.interval)
            cells += [f"{100 * item.effect:+.1f} %", f"{low} to {high}", item.verdict]
        else:
            cells += ["baseline", "", ""]
        rows.append(cells)
    where = f"{_text(record.id)}: {report.rounds} rounds on {_text(report.device)}, margin {100 * report.margin:g} %"
    return [where + ("" if record.valid else " (invalid)"), "", *_table(heads, rows, left=1)]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """A GitHub-flavoured table; the first ``left`` columns are text, the others figures."""
    rule = ["---" if place < left else "---:" for place in range(len(heads))]
    return ["| " + " | ".join(cells) + " |" for cells in (heads, rule, *rows)]


def _text(text: str) -> str:
    """Text that stays text: no markup, no HTML, no mention of a person or an issue."""
    line = re.sub(r"\s+", " ", plain(text))
    return re.sub(r"[&<>\"@#`|*~\[\]\\]|\b_|_\b", lambda found: f"&#{ord(found.group())};", line)
