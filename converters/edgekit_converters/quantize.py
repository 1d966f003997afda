"""Float TFLite -> the precision asked for: the one adapter to ai-edge-quantizer.

Its own ``calibrate`` is never used (it holds every sample in memory and averages ranges): ``statistics.py`` collects.
Its stages are called one by one, because ``Quantizer.quantize`` prints and shows progress bars.
"""

import importlib.metadata
from collections import Counter
from functools import lru_cache, partial
from typing import Any

from edgekit_converters.bias_room import make_room
from edgekit_converters.dead_outputs import quantize_dead_outputs
from edgekit_converters.errors import QuantizationError
from edgekit_converters.flatbuffer import add_signature, builtin_name, read, signature_specs, text, write
from edgekit_converters.float16 import halve_weights
from edgekit_converters.islands import fill_islands
from edgekit_converters.output_room import widen_outputs
from edgekit_converters.quantizer_import import import_quantizer
from edgekit_converters.recipes import INT4_OPS, activation_bits, check_scheme, make_recipe
from edgekit_converters.same_scale import inherit_ranges
from edgekit_converters.shared_outputs import join_outputs, separate_outputs
from edgekit_converters.states import follow_outputs, refuse_variables, tie_ranges
from edgekit_converters.types import Finding, FloatModel, Precision, QuantizedModel, Ranges, Scheme

RECURRENT_OPS = frozenset({
    "WHILE", "LSTM", "RNN", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN",
    "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN",
})  # fmt: skip
"""Their state lives in other subgraphs or variables, whose ranges no pass sees and whose weights stay float."""

MIN_WIDTH = {8: 1e-6, 16: 1e-4}
"""Bits -> the range that narrower ones are widened to: the runtime's int32 arithmetic overflows on a clamp at 6 below
7e-7 with int8 activations, below 9.2e-5 with int16."""


def quantize(model: FloatModel, *, scheme: Scheme, ranges: Ranges | None = None) -> QuantizedModel:
    """Bring the model to what ``scheme`` says; the same arguments give the same bytes.

    ``ranges`` (of every activation, see ``Ranges``) matter to ``int8`` and ``int16x8`` only. Raises
    QuantizationError when the scheme cannot be reached, never returns a file that is something else.
    """
    check_scheme(scheme)
    if scheme.precision == "float32":
        return QuantizedModel(
            tflite=model.tflite, precision=scheme.precision, inputs=model.inputs, outputs=model.outputs, tools={}
        )
    findings: tuple[Finding, ...] = ()
    tools = {"ai-edge-quantizer": importlib.metadata.version("ai-edge-quantizer")}
    if scheme.precision == "float16":
        parsed, tools = _float16(model), {}
    else:
        _refuse_recurrent(model.tflite, scheme.precision)
        parsed, findings = _stream(model, scheme, ranges)
    # The order of a graph's inputs and outputs survives quantization; the names of tensors do not.
    add_signature(
        parsed,
        inputs=dict.fromkeys((spec.name for spec in model.inputs), ""),
        outputs=dict.fromkeys((spec.name for spec in model.outputs), ""),
    )
    inputs, outputs = signature_specs(parsed)
    return QuantizedModel(
        tflite=write(parsed),
        precision=scheme.precision,
        inputs=inputs,
        outputs=outputs,
        tools=tools,
        findings=findings,
    )


def _float16(model: FloatModel) -> Any:
    parsed = read(model.tflite, what="the float model")
    if not halve_weights(parsed):
        raise QuantizationError(
            "There is nothing to store as float16: the model has no weights of 32 values or more.",
            hint="Build it with --precision float32.",
        )
    return parsed


def _stream(model: FloatModel, scheme: Scheme, ranges: Ranges | None) -> tuple[Any, tuple[Finding, ...]]:
    """``_integer`` with each state's input and output on one grid: twice where a kernel dictates its output's."""
    if ranges is None or not model.states:
        return _integer(model, scheme, ranges)
    tied = tie_ranges(model, ranges)
    found = _integer(model, scheme, tied)
    followed = follow_outputs(model, tied, found[0], symmetric=scheme.symmetric_activations)
    return found if followed is None else _integer(model, scheme, followed)


