"""Where a compiler put each op, read from the file it made and the one it was made from."""

from collections.abc import Mapping, Sequence

from edgekit.compilers.audit import taken_ops
from edgekit.errors import ModelError
from edgekit.placement import Placement, from_taken
from edgekit.target import Accelerator, Target
from edgekit_converters.structure import OpInfo, Structure


def told_placement(
    reference: Structure,
    compiled: Structure,
    *,
    target: Target,
    accelerator: Accelerator,
    accelerator_ops: frozenset[str],
    told_by: str,
    reasons: Mapping[str, str],
) -> Placement:
    """The ops of ``reference``, each custom op of the accelerator in ``compiled`` a partition.

    Where the file does not say which ops a custom op stands for, the partitions are those of TFLite's partitioner.
    Raises ModelError for a graph with a cycle.
    """
    taken = taken_ops(reference, compiled, accelerator_ops)
    groups = _groups(reference, compiled, taken, accelerator_ops)

    def placed(known: Sequence[frozenset[int]] | None) -> Placement:
        return from_taken(
            reference,
            target,
            {accelerator.name: taken},
            basis="compiler",
            told_by=told_by,
            reasons={accelerator.name: reasons},
            groups=known,
        )

    try:
        return placed(groups)
    except ModelError:
        if groups is None:
            raise
        return placed(None)  # the names of the tensors led astray


def _groups(
    reference: Structure, compiled: Structure, taken: Sequence[int], accelerator_ops: frozenset[str]
) -> tuple[frozenset[int], ...] | None:
    """What each custom op stands for: from its outputs back to its inputs; None where that is not all that was taken.

    A compiler keeps the names of the tensors between the CPU and the accelerator.
    """
    makers: dict[str, OpInfo] = {}
    for op in reference.ops:
        for tensor in op.outputs if op.subgraph == 0 else ():
            if tensor.name in makers:
                return None
            makers[tensor.name] = op
    left = set(taken)
    groups: list[frozenset[int]] = []
    for custom in (op for op in compiled.ops if op.subgraph == 0 and op.custom in accelerator_ops):
        given = {tensor.name for tensor in custom.inputs if tensor is not None}
        group: set[int] = set()
        waiting = [tensor.name for tensor in custom.outputs]
        while waiting:
            name = waiting.pop()
            maker = makers.get(name)
            if maker is None or name in given or maker.index not in left:
                continue
            left.remove(maker.index)
            group.add(maker.index)
            waiting.extend(tensor.name for tensor in maker.inputs if tensor is not None)
        groups.append(frozenset(group))
    return None if left else tuple(groups)
