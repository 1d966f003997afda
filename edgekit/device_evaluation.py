"""Accuracy of a finished file: on this machine, on a device's own runtime and delegate, and against its source.

Everything is measured in one pass over the same samples, so every comparison is paired.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.agent.runtime import XNNPACK, Model, ModelRefused, dequantize, quantize
from edgekit.artifact import Artifact, of_reference
from edgekit.device import choose_delegate
from edgekit.device_inference import Ready, infer
from edgekit.differences import Differences, OutputDifference
from edgekit.digests import sha256_file
from edgekit.errors import ModelError, ProjectError, foreign_errors
from edgekit.evaluate import Evaluation, Measurement, check_budget, compare, runner, unproven_budget
from edgekit.held_out import Data, calibrated_on, declared_ranges, open_held_out
from edgekit.metrics.protocol import Metric
from edgekit.samples import stop_at_errors
from edgekit.transport import Connection
from edgekit_converters.types import Finding

if TYPE_CHECKING:
    import numpy as np

    from edgekit.metrics.comparison import Scores
    from edgekit_converters.calibration import Dataset, Sample

    Array = np.ndarray[Any, Any]
    Arrays = Mapping[str, Array]


@dataclass(frozen=True, kw_only=True)
class OnDevice:
    """The same samples on a device."""

    device: str
    runtime: str
    version: str
    delegate: str
    against_host: Evaluation
    """``source``: this machine; ``model``: the device."""
    against_source: Evaluation | None
    """None where no source was given."""
    differing: int
    """Samples of which any element of any output differs between device and this machine."""
    outputs: tuple[OutputDifference, ...]


@dataclass(frozen=True, kw_only=True)
class FileEvaluation:
    """What one file makes of held-out samples."""

    model: Path
    sha256: str
    metric: str
    value: float
    """The metric on this machine."""
    samples: int
    data_sha256: str
    """Over the samples as the model saw them, in order."""
    against_source: Evaluation | None
    """None where no source was given."""
    on_device: OnDevice | None
    findings: tuple[Finding, ...]

    @property
    def judged(self) -> Evaluation | None:
        """What a budget is about: the device against the source, as far as they are there."""
        if self.on_device is None:
            return self.against_source
        return self.on_device.against_source or self.on_device.against_host


def evaluate_file(
    model: Artifact | Path,
    data: Data,
    *,
    source: bytes | None = None,
    connection: Connection | None = None,
    delegate: str | None = None,
    on_sample: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> FileEvaluation:
    """Run an artifact, or a bare .tflite, over held-out samples; with the preprocessing that the artifact keeps.

    Of a compiled artifact the reference runs here, and the compiled file on the device.
    ``source``: a float .tflite it is held against. ``connection``: where it also runs, on ``delegate`` (default: the
    device's, else the artifact's). ``on_sample(done, total)``; total is None where only reading tells.

    Raises:
        ProjectError: the artifact is a stream.
        ModelError: a model that does not load or run here, or gives NaN.
        DataError: samples that do not fit the model or the metric.
        DeviceFaultError, TransportError: the device cannot run it; connection lost.
    """
    from edgekit_converters.checks import Checks

    _refuse_stream(model)
    path, there = (model.reference, model.model) if isinstance(model, Artifact) else (model, model)
    here = _load(path)
    with foreign_errors():
        dataset = open_held_out(data, model, here)
        seen = Checks(dataset.inputs, declared=declared_ranges(model), role="evaluation")
        device = None if connection is None else _Device(connection, there, here, _choose(model, connection, delegate))
        sides = _Sides(here, data.metric, source, device)
        for count, (sample, arrays, found) in enumerate(_answered(dataset, here, device), start=1):
            seen.see(sample)
            sides.see(sample, arrays, found)
            on_sample(count, dataset.count)
    compiled = of_reference(model) if isinstance(model, Artifact) and connection is None else ()
    findings = (*seen.findings(), *calibrated_on(model, seen.sha256()), *compiled)
    stop_at_errors(findings)
    return sides.result(path, seen.sha256(), findings)


def _choose(model: Artifact | Path, connection: Connection, asked: str | None) -> tuple[str, dict[str, str]]:
    """The delegate on the device, and its options."""
    made_for = model.manifest if isinstance(model, Artifact) else None
    return choose_delegate(
        connection.device.table,
        own=XNNPACK if made_for is None else made_for.delegate,
        own_options={} if made_for is None else made_for.delegate_options,
        asked=asked,
    )


def _refuse_stream(model: Artifact | Path) -> None:
    if isinstance(model, Artifact) and model.manifest.stream is not None:
        raise ProjectError(
            f"{model.path} is a stream: its samples are sequences, and `edgekit evaluate` takes single ones.",
            hint="`edgekit build --evaluate DATA` measures it as a stream; the golden vectors of `edgekit deploy` hold "
            "real states and prove the device.",
        )


def judge(found: FileEvaluation, max_drop: str) -> tuple[Finding, ...]:
    """Hold a file to its budget; a finding where the samples leave room.

    Raises:
        AccuracyError: it loses more (exit code 3).
        ProjectError: there is nothing to hold it against.
    """
    if found.judged is None:
        raise ProjectError(
            f"A budget of {max_drop} was asked for, and there is nothing to hold the file against.",
            hint="Give --source MODEL (its float source), or --device NAME to hold the device against this machine.",
        )
    check_budget(found.judged, max_drop)
    return unproven_budget(found.judged, max_drop)


class _Device:
    """The device's side: its answers, sample by sample, and how they differ from ours."""

    def __init__(self, connection: Connection, path: Path, here: Model, delegate: tuple[str, dict[str, str]]) -> None:
        self._connection = connection
        self._path = path
        self._delegate, self._options = delegate
        self._ready: Ready | None = None
        self.differences = Differences(here.outputs)

    def answers(self, inputs: "Iterable[Arrays]") -> "Iterator[dict[str, Array]]":
        def ready(facts: Ready) -> None:
            self._ready = facts

        return infer(
            self._connection,
            self._path,
            inputs,
            delegate=self._delegate,
            delegate_options=self._options,
            on_ready=ready,
        )

    def result(self, against_host: Evaluation, against_source: Evaluation | None) -> OnDevice:
        assert self._ready is not None  # noqa: S101 - it has answered
        return OnDevice(
            device=self._connection.device.name,
            runtime=self._ready.runtime.name,
            version=self._ready.runtime.version,
            delegate=self._delegate,
            against_host=against_host,
            against_source=against_source,
            differing=self.differences.samples,
            outputs=self.differences.outputs(),
        )


