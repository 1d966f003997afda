"""Several interpreters at once in fresh processes: how many inferences a second they make together.

The streams are threads of one process, as an application would have them: TFLite lets go of Python's lock (GIL) while a
model runs. Whether this runtime and delegate really do is found out before the samples are taken: for a moment Python
never takes the lock away from a thread (``sys.setswitchinterval``), so that another one gets it only where it is let go
of. ``beside`` is how many streams were in ``invoke`` at a time meanwhile: near their number where it is, also on a
single core, and 1 where it is not and they can only take turns.
"""

import gc
import sys
import threading
import time
from array import array
from typing import Any, BinaryIO, Callable, Dict, List, Optional, Tuple

from . import runtime
from .bench import take_turns
from .events import Emit, Request, Result
from .machine import read_rss, read_state
from .measure import MAX_SAMPLES, WARMUP_SECS
from .start import read_inputs, start_models, time_first

BLOCKS = 10
"""Stretches of equal length whose rates are told one by one."""
PROBE_SECS = 0.05
PROBE_RUNS = 3
NEVER_S = 1000.0
"""Switch interval in which no thread has to give up the lock."""
FEWEST = 10
"""Inferences that each stream has the time for, by the slowest of the warm-up."""
STATE_INTERVAL_S = 1.0
MAX_STATES = 100


def streams(request: Request, stdin: BinaryIO, emit: Emit) -> Result:
    """The ``streams`` command: ``bench`` with configurations that also have ``streams``, the number of interpreters."""
    return take_turns("streams-process", request, stdin, emit)


def streams_process(request: Request, _stdin: BinaryIO, _emit: Emit) -> Result:
    """The ``streams-process`` command.

    request: as for ``measure.bench_process``, but for ``num_runs``, and ``streams``. All streams warm up together,
    begin at a barrier and run for ``min_secs``, or ``FEWEST`` inferences where that is longer.

    Returns what ``bench_process`` does: ``load_ms`` of all the interpreters, ``samples_ns`` of all streams by the time
    they ended; and ``streams``, ``rates_per_s`` (inferences a second of all streams together by the wall clock in each
    of ``BLOCKS`` stretches; one that is under way at an edge counts by its share) and ``beside``.
    """
    before = read_state()
    models, facts = start_models(request, request["streams"])
    for model in models:
        model.set_inputs(read_inputs(model.inputs, request["inputs"]))
    first_ms = time_first(models[0].invoke)
    crew = Crew([model.interpreter.invoke for model in models], request["warmup_runs"], request["min_secs"])
    try:
        during = crew.run()
    except (ValueError, RuntimeError) as err:
        raise runtime.ModelRefused(str(err).strip() or type(err).__name__) from err
    peak = read_rss()["peak_rss_bytes"]
    return dict(
        facts,
        **crew.summary(),
        first_ms=first_ms,
        streams=len(models),
        peak_rss_bytes=peak,
        before=before,
        during=during,
    )


class _Stream:
    """One interpreter's inferences: durations and ends in ns of the performance counter."""

    def __init__(self, invoke: Callable[[], object]) -> None:
        self.invoke = invoke
        self.warmup = array("q")
        self.probed: List[Tuple[int, int]] = []
        self.durations = array("q")
        self.ends = array("q")


