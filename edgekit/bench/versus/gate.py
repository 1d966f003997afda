"""A run against its baseline: may it ship? Pure; ``--baseline`` and ``--max-regression`` of ``edgekit bench``."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from msgspec.structs import replace

from edgekit.bench.latency import Result
from edgekit.bench.plan import BenchOptions, Configuration
from edgekit.bench.report import BenchmarkReport, require_valid
from edgekit.bench.samples import MachineFacts
from edgekit.bench.versus import comparison
from edgekit.bench.versus.comparison import ComparedModel, Comparison, ComparisonReport, compare_runs
from edgekit.documents import Document
from edgekit.entries import FindingEntry
from edgekit.errors import InconclusiveError, MeasurementInvalidError, RegressionError, RunError

MIN_PROCESSES = 5
"""Fewer cannot promise the 90 % interval that a comparison rests on (docs/decisions/0004-interval.md)."""
Decision = Literal["kept", "exceeded", "open"]
Fact = Callable[[BenchmarkReport], Any]
SAME: dict[str, Fact] = {
    "model": lambda report: report.model,
    "device": lambda report: report.device,
    "board": lambda report: report.machine.board,
    "CPU": lambda report: report.machine.cpu,
    "architecture": lambda report: report.machine.architecture,
    "number of cores": lambda report: report.machine.cores,
    "runtime": lambda report: report.runtime.name,
    "delegate": lambda report: report.delegate,
    "choice of CPUs": lambda report: _chosen(report.options)["choice of CPUs"],
    "governor asked for": lambda report: _chosen(report.options)["governor asked for"],
}
"""What must be the same, or the difference is not the model's."""
WORTH_SAYING: dict[str, Fact] = {
    "runtime's version": lambda report: report.runtime.version,
    "kernel": lambda report: report.machine.kernel,
    "Python": lambda report: report.machine.python,
    "C library": lambda report: report.machine.libc,
    "governor": lambda report: sorted({policy.governor or "" for policy in report.before.policies}),
    "delegate's options": lambda report: report.coverage and report.coverage.delegate_options,
    "warm-up": lambda report: report.options.warmup_runs,
    "time of a process": lambda report: report.options.min_secs,
}
"""What may change a latency without the model."""
MORE_PROCESSES = (
    "Use more --processes, a quieter machine, or the former model as --baseline: it is measured in turns, which tells "
    "smaller differences."
)
MORE_ROUNDS = "Use a quieter machine, or `edgekit compare` of both models with --max-secs 60: more rounds tell more."


class GateReport(Document, frozen=True, kw_only=True):
    """A run against its baseline."""

    baseline: str
    """Id of the run, or name of the model that was measured in turns with the candidate."""
    max_regression: float
    """Relative: 0.03 is 3 %."""
    num_threads: tuple[int, ...]
    comparisons: tuple[Comparison, ...]
    """One for each of ``num_threads``."""
    findings: tuple[FindingEntry, ...]
    in_turns: bool
    """Whether baseline and candidate took turns; else they are two recorded runs."""
    same_file: bool = False
    """Baseline and candidate are the same bytes, measured in turns: nothing can have become slower."""


def decide(item: Comparison, max_regression: float) -> Decision:
    """``exceeded``: surely slower by more; ``kept``: surely not; ``open``: the interval holds the limit."""
    low, high = item.interval
    return "exceeded" if low > max_regression else "kept" if high <= max_regression else "open"


def check_baseline(baseline: BenchmarkReport, *, name: str) -> None:
    """Raise RunError where nothing can be held against this run: invalid, emulated, or from too few processes."""
    if baseline.machine.emulated is not None:
        raise RunError(
            f"{name} was measured on an emulated CPU ({baseline.machine.emulated}): its latencies mean nothing.",
            hint="Give a run of a real device as the baseline.",
        )
    errors = [finding.message for finding in baseline.findings if finding.severity == "error"]
    if errors:
        raise RunError(
            f"{name} is no baseline: its measurement is invalid. {errors[0]}",
            hint="Give a valid run; `edgekit runs list` says which are.",
        )
    _check_processes(baseline, name)


