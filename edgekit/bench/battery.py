"""How long a battery lasts: its drain while the device is idle and under load."""

from edgekit.bench.recording import Gauge
from edgekit.documents import Document


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
    level: float
    rate_per_s: float | None
    """Inferences per second that ``hours`` holds for; None: as fast as they go."""
    hours: float | None
    """From full to empty, at that rate."""
    hours_interval: tuple[float, float] | None
