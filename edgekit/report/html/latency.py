"""Latency of single inferences: the numbers, their distribution, and each process."""

from collections.abc import Sequence

from edgekit.bench.latency import NS_PER_MS, Result
from edgekit.bench.report import BenchmarkReport
from edgekit.bench.statistics import block_medians, median
from edgekit.report.html.reduce import Bins, choose_bins, shares, significant
from edgekit.report.html.view import Figure, KeyFigure, Panel, Section, Series, Table
from edgekit.report.html.words import level, ms, number, plural, span_ms
from edgekit.report.units import mebibytes, milliseconds


def key_figures(report: BenchmarkReport) -> tuple[KeyFigure, ...]:
    """Of the thread count with the smallest median."""
    best = min(report.results, key=lambda result: result.latency_ms.median)
    latency, threads = best.latency_ms, plural(best.num_threads, "thread")
    held = f"{span_ms(latency.median_interval)}, {level(latency.level)} interval {_basis(best)}"
    memory = "of the device's memory, with Python and the runtime"
    return (
        KeyFigure(label=f"Median latency, {threads}", value=ms(latency.median), note=held),
        KeyFigure(label="99th percentile", value=ms(latency.p99), note=f"{best.num_runs} inferences, {threads}"),
        KeyFigure(
            label="Inferences per second",
            value=number(best.throughput_per_s),
            note=f"one after the other, {threads}",
        ),
        KeyFigure(
            label="Peak memory",
            value="unknown" if best.peak_rss_bytes is None else f"{mebibytes(best.peak_rss_bytes)} MiB",
            note="the device does not tell" if best.peak_rss_bytes is None else memory,
        ),
    )


def section(report: BenchmarkReport) -> Section:
    """The table, the histogram and the processes of every thread count."""
    return Section(
        title="Latency",
        pieces=(
            histogram([(plural(item.num_threads, "thread"), item) for item in report.results]),
            _processes(report),
            _table(report.results),
        ),
    )


def histogram(named: Sequence[tuple[str, Result]]) -> Figure:
    """How often an inference took how long, over all processes; the bins are shared."""
    groups = [(name, samples_ms(result)) for name, result in named]
    bins = choose_bins([values for _, values in groups])
    columns = [shares(values, bins) for _, values in groups]
    series = tuple(
        Series(label=name, values=(*map(significant, column), 0.0), kind="steps", colour=place)
        for place, ((name, _), column) in enumerate(zip(groups, columns, strict=True))
    )
    return Figure(
        title="How long an inference takes",
        summary=" ".join(_described(name, result) for name, result in named),
        panels=(
            Panel(
                x_label="latency, ms" + (" (logarithmic)" if bins.log else ""),
                y_label="share of inferences, %",
                x=tuple(significant(edge) or 0.0 for edge in bins.edges),
                series=series,
                x_log=bins.log,
                y_from_zero=True,
            ),
        ),
        data=_bin_table([name for name, _ in groups], columns, bins),
    )


def samples_ms(result: Result) -> list[float]:
    """Every timed inference, over all processes."""
    return [sample / NS_PER_MS for process in result.processes for sample in process.samples_ns]


def _basis(result: Result) -> str:
    count = len(result.processes)
    return f"over {count} processes" if count > 1 else "within this one process"


def _described(name: str, result: Result) -> str:
    latency = result.latency_ms
    return (
        f"{name}: half of {result.num_runs} inferences took at most {ms(latency.median)}, 99 % at most "
        f"{ms(latency.p99)}; the fastest took {ms(latency.min)}."
    )


def _bin_table(names: Sequence[str], columns: Sequence[Sequence[float]], bins: Bins) -> Table:
    rows = [
        (
            f"{milliseconds(bins.edges[place])} to {milliseconds(bins.edges[place + 1])}",
            *(f"{share:.2f}" for share in row),
        )
        for place, row in enumerate(zip(*columns, strict=True))
        if any(row)
    ]
    return Table(caption="Share of inferences, %", heads=("latency, ms", *names), rows=tuple(rows))


def _processes(report: BenchmarkReport) -> Figure:
    """How far the median of each fresh process, and the range of the medians of its ten blocks, is from the middle."""
    most = max(len(result.processes) for result in report.results)
    drawn = [_deviations(result) for result in report.results]
    names = [plural(result.num_threads, "thread") for result in report.results]
    series = tuple(
        Series(label=name, kind="points", colour=place, values=_column(rows, 0, most), low=_column(rows, 1, most),
               high=_column(rows, 2, most))
        for place, (name, rows) in enumerate(zip(names, drawn, strict=True))
    )  # fmt: skip
    data = tuple(
        (f"{name}, process {number_ + 1}", *(f"{value:+.2f}" for value in row))
        for name, rows in zip(names, drawn, strict=True)
        for number_, row in enumerate(rows)
    )
    return Figure(
        title="Each fresh process",
        summary=(
            "How far the median of each process is from the median of all; its line is the range of the medians of ten "
            "stretches of it. Because processes differ, the interval is taken over them."
        ),
        panels=(
            Panel(
                x_label="process",
                y_label="difference from the median, %",
                x=tuple(map(float, range(most))),
                x_names=tuple(str(place + 1) for place in range(most)),
                series=series,
            ),
        ),
        data=Table(
            caption="Difference from the median of the processes, %",
            heads=("process", "median", "lowest block", "highest block"),
            rows=data,
        ),
    )


def _deviations(result: Result) -> list[tuple[float, float, float]]:
    """Of each process: its median, its lowest and its highest block, per cent from the estimate."""
    middle = max(1.0, result.latency_ms.median * NS_PER_MS)
    rows = []
    for process in result.processes:
        blocks = block_medians(process.samples_ns)
        values = (median(process.samples_ns), min(blocks), max(blocks))
        rows.append(tuple(100 * (value / middle - 1) for value in values))
    return rows  # type: ignore[return-value]


def _column(rows: Sequence[Sequence[float]], place: int, count: int) -> tuple[float | None, ...]:
    return (*(significant(row[place]) for row in rows), *(None,) * (count - len(rows)))


def _table(results: Sequence[Result]) -> Table:
    cells = []
    for result in results:
        latency = result.latency_ms
        low, high = latency.median_interval
        cells.append((
            ("median, ms", milliseconds(latency.median)),
            (f"{level(latency.level)} interval, ms", f"{milliseconds(low)} to {milliseconds(high)}"),
            ("90th percentile, ms", milliseconds(latency.p90)),
            ("95th percentile, ms", milliseconds(latency.p95)),
            ("99th percentile, ms", milliseconds(latency.p99)),
            ("fastest, ms", milliseconds(latency.min)),
            ("inferences per second", number(result.throughput_per_s)),
            ("load, ms", milliseconds(result.load_ms)),
            ("first inference, ms", milliseconds(result.first_ms)),
            ("peak RSS, MiB", mebibytes(result.peak_rss_bytes)),
            ("of that before the model, MiB", mebibytes(result.rss_before_load_bytes)),
            ("processes", str(len(result.processes))),
            ("inferences timed", str(result.num_runs)),
        ))  # fmt: skip
    rows = tuple((row[0][0], *(text for _, text in row)) for row in zip(*cells, strict=True))
    return Table(
        caption="Latency and memory by number of threads",
        heads=("", *(plural(result.num_threads, "thread") for result in results)),
        rows=rows,
    )
