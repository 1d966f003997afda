"""What a .tflite that is no float model is, in the field's words: told from its tensors and operators."""

from collections import Counter

from edgekit_converters.structure import Structure, TensorInfo

COMPILED = {
    "edgetpu-custom-op": "compiled for the Edge TPU by edgetpu_compiler",
    "ethos-u": "compiled for the Ethos-U by Vela",
}
"""Custom operator of an accelerator's compiler -> what it says of the file."""
FAKE_QUANT = "FAKE_QUANT"
"""Quantization-aware training leaves it where the float graph was exported instead of the quantized one."""


def quantized_kind(structure: Structure) -> str | None:
    """Such as ``full-integer int8: all 24 activations ...``; None for a float32 model."""
    compiled = [COMPILED[name] for name in structure.custom_counts if name in COMPILED]
    if compiled:
        return compiled[0]
    activations = Counter(tensor.dtype for tensor in structure.tensors if _is_quantized(tensor) and not tensor.constant)
    weights = Counter(tensor.dtype for tensor in structure.tensors if _is_quantized(tensor) and tensor.constant)
    if activations:
        return _integer(structure, activations)
    if weights:
        return f"dynamic-range quantized: {_counts(weights)} weights, float32 activations"
    halves = sum(tensor.constant and tensor.dtype == "float16" for tensor in structure.tensors)
    if halves:
        return f"float16: {halves} float16 weights"
    if FAKE_QUANT in structure.builtin_counts:
        return f"quantization-aware trained and not finished: {structure.builtin_counts[FAKE_QUANT]} FAKE_QUANT nodes"
    return None


def _integer(structure: Structure, activations: Counter[str]) -> str:
    floats = sum(tensor.dtype == "float32" and not tensor.constant for tensor in structure.tensors)
    found = f"{_counts(activations)} activations"
    if floats:
        found += f", {floats} float32"
    edges = {spec.dtype for spec in (*structure.inputs, *structure.outputs)}
    if edges - activations.keys() == {"float32"}:
        found += "; float32 at its inputs or outputs"
    (most, _), *_ = activations.most_common(1)
    if most == "int16":
        return f"int16x8: {found}"
    whole = "full-integer" if floats <= len(structure.inputs) + len(structure.outputs) else "partly"
    if most == "uint8":
        return f"{whole} uint8, the scheme of before 2019: {found}"
    return f"{whole} {most}: {found}"


def _is_quantized(tensor: TensorInfo) -> bool:
    # An int32 bias has scales, too, and says nothing of its own; an integer without scales is an index or a pixel.
    return tensor.scales > 0 and tensor.dtype in {"int4", "int8", "uint8", "int16"}


def _counts(counts: Counter[str]) -> str:
    return " and ".join(f"{count} {dtype}" for dtype, count in counts.most_common())
