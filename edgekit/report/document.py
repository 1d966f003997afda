"""A benchmark as one JSON document."""

from typing import Any

import msgspec

from edgekit.bench.report import BenchmarkReport
from edgekit.bench.versus.comparison import ComparisonReport

FIRST = ("latency_ms", "peak_rss_bytes", "num_runs", "throughput_per_s")
"""Copied from the first of ``results`` to the top level, for whoever measures one thread count."""


def document(report: BenchmarkReport) -> dict[str, Any]:
    """The report's fields, ``valid``, and the numbers of its first thread count at the top level."""
    fields: dict[str, Any] = msgspec.to_builtins(report)
    first = fields["results"][0]
    return {**{name: first[name] for name in FIRST}, "valid": report.valid, **fields}


def comparison_document(report: ComparisonReport) -> dict[str, Any]:
    """The report's fields, and ``valid``."""
    return {"valid": report.valid, **msgspec.to_builtins(report)}
