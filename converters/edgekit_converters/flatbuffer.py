"""Reading and writing .tflite flatbuffers through the schema that ai-edge-litert ships: the one place that does.

Files are untrusted: ``read`` lets the runtime's C++ verifier check every offset before any of it is followed.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from edgekit_converters.errors import ConversionError, SourceError
from edgekit_converters.types import TensorSpec

SIGNATURE_KEY = "serving_default"
IDENTIFIER = b"TFL3"
_IDENTIFIER_AT = slice(4, 8)


def read(data: bytes, *, what: str = "the model") -> Any:
    """``ModelT`` of the file; raises SourceError if it is no .tflite, is cut off, or points outside itself."""
    from ai_edge_litert import schema_py_generated as schema

    _verify(data, what)
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
        _take_in_appended_buffers(model, data)
        _mend_buffers(model, schema.BufferT)
        text(model.subgraphs[0].tensors[0].name)
    except (struct.error, IndexError, TypeError, ValueError, AttributeError, OverflowError, MemoryError) as err:
        raise damaged(what, f"{type(err).__name__}: {err}") from err
    return model


def write(model: Any) -> bytes:
    """The file of a ``ModelT`` without the buffers nobody uses; the same model gives the same bytes."""
    import flatbuffers

    _drop_unused_buffers(model)
    builder = flatbuffers.Builder(1024 * 1024)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def add_signature(model: Any, *, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    """Give the main subgraph one signature, ``serving_default``, in place of what is there.

    ``inputs`` and ``outputs`` map the source's names to tensor names, in the source's order; an empty tensor name
    takes the subgraph's own order. Raises ConversionError if a tensor is missing.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey = SIGNATURE_KEY
    signature.subgraphIndex = 0
    own = _signature_names(model)
    signature.inputs = _tensor_maps(graph, list(graph.inputs), inputs, own.get("inputs", {}))
    signature.outputs = _tensor_maps(graph, list(graph.outputs), outputs, own.get("outputs", {}))
    model.signatureDefs = [signature]


def shorten_names(model: Any) -> None:
    """Give every tensor a short unique name: inputs and outputs the signature's, others their op's.

    The converter joins the names of all fused ops, with call prefixes and running numbers: 12 of the 105 kB of a
    keyword spotter. ai-edge-quantizer knows tensors by name, so names are unique over all subgraphs.
    """
    reserved, taken = _interface_names(model)
    for position, graph in enumerate(model.subgraphs):
        for index, tensor in enumerate(graph.tensors):
            if position == 0 and index in reserved:
                tensor.name = reserved[index]
                continue
            pieces = text(tensor.name).split(";")[0].split("/")
            base = "/".join(piece for piece in pieces if "PartitionedCall" not in piece) or "tensor"
            tensor.name = _free_name(base, taken)
            taken.add(tensor.name)


