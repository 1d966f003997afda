"""How long a battery lasts: its drain while the device is idle and under load. Pure.

docs/energy.md says what is measured and how; docs/decisions/0012-energy.md has the evidence.
"""

from edgekit.bench.recording import Gauge, Segment
from edgekit.documents import Document

BATTERY_PROCESSES = 1
"""One load without a break: a battery that tells whole per cents moves only every few minutes."""
BATTERY_SECS = 600.0
IDLE_SHARE = 0.2
"""Of the time, before the load and once more after it."""


class BatteryReport(Document, frozen=True, kw_only=True):
    """Drain of a battery, and the hours of operation that follow."""

    gauge: Gauge
    capacity_percent: tuple[float, float] | None
    """At the start and at the end of the run; None where the battery does not tell."""
    drain_percent_per_h: float | None
    """Under the load that was run; None: it did not move by as much as the gauge shows."""
    drain_interval: tuple[float, float] | None
    idle_drain_percent_per_h: float | None
    """With the model loaded and nothing to do."""
    idle_drain_interval: tuple[float, float] | None
    load_power_w: float | None
    """Under the load; None where the battery tells per cents alone."""
    idle_power_w: float | None
    level: float
    rate_per_s: float | None
    """Inferences per second that ``hours`` holds for; None: as fast as they go."""
    measured_rate_per_s: float | None
    """Inferences per second of the load that was run."""
    hours: float | None
    """From full to empty, at that rate."""
    hours_interval: tuple[float, float] | None
    needed_secs: float | None
    """How long a run (``--battery-secs``) must be at least to tell; None where this one did."""


def battery_schedule(secs: float = BATTERY_SECS, rate_per_s: float | None = None) -> tuple[Segment, ...]:
    """What the one process (``BATTERY_PROCESSES``) runs: idle, load at ``rate_per_s`` (None: as fast as it goes), idle.

    secs: seconds of the whole run.
    """
    idle = Segment(kind="idle", secs=IDLE_SHARE * secs)
    return (idle, Segment(kind="load", secs=(1 - 2 * IDLE_SHARE) * secs, rate_per_s=rate_per_s), idle)
