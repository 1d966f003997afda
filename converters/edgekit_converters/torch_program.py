"""A torch ``ExportedProgram`` seen as tensors by name, and as the module that litert-torch converts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit_converters.errors import SourceError
from edgekit_converters.shapes import OpenShape

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
IMAGE_RANK = 4


@dataclass(frozen=True, kw_only=True)
class Interface:
    """Inputs and outputs of a program, flat and by name."""

    inputs: dict[str, tuple[OpenShape, str]]
    outputs: dict[str, tuple[OpenShape, str]]
    arguments: tuple[Any, ...]
    """The flat arguments: None where a tensor of ``inputs`` goes, in order, else the constant it was exported with."""
    is_tensor: tuple[bool, ...]
    """Which of ``arguments`` are tensors."""


def interface(program: "ExportedProgram", names: Sequence[str] | None = None) -> Interface:
    """What a program takes and gives; ``names`` replace those of its inputs.

    Outputs in a dict keep their keys, the others are ``output_0``, ``output_1``... Raises SourceError for a program
    that changes its own buffers or inputs, or takes what is no tensor.
    """
    from torch.export.graph_signature import ConstantArgument, InputKind, TensorArgument

    _refuse_state(program)
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    arguments: list[Any] = []
    inputs: dict[str, tuple[OpenShape, str]] = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind is not InputKind.USER_INPUT:
            continue
        if not isinstance(spec.arg, (TensorArgument, ConstantArgument)):
            raise SourceError(
                f"The input {spec.arg.name!r} is no tensor ({type(spec.arg).__name__}).",
                hint="Export the network with that value fixed; a deployed model takes tensors.",
            )
        arguments.append(spec.arg)
        if isinstance(spec.arg, TensorArgument):
            name = spec.arg.name if names is None else names[len(inputs)]
            inputs[name] = _spec(values[spec.arg.name])
    outputs = {name: _spec(values[node]) for name, node in _outputs(program)}
    if not outputs:
        raise SourceError("The network returns no tensor.", hint="forward() must return what is to be deployed.")
    return Interface(
        inputs=inputs,
        outputs=outputs,
        arguments=tuple(arg.value if isinstance(arg, ConstantArgument) else None for arg in arguments),
        is_tensor=tuple(isinstance(arg, TensorArgument) for arg in arguments),
    )


def flat_call(
    program: "ExportedProgram", module: "torch.nn.Module", own: Interface
) -> "Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]":
    """``module``, which takes what ``program`` takes, as tensors in the order of the interface."""
    from torch.utils import _pytree as pytree

    in_spec = program.call_spec.in_spec

    def call(tensors: "Sequence[torch.Tensor]") -> "list[torch.Tensor]":
        waiting = iter(tensors)
        flat = [next(waiting) if own.is_tensor[i] else value for i, value in enumerate(own.arguments)]
        args, kwargs = pytree.tree_unflatten(flat, in_spec)
        return [leaf for leaf in pytree.tree_leaves(module(*args, **kwargs)) if hasattr(leaf, "dtype")]

    return call


def flat_module(
    module: "torch.fx.GraphModule", own: Interface, transposed: tuple[Sequence[bool], Sequence[bool]]
) -> "torch.fx.GraphModule":
    """The graph of an exported program's module with tensors in and tensors out.

    Inputs and outputs marked in ``transposed`` become NHWC. The graph is ``module``'s own, changed: a module around
    it would lose the names of the layers.
    """
    import torch

    graph = module.graph
    permute = torch.ops.aten.permute.default
    graph.set_codegen(torch.fx.graph.CodeGen())  # flat arguments instead of the source's structure
    swaps = iter(transposed[0])
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    for node, value, is_tensor in zip(placeholders, own.arguments, own.is_tensor, strict=True):
        if not is_tensor:
            node.replace_all_uses_with(value)
            graph.erase_node(node)
        elif next(swaps):
            with graph.inserting_after(node):
                swapped = graph.call_function(permute, (node, TO_NCHW))
            node.replace_all_uses_with(swapped, delete_user_cb=lambda user, own=swapped: user is not own)
    (output,) = graph.find_nodes(op="output")
    given = [node for node in torch.utils._pytree.tree_leaves(output.args[0]) if _is_tensor(node)]  # noqa: SLF001
    with graph.inserting_before(output):
        output.args = (
            tuple(
                graph.call_function(permute, (node, TO_NHWC)) if swap else node
                for node, swap in zip(given, transposed[1], strict=True)
            ),
        )
    flat = torch.fx.GraphModule(module, graph)
    flat.training = False  # an exported module refuses eval()
    return flat


def sample_tensors(shapes: Mapping[str, tuple[int, ...]], own: Interface) -> "list[torch.Tensor]":
    """Tensors to trace with: tracing computes nothing, so zeros do."""
    import torch

    return [torch.zeros(shape, dtype=getattr(torch, own.inputs[name][1])) for name, shape in shapes.items()]


def _is_tensor(node: Any) -> bool:
    return hasattr(getattr(node, "meta", {}).get("val"), "dtype")


def _refuse_state(program: "ExportedProgram") -> None:
    """Raise SourceError for a network in training mode or one that writes what outlives a call."""
    import torch

    modes = {torch.ops.aten.batch_norm.default: 5, torch.ops.aten.dropout.default: 2}  # position of `training`
    kept = {node for node in program.graph.nodes if node.op == "placeholder"}
    signature = program.graph_signature
    changed = {*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()}
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            continue
        if node.target in modes and node.args[modes[node.target]]:
            raise SourceError(
                f"The network was exported in training mode ({schema.name} changes with every call).",
                hint="Call network.eval() before torch.export.export.",
            )
        written = [
            value
            for value, argument in zip(node.args, schema.arguments, strict=False)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        changed |= {str(base.target) for value in written if (base := _base(value)) in kept}
    if changed:
        raise SourceError(
            f"The network writes {min(changed)!r} while it computes, and a .tflite would not remember that.",
            hint="Make the state an input and an output of forward(), and keep it in the application.",
        )


def _base(node: Any) -> Any:
    """The tensor that a node shares its memory with, through views and in-place operations."""
    while node.op == "call_function":
        arguments = getattr(getattr(node.target, "_schema", None), "arguments", ())
        if not arguments or arguments[0].alias_info is None:
            return node
        node = node.args[0]
    return node


def _outputs(program: "ExportedProgram") -> list[tuple[str, str]]:
    """Name -> graph node of every tensor that is returned."""
    from torch.export.graph_signature import OutputKind, TensorArgument
    from torch.utils import _pytree as pytree

    args = [spec.arg for spec in program.graph_signature.output_specs if spec.kind is OutputKind.USER_OUTPUT]
    paths = [
        path for path, _ in pytree.tree_flatten_with_path(pytree.tree_unflatten(args, program.call_spec.out_spec))[0]
    ]
    found: list[tuple[str, str]] = []
    for path, arg in zip(paths, args, strict=True):
        if isinstance(arg, TensorArgument):
            keys = [str(step.key) for step in path if isinstance(step, pytree.MappingKey)]
            found.append(("_".join(keys) or f"output_{len(found)}", arg.name))
    names = [name for name, _ in found]
    if len(set(names)) < len(names):  # a list inside a dict: keys alone do not tell its items apart
        return [(f"{name}_{i}" if names.count(name) > 1 else name, node) for i, (name, node) in enumerate(found)]
    return found


def _spec(value: Any) -> tuple[OpenShape, str]:
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return shape, str(value.dtype).removeprefix("torch.")
