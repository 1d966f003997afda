"""What the device was, and how it was measured."""

from edgekit.bench.plan import BenchOptions
from edgekit.bench.report import BenchmarkReport
from edgekit.bench.samples import MachineFacts, MachineState
from edgekit.bench.versus.comparison import ComparisonReport
from edgekit.report.html.timeline import fastest_mhz, hottest
from edgekit.report.html.view import Section, Table
from edgekit.report.html.words import UNKNOWN, number, when

GIB = 2**30


def section(report: BenchmarkReport | ComparisonReport) -> Section:
    """Facts of the device, its state before and after, options and digests."""
    tables = [_facts(report), _states(report.before, report.after), _options(report)]
    if isinstance(report, BenchmarkReport):
        tables.append(_model(report))
    return Section(title="Device and options", pieces=tuple(tables))


def _facts(report: BenchmarkReport | ComparisonReport) -> Table:
    facts: MachineFacts = report.machine
    memory = None if facts.memory_bytes is None else facts.memory_bytes / GIB
    rows = (
        ("device", report.device),
        ("board", facts.board or UNKNOWN),
        ("CPU", facts.cpu or UNKNOWN),
        ("cores", UNKNOWN if facts.cores is None else str(facts.cores)),
        ("memory", number(memory, "GiB", digits=3)),
        ("architecture", facts.architecture),
        ("kernel", facts.kernel),
        ("libc", facts.libc or UNKNOWN),
        ("Python", facts.python),
        ("runtime", f"{report.runtime.name} {report.runtime.version}"),
        ("virtual machine", UNKNOWN if facts.virtual is None else "yes" if facts.virtual else "no"),
        ("emulated", facts.emulated or "no sign of it"),
        ("when, by its clock", when(report.before)),
    )
    return Table(caption="What the device is", heads=(), rows=rows)


def _states(before: MachineState, after: MachineState) -> Table:
    columns = [_state(state) for state in (before, after)]
    rows = tuple((name, one, other) for (name, one), (_, other) in zip(*columns, strict=True))
    return Table(caption="Its state", heads=("", "before", "after"), rows=rows)


def _state(state: MachineState) -> tuple[tuple[str, str], ...]:
    governors = sorted({policy.governor for policy in state.policies if policy.governor is not None})
    free = state.memory_available_bytes
    firmware = state.firmware_throttle
    return (
        ("governor", ", ".join(governors) or UNKNOWN),
        ("fastest clock", number(fastest_mhz(state), "MHz")),
        ("hottest zone", number(hottest(state), "°C", digits=3)),
        ("throttling", UNKNOWN if firmware is None else ", ".join(firmware.now) or "none"),
        ("free memory", number(None if free is None else free / GIB, "GiB", digits=3)),
    )


def _options(report: BenchmarkReport | ComparisonReport) -> Table:
    options: BenchOptions = report.options
    turns = isinstance(report, ComparisonReport)  # whose rounds have a length of their own, and bind every process
    chosen = "the same for all models of a round" if turns else "the scheduler's choice"
    rows = (
        ("timed runs a process, at least", str(options.num_runs)),
        ("warm-up runs", str(options.warmup_runs)),
        *(() if turns else (("timed seconds a process, at least", f"{options.min_secs:g}"),)),
        ("threads", ", ".join(map(str, options.num_threads))),
        ("processes of each model" if turns else "processes", str(options.processes)),
        ("delegate", options.delegate or "the device's, else the model's"),
        ("CPUs", chosen if options.cpus is None else ", ".join(map(str, options.cpus))),
        ("governor", options.governor or "left alone"),
    )
    return Table(caption="How it was measured", heads=(), rows=rows)


def _model(report: BenchmarkReport) -> Table:
    rows = (
        ("name", report.model),
        ("delegate", report.delegate),
        ("sha256 of the model", report.model_sha256),
        ("digest of the artifact", report.artifact_digest or "none: a bare .tflite"),
    )
    return Table(caption="The model", heads=(), rows=rows)
