"""Latency over minutes: the first minute, the plateau, and what heat did in between."""

from edgekit.bench.recording import Window
from edgekit.documents import Document


class Phase(Document, frozen=True, kw_only=True):
    """A part of a sustained run."""

    start_s: float
    """Since the load began."""
    end_s: float
    median_ms: float
    interval_ms: tuple[float, float]
    """Of the median, over stretches of time within this one process."""
    p99_ms: float
    inferences_per_s: float
    temperature_c: tuple[float, float] | None
    """Lowest and highest of the hottest zone; None where the device does not tell."""
    mhz: tuple[float, float] | None
    """Lowest and highest clock of a CPU."""


class SustainedReport(Document, frozen=True, kw_only=True):
    """A load for minutes."""

    secs: float
    rate_per_s: float | None
    inferences: int
    first_minute: Phase
    plateau: Phase
    """From where the latency no longer changes; the last third where it never settles."""
    settled: bool
    """Whether there is a plateau."""
    slowdown: float
    """Plateau over first minute."""
    slowdown_interval: tuple[float, float]
    level: float
    throttled_s: float | None
    """Seconds in which the device throttled; None where nothing tells."""
    throttling: tuple[str, ...]
    """What the device said about it, in words."""
    windows: tuple[Window, ...]
    """About one a second."""