def _integer(model: FloatModel, scheme: Scheme, ranges: Ranges | None) -> tuple[Any, tuple[Finding, ...]]:
    """The quantized flatbuffer, parsed, with integer weights; ``dynamic`` computes with float activations."""
    findings: tuple[Finding, ...] = ()
    if scheme.precision == "dynamic":
        parsed = read(_run_quantizer(model.tflite, scheme, None), what="the quantized model")
    else:
        parsed = read(model.tflite, what="the float model")
        widened, findings = _widen(inherit_ranges(parsed, _require(ranges, scheme.precision)), scheme)
        faint = widen_outputs(parsed, widened, activation_bits=partial(activation_bits, scheme))
        widened, findings = {**widened, **faint}, (*findings, *_faint_outputs(faint))
        widened = separate_outputs(parsed, widened)
        make_room(parsed, widened, activation_bits=partial(activation_bits, scheme))
        parsed = read(_run_quantizer(write(parsed), scheme, widened), what="the quantized model")
        quantize_dead_outputs(parsed)
        fill_islands(parsed, scheme, widened)
        join_outputs(parsed)
    return parsed, (*findings, *_check_weights(parsed, scheme))


def _faint_outputs(faint: Ranges) -> tuple[Finding, ...]:
    if not faint:
        return ()
    finding = Finding(
        name="faint-outputs",
        severity="warning",
        message=f"The outputs of {len(faint)} layers stay far below one step of their inputs times one of their "
        f"weights, such as {next(iter(faint))!r}: int8 cannot compute them.",
        fix="Check that the model is trained; if these layers matter, use --precision int16x8 or float16.",
    )
    return (finding,)


def _run_quantizer(data: bytes, scheme: Scheme, ranges: Ranges | None) -> bytes:
    import_quantizer()
    import numpy as np
    from ai_edge_quantizer import model_modifier, params_generator
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    calibration = None
    if ranges is not None:
        calibration = {name: {"min": np.float32(low), "max": np.float32(high)} for name, (low, high) in ranges.items()}
    try:
        # A number that does not fit its integer type would wrap around with only a warning.
        with np.errstate(invalid="raise"):
            model = tfl_flatbuffer_utils.read_model(data)
            recipe = make_recipe(model, scheme)
            generator = params_generator.ParamsGenerator(model)
            parameters = generator.generate_quantization_parameters(recipe, calibration, enable_progress_bar=False)
            modifier = model_modifier.ModelModifier(model)
            return bytes(modifier.modify_model(parameters, enable_progress_bar=False))
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as err:
        raise QuantizationError(
            f"ai-edge-quantizer cannot quantize this model: {str(err)[:300]}",
            hint="Build it with --precision float16 or float32; report the model if you need it quantized.",
        ) from err


def _check_weights(model: Any, scheme: Scheme) -> tuple[Finding, ...]:
    """Raise where nothing changed; say which weights stayed int8 though int4 was asked for, and which float."""
    from ai_edge_litert import schema_py_generated as schema

    types = {tensor.type for graph in model.subgraphs for tensor in graph.tensors}
    if not types & {schema.TensorType.INT4, schema.TensorType.INT8, schema.TensorType.INT16}:
        raise QuantizationError(
            f"Quantizing to {scheme.precision} changed nothing: no layer of the model can hold int8 weights.",
            hint="Build it with --precision float32.",
        )
    kept_float = _kept_float(model) if scheme.precision == "dynamic" and not scheme.per_channel else ()
    if scheme.weight_bits == 8:  # noqa: PLR2004 - int8
        return kept_float
    if schema.TensorType.INT4 not in types:
        raise QuantizationError(
            f"No layer of the model can hold int4 weights: that needs {' or '.join(sorted(INT4_OPS))}.",
            hint="Build it with int8 weights.",
        )
    kept = _int8_weights(model, rescued=frozenset(scheme.layers))
    if not kept:
        return kept_float
    named = ", ".join(f"{count} {name}" for name, count in sorted(kept.items()))
    finding = Finding(
        name="int4-not-everywhere",
        severity="info",
        message=f"The weights of {named} stay int8: the runtime has no int4 kernel for them.",
        fix="Nothing; the file is as small as the runtime allows.",
    )
    return (*kept_float, finding)


