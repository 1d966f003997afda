"""``bench``: one call of the agent on the device, its answer as a report."""

from collections.abc import Sequence
from pathlib import Path

from msgspec import to_builtins
from msgspec.structs import replace

from edgekit.artifact import Artifact
from edgekit.bench.plan import BenchOptions, Configuration, configurations, payload, read_subject, request
from edgekit.bench.report import BenchmarkReport, summarize
from edgekit.bench.samples import Measurement, ProcessSamples
from edgekit.bench.turns import OnProgress, take_turns
from edgekit.target import load_target
from edgekit.target_facts import check_facts, read_reported
from edgekit.transport import Connection
from edgekit.transport.agent import prepare_agent


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
        TargetError: the device's ``target`` is no profile.
        DeviceFaultError: no runtime, a model or delegate that does not run there, an option the device refuses.
        TransportError: connection lost.
    """
    options = options or BenchOptions()
    device = connection.device
    target = load_target(device.table.target) if device.table.target else None
    asked = configurations(read_subject(model), options, device)
    measurement = measure(asked, connection, options, on_progress=on_progress)
    report = summarize(measurement, asked, options=options, device=device.name)
    wrong = check_facts(target, read_reported(to_builtins(measurement.machine))) if target else ()
    checked: BenchmarkReport = replace(report, findings=(*report.findings, *wrong))
    return checked


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
    agent = prepare_agent(connection)
    message = request(asked, options, root=agent.root, keep_going=keep_going)
    return take_turns(agent, "bench", message, payload(asked), ProcessSamples, on_progress)
