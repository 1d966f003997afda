"""Ops that ai-edge-quantizer does not know are computed in int8 all the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.agent.runtime import NONE, XNNPACK, Model, dequantize, quantize
from edgekit.precision import check_precision
from edgekit_converters import quantize as quantizer
from edgekit_converters.estimators import estimate_ranges
from edgekit_converters.from_tflite import read_float_model
from edgekit_converters.recipes import layer_choices
from edgekit_converters.sources import open_source
from edgekit_converters.statistics import collect_statistics
from edgekit_converters.structure import read_structure
from edgekit_converters.types import FloatModel, IoDtype, LayerPrecision, Scheme

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parent / "data" / "islands"
OPS = {
    "amax": ["ARG_MAX"],
    "d2s": ["DEPTH_TO_SPACE"],
    "elu": ["ELU"],
    "l2n": ["L2_NORMALIZATION"],
    "leaky": ["LEAKY_RELU"],
    "lsm": ["LOG_SOFTMAX"],
    "misc": ["ABS", "EXP", "REVERSE_V2", "TILE"],
    "prelu": ["PRELU"],
    "rev": ["REVERSE_V2"],
}


def inputs_of(model: FloatModel, count: int) -> list[dict[str, Any]]:
    generator = np.random.default_rng(7)
    (spec,) = model.inputs
    return [{spec.name: generator.normal(size=spec.shape).astype(np.float32)} for _ in range(count)]


def read(name: str) -> FloatModel:
    return read_float_model(open_source(FOLDER / f"{name}.tflite"), batch=1, hints={})


def int8(model: FloatModel, io: IoDtype, **wishes: Any) -> bytes:
    statistics = collect_statistics(model.tflite, lambda: inputs_of(model, 40), histograms=False)
    scheme = Scheme(precision="int8", io=io, **wishes)
    return quantizer.quantize(model, scheme=scheme, ranges=estimate_ranges(statistics, "min-max")).tflite


def sqnr(model: FloatModel, data: bytes, delegate: str) -> float:
    source, made = Model(model.tflite), Model(data, delegate)
    noise = signal = 0.0
    for sample in inputs_of(model, 10):
        (wanted,) = source.run(sample).values()
        outputs = made.run({tensor.name: quantize(sample[tensor.name], tensor) for tensor in made.inputs})
        got = dequantize(outputs[made.outputs[0].name], made.outputs[0])
        noise, signal = noise + float(np.square(got - wanted).sum()), signal + float(np.square(wanted).sum())
    return float(10 * np.log10(signal / max(noise, 1e-12)))


@pytest.mark.parametrize("io", ["int8", "uint8", "float32"])
@pytest.mark.parametrize("name", OPS)
def test_they_run_in_int8_and_are_close_to_float(name: str, io: IoDtype) -> None:
    model = read(name)
    data = int8(model, io)
    structure = read_structure(data)
    assert set(OPS[name]) <= set(structure.builtin_counts)
    users = {
        op.name for op in structure.ops for tensor in (*op.inputs, *op.outputs) if tensor and tensor.dtype == "float32"
    }
    assert users <= ({"QUANTIZE", "DEQUANTIZE"} if io == "float32" else set())
    for delegate in (XNNPACK, NONE):
        assert sqnr(model, data, delegate) > 20


def test_a_layer_that_is_to_stay_float_stays(tmp_path: Path) -> None:
    model = read("elu")
    (op,) = [op for op in read_structure(model.tflite).ops if op.name == "ELU"]
    assert op.outputs[0].dtype == "float32"
    structure = read_structure(int8(model, "float32", layers={op.outputs[0].name: "float32"}))
    (kept,) = [op for op in structure.ops if op.name == "ELU"]
    assert kept.outputs[0].dtype == "float32"


@pytest.mark.parametrize("rescue", ["float32", "int16x8"])
def test_beside_a_rescued_layer_they_are_int8_all_the_same(rescue: LayerPrecision) -> None:
    model = read("leaky")
    first = next(op for op in read_structure(model.tflite).ops if op.name == "CONV_2D")
    scheme = Scheme(precision="int8", io="int8", layers={first.outputs[0].name: rescue})
    data = int8(model, "int8", layers=scheme.layers)
    assert [finding.name for finding in check_precision(read_structure(data), scheme)] == ["rescued-layers"]
    assert {op.outputs[0].dtype for op in read_structure(data).ops if op.name == "LEAKY_RELU"} == {"int8"}
    for delegate in (XNNPACK, NONE):
        assert sqnr(model, data, delegate) > 20


def test_indices_have_nothing_to_rescue() -> None:
    model = read("amax")
    (op,) = [op for op in read_structure(model.tflite).ops if op.name == "ARG_MAX"]
    choices = layer_choices(model)
    assert op.outputs[0].name not in choices
    assert len(choices) == len(read_structure(model.tflite).ops) - 1


def test_symmetric_activations_have_no_zero_point() -> None:
    made = Model(int8(read("leaky"), "int8", symmetric_activations=True))
    assert [tensor.zero_point for tensor in (*made.inputs, *made.outputs)] == [0, 0]
