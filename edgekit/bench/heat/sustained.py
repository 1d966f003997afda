"""Latency over minutes: the first minute, the plateau, and what heat did in between. Pure."""

from collections.abc import Sequence

from edgekit.agent.sensors.thermal import find_hottest
from edgekit.bench.heat.findings import find_heat
from edgekit.bench.heat.plateau import LEVEL, Level, cut, find_plateau, interval, measure_levels, ratio_interval
from edgekit.bench.heat.throttling import find_causes, measure_throttled
from edgekit.bench.latency import NS_PER_MS
from edgekit.bench.recording import Recording, Segment, Window
from edgekit.bench.samples import MachineState
from edgekit.documents import Document
from edgekit.entries import FindingEntry
from edgekit.errors import MeasurementInvalidError

MINUTE_S = 60.0
SHORT_S = 180.0
"""In a shorter run the first fifth stands for the first minute."""
MIN_SECS = 30.0
STRETCHES = 12
"""What the first minute is cut into: stretches of five seconds."""
MIN_WINDOWS = 3
"""In the first minute and in the plateau; from fewer nobody knows how much they differ by chance."""
SHARES = (0.0, 0.5, 0.9, 0.99, 1.0)
"""Shares of a window's inferences that took no longer than its min, p50, p90, p99 and max."""


class Phase(Document, frozen=True, kw_only=True):
    """A part of a sustained run."""

    start_s: float
    """Since the load began."""
    end_s: float
    median_ms: float
    """Medians of stretches (five seconds of ten minutes), their geometric mean: it moves with the share of time that an
    oscillating clock is slow, where the median of all would jump."""
    interval_ms: tuple[float, float]
    """Of ``median_ms``, over stretches of time within this one process."""
    p99_ms: float
    """Of all inferences, from the windows' quantiles."""
    inferences_per_s: float
    temperature_c: tuple[float, float] | None
    """Lowest and highest of ``zone``; None where the device does not tell."""
    mhz: tuple[float, float] | None
    """Lowest and highest of the clock that is the fastest at each moment; None where the device does not tell."""


class SustainedReport(Document, frozen=True, kw_only=True):
    """A load for minutes."""

    secs: float
    rate_per_s: float | None
    inferences: int
    first_minute: Phase
    """The first minute; the first fifth of a run that is shorter than three minutes."""
    plateau: Phase
    """From where the latency no longer changes, after the first minute; the last third where it never settles."""
    settled: bool
    """Whether there is a plateau."""
    slowdown: float
    """Plateau over first minute, of ``median_ms``."""
    slowdown_interval: tuple[float, float]
    level: float
    """Chance that each interval holds what it is of, in this process: its changes last seconds, not minutes."""
    throttled_s: float | None
    """Seconds in which the device throttled; None where nothing tells."""
    throttling: tuple[str, ...]
    """What the device said about it, in words."""
    windows: tuple[Window, ...]
    """About one a second."""
    zone: str | None = None
    """The CPU's hottest zone; None where the device does not tell."""
    late: int = 0
    """Inferences of a paced load that began more than one period late."""


def sustained_schedule(secs: float, rate_per_s: float | None = None) -> tuple[Segment, ...]:
    """One load; raises ValueError for less than ``MIN_SECS``."""
    if secs < MIN_SECS:
        raise ValueError(f"a sustained run takes {MIN_SECS:.0f} s or more, {secs:g} s tell nothing about heat")
    return (Segment(kind="load", secs=secs, rate_per_s=rate_per_s),)


def summarize_sustained(recording: Recording) -> tuple[SustainedReport, tuple[FindingEntry, ...]]:
    """The report of the load of a schedule that was run in one process, and what it is worth.

    recording: of ``sustained_schedule``; there may be idle time before and after the load.

    Raises MeasurementInvalidError (exit code 6) where there are too few windows to see any change.
    """
    windows = recording.windows
    loads = [stretch for stretch in recording.stretches if recording.kind(stretch) == "load"]
    begin, end = loads[0].start_ns, loads[-1].end_ns
    secs = (end - begin) / 1e9
    first_s = MINUTE_S if secs >= SHORT_S else secs / 5
    count = sum(window.start_ns < begin + first_s * 1e9 for window in windows)
    start, settled = _find_start(windows, count)
    _require_windows(windows, count, start)
    parts = windows[:count], windows[start:]
    levels = measure_levels(*(_cut(part, count) for part in parts))
    states = tuple(state for state in recording.states if begin <= state.monotonic_ns <= end)
    zone = _find_zone(states)
    first, plateau = (_summarize(part, level, states, zone, begin) for part, level in zip(parts, levels, strict=True))
    report = SustainedReport(
        secs=secs,
        rate_per_s=recording.schedule[loads[0].segment].rate_per_s,
        inferences=sum(stretch.inferences for stretch in loads),
        first_minute=first,
        plateau=plateau,
        settled=settled,
        slowdown=plateau.median_ms / first.median_ms,
        slowdown_interval=ratio_interval(*levels),
        level=LEVEL,
        throttled_s=measure_throttled(states),
        throttling=tuple(map(str, find_causes(recording.before, states, recording.after))),
        windows=windows,
        zone=zone,
        late=sum(window.late for window in windows),
    )
    return report, tuple(find_heat(recording, states, report))


