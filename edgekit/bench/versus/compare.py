"""``compare``: models that take turns on a device, and what may be said of them."""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from time import monotonic
from typing import Any

from msgspec.structs import replace

from edgekit.artifact import Artifact
from edgekit.bench.findings import (
    FREQUENCY_TOLERANCE,
    clock_findings,
    clocks_khz,
    frequency_findings,
    load_findings,
    machine_findings,
    throttle_findings,
)
from edgekit.bench.latency import NS_PER_MS
from edgekit.bench.plan import BenchOptions, Configuration, Subject, configurations, payload, read_subject, request
from edgekit.bench.versus.comparison import MARGIN, ComparedModel, Comparison, ComparisonReport, judge
from edgekit.bench.versus.effect import LEVEL, estimate_effect, latency, log_ratio, needed_rounds, typical
from edgekit.bench.versus.rounds import MAX_ROUNDS, Round, Rounds, collect_rounds
from edgekit.entries import FindingEntry
from edgekit.errors import ModelError
from edgekit.transport import Connection
from edgekit.transport.agent import call, prepare_agent
from edgekit.transport.files import answer_need

SILENCE_S = 60.0
"""The agent says something every few seconds."""
MAX_SECS = 8.0
"""With the connection and the start of the agent a comparison of small models stays below ten seconds."""
MIN_ROUNDS = 6
"""However slow the models: fewer cannot promise 95 % for one candidate, see ``effect.choose_rank``."""
BLOCK_S = 0.002
"""Longer blocks see more of what the machine does in between; in shorter ones a cold cache weighs more."""
BLOCK_RUNS = 5
"""Of which the first, whose caches the other model used, may be slow without a trace in the median."""
BLOCK_MOST_S = 0.02
"""An inference that takes longer needs no others beside it: caches are a small part of it."""
ROUND_S = 0.1
"""Timed in a round: about what the start of its processes takes."""
MIN_PASSES, MAX_PASSES = 4, 24
WARMUP_S, WARMUP_RUNS = 0.02, 3
"""At least both; the runs are what a slow model needs."""
MIN_MODELS, MAX_MODELS = 2, 16
DROPPED = 0.25
"""Share of the rounds that may be left out because the clock moved in them."""

OnRound = Callable[[float, float], None]
"""``on_progress(done_s, total_s)``; the total is a guess for slow models."""


def compare(
    models: Sequence[Artifact | Path],
    connection: Connection,
    options: BenchOptions | None = None,
    *,
    margin: float = MARGIN,
    max_secs: float = MAX_SECS,
    on_progress: OnRound = lambda _done, _total: None,
) -> ComparisonReport:
    """Compare the others with the first of ``models``: artifacts, their folders, or .tflite files, also twice the same.

    Of ``options``, the first of ``num_threads``, ``warmup_runs``, ``delegate``, ``cpus``, ``governor`` and
    ``cooldown_c`` count. The rounds end by ``max_secs`` alone, at least ``MIN_ROUNDS`` of them: nobody looks at the
    result before. ``margin`` is the relative change that is none.

    Raises:
        ModelError, ArtifactError, IntegrityError: a model is none, or was changed after the build; less than two.
        DeviceFaultError: no runtime, a model or delegate that does not run there, an option the device refuses.
        TransportError: connection lost.
    """
    if not MIN_MODELS <= len(models) <= MAX_MODELS:
        raise ModelError(
            f"{len(models)} models were given to compare.",
            hint=f"Give {MIN_MODELS} to {MAX_MODELS}, the baseline first.",
        )
    options = options or BenchOptions(warmup_runs=WARMUP_RUNS)
    asked = _configurations([read_subject(model) for model in models], options, connection)
    measured = measure_rounds(asked, connection, options, max_secs=max_secs, on_progress=on_progress)
    return summarize_rounds(measured, asked, options=options, device=connection.device.name, margin=margin)


