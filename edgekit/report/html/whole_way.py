"""The whole way of a sample, and several interpreters at once."""

from edgekit.bench.report import BenchmarkReport
from edgekit.bench.stages import Stage, StagesReport
from edgekit.bench.throughput import Throughput, ThroughputReport
from edgekit.report.html.reduce import significant
from edgekit.report.html.view import Bar, Figure, KeyFigure, Panel, Part, Section, Series, Table
from edgekit.report.html.words import level, ms, number, percent, plural, span, span_ms
from edgekit.report.units import mebibytes, milliseconds


def key_figures(report: BenchmarkReport) -> tuple[KeyFigure, ...]:
    """The whole way, and the best throughput."""
    figures = []
    if report.stages is not None:
        whole = next((stage for stage in report.stages.stages if stage.name == "whole"), None)
        if whole is not None:
            note = f"{span_ms(whole.latency_ms.median_interval)}, {level(whole.latency_ms.level)} interval"
            figures.append(KeyFigure(label="Whole way of a sample", value=ms(whole.latency_ms.median), note=note))
    if report.throughput is not None:
        best = report.throughput.results[report.throughput.best_throughput]
        figures.append(
            KeyFigure(
                label="Best throughput, inferences per second", value=number(best.inferences_per_s), note=_setup(best)
            )
        )
    return tuple(figures)


def stages_section(report: BenchmarkReport) -> Section | None:
    """None where it was not measured."""
    stages = report.stages
    if stages is None:
        return None
    parts = [stage for stage in stages.stages if stage.name != "whole"]
    return Section(title="The whole way", pieces=(_bar(parts), _stage_table(stages)))


def _bar(stages: list[Stage]) -> Bar:
    total = sum(stage.latency_ms.median for stage in stages) or 1.0
    parts = tuple(
        Part(
            label=stage.name,
            value=ms(stage.latency_ms.median),
            share=stage.latency_ms.median / total,
            said=percent(stage.share),
        )
        for stage in stages
    )
    return Bar(
        title="Where the time of one sample goes",
        summary="; ".join(f"{part.label} {part.value} ({part.said})" for part in parts) + ".",
        parts=parts,
    )


def _stage_table(stages: StagesReport) -> Table:
    rows = tuple(
        (
            stage.name,
            milliseconds(stage.latency_ms.median),
            span_ms(stage.latency_ms.median_interval),
            milliseconds(stage.latency_ms.p99),
            percent(stage.share),
        )
        for stage in stages.stages
    )
    heads = ("stage", "median, ms", "interval", "99th percentile, ms", "share")
    return Table(caption=f"Stages of {stages.sample}", heads=heads, rows=rows)


def throughput_section(report: BenchmarkReport) -> Section | None:
    """None where it was not measured."""
    found = report.throughput
    if found is None:
        return None
    return Section(title="Streams and threads", text=(found.reason,), pieces=(_throughput_figure(found),))


def _setup(item: Throughput) -> str:
    return f"{plural(item.streams, 'stream')} of {plural(item.num_threads, 'thread')}"


def _throughput_figure(found: ThroughputReport) -> Figure:
    results = found.results
    best = results[found.best_throughput]
    x = tuple(map(float, range(len(results))))
    names = tuple(f"{item.streams} × {item.num_threads}" for item in results)
    rates = Series(
        label="inferences per second",
        kind="points",
        values=tuple(significant(item.inferences_per_s) for item in results),
        low=tuple(significant(item.interval[0]) for item in results),
        high=tuple(significant(item.interval[1]) for item in results),
    )
    latencies = Series(
        label="median latency",
        kind="points",
        colour=1,
        values=tuple(significant(item.latency_ms.median) for item in results),
        low=tuple(significant(item.latency_ms.median_interval[0]) for item in results),
        high=tuple(significant(item.latency_ms.median_interval[1]) for item in results),
    )
    label = "streams × threads"
    return Figure(
        title="Throughput and latency by streams and threads",
        summary=f"Best throughput: {_setup(best)} with {number(best.inferences_per_s)} inferences a second.",
        panels=(
            Panel(
                x_label=label, y_label="inferences per second", x=x, x_names=names, series=(rates,), y_from_zero=True
            ),
            Panel(
                x_label=label, y_label="latency of one, ms", x=x, x_names=names, series=(latencies,), y_from_zero=True
            ),
        ),
        data=_throughput_table(found),
    )


def _throughput_table(found: ThroughputReport) -> Table:
    rows = tuple(
        (
            _setup(item),
            f"{number(item.inferences_per_s)} ({span(item.interval, '', digits=4).strip()})",
            milliseconds(item.latency_ms.median),
            milliseconds(item.latency_ms.p99),
            mebibytes(item.peak_rss_bytes),
        )
        for item in found.results
    )
    heads = ("setup", "inferences per second", "median, ms", "99th percentile, ms", "peak RSS, MiB")
    return Table(caption="Every combination", heads=heads, rows=rows)
