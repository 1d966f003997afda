"""Float TFLite -> the precision asked for: the one adapter to ai-edge-quantizer.

Its own ``calibrate`` is never used (it holds every sample in memory and averages ranges): ``ranges.py`` collects.
Its stages are called one by one, because ``Quantizer.quantize`` prints and shows progress bars.
"""

import importlib.metadata
import tempfile
from pathlib import Path
from typing import Any

from edgekit_converters.bias_room import make_room
from edgekit_converters.errors import QuantizationError
from edgekit_converters.flatbuffer import add_signature, builtin_name, read, signature_specs, write
from edgekit_converters.float16 import halve_weights
from edgekit_converters.types import Finding, FloatModel, IoDtype, Precision, QuantizedModel, Ranges, Scheme

RECURRENT_OPS = frozenset({
    "WHILE", "LSTM", "RNN", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN",
    "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN",
})  # fmt: skip
"""Their state lives in other subgraphs or variables, whose ranges no pass sees and whose weights stay float."""

MIN_WIDTH = 1e-6
"""Narrower ranges are widened to it: the runtime's int32 arithmetic overflows on a clamp at 6 below 7e-7."""

_EVERYTHING = ".*"


def quantize(
    model: FloatModel,
    *,
    scheme: Scheme,
    ranges: Ranges | None = None,
) -> QuantizedModel:
    """Bring the model to what ``scheme`` says; the same arguments give the same bytes.

    ``ranges`` (of every activation, see ``Ranges``) matter to ``int8`` and ``int16x8`` only. Raises
    QuantizationError when the scheme cannot be reached, never returns a file that is something else.
    """
    precision, io = scheme.precision, scheme.io
    per_channel_fully_connected = scheme.per_channel_fully_connected
    if precision == "float32":
        return QuantizedModel(
            tflite=model.tflite, precision=precision, inputs=model.inputs, outputs=model.outputs, tools={}
        )
    findings: tuple[Finding, ...] = ()
    tools = {"ai-edge-quantizer": importlib.metadata.version("ai-edge-quantizer")}
    if precision == "float16":
        parsed, tools = _float16(model), {}
    else:
        _refuse_recurrent(model, precision)
        if precision == "dynamic":
            data = _run_quantizer(model.tflite, per_channel_fully_connected=per_channel_fully_connected)
        else:
            widened, findings = _widen(_require(ranges))
            data = _int8(model, io, widened, per_channel_fully_connected=per_channel_fully_connected)
        parsed = _read_quantized(data, precision)
    # The order of a graph's inputs and outputs survives quantization; the names of tensors do not.
    add_signature(
        parsed,
        inputs=dict.fromkeys((spec.name for spec in model.inputs), ""),
        outputs=dict.fromkeys((spec.name for spec in model.outputs), ""),
    )
    inputs, outputs = signature_specs(parsed)
    return QuantizedModel(
        tflite=write(parsed), precision=precision, inputs=inputs, outputs=outputs, tools=tools, findings=findings
    )


def _float16(model: FloatModel) -> Any:
    parsed = read(model.tflite, what="the float model")
    if not halve_weights(parsed):
        raise QuantizationError(
            "There is nothing to store as float16: the model has no weights of 32 values or more.",
            hint="Build it with --precision float32.",
        )
    return parsed


def _int8(model: FloatModel, io: IoDtype, ranges: Ranges, *, per_channel_fully_connected: bool) -> bytes:
    parsed = read(model.tflite, what="the float model")
    make_room(parsed, ranges)
    data = _run_quantizer(
        write(parsed),
        ranges=ranges,
        float_io=io != "int8",
        per_channel_fully_connected=per_channel_fully_connected,
    )
    return _with_uint8_io(data) if io == "uint8" else data


