"""In the guest: battery and temperature follow what the measured model does, and every value is written down.

    board.py CURVE LOG

CURVE is JSON: ``idle_a``, ``load_a``: the current while the model sleeps and while it runs; ``volts`` and ``ohms``: the
voltage sinks by the current; ``ripple_a``, ``ripple_s``: a sine on top; ``every_s``: how often the values change;
``sign``: 1 or -1, what the driver calls a discharge; ``percent``, ``percent_per_h``: the capacity and its drain;
``idle_c``, ``load_c``, ``heat_s``: where the temperature goes, and how fast; ``throttle_c``: above it the clock is said
to be held down.

A line of LOG for each change: monotonic nanoseconds, what is drawn from then on in W, and the temperature.
"""

import glob
import json
import math
import os
import sys
import time
from typing import Optional

BATTERY = "/sys/module/test_power/parameters/battery_"
ZONE = "/sys/module/heat/parameters/millidegrees"
COOLING = "/sys/class/thermal/cooling_device*/type"
MODEL = "-process\0"
"""The end of the command line of the agent's process that runs a model."""
SEARCH_S = 0.25


def write(path: str, value: object) -> None:
    with open(path, "w") as stream:
        stream.write(str(value))


def read(path: str) -> str:
    with open(path) as stream:
        return stream.read()


def find_model() -> Optional[str]:
    """The folder of /proc of the process that runs a model; None where none does."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) > os.getpid():  # it is younger than we are; there are many others
            try:
                with open("/proc/%s/cmdline" % name) as stream:
                    if stream.read().endswith(MODEL):
                        return "/proc/" + name
            except OSError:
                continue
    return None


def ran_ns(folder: Optional[str]) -> Optional[int]:
    """Nanoseconds that it was on a CPU (Documentation/scheduler/sched-stats.rst); None where it is gone."""
    try:
        return int(read("%s/schedstat" % folder).split()[0])
    except (OSError, IndexError):
        return None


class Load:
    """Whether the model's process was on a CPU."""

    def __init__(self) -> None:
        self._folder: Optional[str] = None
        self._ran: Optional[int] = None
        self._searched = 0.0

    def look(self, now: float) -> bool:
        """Since the last call."""
        if self._ran is None and now - self._searched > SEARCH_S:
            self._folder, self._searched = find_model(), now
        before, self._ran = self._ran, ran_ns(self._folder)
        return before is not None and self._ran is not None and self._ran > before


class Heat:
    """A temperature of the first order, where the module ``heat`` is loaded."""

    def __init__(self, curve: "dict[str, float]") -> None:
        self._curve, self.celsius = curve, curve["idle_c"]
        self._cooling = [os.path.dirname(path) for path in glob.glob(COOLING) if "cpufreq" in read(path)]
        self._written: object = None

    def step(self, secs: float, loaded: bool) -> None:
        """``secs`` went by."""
        goal = self._curve["load_c" if loaded else "idle_c"]
        self.celsius += (goal - self.celsius) * (1 - math.exp(-secs / self._curve["heat_s"]))
        values = round(10 * self.celsius) * 100, int(self.celsius > self._curve["throttle_c"])
        if values != self._written and os.path.exists(ZONE):
            self._written = values
            write(ZONE, values[0])
            for folder in self._cooling:
                write(folder + "/cur_state", values[1])


def main() -> None:
    curve = json.loads(sys.argv[1])
    write(BATTERY + "status", "discharging")
    start = before = time.monotonic()
    load, heat, percent = Load(), Heat(curve), None
    with open(sys.argv[2], "w", buffering=1) as log:
        while True:
            now = time.monotonic()
            loaded = load.look(now)
            current = curve["load_a" if loaded else "idle_a"]
            current += curve["ripple_a"] * math.sin(2 * math.pi * (now - start) / curve["ripple_s"])
            microamperes = int(current * 1e6)
            microvolts = int((curve["volts"] - curve["ohms"] * current) * 1e6)
            write(BATTERY + "voltage", microvolts)
            write(BATTERY + "current", int(curve["sign"]) * microamperes)
            heat.step(now - before, loaded)
            before = now
            log.write("%d %.9f %.1f\n" % (time.monotonic_ns(), microamperes * microvolts * 1e-12, heat.celsius))
            left = math.ceil(curve["percent"] - curve["percent_per_h"] * (now - start) / 3600)
            if left != percent:
                percent = left
                write(BATTERY + "capacity", percent)
                print(percent, flush=True)
            time.sleep(max(0.0, now + curve["every_s"] - time.monotonic()))


main()
