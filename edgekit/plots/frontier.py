"""Accuracy (or size) over latency: every setup a point, the frontier a line, the recommendation a ring."""

from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.plots.figure import COLOURS, GREY, write_plot
from edgekit.tune.decision import Setup
from edgekit.tune.run import TuneReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KIB = 1024
SMALLEST, LARGEST = 30.0, 260.0
"""Areas of the smallest and the largest file's points, in square points."""


def plot_frontier(report: TuneReport, path: Path) -> None:
    """Write the plot; its kind is told by the suffix. Raises PlotError."""
    write_plot(path, lambda figure: _draw(report, figure))


def _draw(report: TuneReport, figure: "Figure") -> None:
    axes = figure.add_subplot()
    names = list(dict.fromkeys(item.candidate.name for item in report.setups))
    for number, name in enumerate(names):
        group = [item for item in report.setups if item.candidate.name == name]
        _points(axes, report, group, COLOURS[number % len(COLOURS)])
    kept = [report.setups[position] for position in report.frontier]
    axes.plot(*_coordinates(kept), color=GREY, linewidth=0.8, linestyle=":", zorder=1)
    for number, item in enumerate(kept):
        [x], [y] = _coordinates([item])
        text = f"{item.num_threads} thread{'s' * (item.num_threads > 1)}, {Path(item.delegate).name}"
        below = -14 if number % 2 else 9  # neighbours are often close
        axes.annotate(text, (x, y), xytext=(9, below), textcoords="offset points", fontsize=7, color=GREY)
    if report.recommendation is not None:
        axes.scatter(
            *_coordinates([report.recommendation.setup]),
            s=2 * LARGEST, facecolors="none", edgecolors="black", linewidths=1.2, label="recommended", zorder=3,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(y=0.12)
    axes.set_xlabel("median latency, ms (90 % interval over fresh processes)")
    axes.set_ylabel("size, KiB" if report.metric is None else f"{report.metric} on {report.samples} samples")
    axes.set_title(
        f"{report.device}: accuracy, latency, size (area)" if report.metric else f"{report.device}: latency, size"
    )
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8, labelspacing=1.0)


def _points(axes: "Axes", report: TuneReport, group: list[Setup], colour: str) -> None:
    x, y = _coordinates(group)
    low = [item.latency_ms.median - item.latency_ms.median_interval[0] for item in group]
    high = [item.latency_ms.median_interval[1] - item.latency_ms.median for item in group]
    axes.errorbar(x, y, xerr=[low, high], fmt="none", ecolor=colour, elinewidth=0.8, alpha=0.6, zorder=1)
    file = group[0].candidate
    largest = max(item.candidate.size_bytes for item in report.setups)
    area = SMALLEST + (LARGEST - SMALLEST) * file.size_bytes / largest
    label = f"{file.name}, {file.size_bytes / KIB:.0f} KiB{' (over the budget)' if file.keeps_budget is False else ''}"
    filled = "none" if file.keeps_budget is False else colour
    axes.scatter(x, y, s=area, facecolors=filled, edgecolors=colour, alpha=0.75, label=label, zorder=2)


def _coordinates(group: list[Setup]) -> tuple[list[float], list[float]]:
    files = [item.candidate for item in group]
    heights = [file.size_bytes / KIB if file.metric is None else file.metric for file in files]
    return [item.latency_ms.median for item in group], heights
