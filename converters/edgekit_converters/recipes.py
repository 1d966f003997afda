"""A ``Scheme`` in the terms of ai-edge-quantizer: a recipe of (scope, operator, config), where the later rule wins.

The scope of an operator is its output names, each with a ``;`` behind it; a scope is matched as a regular expression,
so the name of a single layer is escaped and anchored.
"""

import re
from typing import Any, Literal

from edgekit_converters.errors import QuantizationError
from edgekit_converters.flatbuffer import builtin_name, read, text
from edgekit_converters.quantizer_import import import_quantizer
from edgekit_converters.types import FloatModel, IoDtype, LayerPrecision, Precision, Scheme

ActivationBits = Literal[8, 16]

ACTIVATION_BITS: dict[Precision | LayerPrecision, ActivationBits | None] = {
    "float32": None, "float16": None, "dynamic": None, "int8": 8, "int16x8": 16,
}  # fmt: skip
"""Bits of a quantized activation; None where activations stay float."""

IO_DTYPES: dict[Precision, tuple[IoDtype, ...]] = {
    "float32": ("float32",),
    "float16": ("float32",),
    "dynamic": ("float32",),
    "int8": ("int8", "uint8", "float32"),
    "int16x8": ("int16", "float32"),
}
"""What a file of each precision can take and give."""

RESCUES: dict[Precision, tuple[LayerPrecision, ...]] = {
    "float32": (), "float16": (), "dynamic": ("float32",), "int8": ("int16x8", "float32"), "int16x8": ("float32",),
}  # fmt: skip
"""What single layers of a file of each precision can be instead, cheapest first."""

INT4_OPS = frozenset({"CONV_2D", "FULLY_CONNECTED"})
"""Operators whose kernels read int4 weights, plain and in XNNPACK; tests/unit/test_precisions.py runs both."""

_EVERYTHING = ".*"


def check_scheme(scheme: Scheme) -> None:
    """Raise QuantizationError for what contradicts itself."""
    precision = scheme.precision
    if scheme.io not in IO_DTYPES[precision]:
        raise QuantizationError(
            f"{precision} models take and give {' or '.join(IO_DTYPES[precision])}; {scheme.io} was asked for.",
            hint=f"Use --io {IO_DTYPES[precision][0]}.",
        )
    if scheme.weight_bits == 4 and precision in {"float32", "float16"}:  # noqa: PLR2004 - int4
        raise QuantizationError(
            f"int4 weights were asked for in a {precision} model, whose weights are no integers.",
            hint="Use --precision dynamic or int8.",
        )
    for name, rescue in scheme.layers.items():
        if rescue not in RESCUES[precision]:
            raise QuantizationError(
                f"The layer {name!r} of a {precision} model cannot be computed as {rescue}.",
                hint=f"It can be {' or '.join(RESCUES[precision]) or 'nothing else'}.",
            )


def activation_bits(scheme: Scheme, name: str) -> ActivationBits | None:
    """Bits of what the operator with the first output ``name`` computes with; None for float."""
    return ACTIVATION_BITS[scheme.layers.get(name, scheme.precision)]


def layer_choices(model: FloatModel, precision: Precision = "int8") -> dict[str, tuple[LayerPrecision, ...]]:
    """What ``Scheme.layers`` may say: first output of every operator, in order of execution -> its rescues.

    A layer that ``precision`` leaves in float anyway can be ``float32`` only: naming it says that this is wanted. One
    that gives no real numbers (the indices of ARG_MAX) has nothing to rescue.
    """
    from ai_edge_litert import schema_py_generated as schema

    import_quantizer()
    parsed = read(model.tflite, what="the float model")
    bits = ACTIVATION_BITS[precision]
    choices: dict[str, tuple[LayerPrecision, ...]] = {}
    for graph in parsed.subgraphs:
        for operator in graph.operators:
            outputs = [graph.tensors[int(index)] for index in operator.outputs]
            if outputs and outputs[0].type == schema.TensorType.FLOAT32:
                operation = _operation(parsed, operator)
                kept_float = bits is not None and not _has_kernel(operation, bits)
                allowed: tuple[LayerPrecision, ...] = ("float32",) if kept_float else RESCUES[precision]
                choices[text(outputs[0].name)] = tuple(
                    rescue
                    for rescue in allowed
                    if rescue == "float32" or _has_kernel(operation, ACTIVATION_BITS[rescue])
                )
    return choices


def make_recipe(model: Any, scheme: Scheme) -> Any:
    """ai-edge-quantizer's RecipeManager for a parsed float model.

    Raises QuantizationError for a layer that does not exist or cannot be what it should be.
    """
    from ai_edge_quantizer import qtyping, recipe_manager

    operations = qtyping.TFLOperationName
    recipe = recipe_manager.RecipeManager()
    bits = ACTIVATION_BITS[scheme.precision]
    recipe.add_quantization_config(_EVERYTHING, operations.ALL_SUPPORTED, _config(scheme, bits))
    for name in sorted(INT4_OPS):
        weight_bits = scheme.weight_bits
        if weight_bits == 4 or name == "FULLY_CONNECTED":  # noqa: PLR2004 - int4
            recipe.add_quantization_config(_EVERYTHING, operations[name], _config(scheme, bits, name, weight_bits))
    if bits is not None:
        _add_io(recipe, scheme)
    elif not scheme.per_channel:
        # The hybrid kernel reads one scale a channel whether they are there or not: the outputs would be garbage.
        recipe.add_quantization_config(_EVERYTHING, operations.DEPTHWISE_CONV_2D, None, "no_quantize")
    _add_layers(recipe, model, scheme)
    return recipe


