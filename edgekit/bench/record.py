"""``record``: a model by a schedule on a device, with its gauges; what energy, battery and heat are read from."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from edgekit.bench.plan import BenchOptions, Configuration, payload, request
from edgekit.bench.recording import Recording, Segment, collect_recording
from edgekit.transport import Connection
from edgekit.transport.agent import call, prepare_agent
from edgekit.transport.files import answer_need

SILENCE_S = 60.0
STATES_S = 1.0
WINDOW_S = 1.0

OnSecond = Callable[[float, float], None]
"""``on_second(done_s, total_s)``."""


def record(
    configuration: Configuration,
    connection: Connection,
    schedule: Sequence[Segment],
    options: BenchOptions,
    *,
    processes: int = 1,
    on_second: OnSecond = lambda _done, _total: None,
) -> Recording:
    """Run ``schedule`` in each of ``processes`` fresh processes, one after the other.

    Of ``options``, ``warmup_runs``, ``cpus`` and ``governor`` count.

    Raises:
        DeviceFaultError: no runtime, a model or delegate that does not run there, an option the device refuses.
        TransportError: connection lost.
    """
    device = connection.device.name
    agent = prepare_agent(connection)
    files = payload([configuration])
    events = call(
        agent,
        "record",
        _request(configuration, schedule, options, root=agent.root, processes=processes),
        answer=lambda event: answer_need(event, files, device),
        timeout_s=SILENCE_S,
    )
    lengths = processes * [segment.secs for segment in schedule]
    return collect_recording(
        _counted(events, on_second, lengths), device=device, schedule=tuple(schedule), processes=processes
    )


def _request(
    configuration: Configuration,
    schedule: Sequence[Segment],
    options: BenchOptions,
    *,
    root: str,
    processes: int,
) -> dict[str, Any]:
    common = request([configuration], options, root=root)
    return {
        **{key: common[key] for key in ("root", "files", "warmup_runs", "cpus", "governor", "cooldown")},
        "configuration": common["configurations"][0],
        "processes": processes,
        "segments": [{"kind": item.kind, "secs": item.secs, "rate_per_s": item.rate_per_s} for item in schedule],
        "window_s": WINDOW_S,
        "states_s": STATES_S,
    }


def _counted(
    events: Iterator[dict[str, Any]], on_second: OnSecond, lengths: Sequence[float]
) -> Iterator[dict[str, Any]]:
    """Count seconds of the segments that ended, and within one by the looks at the machine's state.

    lengths: seconds of all segments of all processes, in order. Events are only counted: they are checked later.
    """
    ended, within, left = 0.0, 0.0, list(lengths)
    for event in events:
        if event["event"] == "segment" and left:
            ended, within = ended + left.pop(0), 0.0
        elif event["event"] == "state" and left:
            within = min(left[0], within + STATES_S)
        on_second(ended + within, sum(lengths))
        yield event
