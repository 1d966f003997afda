"""The named checks of rules: what an op must be beyond its dtypes, delegate by delegate."""

from collections.abc import Sequence
from typing import Any

import pytest

from edgekit.placement.checks import CHECKS
from edgekit.placement.context import context_of
from edgekit_converters.structure import TensorInfo
from tests.unit.op_graphs import graph, op, tensor

pytestmark = pytest.mark.unit


def verdict(
    check: str, name: str, inputs: Sequence[TensorInfo | None], output: Sequence[int] | TensorInfo, **options: Any
) -> str | None:
    result = output if isinstance(output, TensorInfo) else tensor(99, output)
    each = op(0, name, inputs, [result], options=options)
    return CHECKS[check](each, context_of(graph([each]), 0))


def axes(*values: int, shape: tuple[int, ...] | None = None) -> TensorInfo:
    return tensor(50, shape or (len(values),), "int32", constant=True, values=values)


IMAGE = tensor(0, (1, 8, 8, 4))
COMPUTED = tensor(51, (2,), "int32")


@pytest.mark.parametrize(
    ("inputs", "output", "reason"),
    [
        ([IMAGE, axes(1, 2)], (1, 4), None),
        ([IMAGE, axes(1, 3)], (1, 8), "MEAN over the channels of an input [1, 8, 8, 4]"),
        ([IMAGE, axes(-1)], (1, 8, 8), "MEAN over the channels of an input [1, 8, 8, 4]"),
        ([tensor(0, (1, 8, 1, 4)), axes(3)], (1, 8, 1), None),
        ([tensor(0, (2, 8, 8, 4)), axes(1, 2)], (2, 4), "a batch of 2"),
        ([tensor(0, (1, 4096, 2, 4)), axes(1)], (1, 2, 4), "MEAN over an axis of 4096, taken are fewer than 4096"),
        ([tensor(0, (1, 2000, 200, 4), "int16"), axes(1, 2)], (1, 4), "MEAN over 400000 elements"),
        ([IMAGE, COMPUTED], (1, 4), "parameters that another op computes"),
    ],
)
def test_mean_on_the_ethos_u(inputs: list[TensorInfo], output: tuple[int, ...], reason: str | None) -> None:
    assert verdict("ethos-mean", "MEAN", inputs, output) == reason


@pytest.mark.parametrize(
    ("check", "name", "before", "after", "options", "taken"),
    [
        ("ethos-upscale", "RESIZE_BILINEAR", (4, 4), (8, 8), {}, True),
        ("ethos-upscale", "RESIZE_BILINEAR", (4, 4), (12, 12), {}, False),
        ("ethos-upscale", "RESIZE_BILINEAR", (4, 4), (8, 16), {}, False),
        ("ethos-upscale", "RESIZE_BILINEAR", (4, 4), (16, 16), {"halfPixelCenters": True}, False),
        ("ethos-upscale", "RESIZE_BILINEAR", (4, 4), (4, 4), {"halfPixelCenters": True}, False),
        ("ethos-upscale", "RESIZE_NEAREST_NEIGHBOR", (4, 4), (4, 4), {"halfPixelCenters": True}, True),
        ("ethos-upscale", "RESIZE_BILINEAR", (1, 1), (5, 7), {}, True),
        ("ethos-upscale", "RESIZE_BILINEAR", (5, 5), (9, 9), {"alignCorners": True}, True),
        ("ethos-upscale", "RESIZE_BILINEAR", (1, 5), (7, 5), {"alignCorners": True}, False),
        ("ethos-upscale-u85", "RESIZE_BILINEAR", (4, 4), (12, 12), {}, False),
        ("ethos-upscale-u85", "RESIZE_BILINEAR", (4, 4), (8, 64), {}, True),
        ("ethos-upscale-u85", "RESIZE_NEAREST_NEIGHBOR", (4, 4), (12, 12), {}, True),
        ("ethos-upscale-u85", "RESIZE_NEAREST_NEIGHBOR", (5, 5), (4, 1), {"alignCorners": True}, False),
        ("ethos-upscale-u85", "RESIZE_NEAREST_NEIGHBOR", (2, 2), (4096, 4), {}, False),
        (
            "ethos-upscale-u85",
            "RESIZE_BILINEAR",
            (2, 2),
            (4, 4),
            {"alignCorners": True, "halfPixelCenters": True},
            False,
        ),
    ],
)
def test_resizes_on_the_ethos_u(
    check: str, name: str, before: tuple[int, int], after: tuple[int, int], options: dict[str, bool], taken: bool
) -> None:
    found = verdict(check, name, [tensor(0, (1, *before, 4)), axes(*after)], (1, *after, 4), **options)
    assert (found is None) == taken


