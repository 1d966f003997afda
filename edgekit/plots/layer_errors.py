"""Where the precision goes: one bar a layer with what it adds, one line with what has gathered."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.plots.figure import BLUE, GREY, ORANGE, write_plot
from edgekit_converters.layer_errors import LayerError
from edgekit_converters.layer_names import short_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LAYERS = 80
"""More are no longer read; then those with the largest share stand for all."""
INCHES_A_LAYER = 0.19


def plot_layer_errors(path: Path, errors: Sequence[LayerError], *, title: str) -> None:
    """Write the table of ``edgekit explain`` as a plot, in the order of execution; raises PlotError."""
    shown = list(errors)
    if len(shown) > MOST_LAYERS:
        largest = {id(error) for error in sorted(errors, key=lambda error: -error.share)[:MOST_LAYERS]}
        shown = [error for error in errors if id(error) in largest]
        title += f" (the {MOST_LAYERS} of {len(errors)} layers with the largest share)"
    write_plot(
        path, lambda figure: _draw(figure, shown, title), width_in=9, height_in=1.6 + INCHES_A_LAYER * len(shown)
    )


def _draw(figure: "Figure", errors: Sequence[LayerError], title: str) -> None:
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    total = sum(error.own_noise for error in errors) or 1.0
    rows = range(len(errors))
    by_weights = [100 * error.weight_noise / total for error in errors]
    by_results = [100 * error.activation_noise / total for error in errors]
    left.barh(rows, by_weights, color=BLUE, label="rounding its weights")
    left.barh(
        rows, by_results, left=by_weights, color=ORANGE, hatch="//", edgecolor="white", label="rounding its result"
    )
    left.set_yticks(rows, [f"{short_name(error.name)}  {error.op.lower()}" for error in errors], fontsize=7)
    left.invert_yaxis()
    left.set_xlabel("share of the noise at the outputs, %")
    left.legend(loc="lower right", fontsize=7)
    _draw_accumulated(right, errors)
    figure.suptitle(title, fontsize=10)


def _draw_accumulated(axes: "Axes", errors: Sequence[LayerError]) -> None:
    known = [
        (error.accumulated_sqnr_db, row)
        for row, error in enumerate(errors)
        if error.accumulated_sqnr_db is not None and math.isfinite(error.accumulated_sqnr_db)
    ]
    axes.plot([decibels for decibels, _ in known], [row for _, row in known], color=GREY, marker="o", markersize=3)
    axes.set_xlabel("SQNR of its result in the file, dB")
    axes.tick_params(axis="y", length=0)
