"""Does a model load, prepare and run? Asked in a process of its own, since a bad file can take the process along."""

from typing import Any, BinaryIO, Dict

from . import runtime
from .delegates import DelegateRefused
from .events import Emit, Request, Result


def prepare(request: Request, stdin: BinaryIO, emit: Emit) -> Result:  # noqa: ARG001 - the signature of commands
    """Load and invoke ``request["model"]`` (a path) once with each of ``request["delegates"]``.

    Returns ``{"delegates": {name: None or the reason of the refusal}, "disagreement": {output: difference}}``:
    the largest difference between the outputs of the first two delegates that ran, in steps for quantized
    outputs, relative to the largest value for float ones; for one seeded random input.
    """
    refusals: Dict[str, Any] = {}
    results = []
    for delegate in request["delegates"]:
        try:
            model = runtime.Model(request["model"], delegate)
            results.append((model, model.run(_random_inputs(model))))
            refusals[delegate] = None
        except (runtime.ModelRefused, DelegateRefused) as err:
            refusals[delegate] = str(err)
    disagreement = {}
    if len(results) > 1:
        (model, first), (_, second) = results[:2]
        disagreement = {tensor.name: _difference(first[tensor.name], second[tensor.name]) for tensor in model.outputs}
    return {"delegates": refusals, "disagreement": disagreement}


def _random_inputs(model: runtime.Model) -> Dict[str, Any]:
    import numpy as np

    generator = np.random.RandomState(0)
    arrays = {}
    for tensor in model.inputs:
        real = generator.uniform(0, 1, tensor.shape).astype(np.float32)
        if tensor.scale is not None:
            limits = np.iinfo(tensor.dtype)
            real = ((limits.min + real * (limits.max - limits.min)) - (tensor.zero_point or 0)) * tensor.scale
        arrays[tensor.name] = runtime.quantize(real, tensor)
    return arrays


def _difference(first: Any, second: Any) -> float:
    import numpy as np

    if not first.size:
        return 0.0
    difference = float(np.abs(first.astype(np.float64) - second.astype(np.float64)).max())
    if first.dtype.kind != "f":
        return difference
    largest = float(np.abs(first.astype(np.float64)).max())
    return difference / largest if largest else difference
