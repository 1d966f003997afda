"""Reading an ONNX file that may be hostile, and refusing, with the reason, what cannot become a .tflite.

The file is a protobuf (onnx/onnx.proto3); weights may lie in files beside it, whose names come from the model.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from edgekit_converters.errors import SourceError
from edgekit_converters.shapes import OpenShape

MAX_BYTES = 2**31 - 1
"""A protobuf holds no more, and onnxruntime and onnx2tf are handed one."""
MAX_NODES = 1_000_000
"""Of a graph whose functions are written out: thirty that each call the one before twice make 2^30."""
OLDEST_OPSET = 7
"""The first that onnxruntime promises to run; before it, shapes were broadcast by other rules."""
STANDARD_DOMAINS = frozenset({"", "ai.onnx"})

_INTEGER_OPS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger"})
_INTEGER_PREFIXES = ("QLinear", "MatMulInteger", "QGemm", "QAttention")

Spec = tuple[OpenShape, str]


def read_onnx(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The checked ``ModelProto`` with its weights inside, and the names of the files beside it that they came from.

    Raises SourceError with the cause and the way out.
    """
    import onnx
    import onnx.inliner
    import onnx.shape_inference
    from google.protobuf.message import DecodeError

    if path.stat().st_size > MAX_BYTES:
        raise _too_large(path, path.stat().st_size)
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, UnicodeDecodeError) as err:
        raise _damaged(path, str(err)) from err
    if not model.graph.node:
        raise _damaged(path, "it holds no graph")
    _refuse_unfit(model, path)
    _refuse_endless(model, path)
    files = _check_external_data(model, path)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        if model.functions:  # torch.onnx.export(dynamo=True) writes them; a converter knows only operators
            model = onnx.inliner.inline_local_functions(model)
        if not all(value.type.tensor_type.HasField("shape") for value in model.graph.output):
            model = onnx.shape_inference.infer_shapes(model)  # some exporters leave it out
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as err:
        raise _damaged(path, str(err).split("\n", 1)[0]) from err
    return model, files


def io_specs(values: Any, path: Path) -> dict[str, Spec]:
    """Name -> shape and dtype of graph inputs or outputs; SourceError for what is no tensor of a known rank."""
    import onnx

    specs = {}
    for value in values:
        tensor = value.type.tensor_type
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type" or tensor.elem_type in {onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING}:
            raise SourceError(
                f"{value.name!r} of {path} is no numeric tensor, and a .tflite takes nothing else.",
                hint="Export the network without its text or sequence processing.",
            )
        if not tensor.HasField("shape"):
            raise SourceError(
                f"{value.name!r} of {path} has no shape, not even its rank.",
                hint="Run onnx.shape_inference.infer_shapes on the model, or export it again with shapes.",
            )
        shape = tuple(dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim)
        specs[value.name] = (shape, str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)))
    return specs


def graph_inputs(model: Any) -> list[Any]:
    """What the application hands in: up to IR 3 the weights are listed as inputs too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _refuse_unfit(model: Any, path: Path) -> None:
    opset = next((entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS), 1)
    if opset < OLDEST_OPSET:
        raise SourceError(
            f"{path} is of ONNX opset {opset}, and nothing that could check a conversion runs it: onnxruntime begins "
            f"at opset {OLDEST_OPSET}.",
            hint="Export the model again from its framework, with opset 13 or newer.",
        )
    nodes = [node for graph in _all_graphs(model) for node in graph.node]
    quantized = Counter(node.op_type for node in nodes if _is_quantized(node.op_type))
    if quantized:
        which = ", ".join(f"{count} {name}" for name, count in quantized.most_common())
        raise SourceError(
            f"{path} is quantized already: it has {which}.",
            hint="Give the float model that it was made from; edgekit quantizes it by the rules of the target.",
        )
    local = {function.domain for function in model.functions}
    foreign = sorted({f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in STANDARD_DOMAINS | local})
    if foreign:
        raise SourceError(
            f"{path} uses operators that are not of the ONNX standard: {', '.join(foreign)}.",
            hint="Export it without custom operators, and before onnxruntime's optimizer fused operators of its own.",
        )


def _refuse_endless(model: Any, path: Path) -> None:
    """Raise SourceError where the model's own functions, written out, make more nodes than any model has."""
    bodies = {(function.domain, function.name): function for function in model.functions}

    @cache
    def written_out(key: tuple[str, str]) -> int:
        return count(bodies[key])

    def count(root: Any) -> int:
        calls = ((node.domain, node.op_type) for graph in _graphs(root) for node in graph.node)
        return sum(written_out(call) if call in bodies else 1 for call in calls)

    try:
        nodes = count(model.graph)
    except RecursionError as err:
        raise _damaged(path, "its functions call each other without end") from err
    if nodes > MAX_NODES:
        raise _damaged(path, f"its functions written out make {nodes:.3g} nodes")


def _is_quantized(op_type: str) -> bool:
    return op_type in _INTEGER_OPS or op_type.startswith(_INTEGER_PREFIXES)


def _check_external_data(model: Any, path: Path) -> tuple[str, ...]:
    """Weights in other files: only below the model's own folder, only what is there; the files' names."""
    folder, total, files = path.parent.resolve(), path.stat().st_size, set()
    for tensor in (tensor for graph in _all_graphs(model) for tensor in _tensors(graph)):
        if tensor.data_location != tensor.EXTERNAL:
            continue
        fields = {entry.key: entry.value for entry in tensor.external_data}
        location = fields.get("location", "")
        file = (folder / location.replace("\0", "")).resolve()  # symbolic links followed: the target counts
        if not location or "\0" in location or not file.is_relative_to(folder):
            raise SourceError(
                f"{path} wants its weights from {location!r}, which is outside its own folder.",
                hint="Put the file of weights beside the model, as a real file, or save the model with weights inside.",
            )
        try:
            size = file.stat().st_size
            offset, length = int(fields.get("offset", 0)), int(fields.get("length", size))
        except (OSError, ValueError) as err:
            raise SourceError(
                f"The weights of {path} in {location} cannot be read: {err}.",
                hint="Copy every file of the model; weights may lie beside it.",
            ) from err
        if min(offset, length) < 0 or offset + length > size:
            raise _damaged(path, f"{tensor.name!r} lies beyond the end of {location}")
        total += length
        files.add(location)
    if total > MAX_BYTES:
        raise _too_large(path, total)
    return tuple(sorted(files))


def _all_graphs(model: Any) -> Iterator[Any]:
    """The main graph, the model's own functions, and the graphs inside them."""
    for root in (model.graph, *model.functions):
        yield from _graphs(root)


def _graphs(graph: Any) -> Iterator[Any]:
    """The graph and those inside its If, Loop and Scan; protobuf bounds how deep they nest."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _tensors(graph: Any) -> Iterator[Any]:
    """Weights of a graph (a function has none) and tensors in the attributes of its nodes."""
    yield from getattr(graph, "initializer", ())
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)


def _damaged(path: Path, cause: str) -> SourceError:
    return SourceError(
        f"{path} is damaged or no ONNX model at all: {cause}.",
        hint="The file is probably cut off or is something else; copy or export it again.",
    )


def _too_large(path: Path, size: int) -> SourceError:
    return SourceError(
        f"{path} holds {size / 2**30:.1f} GiB; edgekit converts ONNX models of up to 2 GiB.",
        hint="Export a smaller variant of the network; one of this size does not fit a small device.",
    )
