"""Energy of one inference: idle and load in turns, a gauge's readings integrated with their own times.

docs/energy.md says what is measured and how; docs/decisions/0012-energy.md has the evidence. Pure.
"""

from typing import Literal

from edgekit.bench.recording import Gauge, Segment
from edgekit.documents import Document

ENERGY_PROCESSES = 6
"""Fresh processes of a run; each is one observation (docs/decisions/0004-interval.md)."""
ENERGY_SECS = 60.0
"""What a run takes unless told otherwise: enough for a gauge that updates twice a second."""
QUARTERS = 4
"""Of each process's time: idle, load, load, idle."""

Method = Literal["counter", "power", "voltage-and-current", "charge"]
"""What was integrated: a counter of energy, readings of power, their product, or a counter of charge times voltage."""


class EnergyReport(Document, frozen=True, kw_only=True):
    """What one inference costs, by one gauge."""

    gauge: Gauge
    method: Method
    energy_per_inference_mj: float | None
    """Millijoules above idle; None: less than the gauge can resolve in this run."""
    interval_mj: tuple[float, float] | None
    """It holds the long-run value with a chance of ``level``; None where nothing can be said."""
    level: float
    idle_power_w: float | None
    """Mean over the idle blocks; None where the gauge was too slow to tell."""
    load_power_w: float | None
    """Mean over the load blocks."""
    inferences: int
    blocks: int
    """Blocks of load, each with the idle blocks next to it."""
    processes: int
    update_interval_s: float | None
    """How often the gauge's value changed; None where it never did."""
    lag_s: float | None
    """How far its values are behind on average, from the changes between idle and load; None where they do not tell,
    and for counters."""
    resolution_w: float | None
    """The smallest step of a power reading, as the gauge tells or as seen; None for counters."""
    systematic_mj: float | None
    """Share of the interval's half width that no averaging removes: quantization and lag."""
    resolvable_mj: float | None
    """The smallest energy of one inference that this run could have told from idle."""
    needed_secs: float | None
    """How long a run (``--energy-secs``) must be to know it to a tenth; None where this one did, or where no length
    would do."""


def energy_schedule(secs: float = ENERGY_SECS) -> tuple[Segment, ...]:
    """What each of ``ENERGY_PROCESSES`` runs: idle, twice as long load, idle, so that a linear drift cancels.

    secs: seconds of the whole run over all processes, without their start. The longer the run, the longer its blocks,
    not the more of them: what slow gauges need is time to settle (``needed_schedule``).
    """
    quarter = secs / ENERGY_PROCESSES / QUARTERS
    return (
        Segment(kind="idle", secs=quarter),
        Segment(kind="load", secs=2 * quarter),
        Segment(kind="idle", secs=quarter),
    )


def needed_schedule(block_s: float) -> float:
    """``secs`` of ``energy_schedule`` whose shortest blocks are ``block_s`` seconds long."""
    return block_s * ENERGY_PROCESSES * QUARTERS
