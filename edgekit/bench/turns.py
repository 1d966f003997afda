"""One call of an agent's command that measures in fresh processes, which take turns: its answer as a Measurement."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgekit.bench.findings import find
from edgekit.bench.samples import Measurement, ProcessSamples, collect
from edgekit.entries import FindingEntry
from edgekit.transport.agent import RemoteAgent, call
from edgekit.transport.files import answer_need

SILENCE_S = 60.0
"""The agent says something every few seconds."""

OF_MEDIANS = {"noise", "few-runs", "one-process"}
"""Findings about the medians of one configuration, which would not say of which; the intervals tell it themselves."""

OnProgress = Callable[[int, int], None]
"""``on_progress(done, total)`` counts processes."""


def take_turns(
    agent: RemoteAgent,
    command: str,
    request: Mapping[str, Any],
    files: Mapping[str, Path],
    of_process: type[ProcessSamples],
    on_progress: OnProgress,
) -> Measurement:
    """Run ``request`` (``bench.plan.request`` and what else ``command`` takes); ``files``: sha256 -> path here.

    Raises:
        DeviceFaultError: what the agent refuses, or an answer that does not fit.
        TransportError: connection lost.
    """
    device = agent.connection.device.name
    asked, processes = request["configurations"], request["processes"]
    events = call(agent, command, request, answer=lambda event: answer_need(event, files, device), timeout_s=SILENCE_S)
    return collect(
        _counted(events, on_progress, processes * len(asked)),
        device=device,
        processes=processes,
        num_threads=tuple(item["num_threads"] for item in asked),
        of_process=of_process,
    )


def machine_findings(measurement: Measurement) -> tuple[FindingEntry, ...]:
    """What the machine did meanwhile."""
    return tuple(finding for finding in find(measurement) if finding.name not in OF_MEDIANS)


def _counted(events: Iterator[dict[str, Any]], on_progress: OnProgress, total: int) -> Iterator[dict[str, Any]]:
    done = 0
    for event in events:
        if event["event"] == "process":
            done += 1
            on_progress(done, total)
        yield event