def _run_quantizer(
    data: bytes, *, ranges: Ranges | None = None, float_io: bool = False, per_channel_fully_connected: bool
) -> bytes:
    """``ranges`` makes it static int8 with int8 (or float) inputs and outputs, None makes it dynamic."""
    import numpy as np
    from ai_edge_quantizer import model_modifier, params_generator, qtyping, recipe_manager
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    operations, granularity = qtyping.TFLOperationName, qtyping.QuantGranularity
    recipe = recipe_manager.RecipeManager()
    if ranges is None:
        recipe.add_dynamic_config(_EVERYTHING, operations.ALL_SUPPORTED, 8)
        if not per_channel_fully_connected:
            recipe.add_dynamic_config(_EVERYTHING, operations.FULLY_CONNECTED, 8, granularity.TENSORWISE)
    else:
        recipe.add_static_config(_EVERYTHING, operations.ALL_SUPPORTED, 8, 8)
        if not per_channel_fully_connected:
            recipe.add_static_config(_EVERYTHING, operations.FULLY_CONNECTED, 8, 8, granularity.TENSORWISE)
    if float_io:
        for side in (operations.INPUT, operations.OUTPUT):
            recipe.add_quantization_config(_EVERYTHING, side, None, "no_quantize")
    calibration = None
    if ranges is not None:
        calibration = {name: {"min": np.float32(low), "max": np.float32(high)} for name, (low, high) in ranges.items()}
    try:
        # A number that does not fit its integer type would wrap around with only a warning.
        with np.errstate(invalid="raise"):
            model = tfl_flatbuffer_utils.read_model(data)
            generator = params_generator.ParamsGenerator(model)
            parameters = generator.generate_quantization_parameters(recipe, calibration, enable_progress_bar=False)
            modifier = model_modifier.ModelModifier(model)
            return bytes(modifier.modify_model(parameters, enable_progress_bar=False))
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as err:
        raise QuantizationError(
            f"ai-edge-quantizer cannot quantize this model: {str(err)[:300]}",
            hint="Build it with --precision float16 or float32; report the model if you need it quantized.",
        ) from err


def _with_uint8_io(float_io_model: bytes) -> bytes:
    """uint8 in place of float32 inputs and outputs; only a float-I/O file can be changed so."""
    from ai_edge_litert import _pywrap_modify_model_interface as interface
    from ai_edge_litert import schema_py_generated as schema

    with tempfile.TemporaryDirectory(prefix="edgekit-io-") as folder:
        source, target = Path(folder) / "float.tflite", Path(folder) / "uint8.tflite"
        # Large files keep buffers behind the flatbuffer, which modify_model_interface would lose.
        source.write_bytes(write(read(float_io_model, what="the quantized model")))
        code = schema.TensorType.UINT8
        status = interface.modify_model_interface(str(source), str(target), code, code)
        if status != 0 or not target.exists():
            raise QuantizationError(
                f"The inputs and outputs cannot be made uint8 (modify_model_interface returned {status}).",
                hint="Build it with --io int8 or --io float32.",
            )
        return target.read_bytes()


def _read_quantized(data: bytes, precision: Precision) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    parsed = read(data, what="the quantized model")
    if not any(tensor.type == schema.TensorType.INT8 for graph in parsed.subgraphs for tensor in graph.tensors):
        raise QuantizationError(
            f"Quantizing to {precision} changed nothing: no layer of the model can hold int8 weights.",
            hint="Build it with --precision float32.",
        )
    return parsed


def _refuse_recurrent(model: FloatModel, precision: Precision) -> None:
    parsed = read(model.tflite, what="the float model")
    found = sorted({builtin_name(code) for code in parsed.operatorCodes} & RECURRENT_OPS)
    if found:
        why = (
            "the ranges inside its loop cannot be calibrated"
            if precision == "int8"
            else "its recurrent weights would silently stay float32"
        )
        raise QuantizationError(
            f"The model has a recurrent layer ({', '.join(found)}), which cannot be brought to {precision}: {why}.",
            hint="Build it with --precision float16 (half the size) or float32.",
        )


def _require(ranges: Ranges | None) -> Ranges:
    if not ranges:
        raise QuantizationError(
            "int8 needs calibration data: the ranges of the activations are unknown.",
            hint="Give representative inputs with --calibration DATA or [calibration] data in edgekit.toml.",
        )
    return ranges


def _widen(ranges: Ranges) -> tuple[Ranges, tuple[Finding, ...]]:
    """Ranges that the runtime can compute with, and what that says about the model."""
    widened, narrow = {}, []
    for name, (low, high) in ranges.items():
        if max(high, 0.0) - min(low, 0.0) < MIN_WIDTH:
            narrow.append(name)
            widened[name] = (min(low, 0.0), min(low, 0.0) + MIN_WIDTH)
        else:
            widened[name] = (low, high)
    if not narrow:
        return widened, ()
    finding = Finding(
        name="dead-activations",
        severity="warning",
        message=f"{len(narrow)} tensors stay below {MIN_WIDTH:g} for every calibration sample, such as {narrow[0]!r}.",
        fix="Check that the model is trained and that the calibration data is scaled as in training.",
    )
    return widened, (finding,)
