"""Power meters at this machine, each driven by its own library; a new one is a module and a line in ``METERS``.

``NAME[:ADDRESS][,OPTION=VALUE...]``, such as ``ppk2:/dev/ttyACM0,volts=5.1`` or ``joulescope``.
"""

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Protocol, cast

from edgekit.bench.power.external import Meter
from edgekit.errors import MeterError

METERS = {"ppk2": "edgekit.meters.ppk2", "joulescope": "edgekit.meters.joulescope"}
"""Name -> module, imported when it is needed."""


class MeterModule(Protocol):
    """What a module of this package provides."""

    OPTIONS: Mapping[str, str]
    """Option -> what its number means."""

    def connect(self, address: str | None, options: Mapping[str, float]) -> Meter:
        """The meter at ``address``, or the only one that is attached; raises MeterError with cause and next step."""


def open_meter(name: str) -> Meter:
    """The meter that a user names; it measures inside ``with``.

    Raises:
        MeterError: no such meter, its library or the meter itself is missing, or it is not what it should be.
    """
    kind, address, given = _parse(name)
    module = cast(MeterModule, import_module(METERS[kind]))
    unknown = sorted(set(given) - set(module.OPTIONS))
    if unknown:
        known = "; ".join(f"{option}=: {meaning}" for option, meaning in module.OPTIONS.items()) or "it has none"
        raise MeterError(f"{kind} has no option {unknown[0]!r}.", hint=f"Its options: {known}.")
    return module.connect(address, given)


def _parse(name: str) -> tuple[str, str | None, dict[str, float]]:
    place, *options = name.split(",")
    kind, _, address = place.partition(":")
    if kind not in METERS:
        known = ", ".join(METERS)
        raise MeterError(
            f"There is no meter {kind!r}; edgekit knows {known}.",
            hint="Write its name, and behind a colon where it is: ppk2:/dev/ttyACM0.",
        )
    return kind, address or None, dict(_option(kind, option) for option in options)


def _option(kind: str, text: str) -> tuple[str, float]:
    option, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number <= 0:
        raise MeterError(f"{kind}: {text!r} is no option with a number.", hint=f"Write it like {kind},volts=5.1.")
    return option, number
