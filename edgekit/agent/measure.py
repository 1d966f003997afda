"""One fresh process measures one model: load, first inference, warm-up, samples. Only ``invoke`` is timed."""

import gc
import time
from array import array
from typing import Any, BinaryIO, Callable, Dict, List

from . import runtime
from .events import Emit, Request, Result
from .machine import read_rss, read_state
from .start import read_inputs, start_models, time_first

MAX_SAMPLES = 200000
"""Where a process stops, ``min_secs`` or not: its answer is one line."""
MAX_STATES = 100
STATE_INTERVAL_S = 0.25
"""Between two looks at clocks and temperatures while samples are taken; longer in runs of more than 25 s."""
WARMUP_SECS = 0.5
"""Warm-up lasts at least this long, or ``min_secs`` if shorter: a governor needs it to raise the clock."""

Invoke = Callable[[], None]


def bench_process(request: Request, _stdin: BinaryIO, _emit: Emit) -> Result:
    """The ``bench-process`` command.

    request: ``model`` (path), ``inputs`` (input name -> path of a raw little-endian tensor; empty: seeded
    random values), ``delegate``, ``num_threads``, ``num_runs``, ``warmup_runs``, ``min_secs``, ``cpus`` (list
    or None).

    Returns times in ms (``samples_ns``, ``warmup_ns``: every duration in ns), memory in bytes, and the
    machine's state ``before`` the model is loaded and ``during`` the samples (first right after the warm-up,
    last right after the last sample).
    """
    before = read_state()
    (model,), facts = start_models(request)
    model.set_inputs(read_inputs(model.inputs, request["inputs"]))
    first_ms = time_first(model.invoke)
    try:
        warmup, samples, during = _run(model.interpreter.invoke, request)
    except (ValueError, RuntimeError) as err:
        raise runtime.ModelRefused(str(err).strip() or type(err).__name__) from err
    peak = read_rss()["peak_rss_bytes"]  # before the samples become Python lists, which are larger than small models
    return dict(
        facts,
        first_ms=first_ms,
        warmup_ns=warmup.tolist(),
        samples_ns=samples.tolist(),
        peak_rss_bytes=peak,
        before=before,
        during=during,
    )


def _run(invoke: Invoke, request: Request) -> "tuple[array[int], array[int], List[Dict[str, Any]]]":
    states: List[Dict[str, Any]] = []
    warmup = array("q")
    if request["warmup_runs"] > 0:
        secs = min(WARMUP_SECS, request["min_secs"])
        warmup = take_samples(invoke, request["warmup_runs"], secs)
    states.append(read_state())
    interval = max(STATE_INTERVAL_S, request["min_secs"] / MAX_STATES)

    def look() -> None:
        if len(states) < MAX_STATES:
            states.append(read_state())

    samples = take_samples(invoke, request["num_runs"], request["min_secs"], look, interval)
    states.append(read_state())
    return warmup, samples, states


def take_samples(
    invoke: Invoke,
    num_runs: int,
    min_secs: float,
    between: Callable[[], None] = lambda: None,
    interval_s: float = STATE_INTERVAL_S,
) -> "array[int]":
    """Durations of ``invoke`` in ns: at least ``num_runs`` of them and at least ``min_secs`` long.

    ``between`` is called every ``interval_s``, outside what is timed. No garbage is collected meanwhile.
    """
    samples = array("q")
    clock, append = time.perf_counter_ns, samples.append
    gc.collect()
    gc.disable()
    now = clock()
    deadline, look_at = now + int(min_secs * 1e9), now + int(interval_s * 1e9)
    try:
        while True:
            start = clock()
            invoke()
            end = clock()
            append(end - start)
            if end >= look_at:
                between()
                look_at = clock() + int(interval_s * 1e9)
            if (end >= deadline and len(samples) >= num_runs) or len(samples) >= MAX_SAMPLES:
                return samples
    finally:
        gc.enable()
