"""The choice of a range estimator by what the finished file loses, on real float models."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.calibrators import CANDIDATES, CalibratorTrial, check_stability, choose_ranges, grid_of
from edgekit_converters.comparison import CLEAR_DB, Reference, compare, compare_outputs, gain, runner, take_reference
from edgekit_converters.errors import QuantizationError
from edgekit_converters.estimators import estimate_ranges
from edgekit_converters.quantize import quantize
from edgekit_converters.statistics import Statistics, collect_statistics
from edgekit_converters.trials import start_trials
from edgekit_converters.types import FloatModel, IoDtype, QuantizedModel, Ranges, Scheme
from tests.unit.float_models import float_model

pytestmark = pytest.mark.unit

INT8 = Scheme(precision="int8", io="int8")


@pytest.fixture(scope="module")
def sine(cases: Path) -> FloatModel:
    return float_model(cases / "models/tflm/hello_world_float.tflite")


def angles(values: Any) -> list[dict[str, Any]]:
    return [{"in0": np.array([[value]], np.float32)} for value in values]


def statistics_of(model: FloatModel, samples: list[dict[str, Any]]) -> Statistics:
    return collect_statistics(model.tflite, lambda: samples, histograms=True)


def test_ordinary_data_keep_min_max(sine: FloatModel) -> None:
    samples = angles(np.random.default_rng(0).uniform(0, 2 * math.pi, 100))
    told: list[CalibratorTrial] = []
    statistics = statistics_of(sine, samples)
    chosen = choose_ranges(sine, statistics, start_trials(sine, INT8, lambda: samples), on_trial=told.append)
    assert [trial.calibrator for trial in chosen.trials] == list(CANDIDATES)
    assert list(chosen.trials) == told
    assert chosen.samples == 100
    assert chosen.calibrator == "min-max"
    assert chosen.ranges == estimate_ranges(statistics, "min-max")
    assert chosen == choose_ranges(sine, statistics, start_trials(sine, INT8, lambda: samples)), (
        "the same data, the same choice"
    )


def test_a_wild_sample_is_clipped(cases: Path) -> None:
    """A sensor that once gave nonsense: min-max spends its steps on it, and loses all others."""
    model = float_model(cases / "models/tflite_ref/vww_float.tflite")
    rng = np.random.default_rng(0)
    samples = [{"in0": rng.random((1, 96, 96, 3), np.float32)} for _ in range(24)]
    samples[20]["in0"][0, 4, 5, :] = 60.0
    statistics = statistics_of(model, samples)
    chosen = choose_ranges(model, statistics, start_trials(model, INT8, lambda: samples))
    by_name = {trial.calibrator: trial for trial in chosen.trials}
    assert chosen.calibrator != "min-max"
    assert by_name[chosen.calibrator].mean_db > by_name["min-max"].mean_db + 3


def test_trials_are_what_the_file_gives(sine: FloatModel) -> None:
    samples = angles(np.linspace(0, 6, 40))
    statistics = statistics_of(sine, samples)
    chosen = choose_ranges(sine, statistics, start_trials(sine, INT8, lambda: samples))
    model = quantize(sine, scheme=INT8, ranges=estimate_ranges(statistics, "min-max"))
    again = compare(model.tflite, take_reference(sine, samples, most=40))
    assert chosen.trials[0].sqnr_db == again.sqnr_db
    assert again.sqnr_db["out0"] == pytest.approx(30, abs=8)


def test_the_same_file_is_made_and_measured_once(sine: FloatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = angles(np.linspace(0, 6, 20))
    statistics = statistics_of(sine, samples)
    calls: list[Scheme] = []

    def counted(model: FloatModel, *, scheme: Scheme, ranges: Ranges) -> QuantizedModel:
        calls.append(scheme)
        return quantize(model, scheme=scheme, ranges=ranges)

    monkeypatch.setattr("edgekit_converters.trials.quantize", counted)
    found = start_trials(sine, INT8, lambda: samples)
    low = estimate_ranges(statistics, "min-max")
    high = {name: (2 * least, 2 * most) for name, (least, most) in low.items()}
    assert found.measure(sine, low) is found.measure(sine, dict(low))
    assert found.make(sine, low) is found.make(sine, low)
    assert found.make(sine, high) is not found.make(sine, low)
    assert len(calls) == 2


def test_few_samples_say_that_more_are_needed(sine: FloatModel) -> None:
    steady = angles(np.random.default_rng(0).uniform(0, 6.28, 100))
    assert check_stability(sine, "min-max", statistics_of(sine, steady), start_trials(sine, INT8, lambda: steady)) == ()
    uneven = angles([value for small in np.linspace(0, 1, 20) for value in (small, 6 * small)])
    (finding,) = check_stability(sine, "min-max", statistics_of(sine, uneven), start_trials(sine, INT8, lambda: uneven))
    assert (finding.name, finding.severity) == ("calibration-unstable", "warning")
    assert "from 20 of the samples" in finding.message
    assert "from all 40 (min-max)" in finding.message
    assert "more samples" in finding.fix
    one = steady[:1]
    assert check_stability(sine, "min-max", statistics_of(sine, one), start_trials(sine, INT8, lambda: one)) == ()


def test_the_grid_of_a_scheme() -> None:
    assert (grid_of(INT8).symmetric, grid_of(INT8).bits) == (False, 8)
    assert grid_of(Scheme(precision="int8", symmetric_activations=True)).symmetric
    assert (grid_of(Scheme(precision="int16x8")).symmetric, grid_of(Scheme(precision="int16x8")).bits) == (True, 16)


def test_a_loud_sample_does_not_speak_for_all() -> None:
    wanted = ({"a": np.array([1.0])}, {"a": np.array([1.0])}, {"a": np.array([1.0])})
    reference = Reference(samples=({}, {}, {}), outputs=wanted)
    found = compare_outputs(reference, [{"a": np.array([value])} for value in (1.0, 1.1, 1.01)])
    np.testing.assert_allclose(found.sample_db, [CLEAR_DB, 20, 40])
    assert found.sqnr_db["a"] == pytest.approx(10 * math.log10(3 / 0.0101))
    assert found.mean_db == pytest.approx(40)
    better = compare_outputs(reference, [{"a": np.array([value])} for value in (1.0, 1.01, 1.001)])
    difference, error = gain(better, found)
    assert difference == pytest.approx(40 / 3)
    assert error == pytest.approx(np.std([0, 20, 20], ddof=1) / math.sqrt(3))


def test_an_output_without_a_signal_counts_for_nothing() -> None:
    reference = Reference(samples=({},), outputs=({"a": np.zeros(3), "b": np.ones(3)},))
    found = compare_outputs(reference, [{"a": np.ones(3), "b": np.ones(3)}])
    assert found.sqnr_db == {"a": None, "b": 200.0}
    assert found.mean_db == CLEAR_DB
    assert gain(found, found)[1] == math.inf, "one sample proves nothing"


def test_samples_that_are_held_are_bounded(sine: FloatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = angles(range(10))
    assert len(take_reference(sine, iter(samples), most=6).samples) == 6
    monkeypatch.setattr("edgekit_converters.comparison.MOST_BYTES", 3 * 8)
    assert len(take_reference(sine, iter(samples), most=6).samples) == 3
    assert take_reference(sine, [], most=6).samples == ()


@pytest.mark.parametrize("io", ["int8", "uint8", "float32"])
def test_a_runner_takes_and_gives_real_values(sine: FloatModel, io: IoDtype) -> None:
    samples = angles(np.linspace(0, 6, 40))
    ranges = estimate_ranges(statistics_of(sine, samples), "min-max")
    run = runner(quantize(sine, scheme=Scheme(precision="int8", io=io), ranges=ranges).tflite)
    assert float(run(samples[10])["out0"][0, 0]) == pytest.approx(math.sin(samples[10]["in0"][0, 0]), abs=0.15)


def test_a_file_that_the_runtime_refuses(cases: Path) -> None:
    broken = (cases / "models/negative/model_invoking_error.tflite").read_bytes()
    with pytest.raises(QuantizationError, match="does not load in the TFLite runtime"):
        runner(broken)
