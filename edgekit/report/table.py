"""A benchmark on a terminal."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgekit.agent.sensors.thermal import find_hottest
from edgekit.bench.heat.throttling import explain
from edgekit.bench.latency import Result
from edgekit.bench.report import BenchmarkReport
from edgekit.bench.samples import MachineState
from edgekit.report.coverage import coverage_table
from edgekit.report.power import battery_table, energy_table
from edgekit.report.profile import MOST, profile_table
from edgekit.report.stages import stages_table
from edgekit.report.sustained import sustained_table
from edgekit.report.throughput import throughput_table
from edgekit.report.units import mebibytes, milliseconds

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_report(report: BenchmarkReport, console: "Console", *, every_op: bool = False) -> None:
    """What was measured on what, the table, and what the machine was doing.

    every_op: of a profile, not only those that take longest.
    """
    from rich.markup import escape

    facts = report.machine
    board = facts.board or facts.cpu or facts.architecture
    cores = "" if facts.cores is None else f", {facts.cores} cores"
    digest = report.artifact_digest or report.model_sha256
    kind = "artifact" if report.artifact_digest else "sha256"
    console.print(f"[bold]{escape(report.model)}[/] on [bold]{escape(report.device)}[/] ({kind} {digest[:12]})")
    console.print(escape(f"{board}{cores}, {report.runtime.name} {report.runtime.version}, {report.delegate}"))
    console.print(latency_table(report))
    for table in _parts(report, every_op=every_op):
        console.print(table)
    for when, state in (("before", report.before), ("after", report.after)):
        console.print(escape(f"{when}: {_state(state)}"), style="dim")


def _parts(report: BenchmarkReport, *, every_op: bool) -> "Iterator[Table]":
    """What was asked for beside latency and memory."""
    if report.coverage is not None:
        yield coverage_table(report.coverage)
    if report.profile is not None:
        yield profile_table(report.profile, most=None if every_op else MOST)
    if report.stages is not None:
        yield stages_table(report.stages)
    if report.throughput is not None:
        yield throughput_table(report.throughput)
    if report.energy is not None:
        yield energy_table(report.energy)
    if report.sustained is not None:
        yield sustained_table(report.sustained)
    if report.battery is not None:
        yield battery_table(report.battery)


def latency_table(report: BenchmarkReport) -> "Table":
    """One column for each thread count; what is measured and its unit in the first."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for result in report.results:
        table.add_column(f"{result.num_threads} thread{'s' * (result.num_threads > 1)}", justify="right")
    for row in zip(*map(_column, report.results), strict=True):
        table.add_row(row[0][0], *(cell for _, cell in row))
    return table


def _column(result: Result) -> list[tuple[str, str]]:
    latency = result.latency_ms
    low, high = latency.median_interval
    count = len(result.processes)
    basis = f"over {count} processes" if count > 1 else "within this process"
    return [
        ("median, ms", f"[bold]{milliseconds(latency.median)}[/]"),
        (f"  {100 * latency.level:.0f} % interval {basis}", f"{milliseconds(low)} to {milliseconds(high)}"),
        ("p90, ms", milliseconds(latency.p90)),
        ("p95, ms", milliseconds(latency.p95)),
        ("p99, ms", milliseconds(latency.p99)),
        ("min, ms", milliseconds(latency.min)),
        ("inferences per second", f"{result.throughput_per_s:.1f}"),
        ("load, ms", milliseconds(result.load_ms)),
        ("first inference, ms", milliseconds(result.first_ms)),
        ("peak RSS, MiB", mebibytes(result.peak_rss_bytes)),
        ("  of that before the model was loaded", mebibytes(result.rss_before_load_bytes)),
        ("inferences timed", str(result.num_runs)),
    ]


def _state(state: MachineState) -> str:
    clocks = sorted({policy.khz for policy in state.policies if policy.khz is not None})
    governors = sorted({policy.governor for policy in state.policies if policy.governor is not None})
    heat = find_hottest(state.temperatures_c)
    firmware = state.firmware_throttle
    facts = [
        "clock " + (" ".join(f"{khz / 1000:.0f}" for khz in clocks) + " MHz" if clocks else "unknown"),
        "governor " + (" ".join(governors) or "unknown"),
        "temperature " + ("unknown" if heat is None else f"{heat[1]:.1f} C ({heat[0]})"),
        "throttling " + ("unknown" if firmware is None else "; ".join(map(str, explain(firmware.now))) or "none"),
    ]
    return ", ".join(facts)