WEIGHTS = tensor(1, (4, 3, 3, 4), constant=True)
BIAS = tensor(2, (4,), "int32", constant=True)


@pytest.mark.parametrize(
    ("check", "name", "inputs", "output", "options", "reason"),
    [
        ("ethos-quantized", "ADD", [tensor(0, ()), IMAGE], (1, 8, 8, 4), {}, "a scalar"),
        (
            "ethos-quantized",
            "ADD",
            [tensor(0, scales=0, scales_values=()), IMAGE],
            (1,),
            {},
            "without a positive scale",
        ),
        ("ethos-per-tensor", "ADD", [IMAGE, tensor(1, scales=4)], (1,), {}, "a scale per channel"),
        ("ethos-no-activation", "ADD", [IMAGE], (1,), {"fusedActivationFunction": "RELU"}, "RELU fused"),
        ("ethos-constant-bias", "CONV_2D", [IMAGE, WEIGHTS, tensor(2, (4,), "int32")], (1,), {}, "a bias that another"),
        ("ethos-constant-bias", "CONV_2D", [IMAGE, WEIGHTS, BIAS], (1,), {}, None),
        ("ethos-constant-bias", "CONV_2D", [IMAGE, WEIGHTS, None], (1,), {}, None),
        ("ethos-same-quantization", "MAXIMUM", [IMAGE, tensor(1, scales_values=(0.2,))], (1,), {}, "another scale"),
        ("ethos-same-shape", "ELU", [IMAGE], (1, 4), {}, "another dtype or shape"),
        ("ethos-pool-kernel", "AVERAGE_POOL_2D", [IMAGE], (1,), {"filterHeight": 9, "padding": "SAME"}, "9 by 0"),
        ("ethos-max-pool-kernel", "MAX_POOL_2D", [IMAGE], (1,), {"filterHeight": 300, "filterWidth": 1}, "300 by 1"),
        ("ethos-dense-weights", "FULLY_CONNECTED", [IMAGE, WEIGHTS], (1,), {}, "weights of shape [4, 3, 3, 4]"),
        ("ethos-products-of-int8", "BATCH_MATMUL", [IMAGE, tensor(1, dtype="int16")], (1,), {}, "that are not int8"),
        ("ethos-softmax-area", "SOFTMAX", [tensor(0, (1, 256, 256, 2))], (1,), {}, "65536 vectors at once"),
        ("ethos-last-axis", "ARG_MAX", [IMAGE, axes(1)], (1,), {}, "another axis than the last"),
        ("ethos-last-axis", "ARG_MAX", [tensor(0, (1, 128)), axes(-1)], (1,), {}, "128 channels"),
        ("ethos-unit-slices", "STRIDED_SLICE", [IMAGE, *[axes(1, 2, 2, 1)] * 3], (1,), {}, None),
        ("ethos-unit-slices", "STRIDED_SLICE", [IMAGE, *[axes(1, 2, 2, 2)] * 3], (1,), {}, "another axis than height"),
        ("ethos-unit-slices", "STRIDED_SLICE", [IMAGE, *[axes(1, -1, 1, 1)] * 3], (1,), {}, "a negative stride"),
        ("ethos-permutation-of-int32", "TRANSPOSE", [IMAGE, axes(0, 2, 1, 3)], (1,), {}, None),
        (
            "ethos-permutation-of-int32",
            "TRANSPOSE",
            [IMAGE, axes(3, 2, 1, 0)],
            (1,),
            {},
            "the permutation [3, 2, 1, 0]",
        ),
        ("ethos-gather-axis", "GATHER", [IMAGE], (1,), {"axis": 1, "batchDims": 0}, "GATHER along axis 1"),
        ("ethos-plain-lstm", "UNIDIRECTIONAL_SEQUENCE_LSTM", [IMAGE] * 12, (1,), {}, "an LSTM with peepholes"),
        ("ethos-plain-lstm", "UNIDIRECTIONAL_SEQUENCE_LSTM", [IMAGE, None], (1,), {}, "coupled input and forget"),
        ("edgetpu-innermost", "ADD", [tensor(0, (2, 8, 8, 4))], (1,), {}, "only the three innermost"),
        ("edgetpu-even-dilation", "CONV_2D", [IMAGE], (1,), {"dilationHFactor": 2}, "a dilation of 2 by 1"),
        ("edgetpu-even-dilation", "CONV_2D", [IMAGE, tensor(1)], (1,), {}, "parameters that another op computes"),
        ("edgetpu-padding-by-zeros", "CONCATENATION", [IMAGE, WEIGHTS, IMAGE], (1,), {}, "among more than two"),
        ("edgetpu-flat-output", "FULLY_CONNECTED", [IMAGE, WEIGHTS], (8, 4), {}, "taken is one vector"),
        ("edgetpu-mean", "MEAN", [tensor(0, (1, 8, 8, 6)), axes(3)], (1,), {}, "MEAN over 6 channels"),
        ("edgetpu-mean", "MEAN", [IMAGE, axes(1, 2)], (1,), {}, None),
        ("edgetpu-no-batch-axis", "SUM", [IMAGE, axes(0)], (1,), {}, "a reduction over the batch"),
        ("edgetpu-one-vector", "SOFTMAX", [tensor(0, (8, 4))], (1,), {}, "8 vectors at once"),
        ("edgetpu-one-vector", "SOFTMAX", [tensor(0, (1, 16001))], (1,), {}, "a softmax of 16001 elements"),
        ("edgetpu-slope-a-channel", "PRELU", [IMAGE, WEIGHTS], (1,), {}, "slopes of shape"),
        (
            "edgetpu-unpadded-batch",
            "PAD",
            [IMAGE, axes(1, 0, *[0] * 6, shape=(4, 2))],
            (1,),
            {},
            "padding of the batch",
        ),
        ("edgetpu-unit-strides", "STRIDED_SLICE", [IMAGE, *[axes(1, 2, 1, 1)] * 3], (1,), {}, "taken is 1"),
        ("gpu-one-input", "ABS", [IMAGE, tensor(1)], (1,), {}, "2 inputs that are no constants"),
        ("gpu-up-to-two-inputs", "CONV_2D", [IMAGE, tensor(1), tensor(2)], (1,), {}, "3 inputs"),
        ("gpu-two-operands", "SUB", [IMAGE], (1,), {}, "1 operands, taken are two"),
        ("gpu-broadcast", "ADD", [IMAGE, tensor(1, (8, 8, 4))], (1,), {}, None),
        ("gpu-broadcast", "ADD", [IMAGE, tensor(1, (1, 4))], (1,), {}, None),
        ("gpu-broadcast", "ADD", [IMAGE, tensor(1, (8, 4))], (1,), {}, "operands of shapes [1, 8, 8, 4] and [8, 4]"),
        ("gpu-constant-axes", "MEAN", [IMAGE, COMPUTED], (1,), {}, "axes that are no int32 constant"),
        ("gpu-padded-shape", "PAD", [IMAGE, axes(1, 1, shape=(1, 2))], (1,), {}, "another rank than 3 or 4"),
        ("gpu-depthwise", "DEPTHWISE_CONV_2D", [tensor(0, (8, 4)), WEIGHTS], (1,), {}, "another rank than 4"),
    ],
)
def test_a_check_says_what_is_wrong(
    check: str,
    name: str,
    inputs: list[TensorInfo | None],
    output: tuple[int, ...],
    options: dict[str, Any],
    reason: str | None,
) -> None:
    found = verdict(check, name, inputs, output, **options)
    assert found is None if reason is None else found is not None and reason in found


@pytest.mark.parametrize(
    ("padding", "strides", "out", "taken"),
    [
        ("SAME", (2, 2), 16, True),
        ("SAME", (2, 2), 15, False),
        ("VALID", (2, 2), 17, True),
        ("VALID", (1, 1), 10, True),
        ("SAME", (3, 3), 24, False),
        ("SAME", (1, 2), 8, False),
    ],
)
def test_transposed_convolutions_on_the_ethos_u(padding: str, strides: tuple[int, int], out: int, taken: bool) -> None:
    inputs = [axes(1, out, out, 4), WEIGHTS, IMAGE]
    options = {"padding": padding, "strideH": strides[0], "strideW": strides[1]}
    size = verdict("ethos-transposed-size", "TRANSPOSE_CONV", inputs, (1, out, out, 4), **options)
    stride = verdict("ethos-transposed-stride", "TRANSPOSE_CONV", inputs, (1, out, out, 4), **options)
    assert (size is None and stride is None) == taken