def _cut(windows: Sequence[Window], count: int) -> list[float]:
    """``count``: the windows of the first minute."""
    return cut([max(1, window.p50_ns) for window in windows], max(1, count // STRETCHES))


def _find_start(windows: Sequence[Window], count: int) -> tuple[int, bool]:
    """The first window of the plateau, and whether there is a plateau."""
    if len(windows) < 2 * MIN_WINDOWS:
        return count, False
    levels = _cut(windows, count)
    start, settled = find_plateau(levels)
    return max(count, len(windows) * start // len(levels)), settled


def _require_windows(windows: Sequence[Window], count: int, start: int) -> None:
    if count < MIN_WINDOWS or len(windows) - start < MIN_WINDOWS:
        longest = max((window.mean_ns for window in windows), default=0.0) / 1e9
        raise MeasurementInvalidError(
            f"The sustained run is too short: {len(windows)} windows, {count} of them in its first minute or fifth.",
            hint=f"Run it longer: at least {MIN_SECS:.0f} s, and 20 inferences (one takes {longest:.3g} s).",
        )


def _find_zone(states: Sequence[MachineState]) -> str | None:
    """The CPU's zone that became the hottest."""
    highest: dict[str, float] = {}
    for state in states:
        for zone, value in state.temperatures_c.items():
            highest[zone] = max(value, highest.get(zone, value))
    hottest = find_hottest(highest)
    return None if hottest is None else hottest[0]


def _summarize(
    windows: Sequence[Window], level: Level, states: Sequence[MachineState], zone: str | None, begin: int
) -> Phase:
    """``windows`` of one phase and the stretches' ``level``; ``begin``: of the load, monotonic ns."""
    start, end = windows[0].start_ns, windows[-1].end_ns
    inside = [state for state in states if start <= state.monotonic_ns <= end]
    heat = [state.temperatures_c[zone] for state in inside if zone in state.temperatures_c] if zone else []
    clocks = [max(known) for state in inside if (known := [policy.khz for policy in state.policies if policy.khz])]
    low, high = interval(level)
    return Phase(
        start_s=max(0, start - begin) / 1e9,
        end_s=(end - begin) / 1e9,
        median_ms=(low * high) ** 0.5 / NS_PER_MS,
        interval_ms=(low / NS_PER_MS, high / NS_PER_MS),
        p99_ms=pooled_quantile(windows, 0.99) / NS_PER_MS,
        inferences_per_s=sum(window.count for window in windows) / max(1e-9, (end - start) / 1e9),
        temperature_c=(min(heat), max(heat)) if heat else None,
        mhz=(min(clocks) / 1000, max(clocks) / 1000) if clocks else None,
    )


def pooled_quantile(windows: Sequence[Window], share: float) -> float:
    """Nanoseconds that ``share`` of all inferences of the windows took at most.

    Between a window's quantiles its inferences are taken to be spread evenly; found by bisection, to a millionth.
    """
    import numpy as np

    knots = np.array([[w.min_ns, w.p50_ns, w.p90_ns, w.p99_ns, w.max_ns] for w in windows], dtype=np.float64)
    knots = np.maximum.accumulate(knots, axis=1)
    counts = np.array([window.count for window in windows], dtype=np.float64)
    widths = np.diff(knots, axis=1)
    steps = np.diff(np.array(SHARES))
    low, high = float(knots.min()), float(knots.max())
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        above = middle - knots[:, :-1]
        filled = np.where(widths > 0, np.clip(above / np.where(widths > 0, widths, 1), 0, 1), above >= 0)
        below = float(counts @ (filled @ steps)) / float(counts.sum())
        low, high = (middle, high) if below < share else (low, middle)
    return high
