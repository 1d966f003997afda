"""Joulescope JS110 and JS220, by their maker's library pyjoulescope_driver.

Sources: https://joulescope-driver.readthedocs.io (topics ``s/stats/*``; energy in J and charge in C accumulate in the
instrument, so that nothing between two readings is lost); https://www.joulescope.com/pages/products (JS220: 1 MHz, up
to 15 V and 3 A, 0.5 nA; JS110: 2 MHz).
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from edgekit.bench.recording import Channel, ChannelName, Gauge, Trace
from edgekit.errors import MeterError

if TYPE_CHECKING:
    from edgekit.bench.power.external import Meter

OPTIONS: Mapping[str, str] = {}
RATE_HZ = 20
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "js110": {
        "s/i/range/select": "auto",
        "s/i/ctrl": "on",
        "s/v/ctrl": "on",
        "s/p/ctrl": "on",
        "s/stats/scnt": 2_000_000 // RATE_HZ,
        "s/stats/ctrl": "on",
    },
    "js220": {"s/i/range/mode": "auto", "s/stats/scnt": 1_000_000 // RATE_HZ, "s/stats/ctrl": 1},
}
"""Model -> topics, as `python -m pyjoulescope_driver statistics` sets them."""
VALUES = "s/stats/value"
CHANNELS: Mapping[ChannelName, tuple[str, ...]] = {
    "power_w": ("signals", "power", "avg", "value"),
    "energy_j": ("accumulators", "energy", "value"),
    "current_a": ("signals", "current", "avg", "value"),
    "charge_c": ("accumulators", "charge", "value"),
    "voltage_v": ("signals", "voltage", "avg", "value"),
}
"""Where each is in the statistics."""
SILENCE_NS = 1_000_000_000


def connect(address: str | None, options: Mapping[str, float]) -> "Meter":  # noqa: ARG001
    """The Joulescope with this path or serial number, or the only one that is attached."""
    try:
        from pyjoulescope_driver import Driver
    except ImportError as err:
        raise MeterError(
            f"The library of the Joulescope is missing: {err}.", hint="Install it: pip install 'edgekit[meters]'."
        ) from err
    driver = Driver()
    try:
        path = _only(driver.device_paths(), address)
        driver.open(path)
    except RuntimeError as err:
        driver.finalize()
        raise MeterError(
            f"joulescope: it cannot be opened: {err}.",
            hint="Close the Joulescope UI; install its udev rules, as its own manual says.",
        ) from err
    except MeterError:
        driver.finalize()
        raise
    return Joulescope(driver, path)


def _only(paths: Sequence[str], address: str | None) -> str:
    found = [path for path in paths if address in (None, path, path.rpartition("/")[2]) and _model(path) in SETTINGS]
    if len(found) != 1:
        there = ", ".join(paths) or "none"
        raise MeterError(
            f"There {'is no' if not found else 'is more than one'} Joulescope{f' {address}' if address else ''}; "
            f"attached: {there}.",
            hint="Look at its cable, or name its serial number: joulescope:001234.",
        )
    return found[0]


def _model(path: str) -> str:
    """``js220`` of ``u/js220/001234``."""
    return path.split("/")[1] if path.count("/") > 1 else ""


class Joulescope:
    """A Joulescope that measures inside ``with``."""

    def __init__(self, driver: Any, path: str) -> None:
        self._driver = driver
        self._path = path
        self._rows: list[tuple[int, dict[ChannelName, float]]] = []
        self._ended_ns: int | None = None
        # the library finds a callback by its identity, and every access to a bound method makes a new one
        self._callback = self._receive

    @property
    def gauge(self) -> Gauge:
        """It tells everything."""
        return Gauge(
            name="joulescope",
            sensor="joulescope",
            covers="all that flows through it; what is fed in another way, such as by a cable of USB, is missing",
            whole_device=True,
            channels={name: Channel(resolution=None, wraps_at=None) for name in CHANNELS},
            interval_s=1 / RATE_HZ,
        )

    def __enter__(self) -> Self:
        try:
            self._driver.subscribe(f"{self._path}/{VALUES}", "pub", self._callback)
            for topic, value in SETTINGS[_model(self._path)].items():
                self._driver.publish(f"{self._path}/{topic}", value)
        except RuntimeError as err:
            self._close()
            raise MeterError(f"joulescope: it takes no settings: {err}.", hint="Unplug it and try again.") from err
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended_ns = time.monotonic_ns()
        self._close()

    def trace(self) -> Trace:
        """Means over 50 ms, at the end of each; charge and energy since the start.

        Where it fell silent for more than a second before the end, the last reading is one without values.
        """
        rows: list[tuple[int, Mapping[ChannelName, float]]] = list(self._rows)
        now = self._ended_ns or time.monotonic_ns()
        if rows and now - rows[-1][0] > SILENCE_NS:
            rows.append((now, {}))
        return Trace(
            gauge=self.gauge,
            monotonic_ns=tuple(moment for moment, _ in rows),
            values={name: tuple(row.get(name) for _, row in rows) for name in CHANNELS},
        )

    def _receive(self, _topic: str, statistics: Any) -> None:
        """In a thread of the library's own."""
        now = time.monotonic_ns()
        row = {name: float(_pick(statistics, path)) for name, path in CHANNELS.items()}
        self._rows.append((now, row))

    def _close(self) -> None:
        for step in (
            lambda: self._driver.unsubscribe(f"{self._path}/{VALUES}", self._callback),
            lambda: self._driver.close(self._path),
            self._driver.finalize,
        ):
            with suppress(RuntimeError):  # it may have been pulled out
                step()


def _pick(statistics: Any, path: Sequence[str]) -> Any:
    for key in path:
        statistics = statistics[key]
    return statistics
