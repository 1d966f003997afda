"""Static shapes for a float .tflite whose batch is open: the runtime derives them, and they are written back.

What the file computed from its own shapes (SHAPE, STRIDED_SLICE, PACK) becomes a constant: the integer quantizer would
leave float32 around it. Nothing is believed: every row of the batch must come out as it does alone.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from edgekit_converters.errors import SourceError
from edgekit_converters.flatbuffer import builtin_name, write
from edgekit_converters.quiet import without_notes
from edgekit_converters.types import Finding

SEED = 20261121
SAME = 1e-4
"""Of the largest value: a row of a batch may be added up in another order."""

Shape = tuple[int, ...]


def make_static(model: Any, shapes: Sequence[Shape], *, what: str) -> tuple[Finding, ...]:
    """Give the main subgraph's inputs ``shapes``, and every tensor behind them its own, in place.

    Also proves that the runtime takes the model. Raises SourceError where it does not, or where the shapes cannot be.
    """
    graph = model.subgraphs[0]
    before = [_shape(graph.tensors[int(index)]) for index in graph.inputs]
    resized = _prepare(model, shapes, what)
    open_ended = any(_is_open(tensor) for item in model.subgraphs for tensor in item.tensors)
    if before == list(shapes) and not open_ended:
        return ()
    if before != list(shapes) and len(model.subgraphs) > 1:
        raise _refused(what, shapes, "it has loops or branches, whose shapes are fixed")
    _run(resized, _samples(resized), what)
    alone = None if before == list(shapes) else _prepare(model, [(1, *shape[1:]) for shape in shapes], what)
    folded = _fold(model, resized, what)
    _write_shapes(model, resized)
    if alone is not None:
        _check_rows(model, alone, _samples(resized), shapes, what)
    if not folded:
        return ()
    return (
        Finding(
            name="static-shapes",
            severity="info",
            message=f"{folded} operators that computed shapes became constants: the batch is {shapes[0][:1]} now.",
            fix="Nothing; a deployed model needs a fixed shape.",
        ),
    )


@contextmanager
def _runtime(what: str) -> Iterator[None]:
    """What the runtime says of a model becomes SourceError."""
    try:
        yield
    except (ValueError, RuntimeError, MemoryError) as err:
        said = " ".join(str(err).split())[:300]
        hint = "It is damaged, or its shapes contradict each other; export it again."
        if "unresolved custom op" in said:
            hint = "It needs an operator of its maker's own; build from the model it was made from, without it."
        raise SourceError(f"{what} does not run in the TFLite runtime: {said}", hint=hint) from err


def _prepare(model: Any, shapes: Sequence[Shape], what: str) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with _runtime(what), warnings.catch_warnings(), without_notes():
        # It warns that all tensors are kept, which is what is wanted here.
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors", category=UserWarning)
        interpreter = Interpreter(
            model_content=write(model),
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        for details, shape in zip(interpreter.get_input_details(), shapes, strict=True):
            if tuple(details["shape"]) != shape:
                interpreter.resize_tensor_input(details["index"], shape)
        interpreter.allocate_tensors()
    return interpreter


def _samples(interpreter: Any) -> list[Any]:
    """Seeded inputs, 0..1; integers 0 or 1, which are safe as indices."""
    import numpy as np

    generator = np.random.default_rng(SEED)
    return [
        generator.uniform(0, 1, details["shape"]).astype(details["dtype"])
        if np.issubdtype(details["dtype"], np.floating)
        else generator.integers(0, 2, details["shape"]).astype(details["dtype"])
        for details in interpreter.get_input_details()
    ]


def _run(interpreter: Any, arrays: Sequence[Any], what: str) -> list[Any]:
    with _runtime(what):
        interpreter.reset_all_variables()
        for details, array in zip(interpreter.get_input_details(), arrays, strict=True):
            interpreter.set_tensor(details["index"], array)
        interpreter.invoke()
        return [interpreter.get_tensor(details["index"]) for details in interpreter.get_output_details()]


def _fold(model: Any, interpreter: Any, what: str) -> int:
    """Operators that depend on nothing but shapes become constants; returns how many."""
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    known = {index for index, tensor in enumerate(graph.tensors) if model.buffers[tensor.buffer].data is not None}
    names = [builtin_name(code) for code in model.operatorCodes]
    folded: set[int] = set()
    kept = []
    for operator in graph.operators:
        # SHAPE knows its answer before anything runs; then whatever follows from such answers and constants alone.
        inputs = {int(index) for index in operator.inputs if index >= 0}
        if names[operator.opcodeIndex] == "SHAPE" or (inputs & folded and inputs <= known):
            outputs = {int(index) for index in operator.outputs}
            folded |= outputs
            known |= outputs
        else:
            kept.append(operator)
    needed = {int(index) for operator in kept for index in operator.inputs} | {int(index) for index in graph.outputs}
    for index in sorted(folded & needed):
        with _runtime(what):
            value = interpreter.get_tensor(index)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        graph.tensors[index].buffer = len(model.buffers)
        model.buffers.append(buffer)
    count = len(graph.operators) - len(kept)
    graph.operators = _needed(graph, kept, names) if count else kept
    return count


def _needed(graph: Any, operators: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Without those whose outputs only a SHAPE read; what acts on variables has none, or a subgraph, and stays."""
    read = {int(index) for index in graph.outputs}
    kept = []
    for operator in reversed(operators):
        outputs = {int(index) for index in operator.outputs}
        if not outputs or outputs & read or names[operator.opcodeIndex] in {"WHILE", "IF"}:
            read.update(int(index) for index in operator.inputs)
            kept.append(operator)
    return kept[::-1]


def _write_shapes(model: Any, interpreter: Any) -> None:
    """Every tensor's shape as the runtime found it; none is open any more."""
    details = {int(item["index"]): item for item in interpreter.get_tensor_details()}
    for index, tensor in enumerate(model.subgraphs[0].tensors):
        if index in details and model.buffers[tensor.buffer].data is None:
            tensor.shape = [int(size) for size in details[index]["shape"]]
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.shapeSignature = None


def _check_rows(model: Any, alone: Any, arrays: Sequence[Any], shapes: Sequence[Shape], what: str) -> None:
    """Raise SourceError unless each row of the batch comes out as it does alone."""
    import numpy as np

    batch = shapes[0][0] if shapes[0] else 0
    if any(shape[:1] != (batch,) for shape in shapes):
        raise _refused(what, shapes, "its inputs have different batches")
    together = _run(_prepare(model, shapes, what), arrays, what)
    for row in range(batch):
        single = _run(alone, [array[row : row + 1] for array in arrays], what)
        for got, wanted in zip(together, single, strict=True):
            if got.shape[:1] != (batch,) or got[row].size != wanted.size:
                raise _refused(what, shapes, f"an output has the shape {got.shape}")
            limit = SAME * float(np.abs(wanted).max(initial=0.0))
            if np.abs(got[row].ravel() - wanted.ravel()).max(initial=0.0) > limit:
                raise _refused(what, shapes, "its rows influence each other")


def _refused(what: str, shapes: Sequence[Shape], why: str) -> SourceError:
    return SourceError(
        f"{what} cannot be given the input shapes {', '.join(map(str, shapes))}: {why}.",
        hint="Leave [model] batch and [input] shape away, or export it again with the batch you want.",
    )


def _shape(tensor: Any) -> Shape:
    return tuple(int(size) for size in (() if tensor.shape is None else tensor.shape))


def _is_open(tensor: Any) -> bool:
    return tensor.shapeSignature is not None and any(size < 0 for size in tensor.shapeSignature)