def check_asked(
    asked: Sequence[Configuration], options: BenchOptions, *, device: str, baseline: BenchmarkReport, name: str
) -> None:
    """Before minutes of measuring: raise RunError where ``gate_run`` would, for what is known by now."""
    if options.processes < MIN_PROCESSES:
        raise _too_few("This run", options.processes)
    known = {
        "model": asked[0].subject.name, "device": device, "delegate": asked[0].delegate, **_chosen(options)
    }  # fmt: skip
    _require_same([_difference(what, SAME[what](baseline), value) for what, value in known.items()], name)
    if not set(options.num_threads) & {result.num_threads for result in baseline.results}:
        raise _other_threads(name, baseline, ",".join(map(str, options.num_threads)))


def gate_run(report: BenchmarkReport, baseline: BenchmarkReport, *, name: str, max_regression: float) -> GateReport:
    """A run of ``edgekit bench`` against a recorded one called ``name``, for each thread count that both have.

    Raises:
        RunError: the baseline cannot be used, or differs in more than the model; the message says in what.
        MeasurementInvalidError: the new run means nothing.
    """
    require_valid(report)
    _check_cpu(report.device, report.machine)
    check_baseline(baseline, name=name)
    _check_processes(report, "This run")
    _require_same([_difference(what, fact(baseline), fact(report)) for what, fact in SAME.items()], name)
    there = {result.num_threads: result for result in baseline.results}
    shared = [result for result in report.results if result.num_threads in there]
    if not shared:
        raise _other_threads(name, baseline, _threads(report))
    return GateReport(
        baseline=name,
        max_regression=max_regression,
        num_threads=tuple(result.num_threads for result in shared),
        comparisons=tuple(
            compare_runs(
                _positive(there[result.num_threads], name), result, margin=max_regression, names=(name, report.model)
            )
            for result in shared
        ),
        findings=tuple(_findings(report, baseline, name)),
        in_turns=False,
    )


def gate_comparisons(reports: Sequence[ComparisonReport], *, max_regression: float) -> GateReport:
    """The first two models of each comparison, measured in turns: the sharper test. One for each thread count.

    Raises MeasurementInvalidError where one of them means nothing.
    """
    for report in reports:
        comparison.require_valid(report)
        _check_cpu(report.device, report.machine)
    return GateReport(
        baseline=reports[0].comparisons[0].baseline,
        max_regression=max_regression,
        num_threads=tuple(report.models[0].num_threads for report in reports),
        comparisons=tuple(report.comparisons[0] for report in reports),
        findings=tuple(_said_in_turns(reports)),
        in_turns=True,
        same_file=all(_is_same_file(*report.models[:2]) for report in reports),
    )


def _is_same_file(one: ComparedModel, other: ComparedModel) -> bool:
    return (one.model_sha256, one.delegate) == (other.model_sha256, other.delegate)


def require_no_regression(gate: GateReport, *, details: dict[str, object] | None = None) -> None:
    """Nothing where every comparison keeps the limit, or where both models are the same bytes.

    Raises:
        RegressionError (exit code 3): one is surely slower by more.
        InconclusiveError (exit code 7): none is, and one may be.
    """
    if gate.same_file:
        return  # what was found between them is what the machine makes up
    decided = [
        (decide(item, gate.max_regression), line) for item, line in zip(gate.comparisons, describe(gate), strict=True)
    ]
    exceeded = [line for decision, line in decided if decision == "exceeded"]
    if exceeded:
        raise RegressionError(
            f"Slower than {gate.baseline} by more than {100 * gate.max_regression:g} %: {'; '.join(exceeded)}.",
            hint="Find what made it slower; `edgekit compare` of both models measures it again, and --max-regression "
            "allows more.",
            details=details,
        )
    undecided = [line for decision, line in decided if decision == "open"]
    if undecided:
        raise InconclusiveError(
            f"Whether it keeps {100 * gate.max_regression:g} % against {gate.baseline} cannot be told: "
            f"{'; '.join(undecided)}.",
            hint=MORE_ROUNDS if gate.in_turns else MORE_PROCESSES,
            details=details,
        )


