"""The rules of the GPU and VX delegates, which nothing here can run, held against what their sources check."""

from collections.abc import Sequence
from typing import Any

import pytest

from edgekit.placement import load_rules
from edgekit.placement.context import context_of
from edgekit.placement.match import explain
from edgekit_converters.structure import OpInfo, Structure, TensorInfo
from tests.unit.op_graphs import graph, op, tensor

pytestmark = pytest.mark.unit

IMAGE, WIDE = tensor(0, (1, 8, 8, 4)), tensor(0, (2, 8, 8, 4))
BOOL, INT32, RESULT = tensor(3, dtype="bool"), tensor(4, dtype="int32"), tensor(9)
PLAIN = {"fusedActivationFunction": "NONE"}


def floats(*shape: int, index: int = 5) -> TensorInfo:
    return tensor(index, shape or (1, 8, 8, 4), "float32")


def constant(*values: int, shape: Sequence[int] | None = None) -> TensorInfo:
    return tensor(50, shape or (len(values),), "int32", constant=True, values=values)


def weights(*shape: int, dtype: str = "int8", **more: Any) -> TensorInfo:
    return tensor(51, shape or (4, 3, 3, 4), dtype, constant=True, **more)


def case(name: str, inputs: Sequence[TensorInfo], result: TensorInfo, reason: str | None, **options: Any) -> Any:
    """An op and part of the reason that it is refused for; None where it is taken."""
    version = options.pop("version", 1)
    return pytest.param(op(0, name, inputs, [result], version=version, options=options), reason, id=f"{name} {reason}")


def refusal(rules: str, each: OpInfo, within: Structure | None = None) -> str | None:
    found = explain(each, load_rules(rules), context_of(within or graph([each]), 0))
    return found[0] if found else None


@pytest.mark.parametrize("name", ["CEIL", "ROUND", "LOGICAL_NOT", "LOGICAL_OR", "REVERSE_V2", "ARG_MAX"])
def test_the_gpu_has_no_parser_for_these(name: str) -> None:
    found = refusal("gpu", op(0, name, [floats()], [floats(index=6)]))
    assert found == f"{name} is not among the ops it takes"


MATRIX = weights(4, 4, dtype="float32")
HALF = {"halfPixelCenters": True}
DENSE = {"weightsFormat": "DEFAULT", "keepNumDims": True}


@pytest.mark.parametrize(
    ("each", "reason"),
    [
        case("RELU", [floats(1, 2, 8, 8, 4)], floats(), "a tensor of rank 5"),
        case("ADD", [floats(), floats()], floats(), "version 3 of the operator", version=3, **PLAIN),
        case("MUL", [floats(), floats()], floats(), None, version=3, **PLAIN),
        case("DEQUANTIZE", [weights(4, dtype="float16")], floats(4), None, version=3),
        case("MIRROR_PAD", [floats(), constant(*[0] * 8, shape=(4, 2))], floats(), "mode SYMMETRIC", mode="SYMMETRIC"),
        case("RESIZE_BILINEAR", [floats(), constant(4, 4)], floats(), "taken is False", alignCorners=True, **HALF),
        case("RESIZE_BILINEAR", [floats(), constant(4, 4)], floats(), None, alignCorners=False, **HALF),
        case("BATCH_MATMUL", [floats(), weights(dtype="float32")], floats(), "not a matrix on the right"),
        case("BATCH_MATMUL", [floats(), MATRIX], floats(), None),
        case("CAST", [INT32], floats(), None),
        case("CAST", [floats()], BOOL, None),
        case("CAST", [BOOL], floats(), "not read by one op"),
        case("CAST", [BOOL], INT32, "a cast of bool to int32"),
        case("CAST", [weights()], floats(), "0 inputs that are no constants"),
        case("GATHER", [floats(), tensor(1, (2, 2), "int32")], floats(), "no vector of int32"),
        case("GATHER", [floats(), constant(0, 1)], floats(), None),
        case("SELECT_V2", [BOOL, floats(), floats(1, 4)], floats(), "data of shape [1, 4]"),
        case("SELECT_V2", [BOOL, floats(), MATRIX], floats(), "a constant matrix"),
        case("SELECT_V2", [BOOL, floats(), floats(1)], floats(), None),
        case("FULLY_CONNECTED", [floats(1, 4), MATRIX], floats(1, 1, 4), "keepNumDims with ranks 2 and 3", **DENSE),
        case("FULLY_CONNECTED", [floats(1, 4), MATRIX], floats(1, 4), None, **DENSE),
        case("DEPTHWISE_CONV_2D", [floats(), weights(1, 3, 3, 8)], floats(1, 8, 8, 8), "8 channels, which", **PLAIN),
        case("DEPTHWISE_CONV_2D", [floats(), weights(1, 3, 3, 4)], floats(), None, depthMultiplier=1, **PLAIN),
    ],
)
def test_the_gpu_as_its_source_says(each: OpInfo, reason: str | None) -> None:
    found = refusal("gpu", each)
    assert found is None if reason is None else found is not None and reason in found


