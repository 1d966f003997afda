"""Steps of an unrolled recurrent layer share their weights; one whose input is always 0 must not spoil the others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edgekit_converters.flatbuffer import add_signature, read, signature_specs, write
from edgekit_converters.quantize import quantize
from edgekit_converters.same_scale import inherit_ranges
from edgekit_converters.structure import read_structure
from edgekit_converters.types import FloatModel, Scheme
from tests.min_max import min_max_ranges
from tests.unit.test_quantize import run

pytestmark = pytest.mark.unit

UNITS = 8
INT8 = Scheme(precision="int8", io="int8")


def two_steps(*, one_input: bool) -> FloatModel:
    """Sum of two FULLY_CONNECTED with the same weights and bias, over halves of one input or over two inputs."""
    from ai_edge_litert import schema_py_generated as schema

    rng = np.random.default_rng(3)
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [graph]
    graph.tensors, graph.operators, model.operatorCodes = [], [], []

    def tensor(name: str, shape: Sequence[int], data: Any = None) -> int:
        item = schema.TensorT()
        item.name, item.shape, item.type, item.buffer = name, list(shape), schema.TensorType.FLOAT32, 0
        if data is not None:
            item.buffer = len(model.buffers)
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = np.frombuffer(data.tobytes(), np.uint8)
            item.type = schema.TensorType.INT32 if data.dtype == np.int32 else schema.TensorType.FLOAT32
        graph.tensors.append(item)
        return len(graph.tensors) - 1

    def operator(name: str, inputs: list[int], outputs: list[int], kind: str, **options: Any) -> None:
        code, op = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = 1
        op.opcodeIndex, op.inputs, op.outputs = len(model.operatorCodes), inputs, outputs
        model.operatorCodes.append(code)
        op.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        op.builtinOptions = getattr(schema, f"{kind}T")()
        for option, value in options.items():
            setattr(op.builtinOptions, option, value)
        graph.operators.append(op)

    weights = tensor("weights", (UNITS, UNITS), rng.normal(size=(UNITS, UNITS)).astype("<f4"))
    bias = tensor("bias", (UNITS,), rng.normal(size=UNITS).astype("<f4"))
    frames = [tensor(f"frame{step}", (1, UNITS)) for step in range(2)]
    graph.inputs = frames
    if one_input:
        whole = tensor("x", (2, UNITS))
        axis = tensor("axis", (), np.array(0, np.int32))
        operator("SPLIT", [axis, whole], frames, "SplitOptions", numSplits=2)
        graph.inputs = [whole]
    steps = [tensor(f"step{step}", (1, UNITS)) for step in range(2)]
    for frame, step in zip(frames, steps, strict=True):
        operator("FULLY_CONNECTED", [frame, weights, bias], [step], "FullyConnectedOptions")
    graph.outputs = [tensor("sum", (1, UNITS))]
    operator("ADD", steps, graph.outputs, "AddOptions")
    names = ["x"] if one_input else ["frame0", "frame1"]
    add_signature(model, inputs={name: name for name in names}, outputs={"sum": ""})
    parsed = read(write(model))
    inputs, outputs = signature_specs(parsed)
    return FloatModel(
        tflite=write(parsed), inputs=inputs, outputs=outputs, source_format="test", route="none", tools={}
    )


def first_frame_is_zero(*, one_input: bool, count: int = 50) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    frames = [rng.random((1, UNITS), np.float32) for _ in range(count)]
    zero = np.zeros((1, UNITS), np.float32)
    if one_input:
        return [{"x": np.concatenate([zero, frame])} for frame in frames]
    return [{"frame0": zero, "frame1": frame} for frame in frames]


@pytest.mark.parametrize("one_input", [True, False])
def test_an_input_that_is_always_zero_leaves_the_other_steps_their_weights(*, one_input: bool) -> None:
    model, samples = two_steps(one_input=one_input), first_frame_is_zero(one_input=one_input)
    quantized = quantize(model, scheme=INT8, ranges=min_max_ranges(model.tflite, samples))
    expected = np.stack([run(model, sample) for sample in samples])
    noise = np.stack([run(quantized, sample) for sample in samples]) - expected
    assert 10 * np.log10((expected**2).sum() / (noise**2).sum()) > 35
    dead = {finding.name for finding in quantized.findings} & {"dead-activations"}
    assert dead == (set() if one_input else {"dead-activations"}), "half of a living input is not dead"


def test_the_bias_of_a_dead_input_has_weights_of_its_own() -> None:
    model, samples = two_steps(one_input=False), first_frame_is_zero(one_input=False)
    quantized = quantize(model, scheme=INT8, ranges=min_max_ranges(model.tflite, samples))
    used = [op.inputs[1] for op in read_structure(quantized.tflite).ops if op.name == "FULLY_CONNECTED"]
    assert len({tensor.name for tensor in used if tensor}) == 2


def test_ranges_are_inherited_through_what_only_moves_values() -> None:
    ranges = {"x": (-1.0, 2.0), "frame0": (0.0, 0.0), "frame1": (-1.0, 2.0), "step0": (0.0, 3.0)}
    inherited = inherit_ranges(read(two_steps(one_input=True).tflite), ranges)
    assert inherited == {**ranges, "frame0": (-1.0, 2.0)}
