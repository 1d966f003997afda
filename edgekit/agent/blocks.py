"""The process of one model in a round of ``compare``: it runs a short timed block whenever it is told to.

It imports little: there are dozens of them in a comparison.
"""

import gc
import json
import time
from typing import BinaryIO, Callable, Dict, List, Optional

from . import runtime
from .events import Emit, Request, Result
from .start import read_inputs, start_models, time_first


def compare_process(request: Request, stdin: BinaryIO, emit: Emit) -> Result:
    """The ``compare-process`` command: load a model, then run a block for every line of stdin until it ends.

    request: ``model`` (path), ``inputs``, ``delegate``, ``num_threads``, ``cpus`` as in ``measure.bench_process``.
    A line asks for a block of at least ``secs`` and ``runs``, see ``run_block``. Emits ``ready`` and a ``block`` for
    every line: ``median_ns`` of its inferences, ``runs``, and the CPU time of the process in s.
    """
    (model,), facts = start_models(request)
    model.set_inputs(read_inputs(model.inputs, request["inputs"]))
    first_ms = time_first(model.invoke)
    gc.disable()
    emit("ready", first_ms=first_ms, **facts)
    for line in iter(stdin.readline, b""):
        asked = json.loads(line.decode())
        try:
            found = run_block(model.interpreter.invoke, asked["secs"], asked["runs"], asked["most_secs"])
        except (ValueError, RuntimeError) as err:
            raise runtime.ModelRefused(str(err).strip() or type(err).__name__) from err
        emit("block", cpu_s=time.process_time(), **found)
    return {}


def run_block(invoke: Callable[[], None], secs: float, runs: int, most_secs: Optional[float] = None) -> Dict[str, int]:
    """``median_ns`` of at least ``runs`` inferences that last at least ``secs``, and how many there were.

    After ``most_secs`` (None: no limit; not below ``secs``) it ends, however few they are.
    """
    samples: List[int] = []
    clock = time.perf_counter_ns
    now = clock()
    deadline = now + int(secs * 1e9)
    latest = None if most_secs is None else now + int(most_secs * 1e9)
    while True:
        start = clock()
        invoke()
        end = clock()
        samples.append(end - start)
        if end >= deadline and (len(samples) >= runs or (latest is not None and end >= latest)):
            return {"median_ns": sorted(samples)[len(samples) // 2], "runs": len(samples)}