def _configurations(
    subjects: Sequence[Subject], options: BenchOptions, connection: Connection
) -> tuple[Configuration, ...]:
    one = replace(options, num_threads=options.num_threads[:1])
    return tuple(configurations(subject, one, connection.device)[0] for subject in unique_names(subjects))


def unique_names(subjects: Sequence[Subject]) -> list[Subject]:
    """Names as they are where they differ; else with their place in the list: ``kws #1``, ``kws #2``."""
    names = [subject.name for subject in subjects]
    return [
        replace(subject, name=f"{subject.name} #{place}") if names.count(subject.name) > 1 else subject
        for place, subject in enumerate(subjects, start=1)
    ]


def measure_rounds(
    asked: Sequence[Configuration],
    connection: Connection,
    options: BenchOptions,
    *,
    max_secs: float = MAX_SECS,
    on_progress: OnRound = lambda _done, _total: None,
) -> Rounds:
    """Let the configurations take turns for about ``max_secs``."""
    device = connection.device.name
    agent = prepare_agent(connection)
    files = payload(asked)
    common = request(asked, options, root=agent.root)
    schedule = {
        "block_s": BLOCK_S,
        "block_runs": BLOCK_RUNS,
        "round_s": ROUND_S,
        "block_most_s": BLOCK_MOST_S,
        "min_passes": MIN_PASSES,
        "max_passes": MAX_PASSES,
        "warmup_s": WARMUP_S,
        "min_rounds": MIN_ROUNDS,
        "max_rounds": MAX_ROUNDS,
        "max_secs": max_secs,
    }
    kept = ("root", "files", "configurations", "warmup_runs", "cpus", "governor", "cooldown")
    events = call(
        agent,
        "compare",
        {**{key: common[key] for key in kept}, **schedule},
        answer=lambda event: answer_need(event, files, device),
        timeout_s=SILENCE_S,
    )
    return collect_rounds(
        _timed(events, on_progress, max_secs), device=device, models=len(asked), min_rounds=MIN_ROUNDS
    )


def _timed(events: Iterator[dict[str, Any]], on_progress: OnRound, max_secs: float) -> Iterator[dict[str, Any]]:
    start = monotonic()
    rounds = 0
    for event in events:
        if event["event"] == "round":
            rounds += 1
            done = monotonic() - start
            total = max(max_secs, done, done * MIN_ROUNDS / rounds)
            on_progress(done, total)
        yield event


def summarize_rounds(
    measured: Rounds, asked: Sequence[Configuration], *, options: BenchOptions, device: str, margin: float
) -> ComparisonReport:
    """Every candidate against the first model, the intervals together at 95 % (Bonferroni); and the findings. Pure."""
    steady = [item for item in measured.rounds if not _clock_moved(item)]
    rounds = steady or list(measured.rounds)
    level = 1 - (1 - LEVEL) / (len(asked) - 1)
    names = [item.subject.name for item in asked]
    return ComparisonReport(
        device=device,
        machine=measured.machine,
        runtime=measured.rounds[0].processes[0].runtime,
        options=_as_run(options, rounds),
        margin=margin,
        rounds=len(rounds),
        models=tuple(_model(item, place, rounds) for place, item in enumerate(asked)),
        comparisons=tuple(
            compare_rounds(rounds, place, names=(names[0], names[place]), margin=margin, level=level)
            for place in range(1, len(asked))
        ),
        findings=_find(measured, asked, steady=len(steady)),
        before=measured.before,
        after=measured.after,
    )


def _as_run(options: BenchOptions, rounds: Sequence[Round]) -> BenchOptions:
    runs = min(process.num_runs for item in rounds for process in item.processes)
    return replace(options, num_threads=options.num_threads[:1], num_runs=runs, min_secs=0.0, processes=len(rounds))


