"""Where the precision goes, on networks where it is known; and which layers are rescued first."""

import math
from pathlib import Path

import numpy as np
import pytest

from edgekit_converters.errors import DataError
from edgekit_converters.layer_errors import LayerError, layer_errors
from edgekit_converters.quantize import quantize
from edgekit_converters.quantized_tensors import Grid, read_quantized
from edgekit_converters.recipes import layer_choices
from edgekit_converters.rescue import rescue_steps
from edgekit_converters.tensor_runner import TensorRunner
from edgekit_converters.types import FloatModel, LayerPrecision, QuantizedModel, Scheme
from tests.min_max import min_max_ranges
from tests.unit.float_models import float_model
from tests.unit.float_networks import dense_network, network_samples, planted_network

pytestmark = pytest.mark.unit

SAMPLES = network_samples(32)


def int8(model: FloatModel, **layers: LayerPrecision) -> QuantizedModel:
    ranges = min_max_ranges(model.tflite, SAMPLES)
    return quantize(model, scheme=Scheme(precision="int8", io="int8", layers=layers), ranges=ranges)


def by_name(errors: tuple[LayerError, ...]) -> dict[str, LayerError]:
    return {error.name: error for error in errors}


def measured_noise(model: FloatModel, file: bytes) -> float:
    """Noise power / signal power of the output."""
    exact, found = TensorRunner(model.tflite, like=model.tflite), TensorRunner(file, like=file)
    signal = noise = 0.0
    for sample in SAMPLES:
        exact.run(sample)
        found.run(sample)
        signal += float(np.square(exact.outputs()[0]).sum())
        noise += float(np.square(exact.outputs()[0] - found.outputs()[0]).sum())
    return noise / signal


def test_the_planted_layer_has_nearly_all_of_the_noise() -> None:
    model = planted_network(hard=3)
    errors = by_name(layer_errors(model.tflite, int8(model).tflite, SAMPLES))
    assert list(errors) == ["x", "dense0", "dense1", "dense2", "dense3", "dense4", "dense5"]
    assert errors["dense3"].share > 0.7
    assert errors["dense3"].activation_noise > 10 * errors["dense3"].weight_noise
    assert math.isclose(sum(error.share for error in errors.values()), 1.0)
    assert errors["x"].op == "INPUT"
    assert errors["dense3"].op == "FULLY_CONNECTED"
    assert errors["dense3"].dtype == "int8"
    assert (errors["dense3"].inputs, errors["dense3"].outputs) == (("dense2",), ("dense3",))


def test_own_noises_add_up_to_the_noise_of_the_file() -> None:
    model = planted_network(hard=None)
    file = int8(model).tflite
    predicted = sum(error.own_noise for error in layer_errors(model.tflite, file, SAMPLES, max_samples=32))
    assert predicted == pytest.approx(measured_noise(model, file), rel=0.3)


def test_accumulated_error_is_that_of_the_file() -> None:
    model = planted_network(hard=None)
    file = int8(model).tflite
    last = layer_errors(model.tflite, file, SAMPLES, max_samples=32)[-1]
    assert last.accumulated_sqnr_db == pytest.approx(-10 * math.log10(measured_noise(model, file)), abs=0.01)


def test_a_float_file_has_no_error() -> None:
    model = planted_network()
    for error in layer_errors(model.tflite, model.tflite, SAMPLES[:2]):
        assert (error.own_noise, error.share, error.weight_sqnr_db, error.accumulated_sqnr_db) == (0, 0, None, math.inf)


def test_float16_has_errors_of_weights_only() -> None:
    model = planted_network(hard=None)
    file = quantize(model, scheme=Scheme(precision="float16")).tflite
    errors = layer_errors(model.tflite, file, SAMPLES[:2])
    assert all(error.activation_noise == 0 for error in errors)
    assert 60 < (errors[-1].weight_sqnr_db or 0) < 90
    assert errors[-1].weight_noise > 0


