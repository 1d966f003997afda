"""Numbers as they are read."""

MIB = 2**20


def milliseconds(value: float) -> str:
    """Four significant digits, never in powers of ten."""
    whole = len(str(int(value))) if value >= 1 else 0
    return f"{value:.{max(0, 4 - whole)}f}"


def mebibytes(value: int | None) -> str:
    """One decimal; ``unknown`` where the device does not tell."""
    return "unknown" if value is None else f"{value / MIB:.1f}"


def number(value: float) -> str:
    """Three significant digits, never in powers of ten."""
    if value == 0:
        return "0"
    text = f"{value:.3g}"
    return text if "e" not in text else f"{value:.0f}" if abs(value) >= 1 else f"{value:.9f}".rstrip("0")
