"""The agent's events -> frozen values. What a device says is untrusted: every line is checked, in bounds."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec

from edgekit.documents import Document, convert
from edgekit.errors import DeviceFaultError

Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Duration = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Moment = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
Number = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
"""Whatever a sensor says; sums and products of these stay finite."""
Text = Annotated[str, msgspec.Meta(max_length=1000)]
Many = msgspec.Meta(max_length=10_000)
"""Clocks, CPUs, zones: more than any device has."""
MAX_EVENTS = 100_000


class Policy(Document, frozen=True, kw_only=True):
    """One clock and the CPUs that share it."""

    name: Text
    cpus: Annotated[tuple[Count, ...], Many]
    governor: Text | None
    khz: Count | None
    min_khz: Count | None
    max_khz: Count | None


class FirmwareThrottle(Document, frozen=True, kw_only=True):
    """What a Raspberry Pi's firmware says."""

    word: Count
    now: Annotated[tuple[Text, ...], Many]
    since_boot: Annotated[tuple[Text, ...], Many]


class CpuTime(Document, frozen=True, kw_only=True):
    """Seconds since boot over all CPUs."""

    busy: Number
    steal: Number
    """What a hypervisor gave to somebody else."""
    own: Number
    """This process's share of ``busy``."""


class MachineState(Document, frozen=True, kw_only=True):
    """The device at one moment; None is what it does not tell."""

    monotonic_ns: Moment
    clock_offset_ns: Moment
    """Wall clock minus monotonic clock."""
    suspended_ns: Moment
    cpu: Count | None
    """The CPU the measuring process was on."""
    policies: Annotated[tuple[Policy, ...], Many]
    temperatures_c: Annotated[dict[Text, Number], Many]
    cpu_cooling: Annotated[dict[Text, Count], Many]
    """Cooling device of a CPU clock -> state; above 0 the kernel holds the clock down."""
    firmware_throttle: FirmwareThrottle | None
    throttle_count: Count | None
    """Thermal throttling events of x86 cores since boot."""
    cpu_time_s: CpuTime | None
    memory_available_bytes: Count | None
    swap_used_bytes: Moment | None


class MachineFacts(Document, frozen=True, kw_only=True):
    """What the device is."""

    python: Text
    python_executable: Text
    architecture: Text
    libc: Text | None
    kernel: Text
    board: Text | None
    cpu: Text | None
    cores: Count | None
    memory_bytes: Count | None
    emulated: Text | None
    """The evidence for user-mode emulation of another CPU; None: none was found."""
    virtual: bool | None


class RuntimeFacts(Document, frozen=True, kw_only=True):
    """The TFLite runtime of the device."""

    name: Text
    version: Text


class ProcessSamples(Document, frozen=True, kw_only=True):
    """What one fresh process measured."""

    process: Count
    configuration: Count
    """Which of those asked for."""
    num_threads: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    runtime: RuntimeFacts
    load_ms: Milliseconds
    """Loading, delegate and allocation; without importing the runtime."""
    first_ms: Milliseconds
    """The first inference, before the warm-up."""
    warmup_ns: tuple[Duration, ...]
    samples_ns: Annotated[tuple[Duration, ...], msgspec.Meta(min_length=1)]
    """Every timed inference, in order."""
    rss_before_load_bytes: Count | None
    """Python, numpy and the runtime, before the model was loaded."""
    peak_rss_bytes: Count | None
    """VmHWM of the process after the last sample; it contains ``rss_before_load_bytes``."""
    before: MachineState
    during: Annotated[tuple[MachineState, ...], msgspec.Meta(min_length=2, max_length=1000)]
    """First right after the warm-up, last right after the last sample."""


class Failed(Document, frozen=True, kw_only=True):
    """A configuration that does not run on the device."""

    configuration: Count
    message: Text
    hint: Text


class Measurement(Document, frozen=True, kw_only=True):
    """Everything the agent said in one run."""

    machine: MachineFacts
    processes: tuple[ProcessSamples, ...]
    before: MachineState
    after: MachineState
    failed: tuple[Failed, ...] = ()
    """What does not run there; some of its processes may be among ``processes``."""


class Done(Document, frozen=True, kw_only=True):
    """The last event."""

    before: MachineState
    after: MachineState


class _Event(Document, frozen=True, kw_only=True):
    event: Literal["need", "machine", "cooling", "started", "alive", "process", "failed", "done"]


def parse_event(
    event: dict[str, Any], *, device: str, of_process: type[ProcessSamples] = ProcessSamples
) -> MachineFacts | ProcessSamples | Failed | Done | None:
    """One event as a value, None for those that only say where the run is; raises DeviceFaultError."""
    kinds: dict[str, type[MachineFacts | ProcessSamples | Failed | Done]] = {
        "machine": MachineFacts,
        "process": of_process,
        "failed": Failed,
        "done": Done,
    }
    name = event.get("event")
    where = f"{device}: the agent's {name!r} event"
    convert({"event": name}, _Event, DeviceFaultError, where=where)
    kind = kinds.get(str(name))
    if kind is None:
        return None
    fields = {key: value for key, value in event.items() if key != "event"}
    return convert(fields, kind, DeviceFaultError, where=where)


def collect(
    events: Iterable[dict[str, Any]],
    *,
    device: str,
    processes: int,
    num_threads: tuple[int, ...],
    of_process: type[ProcessSamples] = ProcessSamples,
) -> Measurement:
    """All events of a run; ``num_threads`` has an entry a configuration, ``of_process`` is what a process says.

    Raises DeviceFaultError for malformed events, too many, or a process that is missing.
    """
    machine: MachineFacts | None = None
    done: Done | None = None
    samples: dict[tuple[int, int, int], ProcessSamples] = {}
    failed: dict[int, Failed] = {}
    expected = {(process, *item) for process in range(processes) for item in enumerate(num_threads)}
    for count, event in enumerate(events):
        if count > MAX_EVENTS:
            raise _contradiction(device, f"more than {MAX_EVENTS} events")
        match parse_event(event, device=device, of_process=of_process):
            case MachineFacts() as machine:
                pass
            case Done() as done:
                pass
            case ProcessSamples() as found:
                place = (found.process, found.configuration, found.num_threads)
                if place not in expected - samples.keys():
                    raise _contradiction(
                        device, f"process {found.process} with {found.num_threads} threads, not asked for"
                    )
                samples[place] = found
            case Failed() as failure:
                failed[failure.configuration] = failure
            case None:
                pass
    missing = {place for place in expected - samples.keys() if place[1] not in failed}
    if machine is None or done is None or missing:
        raise _contradiction(device, f"{len(samples)} of {len(expected)} processes and an end")
    return Measurement(
        machine=machine,
        processes=tuple(samples.values()),
        before=done.before,
        after=done.after,
        failed=tuple(failed.values()),
    )


def _contradiction(device: str, what: str) -> DeviceFaultError:
    return DeviceFaultError(
        f"{device}: the agent's answer does not fit the request: {what}.",
        hint="Something else than edgekit's agent answers there; run it again with -v.",
    )