def _config(
    scheme: Scheme,
    bits: ActivationBits | None,
    operator: str = "",
    weight_bits: Literal[4, 8] = 8,
    *,
    unsigned: bool = False,
) -> Any:
    """Static with ``bits``, dynamic without; weights are always symmetric, as every kernel needs them."""
    from ai_edge_quantizer import qtyping

    tensor, granularity = qtyping.TensorQuantizationConfig, qtyping.QuantGranularity
    per_channel = scheme.per_channel and (operator != "FULLY_CONNECTED" or scheme.per_channel_fully_connected)
    activations = None
    if bits is not None:
        activations = tensor(
            num_bits=bits,
            symmetric=not unsigned and (bits == ACTIVATION_BITS["int16x8"] or scheme.symmetric_activations),
            dtype=qtyping.TensorDataType.UINT if unsigned else qtyping.TensorDataType.INT,
        )
    return qtyping.OpQuantizationConfig(
        activation_tensor_config=activations,
        weight_tensor_config=tensor(
            num_bits=weight_bits,
            symmetric=True,
            granularity=granularity.CHANNELWISE if per_channel else granularity.TENSORWISE,
        ),
        compute_precision=qtyping.ComputePrecision.INTEGER,
        explicit_dequantize=False,
    )


def _add_io(recipe: Any, scheme: Scheme) -> None:
    from ai_edge_quantizer import qtyping

    for side in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        if scheme.io == "float32":
            recipe.add_quantization_config(_EVERYTHING, side, None, "no_quantize")
        elif scheme.io == "uint8":
            recipe.add_quantization_config(_EVERYTHING, side, _config(scheme, 8, unsigned=True))


def _add_layers(recipe: Any, model: Any, scheme: Scheme) -> None:
    """Rules for single operators; their kind is said, so that no rule reaches the input or output of the same name."""
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    found = set()
    for graph in model.subgraphs:
        for operator in graph.operators:
            name = text(graph.tensors[int(operator.outputs[0])].name) if len(operator.outputs) else ""
            rescue = scheme.layers.get(name)
            if rescue is None:
                continue
            found.add(name)
            operation, bits = _operation(model, operator), ACTIVATION_BITS[rescue]
            scope = rf"\A{re.escape(tfl_flatbuffer_utils.get_op_scope(operator, graph.tensors))}\Z"
            if bits is None:
                if operation is not None:
                    recipe.add_quantization_config(scope, operation, None, "no_quantize")
                continue
            _check_rescue(model, graph, operator, operation, scheme)
            recipe.add_quantization_config(scope, operation, _config(scheme, bits, operation.name))
    missing = sorted(scheme.layers.keys() - found)
    if missing:
        raise QuantizationError(
            f"The model has no layer whose first output is {missing[0]!r}.",
            hint="Name layers as `edgekit explain` lists them; names change when the source model does.",
        )


def _check_rescue(model: Any, graph: Any, operator: Any, operation: Any, scheme: Scheme) -> None:
    """Raise QuantizationError where int16 activations have no kernel."""
    kind = builtin_name(model.operatorCodes[operator.opcodeIndex])
    name = text(graph.tensors[int(operator.outputs[0])].name)
    if not _has_kernel(operation, ACTIVATION_BITS["int16x8"]):
        raise QuantizationError(
            f"The layer {name!r} cannot be computed as int16x8: {kind} has no kernel for int16 activations.",
            hint="Compute it in float32.",
        )
    edges = {int(index) for index in (*graph.inputs, *graph.outputs)}
    if scheme.io == "uint8" and edges & {int(index) for index in (*operator.inputs, *operator.outputs)}:
        raise QuantizationError(
            f"The layer {name!r} cannot be computed as int16x8 beside a uint8 input or output: "
            "the runtime has no kernel between uint8 and int16.",
            hint="Use --io int8 or float32, or compute this layer in float32.",
        )


def _operation(model: Any, operator: Any) -> Any:
    """ai-edge-quantizer's name of the operator; None for one it does not know."""
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    code = model.operatorCodes[operator.opcodeIndex]
    return tfl_flatbuffer_utils.TFL_OP_CODE_TO_NAME.get(max(code.builtinCode, code.deprecatedBuiltinCode))


def _has_kernel(operation: Any, bits: ActivationBits | None) -> bool:
    from ai_edge_quantizer import algorithm_manager

    if operation is None:
        return False
    try:
        algorithm_manager.check_op_quantization_config(
            algorithm_manager.AlgorithmName.MIN_MAX_UNIFORM_QUANT, operation, _config(Scheme(precision="int8"), bits)
        )
    except ValueError:
        return False
    return True
