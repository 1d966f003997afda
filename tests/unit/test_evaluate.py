"""Accuracy of a real model on real data, and the statistics behind the budget."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import AccuracyError, DataError
from edgekit.evaluate import Evaluation, check_budget, compare, evaluate, measure, runner
from edgekit.metrics import metric_of
from edgekit.metrics.intervals import paired_interval

pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class Sample:
    inputs: dict[str, np.ndarray[Any, Any]]
    label: int | None
    digest: bytes = b""
    where: str = "Sample 1"
    target: None = None


def kws(cases: Path, count: int = 200) -> tuple[bytes, list[Sample]]:
    data = np.load(cases / "data" / "kws" / "kws_mfcc_int8.npz")
    real = ((data["x"][:count].astype(np.float32) - 83) * 0.5847029).astype(np.float32)
    samples = [Sample({"input_1": x[None]}, int(y)) for x, y in zip(real, data["y"], strict=False)]
    return (cases / "models" / "tflite_ref" / "kws_int8.tflite").read_bytes(), samples


def test_the_published_accuracy_is_found(cases: Path) -> None:
    model, samples = kws(cases, 500)
    result = evaluate(model, model, samples)
    assert result.model == pytest.approx(0.906, abs=0.002)
    assert result.drop == 0
    assert result.drop_interval[0] < 0 < result.drop_interval[1]
    assert result.p_value == 1
    assert result.heads[0].max_error == 0
    assert result.changed == ()


def test_two_measurements_are_compared(cases: Path) -> None:
    model, samples = kws(cases)
    metric = metric_of("top1")
    seen: list[None] = []
    source = measure(runner(model), samples, metric, on_sample=lambda: seen.append(None))
    turned = measure(lambda inputs: {"out": -runner(model)(inputs)["Identity"]}, samples[:20], metric)
    assert len(seen) == 200
    with pytest.raises(DataError, match="not measured on the same samples"):
        compare(source, turned)


@pytest.mark.parametrize(
    ("label", "message"), [(None, "has no labels"), (12, "Sample 1: label 12 is out of range"), (-1, "out of range")]
)
def test_wrong_labels_are_refused(cases: Path, label: int | None, message: str) -> None:
    model, samples = kws(cases, 2)
    with pytest.raises(DataError, match=message):
        evaluate(model, model, [samples[0], Sample(samples[1].inputs, label)])


def test_no_sample_is_refused(cases: Path) -> None:
    model, _ = kws(cases, 1)
    with pytest.raises(DataError, match="holds no sample"):
        evaluate(model, model, iter(()))


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 2000))
def test_the_interval_holds_the_estimate_and_stays_in_range(lost: int, gained: int, same: int) -> None:
    count = lost + gained + same
    if count == 0:
        return
    low, high = paired_interval(lost, gained, count)
    assert -1 <= low <= high <= 1
    # the adjustment shrinks towards 0 by at most one sample
    assert low - 2 / count <= (lost - gained) / count <= high + 2 / count


def test_the_interval_holds_the_true_difference() -> None:
    generator = random.Random(7)
    lost_rate, gained_rate, count, held = 0.03, 0.02, 500, 0
    for _ in range(400):
        draws = [generator.random() for _ in range(count)]
        lost = sum(draw < lost_rate for draw in draws)
        gained = sum(lost_rate <= draw < lost_rate + gained_rate for draw in draws)
        low, high = paired_interval(lost, gained, count)
        held += low <= lost_rate - gained_rate <= high
    assert held >= 0.92 * 400


def evaluation(source: float, model: float) -> Evaluation:
    return Evaluation(
        metric="top1", samples=1000, source=source, model=model, drop=source - model, drop_interval=(0, 1)
    )


@pytest.mark.parametrize(
    ("source", "model", "budget", "kept"),
    [
        (0.9, 0.89, "1pt", True),
        (0.9, 0.889, "1pt", False),
        (0.9, 0.891, "1%", True),
        (0.9, 0.8905, "1%", False),
        (0.5, 0.6, "0pt", True),
    ],
)
def test_a_budget_is_kept_or_refused(source: float, model: float, budget: str, *, kept: bool) -> None:
    if kept:
        check_budget(evaluation(source, model), budget)
        return
    with pytest.raises(AccuracyError) as caught:
        check_budget(evaluation(source, model), budget)
    assert caught.value.exit_code == 3
    assert f"the budget is {budget}" in caught.value.message
