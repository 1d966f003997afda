"""Do the tensors of a .tflite hold what its Scheme promises? Pure; ``audit.py`` asks."""

import math
from collections.abc import Iterator

from edgekit_converters.structure import RECURRENT, OpInfo, Structure, TensorInfo
from edgekit_converters.types import Finding, Scheme

QUANTIZED = frozenset({"int4", "int8", "uint8", "int16"})
REAL = frozenset({"float16", "float32", "float64", "bfloat16"})
GLUE = frozenset({"QUANTIZE", "DEQUANTIZE"})
"""Between float inputs or outputs and the integers inside, and around a rescued layer."""
SMALL_WEIGHT = 1024
"""Elements below which ai-edge-quantizer leaves a weight as it is: nothing is gained there."""
CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}
"""Operators with weights in their second input -> the axis of output channels in them."""
FIXED = (1 / 256, -128)
"""Scale and zero point that the int8 kernels of SOFTMAX and LOGISTIC demand of their output."""
RESCUED_DTYPE = {"int16x8": "int16", "float32": "float32"}
"""Precision of a rescued layer -> dtype of its output."""
NAMED = 8
"""Layers that a finding names."""


def check_precision(structure: Structure, scheme: Scheme) -> Iterator[Finding]:
    """Every broken promise (severity ``error``), and the layers that are rescued (``info``)."""
    precision = scheme.precision
    weights = [tensor for tensor in structure.tensors if tensor.constant and tensor.dtype in QUANTIZED | REAL]
    if precision in {"float32", "float16"}:
        yield from _found_quantized(structure, precision)
    if precision == "float16":
        yield from _nothing_changed(weights, {"float16"}, precision)
    if precision == "dynamic":
        yield from _nothing_changed(weights, {"int8", "int4"}, precision)
    if precision in {"int8", "int16x8"}:
        yield from _wrong_types(structure, scheme)
        yield from _wrong_io(structure, scheme.io)
        yield from _asymmetric(structure, scheme)
    if precision not in {"float32", "float16"}:
        yield from _wrong_granularity(structure, scheme)
        yield from _wrong_bits(structure, scheme)
        yield from _rescued(structure, scheme)


def broken(name: str, message: str, fix: str) -> Finding:
    """A promise that the file does not keep."""
    return Finding(name=name, severity="error", message=message, fix=fix)


def _found_quantized(structure: Structure, precision: str) -> Iterator[Finding]:
    quantized = [tensor for tensor in structure.tensors if tensor.dtype in QUANTIZED and tensor.scales]
    if quantized:
        yield broken(
            "quantized-tensor",
            f"{len(quantized)} tensors of a {precision} file are quantized, such as {_name(quantized[0])}.",
            "The source holds quantized weights already; give the float model it was made from.",
        )


def _nothing_changed(weights: list[TensorInfo], wanted: set[str], precision: str) -> Iterator[Finding]:
    large = [tensor for tensor in weights if math.prod(tensor.shape) >= SMALL_WEIGHT]
    changed = [tensor for tensor in weights if tensor.dtype in wanted]
    if changed or not weights:
        return
    if large:
        yield broken(
            "nothing-changed",
            f"{precision} was asked for, and none of the {len(weights)} weights is {' or '.join(sorted(wanted))}.",
            "Build with --precision float32, or int8 with calibration data.",
        )
    else:
        yield Finding(
            name="nothing-to-gain",
            severity="warning",
            message=f"No weight has {SMALL_WEIGHT} elements or more, so {precision} left all of them in float32.",
            fix="Build with --precision float32 to say so, or int8 with calibration data.",
        )


def _wrong_types(structure: Structure, scheme: Scheme) -> Iterator[Finding]:
    """Floats outside the edges and the rescued layers; int16 in int8, int8 activations in int16x8."""
    whole = scheme.precision
    rescued = {kind: _tensors_of(structure, scheme, kind) for kind in RESCUED_DTYPE}
    real = rescued["float32"] | (_edges(structure) if scheme.io == "float32" else set())
    floats = [tensor for tensor in structure.tensors if tensor.dtype in REAL and tensor.name not in real]
    if floats:
        yield broken(
            f"float-in-{whole}",
            f"{len(floats)} tensors of an {whole} file are float, such as {_name(floats[0])}; "
            f"used by {_users(structure, floats)}.",
            f"Replace these layers by ones that have an {whole} kernel, or build with --precision float16.",
        )
    other, allowed = ("int16", rescued["int16x8"] | _cells(structure)) if whole == "int8" else ("int8", set[str]())
    wrong = [
        tensor
        for tensor in structure.tensors
        if tensor.dtype == other and tensor.name not in allowed and (whole == "int8" or not tensor.constant)
    ]
    if wrong:
        yield broken(
            f"{other}-in-{whole}",
            f"{len(wrong)} activations of an {whole} file are {other}, such as {_name(wrong[0])}; "
            f"used by {_users(structure, wrong)}.",
            "Report the model: nobody asked for these.",
        )


def _tensors_of(structure: Structure, scheme: Scheme, kind: str) -> set[str]:
    """Names of what the layers rescued to ``kind`` read and write."""
    return {
        tensor.name
        for op in structure.ops
        if op.outputs and scheme.layers.get(op.outputs[0].name) == kind
        for tensor in (*op.inputs, *op.outputs)
        if tensor is not None
    }


def _cells(structure: Structure) -> set[str]:
    """What recurrent layers hold: the cell state of an int8 LSTM is int16 by TFLite's specification."""
    ops = [op for op in structure.ops if op.name in RECURRENT]
    return {tensor.name for op in ops for tensor in (*op.inputs, *op.outputs) if tensor is not None}