class Crew:
    """Threads that run ``invokes`` beside each other."""

    def __init__(self, invokes: List[Callable[[], object]], warmup_runs: int, min_secs: float) -> None:
        self._streams = [_Stream(invoke) for invoke in invokes]
        self._warmup_runs = warmup_runs
        self._min_secs = min_secs
        self._limit = MAX_SAMPLES // len(invokes)
        self._together = threading.Barrier(len(invokes))
        self._probing = threading.Barrier(len(invokes), action=lambda: sys.setswitchinterval(NEVER_S))
        self._interval = sys.getswitchinterval()
        self._begin = threading.Barrier(len(invokes) + 1, action=self._set_times)
        self._start = self._end = 0
        self._error: Optional[Exception] = None

    def run(self) -> List[Dict[str, Any]]:
        """All of it; the machine's states meanwhile. Raises what an ``invoke`` raised."""
        threads = [threading.Thread(target=self._guarded, args=(item,), daemon=True) for item in self._streams]
        gc.collect()
        gc.disable()
        try:
            for thread in threads:
                thread.start()
            states = self._watch(threads)
        finally:
            sys.setswitchinterval(self._interval)
            gc.enable()
        if self._error is not None:
            raise self._error
        states.append(read_state())
        return states

    def _watch(self, threads: List[threading.Thread]) -> List[Dict[str, Any]]:
        states = []
        try:
            self._begin.wait()
            states.append(read_state())
        except threading.BrokenBarrierError:
            pass  # a stream failed, and says why
        interval = max(STATE_INTERVAL_S, self._min_secs / MAX_STATES)
        for thread in threads:
            while thread.is_alive():
                thread.join(interval)
                if thread.is_alive() and len(states) < MAX_STATES:
                    states.append(read_state())
        return states

    def _set_times(self) -> None:
        sys.setswitchinterval(self._interval)
        slowest = max(max(stream.warmup) for stream in self._streams)
        self._start = time.perf_counter_ns()
        self._end = self._start + max(int(self._min_secs * 1e9), FEWEST * slowest)

    def _guarded(self, stream: _Stream) -> None:
        try:
            self._together.wait()
            self._warm_up(stream)
            self._probe(stream)
            self._begin.wait()
            self._take_samples(stream)
        except threading.BrokenBarrierError:
            pass  # another one failed
        except Exception as err:  # noqa: BLE001 - handed over to the thread that waits
            self._error = err
            for barrier in (self._together, self._probing, self._begin):
                barrier.abort()

    def _warm_up(self, stream: _Stream) -> None:
        clock = time.perf_counter_ns
        deadline = clock() + int(min(WARMUP_SECS, self._min_secs) * 1e9)
        end = 0
        while not stream.warmup or len(stream.warmup) < self._warmup_runs or (end < deadline and self._warmup_runs):
            start = clock()
            stream.invoke()
            end = clock()
            stream.warmup.append(end - start)
            if len(stream.warmup) >= self._limit:
                return

    def _probe(self, stream: _Stream) -> None:
        if len(self._streams) == 1:
            return
        self._probing.wait()
        clock, found = time.perf_counter_ns, stream.probed
        first = end = clock()
        while len(found) < PROBE_RUNS or end - first < PROBE_SECS * 1e9:
            start = clock()
            stream.invoke()
            end = clock()
            found.append((start, end))

    def _take_samples(self, stream: _Stream) -> None:
        clock, invoke = time.perf_counter_ns, stream.invoke
        durations, ends = stream.durations.append, stream.ends.append
        end = 0
        while end < self._end:
            start = clock()
            invoke()
            end = clock()
            durations(end - start)
            ends(end)
            if len(stream.ends) >= self._limit:
                self._end = min(self._end, end)  # for all: what is counted ends where the first one stops

    def summary(self) -> Dict[str, Any]:
        """Samples and rates, as ``streams_process`` returns them."""
        import numpy as np

        edges = np.linspace(self._start, self._end, BLOCKS + 1)
        done = sum(_progress(stream, edges) for stream in self._streams)
        secs = (self._end - self._start) / BLOCKS / 1e9
        durations = np.concatenate([np.frombuffer(stream.durations, np.int64) for stream in self._streams])
        ends = np.concatenate([np.frombuffer(stream.ends, np.int64) for stream in self._streams])
        return {
            "warmup_ns": [sample for stream in self._streams for sample in stream.warmup],
            "samples_ns": durations[np.argsort(ends, kind="stable")].tolist(),
            "rates_per_s": (np.diff(done) / secs).tolist(),
            "beside": _beside([span for stream in self._streams for span in stream.probed]),
        }


def _beside(spans: List[Tuple[int, int]]) -> float:
    """How many of ``spans`` (start, end) are under way at a time, on average over the time in which any is."""
    covered = total = last = 0
    for start, end in sorted(spans):
        covered += max(0, end - max(start, last))
        last = max(last, end)
        total += end - start
    return total / covered if covered else 1.0


def _progress(stream: _Stream, edges: Any) -> Any:
    """Inferences of a stream that are done at each of ``edges``, the one under way by its share."""
    import numpy as np

    ends, durations = np.frombuffer(stream.ends, np.int64), np.frombuffer(stream.durations, np.int64)
    done = np.searchsorted(ends, edges, side="right")
    under_way = np.minimum(done, len(ends) - 1)
    share = (edges - (ends[under_way] - durations[under_way])) / np.maximum(durations[under_way], 1)
    return done + np.where(done < len(ends), np.clip(share, 0, 1), 0)
