"""What every fresh process does before it measures: bind itself to CPUs, load the model, run it once."""

import os
import time
from typing import Any, Callable, Dict, List, Tuple

from . import runtime
from .events import AgentError, Request
from .machine import read_rss


def start_models(request: Request, count: int = 1) -> Tuple[List[runtime.Model], Dict[str, Any]]:
    """Load ``request``'s ``model`` ``count`` times, with its ``delegate``, ``delegate_options`` and ``num_threads``.

    The process runs on its ``cpus``. Returns the models, and what to tell of it: ``runtime``, ``load_ms`` (of all of
    them, without importing the runtime) and ``rss_before_load_bytes``. Raises what ``runtime.Model`` does, and
    AgentError for the CPUs.
    """
    name, version, _ = runtime.find_runtime()  # those that share a CPU later import on all of them
    set_affinity(request["cpus"])
    memory_before = read_rss()["rss_bytes"]
    start = time.perf_counter_ns()
    options = request.get("delegate_options") or {}
    models = [
        runtime.Model(request["model"], request["delegate"], request["num_threads"], delegate_options=options)
        for _ in range(count)
    ]
    load_ms = (time.perf_counter_ns() - start) / 1e6
    return models, {
        "runtime": {"name": name, "version": version},
        "load_ms": load_ms,
        "rss_before_load_bytes": memory_before,
    }


def time_first(invoke: Callable[[], object]) -> float:
    """Milliseconds of the first run, which is slower than those after it."""
    start = time.perf_counter_ns()
    invoke()
    return (time.perf_counter_ns() - start) / 1e6


def set_affinity(cpus: Any) -> None:
    """Bind this process to these CPUs (a list, or None); raises AgentError."""
    if cpus is None:
        return
    try:
        os.sched_setaffinity(0, cpus)
    except (OSError, ValueError) as err:
        there = sorted(os.sched_getaffinity(0))
        raise AgentError(
            "device",
            "The process cannot run on the CPUs %s: %s." % (cpus, err),
            "The device has the CPUs %s; give a --cpu-mask of these." % there,
        ) from err


def read_inputs(tensors: Any, paths: Dict[str, str]) -> Dict[str, Any]:
    """Input name -> array from its raw tensor in ``paths``; without paths seeded random values."""
    import numpy as np

    random = np.random.RandomState(0)
    return {
        tensor.name: _read_tensor(tensor, paths[tensor.name]) if paths else _draw(tensor, random) for tensor in tensors
    }


def _read_tensor(tensor: Any, path: str) -> Any:
    import numpy as np

    with open(path, "rb") as stream:
        data = stream.read()
    dtype = np.dtype(tensor.dtype)
    if len(data) != int(np.prod(tensor.shape)) * dtype.itemsize:
        raise AgentError(
            "device",
            "The golden input for %r has %d bytes; the model takes %s of shape %s."
            % (tensor.name, len(data), dtype.name, list(tensor.shape)),
            "Build the artifact again.",
        )
    return np.frombuffer(data, dtype=dtype.newbyteorder("<")).astype(dtype).reshape(tensor.shape)


def _draw(tensor: Any, random: Any) -> Any:
    import numpy as np

    dtype = np.dtype(tensor.dtype)
    if dtype.kind == "f":
        return random.uniform(-1, 1, tensor.shape).astype(dtype)
    if dtype.kind in "iu" and dtype.itemsize == 1:
        limits = np.iinfo(dtype)
        return random.randint(limits.min, limits.max + 1, tensor.shape).astype(dtype)
    return np.zeros(tensor.shape, dtype)  # wider integers are mostly indices, where a random value is out of range
