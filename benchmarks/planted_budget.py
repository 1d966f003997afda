"""A planted set for ``--precision auto``: is each budget kept or refused as the truth says, in how many evaluations?

python -m benchmarks.planted_budget [--only hard]... [--json FILE]        (about 6 minutes)

The truth comes from an exhaustive search: every estimator with every correction, each with 0, 1, 2 ... of the ranked
groups of layers rescued, then every whole precision. A candidate surely keeps the budget if it loses no more than half
of it on either half of the held-out samples. Right is

- a file that keeps the budget on the half that had no part in the choice, measured again here, and that is as fast (of
  the same kind or one before it: int8, rescued, float16 ...) as the fastest that surely keeps it;
- a refusal where none of all of them keeps it on both halves.

Evaluations are runs over a half, the confirming ones included; the exhaustive search needs one for each candidate.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from benchmarks.harness import Row, finish, parser, say
from benchmarks.planted_cases import DATA, PLANTED, TARGETS, Data, Target
from edgekit.candidates import CandidateFile
from edgekit.errors import foreign_errors
from edgekit.evaluate import Scores, compare, measure, runner
from edgekit.halves import split
from edgekit.ladder import Candidate
from edgekit.metrics import metric_of
from edgekit.metrics.budget import ROUNDING, allowed_drop
from edgekit.progress import silent
from edgekit.rungs import Options, rescue_candidates, whole_candidates
from edgekit.search import SearchInputs, search
from edgekit_converters.bias_correction import correct_biases
from edgekit_converters.calibrators import choose_ranges, grid_of
from edgekit_converters.equalize import equalize
from edgekit_converters.estimators import estimate_ranges
from edgekit_converters.layer_errors import layer_errors
from edgekit_converters.quantize import quantize
from edgekit_converters.recipes import layer_choices
from edgekit_converters.statistics import Statistics, collect_statistics
from edgekit_converters.trials import start_trials
from edgekit_converters.types import Calibrator, FloatModel, Ranges, Scheme

SHARE = 1 / 3
MAX_TRIALS = 24
SURE = 0.5
"""Share of the budget below which a loss on both halves is no luck: among 100 candidates some are lucky."""
METRIC = metric_of("top1")
CORRECTIONS = ((False, False), (False, True), (True, False), (True, True))
"""(equalized, biases corrected)."""


@dataclass(kw_only=True)
class Maker:
    """Makes the files of candidates; statistics are collected once for the model and once for its equalized self."""

    data: Data
    prepared: dict[bool, tuple[FloatModel, Statistics]] = field(default_factory=dict)

    def __call__(self, candidate: Candidate) -> CandidateFile:
        with foreign_errors():
            model, statistics = self.prepare(equalized=candidate.equalize)
            ranges = self.ranges(candidate, model, statistics)
            if candidate.correct_bias and ranges is not None:
                plain = quantize(model, scheme=candidate.scheme, ranges=ranges)
                model, _ = correct_biases(model, plain, self.data.calibrate)
            return CandidateFile(quantized=quantize(model, scheme=candidate.scheme, ranges=ranges), float_model=model)

    def prepare(self, *, equalized: bool) -> tuple[FloatModel, Statistics]:
        if equalized not in self.prepared:
            model = equalize(self.data.model)[0] if equalized else self.data.model
            self.prepared[equalized] = model, collect_statistics(model.tflite, self.data.calibrate, histograms=True)
        return self.prepared[equalized]

    def ranges(self, candidate: Candidate, model: FloatModel, statistics: Statistics) -> Ranges | None:
        if candidate.calibrator is None:
            return None
        if candidate.calibrator == "auto":
            trials = start_trials(model, candidate.scheme, self.data.calibrate)
            return choose_ranges(model, statistics, trials).ranges
        return estimate_ranges(statistics, candidate.calibrator, grid=grid_of(candidate.scheme))


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What one candidate loses, 0..1."""

    kind: int
    """0 int8, 1 with rescued layers, 2 and on the whole precisions: smaller is faster."""
    label: str
    choosing: float
    confirming: float


@dataclass(kw_only=True)
class Judge:
    """Measures files on both halves, without the search."""

    data: Data
    sources: dict[bool, Scores] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.halves = split(self.data.held_out)

    def drop(self, tflite: bytes, *, confirming: bool) -> float:
        if confirming not in self.sources:
            self.sources[confirming] = self.scores(self.data.model.tflite, confirming=confirming)
        return compare(self.sources[confirming], self.scores(tflite, confirming=confirming)).drop

    def allowed(self, max_drop: str) -> float:
        self.drop(self.data.model.tflite, confirming=True)
        return allowed_drop(compare(self.sources[True], self.sources[True]), max_drop)

    def scores(self, tflite: bytes, *, confirming: bool) -> Scores:
        half = self.halves.confirming if confirming else self.halves.selecting
        return measure(runner(tflite), half(self.data.held_out), METRIC)


def options_of(data: Data, target: Target) -> Options:
    """As ``edgekit build --precision auto`` has them without further flags."""
    return Options(
        scheme=Scheme(precision="int8", io="int8"),
        calibrator="min-max",
        equalize=False,
        correct_bias=False,
        precisions=target.precisions,
        rescues=target.rescues,
        choices=layer_choices(data.model),
    )


