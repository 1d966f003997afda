"""matplotlib to an SVG or PNG file: the same plot gives the same bytes, and no window, no display is needed."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import PlotError
from edgekit.files import replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png")
DPI = 144
"""Of a PNG: sharp on a screen of twice the usual density."""

BLUE, ORANGE, GREEN, VERMILLION, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#666666"
"""Told apart with any colour vision: Okabe and Ito, "Color Universal Design" (2008)."""
COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE)

STYLE: dict[str, Any] = {
    "svg.hashsalt": "edgekit",  # ids of clip paths and markers are random without it
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs on every machine
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}


def check_plot(path: Path) -> None:
    """Raise PlotError where ``path`` cannot be plotted to: before the work that the plot would show."""
    if path.suffix.lower() not in SUFFIXES:
        raise PlotError(
            f"{path} is of no kind that edgekit plots.", hint=f"Give a file name that ends in {' or '.join(SUFFIXES)}."
        )
    if not path.parent.is_dir():
        raise PlotError(f"The folder {path.parent} does not exist.", hint="Create it, or choose another file.")
    _import_figure()


def write_plot(path: Path, draw: Callable[["Figure"], None], *, width_in: float = 8.0, height_in: float = 4.5) -> None:
    """Draw on an empty figure of the size given, in inches, and write it whole or not at all.

    The kind is told by the suffix, ``.svg`` or ``.png``. Raises PlotError: another suffix, no matplotlib, a place that
    cannot be written.
    """
    check_plot(path)
    data = render(draw, path.suffix.lower().removeprefix("."), width_in=width_in, height_in=height_in)
    try:
        replace_file(path, data)
    except OSError as err:
        raise PlotError(
            f"{path} cannot be written: {err.strerror or err}.", hint="Free some space, or choose another file."
        ) from err


def render(draw: Callable[["Figure"], None], kind: str, *, width_in: float = 8.0, height_in: float = 4.5) -> bytes:
    """The plot as the bytes of an ``svg`` or a ``png``."""
    figure_class = _import_figure()
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE}):  # whatever the user's matplotlibrc says
        figure = figure_class(figsize=(width_in, height_in), layout="constrained")
        draw(figure)
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
    return buffer.getvalue()


def _import_figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as err:
        raise PlotError(
            f"Plots need matplotlib, which cannot be imported: {err}.", hint="pip install 'edgekit[plot]'"
        ) from err
    return Figure
