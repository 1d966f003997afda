"""The self-test's verdict: steps, relative errors, classes, and golden files that are none."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgekit.agent.events import AgentError
from edgekit.agent.selftest import compare_output, self_test
from edgekit.artifact import GOLDEN, Artifact
from tests.artifacts import make_artifact

pytestmark = pytest.mark.unit


def compare(expected: Any, found: Any, **tolerance: Any) -> Mapping[str, Any]:
    return compare_output(np.asarray(expected), np.asarray(found), tolerance)


@given(hnp.arrays(np.int8, st.tuples(st.just(1), st.integers(1, 20))), st.integers(0, 5))
def test_integers_are_compared_in_steps(expected: Any, off: int) -> None:
    found = np.clip(expected.astype(int) + off, -128, 127).astype(np.int8)
    largest = int(np.abs(found.astype(int) - expected).max())
    report = compare(expected, found, max_steps=2)
    assert report["difference"] == largest
    assert report["passed"] == (largest <= 2)


def test_the_whole_range_of_int8_does_not_wrap() -> None:
    report = compare(np.array([[-128]], np.int8), np.array([[127]], np.int8), max_steps=2)
    assert report["difference"] == 255
    assert not report["passed"]


def test_floats_are_relative_to_the_largest_expected_value() -> None:
    assert compare([[0.0, 100.0]], [[0.05, 100.0]], max_error=1e-3)["passed"]
    assert not compare([[0.0, 0.1]], [[0.05, 0.1]], max_error=1e-3)["passed"]
    assert compare([[0.0, 0.0]], [[0.0, 0.0]], max_error=1e-3)["passed"]
    assert not compare([[0.0, 0.0]], [[0.0, 0.1]], max_error=1e-3)["passed"]


def test_not_a_number_is_a_difference_unless_it_was_expected() -> None:
    report = compare([[1.0, 2.0]], [[1.0, np.nan]], max_error=1.0)
    assert not report["passed"]
    assert report["difference"] is None
    assert report["found"] == [1.0, None]
    json.dumps(report, allow_nan=False)
    assert not compare([[1.0]], [[np.inf]], max_error=1.0)["passed"]
    assert compare([[np.nan, np.inf, 1.0]], [[np.nan, np.inf, 1.0]], max_error=0)["passed"]


def test_without_a_limit_only_equality_passes() -> None:
    assert compare([[1.0]], [[1.0]])["passed"]
    assert not compare([[1.0]], [[1.0000001]])["passed"]
    assert not compare(np.array([1], np.int8), np.array([2], np.int8))["passed"]


def test_the_class_counts_only_where_it_leads_by_more_than_the_tolerance() -> None:
    clear = compare(np.array([[0, 9, 3]], np.int8), np.array([[9, 8, 3]], np.int8), max_steps=20, same_top1=True)
    assert clear["top1"] is None, "a lead of 6 is within 20 steps"
    wrong = compare(np.array([[0, 9, 3]], np.int8), np.array([[5, 4, 3]], np.int8), max_steps=5, same_top1=True)
    assert wrong["top1"] == [1, 0]
    assert not wrong["passed"]
    second = np.array([[9, 0], [0, 9]], np.int8), np.array([[9, 0], [9, 0]], np.int8)
    assert compare(*second, max_steps=8, same_top1=True)["top1"] == [1, 0], "each row of the batch"


def test_the_elements_around_the_largest_difference_are_shown() -> None:
    expected, found = np.zeros((1, 100), np.int8), np.zeros((1, 100), np.int8)
    found[0, 50] = 7
    report = compare(expected, found, max_steps=2)
    assert report["at"] == 50
    assert report["found"][report["at"] - report["first_shown"]] == 7
    assert len(report["found"]) == len(report["expected"]) == 8


@pytest.fixture
def artifact(tmp_path: Path, cases: Path) -> Artifact:
    return make_artifact(tmp_path / "a", (cases / "models" / "tflm" / "hello_world_int8.tflite").read_bytes())


def run(artifact: Artifact, delegate: str = "xnnpack") -> dict[str, Any]:
    request = {"folder": str(artifact.path), "delegate": delegate}
    return self_test(request, io.BytesIO(), lambda _event, **_fields: None)


@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
def test_a_real_model_reproduces_its_vectors(artifact: Artifact, delegate: str) -> None:
    report = run(artifact, delegate)
    assert report["passed"]
    assert report["delegate"] == delegate
    assert report["vectors"] == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda golden: golden["vectors"].clear(), "has 0 vectors"),
        (lambda golden: golden.pop("tolerance"), "cannot be read: KeyError"),
        (lambda golden: golden["vectors"][0]["inputs"].clear(), "have no "),
        (
            lambda golden: golden["vectors"][0].update(inputs=dict.fromkeys(golden["vectors"][0]["inputs"], "../x")),
            "none",
        ),
        (lambda golden: golden["vectors"][0].update(inputs=golden["vectors"][0]["inputs"], outputs={}), "have no "),
    ],
)
def test_golden_files_that_are_none_are_refused(artifact: Artifact, change: Any, message: str) -> None:
    golden = json.loads((artifact.path / GOLDEN).read_bytes())
    change(golden)
    (artifact.path / GOLDEN).write_text(json.dumps(golden))
    with pytest.raises(AgentError, match=message) as caught:
        run(artifact)
    assert caught.value.kind == "integrity"


def test_a_vector_of_another_size_is_refused(artifact: Artifact) -> None:
    path = next(artifact.path.glob("golden/0-input-*.bin"))
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(AgentError, match=r"0-input-0.bin holds 2 bytes; .* takes 1"):
        run(artifact)
