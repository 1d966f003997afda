"""One model: what the rules of XNNPACK predict, and what the runtime on this machine really gave it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from edgekit.agent.coverage import node_by_node
from edgekit.agent.runtime import XNNPACK, Model
from edgekit.placement.predict import place, rules_of
from edgekit.target import load_target
from edgekit_converters.structure import Structure, structure_of

TARGET = "x86-64"
"""Of this machine; every Linux target has the same rules of XNNPACK."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A prediction and a report; both are of subgraph 0, as the runtime shows no other."""

    ops: int
    predicted: int
    reported: int
    differences: tuple[str, ...]
    """Such as ``12 MEAN: predicted on xnnpack``, and one about the number of partitions where that differs."""


def parse(tflite: bytes) -> Structure:
    """Without the check of every offset that ``read_structure`` makes first: these files were written here."""
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite, 0))
    return structure_of(model, len(tflite))


def compare(tflite: bytes) -> Comparison:
    """Raises ModelRefused where the runtime does not take the model at all."""
    structure = parse(tflite)
    predicted, partitions, reasons = predict(structure)
    single, fused = Model(tflite, fusion=False), Model(tflite)
    reported = set(node_by_node(single.ops(), single.nodes_before).nodes[XNNPACK])
    parts = node_by_node(fused.ops(), fused.nodes_before).partitions[XNNPACK]
    ops = [op for op in structure.ops if op.subgraph == 0]
    differences = [
        f"{op.index} {op.name}: predicted on {'xnnpack' if op.index in predicted else 'the CPU'}"
        f"{reasons.get(op.index, '')}"
        for op in ops
        if (op.index in predicted) != (op.index in reported)
    ]
    if not differences and parts != partitions:
        differences.append(f"{partitions} partitions predicted, {parts} reported")
    return Comparison(ops=len(ops), predicted=len(predicted), reported=len(reported), differences=tuple(differences))


def predict(structure: Structure) -> tuple[set[int], int, dict[int, str]]:
    """Indices of the ops that XNNPACK is said to take, the number of partitions, and why the others are not taken."""
    placement = place(structure, _target(), _rules())
    mine = [op for op in placement.ops if op.subgraph == 0]
    return (
        {op.index for op in mine if op.processor == XNNPACK},
        sum(partition.processor == XNNPACK for partition in placement.partitions),
        {op.index: f" ({refusal.reason})" for op in mine for refusal in op.refusals},
    )


@cache
def _target() -> Any:
    return load_target(TARGET)


@cache
def _rules() -> Any:
    return rules_of(_target())
