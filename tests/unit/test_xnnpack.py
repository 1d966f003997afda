"""XNNPACK: the prediction is what the runtime on this machine does, op for op, for real models and thousands of forms.

``python -m benchmarks.placement_truth --sweep 20000`` compares many more.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.case_parts import constant, one_op
from benchmarks.graph_cases import graph_case
from benchmarks.placement_compare import compare, parse, predict
from benchmarks.placement_sweep import sweep
from benchmarks.small_models import Node, Tensor, small_model
from edgekit.errors import ModelError
from edgekit.placement.rules import load_rules
from edgekit.placement.xnnpack import XNNPACK_CHECKS

pytestmark = pytest.mark.unit

X = Tensor(shape=(1, 4))
CONV: dict[str, Any] = {"table": "Conv2DOptions", "strideH": 1, "strideW": 1}
IMAGE = Tensor(shape=(1, 4, 4, 2))


def packed(shape: tuple[int, ...], *, point: int = 0, count: int = 1, held: bool = True, scale: float = 0.1) -> Tensor:
    """int8, with ``count`` scales."""
    return Tensor(shape=shape, dtype="int8", constant=held, scales=(scale,) * count, zero_points=(point,) * count)


def flowing(shape: tuple[int, ...], scale: float = 0.1) -> Tensor:
    return packed(shape, held=False, scale=scale)


def test_single_ops_in_many_forms() -> None:
    swept = sweep(0, 400)
    assert swept.differences == ()
    assert swept.compared > 300
    assert len(swept.ops) > 50  # operators


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_graphs_fall_into_the_partitions_that_were_predicted(first: int) -> None:
    for number in range(first, first + 10):
        found = compare(graph_case(number)[1])
        assert found.differences == (), number


@pytest.mark.parametrize(
    ("model", "taken"),
    [
        ("tflite_ref/ic_resnet8_float.tflite", 16),
        ("tflite_ref/ic_resnet8_int8.tflite", 14),
        ("tflite_ref/kws_int8.tflite", 11),
        ("tflite_ref/kws_hybrid_named_float32.tflite", 13),
        ("tflite_ref/vww_int8.tflite", 29),
        ("coral/mobilenet_v1_0.25_128_quant.tflite", 29),
        ("coral/keras_lstm_mnist_ptq.tflite", 2),
        ("tflm/mnist_lstm_float.tflite", 3),
        ("tflm/mnist_lstm_int8.tflite", 2),
        ("tflm/hello_world_int8.tflite", 3),
    ],
)
def test_real_models(cases: Path, model: str, taken: int) -> None:
    found = compare((cases / "models" / model).read_bytes())
    assert found.differences == ()
    assert found.reported == taken


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (one_op("SOFTMAX", [X], [X], table="SoftmaxOptions", beta=0.5), "beta 0.5, taken is 1.0"),
        (one_op("RELU_0_TO_1", [X], [X]), "RELU_0_TO_1 is not among the ops it takes"),
        (
            one_op("ADD", [X, X], [X], table="AddOptions", fusedActivationFunction=4),
            "the fused activation TANH, taken are NONE, RELU, RELU_N1_TO_1, RELU6",
        ),
        (
            one_op("ADD", [flowing((2,), 40.0), flowing((2,))], [flowing((2,))], table="AddOptions"),
            "a scale 400 times that of its output, taken is 1/1024 to 256",
        ),
        (
            one_op("MUL", [flowing((2,), 40.0), flowing((2,), 40.0)], [flowing((2,))], table="MulOptions"),
            "scales whose product is 1.6e+04 times that of its output, taken is 1/65536 to 256",
        ),
        (one_op("LEAKY_RELU", [X], [X], table="LeakyReluOptions", alpha=0.0), "alpha 0"),
        (
            one_op("RESHAPE", [X, constant([-1])], [Tensor(shape=(4,))], table="ReshapeOptions", newShape=[-1]),
            "a new shape that is -1 alone",
        ),
        (
            one_op("RESHAPE", [X, Tensor(shape=(2,), dtype="int32")], [Tensor(shape=(2, 2))], table="ReshapeOptions"),
            (
                "int32 data, taken are float32, int8, uint8; "
                "a parameter that is computed when it runs, taken are constants"
            ),
        ),
        (one_op("CONCATENATION", [X], [X], table="ConcatenationOptions"), "1 inputs, taken are 2 to 5"),
        (
            one_op("CONV_2D", [IMAGE, Tensor(shape=(2, 1, 1, 2)), Tensor(shape=(2,), constant=True)], [IMAGE], **CONV),
            "weights that another op or the caller gives, taken are constants",
        ),
        (
            one_op("CONV_2D", [IMAGE, Tensor(shape=(2, 1, 1, 2), constant=True), Tensor(shape=(2,))], [IMAGE], **CONV),
            "a bias that another op or the caller gives, taken are constants",
        ),
        (
            one_op(
                "FULLY_CONNECTED",
                [flowing((1, 4)), packed((3, 4), point=3), None],
                [flowing((1, 3))],
                table="FullyConnectedOptions",
            ),
            "int8 weights with the zero point 3, taken is 0",
        ),
        (
            one_op(
                "BATCH_MATMUL",
                [flowing((2, 3)), packed((3, 4), point=2)],
                [flowing((2, 4))],
                table="BatchMatMulOptions",
            ),
            "int8 weights with the zero point 2, taken is 0",
        ),
        (one_op("NEG", [Tensor(shape=(1,) * 7)], [Tensor(shape=(1,) * 7)]), "a tensor of rank 7, taken are up to 6"),
    ],
)
def test_what_is_not_taken_says_why(model: bytes, reason: str) -> None:
    found = compare(model)
    assert (found.differences, found.reported) == ((), 0)
    assert predict(parse(model))[2] == {0: f" ({reason})"}


def half_precision(*, bias: bool, reader: str = "") -> bytes:
    """A convolution over float16 weights or with a float16 bias, and another op that reads the widened constant."""
    tensors = {
        "x": IMAGE,
        "wide": Tensor(shape=(2,) if bias else (2, 1, 1, 2)),
        "narrow": Tensor(shape=(2,) if bias else (2, 1, 1, 2), dtype="float16", constant=True),
        "other": Tensor(shape=(2, 1, 1, 2) if bias else (2,), constant=True),
        "y": IMAGE,
    }
    weights = ("other", "wide") if bias else ("wide", "other")
    nodes = [
        Node(op="DEQUANTIZE", inputs=("narrow",), outputs=("wide",)),
        Node(
            op="CONV_2D",
            inputs=("x", *weights),
            outputs=("y",),
            table="Conv2DOptions",
            options={"strideH": 1, "strideW": 1},
        ),
    ]
    if reader:
        tensors["z"] = tensors["wide"]
        nodes.append(Node(op=reader, inputs=("wide",), outputs=("z",)))
    return small_model(tensors, nodes)


@pytest.mark.parametrize(
    ("model", "taken", "reasons"),
    [
        (half_precision(bias=False), {0, 1}, {}),
        (half_precision(bias=False, reader="RELU"), {0, 1, 2}, {}),
        (half_precision(bias=False, reader="RELU_0_TO_1"), {1}, {0: "RELU_0_TO_1 reads it and is not taken"}),
        (
            half_precision(bias=True),
            set(),
            {0: "CONV_2D reads it and is not taken", 1: "a float16 bias beside weights"},
        ),
        (half_precision(bias=True, reader="RELU"), {0, 1, 2}, {}),
    ],
)
def test_a_widened_constant_goes_with_what_reads_it(model: bytes, taken: set[int], reasons: dict[int, str]) -> None:
    assert compare(model).differences == ()
    predicted, _, told = predict(parse(model))
    assert predicted == taken
    for index, reason in reasons.items():
        assert reason in told[index]


def variable(shape: tuple[int, ...], dtype: str = "float32") -> bytes:
    """Reads a variable, adds the input of shape (2,), writes it."""
    tensors = {
        "handle": Tensor(shape=(), dtype="resource"),
        "x": Tensor(shape=(2,), dtype=dtype),
        "old": Tensor(shape=shape, dtype=dtype),
        "new": Tensor(shape=(2,), dtype=dtype),
    }
    nodes = [
        Node(op="VAR_HANDLE", inputs=(), outputs=("handle",), table="VarHandleOptions", options={"sharedName": "v"}),
        Node(op="READ_VARIABLE", inputs=("handle",), outputs=("old",), table="ReadVariableOptions"),
        Node(op="ADD", inputs=("x", "old"), outputs=("new",), table="AddOptions"),
        Node(op="ASSIGN_VARIABLE", inputs=("handle", "new"), outputs=(), table="AssignVariableOptions"),
    ]
    return small_model(tensors, nodes)


@pytest.mark.parametrize(
    ("model", "taken"),
    [
        (variable((2,)), {0, 1, 2, 3}),
        (variable((1,)), {0, 1, 2}),  # written in another shape than it is read
        (variable(()), {0, 2, 3}),
        (variable((2,), "int32"), set()),
    ],
)
def test_variables_go_with_the_ops_that_use_them(model: bytes, taken: set[int]) -> None:
    assert compare(model).differences == ()
    assert predict(parse(model))[0] == taken


def test_an_op_without_a_value_is_a_damaged_model() -> None:
    tensors = {"handle": Tensor(shape=(), dtype="resource"), "x": X, "y": X}
    nodes = [
        Node(op="VAR_HANDLE", inputs=(), outputs=("handle",), table="VarHandleOptions"),
        Node(op="ASSIGN_VARIABLE", inputs=("handle", None), outputs=()),
        Node(op="RELU", inputs=("x",), outputs=("y",)),
    ]
    with pytest.raises(ModelError, match=re.escape("Op 1 (ASSIGN_VARIABLE) of the model has no value.")):
        predict(parse(small_model(tensors, nodes)))


def test_the_rules_use_every_check_and_change_only_what_they_name() -> None:
    rules = load_rules("xnnpack")
    used = {name for rule in rules.ops for name in rule.checks}
    assert used == set(XNNPACK_CHECKS)
    keys = {key for key in rules.changes if key.startswith("xnnpack-")}
    assert keys <= used
