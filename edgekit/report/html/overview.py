"""Several benchmarks side by side: the changes against the first, and the same figures of all of them."""

from collections.abc import Sequence

from edgekit.bench.latency import Result
from edgekit.bench.report import BenchmarkReport
from edgekit.bench.versus.comparison import compare_runs
from edgekit.report.html.latency import histogram
from edgekit.report.html.timeline import latency_panel
from edgekit.report.html.view import Figure, Section, Table
from edgekit.report.html.words import number, percent, plural, when
from edgekit.report.units import mebibytes, milliseconds

MOST_LINES = 5
"""Of one figure: as many as there are colours that are told apart."""


def write_overview(reports: Sequence[BenchmarkReport]) -> Section:
    """Of the first thread count of each."""
    named = _named(reports)
    figures = [histogram([(name, report.results[0]) for name, report in named[:MOST_LINES]])]
    if len([report for _, report in named if "sustained" in report.recordings]) > 1:
        figures.append(_timelines(named))
    text = [
        "Changes are against the first run. The runs did not take turns: edgekit compare tells smaller differences."
    ]
    if len(named) > MOST_LINES:
        text.append(f"The figures show the first {MOST_LINES} of {len(named)} runs.")
    return Section(title="Side by side", text=tuple(text), pieces=(side_by_side(reports), *figures))


def _named(reports: Sequence[BenchmarkReport]) -> list[tuple[str, BenchmarkReport]]:
    return [(f"{place + 1}. {report.model} on {report.device}", report) for place, report in enumerate(reports)]


def side_by_side(reports: Sequence[BenchmarkReport]) -> Table:
    """A row for each run, with its change against the first."""
    first = reports[0]
    rows = []
    for name, report in _named(reports):
        result = report.results[0]
        latency = result.latency_ms
        low, high = latency.median_interval
        rows.append(
            (
                name,
                f"{milliseconds(latency.median)} ({milliseconds(low)} to {milliseconds(high)})",
                "" if report is first else _change(first, report),
                milliseconds(latency.p99),
                number(result.throughput_per_s),
                mebibytes(result.peak_rss_bytes),
                _energy(report),
                plural(result.num_threads, "thread"),
                _worth(report),
                when(report.before),
            )
        )
    heads = (
        "run", "median, ms", "change", "99th percentile, ms", "inferences per second", "peak RSS, MiB", "energy, mJ",
        "threads", "worth", "when",
    )  # fmt: skip
    return Table(caption="The runs", heads=heads, rows=tuple(rows))


def _energy(report: BenchmarkReport) -> str:
    if report.energy is None:
        return "not measured"
    joules = report.energy.energy_per_inference_mj
    return "below the gauge" if joules is None else number(joules)


def _worth(report: BenchmarkReport) -> str:
    if not report.valid:
        return "invalid"
    return "emulated: not a device's" if report.machine.emulated else "valid"


def _change(first: BenchmarkReport, report: BenchmarkReport) -> str:
    """Only where the two are of one kind; else why there is none."""
    baseline: Result = first.results[0]
    candidate = report.results[0]
    if _worth(first) != _worth(report) or not report.valid:
        return f"none: {_worth(report)} against {_worth(first)}"
    if baseline.num_threads != candidate.num_threads:
        return "none: other thread counts"
    if min(baseline.latency_ms.median_interval[0], candidate.latency_ms.median_interval[0]) <= 0:
        return "none: too short for the device's clock"
    item = compare_runs(baseline, candidate)
    low, high = (percent(bound, sign=True) for bound in item.interval)
    return f"{percent(item.effect, sign=True)} ({low} to {high}): {item.verdict}"


def _timelines(named: Sequence[tuple[str, BenchmarkReport]]) -> Figure:
    runs = [
        (name, report.sustained, report.recordings["sustained"])
        for name, report in named
        if report.sustained is not None and "sustained" in report.recordings
    ][:MOST_LINES]
    rows = tuple(
        (
            name,
            milliseconds(run.first_minute.median_ms),
            milliseconds(run.plateau.median_ms),
            percent(run.slowdown - 1, sign=True),
        )
        for name, run, _ in runs
    )
    return Figure(
        title="Median latency under sustained load",
        summary=" ".join(f"{name}: {change} from the first minute to the plateau." for name, _, _, change in rows),
        panels=(latency_panel([(name, recording) for name, _, recording in runs]),),
        data=Table(
            caption="First minute and plateau, ms", heads=("run", "first minute", "plateau", "change"), rows=rows
        ),
    )
