"""One fresh process runs a model by a schedule: idle and load in turns, or a load for minutes."""

import time
from array import array
from typing import Any, BinaryIO, Callable, Dict

from . import runtime
from .events import Emit, Request, Result
from .machine import read_rss
from .measure import take_samples
from .start import read_inputs, start_models, time_first

QUANTILES = (50, 90, 99)
SPIN_S = 0.002
"""Before the next inference of a paced load the last of the waiting is short sleeps: they end late by up to 1 ms."""


def record_process(request: Request, _stdin: BinaryIO, emit: Emit) -> Result:
    """The ``record-process`` command.

    request: what ``measure.bench_process`` takes, without ``num_runs`` and ``min_secs``; ``segments``: list of
    ``kind`` (``idle``: sleep with the model loaded; ``load``: inferences), ``secs`` and ``rate_per_s`` (None: one after
    the other, as fast as they go); ``window_s``: how much time one ``window`` event sums up.

    Emits ``window`` while there is load and ``segment`` after each segment; all times are CLOCK_MONOTONIC, which every
    process of the device shares. Returns ``runtime``, ``load_ms``, ``first_ms`` and memory in bytes.
    """
    (model,), facts = start_models(request)
    model.set_inputs(read_inputs(model.inputs, request["inputs"]))
    first_ms = time_first(model.invoke)
    try:
        if request["warmup_runs"] > 0:
            take_samples(model.interpreter.invoke, request["warmup_runs"], 0.0)
        for number, segment in enumerate(request["segments"]):
            _run(segment, {"segment": number}, model.interpreter.invoke, request["window_s"], emit)
    except (ValueError, RuntimeError) as err:
        raise runtime.ModelRefused(str(err).strip() or type(err).__name__) from err
    return dict(facts, first_ms=first_ms, peak_rss_bytes=read_rss()["peak_rss_bytes"])


def _run(
    segment: Dict[str, Any], place: Dict[str, Any], invoke: Callable[[], None], window_s: float, emit: Emit
) -> None:
    start = time.monotonic_ns()
    end = start + int(segment["secs"] * 1e9)
    count = 0
    if segment["kind"] == "load":
        count = _load(
            invoke,
            start,
            end,
            segment["rate_per_s"],
            int(window_s * 1e9),
            lambda **w: emit("window", **dict(w, **place)),
        )
    else:
        time.sleep(segment["secs"])
    emit("segment", start_ns=start, end_ns=time.monotonic_ns(), inferences=count, **place)


def _load(
    invoke: Callable[[], None],
    start: int,
    end: int,
    rate_per_s: Any,
    window_ns: int,
    emit_window: Callable[..., None],
) -> int:
    """Inferences from ``start`` to ``end`` (monotonic ns); how many there were."""
    clock = time.monotonic_ns
    period = None if rate_per_s is None else 1e9 / rate_per_s
    total, late = 0, 0
    samples = array("q")
    window_start, cpu = start, time.process_time()
    now = clock()
    while now < end:
        if period is not None:
            due = start + int(total * period)
            if due >= end:
                _sleep_until(end)
                now = clock()
                break
            late += due < now - int(period)
            _sleep_until(due)
        before = clock()
        invoke()
        now = clock()
        samples.append(now - before)
        total += 1
        if now - window_start >= window_ns:
            emit_window(**_window(samples, window_start, now, time.process_time() - cpu, late))
            samples, late = array("q"), 0
            window_start, cpu = clock(), time.process_time()
    if samples:
        emit_window(**_window(samples, window_start, now, time.process_time() - cpu, late))
    return total


def _sleep_until(due: int) -> None:
    while True:
        left = (due - time.monotonic_ns()) / 1e9
        if left <= 0:
            return
        time.sleep(left - SPIN_S if left > 2 * SPIN_S else left)


def _window(samples: "array[int]", start: int, end: int, cpu_s: float, late: int) -> Dict[str, Any]:
    ordered = sorted(samples)
    last = len(ordered) - 1
    found: Dict[str, Any] = {"p%d_ns" % percent: ordered[round(last * percent / 100)] for percent in QUANTILES}
    return dict(
        found,
        start_ns=start,
        end_ns=end,
        count=len(ordered),
        min_ns=ordered[0],
        max_ns=ordered[-1],
        mean_ns=sum(ordered) / len(ordered),
        cpu_s=cpu_s,
        late=late,
    )
