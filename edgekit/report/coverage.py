"""What a delegate did, on a terminal."""

from typing import TYPE_CHECKING

from edgekit.bench.coverage import NONE, CoverageReport, TimeShare
from edgekit.report.units import milliseconds

if TYPE_CHECKING:
    from rich.table import Table


def coverage_table(report: CoverageReport) -> "Table":
    """A fact a line; what the CPU kept is named op by op, counted."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=escape(describe(report)), caption_justify="left")
    table.add_column("delegate", no_wrap=True)
    table.add_column(escape(report.delegate), overflow="fold")
    for label, value in facts(report):
        table.add_row(label, escape(value))
    return table


def facts(report: CoverageReport) -> list[tuple[str, str]]:
    """Name and value, for a terminal and for a page."""
    rows = []
    if report.fallback is not None:
        rows.append(("instead of", f"{report.fallback.delegate}: {report.fallback.reason}"))
    if report.library is not None:
        rows += _library(report)
    rows.append(("ops taken", f"{report.taken_ops} of {report.ops} ({100 * report.by_ops:.1f} %)"))
    if report.by_macs is not None:
        rows.append(("multiply-accumulates taken", f"{100 * report.by_macs:.1f} %"))
    rows.append(("partitions", str(report.partitions)))
    rows.append(("transfers", _transfers(report)))
    rows.append(("others", left(report) or "none"))
    if report.time is not None:
        rows += _time(report.time)
    return rows


def describe(report: CoverageReport) -> str:
    """How it was found out."""
    how = {
        "node by node": "by a run in which every op that is taken has a node of its own",
        "walked back": "from what the delegate's nodes read and write",
    }[report.route]
    return f"Told by {report.placement.told_by}, {how}."


def left(report: CoverageReport) -> str:
    """What the delegate did not take: ``xnnpack 3 (2 SIN, 1 CEIL)``."""
    own = {partition for partition in report.placement.counts if partition.endswith(_name(report))}
    by: dict[str, dict[str, int]] = {}
    for op in report.placement.ops:
        if op.processor not in own:
            kinds = by.setdefault(op.processor, {})
            kinds[op.op] = kinds.get(op.op, 0) + 1
    return "; ".join(
        f"{where} {sum(kinds.values())} ({', '.join(f'{count} {kind}' for kind, count in kinds.items())})"
        for where, kinds in by.items()
    )


def _name(report: CoverageReport) -> str:
    return report.delegate.rpartition("/")[2]


def _library(report: CoverageReport) -> list[tuple[str, str]]:
    library = report.library
    assert library is not None  # noqa: S101 - asked before
    rows = [("library", library.path or "not told")]
    if library.sha256 is not None and library.bytes is not None:
        rows.append(("  sha256", f"{library.sha256[:12]}, {library.bytes:,} bytes"))
    if library.version is not None:
        rows.append(("  version", library.version))
    if report.delegate_options:
        rows.append(
            ("  options", ", ".join(f"{key}={value}" for key, value in sorted(report.delegate_options.items())))
        )
    return rows


def _transfers(report: CoverageReport) -> str:
    transfers = report.placement.transfers
    known = [item.bytes for item in transfers if item.bytes is not None]
    size = f", {sum(known):,} bytes" if transfers and len(known) == len(transfers) else ""
    return f"{len(transfers)}{size}"


def _time(time: TimeShare) -> list[tuple[str, str]]:
    low, high = time.interval
    return [
        ("median with it, ms", milliseconds(time.delegate_ms)),
        (f"  with {_plain(time.without)}, ms", milliseconds(time.without_ms)),
        ("time that went away", f"{100 * time.gone:.1f} % ({time.verdict})"),
        (f"  {100 * time.level:.0f} % interval over {time.rounds} rounds", f"{100 * low:.1f} % to {100 * high:.1f} %"),
    ]


def _plain(delegate: str) -> str:
    return "the plain kernels" if delegate == NONE else delegate
