"""Energy of one inference: idle and load in turns, a gauge's readings integrated with their own times."""

from typing import Literal

from edgekit.bench.recording import Gauge
from edgekit.documents import Document


class EnergyReport(Document, frozen=True, kw_only=True):
    """What one inference costs, by one gauge."""

    gauge: Gauge
    method: Literal["counter", "power", "voltage-and-current", "charge"]
    """What was integrated: a counter of energy, readings of power, their product, or a counter of charge."""
    energy_per_inference_mj: float | None
    """Millijoules above idle; None: less than the gauge can resolve in this run."""
    interval_mj: tuple[float, float] | None
    """It holds the long-run value with a chance of ``level``; None where nothing can be said."""
    level: float
    idle_power_w: float
    """Mean over the idle blocks."""
    load_power_w: float
    """Mean over the load blocks."""
    inferences: int
    blocks: int
    """Pairs of an idle and a load block."""
    update_interval_s: float | None
    """How often the gauge's value changed; None where it never did."""
    resolvable_mj: float | None
    """The smallest energy of one inference that this run could have told from idle."""
    needed_secs: float | None
    """How long the load of a run must be to resolve it to a tenth; None where this one did."""