def _kept_float(model: Any) -> tuple[Finding, ...]:
    """Depthwise convolutions of a per-tensor dynamic file."""
    names = [builtin_name(code) for code in model.operatorCodes]
    count = sum(names[op.opcodeIndex] == "DEPTHWISE_CONV_2D" for graph in model.subgraphs for op in graph.operators)
    if not count:
        return ()
    finding = Finding(
        name="depthwise-kept-float",
        severity="info",
        message=f"The weights of {count} DEPTHWISE_CONV_2D stay float32: "
        "the runtime's kernel with float activations needs one scale per channel.",
        fix="Quantize per channel, or to int8.",
    )
    return (finding,)


def _int8_weights(model: Any, *, rescued: frozenset[str]) -> Counter[str]:
    """Operator -> how many of its kind hold int8 weights of more than one axis; rescued layers do so on purpose."""
    from ai_edge_litert import schema_py_generated as schema

    kept: Counter[str] = Counter()
    for graph in model.subgraphs:
        for operator in graph.operators:
            tensors = [graph.tensors[int(index)] for index in operator.inputs if index >= 0]
            constants = [item for item in tensors if model.buffers[item.buffer].data is not None]
            names = {text(graph.tensors[int(index)].name) for index in operator.outputs}
            if not names & rescued and any(
                item.type == schema.TensorType.INT8 and len(item.shape) > 1 for item in constants
            ):
                kept[builtin_name(model.operatorCodes[operator.opcodeIndex])] += 1
    return kept


@lru_cache(maxsize=1)  # the same model is quantized many times, and reading it takes a tenth of that
def _refuse_recurrent(tflite: bytes, precision: Precision) -> None:
    parsed = read(tflite, what="the float model")
    refuse_variables(parsed, precision)
    found = sorted({builtin_name(code) for code in parsed.operatorCodes} & RECURRENT_OPS)
    if found:
        why = (
            "the ranges inside its loop cannot be calibrated"
            if precision != "dynamic"
            else "its recurrent weights would silently stay float32"
        )
        raise QuantizationError(
            f"The model has a recurrent layer ({', '.join(found)}), which cannot be brought to {precision}: {why}.",
            hint="Build from the .keras or .h5 file, whose recurrent layers are written out step by step, "
            "or with --precision float16 (half the size) or float32.",
        )


def _require(ranges: Ranges | None, precision: Precision) -> Ranges:
    if not ranges:
        raise QuantizationError(
            f"{precision} needs calibration data: the ranges of the activations are unknown.",
            hint="Give representative inputs with --calibration DATA or [calibration] data in edgekit.toml.",
        )
    return ranges


def _widen(ranges: Ranges, scheme: Scheme) -> tuple[Ranges, tuple[Finding, ...]]:
    """Ranges that the runtime can compute with, and what that says about the model."""
    widened, narrow = {}, []
    for name, (low, high) in ranges.items():
        width = max(high, 0.0) - min(low, 0.0)
        least = MIN_WIDTH[activation_bits(scheme, name) or 8]
        widened[name] = (low, high) if width >= least else (min(low, 0.0), min(low, 0.0) + least)
        if width < MIN_WIDTH[8]:
            narrow.append(name)
    if not narrow:
        return widened, ()
    finding = Finding(
        name="dead-activations",
        severity="warning",
        message=f"{len(narrow)} tensors stay below {MIN_WIDTH[8]:g} for every calibration sample, "
        f"such as {narrow[0]!r}.",
        fix="Check that the model is trained and that the calibration data is scaled as in training.",
    )
    return widened, (finding,)
