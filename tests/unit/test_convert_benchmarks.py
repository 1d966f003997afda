"""What the convert benchmarks promise: against the best peer, above it on a hard model; a verdict on a budget."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.convert_cases import Case
from benchmarks.convert_quality import Result, accuracy, commands, promises
from benchmarks.models.mnist import shifted
from benchmarks.planted_budget import Verdict

pytestmark = pytest.mark.unit

CASE = Case(
    source=Path("m.keras"), calibration=np.zeros((2, 4)), held_out=np.zeros((4, 4)), labels=np.arange(4), keras=True
)
OURS = Result(name="edgekit int8 auto", accuracy=0.9, sqnr_db=30.0)
TFLITE = Result(name="TFLiteConverter int8", accuracy=0.9, sqnr_db=30.1)
AEQ = Result(name="ai-edge-quantizer int8", accuracy=0.8, sqnr_db=20.0)


def reached(case: Case, *results: Result) -> list[bool]:
    return [row.ok for row in promises("m", case, results)]


def test_it_may_be_a_little_below_the_best_peer_in_sqnr_and_not_in_its_metric() -> None:
    assert reached(CASE, OURS, TFLITE, AEQ) == [True, True]
    assert reached(CASE, OURS, replace(TFLITE, sqnr_db=30.3), AEQ) == [False, True]
    assert reached(CASE, OURS, replace(TFLITE, accuracy=0.901), AEQ) == [True, False]


def test_on_a_hard_model_it_is_above_them() -> None:
    hard = replace(CASE, hard=True)
    assert reached(hard, OURS, TFLITE, AEQ) == [False, False]
    assert reached(hard, OURS, replace(TFLITE, sqnr_db=29.9, accuracy=0.89), AEQ) == [True, True]


def test_without_labels_only_the_sqnr_counts_and_a_peer_that_failed_does_not() -> None:
    unlabelled = [replace(result, accuracy=None) for result in (OURS, AEQ)]
    failed = Result(name="TFLiteConverter int8", failure="segmentation fault")
    assert reached(replace(CASE, labels=None), *unlabelled, failed) == [True]


def test_a_refusal_is_right_where_no_peer_can_do_it() -> None:
    refused = Result(name="edgekit int8 auto", failure="recurrent")
    assert reached(CASE, refused, AEQ) == [False]
    assert reached(CASE, refused, replace(AEQ, failure="it crashed")) == [True]
    assert reached(CASE, refused, replace(AEQ, floats=17)) == [True], "int8 in its name only"


def test_only_keras_models_have_the_converter_as_a_peer() -> None:
    paths = Path("f.tflite"), Path("x.npz"), Path("o.tflite")
    assert "TFLiteConverter int8" in commands(CASE, *paths, quick=True)
    others = commands(replace(CASE, keras=False), *paths, quick=False)
    assert "TFLiteConverter int8" not in others
    assert {"edgekit int8 mse", "edgekit int16x8 auto", "edgekit float16", "ai-edge-quantizer int8"} <= others.keys()


def test_accuracy_is_the_share_of_right_labels() -> None:
    scores = np.eye(4)
    scores[3] = [1, 0, 0, 0]
    assert accuracy(scores, CASE) == 0.75
    assert accuracy(scores, replace(CASE, labels=None)) is None


def test_a_right_verdict_with_too_many_evaluations_is_not_reached() -> None:
    verdict = Verdict(case="m", truth="int8", said="kept by int8", right=True, evaluations=4, exhaustive=12)
    assert verdict.row().ok
    assert not replace(verdict, evaluations=5).row().ok
    assert not replace(verdict, right=False).row().ok


def test_a_picture_is_moved_and_not_stretched() -> None:
    x = np.zeros((3, 28, 28, 1), np.float32)
    x[:, 14, 14] = 1
    moved = shifted(x, 1)
    assert moved.shape == x.shape
    places = np.argwhere(moved)
    assert len(places) == 3
    assert np.abs(places[:, 1:3] - 14).max() <= 2
    assert np.array_equal(shifted(x, 1), moved)
