"""The tensors of a quantized .tflite by name: how each is stored, and what a constant is worth in real numbers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit_converters.flatbuffer import builtin_name, dtype_name, read, text

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

HALF_SUFFIX = "/float16"
"""What ``float16.py`` appends to the name of a constant that it halves."""
INTEGERS = {"int4": (-8, 7), "int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
"""Smallest and largest step; int32 (a bias) is exact enough to count as float."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Per-tensor quantization of an activation: real = (step - zero_point) * scale."""

    dtype: str
    scale: float
    zero_point: int

    def snap(self, values: "Array") -> "Array":
        """The nearest values that the grid holds; what lies outside is clipped."""
        import numpy as np

        low, high = INTEGERS[self.dtype]
        steps = np.clip(np.rint(values.astype(np.float64) / self.scale) + self.zero_point, low, high)
        snapped: Array = ((steps - self.zero_point) * self.scale).astype(np.float32)
        return snapped


@dataclass(frozen=True, kw_only=True)
class QuantizedTensors:
    """What a quantized file makes of the tensors of its float model."""

    dtypes: Mapping[str, str]
    """Name -> dtype, of every tensor of the main subgraph."""
    grids: Mapping[str, Grid]
    """Activation -> its grid; for one that is float (or int16) and converted for a reader, the reader's."""
    weights: "Mapping[str, Array]"
    """Constant's name in the float model -> its values in the file, float32; only those that are stored otherwise."""


def read_quantized(data: bytes) -> QuantizedTensors:
    """Parse a quantized .tflite; raises SourceError for what is none."""
    model = read(data, what="the quantized model")
    graph = model.subgraphs[0]
    names = [text(tensor.name) for tensor in graph.tensors]
    dtypes = {name: dtype_name(tensor.type) for name, tensor in zip(names, graph.tensors, strict=True)}
    grids, weights = {}, {}
    for name, tensor in zip(names, graph.tensors, strict=True):
        values = _constant(model, tensor, dtypes[name])
        if values is not None:
            weights[name.removesuffix(HALF_SUFFIX)] = values
            continue
        grid = _grid(tensor, dtypes[name])
        if grid is not None:
            grids[name] = grid
    for operator in graph.operators:
        if builtin_name(model.operatorCodes[operator.opcodeIndex]) == "QUANTIZE":
            before, after = names[int(operator.inputs[0])], names[int(operator.outputs[0])]
            if after in grids and (before not in grids or grids[before].scale < grids[after].scale):
                grids[before] = grids[after]
    return QuantizedTensors(dtypes=dtypes, grids=grids, weights=weights)


def weight_errors(float_model: bytes, tensors: QuantizedTensors) -> dict[str, float]:
    """Constant -> SQNR in dB of its values in the file against those in the float model."""
    import numpy as np

    model = read(float_model, what="the float model")
    found = {}
    for tensor in model.subgraphs[0].tensors:
        name = text(tensor.name)
        data = model.buffers[tensor.buffer].data
        stored = tensors.weights.get(name)
        if stored is None or data is None or dtype_name(tensor.type) != "float32" or len(data) != stored.nbytes:
            continue
        exact = np.frombuffer(bytes(data), "<f4").reshape(stored.shape).astype(np.float64)
        found[name] = sqnr_db(float(np.square(exact).sum()), float(np.square(stored - exact).sum()))
    return found


def sqnr_db(signal: float, noise: float) -> float:
    """Powers of signal and noise -> 10 log10(signal / noise); infinite without noise."""
    return math.inf if noise == 0 else -math.inf if signal == 0 else 10 * math.log10(signal / noise)


def _grid(tensor: Any, dtype: str) -> Grid | None:
    quantization = tensor.quantization
    if dtype not in INTEGERS or quantization is None or quantization.scale is None or len(quantization.scale) != 1:
        return None
    return Grid(dtype=dtype, scale=float(quantization.scale[0]), zero_point=int(quantization.zeroPoint[0]))


def _constant(model: Any, tensor: Any, dtype: str) -> "Array | None":
    """A quantized or half precision constant as float32 in its shape, else None."""
    import numpy as np

    data = model.buffers[tensor.buffer].data
    if data is None or len(data) == 0:
        return None
    shape = tuple(int(size) for size in (() if tensor.shape is None else tensor.shape))
    raw = np.frombuffer(bytes(data), np.uint8)
    if dtype == "float16":
        return raw.view("<f2").astype(np.float32).reshape(shape)
    quantization = tensor.quantization
    if dtype not in INTEGERS or quantization is None or quantization.scale is None or not len(quantization.scale):
        return None
    steps = _unpack(raw, int(np.prod(shape))) if dtype == "int4" else raw.view(np.dtype(dtype).newbyteorder("<"))
    scales = np.asarray(quantization.scale, np.float64)
    points = np.asarray(quantization.zeroPoint, np.float64)
    if len(scales) > 1:
        axis = [1] * len(shape)
        axis[int(quantization.quantizedDimension)] = len(scales)
        scales, points = scales.reshape(axis), points.reshape(axis)
    real: Array = ((steps.reshape(shape) - points) * scales).astype(np.float32)
    return real


def _unpack(raw: "Array", count: int) -> "Array":
    """Two int4 a byte, the first in the low half."""
    import numpy as np

    halves = np.stack([raw & 0xF, raw >> 4], axis=-1).reshape(-1)[:count].astype(np.int8)
    unpacked: Array = np.where(halves > 7, halves - 16, halves)  # noqa: PLR2004 - two's complement of four bits
    return unpacked
