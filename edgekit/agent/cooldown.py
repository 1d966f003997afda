"""Wait until the device is cool, so that a run does not begin with the heat of the one before it."""

import os
import select
import time
from typing import Any, BinaryIO, Callable, Dict, List, Optional, Tuple

from .events import AgentError, Emit
from .sensors.thermal import find_hottest, read_temperatures

LOOK_S = 2.0
"""Between two looks."""
CONFIRMED = 2
"""Looks in a row at or below the limit: one alone may be the noise of a sensor of whole degrees."""
RATE_S = 60.0
"""How fast it cools is told of the last minute."""


def cool_down(
    limit_c: float,
    timeout_s: float,
    emit: Emit,
    root: str = "/",
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when the CPU's hottest zone was at or below ``limit_c`` at two looks in a row.

    Emits ``cooling`` at every look: ``zone``, ``temperature_c``, ``limit_c``, ``waited_s``, ``timeout_s``.

    Raises:
        AgentError: ``measurement`` where it is not cool after ``timeout_s``; ``device`` where nothing tells a
            temperature, or what told it is gone.
    """
    start = clock()
    seen: List[Tuple[float, float]] = []
    cool = 0
    while True:
        zone, temperature_c = _look(root, bool(seen))
        waited_s = clock() - start
        seen.append((waited_s, temperature_c))
        emit(
            "cooling",
            zone=zone,
            temperature_c=temperature_c,
            limit_c=limit_c,
            waited_s=round(waited_s, 3),
            timeout_s=timeout_s,
        )
        cool = cool + 1 if temperature_c <= limit_c else 0
        if cool == CONFIRMED:
            return
        if waited_s >= timeout_s:
            raise _too_hot(zone, seen, limit_c)
        sleep(LOOK_S)


def cool_down_as_asked(asked: Optional[Dict[str, Any]], stdin: BinaryIO, emit: Emit) -> None:
    """``asked``: what a request has under ``cooldown``: None, or ``temperature_c`` and ``timeout_s``.

    ``stdin`` is the host's line to us: BrokenPipeError when it ends.
    """

    def sleep(secs: float) -> None:
        if select.select([stdin], [], [], secs)[0] and not os.read(stdin.fileno(), 65536):
            raise BrokenPipeError("the host is gone")

    if asked is not None:
        cool_down(asked["temperature_c"], asked["timeout_s"], emit, sleep=sleep)


def _look(root: str, told_before: bool) -> Tuple[str, float]:
    hottest = find_hottest(read_temperatures(root))
    if hottest is not None:
        return hottest
    if told_before:
        raise AgentError(
            "device",
            "The device stopped telling its CPU's temperature while it was to cool down.",
            "Look at /sys/class/thermal there; leave --cooldown out to measure all the same.",
        )
    raise AgentError(
        "device",
        "Nothing on the device tells the temperature of its CPU, so that nobody knows when it is cool.",
        "Leave --cooldown out. A virtual machine hides its host's sensors; a PC may need coretemp or k10temp loaded.",
    )


def _too_hot(zone: str, seen: List[Tuple[float, float]], limit_c: float) -> AgentError:
    waited_s, now_c = seen[-1]
    before_s, before_c = next(look for look in seen if look[0] >= waited_s - RATE_S)
    rate = None if waited_s <= before_s else 60.0 * (now_c - before_c) / (waited_s - before_s)
    how = "" if rate is None else ", changing by %+.1f degrees a minute" % rate
    return AgentError(
        "measurement",
        "The device did not cool down to %.1f C: after %.0f s %s is at %.1f C%s."
        % (limit_c, waited_s, zone, now_c, how),
        "Stop what else runs there, give it a fan, or ask for a temperature that it reaches when idle.",
        {"zone": zone, "temperature_c": now_c, "limit_c": limit_c, "waited_s": waited_s, "celsius_per_minute": rate},
    )
