"""Accuracy of the finished file against its source, on the same held-out samples.

In two steps, so that many candidates can be held against one source: ``measure`` runs a model over the samples and
keeps a small record of each, ``compare`` holds two such measurements together. A model is any callable from real-valued
inputs to real-valued outputs: an interpreter here (``runner``), a device, a stream.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from edgekit.errors import DataError, ModelError
from edgekit.metrics import metric_of
from edgekit.metrics.budget import allowed_drop, check_budget, check_unit, describe_drop, unproven_budget
from edgekit.metrics.comparison import Evaluation, Scores, compare
from edgekit.metrics.heads import OutputLog
from edgekit.metrics.protocol import EvaluationSample, Metric

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]

__all__ = [
    "Evaluation",
    "Measurement",
    "Scores",
    "allowed_drop",
    "check_budget",
    "check_unit",
    "compare",
    "describe_drop",
    "evaluate",
    "measure",
    "runner",
    "unproven_budget",
]


class Measurement:
    """Collects what one model makes of sample after sample."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._records: list[Any] = []
        self._digests: list[bytes] = []
        self._places: list[str] = []
        self._log = OutputLog()

    def see(self, sample: EvaluationSample, outputs: "Mapping[str, Array]") -> None:
        """Keep what the metric needs; ``outputs`` with the batch, of which the first row counts.

        Raises DataError when sample or outputs do not suit the metric, ModelError for NaN.
        """
        single = _without_batch(sample, outputs)
        self._records.append(self._metric.record(sample, single))
        self._digests.append(sample.digest)
        self._places.append(sample.where)
        self._log.see(single)

    def scores(self) -> Scores:
        """All of it; raises DataError without a sample."""
        if not self._records:
            raise DataError("The evaluation data holds no sample.", hint="Give a file or folder with labelled samples.")
        return Scores(
            metric=self._metric,
            records=tuple(self._records),
            digests=tuple(self._digests),
            places=tuple(self._places),
            outputs=self._log.kept(),
        )


def measure(
    run: "Run",
    samples: Iterable[EvaluationSample],
    metric: Metric,
    on_sample: Callable[[], None] = lambda: None,
) -> Scores:
    """Run one model over the samples, one at a time.

    ``run``: real values by input name -> real values (float32) by output name, both with the batch. Raises DataError
    when samples or outputs do not suit the metric, ModelError for outputs with NaN, and what ``run`` raises.
    """
    measurement = Measurement(metric)
    for sample in samples:
        measurement.see(sample, run(sample.inputs))
        on_sample()
    return measurement.scores()


def runner(tflite: bytes, *, num_threads: int = 1) -> "Run":
    """A .tflite on this machine, as ``measure`` takes it; raises ModelError when it does not load or run."""
    from edgekit.agent.runtime import Model, ModelRefused, dequantize, quantize

    def refused(err: ModelRefused) -> ModelError:
        return ModelError(
            f"The model does not run here: {str(err).rstrip('.')}.", hint="`edgekit inspect` shows what is in it."
        )

    try:
        model = Model(tflite, num_threads=num_threads)
    except ModelRefused as err:
        raise refused(err) from err

    def run(inputs: "Mapping[str, Array]") -> "Mapping[str, Array]":
        arrays = {tensor.name: quantize(inputs[tensor.name], tensor) for tensor in model.inputs}
        try:
            model.reset()  # samples are independent of each other
            outputs = model.run(arrays)
        except ModelRefused as err:
            raise refused(err) from err
        return {tensor.name: dequantize(outputs[tensor.name], tensor) for tensor in model.outputs}

    return run


def evaluate(
    float_model: bytes,
    model: bytes,
    samples: Iterable[EvaluationSample],
    metric: Metric | None = None,
    *,
    make_run: "Callable[[bytes], Run]" = runner,
    on_sample: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Measure two .tflite files in one pass over the samples and compare them; ``metric`` is top1 by default.

    ``make_run`` makes a .tflite what ``measure`` takes, such as ``stream_runner`` for a stream.

    Raises:
        DataError: no sample, or samples or outputs that do not suit the metric.
        ModelError: a model that does not run or gives NaN.
    """
    metric = metric or metric_of("top1")
    runs = make_run(float_model), make_run(model)
    measurements = Measurement(metric), Measurement(metric)
    for sample in samples:
        for run, measurement in zip(runs, measurements, strict=True):
            measurement.see(sample, run(sample.inputs))
        on_sample()
    source, candidate = (measurement.scores() for measurement in measurements)
    return compare(source, candidate)


def _without_batch(sample: EvaluationSample, outputs: "Mapping[str, Array]") -> "dict[str, Array]":
    """The sample stands in every row of the batch: the first row of each output that has the batch."""
    import numpy as np

    batch = next(iter(sample.inputs.values())).shape[:1]
    for name, values in outputs.items():
        if np.isnan(values).any():
            raise ModelError(
                f"Output {name!r} holds NaN for {sample.where}.",
                hint="Look for a division by zero or an overflow in the model; float16 overflows beyond 65504.",
            )
    return {name: values[0] if values.shape[:1] == batch else values for name, values in outputs.items()}
