"""Numbers as people read them. Missing ones are said, never 0."""

from datetime import UTC, datetime

from edgekit.bench.samples import MachineState
from edgekit.report.units import milliseconds

UNKNOWN = "unknown"
MINUTE_S, HOUR_S = 60, 3600


def ms(value: float) -> str:
    """Such as ``12.34 ms``."""
    return f"{milliseconds(value)} ms"


def span_ms(interval: tuple[float, float]) -> str:
    """Such as ``12.10 to 12.60 ms``."""
    return f"{milliseconds(interval[0])} to {milliseconds(interval[1])} ms"


def number(value: float | None, unit: str = "", *, digits: int = 4) -> str:
    """Significant digits, never in powers of ten, with its unit."""
    if value is None:
        return UNKNOWN
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    text = f"{value:.{min(9, max(0, digits - whole))}f}"
    return f"{text} {unit}" if unit else text


def span(interval: tuple[float, float] | None, unit: str = "", *, digits: int = 4) -> str:
    """``low to high unit``; once where both read the same."""
    if interval is None:
        return UNKNOWN
    low, high = (number(value, digits=digits) for value in interval)
    text = low if low == high else f"{low} to {high}"
    return f"{text} {unit}" if unit else text


def percent(share: float, *, sign: bool = False) -> str:
    """A share of 1 as per cent, two digits behind the point where it is small."""
    value = 100 * share
    digits = 2 if abs(value) < 10 else 1  # noqa: PLR2004
    return f"{value:{'+' if sign else ''}.{digits}f} %"


def level(chance: float) -> str:
    """Of an interval: ``93.8 %``."""
    return f"{100 * chance:.3g} %"


def duration(secs: float) -> str:
    """Such as ``10 min 30 s``."""
    if secs < 2 * MINUTE_S:
        return f"{secs:.3g} s"
    minutes, rest = divmod(round(secs), MINUTE_S)
    if minutes >= 2 * HOUR_S // MINUTE_S:
        return f"{secs / HOUR_S:.3g} h"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def clock(secs: float) -> str:
    """Of an axis: ``9:05``."""
    minutes, rest = divmod(round(secs), MINUTE_S)
    return f"{minutes}:{rest:02d}"


def plural(count: int, word: str) -> str:
    """``1 thread``, ``2 threads``."""
    return f"{count} {word}" if count == 1 else f"{count} {word}{'es' if word.endswith('s') else 's'}"


def when(state: MachineState) -> str:
    """The device's wall clock, UTC; ``unknown`` where it makes no sense."""
    try:
        moment = datetime.fromtimestamp((state.monotonic_ns + state.clock_offset_ns) / 1e9, UTC)
    except (OverflowError, OSError, ValueError):
        return UNKNOWN
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