def compare_rounds(
    rounds: Sequence[Round], place: int, *, names: tuple[str, str], margin: float, level: float = LEVEL
) -> Comparison:
    """The model at ``place`` against the first."""
    ratios = [log_ratio(item.processes[0].blocks_ns, item.processes[place].blocks_ns) for item in rounds]
    effect = estimate_effect(ratios, level=level)
    verdict = judge((effect.low, effect.high), margin)
    return Comparison(
        baseline=names[0],
        candidate=names[1],
        verdict=verdict,
        effect=effect.value,
        interval=(effect.low, effect.high),
        level=effect.level,
        needed_rounds=needed_rounds(effect, margin, len(rounds)) if verdict == "inconclusive" else None,
    )


def _model(asked: Configuration, place: int, rounds: Sequence[Round]) -> ComparedModel:
    medians = [latency(item.processes[place].blocks_ns) / NS_PER_MS for item in rounds]
    return ComparedModel(
        name=asked.subject.name,
        model_sha256=asked.subject.entry.sha256,
        artifact_digest=asked.subject.artifact_digest,
        delegate=asked.delegate,
        num_threads=asked.num_threads,
        median_ms=typical(medians),
        rounds_ms=tuple(medians),
    )


def _clock_moved(item: Round) -> bool:
    seen = clocks_khz(item.during)
    return bool(seen) and max(seen) > FREQUENCY_TOLERANCE * min(seen)


def _find(measured: Rounds, asked: Sequence[Configuration], *, steady: int) -> tuple[FindingEntry, ...]:
    during = [item.during for item in measured.rounds]
    states = [state for item in during for state in item]
    return (
        *clock_findings(during),
        *_frequency(measured.rounds, steady=steady),
        *throttle_findings(measured.before, states, measured.after),
        *_emulated(measured),
        *load_findings(during),
        *_subjects(asked),
    )


def _frequency(rounds: Sequence[Round], *, steady: int) -> Iterator[FindingEntry]:
    """The clocks of different CPUs, and of different rounds, may differ: what counts is what happens within one."""
    moved = len(rounds) - steady
    found = {item.name: item for entry in rounds for item in frequency_findings(entry.during)}
    yield from (item for name, item in found.items() if name != "frequency-moved")
    if moved > DROPPED * len(rounds):
        yield replace(
            found["frequency-moved"],
            message=f"The CPU frequency moved by more than {100 * (FREQUENCY_TOLERANCE - 1):.0f} % "
            f"within {moved} of {len(rounds)} rounds.",
        )
    elif moved:
        yield FindingEntry(
            name="rounds-left-out",
            severity="info",
            message=f"{moved} of {len(rounds)} rounds were left out: the CPU frequency moved within them.",
            fix="--governor performance keeps it where it is.",
        )


def _emulated(measured: Rounds) -> Iterator[FindingEntry]:
    for item in machine_findings(measured.machine, measured.before, measured.after):
        if item.name == "emulated":
            message = f"The CPU is emulated: the verdict is about the emulator. ({measured.machine.emulated})"
            yield replace(item, message=message)
        elif item.name != "virtual":  # what it warns of, other guests, is in both models of a round
            yield item


def _subjects(asked: Sequence[Configuration]) -> Iterator[FindingEntry]:
    for first, second in combinations(asked, 2):
        if first.subject.entry.sha256 == second.subject.entry.sha256 and first.delegate == second.delegate:
            yield FindingEntry(
                name="same-file",
                severity="info",
                message=f"{first.subject.name} and {second.subject.name} are the same bytes: this is an A/A test.",
                fix="Whatever is found between them is what this machine makes up.",
            )
    if len({item.delegate for item in asked}) > 1:
        used = ", ".join(f"{item.subject.name}: {item.delegate}" for item in asked)
        yield FindingEntry(
            name="delegates-differ",
            severity="warning",
            message=f"The models run with different delegates ({used}): the effect is that of both.",
            fix="Give one for all with --delegate.",
        )
