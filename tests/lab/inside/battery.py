"""In the guest: the kernel's test battery follows what the CPUs do, and every value is written down.

    battery.py CURVE LOG

CURVE is JSON: ``idle_a``, ``load_a``: the current with all CPUs idle and with one of them busy; ``volts`` and ``ohms``:
the voltage sinks by the current; ``ripple_a``, ``ripple_s``: a sine on top; ``every_s``: how often the values change;
``sign``: 1 or -1, what the driver calls a discharge; ``percent``, ``percent_per_h``: the capacity and its drain.

A line of LOG for each change: monotonic nanoseconds and what is drawn from then on, in W.
"""

import json
import math
import os
import sys
import time

PARAMETERS = "/sys/module/test_power/parameters/"


def write(name: str, value: object) -> None:
    with open(PARAMETERS + name, "w") as stream:
        stream.write(str(value))


def busy_s() -> float:
    """Seconds that the CPUs worked since boot: user, nice, system, irq and softirq of proc_stat(5)."""
    with open("/proc/stat") as stream:
        ticks = [int(word) for word in stream.readline().split()[1:8]]
    return (sum(ticks[:3]) + sum(ticks[5:7])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    curve = json.loads(sys.argv[1])
    write("battery_status", "discharging")
    write("ac_online", "off")
    write("usb_online", "off")
    start = before = time.monotonic()
    worked = busy_s()
    percent = None
    log = open(sys.argv[2], "w", buffering=1)  # the machine goes before this program does
    print("ready", flush=True)
    while True:
        time.sleep(curve["every_s"])
        now, total = time.monotonic(), busy_s()
        share = min(1.0, (total - worked) / (now - before))
        before, worked = now, total
        current = curve["idle_a"] + (curve["load_a"] - curve["idle_a"]) * share
        current += curve["ripple_a"] * math.sin(2 * math.pi * (now - start) / curve["ripple_s"])
        microamperes = int(current * 1e6)
        microvolts = int((curve["volts"] - curve["ohms"] * current) * 1e6)
        write("battery_voltage", microvolts)
        write("battery_current", curve["sign"] * microamperes)
        left = int(curve["percent"] - curve["percent_per_h"] * (now - start) / 3600)
        if left != percent:
            percent = left
            write("battery_capacity", percent)
        log.write("%d %.9f\n" % (time.monotonic_ns(), microamperes * microvolts * 1e-12))


main()
