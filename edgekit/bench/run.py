"""``bench``: one call of the agent on the device, its answer as a report."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgekit.artifact import Artifact
from edgekit.bench.plan import BenchOptions, choose_delegate, payload, read_subject, request
from edgekit.bench.report import BenchmarkReport, summarize
from edgekit.bench.samples import collect
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
    subject = read_subject(model)
    delegate = choose_delegate(options, device, subject)
    agent = prepare_agent(connection)
    files = payload(subject)
    events = call(
        agent,
        "bench",
        request(subject, options, delegate=delegate, root=agent.root),
        answer=lambda event: answer_need(event, files, device.name),
        timeout_s=SILENCE_S,
    )
    total = options.processes * len(options.num_threads)
    measurement = collect(
        _counted(events, on_progress, total),
        device=device.name,
        processes=options.processes,
        num_threads=options.num_threads,
    )
    return summarize(measurement, subject=subject, options=options, delegate=delegate, device=device.name)


def _counted(events: Iterator[dict[str, Any]], on_progress: OnProgress, total: int) -> Iterator[dict[str, Any]]:
    done = 0
    for event in events:
        if event["event"] == "process":
            done += 1
            on_progress(done, total)
        yield event
