"""The time of each op on a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgekit.bench.profile import OpProfile, ProfileReport
from edgekit.report.units import number
from edgekit_converters.layer_names import short_name

if TYPE_CHECKING:
    from rich.table import Table

MOST = 15
"""Lines of a table that shows what takes the time; all others are one line below them."""
HEADS = ("op", "output", "kernel", "time, us", "interval, us", "share", "so far", "GMAC/s")
FIGURES = 3
"""Place of the first column of figures."""


def profile_table(report: ProfileReport, *, most: int | None = MOST) -> "Table":
    """One row for each op in the order of execution; the ``most`` that take longest, None: all."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=escape(describe(report)), caption_justify="left")
    for place, name in enumerate(HEADS):
        right = place >= FIGURES
        table.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold")
    kept = longest(report.ops, most)
    for op in kept:
        table.add_row(*map(escape, cells(op)))
    others = len(report.ops) - len(kept)
    if others:
        rest = max(0.0, report.total_us - sum(op.time_us for op in kept))
        share = percent(rest / report.total_us if report.total_us else 0.0)
        table.add_row(f"{others} others", "", "", number(rest), "", share, "", "", style="dim")
    table.add_row("all ops", "", "", number(report.total_us), "", percent(1.0), "", "", style="bold")
    return table


def longest(ops: Sequence[OpProfile], most: int | None) -> list[OpProfile]:
    """The ``most`` that take longest, in the order of execution."""
    if most is None or len(ops) <= most + 1:
        return list(ops)
    return sorted(sorted(ops, key=lambda op: (-op.time_us, op.order))[:most], key=lambda op: op.order)


def cells(op: OpProfile) -> tuple[str, ...]:
    """Under ``HEADS``; empty: not known."""
    low_high = "" if op.interval_us is None else " to ".join(map(number, op.interval_us))
    return (
        name(op),
        "" if op.tensor is None else short_name(op.tensor, 32),
        f"{op.kernel}{'' if op.calls == 1 else f' x {op.calls}'}" if op.delegate else "runtime's own",
        number(op.time_us),
        low_high,
        percent(op.share),
        percent(op.cumulative),
        "" if op.gmac_per_s is None else number(op.gmac_per_s),
    )


def name(op: OpProfile) -> str:
    """``3 CONV_2D``; what the runtime calls it where the op of the model is not known."""
    if op.node is not None:
        return f"{op.node} {op.op}"
    return "" if op.delegate else op.kernel


def percent(share: float) -> str:
    """One decimal."""
    return f"{100 * share:.1f} %"


def describe(report: ProfileReport) -> str:
    """What the sum of the ops is of, what the profiler costs, and how finely it counts."""
    more = report.profiled_us / report.plain_us - 1 if report.plain_us else 0.0
    return (
        f"One inference takes {number(report.plain_us)} us, and {number(report.profiled_us)} us ({100 * more:+.0f} %) "
        "with the profiler, which costs most of that between ops. Ops are counted in whole microseconds; inside "
        "XNNPACK each is rounded down."
    )
