"""Cut a graph into what each processor runs in one go, as TFLite's graph partitioner does.

The rule is that of ``PartitionGraphIntoIndependentNodeSubsets`` (LiteRT, tflite/graph_info.cc): walk the graph in the
order of execution; the first op that is ready decides what kind of subset begins, and every op of that kind that is or
becomes ready joins it. Delegates are applied one after another, each to what the one before it left.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

from edgekit.errors import ModelError
from edgekit.placement.entries import CPU, Partition, Transfer
from edgekit_converters.structure import OpInfo, Structure, TensorInfo

CONTROL_FLOW = frozenset({"IF", "WHILE", "CALL_ONCE"})


@dataclass(frozen=True, kw_only=True)
class Step:
    """One node of the execution plan: an op, or several that an accelerator runs as one."""

    ops: tuple[int, ...]
    """Indices in the subgraph."""
    processor: str
    reads: frozenset[int]
    """Tensor indices, constants too."""
    writes: frozenset[int]
    stateful: bool
    """May have a side effect, so it keeps its place among the others that may."""


def steps_of(ops: Iterable[OpInfo]) -> tuple[Step, ...]:
    """The plan before any delegate: one step an op, on the CPU."""
    return tuple(
        Step(
            ops=(op.index,),
            processor=CPU,
            reads=frozenset(tensor.index for tensor in op.inputs if tensor is not None),
            writes=frozenset(tensor.index for tensor in op.outputs),
            stateful=_stateful(op),
        )
        for op in ops
    )


def _stateful(op: OpInfo) -> bool:
    # As Subgraph::OpMightHaveSideEffect: what holds a resource (a variable, a hash table), and control flow.
    tensors = (*op.inputs, *op.outputs)
    return op.name in CONTROL_FLOW or any(tensor is not None and tensor.dtype == "resource" for tensor in tensors)


def delegate(
    plan: Sequence[Step], fits: Collection[int], processor: str, *, limit: int | None = None, first: bool = False
) -> tuple[Step, ...]:
    """The plan once an accelerator has taken what ``fits`` (op indices) from the CPU.

    ``limit`` keeps its largest partitions only, as TFLite's GraphPartitionHelper; ``first`` keeps only the first one,
    as a compiler that stops at the first op it does not take.

    Raises:
        ModelError: the graph has a cycle.
    """
    subsets = _subsets(plan, frozenset(fits))
    mine = [subset for taken, subset in subsets if taken]
    kept = mine[:1] if first else sorted(mine, key=_size, reverse=True)[:limit]
    if len(kept) < len(mine):
        subsets = _subsets(plan, frozenset(op for subset in kept for step in subset for op in step.ops))
    return tuple(step for taken, subset in subsets for step in ([_fused(subset, processor)] if taken else subset))


def fuse(plan: Sequence[Step], groups: Iterable[Collection[int]], processor: str) -> tuple[Step, ...]:
    """The plan where each of ``groups`` (op indices) is one step of ``processor``, as a compiler said.

    Raises:
        ModelError: in these groups the ops wait for each other.
    """
    of = {index: number for number, group in enumerate(groups) for index in group}
    members: dict[int, list[Step]] = {}
    for step in plan:
        members.setdefault(of.get(step.ops[0], -1 - step.ops[0]), []).append(step)
    fused = [_fused(steps, processor) if number >= 0 else steps[0] for number, steps in members.items()]
    return tuple(step for _, subset in _subsets(fused, frozenset()) for step in subset)


def _size(subset: Sequence[Step]) -> int:
    return sum(len(step.ops) for step in subset)


def _fused(subset: Sequence[Step], processor: str) -> Step:
    written = frozenset().union(*(step.writes for step in subset))
    return Step(
        ops=tuple(op for step in subset for op in step.ops),
        processor=processor,
        reads=frozenset().union(*(step.reads for step in subset)) - written,
        writes=written,
        stateful=any(step.stateful for step in subset),
    )


def _subsets(plan: Sequence[Step], fits: frozenset[int]) -> list[tuple[bool, list[Step]]]:
    """Subsets in the order of execution, each with whether the accelerator takes it.

    A subset grows in sweeps over the plan, as in TFLite: what becomes ready behind the sweep joins in the next one.
    """
    wanted = [step.processor == CPU and fits.issuperset(step.ops) for step in plan]
    waits, readers, written = _dependencies(plan)
    ready: dict[bool, list[int]] = {False: [], True: []}  # heaps of places in the plan
    for place, count in enumerate(waits):
        if count == 0:
            ready[wanted[place]].append(place)
    found, done = list[tuple[bool, list[Step]]](), 0
    while ready[False] or ready[True]:
        taken = not ready[False] or bool(ready[True] and ready[True][0] < ready[False][0])
        subset: list[Step] = []
        while ready[taken]:
            sweep, ready[taken] = ready[taken], []
            while sweep:
                place = heappop(sweep)
                subset.append(plan[place])
                for other in (reader for tensor in written[place] for reader in readers.pop(tensor, ())):
                    waits[other] -= 1
                    if waits[other] == 0:
                        ahead = wanted[other] == taken and other > place
                        heappush(sweep if ahead else ready[wanted[other]], other)
        found.append((taken, subset))
        done += len(subset)
    if done < len(plan):
        raise ModelError(
            "The ops of the model wait for each other: its graph has a cycle.",
            hint="The file is damaged; convert it again.",
        )
    return found


def _dependencies(plan: Sequence[Step]) -> tuple[list[int], dict[int, list[int]], list[set[int]]]:
    """How many tensors each place of the plan waits for, tensor -> the places that wait for it, what each writes.

    A step with a side effect waits for the one before it, too: as if that wrote a tensor of a negative index for it.
    """
    reads, writes = [set(step.reads) for step in plan], [set(step.writes) for step in plan]
    stateful = [place for place, step in enumerate(plan) if step.stateful]
    for before, after in pairwise(stateful):
        writes[before].add(-1 - before)
        reads[after].add(-1 - before)
    made = set[int]().union(*writes)
    readers: dict[int, list[int]] = {}
    waits = [len(tensors & made) for tensors in reads]
    for place, tensors in enumerate(reads):
        for tensor in tensors & made:
            readers.setdefault(tensor, []).append(place)
    return waits, readers, writes


def partitions_of(plan: Iterable[Step]) -> tuple[Partition, ...]:
    """One an accelerator's step; ops of the CPU that follow each other are one too."""
    found: list[Partition] = []
    for step in plan:
        if found and step.processor == CPU == found[-1].processor:
            found[-1] = Partition(processor=CPU, ops=found[-1].ops + step.ops)
        else:
            found.append(Partition(processor=step.processor, ops=step.ops))
    return tuple(found)


