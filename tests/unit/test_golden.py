"""Golden vectors of real models, and how far the plain kernels may be from them."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgekit.agent.runtime import NONE, Model
from edgekit.golden import VECTORS, golden_files

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", ["kws_int8", "vww_int8", "ic_resnet8_int8"])
def test_the_plain_kernels_pass_their_own_tolerance(cases: Path, name: str) -> None:
    model = (cases / "models" / "tflite_ref" / f"{name}.tflite").read_bytes()
    files = golden_files(model, "int8", (), {})
    golden = json.loads(files["golden/golden.json"])
    assert (golden["kind"], golden["seed"] is not None, len(golden["vectors"])) == ("random", True, VECTORS)
    assert golden["tolerance"]["default"] == {"max_steps": 2, "max_error": 0.02, "same_top1": True}
    plain = Model(model, NONE)
    for vector in golden["vectors"]:
        arrays = {
            item.name: np.frombuffer(files[vector["inputs"][item.name]], item.dtype).reshape(item.shape)
            for item in plain.inputs
        }
        for item in plain.outputs:
            expected = np.frombuffer(files[vector["outputs"][item.name]], item.dtype).astype(int)
            found = plain.run(arrays)[item.name].astype(int).ravel()
            assert np.abs(expected - found).max() <= golden["tolerance"][NONE]["max_steps"]


def test_real_samples_are_used_and_the_same_every_time(cases: Path) -> None:
    model = (cases / "models" / "tflm" / "hello_world_float.tflite").read_bytes()
    samples = [{"dense_input": np.full((1, 1), value, np.float32)} for value in (0.0, 1.5, 3.0, 4.5, 6.0)]
    files = golden_files(model, "float32", samples, {})
    golden = json.loads(files["golden/golden.json"])
    assert (golden["kind"], golden["seed"], len(golden["vectors"])) == ("calibration", None, VECTORS)
    assert np.frombuffer(files[golden["vectors"][1]["inputs"]["dense_input"]], "<f4")[0] == 1.5
    assert golden_files(model, "float32", samples, {}) == files


def test_a_declared_range_bounds_the_random_inputs(cases: Path) -> None:
    model = (cases / "models" / "tflite_ref" / "vww_float.tflite").read_bytes()
    files = golden_files(model, "float32", (), {"input_1": (2.0, 3.0)})
    golden = json.loads(files["golden/golden.json"])
    values = np.frombuffer(files[golden["vectors"][0]["inputs"]["input_1"]], "<f4")
    assert 2 <= values.min() < values.max() <= 3
