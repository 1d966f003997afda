"""The whole way of a sample in fresh processes: preprocessing, inference and postprocessing, each timed apart.

Samples take turns: once with a look at the clock between the stages, once with none, so that the whole is timed as one.
Copying into the model's inputs belongs to preprocessing, copying out of its outputs to postprocessing; inference is
``invoke`` alone, as in ``bench``.
"""

import gc
import time
from array import array
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, Dict, List

from . import runtime
from .bench import take_turns
from .events import AgentError, Emit, Request, Result
from .machine import read_rss, read_state
from .measure import MAX_SAMPLES, MAX_STATES, STATE_INTERVAL_S, WARMUP_SECS
from .start import read_inputs, start_models, time_first

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .pipeline import Pipeline

    Array = NDArray[Any]

Columns = Dict[str, "array[int]"]
NAMES = ("preprocess", "inference", "postprocess", "whole")


def stages(request: Request, stdin: BinaryIO, emit: Emit) -> Result:
    """The ``stages`` command: ``bench`` with configurations that also have what ``stages_process`` takes."""
    return take_turns("stages-process", request, stdin, emit)


def stages_process(request: Request, _stdin: BinaryIO, _emit: Emit) -> Result:
    """The ``stages-process`` command.

    request: as for ``measure.bench_process``, but ``inputs`` are raw little-endian arrays as the application has them;
    ``arrays``: input name -> ``shape`` and ``dtype`` of each (empty: seeded random real values as the model takes
    them); ``manifest``: ``inputs`` (``name``, ``preprocessing``), ``labels`` and ``postprocessing``.

    Returns what ``bench_process`` does, ``samples_ns`` being those of the whole way, and ``preprocess_ns``,
    ``inference_ns`` and ``postprocess_ns``.
    """
    from .pipeline import Pipeline

    before = read_state()
    (model,), facts = start_models(request)
    pipeline = Pipeline(model, request["manifest"])
    data = _read_data(request, model)
    first_ms = time_first(lambda: _run_first(pipeline, data))
    during: List[Dict[str, Any]] = []
    warmup = array("q")
    if request["warmup_runs"] > 0:
        secs = min(WARMUP_SECS, request["min_secs"])
        warmup = _take_samples(pipeline, data, request["warmup_runs"], secs, lambda: None)["whole"]
    during.append(read_state())

    def look() -> None:
        if len(during) < MAX_STATES:
            during.append(read_state())

    samples = _take_samples(pipeline, data, request["num_runs"], request["min_secs"], look)
    during.append(read_state())
    peak = read_rss()["peak_rss_bytes"]
    return dict(
        facts,
        first_ms=first_ms,
        warmup_ns=warmup.tolist(),
        samples_ns=samples["whole"].tolist(),
        preprocess_ns=samples["preprocess"].tolist(),
        inference_ns=samples["inference"].tolist(),
        postprocess_ns=samples["postprocess"].tolist(),
        peak_rss_bytes=peak,
        before=before,
        during=during,
    )


def _read_data(request: Request, model: runtime.Model) -> "Dict[str, Array]":
    import numpy as np

    if not request["arrays"]:
        drawn = read_inputs(model.inputs, {})
        return {tensor.name: runtime.dequantize(drawn[tensor.name], tensor) for tensor in model.inputs}
    found = {}
    for name, about in request["arrays"].items():
        dtype = np.dtype(about["dtype"])
        raw = np.fromfile(request["inputs"][name], dtype.newbyteorder("<"))
        found[name] = raw.astype(dtype).reshape(about["shape"])
    return found


def _run_first(pipeline: "Pipeline", data: "Dict[str, Array]") -> None:
    """Once, where what does not fit is noticed."""
    from .outputs import DoesNotFit

    try:
        pipeline.run(data)
    except DoesNotFit as err:
        raise AgentError("device", "The postprocessing does not fit the model: %s" % err, err.hint) from err
    except ValueError as err:
        raise AgentError(
            "device",
            "The sample does not fit the model: %s." % err,
            "Give one as the application has it; where it has to be made to fit, measure an artifact, built with "
            "`resize` and `color` of [input.NAME.preprocessing], not its .tflite.",
        ) from err


def _take_samples(
    pipeline: "Pipeline", data: "Dict[str, Array]", num_runs: int, min_secs: float, between: Callable[[], None]
) -> Columns:
    """Durations in ns by stage, in order: at least ``num_runs`` of each, and at least ``min_secs`` of all together."""
    columns = {name: array("q") for name in NAMES}
    clock, invoke = time.perf_counter_ns, pipeline.model.invoke
    interval = int(max(STATE_INTERVAL_S, min_secs / MAX_STATES) * 1e9)
    gc.collect()
    gc.disable()
    end = clock()
    deadline, look_at = end + int(min_secs * 1e9), end + interval
    try:
        while end < deadline or len(columns["whole"]) < num_runs:
            times = [clock()]
            for step in (lambda: pipeline.preprocess(data), invoke, pipeline.postprocess):
                step()
                times.append(clock())
            start = clock()
            pipeline.run(data)
            end = clock()
            for name, earlier, later in zip(NAMES, times, times[1:]):
                columns[name].append(later - earlier)
            columns["whole"].append(end - start)
            if end >= look_at:
                between()
                look_at = clock() + interval
            if len(columns["whole"]) >= MAX_SAMPLES // len(NAMES):
                break
    finally:
        gc.enable()
    return columns
