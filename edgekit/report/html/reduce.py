"""Many values -> as many as a screen can show. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

MAX_POINTS = 2000
"""Of one line: twice the pixels of a plot."""
MAX_ROWS = 60
"""Of the table of a line: more are not read."""
BINS = 120
FEWEST_BINS = 5
LOG_FROM = 4.0
"""Largest over smallest value from which on bins grow with their place."""


@dataclass(frozen=True, kw_only=True)
class Bins:
    """Shares of values between edges."""

    edges: tuple[float, ...]
    """One more than bins."""
    log: bool
    """Edges grow by a factor, not by a step."""


def choose_points(columns: Sequence[Sequence[float | None]], *, most: int = MAX_POINTS) -> list[int]:
    """Places that keep the smallest and the largest value of every column in every bucket (min-max decimation).

    No spike is lost, whatever its width. All places where there are no more than ``most``; fewer than ``most`` else.
    """
    count = len(columns[0])
    if count <= most:
        return list(range(count))
    kept = {0, count - 1}
    for start, end in buckets(count, max(1, (most - 2) // (2 * len(columns)))):
        for column in columns:
            known = [place for place in range(start, end) if column[place] is not None]
            if known:
                kept.add(min(known, key=lambda place: column[place] or 0.0))
                kept.add(max(known, key=lambda place: column[place] or 0.0))
    return sorted(kept)


def buckets(count: int, most: int) -> list[tuple[int, int]]:
    """At most ``most`` stretches of nearly equal length that cover ``count`` places."""
    number = min(count, most)
    return list(pairwise(count * index // number for index in range(number + 1))) if number else []


def choose_bins(groups: Sequence[Sequence[float]], *, most: int = BINS) -> Bins:
    """Edges that all groups share; by factors where the values span a wide range, such as a tail has.

    As wide as the group that is spread the least asks for (Freedman and Diaconis, 1981), but no more than ``most``.
    """
    import numpy as np

    wide = max(map(max, groups)) > LOG_FROM * min(map(min, groups)) > 0
    columns = [np.log(np.asarray(group)) if wide else np.asarray(group, dtype=float) for group in groups]
    low, high = min(float(column.min()) for column in columns), max(float(column.max()) for column in columns)
    if low == high:
        half = abs(low) / 100 or 1.0
        return Bins(edges=(low - half, high + half), log=False)
    widths = [2 * float(np.subtract(*np.percentile(column, [75, 25]))) / len(column) ** (1 / 3) for column in columns]
    width = min((value for value in widths if value > 0), default=high - low)
    edges = np.linspace(low, high, min(most, max(FEWEST_BINS, ceil((high - low) / width))) + 1)
    return Bins(edges=tuple(map(float, np.exp(edges) if wide else edges)), log=wide)


def shares(values: Sequence[float], bins: Bins) -> tuple[float, ...]:
    """Per cent of the values in each bin."""
    import numpy as np

    edges = np.asarray(bins.edges)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)  # exp(log(x)) may round to beside x
    return tuple(100 * float(count) / len(values) for count in counts)


def significant(value: float | None) -> float | None:
    """Six significant digits: more are noise, and make the page larger."""
    return None if value is None else float(f"{value:.6g}")
