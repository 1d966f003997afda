"""``bench``: one call of the agent on the device, its answer as a report."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edgekit.artifact import Artifact
from edgekit.bench.plan import BenchOptions, Configuration, configurations, payload, read_subject, request
from edgekit.bench.report import BenchmarkReport, summarize
from edgekit.bench.samples import Measurement, collect
from edgekit.transport import Connection
from edgekit.transport.agent import call, prepare_agent
from edgekit.transport.files import answer_need

SILENCE_S = 60.0
"""The agent says something every few seconds."""

OnProgress = Callable[[int, int], None]


def bench(
    model: Artifact | Path,
    connection: Connection,
    options: BenchOptions | None = None,
    *,
    on_progress: OnProgress = lambda _done, _total: None,
) -> BenchmarkReport:
    """Measure an artifact, or a bare .tflite, on a device. Its findings say what the numbers are worth.

    ``on_progress(done, total)`` counts processes. ``require_valid`` turns an invalid report into exit code 6.

    Raises:
        ModelError, ArtifactError, IntegrityError: the model is none, or was changed after the build.
        DeviceFaultError: no runtime, a model or delegate that does not run there, an option the device refuses.
        TransportError: connection lost.
    """
    options = options or BenchOptions()
    device = connection.device
    asked = configurations(read_subject(model), options, device)
    measurement = measure(asked, connection, options, on_progress=on_progress)
    return summarize(measurement, asked, options=options, device=device.name)


def measure(
    asked: Sequence[Configuration],
    connection: Connection,
    options: BenchOptions,
    *,
    keep_going: bool = False,
    on_progress: OnProgress = lambda _done, _total: None,
) -> Measurement:
    """Measure configurations interleaved: a fresh process of each in turn, ``options.processes`` times.

    With ``keep_going`` one that does not run on the device is in ``failed`` instead of raising DeviceFaultError.
    """
    device = connection.device.name
    agent = prepare_agent(connection)
    files = payload(asked)
    events = call(
        agent,
        "bench",
        request(asked, options, root=agent.root, keep_going=keep_going),
        answer=lambda event: answer_need(event, files, device),
        timeout_s=SILENCE_S,
    )
    return collect(
        _counted(events, on_progress, options.processes * len(asked)),
        device=device,
        processes=options.processes,
        num_threads=tuple(item.num_threads for item in asked),
    )


def _counted(events: Iterator[dict[str, Any]], on_progress: OnProgress, total: int) -> Iterator[dict[str, Any]]:
    done = 0
    for event in events:
        if event["event"] == "process":
            done += 1
            on_progress(done, total)
        yield event
