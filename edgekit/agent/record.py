"""``record``: a model runs by a schedule in fresh processes; meanwhile gauges and the machine's state are read."""

import time
from typing import Any, BinaryIO, Callable, Dict, List, Optional, Tuple

from .bench import governor
from .cache import fetch
from .child import Child
from .cooldown import cool_down_as_asked
from .events import Emit, Request, Result
from .gauges import Gauge, describe_gauge, find_gauges
from .machine import describe, read_state

FLUSH_S = 1.0
"""Readings are sent this often, so that a run that is cut short has been seen to its end."""
TICK_S = 0.02
"""How often it is looked whether a gauge is due."""


def record(request: Request, stdin: BinaryIO, emit: Emit) -> Result:
    """The ``record`` command; the host keeps stdin open, and its end stops the run.

    request: ``root``; ``files`` (see ``cache.fetch``); ``configuration``: ``model`` (sha256), ``inputs`` (input name ->
    sha256), ``delegate``, ``num_threads``; ``processes``; ``governor`` (or None); ``cooldown`` (see
    ``cooldown.cool_down_as_asked``); ``states_s``: seconds between two looks at the
    machine's state; and what else ``schedule.record_process`` takes.

    Emits ``machine``, ``gauges`` and ``cooling``, then ``started``, ``window``, ``segment``, ``readings``, ``state``
    and ``process`` as they come. Returns the machine's state ``before`` and ``after`` it all.
    """
    paths = fetch(request["root"], request["files"], stdin, emit)
    emit("machine", **describe())
    gauges, blocked = find_gauges()
    emit("gauges", gauges=[describe_gauge(gauge) for gauge in gauges], blocked=blocked)
    asked = request["configuration"]
    inputs = {name: paths[digest] for name, digest in asked["inputs"].items()}
    options = {key: request[key] for key in ("cpus", "warmup_runs", "segments", "window_s")}
    options = dict(options, **dict(asked, model=paths[asked["model"]], inputs=inputs))
    cool_down_as_asked(request["cooldown"], stdin, emit)
    before = read_state(slow=True)
    with governor(request["governor"]):
        recorder = Recorder(gauges, request["states_s"], emit, read=read_state)
        for number in range(request["processes"]):
            emit("started", process=number)
            child = Child("record-process", options)
            try:
                done = child.relay(_numbered(emit, number), recorder.look, stdin=stdin, every_s=TICK_S)
            finally:
                child.kill()
            recorder.flush()
            emit("process", process=number, **done)
        after = read_state(slow=True)
    return {"before": before, "after": after}


def _numbered(emit: Emit, process: int) -> Emit:
    return lambda event, **fields: emit(event, process=process, **fields)


class Recorder:
    """Reads each gauge whenever it is due, and the machine's state every ``states_s``."""

    def __init__(
        self,
        gauges: List[Gauge],
        states_s: float,
        emit: Emit,
        clock: Callable[[], int] = time.monotonic_ns,
        read: Callable[[], Dict[str, Any]] = read_state,
    ) -> None:
        now = clock()
        self._gauges = gauges
        self._states_ns = int(states_s * 1e9)
        self._emit = emit
        self._clock = clock
        self._read = read
        self._due = [now] * len(gauges)
        self._state_due = now
        self._flush_due = now + int(FLUSH_S * 1e9)
        self._readings: Dict[int, List[Tuple[int, Optional[Dict[str, float]]]]] = {}

    def look(self) -> None:
        """Read what is due."""
        for number, gauge in enumerate(self._gauges):
            start = self._clock()
            if start < self._due[number]:
                continue
            values = gauge.read()
            end = self._clock()
            # what a reading tells is of some moment between the two
            self._readings.setdefault(number, []).append(((start + end) // 2, values))
            self._due[number] = max(self._due[number] + int(gauge.interval_s * 1e9), end)
        now = self._clock()
        if now >= self._state_due:
            self._emit("state", **self._read())
            self._state_due = max(self._state_due + self._states_ns, now)
        if now >= self._flush_due:
            self.flush()

    def flush(self) -> None:
        """Send what was read."""
        self._flush_due = self._clock() + int(FLUSH_S * 1e9)
        for number, readings in self._readings.items():
            self._emit("readings", gauge=number, **_columns(readings, list(self._gauges[number].channels)))
        self._readings = {}


def _columns(readings: List[Tuple[int, Optional[Dict[str, float]]]], channels: List[str]) -> Dict[str, Any]:
    """Times, and for each channel its values, None where the gauge did not answer."""
    values = {name: [None if row is None else row.get(name) for _, row in readings] for name in channels}
    return {"monotonic_ns": [moment for moment, _ in readings], "values": values}