def everything(data: Data, make: Maker, options: Options) -> Iterator[tuple[int, Candidate]]:
    """(Kind, candidate) of the exhaustive search."""
    plain = Candidate(label="min-max", scheme=options.scheme, calibrator="min-max")
    first = make(plain)
    errors = layer_errors(first.float_model.tflite, first.quantized.tflite, data.calibrate()) if options.rescues else ()
    for calibrator in get_args(Calibrator):
        for equalized, corrected in CORRECTIONS:
            label = f"{calibrator}{' equalized' * equalized}{' corrected' * corrected}"
            base = replace(plain, label=label, calibrator=calibrator, equalize=equalized, correct_bias=corrected)
            yield 0, base
            for precision in options.rescues:
                yield from ((1, rescued) for rescued in rescue_candidates(options, base, errors, precision))
    yield from enumerate(whole_candidates(options), start=2)


def find_truths(data: Data, make: Maker, judge: Judge, options: Options, known: dict[str, Truth]) -> list[Truth]:
    """Of every candidate; ``known`` holds those that another target needed too."""
    found = []
    for number, (kind, candidate) in enumerate(everything(data, make, options), start=1):
        key = f"{candidate.label} {candidate.scheme}"
        if key not in known:
            say(f"    {number}: {candidate.label}")
            tflite = make(candidate).quantized.tflite
            known[key] = Truth(
                kind=kind,
                label=candidate.label,
                choosing=judge.drop(tflite, confirming=False),
                confirming=judge.drop(tflite, confirming=True),
            )
        found.append(replace(known[key], kind=kind))
    return found


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One case."""

    case: str
    truth: str
    """The kind of the fastest candidate that surely keeps the budget, or ``cannot be kept``."""
    said: str
    right: bool
    evaluations: int
    exhaustive: int

    def row(self) -> Row:
        """As ``make bench`` shows it."""
        share = self.evaluations / self.exhaustive
        return Row(
            what=f"auto: {self.case}",
            measured=f"{self.said}; {self.evaluations} evaluations of {self.exhaustive} ({share:.2f})",
            to_reach=f"{self.truth}; <= {SHARE:.2f}",
            ok=self.right and share <= SHARE,
        )


def decide(case: str, make: Maker, judge: Judge, options: Options, budget: str, truths: Sequence[Truth]) -> Verdict:
    """Search, and hold the result against the truth."""
    data = make.data
    inputs = SearchInputs(
        float_model=data.model,
        options=options,
        make=make,
        samples=lambda: data.held_out,
        calibration=data.calibrate,
        metric=METRIC,
        max_drop=budget,
        max_trials=MAX_TRIALS,
    )
    result = search(inputs, progress=silent)
    allowed = judge.allowed(budget) + ROUNDING
    keeping = [truth for truth in truths if max(truth.choosing, truth.confirming) <= allowed]
    surely = [truth for truth in keeping if max(truth.choosing, truth.confirming) <= SURE * allowed]
    kinds = ["int8", "int8 with rescued layers", *(whole.label for whole in whole_candidates(options))]
    if result.kept:
        lost = judge.drop(result.quantized.tflite, confirming=True)
        fastest = min((truth.kind for truth in surely), default=len(kinds))
        right = lost <= allowed and _kind(result.candidate, kinds) <= fastest
        said = f"kept by {result.candidate.label}, {100 * lost:+.1f} pt"
    else:
        right, said = not keeping, "refused"
    return Verdict(
        case=case,
        truth=min(surely, key=lambda truth: truth.kind).label if surely else "perhaps" if keeping else "cannot be kept",
        said=said,
        right=right,
        evaluations=len(result.trials) + result.looks,
        exhaustive=len(truths),
    )


def _kind(candidate: Candidate, kinds: Sequence[str]) -> int:
    if candidate.scheme.precision == "int8":
        return int(bool(candidate.scheme.layers))
    return kinds.index(candidate.label)


def main() -> int:
    """Exit status 1 when a verdict is wrong or took too many evaluations."""
    arguments = parser(__doc__)
    arguments.add_argument("--only", choices=DATA, action="append", help="can be repeated")
    chosen = arguments.parse_args()
    verdicts: list[Verdict] = []
    details: dict[str, Any] = {}
    for name in chosen.only or DATA:
        with tempfile.TemporaryDirectory() as folder:
            data = DATA[name](Path(folder))
        make, judge, known = Maker(data=data), Judge(data=data), dict[str, Truth]()
        for target, budget in PLANTED[name]:
            case = f"{name}, {target}, {budget}"
            say(f"  {case}")
            options = options_of(data, TARGETS[target])
            truths = find_truths(data, make, judge, options, known)
            verdicts.append(decide(case, make, judge, options, budget, truths))
            say(f"    {verdicts[-1].row().measured}")
            details[case] = asdict(verdicts[-1])
        details[f"{name}, every candidate"] = [asdict(truth) for truth in known.values()]
    return finish([verdict.row() for verdict in verdicts], details, chosen.json)


if __name__ == "__main__":
    sys.exit(main())
