"""PyTorch -> float32 TFLite bytes: .pt2 files, functions that make a network, TorchScript. Runs in the child process.

Each of them becomes a ``torch.export.ExportedProgram`` first; litert-torch converts that, with NCHW as it is or, for
``--layout nhwc``, with inputs and outputs transposed.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgekit_converters.converter import Converted, Say
from edgekit_converters.errors import ConversionError, SourceError
from edgekit_converters.shapes import InputHint, OpenShape, static_shapes
from edgekit_converters.sources import ModelSource
from edgekit_converters.torch_program import IMAGE_RANK, TO_NHWC, flat_module, sample_tensors
from edgekit_converters.torch_sources import (
    Loaded,
    first_line,
    import_litert,
    import_torch,
    load_network,
    load_program,
    load_script,
)
from edgekit_converters.types import Finding

_NARROWED = {"int64": "int32", "float64": "float32"}


def load(source: ModelSource, *, hints: Mapping[str, InputHint]) -> Loaded:
    """Load or make the network and export it; raises SourceError or ConversionError."""
    import_torch()
    if source.format == "torch-export":
        return load_program(source)
    return load_network(source, hints) if source.format == "torch-factory" else load_script(source, hints)


def convert(loaded: Loaded, *, batch: int, hints: Mapping[str, InputHint], say: Say) -> Converted:
    """Static shapes, the graph with pooling for means, litert-torch; raises SourceError or ConversionError."""
    from edgekit_converters.torch_rewrites import fold_batch_norms, name_layers, pool_means

    say("starting litert-torch")
    litert_torch = import_litert()
    say("converting")
    shapes, findings = static_shapes(
        {name: shape for name, (shape, _) in loaded.inputs.items()}, batch=batch, hints=hints
    )
    module = loaded.program.module(check_guards=False)  # guards are code in the file
    fold_batch_norms(module)
    findings += pool_means(module)
    swapped = _images(loaded.inputs, loaded.layout), _images(loaded.outputs, loaded.layout)
    findings += _layout_findings(loaded, swapped[0])
    findings += _narrowed(loaded)
    name_layers(module)
    flat = flat_module(module, loaded.interface, swapped)
    samples = [
        tensor.permute(TO_NHWC) if swap else tensor
        for tensor, swap in zip(sample_tensors(shapes, loaded.interface), swapped[0], strict=True)
    ]
    try:
        tflite = litert_torch.convert(flat, tuple(samples)).model_content()
    except Exception as err:
        raise _refused(err) from err
    inputs, outputs = _tensor_names(tflite)
    return Converted(
        tflite=tflite,
        input_tensors=dict(zip(loaded.inputs, inputs, strict=True)),
        output_tensors=dict(zip(loaded.outputs, outputs, strict=True)),
        route=loaded.route,
        findings=findings,
        input_permutations=_permutations(loaded.inputs, swapped[0]),
        output_permutations=_permutations(loaded.outputs, swapped[1]),
    )


def run(loaded: Loaded, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The network's own outputs, computed by PyTorch op by op."""
    import torch

    tensors = [torch.as_tensor(inputs[name]).to(getattr(torch, dtype)) for name, (_, dtype) in loaded.inputs.items()]
    with torch.inference_mode():
        return {name: tensor.numpy() for name, tensor in zip(loaded.outputs, loaded.call(tensors), strict=True)}


def _images(specs: Mapping[str, tuple[OpenShape, str]], layout: str | None) -> list[bool]:
    return [layout == "nhwc" and len(shape) == IMAGE_RANK for shape, _ in specs.values()]


def _permutations(specs: Mapping[str, tuple[OpenShape, str]], swapped: Sequence[bool]) -> dict[str, tuple[int, ...]]:
    return {name: TO_NHWC for name, swap in zip(specs, swapped, strict=True) if swap}


def _layout_findings(loaded: Loaded, swapped: Sequence[bool]) -> list[Finding]:
    if loaded.layout == "nhwc" and not any(swapped):
        ranks = ", ".join(f"{name} has {len(shape)}" for name, (shape, _) in loaded.inputs.items())
        raise SourceError(
            f"--layout nhwc is for images, and no input has 4 dimensions ({ranks}).", hint="Leave --layout away."
        )
    return [
        Finding(
            name="nchw-input",
            severity="info",
            message=f"Input {name!r} is NCHW as in PyTorch, so the .tflite begins with a TRANSPOSE to its own NHWC.",
            fix="--layout nhwc takes images as cameras give them and saves the TRANSPOSE; data files stay NCHW.",
        )
        for name, (shape, _) in loaded.inputs.items()
        if loaded.layout is None and len(shape) == IMAGE_RANK
    ]


def _narrowed(loaded: Loaded) -> list[Finding]:
    return [
        Finding(
            name="narrowed-dtype",
            severity="info",
            message=f"{side} {name!r} is {dtype} in PyTorch and {_NARROWED[dtype]} in the .tflite.",
            fix=f"Hand in and read {_NARROWED[dtype]}; small runtimes have little for 64 bits.",
        )
        for side, specs in (("Input", loaded.inputs), ("Output", loaded.outputs))
        for name, (_, dtype) in specs.items()
        if dtype in _NARROWED
    ]


def _tensor_names(tflite: bytes) -> tuple[list[str], list[str]]:
    """Names of the tensors behind litert-torch's own ``args_0``, ``args_1``... and ``output_0``..., in order."""
    from edgekit_converters.flatbuffer import read, text

    model = read(tflite)
    tensors = model.subgraphs[0].tensors
    (signature,) = model.signatureDefs

    def ordered(maps: Any) -> list[str]:
        numbered = sorted(maps or (), key=lambda item: int(text(item.name).rpartition("_")[2]))
        return [text(tensors[item.tensorIndex].name) for item in numbered]

    return ordered(signature.inputs), ordered(signature.outputs)


def _refused(err: Exception) -> ConversionError:
    ops = sorted(set(re.findall(r"(?:Lowering not found: |torch\.ops\.)?(aten\.[\w.]+)", str(err))))
    if ops:
        return ConversionError(
            f"The network uses operations that litert-torch cannot convert: {', '.join(ops[:5])}.",
            hint="Replace them by ordinary layers, or cut them off into pre- or postprocessing.",
        )
    return ConversionError(
        f"litert-torch could not convert the network: {first_line(err)}", hint="The log holds its full output."
    )
