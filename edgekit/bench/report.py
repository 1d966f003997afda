"""A measurement -> a report: the numbers, their interval, and what they are worth."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from edgekit.bench.coverage import CoverageReport
from edgekit.bench.findings import find
from edgekit.bench.heat.sustained import SustainedReport
from edgekit.bench.latency import Result, group_processes, summarize_processes
from edgekit.bench.plan import BenchOptions, Configuration
from edgekit.bench.power.battery import BatteryReport
from edgekit.bench.power.energy import EnergyReport
from edgekit.bench.profile import ProfileReport
from edgekit.bench.recording import Recording
from edgekit.bench.samples import MachineFacts, MachineState, Measurement, RuntimeFacts
from edgekit.bench.stages import StagesReport
from edgekit.bench.throughput import ThroughputReport
from edgekit.documents import Document
from edgekit.entries import FindingEntry, Sha256
from edgekit.errors import MeasurementInvalidError

RecordingName = Literal["energy", "sustained"]


class BenchmarkReport(Document, frozen=True, kw_only=True):
    """One run of ``edgekit bench``."""

    device: str
    machine: MachineFacts
    runtime: RuntimeFacts
    model: str
    model_sha256: Sha256
    artifact_digest: Sha256 | None
    """None for a bare .tflite."""
    delegate: str
    options: BenchOptions
    results: tuple[Result, ...]
    """One for each thread count, in the order asked for."""
    findings: tuple[FindingEntry, ...]
    """Severity ``error``: the numbers mean nothing."""
    before: MachineState
    after: MachineState
    energy: EnergyReport | None = None
    """None, as for those below: it was not asked for."""
    battery: BatteryReport | None = None
    sustained: SustainedReport | None = None
    stages: StagesReport | None = None
    throughput: ThroughputReport | None = None
    profile: ProfileReport | None = None
    coverage: CoverageReport | None = None
    """None also where the runtime, the delegate or the model has none: a finding says which."""
    recordings: dict[RecordingName, Recording] = msgspec.field(default_factory=dict)
    """What the energy run and the sustained run (a battery is measured in it) were read from: the traces of every
    gauge, stretches of idle and load, windows of latency, the machine's states. Empty where neither was asked for."""

    @property
    def valid(self) -> bool:
        """No clock moved and nothing throttled while samples were taken."""
        return not any(finding.severity == "error" for finding in self.findings)


def summarize(
    measurement: Measurement, asked: Sequence[Configuration], *, options: BenchOptions, device: str
) -> BenchmarkReport:
    """Estimate and interval of every thread count of one model, and the findings. Pure."""
    subject, delegate = asked[0].subject, asked[0].delegate
    return BenchmarkReport(
        device=device,
        machine=measurement.machine,
        runtime=measurement.processes[0].runtime,
        model=subject.name,
        model_sha256=subject.entry.sha256,
        artifact_digest=subject.artifact_digest,
        delegate=delegate,
        options=options,
        results=tuple(summarize_processes(group) for group in group_processes(measurement, len(asked))),
        findings=find(measurement),
        before=measurement.before,
        after=measurement.after,
    )


def require_valid(report: BenchmarkReport, *, details: dict[str, object] | None = None) -> None:
    """Raise MeasurementInvalidError (exit code 6) when a finding says that the numbers mean nothing."""
    errors = [finding for finding in report.findings if finding.severity == "error"]
    if errors:
        raise MeasurementInvalidError(
            "The measurement is invalid: " + " ".join(finding.message for finding in errors),
            hint=f"{errors[0].fix} --allow-invalid accepts the numbers as they are.",
            details=details,
        )