def _edges(structure: Structure) -> set[str]:
    """Names of float inputs that only QUANTIZE reads, and of float outputs that DEQUANTIZE makes and nothing reads."""
    readers: dict[str, set[str]] = {}
    makers: dict[str, str] = {}
    for op in structure.ops:
        for tensor in op.inputs:
            if tensor is not None and not tensor.constant:
                readers.setdefault(tensor.name, set()).add(op.name)
        makers.update((tensor.name, op.name) for tensor in op.outputs)
    inputs = {name for name, kinds in readers.items() if name not in makers and kinds <= GLUE}
    outputs = {name for name, kind in makers.items() if name not in readers and kind in GLUE}
    return inputs | outputs


def _wrong_io(structure: Structure, io: str) -> Iterator[Finding]:
    for kind, tensors in (("input", structure.inputs), ("output", structure.outputs)):
        for tensor in tensors:
            if tensor.dtype in QUANTIZED | REAL and tensor.dtype != io:
                yield broken(
                    "wrong-io",
                    f"The {kind} {tensor.name} is {tensor.dtype}; {io} was asked for.",
                    f"Build with --io {tensor.dtype}.",
                )
            elif io != "float32" and tensor.dtype == io and tensor.scale is None:
                yield broken(
                    "io-without-scale",
                    f"The {kind} {tensor.name} is {io} and has no scale: nobody could tell what its values mean.",
                    "Report the model: the conversion is wrong.",
                )


def _asymmetric(structure: Structure, scheme: Scheme) -> Iterator[Finding]:
    """int16 is symmetric by specification, int8 where the target needs it."""
    dtypes = {"int16", "int8"} if scheme.symmetric_activations else {"int16"}
    wrong = [
        tensor
        for tensor in structure.tensors
        if tensor.dtype in dtypes and tensor.zero_point and (tensor.scale, tensor.zero_point) != FIXED
    ]
    if wrong:
        yield broken(
            "asymmetric-activation",
            f"{len(wrong)} tensors have a zero point other than 0, such as {_name(wrong[0])}: {wrong[0].zero_point}.",
            "Report the model: symmetric activations were asked for.",
        )


def _wrong_granularity(structure: Structure, scheme: Scheme) -> Iterator[Finding]:
    for promised, found in ((False, "per channel"), (True, "per tensor")):
        wrong = [op for op in structure.ops if (_promise(op, scheme), _is_per_channel(op)) == (promised, not promised)]
        if wrong:
            weights = wrong[0].inputs[1]
            yield broken(
                f"{found.replace(' ', '-')}-weights",
                f"The weights of {len(wrong)} layers have one scale {found}, "
                f"such as {weights.name if weights else ''!r} of {wrong[0].name}; it was to be the other way.",
                "Report the model: the file may compute nonsense on this target.",
            )


def _promise(op: OpInfo, scheme: Scheme) -> bool:
    return scheme.per_channel and (op.name != "FULLY_CONNECTED" or scheme.per_channel_fully_connected)


def _is_per_channel(op: OpInfo) -> bool | None:
    """None where there is no difference: no quantized weights, or a single output channel."""
    axis = CHANNEL_AXIS.get(op.name)
    weights = op.inputs[1] if axis is not None and len(op.inputs) > 1 else None
    if weights is None or axis is None or not weights.constant or not weights.scales or len(weights.shape) <= axis:
        return None
    return weights.scales > 1 if weights.shape[axis] > 1 else None


def _wrong_bits(structure: Structure, scheme: Scheme) -> Iterator[Finding]:
    count = structure.dtype_counts.get("int4", 0)
    if scheme.weight_bits == 4 and not count:  # noqa: PLR2004 - int4
        yield broken(
            "no-int4", "int4 weights were asked for, and no tensor of the file is int4.", "Build with int8 weights."
        )
    if scheme.weight_bits == 8 and count:  # noqa: PLR2004 - int8
        yield broken(
            "int4-weights",
            f"{count} tensors are int4, which nobody asked for.",
            "Give the float model it was made from.",
        )


def _rescued(structure: Structure, scheme: Scheme) -> Iterator[Finding]:
    """Each rescued layer computes in what it should; together they are said."""
    found = {op.outputs[0].name: op.outputs[0].dtype for op in structure.ops if op.outputs}
    for name, kind in sorted(scheme.layers.items()):
        if found.get(name) != RESCUED_DTYPE[kind]:
            yield broken(
                "layer-not-rescued",
                f"The layer {name!r} was to be computed as {kind}; its output is {found.get(name, 'not in the file')}.",
                "Report the model: the quantizer did not do as it was told.",
            )
    if scheme.layers:
        names = sorted(scheme.layers)
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        listed = ", ".join(f"{name!r} ({scheme.layers[name]})" for name in names[:NAMED])
        yield Finding(
            name="rescued-layers",
            severity="info",
            message=f"Layers not computed as {scheme.precision}, for their accuracy ({len(names)}): {listed}{more}.",
            fix="Nothing; they cost speed, as XNNPACK computes no int16 and other delegates no float.",
        )


def _users(structure: Structure, tensors: list[TensorInfo]) -> str:
    users = sorted({op.name for op in structure.ops if any(t in tensors for t in (*op.inputs, *op.outputs))})
    return ", ".join(users) or "no op"


def _name(tensor: TensorInfo) -> str:
    return f"{tensor.name!r} ({tensor.dtype})"