def signature_specs(model: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs by the names of the one signature, in the subgraph's order; tensor names without one."""
    graph = model.subgraphs[0]
    names = _signature_names(model)
    return (
        tuple(_spec(graph.tensors[index], names["inputs"].get(int(index))) for index in graph.inputs),
        tuple(_spec(graph.tensors[index], names["outputs"].get(int(index))) for index in graph.outputs),
    )


def dtype_name(code: int) -> str:
    """``TensorType`` code -> numpy's name in lower case, such as ``float32``, ``int8`` or ``bool``."""
    from ai_edge_litert import schema_py_generated as schema

    names: dict[int, str] = {v: k for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
    return names.get(code, f"type-{code}").lower()


def builtin_name(code: Any) -> str:
    """Name of an ``OperatorCodeT``'s builtin operator, such as ``CONV_2D`` or ``CUSTOM``."""
    from ai_edge_litert import schema_py_generated as schema

    number = max(code.builtinCode, code.deprecatedBuiltinCode)  # codes above 127 do not fit the deprecated field
    names: dict[int, str] = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    return names.get(number, f"BUILTIN_{number}")


def text(name: Any) -> str:
    """A schema string as ``str``; what is not UTF-8 is shown replaced."""
    if name is None:
        return ""
    return name if isinstance(name, str) else bytes(name).decode(errors="replace")


def _verify(data: bytes, what: str) -> None:
    if data[_IDENTIFIER_AT] != IDENTIFIER:
        found = data[:8].hex(" ") or "nothing"
        raise SourceError(
            f"{what} is not a .tflite file: it begins with {found}, and TFL3 should stand at byte 4.",
            hint="Give a .tflite file; if it should be one, copy it again.",
        )
    from ai_edge_litert.interpreter import Interpreter

    try:
        Interpreter(model_content=data)
    except ValueError as err:
        # Other complaints (a bad quantization, an op nobody has) are for the audit; the offsets were fine.
        if "not a valid Flatbuffer" in str(err):
            raise damaged(what, "an offset points outside the file") from err
    except RuntimeError:
        return


def damaged(what: str, cause: str) -> SourceError:
    """The error for a file that is a .tflite and cannot be followed."""
    return SourceError(
        f"{what} is damaged: {cause}.", hint="It is probably cut off or was changed; copy or build it again."
    )


def _take_in_appended_buffers(model: Any, data: bytes) -> None:
    """Buffers kept behind the flatbuffer (``offset``, ``size``) move inside, so that one representation is left."""
    import numpy as np

    for buffer in model.buffers or ():
        if buffer.offset > 1:
            if buffer.offset + buffer.size > len(data):
                raise ValueError("a buffer lies outside the file")
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0


def _mend_buffers(model: Any, empty: Callable[[], Any]) -> None:
    """A tensor whose buffer is not there holds no data: so the runtime reads it, and some writers leave it out."""
    model.buffers = model.buffers or [empty()]
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.buffer >= len(model.buffers):
                tensor.buffer = 0
    if model.metadata is not None:
        model.metadata = [entry for entry in model.metadata if entry.buffer < len(model.buffers)]


def _drop_unused_buffers(model: Any) -> None:
    """Buffer 0 is the empty one, as the schema wants; the others follow in their order."""
    holders = [tensor for graph in model.subgraphs for tensor in graph.tensors] + list(model.metadata or ())
    used = sorted({0} | {int(holder.buffer) for holder in holders} | set(map(int, model.metadataBuffer or ())))
    new = {old: position for position, old in enumerate(used)}
    model.buffers = [model.buffers[old] for old in used]
    for holder in holders:
        holder.buffer = new[int(holder.buffer)]
    if model.metadataBuffer is not None:
        model.metadataBuffer = [new[int(old)] for old in model.metadataBuffer]


def _signature_names(model: Any) -> dict[str, dict[int, str]]:
    """Tensor index -> name, for the main subgraph's inputs and outputs."""
    for signature in model.signatureDefs or ():
        if signature.subgraphIndex == 0:
            return {
                "inputs": {int(item.tensorIndex): text(item.name) for item in signature.inputs or ()},
                "outputs": {int(item.tensorIndex): text(item.name) for item in signature.outputs or ()},
            }
    return {"inputs": {}, "outputs": {}}


def _interface_names(model: Any) -> tuple[dict[int, str], set[str]]:
    """Tensor index -> name; an output that is called like an input (a state) gets a number."""
    own = _signature_names(model)
    names, taken = dict(own["inputs"]), set(own["inputs"].values())
    for index, name in own["outputs"].items():
        if index not in names:
            names[index] = _free_name(name, taken)
            taken.add(names[index])
    return names, taken


def _tensor_maps(graph: Any, indices: list[int], names: Mapping[str, str], own: Mapping[int, str]) -> list[Any]:
    from ai_edge_litert import schema_py_generated as schema

    by_tensor = {text(graph.tensors[index].name): int(index) for index in indices}
    by_name = {name: index for index, name in own.items()}
    maps = []
    for position, (name, tensor) in enumerate(names.items()):
        index = by_tensor.get(tensor) if tensor else by_name.get(name, int(indices[position]))
        if index is None:
            raise ConversionError(
                f"The converted model lost {name!r}: no input or output is called {tensor!r} "
                f"(there are {', '.join(by_tensor)}).",
                hint="Two outputs may be the same tensor, or an input may be unused; make each one distinct.",
            )
        item = schema.TensorMapT()
        item.name, item.tensorIndex = name, index
        maps.append(item)
    return maps


def _free_name(base: str, taken: set[str]) -> str:
    if base not in taken:
        return base
    return next(name for number in range(1, len(taken) + 2) if (name := f"{base}_{number}") not in taken)


def _spec(tensor: Any, name: str | None) -> TensorSpec:
    quantization = tensor.quantization
    scales: Any = [] if quantization is None or quantization.scale is None else quantization.scale
    single = len(scales) == 1
    return TensorSpec(
        name=name or text(tensor.name),
        shape=tuple(int(size) for size in (() if tensor.shape is None else tensor.shape)),
        dtype=dtype_name(tensor.type),
        scale=float(scales[0]) if single else None,
        zero_point=int(quantization.zeroPoint[0]) if single else None,
    )
