"""Which resizes Arm's Vela takes: by how much, in height and in width. Tried with Vela 5.2.0, as ``vela.py``."""

import math

from edgekit.placement.context import Context
from edgekit.placement.operands import nhwc
from edgekit_converters.structure import OpInfo

QUANTIZED = frozenset({"int8", "uint8", "int16"})
UPSCALES = (1.0, 2.0, 4.0, 8.0)
HALF_PIXEL_UPSCALE = 2.0
MAX_SCALE, MAX_ALIGNED_SCALE = 1024, 2048


def upscale(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """Ethos-U55 and U65: to the same size, from one pixel, or by 2, 4 or 8, the same in height and width."""
    before, after = _sizes(op)
    half = op.name == "RESIZE_BILINEAR" and bool(op.options.get("halfPixelCenters"))
    if before == (1, 1) or (before == after and not half):
        return _wrong_dtype(op)
    if op.options.get("alignCorners") and any(size == 1 < out for size, out in zip(before, after, strict=True)):
        return f"a resize {_told(op)} with aligned corners"
    height, width = _scales(op)
    if any(scale not in UPSCALES for scale in (height, width)) or (half and {height, width} != {HALF_PIXEL_UPSCALE}):
        return f"a resize {_told(op)}, taken are {'2' if half else '2, 4 or 8'} times"
    if height != width and 1 not in after:
        return f"a resize by {height:g} in height and {width:g} in width"
    return _wrong_dtype(op)


def upscale_u85(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """Ethos-U85: by at most 1024, with corners aligned 2048; bilinear by a power of two."""
    before, after = _sizes(op)
    aligned = bool(op.options.get("alignCorners"))
    if aligned and op.options.get("halfPixelCenters"):
        return "alignCorners together with halfPixelCenters"
    if before in {(1, 1), after}:
        return _wrong_dtype(op)
    scales = _scales(op)
    if not 0 < min(scales) <= max(scales) <= (MAX_ALIGNED_SCALE if aligned else MAX_SCALE):
        return f"a resize {_told(op)}"
    if op.name == "RESIZE_BILINEAR" and any(scale < 1 or math.log2(scale) % 1 for scale in scales):
        return f"a resize {_told(op)}, taken are powers of two"
    return _wrong_dtype(op)


def _wrong_dtype(op: OpInfo) -> str | None:
    """The rule allows int32 for a size that another op computes, not for the data."""
    first = op.inputs[0]
    return f"{first.dtype} data" if first is not None and first.dtype not in QUANTIZED else None


def _sizes(op: OpInfo) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height, width) before and after."""
    (_, in_height, in_width, _), (_, out_height, out_width, _) = nhwc(op.inputs[0]), nhwc(op.outputs[0])
    return (in_height, in_width), (out_height, out_width)


def _scales(op: OpInfo) -> tuple[float, float]:
    """In height and width; between the centers of the outermost pixels where corners are aligned."""
    less = 1 if op.options.get("alignCorners") else 0
    height, width = (
        (out - less) / (size - less) if size > less else out / max(size, 1)
        for size, out in zip(*_sizes(op), strict=True)
    )
    return height, width


def _told(op: OpInfo) -> str:
    before, after = _sizes(op)
    return f"from {before[0]}x{before[1]} to {after[0]}x{after[1]}"