class _Sides:
    """What this machine, the source and the device make of the same samples."""

    def __init__(self, here: Model, metric: Metric, source: bytes | None, device: _Device | None) -> None:
        self._here = here
        self._metric = metric
        self._run_source = None if source is None else runner(source)
        self._device = device
        self._host, self._source, self._on_device = (Measurement(metric) for _ in range(3))

    def see(self, sample: "Sample", arrays: "Arrays", found: "Arrays | None") -> None:
        """``arrays``: the sample as the file takes it; ``found``: what the device computed from it."""
        expected = _invoke(self._here, arrays)
        self._host.see(sample, self._real(expected))
        if self._run_source is not None:
            self._source.see(sample, self._run_source(sample.inputs))
        if self._device is not None and found is not None:
            self._device.differences.see(expected, found)
            self._on_device.see(sample, self._real(found))

    def result(self, path: Path, data_sha256: str, findings: tuple[Finding, ...]) -> FileEvaluation:
        host = self._host.scores()
        source = None if self._run_source is None else self._source.scores()
        on_device = None
        if self._device is not None:
            scores = self._on_device.scores()
            on_device = self._device.result(compare(host, scores), None if source is None else compare(source, scores))
        return FileEvaluation(
            model=path,
            sha256=sha256_file(path),
            metric=self._metric.name,
            value=_value(host),
            samples=len(host.records),
            data_sha256=data_sha256,
            against_source=None if source is None else compare(source, host),
            on_device=on_device,
            findings=findings,
        )

    def _real(self, outputs: "Arrays") -> "dict[str, Array]":
        return {tensor.name: dequantize(outputs[tensor.name], tensor) for tensor in self._here.outputs}


def _answered(
    dataset: "Dataset", here: Model, device: _Device | None
) -> "Iterator[tuple[Sample, Arrays, Arrays | None]]":
    """Every sample, what the file takes of it, and what the device made of that."""
    prepared = ((sample, _quantized(here, sample)) for sample in dataset.samples())
    if device is None:
        for sample, arrays in prepared:
            yield sample, arrays, None
        return
    waiting: deque[tuple[Sample, Arrays]] = deque()

    def inputs() -> "Iterator[Arrays]":
        for sample, arrays in prepared:
            waiting.append((sample, arrays))
            yield arrays

    for outputs in device.answers(inputs()):
        yield *waiting.popleft(), outputs


def _quantized(here: Model, sample: "Sample") -> "Arrays":
    return {tensor.name: quantize(sample.inputs[tensor.name], tensor) for tensor in here.inputs}


def _invoke(here: Model, arrays: "Arrays") -> "dict[str, Array]":
    try:
        here.reset()
        return here.run(arrays)
    except ModelRefused as err:
        raise _refused(err) from err


def _load(path: Path) -> Model:
    try:
        return Model(path)
    except ModelRefused as err:
        raise _refused(err) from err


def _refused(err: ModelRefused) -> ModelError:
    return ModelError(
        f"The model does not run here: {str(err).rstrip('.')}.", hint="`edgekit inspect` shows what is in it."
    )


def _value(scores: "Scores") -> float:
    import numpy as np

    return float(scores.metric.statistic(scores.records).values(np.ones((1, len(scores.records))))[0])