@pytest.mark.parametrize(
    ("reader", "made", "reason"),
    [
        ("CAST", "float32", None),
        ("CAST", "int32", "a result that becomes int32"),
        ("RELU", "float32", "a result that is not read by one CAST or SELECT"),
    ],
)
def test_the_gpu_takes_a_comparison_only_for_one_cast_to_floats(reader: str, made: str, reason: str | None) -> None:
    compared = op(0, "LESS", [floats(), floats(index=6)], [BOOL])
    read = op(1, reader, [BOOL], [tensor(7, dtype=made)])
    after = op(2, "RELU", [read.outputs[0]], [floats(index=8)])
    model = graph([compared, read, after])
    assert refusal("gpu", compared, model) == reason
    if reason is None:
        assert refusal("gpu", read, model) is None
    bools = op(0, "EQUAL", [BOOL, BOOL], [tensor(8, dtype="bool")])
    assert refusal("gpu", bools) == "bool operands"


LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
GATES = [tensor(0, (1, 5, 4)), *[weights(4, 4)] * 17]
CELLS = tensor(61, dtype="int16")
DILATIONS = dict.fromkeys(("dilationWFactor", "dilationHFactor", "dilationDFactor"), 1)
BYTES = weights(1, 8, 8, 4)


@pytest.mark.parametrize(
    ("each", "reason"),
    [
        case("COS", [floats()], floats(), "COS is not among the ops it takes"),
        case("GELU", [IMAGE], RESULT, "not confirmed by a public text, and so left to the CPU"),
        case("RELU", [CELLS], CELLS, "int16 data"),
        case("ADD", [IMAGE, weights(dtype="int64")], RESULT, "an input of int64"),
        case("RELU", [tensor(0, (1,) * 7)], RESULT, "an input of rank 7"),
        case("RELU", [tensor(0, (1, 70_000))], RESULT, "larger than 65535"),
        case("RELU", [tensor(0, (70_000, 1))], tensor(9, (0, 1)), "without elements"),
        case("CONV_2D", [floats(), weights()], floats(), "int8 weights with float32 data"),
        case("CONV_2D", [WIDE, weights(4, 3, 3, 2)], RESULT, "groups with a batch of 2"),
        case("CONV_2D", [IMAGE, weights(4, 3, 3, 2)], RESULT, None),
        case("CONV_3D", [IMAGE, tensor(1)], RESULT, "weights that another op computes", **DILATIONS),
        case("BATCH_MATMUL", [IMAGE, tensor(1)], RESULT, "int8 data"),
        case("BATCH_MATMUL", [floats(), weights()], floats(), "int8 operands"),
        case("BATCH_MATMUL", [floats(), floats()], floats(), "both operands adjoint", adjX=True, adjY=True),
        case("ARG_MAX", [IMAGE, constant(1)], tensor(9, (1,), "int32"), "int8 data"),
        case("ARG_MAX", [tensor(0, dtype="uint8"), constant(1)], tensor(9, (1,), "int32"), None),
        case("MEAN", [IMAGE, tensor(1, (2,), "int32")], RESULT, "parameters that another op computes"),
        case("RESHAPE", [tensor(0, (1,))], tensor(9, ()), "a scalar output"),
        case("SLICE", [WIDE, constant(0), constant(1)], RESULT, "a slice of the batch"),
        case("STRIDED_SLICE", [IMAGE, INT32], RESULT, "that another op computes", ellipsisMask=0, newAxisMask=0),
        case("RESIZE_BILINEAR", [tensor(0, scales=0), constant(4, 4)], RESULT, "8-bit data without a scale"),
        case("DEQUANTIZE", [weights(4, 4)], floats(), None),
        case("DEQUANTIZE", [weights(4, 4, scales=4)], floats(), "a scale per channel"),
        case("SPACE_TO_BATCH_ND", [IMAGE, constant(2)], RESULT, "another number of spatial dimensions"),
        case("SELECT", [tensor(0, (1,), "bool"), floats(), floats()], floats(), "of another rank"),
        case("SELECT", [BOOL, BYTES, BYTES], BOOL, "int8 data"),
        case("PACK", [tensor(0, (4,)), tensor(1, (4,))], tensor(9, (2, 4)), "8-bit vectors"),
        case("POW", [INT32, INT32], INT32, "int32 base and exponent"),
        case("ADD", [INT32, INT32], INT32, "RELU_N1_TO_1 fused", fusedActivationFunction="RELU_N1_TO_1"),
        case(LSTM, [*GATES, tensor(60), CELLS], RESULT, None),
        case(LSTM, [tensor(0, dtype="float16"), *GATES[1:], tensor(60), CELLS], RESULT, "data that is not of 8 bits"),
        case(LSTM, [*GATES, tensor(60, dtype="uint8"), CELLS], RESULT, "another dtype than the output"),
        case(LSTM, [*GATES, tensor(60), tensor(61)], RESULT, "neither int16 nor float16"),
        case(LSTM, GATES, RESULT, "another dtype than the output"),
    ],
)
def test_the_vx_delegate_as_its_source_says(each: OpInfo, reason: str | None) -> None:
    found = refusal("vx", each)
    assert found is None if reason is None else found is not None and reason in found
