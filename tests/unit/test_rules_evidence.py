"""The Edge TPU's rules, which nothing here can run, held against Coral's text and what others recorded."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgekit.placement import load_rules
from edgekit.placement.context import context_of
from edgekit.placement.match import explain
from edgekit_converters.structure import OpInfo, TensorInfo
from tests.unit.op_graphs import graph, op, tensor

pytestmark = pytest.mark.unit

LOGS = sorted((Path(__file__).parent / "data" / "edgetpu").glob("*.log"))
IMAGE = tensor(0, (1, 8, 8, 4))
WIDE = tensor(0, (2, 8, 8, 4))


def constant(*values: int, shape: Sequence[int] | None = None, dtype: str = "int32") -> TensorInfo:
    return tensor(50, shape or (len(values),), dtype, constant=True, values=values or None)


def weights(shape: Sequence[int] = (4, 3, 3, 4), dtype: str = "int8") -> TensorInfo:
    return tensor(51, shape, dtype, constant=True)


POOL = {"fusedActivationFunction": "NONE"}
CORNERS = {"ellipsisMask": 0, "newAxisMask": 0}
USUAL: dict[str, tuple[list[TensorInfo], Sequence[int], dict[str, Any]]] = {
    "ADD": ([IMAGE, tensor(1)], (1, 8, 8, 4), {}),
    "CONCATENATION": ([IMAGE, tensor(1)], (1, 8, 8, 8), POOL),
    "CONV_2D": ([IMAGE, weights()], (1, 8, 8, 4), {}),
    "CUSTOM": ([tensor(0, (1, 10, 4), "float32")], (1, 10, 4), {}),
    "DEPTHWISE_CONV_2D": ([IMAGE, weights((1, 3, 3, 4))], (1, 8, 8, 4), {}),
    "FULLY_CONNECTED": ([tensor(0, (1, 4)), weights((10, 4))], (1, 10), {"weightsFormat": "DEFAULT"}),
    "LOGISTIC": ([IMAGE], (1, 8, 8, 4), {}),
    "MAX_POOL_2D": ([IMAGE], (1, 4, 4, 4), POOL),
    "MEAN": ([IMAGE, constant(1, 2)], (1, 4), {}),
    "MUL": ([IMAGE, tensor(1)], (1, 8, 8, 4), {}),
    "PACK": ([IMAGE, tensor(1)], (1, 8, 8, 2, 4), {"axis": 3}),
    "PAD": ([IMAGE, constant(0, 0, 1, 1, 1, 1, 0, 0, shape=(4, 2))], (1, 10, 10, 4), {}),
    "QUANTIZE": ([tensor(0, dtype="uint8")], (1, 8, 8, 4), {}),
    "REDUCE_MAX": ([IMAGE, constant(1, 2)], (1, 4), {}),
    "RESHAPE": ([IMAGE, constant(1, 256)], (1, 256), {}),
    "RESIZE_NEAREST_NEIGHBOR": ([IMAGE, constant(16, 16)], (1, 16, 16, 4), {}),
    "SLICE": ([IMAGE, constant(0, 0, 0, 0), constant(1, 4, 4, 4)], (1, 4, 4, 4), {}),
    "STRIDED_SLICE": ([IMAGE, *[constant(0, 0, 0, 0)] * 2, constant(1, 1, 1, 1)], (1, 4, 4, 4), CORNERS),
    "TRANSPOSE": ([IMAGE, constant(0, 2, 1, 3)], (1, 8, 8, 4), {}),
}
"""Operator -> inputs, shape of the output and options that a vision model usually has."""
FITS = frozenset({"Mapped to Edge TPU", "More than one subgraph is not supported"})
"""Statuses of an operation that the Edge TPU has; the second one comes after one that it has not."""
RANK = "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"
DTYPE = "Operation is working on an unsupported data type"
OLDER = {
    ("two_of_155_v15", "TRANSPOSE", "Operation not supported"): "compiler 16 has it, google-coral/edgetpu#193",
    ("operations_v14", "RESIZE_NEAREST_NEIGHBOR", "Operation version not supported"): "spaghettinet_v16 maps it",
}
"""What an older compiler refused and the one of the rules takes."""
UNSPECIFIED = "Operation is otherwise supported, but not mapped due to some unspecified limitation"


def lines() -> Iterator[tuple[str, str, str]]:
    for path in LOGS:
        for name, status in re.findall(r"^([A-Z0-9_]+) +\d+ +(\S.*)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            yield path.stem, name, status


def refusal(each: OpInfo) -> str | None:
    found = explain(each, load_rules("edgetpu"), context_of(graph([each]), 0))
    return found[0] if found else None


def usual(name: str, version: int = 1) -> OpInfo:
    inputs, shape, options = USUAL[name]
    result = tensor(99, shape, "float32" if name == "CUSTOM" else "int8")
    custom = "TFLite_Detection_PostProcess" if name == "CUSTOM" else None
    return op(0, name, inputs, [result], options=options, version=version, custom=custom)


@pytest.mark.parametrize(("log", "name", "status"), list(lines()))
def test_recorded_logs_of_the_edge_tpu_agree_with_the_rules(log: str, name: str, status: str) -> None:
    if status == RANK:
        assert "three innermost" in str(refusal(op(0, name, [WIDE], [tensor(9)], options={"axis": 1})))
    elif status == DTYPE:
        assert refusal(usual(name)) == "TFLite_Detection_PostProcess is not among the ops it takes"
    elif status == UNSPECIFIED:  # not told why; of these models it is the QUANTIZE of their float input
        assert name == "QUANTIZE"
        floats = op(0, name, [tensor(0, dtype="float32")], [tensor(9)])
        assert refusal(floats) == "float32 data, taken are int8, uint8"
    else:
        assert status in FITS or (log, name, status) in OLDER
        if (log, name) != ("thermal_face_v14", "PACK"):
            assert refusal(usual(name)) is None


def test_logs_without_a_table_agree_with_the_rules_too() -> None:
    told = {log for log, _, _ in lines()}
    sizes = {"compiled_v16", "internal_error_v14", "large_activations_v16", "nothing_mapped_v15"}
    """Of these the rules can tell nothing: all mapped, an error without a cause, a size that is not numbered, -m 11."""
    assert {path.stem for path in LOGS} - told - sizes == {"not_quantized_v15", "op_version_v16"}
    assert "version 3 of the operator, the newest it knows is 2" in str(refusal(usual("QUANTIZE", 3)))
    floats = op(0, "CONV_2D", [tensor(0, dtype="float32"), weights(dtype="float32")], [tensor(9, dtype="float32")])
    assert "float32 data" in str(refusal(floats))


@pytest.mark.parametrize(("name", "version"), [("CONV_2D", 6), ("TRANSPOSE_CONV", 4), ("QUANTIZE", 3), ("EXP", 2)])
def test_versions_that_compiler_16_was_seen_to_refuse(name: str, version: int) -> None:
    """google-coral/edgetpu #631, #845, #879; libedgetpu #71."""
    assert refusal(op(0, name, [IMAGE, weights()], [tensor(9)], version=version))


