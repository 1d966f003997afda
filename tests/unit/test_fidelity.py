"""The float .tflite against its source: what passes, what drifts, what is wrong."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edgekit_converters.errors import MismatchError
from edgekit_converters.fidelity import SAMPLES, check_fidelity, compare, measure_fidelity, random_samples
from edgekit_converters.types import Fidelity, FloatModel, OutputFidelity
from tests.unit.float_models import float_model

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def model(cases: Path) -> FloatModel:
    return float_model(cases / "models/tflm/hello_world_float.tflite")


def answers(model: FloatModel, samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for sample in samples:
        interpreter = Interpreter(model_content=model.tflite)
        found.append(interpreter.get_signature_runner("serving_default")(**sample))
    return found


def test_a_true_conversion_passes(model: FloatModel) -> None:
    samples = random_samples(model, {"in0": (0.0, 6.28)})
    assert len(samples) == SAMPLES
    assert samples == random_samples(model, {"in0": (0.0, 6.28)})
    fidelity = measure_fidelity(model, samples, answers(model, samples), "random")
    assert fidelity == Fidelity(
        kind="random", samples=SAMPLES, outputs=(OutputFidelity(name="out0", max_error=0.0, sqnr_db=None),)
    )
    assert check_fidelity(fidelity, "test") == ()


@pytest.mark.parametrize(("noise", "verdict"), [(1e-7, "passes"), (1e-3, "drifts"), (0.5, "fails")])
def test_a_wrong_one_does_not(model: FloatModel, noise: float, verdict: str) -> None:
    samples = random_samples(model, {"in0": (1.0, 2.0)})
    references = [{"out0": answer["out0"] * (1 + noise * 0.3)} for answer in answers(model, samples)]
    fidelity = measure_fidelity(model, samples, references, "calibration")
    if verdict == "fails":
        with pytest.raises(MismatchError, match=r"differs from the source's by up to .* dB\) on 4 calibration samples"):
            check_fidelity(fidelity, "a route")
        return
    findings = check_fidelity(fidelity, "a route")
    assert [finding.name for finding in findings] == (["conversion-drift"] if verdict == "drifts" else [])


def test_a_shape_that_is_another(model: FloatModel) -> None:
    samples = random_samples(model, {})
    with pytest.raises(MismatchError, match=r"shape \(1, 1\) in the \.tflite and \(2, 1\) in the source"):
        measure_fidelity(model, samples, [{"out0": np.zeros((2, 1))}] * len(samples), "random")


@pytest.mark.parametrize(
    ("got", "wanted", "fails"),
    [
        ([0.0, 0.0], [0.0, 0.0], False),
        ([1e-9, 0.0], [0.0, 0.0], False),  # nothing, and almost nothing
        ([0.5, 0.0], [0.0, 0.0], True),  # something where the source has nothing
        ([math.inf, 1.0], [math.inf, 1.0], False),
        ([math.nan, 1.0], [math.nan, 1.0], False),
        ([math.nan, 1.0], [0.5, 1.0], True),
        ([math.inf, 1.0], [0.5, 1.0], True),
        ([-1.0, 1.0], [1.0, -1.0], True),
    ],
)
def test_edges_of_the_comparison(got: list[float], wanted: list[float], fails: bool) -> None:
    output = compare("y", np.array(got), np.array(wanted))
    fidelity = Fidelity(kind="random", samples=1, outputs=(output,))
    if fails:
        with pytest.raises(MismatchError, match="the conversion"):
            check_fidelity(fidelity, "a route")
    else:
        assert check_fidelity(fidelity, "a route") == ()
