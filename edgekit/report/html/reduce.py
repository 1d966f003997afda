"""Many values -> as many as a screen can show. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log10

MAX_POINTS = 2000
"""Of one line: twice the pixels of a plot."""
MAX_ROWS = 60
"""Of the table of a line: more are not read."""
BINS = 60
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
    """Edges that all groups share; by factors where the values span a wide range, such as a tail has."""
    low, high = min(map(min, groups)), max(map(max, groups))
    if low == high:
        half = abs(low) / 100 or 1.0
        return Bins(edges=(low - half, high + half), log=False)
    count = min(most, max(5, ceil(2 * max(map(len, groups)) ** (1 / 3))))  # Rice's rule
    if low > 0 and high > LOG_FROM * low:
        start, step = log10(low), (log10(high) - log10(low)) / count
        return Bins(edges=(low, *(10 ** (start + step * place) for place in range(1, count)), high), log=True)
    return Bins(edges=(*(low + (high - low) * place / count for place in range(count)), high), log=False)


def shares(values: Sequence[float], bins: Bins) -> tuple[float, ...]:
    """Per cent of the values in each bin; the last holds its upper edge too."""
    import numpy as np

    counts, _ = np.histogram(values, bins=np.asarray(bins.edges))
    return tuple(100 * float(count) / len(values) for count in counts)


def significant(value: float | None) -> float | None:
    """Six significant digits: more are noise, and make the page larger."""
    return None if value is None else float(f"{value:.6g}")