def transfers_of(
    structure: Structure, partitions: Sequence[Partition], shared: Collection[str]
) -> tuple[Transfer, ...]:
    """What is copied between the CPU's memory and that of accelerators, in the order of execution.

    A tensor is counted once for every partition that reads it. ``shared`` names processors in the CPU's memory.
    """
    ops = {op.index: op for op in structure.ops if op.subgraph == 0}
    home = {index: number for number, partition in enumerate(partitions) for index in partition.ops}
    made = {tensor.index: home[op.index] for op in ops.values() for tensor in op.outputs}
    at_cpu = {CPU, *shared}
    found: list[Transfer] = []
    for number, partition in enumerate(partitions):
        for tensor in _read_from_outside(partition, ops):
            maker = made.get(tensor.index)
            if maker is None and structure.input_indices and tensor.index not in structure.input_indices:
                continue  # memory that an op works in, such as Ethos-U's scratch: nobody fills it before
            source = CPU if maker is None else partitions[maker].processor
            if maker != number and not {source, partition.processor} <= at_cpu:
                found.append(_transfer(tensor, source, partition.processor))
    results = {tensor.index: tensor for op in ops.values() for tensor in op.outputs}
    given = [(results[index], partitions[made[index]].processor) for index in structure.output_indices if index in made]
    found.extend(_transfer(tensor, source, CPU) for tensor, source in dict.fromkeys(given) if source not in at_cpu)
    return tuple(found)


def _read_from_outside(partition: Partition, ops: Mapping[int, OpInfo]) -> Iterable[TensorInfo]:
    """Tensors that move at every inference: neither constants nor the state that an accelerator keeps."""
    read = {
        tensor.index: tensor
        for index in partition.ops
        for tensor in ops[index].inputs
        if tensor is not None and not tensor.constant and not tensor.variable
    }
    return read.values()


def _transfer(tensor: TensorInfo, source: str, destination: str) -> Transfer:
    return Transfer(tensor=tensor.name, bytes=tensor.nbytes, source=source, destination=destination)
