"""What surrounds an op in its subgraph, for checks that must look further than the op."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from edgekit_converters.structure import OpInfo, Structure, TensorInfo


@dataclass(frozen=True, kw_only=True)
class Context:
    """One subgraph."""

    ops: tuple[OpInfo, ...]
    """In the order of execution."""
    makers: Mapping[int, OpInfo]
    """Tensor index -> the op that writes it."""
    readers: Mapping[int, tuple[OpInfo, ...]]
    """Tensor index -> the ops that read it, each once."""
    outputs: frozenset[int]
    """Tensor indices that the caller of the model reads; empty for a subgraph that an op calls."""
    fits: Callable[[OpInfo], bool] = lambda _: False
    """Whether the rules that are being matched take another op, for an op that is taken only with its readers."""

    def maker(self, tensor: TensorInfo | None) -> OpInfo | None:
        """The op that writes a tensor; None for inputs, constants and inputs left out."""
        return None if tensor is None else self.makers.get(tensor.index)


def context_of(structure: Structure, subgraph: int) -> Context:
    """Of one subgraph."""
    ops = tuple(op for op in structure.ops if op.subgraph == subgraph)
    return Context(
        ops=ops,
        makers={tensor.index: op for op in ops for tensor in op.outputs},
        readers=_readers(ops),
        outputs=frozenset(structure.output_indices) if subgraph == 0 else frozenset(),
    )


def _readers(ops: Iterable[OpInfo]) -> dict[int, tuple[OpInfo, ...]]:
    found: dict[int, tuple[OpInfo, ...]] = {}
    for op in ops:
        for index in dict.fromkeys(tensor.index for tensor in op.inputs if tensor is not None):
            found[index] = (*found.get(index, ()), op)
    return found
