"""The search on real networks: an easy one, one with a planted layer, one that nothing can save."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.candidates import CandidateFile, Maker
from edgekit.errors import AccuracyError, DataError, ModelError
from edgekit.halves import split
from edgekit.ladder import Candidate
from edgekit.metrics import metric_of
from edgekit.rungs import Options, make_rungs, rescues_of
from edgekit.search import SearchInputs, search
from edgekit.search_result import SearchResult, refusal, trial_rows
from edgekit.target import load_target
from edgekit_converters.quantize import quantize
from edgekit_converters.recipes import layer_choices
from edgekit_converters.statistics import collect_statistics
from edgekit_converters.tensor_runner import TensorRunner
from edgekit_converters.types import FloatModel, LayerPrecision, Precision, Scheme
from tests.min_max import min_max_ranges
from tests.unit.float_networks import network_samples, planted_network

pytestmark = pytest.mark.unit


@dataclass(frozen=True, kw_only=True)
class Labelled:
    inputs: Mapping[str, Any]
    label: int | None
    digest: bytes
    target: Any = None
    where: str = "a sample"


@cache
def labelled(tflite: bytes, count: int) -> list[Labelled]:
    """Samples with the class that the float model gives them: it is right on every one."""
    runner = TensorRunner(tflite, like=tflite)
    found = []
    for sample in network_samples(count, seed=5):
        runner.run(sample)
        label = int(runner.outputs()[0].argmax())
        found.append(Labelled(inputs=sample, label=label, digest=sample["x"].tobytes()[:16]))
    return found


class Made:
    """Makes candidates and remembers which; bias correction and equalization change nothing here."""

    def __init__(self, model: FloatModel) -> None:
        self.model, self.labels = model, list[str]()
        self.ranges = min_max_ranges(model.tflite, network_samples(64))

    def __call__(self, candidate: Candidate) -> CandidateFile:
        self.labels.append(candidate.label)
        quantized = quantize(self.model, scheme=candidate.scheme, ranges=self.ranges)
        return CandidateFile(quantized=quantized, float_model=self.model)


def inputs(
    model: FloatModel,
    make: Callable[[Candidate], CandidateFile],
    *,
    samples: int = 400,
    max_drop: str = "2pt",
    precisions: tuple[Precision, ...] = ("int8", "float16", "float32"),
    rescues: tuple[LayerPrecision, ...] = ("float32",),
    max_trials: int = 20,
    latency: Callable[[bytes], float | None] = lambda _tflite: None,
) -> SearchInputs:
    data = labelled(model.tflite, samples)
    return SearchInputs(
        float_model=model,
        options=Options(
            scheme=Scheme(precision="int8", io="int8"),
            calibrator="min-max",
            equalize=False,
            correct_bias=False,
            precisions=precisions,
            rescues=rescues,
            choices=layer_choices(model),
        ),
        make=make,
        samples=lambda: data,
        calibration=lambda: network_samples(16),
        metric=metric_of("top1"),
        max_drop=max_drop,
        max_trials=max_trials,
        latency=latency,
    )


def run(given_inputs: SearchInputs, *, keep_best: bool = False) -> SearchResult:
    steps: list[str] = []
    result = search(given_inputs, progress=lambda step, done=None, total=None: steps.append(step), keep_best=keep_best)
    assert len(result.trials) + result.looks <= given_inputs.max_trials
    assert steps
    return result


def findings(result: SearchResult) -> set[str]:
    return {finding.name for finding in result.findings}


def test_a_network_that_int8_suits_stays_int8() -> None:
    model = planted_network(hard=None)
    result = run(inputs(model, Made(model), max_drop="5pt"))
    assert (result.candidate.label, result.kept, result.confirmed, result.looks) == ("int8", True, True, 1)
    assert result.evaluation.samples == 200
    assert result.quantized.precision == "int8"
    assert "search-order" in findings(result)


def test_a_planted_layer_is_rescued_and_nothing_else() -> None:
    model = planted_network(hard=3, gain=3000.0)
    result = run(inputs(model, Made(model)))
    assert result.kept
    assert set(result.candidate.scheme.layers) >= {"dense3", "dense4"}
    assert len(result.candidate.scheme.layers) <= 3
    assert result.trials[0].drop is not None
    assert result.trials[0].drop > 0.02, "int8 alone is over the budget"


def test_a_network_that_nothing_saves_is_refused_with_the_table() -> None:
    model = planted_network(hard=3, gain=3000.0)
    result = run(inputs(model, Made(model), precisions=("int8",), rescues=()))
    assert not result.kept
    assert not result.confirmed
    error = refusal(result)
    assert isinstance(error, AccuracyError)
    assert error.exit_code == 3
    assert "None of the 1 files" in error.message
    assert "samples that chose it" in error.message
    assert [row["candidate"] for row in error.details["trials"]] == ["int8"]
    assert "--keep-best" in error.hint


def test_a_correction_is_a_trial_only_if_it_helps() -> None:
    model = planted_network(hard=3, gain=3000.0)
    make = Made(model)

    def corrected(candidate: Candidate) -> CandidateFile:
        if candidate.label != "int8, bias correction":
            return make(candidate)
        layers: dict[str, LayerPrecision] = {"dense3": "float32", "dense4": "float32"}  # what a correction may do
        return make(replace(candidate, scheme=replace(candidate.scheme, layers=layers)))

    result = run(inputs(model, corrected))
    assert [trial.candidate.label for trial in result.trials] == ["int8", "int8, bias correction"]
    assert result.kept
    assert result.candidate.correct_bias


def test_keep_best_is_measured_where_it_was_not_chosen_and_says_what_it_is() -> None:
    model = planted_network(hard=3, gain=3000.0)
    result = run(inputs(model, Made(model), precisions=("int8",), rescues=()), keep_best=True)
    assert (result.kept, result.confirmed, result.looks) == (False, True, 1)
    (said,) = [finding.message for finding in result.findings if finding.name == "budget-exceeded"]
    assert "does not keep the budget of 2pt on both halves" in said
    assert "points on the samples that chose and" in said
    assert "no part in the choice" in refusal(result).message


def test_int8_weights_come_before_slower_files_where_int4_ones_were_asked_for() -> None:
    model = planted_network(hard=None)
    asked = inputs(model, Made(model), max_drop="0pt")
    narrow = replace(asked.options.scheme, weight_bits=4)
    options = replace(asked.options, scheme=narrow)
    rungs = make_rungs(options, lambda _trials: (), lambda _trials: (), floors_ms={"int8": 1.0})
    assert [rung.name for rung in rungs[:4]] == [
        "int8",
        "int8 corrected",
        "int8 with int8 weights",
        "int8 with rescued layers",
    ]
    (wide,) = rungs[2].candidates(())
    assert (wide.scheme, rungs[2].floor_ms) == (asked.options.scheme, 1.0)
    usual = make_rungs(asked.options, lambda _trials: (), lambda _trials: (), floors_ms={})
    assert usual[2].candidates(()) == (), "they have int8 weights already"


def test_float_is_the_last_resort_and_its_interface_is_said() -> None:
    model = planted_network(hard=3, gain=3000.0)
    result = run(inputs(model, Made(model), rescues=()))
    assert result.candidate.label == "float16"
    assert "io-changed" in findings(result)


def test_latency_decides_what_is_fastest() -> None:
    model = planted_network(hard=3, gain=3000.0)
    make = Made(model)
    sizes = {
        kind: len(make(Candidate(label=kind, scheme=Scheme(precision=kind))).quantized.tflite)
        for kind in ("float16", "float32")
    }

    def slow_int8(tflite: bytes) -> float:
        return 1.0 if len(tflite) in sizes.values() else 2.0

    result = run(inputs(model, make, latency=slow_int8))
    assert result.candidate.label == "float16"
    assert len(result.trials) == 1
    assert result.trials[0].latency_ms == 1.0

    def slow_rescue(tflite: bytes) -> float:
        return 2.0 if len(tflite) in sizes.values() else 1.0 if b"dequant" not in tflite.lower() else 3.0

    result = run(inputs(model, make, latency=slow_rescue))
    assert result.candidate.label == "float16", "a rescued layer is slower here than float16"
    assert all(not trial.candidate.scheme.layers for trial in result.trials)


def test_what_cannot_be_made_is_a_trial_that_failed() -> None:
    model = planted_network(hard=None)
    real = Made(model)

    def make(candidate: Candidate) -> CandidateFile:
        if candidate.scheme.precision == "int8":
            raise ModelError("no kernel for it.", hint="none")
        return real(candidate)

    result = run(inputs(model, make))
    assert result.candidate.label == "float16"
    assert trial_rows(result.trials)[0] == {
        "candidate": "int8",
        "drop": None,
        "keeps": False,
        "refuted": False,
        "latency_ms": None,
        "size_bytes": None,
        "failure": "no kernel for it.",
    }
    with pytest.raises(ModelError, match="The first one: no kernel for it"):
        run(inputs(model, make, precisions=("int8",)))


def test_the_bound_is_kept_and_said() -> None:
    model = planted_network(hard=3, gain=3000.0)
    result = run(inputs(model, Made(model), max_trials=3))
    assert result.candidate.label == "float32"
    assert "search-stopped" in findings(result)


def test_the_same_inputs_give_the_same_file() -> None:
    model = planted_network(hard=3, gain=3000.0)
    first, second = (run(inputs(model, Made(model))) for _ in range(2))
    assert first.quantized.tflite == second.quantized.tflite
    assert first.trials == second.trials


def test_few_samples_are_said() -> None:
    model = planted_network(hard=None)
    assert "search-few-samples" in findings(run(inputs(model, Made(model), samples=60, max_drop="20pt")))
    with pytest.raises(DataError, match="1 different samples"):
        run(inputs(model, Made(model), samples=1))


@pytest.mark.parametrize(
    ("target", "expected"),
    [("rpi4", ("float32", "int16x8")), ("ethos-u55-128", ("int16x8",)), ("coral-usb", ()), ("jetson-orin-nano", ())],
)
def test_what_is_rescued_to_is_a_rule_of_the_target(target: str, expected: tuple[str, ...]) -> None:
    assert rescues_of(load_target(target)) == expected


def test_a_target_without_int8_goes_straight_to_float() -> None:
    model = planted_network(hard=None)
    result = run(inputs(model, Made(model), precisions=("float16", "float32"), rescues=()))
    assert [trial.candidate.label for trial in result.trials] == ["float16"]


@given(labels=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), min_size=2, max_size=120))
def test_halves_are_disjoint_stratified_and_keep_copies_together(labels: Sequence[tuple[int, int]]) -> None:
    def samples() -> Iterator[Labelled]:
        for label, content in labels:
            yield Labelled(inputs={}, label=label, digest=bytes([label, content]))

    contents = {(label, content) for label, content in labels}
    if len(contents) < 2:
        with pytest.raises(DataError, match="different samples"):
            split(samples())
        return
    halves = split(samples())
    first, second = list(halves.selecting(samples())), list(halves.confirming(samples()))
    assert not {sample.digest for sample in first} & {sample.digest for sample in second}
    assert len(first) + len(second) == len(labels) == sum(halves.samples)
    for label in {label for label, _ in labels}:
        sides = [len({sample.digest for sample in half if sample.label == label}) for half in (first, second)]
        assert abs(sides[0] - sides[1]) <= 1
    assert split(reversed(list(samples()))) == halves


def maker(model: FloatModel) -> Maker:
    def samples() -> list[dict[str, Any]]:
        return network_samples(64)

    return Maker(
        float_model=model,
        statistics=collect_statistics(model.tflite, samples, histograms=True),
        samples=samples,
    )


def test_candidates_are_made_with_what_they_say() -> None:
    model = planted_network(hard=3)
    make = maker(model)
    plain = Candidate(label="int8", scheme=Scheme(precision="int8", io="int8"), calibrator="min-max")
    first = make(plain)
    assert first.quantized.tflite == make(plain).quantized.tflite == maker(model)(plain).quantized.tflite
    assert first.float_model == model
    assert (first.calibrator, len(make.refined)) == ("min-max", 1)
    corrected = make(replace(plain, correct_bias=True))
    assert len(make.refined) == 1, "ranges are found once"
    assert "bias-correction" in {finding.name for finding in corrected.quantized.findings}
    equalized = make(replace(plain, equalize=True))
    assert equalized.float_model != model
    halved = make(Candidate(label="float16", scheme=Scheme(precision="float16")))
    assert (halved.quantized.precision, halved.calibrator) == ("float16", None)


def test_a_layer_that_does_not_exist_is_a_model_error() -> None:
    model = planted_network(hard=None)
    scheme = Scheme(precision="int8", io="int8", layers={"nothing": "float32"})
    with pytest.raises(ModelError, match="nothing"):
        maker(model)(Candidate(label="x", scheme=scheme, calibrator="min-max"))


def test_a_search_with_everything_real() -> None:
    model = planted_network(hard=3, gain=3000.0)
    result = run(inputs(model, maker(model)))
    assert result.kept
    assert result.calibrator is not None
