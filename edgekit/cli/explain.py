"""``edgekit explain``: the error of each layer of an artifact."""

import csv
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import common, emit, option, output, print_findings, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.explain import Explanation
    from edgekit_converters.layer_errors import LayerError

WIDTH = 44
"""Characters of a layer's name on a terminal; --csv and --json have all of them."""


@click.command()
@click.argument("artifact", type=click.Path(path_type=Path))
@option("--source", metavar="MODEL", help="The model it was made from. Default: the one in edgekit.toml.")
@option("--calibration", metavar="DATA", help="Inputs to measure with. Default: the artifact's golden vectors.")
@option("--plot", type=click.Path(path_type=Path), metavar="FILE.svg|png", help="Draw the table too.")
@click.option("--csv", "as_csv", is_flag=True, help="The table as CSV on stdout.")
@option(
    "--top", type=click.IntRange(min=1), metavar="N", help="Only the N layers with the largest share, largest first."
)
@click.option("--no-cache", is_flag=True, help="Convert the source anew.")
@common
def command(
    artifact: Path,
    source: str | None,
    calibration: str | None,
    plot: Path | None,
    top: int | None,
    *,
    as_csv: bool,
    no_cache: bool,
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
) -> None:
    """Show where the precision of ARTIFACT goes, layer by layer.

    Its file is compared with the float model it was made from: how well the weights match, the noise each layer alone
    brings to the outputs, and the error that has gathered at its result.
    """
    from edgekit.cache import open_cache
    from edgekit.cli.options import bar_progress
    from edgekit.explain import explain

    if plot is not None:
        from edgekit.plots.figure import check_plot

        check_plot(plot)
    with progress() as bar:
        found = explain(
            artifact,
            source=source,
            calibration=calibration,
            cache=None if no_cache else open_cache(),
            progress=bar_progress(bar),
        )
    if plot is not None:
        from edgekit.plots.layer_errors import plot_layer_errors

        manifest = found.artifact.manifest
        plot_layer_errors(plot, found.errors, title=f"{manifest.name}, {manifest.precision} for {manifest.target}")
    shown = sorted(found.errors, key=lambda error: -error.share)[:top] if top else list(found.errors)
    if as_json:
        emit(
            {
                "path": str(artifact),
                "digest": found.artifact.digest,
                "samples": found.samples,
                "layers": [row(error) for error in shown],
                "advice": found.advice,
                "findings": found.findings,
            }
        )
    elif as_csv:
        print_findings(found.findings)
        write_csv(shown)
    else:
        print_findings(found.findings)
        render(found, shown)


def row(error: "LayerError") -> dict[str, Any]:
    """A layer as plain values; None for what is not known, and for the ratio of what is exact."""
    return {
        "layer": error.name,
        "op": error.op,
        "dtype": error.dtype,
        "weight_sqnr_db": finite(error.weight_sqnr_db),
        "weight_noise": error.weight_noise,
        "activation_noise": error.activation_noise,
        "own_noise": error.own_noise,
        "share": error.share,
        "accumulated_sqnr_db": finite(error.accumulated_sqnr_db),
    }


def finite(decibels: float | None) -> float | None:
    """None for infinity, which JSON does not have."""
    return decibels if decibels is not None and math.isfinite(decibels) else None


def write_csv(errors: "Sequence[LayerError]") -> None:
    """One line a layer; empty for what is not known."""
    rows = list(map(row, errors))
    writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def render(found: "Explanation", errors: "Sequence[LayerError]") -> None:
    """The table, and what to do."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from edgekit_converters.layer_names import short_name

    screen = output()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("layer", "op", "dtype"):
        table.add_column(name, no_wrap=True)
    for name in ("weights, dB", "own noise", "share", "accumulated, dB"):
        table.add_column(name, justify="right", no_wrap=True)
    for error in errors:
        table.add_row(
            escape(short_name(error.name, WIDTH)),
            error.op.lower(),
            error.dtype or "",
            decibels(error.weight_sqnr_db),
            f"{error.own_noise:.2e}" if error.own_noise else "0",
            f"{100 * error.share:.1f} %",
            decibels(error.accumulated_sqnr_db),
        )
    screen.print(table)
    screen.print(f"Noise relative to the signal at the outputs, over {found.samples} samples.", style="dim")
    screen.print(found.advice, markup=False)


def decibels(value: float | None) -> str:
    """One decimal; ``exact`` without noise, empty where there is nothing to compare."""
    if value is None:
        return ""
    return "exact" if value == math.inf else f"{value:.1f}"
