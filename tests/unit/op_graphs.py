"""Graphs of ops as values, without a file: what a placement works on."""

from collections.abc import Sequence
from typing import Any

from edgekit_converters.structure import OpInfo, Structure, TensorInfo


def tensor(index: int, shape: Sequence[int] = (1, 8, 8, 4), dtype: str = "int8", **more: Any) -> TensorInfo:
    """``t3`` of 256 bytes, with one scale where it is quantized."""
    scales = (0.1,) if dtype in {"int8", "uint8", "int16"} else ()
    known: dict[str, Any] = {"constant": False, "scales": len(scales), "scales_values": scales, "index": index}
    return TensorInfo(**{"name": f"t{index}", "dtype": dtype, "shape": tuple(shape), **known, **more})


def op(
    index: int, name: str, inputs: Sequence[TensorInfo | None], outputs: Sequence[TensorInfo], **more: Any
) -> OpInfo:
    """The op at this place of subgraph 0."""
    known: dict[str, Any] = {"custom": None, "version": 1, "index": index, "subgraph": 0}
    return OpInfo(**{"name": name, "inputs": tuple(inputs), "outputs": tuple(outputs), **known, **more})


def graph(ops: Sequence[OpInfo], *, outputs: Sequence[int] | None = None) -> Structure:
    """A model of these ops; its outputs are what no op reads."""
    read = {t.index for o in ops for t in o.inputs if t is not None and o.subgraph == 0}
    made = [t.index for o in ops for t in o.outputs if o.subgraph == 0]
    return Structure(
        size_bytes=0,
        inputs=(),
        outputs=(),
        tensors=(),
        ops=tuple(ops),
        subgraphs=1 + max((o.subgraph for o in ops), default=0),
        output_indices=tuple(outputs if outputs is not None else (i for i in made if i not in read)),
    )


def chain(*names: str) -> Structure:
    """Each op reads what the one before it made; tensor 0 goes in."""
    return graph([op(i, name, [tensor(i)], [tensor(i + 1)]) for i, name in enumerate(names)])
