"""What held a device's clock down, for how long, in plain words, and what helps. Pure.

Sources: https://www.raspberrypi.com/documentation/computers/os.html#get_throttled (the firmware's bits; the lower ones
are so now, the upper ones were so at some time since boot);
https://www.raspberrypi.com/documentation/computers/config_txt.html#monitoring-core-temperature (from 80 C on the CPU is
slowed step by step, at 85 C the GPU too; the soft limit of 60 C is the 3A+'s and 3B+'s alone);
https://docs.kernel.org/driver-api/thermal/sysfs-api.html (cooling devices).
"""

from collections.abc import Sequence
from itertools import pairwise

from edgekit.bench.samples import MachineState
from edgekit.documents import Document

COOL = "Give it a heat sink or a fan, or room for air."
SUPPLY = "Use the board's own power supply and a short, thick cable, and unplug USB devices that draw much."


class Cause(Document, frozen=True, kw_only=True):
    """Something that a device said about its clock."""

    name: str
    meaning: str
    fix: str

    def __str__(self) -> str:
        """``name (meaning)``."""
        return f"{self.name} ({self.meaning})"


FIRMWARE = {
    "under-voltage": Cause(
        name="under-voltage", meaning="the supply fell below about 4.6 V, so the firmware slows the CPU", fix=SUPPLY
    ),
    "frequency-capped": Cause(
        name="frequency-capped",
        meaning="the firmware keeps the CPU below the clock that was asked for, because of heat or low voltage",
        fix=COOL,
    ),
    "throttled": Cause(
        name="throttled", meaning="the firmware took the clock back, because of heat or low voltage", fix=COOL
    ),
    "soft-temperature-limit": Cause(
        name="soft-temperature-limit",
        meaning="warmer than the soft limit, 60 C unless changed, above which the clock is lowered",
        fix="Give it a heat sink, or set temp_soft_limit to 70 at most in config.txt.",
    ),
}
"""The bits of a Raspberry Pi's firmware, by the names of ``edgekit.agent.sensors.throttle``."""


def explain(bits: Sequence[str]) -> tuple[Cause, ...]:
    """Bits of the firmware in plain words; where the voltage is low, all else follows from that and has its fix."""
    known = [FIRMWARE.get(bit) or Cause(name=bit, meaning="not known here", fix=COOL) for bit in bits]
    low = any(cause.name == "under-voltage" for cause in known)
    return tuple(Cause(name=c.name, meaning=c.meaning, fix=SUPPLY) if low else c for c in known)


def find_causes(before: MachineState, states: Sequence[MachineState], after: MachineState) -> tuple[Cause, ...]:
    """What held the clock down in ``states``, or by counters and bits since boot between ``before`` and ``after``."""
    ends = [before, *states, after]
    bits = {bit for state in states if state.firmware_throttle for bit in state.firmware_throttle.now}
    since = [set(state.firmware_throttle.since_boot) for state in ends if state.firmware_throttle]
    bits |= since[-1] - since[0] if since else set()
    cooling = {name for state in states for name, level in state.cpu_cooling.items() if level > 0}
    events = count_events(ends)
    return (
        *explain(sorted(bits)),
        *(
            Cause(name=f"cooling by {name}", meaning="the kernel lowers the clock", fix=COOL)
            for name in sorted(cooling)
        ),
        *([Cause(name=f"{events} thermal events", meaning="the CPU slowed itself", fix=COOL)] if events else []),
    )


def count_events(states: Sequence[MachineState]) -> int:
    """Thermal throttling events that an x86 CPU counted; 0 where it counts none."""
    counts = [state.throttle_count for state in states if state.throttle_count is not None]
    return max(0, counts[-1] - counts[0]) if counts else 0


def measure_throttled(states: Sequence[MachineState]) -> float | None:
    """Seconds that the clock was held down; None where nothing tells.

    What a state says holds until the next one. A counter that grew in between says it of all that time, so that the
    figure is at most one look too long for each time it throttled.
    """
    if not any(state.firmware_throttle or state.cpu_cooling or state.throttle_count is not None for state in states):
        return None
    held = [
        (later.monotonic_ns - earlier.monotonic_ns) / 1e9
        for earlier, later in pairwise(states)
        if is_held(earlier) or count_events([earlier, later])
    ]
    return float(sum(held))


def is_held(state: MachineState) -> bool:
    """Whether a bit of the firmware is set now, or the kernel holds a CPU's clock down."""
    firmware = state.firmware_throttle
    return bool(firmware and firmware.now) or any(level > 0 for level in state.cpu_cooling.values())