def describe(gate: GateReport) -> tuple[str, ...]:
    """Each comparison in words: ``1 thread: +4.1 % (88 % interval +3.2 % to +5.0 %)``."""
    return tuple(
        f"{threads} thread{'s' * (threads > 1)}: {100 * item.effect:+.1f} % "
        f"({100 * item.level:.0f} % interval {100 * item.interval[0]:+.1f} % to {100 * item.interval[1]:+.1f} %)"
        for threads, item in zip(gate.num_threads, gate.comparisons, strict=True)
    )


def _check_cpu(device: str, machine: MachineFacts) -> None:
    if machine.emulated is not None:
        raise MeasurementInvalidError(
            f"{device} has an emulated CPU ({machine.emulated}): its latencies cannot pass a gate.",
            hint="Measure on a real device.",
        )


def _check_processes(report: BenchmarkReport, name: str) -> None:
    fewest = min(len(result.processes) for result in report.results)
    if fewest < MIN_PROCESSES:
        raise _too_few(name, fewest)


def _too_few(name: str, fewest: int) -> RunError:
    return RunError(
        f"{name} has {fewest} process{'es' * (fewest != 1)} for a number of threads; a comparison needs "
        f"{MIN_PROCESSES}, because the bias of a latency belongs to the process.",
        hint=f"Measure with --processes {MIN_PROCESSES} or more.",
    )


def _require_same(differing: Sequence[str | None], name: str) -> None:
    if any(differing):
        raise RunError(
            f"{name} is no baseline for this run: {'; '.join(filter(None, differing))}.",
            hint="Measure a baseline under the same conditions, or give the former model itself: "
            "--baseline build/MODEL is measured now, in turns.",
        )


def _other_threads(name: str, baseline: BenchmarkReport, here: str) -> RunError:
    return RunError(
        f"{name} has other numbers of threads: {_threads(baseline)}, not {here}.",
        hint=f"Use --num-threads {_threads(baseline)}.",
    )


def _chosen(options: BenchOptions) -> dict[str, Any]:
    return {"choice of CPUs": options.cpus or "the scheduler's", "governor asked for": options.governor or "none"}


def _positive(result: Result, name: str) -> Result:
    if result.latency_ms.median_interval[0] <= 0:
        raise RunError(f"{name} has a latency of 0 ms: it was changed.", hint="Measure the baseline again.")
    return result


def _difference(what: str, there: Any, here: Any) -> str | None:
    return None if there == here else f"its {what} is {_shown(there)}, here {_shown(here)}"


def _shown(value: Any) -> str:
    return (
        "unknown" if value is None else ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    )


def _threads(report: BenchmarkReport) -> str:
    return ",".join(str(result.num_threads) for result in report.results)


def _said_in_turns(reports: Sequence[ComparisonReport]) -> Iterator[FindingEntry]:
    """What is worth a word beside the findings of the benchmark, which say the rest."""
    found = dict.fromkeys(finding for report in reports for finding in report.findings)
    for finding in found:
        if finding.severity == "warning" or finding.name == "same-file":
            yield replace(finding, message=f"In turns with the baseline: {finding.message}")


def _findings(report: BenchmarkReport, baseline: BenchmarkReport, name: str) -> Iterator[FindingEntry]:
    differing = [_difference(what, fact(baseline), fact(report)) for what, fact in WORTH_SAYING.items()]
    if any(differing):
        yield FindingEntry(
            name="baseline-differs",
            severity="warning",
            message=f"{name} was measured under other conditions: {'; '.join(filter(None, differing))}.",
            fix="What changed may be that and not the model: measure the baseline again, or give the former model.",
        )
    missing = {result.num_threads for result in report.results} - {result.num_threads for result in baseline.results}
    if missing:
        yield FindingEntry(
            name="baseline-threads",
            severity="warning",
            message=f"{name} did not measure {', '.join(map(str, sorted(missing)))} threads: no limit holds for these.",
            fix=f"Measure the baseline with --num-threads {_threads(report)}.",
        )
    if report.model_sha256 == baseline.model_sha256:
        yield FindingEntry(
            name="baseline-same-file",
            severity="info",
            message=f"{name} is of the very same file: a difference is the machine's or the runtime's.",
            fix="Nothing; give another run where another model was meant.",
        )
