"""Streams and threads on a terminal."""

from typing import TYPE_CHECKING

from edgekit.bench.throughput import Throughput, ThroughputReport
from edgekit.report.units import mebibytes, milliseconds

if TYPE_CHECKING:
    from rich.table import Table


def throughput_table(report: ThroughputReport) -> "Table":
    """One row for each combination, the best ones marked; the reason below."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=escape(report.reason), caption_justify="left")
    for name in ("streams", "threads", "inferences per second", "interval", "median, ms", "p99, ms", "peak RSS, MiB"):
        table.add_column(name, justify="right")
    table.add_column("processes", justify="right")
    table.add_column("")
    for place, item in enumerate(report.results):
        best = [
            name
            for name, where in (("throughput", report.best_throughput), ("latency", report.best_latency))
            if where == place
        ]
        table.add_row(*_cells(item), f"best {' and '.join(best)}" if best else "", style="bold" if best else None)
    return table


def _cells(item: Throughput) -> list[str]:
    low, high = item.interval
    return [
        str(item.streams),
        str(item.num_threads),
        f"{item.inferences_per_s:.1f}",
        f"{low:.1f} to {high:.1f} ({100 * item.level:.0f} %)",
        milliseconds(item.latency_ms.median),
        milliseconds(item.latency_ms.p99),
        mebibytes(item.peak_rss_bytes),
        str(item.processes),
    ]
