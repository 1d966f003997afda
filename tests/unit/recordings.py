"""Recordings of loads that never ran: a latency, a temperature and a clock by the second."""

from collections.abc import Callable, Mapping
from typing import Any

from edgekit.bench.recording import RecordedProcess, Recording, Segment, Stretch, Window
from edgekit.bench.samples import CpuTime, FirmwareThrottle, MachineFacts, MachineState, Policy, RuntimeFacts

SECOND = 1_000_000_000
BOOT = 5000 * SECOND
FACTS = MachineFacts(
    python="3.11.2",
    python_executable="/usr/bin/python3",
    architecture="aarch64",
    libc="glibc 2.36",
    kernel="6.6.31",
    board="Raspberry Pi 4 Model B",
    cpu="Cortex-A72",
    cores=4,
    memory_bytes=2**32,
    emulated=None,
    virtual=False,
)
Changes = Callable[[int], Mapping[str, Any]]
"""Second -> fields of the state that differ."""


def firmware(word: int) -> FirmwareThrottle:
    names = ("under-voltage", "frequency-capped", "throttled", "soft-temperature-limit")
    now, since = (tuple(name for bit, name in enumerate(names) if word >> (bit + at) & 1) for at in (0, 16))
    return FirmwareThrottle(word=word, now=now, since_boot=since)


def state(second: float, **changes: Any) -> MachineState:
    fields: dict[str, Any] = {
        "monotonic_ns": BOOT + round(second * SECOND),
        "clock_offset_ns": 0,
        "suspended_ns": 0,
        "cpu": 3,
        "policies": (
            Policy(name="policy0", cpus=(0, 1, 2, 3), governor="performance", khz=1_500_000, min_khz=0, max_khz=0),
        ),
        "temperatures_c": {"cpu-thermal-0": 50.0},
        "cpu_cooling": {},
        "firmware_throttle": firmware(0),
        "throttle_count": None,
        "cpu_time_s": CpuTime(busy=second * 1.05, steal=0.0, own=second * 0.01),
        "memory_available_bytes": 2**31,
        "swap_used_bytes": 0,
    }
    return MachineState(**{**fields, **changes})


def window(second: int, latency_ms: float, **changes: Any) -> Window:
    middle = round(latency_ms * 1e6)
    fields: dict[str, Any] = {
        "process": 0,
        "segment": 0,
        "start_ns": BOOT + second * SECOND,
        "end_ns": BOOT + (second + 1) * SECOND,
        "count": round(1000 / latency_ms),
        "min_ns": round(0.95 * middle),
        "p50_ns": middle,
        "p90_ns": round(1.02 * middle),
        "p99_ns": round(1.05 * middle),
        "max_ns": round(1.3 * middle),
        "mean_ns": 1.01 * middle,
        "cpu_s": 1.0,
        "late": 0,
    }
    return Window(**{**fields, **changes})


def recording(
    latency_ms: Callable[[int], float],
    changes: Changes = lambda _second: {},
    *,
    secs: int = 600,
    rate_per_s: float | None = None,
    late: int = 0,
    facts: MachineFacts = FACTS,
) -> Recording:
    """A load of ``secs``, a window and a state a second; both functions are given the second."""
    windows = tuple(window(second, latency_ms(second), late=late) for second in range(secs))
    return Recording(
        machine=facts,
        schedule=(Segment(kind="load", secs=secs, rate_per_s=rate_per_s),),
        processes=(
            RecordedProcess(
                process=0,
                runtime=RuntimeFacts(name="ai-edge-litert", version="2.3.0"),
                load_ms=1.0,
                first_ms=1.0,
                rss_before_load_bytes=None,
                peak_rss_bytes=None,
            ),
        ),
        stretches=(
            Stretch(
                process=0,
                segment=0,
                start_ns=BOOT,
                end_ns=BOOT + secs * SECOND,
                inferences=sum(item.count for item in windows),
            ),
        ),
        windows=windows,
        traces=(),
        states=tuple(state(second + 0.5, **changes(second)) for second in range(secs)),
        before=state(-1, **changes(0)),
        after=state(secs + 1, **changes(secs - 1)),
    )
