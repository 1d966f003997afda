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

    level = report.results[0].level
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=escape(report.reason), caption_justify="left")
    for name in (
        "streams", "threads", "inferences/s", f"{100 * level:.0f} % interval", "median, ms", "p99, ms", "peak RSS, MiB",
    ):  # fmt: skip
        table.add_column(name, justify="right", overflow="fold")  # on two lines rather than cut
    table.add_column("best for", overflow="fold")
    for place, item in enumerate(report.results):
        purposes = (("throughput", report.best_throughput), ("latency", report.best_latency))
        best = ", ".join(name for name, where in purposes if where == place)
        table.add_row(*_cells(item, level), best, style="bold" if best else None)
    return table


def _cells(item: Throughput, level: float) -> list[str]:
    low, high = item.interval
    other = "" if item.level == level else f" ({100 * item.level:.0f} %)"
    return [
        str(item.streams),
        str(item.num_threads),
        f"{item.inferences_per_s:.1f}",
        f"{low:.1f} to {high:.1f}{other}",
        milliseconds(item.latency_ms.median),
        milliseconds(item.latency_ms.p99),
        mebibytes(item.peak_rss_bytes),
    ]