def test_softmax_hides_no_error() -> None:
    rng = np.random.default_rng(0)
    model = dense_network([rng.normal(size=(16, 12)), 40 * rng.normal(size=(8, 16))], softmax=True)
    errors = by_name(layer_errors(model.tflite, int8(model).tflite, SAMPLES))
    assert errors["dense0"].own_noise > 1e-6, "of the logits, though the largest probability is 1 all the time"


def test_no_sample_is_an_error() -> None:
    model = planted_network()
    with pytest.raises(DataError, match="no sample"):
        layer_errors(model.tflite, model.tflite, [])


def test_a_real_model_with_moving_ops(cases: Path) -> None:
    model = float_model(cases / "models" / "tflite_ref" / "ic_resnet8_float.tflite")
    rng = np.random.default_rng(0)
    samples = [{"in0": rng.uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)} for _ in range(4)]
    file = quantize(model, scheme=Scheme(precision="int8", io="int8"), ranges=min_max_ranges(model.tflite, samples))
    errors = layer_errors(model.tflite, file.tflite, samples, max_samples=2)
    assert len(errors) == 17
    reshape = next(error for error in errors if error.op == "RESHAPE")
    assert reshape.own_noise == 0
    assert all(error.weight_sqnr_db is not None for error in errors if error.op in {"CONV_2D", "FULLY_CONNECTED"})


def test_a_rescue_takes_what_makes_the_activation_and_what_reads_it() -> None:
    model = planted_network(hard=3)
    errors = layer_errors(model.tflite, int8(model).tflite, SAMPLES)
    choices = layer_choices(model)
    least: dict[LayerPrecision, float] = {"int16x8": 0.7, "float32": 0.95}  # int16x8 keeps the int8 weights of dense4
    for precision, enough in least.items():
        steps = rescue_steps(errors, precision, choices, float_io=False, max_layers=6)
        assert set(steps[0].layers) == {"dense3", "dense4"}
        assert steps[0].share > enough
        assert [step.share for step in steps] == sorted(step.share for step in steps)
        names = [name for step in steps for name in step.layers]
        assert len(names) == len(set(names)) <= 6
    before = measured_noise(model, int8(model).tflite)
    assert measured_noise(model, int8(model, dense3="float32").tflite) > before / 4, "alone, it is rounded again"
    assert measured_noise(model, int8(model, dense3="float32", dense4="float32").tflite) < before / 20


def test_a_rescue_keeps_to_what_is_allowed() -> None:
    model = planted_network(hard=3)
    errors = layer_errors(model.tflite, int8(model).tflite, SAMPLES)
    choices = layer_choices(model)
    assert rescue_steps(errors, "float32", {}, float_io=False, max_layers=6) == ()
    assert rescue_steps(errors, "float32", choices, float_io=False, max_layers=0) == ()
    without = {name: allowed for name, allowed in choices.items() if name != "dense4"}
    assert all(
        "dense4" not in step.layers for step in rescue_steps(errors, "float32", without, float_io=False, max_layers=6)
    )


def test_a_grid_rounds_and_clips() -> None:
    grid = Grid(dtype="int8", scale=0.5, zero_point=-128)
    assert grid.snap(np.array([-1.0, 0.2, 0.3, 500.0], np.float32)).tolist() == [0.0, 0.0, 0.5, 127.5]


def test_int4_weights_are_unpacked() -> None:
    model = planted_network(hard=None)
    scheme = Scheme(precision="int8", io="int8", weight_bits=4)
    file = quantize(model, scheme=scheme, ranges=min_max_ranges(model.tflite, SAMPLES)).tflite
    assert read_quantized(file).weights["weights1"].shape == (16, 16)
    errors = layer_errors(model.tflite, file, SAMPLES[:2])
    assert 10 < (errors[2].weight_sqnr_db or 0) < 30
