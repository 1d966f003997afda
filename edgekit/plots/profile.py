"""Where the time goes: one bar an op, in the order of execution."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.bench.profile import OpProfile, ProfileReport
from edgekit.plots.figure import BLUE, GREY, ORANGE, write_plot
from edgekit.report.profile import longest, name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 80
"""More bars are no longer read; then those that take longest stand for all."""
INCHES_AN_OP = 0.19


def plot_profile(path: Path, report: ProfileReport, *, title: str) -> None:
    """Draw time and its interval, and the GMAC/s of ops that multiply; raises PlotError."""
    shown = longest(report.ops, MOST)
    if len(shown) < len(report.ops):
        title += f" (the {len(shown)} of {len(report.ops)} ops that take longest)"
    write_plot(path, lambda figure: _draw(figure, shown, title), width_in=9, height_in=1.6 + INCHES_AN_OP * len(shown))


def _draw(figure: "Figure", ops: Sequence[OpProfile], title: str) -> None:
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for delegate, colour, label in ((True, BLUE, "inside the delegate"), (False, ORANGE, "kernels of the runtime")):
        rows = [row for row, op in enumerate(ops) if op.delegate is delegate]
        if rows:
            left.barh(rows, [ops[row].time_us for row in rows], color=colour, label=label)
    spans = [(row, op.time_us, op.interval_us) for row, op in enumerate(ops) if op.interval_us is not None]
    left.errorbar(
        [time for _, time, _ in spans],
        [row for row, _, _ in spans],
        xerr=[[time - low for _, time, (low, _) in spans], [high - time for _, time, (_, high) in spans]],
        fmt="none",
        ecolor=GREY,
        elinewidth=0.8,
    )
    left.set_yticks(range(len(ops)), [name(op) or op.kernel for op in ops], fontsize=7)
    left.invert_yaxis()
    left.set_xlabel("time of one inference, µs")
    left.legend(loc="lower right", fontsize=7)
    known = [(op.gmac_per_s, row) for row, op in enumerate(ops) if op.gmac_per_s is not None]
    right.plot([rate for rate, _ in known], [row for _, row in known], "o", color=GREY, markersize=3)
    right.set_xlabel("GMAC/s")
    right.set_xlim(left=0)
    right.tick_params(axis="y", length=0)
    figure.suptitle(title, fontsize=10)