@pytest.mark.parametrize("name", ["RSQRT", "SQUARED_DIFFERENCE", "SUM"])
def test_what_no_text_confirms_is_left_to_the_cpu_and_says_so(name: str) -> None:
    found = refusal(op(0, name, [IMAGE], [tensor(9)]))
    assert found == "not confirmed by a public text, and so left to the CPU"


@pytest.mark.parametrize(
    ("before", "after", "taken"),
    [((1, 1, 10), (10,), True), ((1, 1, 10), (1, 10), True), ((1, 5, 10), (5, 10), True), ((5, 1, 10), (5, 10), False)],
)
def test_the_edge_tpu_squeezes_ones_in_front_only(before: Sequence[int], after: Sequence[int], taken: bool) -> None:
    """The examples of Coral's table."""
    found = refusal(op(0, "SQUEEZE", [tensor(0, before)], [tensor(1, after)]))
    assert (found is None) == taken


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([IMAGE, weights((1, 8, 8, 4))], "a constant that is not known to be zeros"),
        ([IMAGE, constant(-128, -128, dtype="int8")], "a constant that is not known to be zeros"),
        ([IMAGE, tensor(50, (2,), constant=True, values=(-3, -3), zero_point=-3)], None),
    ],
)
def test_the_edge_tpu_concatenates_constants_that_are_zero(inputs: list[TensorInfo], reason: str | None) -> None:
    assert refusal(op(0, "CONCATENATION", inputs, [tensor(9)], options=POOL)) == reason


def test_the_edge_tpu_packs_along_any_axis_but_the_first() -> None:
    vectors = [tensor(0, (1, 4)), tensor(1, (1, 4))]
    reasons = [
        refusal(op(0, "PACK", vectors, [tensor(2, shape)], options={"axis": axis}))
        for axis, shape in [(0, (2, 1, 4)), (-3, (2, 1, 4)), (1, (1, 2, 4)), (-1, (1, 4, 2))]
    ]
    assert reasons == ["packing along the batch"] * 2 + [None] * 2
