"""Golden vectors: a few inputs with the outputs this machine computed, for every device to reproduce."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgekit.agent.runtime import NONE, XNNPACK, Model, Tensor, quantize
from edgekit.artifact import GOLDEN
from edgekit.documents import write_json
from edgekit.entries import Golden, Tolerance, Vector
from edgekit.target import PrecisionName

if TYPE_CHECKING:
    import numpy as np

VECTORS = 4
SEED = 20260101
"""Fixed, so that the same model gives the same random vectors everywhere."""

TOLERANCES: dict[str, Tolerance] = {
    # kernels of different CPUs round differently by a step, seldom by two; with --io float32 that is within 2 %
    "int8": Tolerance(max_steps=2, max_error=2e-2, same_top1=True),
    # the accumulator is 64 bits wide and the step fine: kernels seldom differ, and then by a few of 65536 steps
    "int16x8": Tolerance(max_steps=16, max_error=5e-3, same_top1=True),
    # order of summation and fused multiply-add
    "float32": Tolerance(max_error=1e-3, same_top1=True),
    # weights are float16; some CPUs also compute in float16 (11 bits of mantissa)
    "float16": Tolerance(max_error=1e-2, same_top1=True),
    # activations are quantized on the fly, per kernel
    "dynamic": Tolerance(max_error=5e-2, same_top1=True),
}


def golden_files(
    model: bytes,
    precision: PrecisionName,
    samples: Sequence[Mapping[str, "np.ndarray[Any, Any]"]],
    ranges: Mapping[str, tuple[float, float] | None],
) -> dict[str, bytes]:
    """Files of ``golden/`` from real samples, or from seeded random ones in ``ranges`` where there are none.

    ``samples`` are real values by input name, as the float model takes them; expected outputs come from this
    machine's runtime with XNNPACK. The plain kernels round in another way, so a device without a delegate has a
    tolerance of its own, wide enough for what they gave here.
    """
    interpreter, plain = Model(model, XNNPACK), Model(model, NONE)
    chosen = list(samples[:VECTORS]) or _random_samples(interpreter, ranges)
    files: dict[str, bytes] = {}
    vectors = []
    disagreements: list[Disagreement] = []
    for number, sample in enumerate(chosen):
        inputs = {tensor.name: quantize(sample[tensor.name], tensor) for tensor in interpreter.inputs}
        interpreter.reset()
        plain.reset()
        outputs = interpreter.run(inputs)
        disagreements.extend(_disagreements(outputs, plain.run(inputs)))
        vectors.append(
            Vector(
                inputs=_store(files, f"golden/{number}-input", inputs),
                outputs=_store(files, f"golden/{number}-output", outputs),
            )
        )
    golden = Golden(
        schema_version=1,
        kind="calibration" if samples else "random",
        seed=None if samples else SEED,
        vectors=tuple(vectors),
        tolerance={"default": TOLERANCES[precision], NONE: _for_plain_kernels(TOLERANCES[precision], disagreements)},
    )
    return {**files, GOLDEN: write_json(golden)}


Disagreement = tuple[bool, float]
"""Whether the output is quantized, and the largest difference: in steps, or relative to the largest value."""


def _disagreements(
    first: Mapping[str, "np.ndarray[Any, Any]"], second: Mapping[str, "np.ndarray[Any, Any]"]
) -> Iterator[Disagreement]:
    import numpy as np

    for name, array in first.items():
        wide, other = array.astype(np.float64), second[name].astype(np.float64)
        quantized = array.dtype.kind != "f"
        unit = 1.0 if quantized else float(np.abs(wide).max(initial=0.0)) or 1.0
        yield quantized, float(np.abs(wide - other).max(initial=0.0)) / unit


def _for_plain_kernels(tolerance: Tolerance, disagreements: Sequence[Disagreement]) -> Tolerance:
    steps = max((difference for quantized, difference in disagreements if quantized), default=0.0)
    error = max((difference for quantized, difference in disagreements if not quantized), default=0.0)
    return Tolerance(
        max_steps=None if tolerance.max_steps is None else max(tolerance.max_steps, int(steps) + 1),
        max_error=None if tolerance.max_error is None else max(tolerance.max_error, 2 * error),
        same_top1=tolerance.same_top1,
    )


def _store(files: dict[str, bytes], prefix: str, arrays: Mapping[str, "np.ndarray[Any, Any]"]) -> dict[str, str]:
    names = {}
    for position, (name, array) in enumerate(arrays.items()):
        names[name] = f"{prefix}-{position}.bin"
        files[names[name]] = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return names


def _random_samples(
    model: Model, ranges: Mapping[str, tuple[float, float] | None]
) -> list[dict[str, "np.ndarray[Any, Any]"]]:
    import numpy as np

    generator = np.random.default_rng(SEED)
    return [
        {tensor.name: _random(generator, tensor, ranges.get(tensor.name)) for tensor in model.inputs}
        for _ in range(VECTORS)
    ]


def _random(
    generator: "np.random.Generator", tensor: Tensor, declared: tuple[float, float] | None
) -> "np.ndarray[Any, Any]":
    import numpy as np

    if declared is None and np.issubdtype(tensor.dtype, np.integer):
        limits = np.iinfo(tensor.dtype)
        # without a scale it is an index or a count: small values are the safe ones
        bounds = (0, 1) if tensor.scale is None else (limits.min, limits.max)
        integers: np.ndarray[Any, Any] = generator.integers(*bounds, tensor.shape, endpoint=True).astype(tensor.dtype)
        return integers
    reals: np.ndarray[Any, Any] = generator.uniform(*(declared or (0.0, 1.0)), tensor.shape).astype(np.float32)
    return reals
