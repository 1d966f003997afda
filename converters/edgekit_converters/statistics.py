"""What the activations of a float model did over the calibration samples: the food of every range estimator.

ai-edge-quantizer's own calibration averages ranges over samples (0.95 of the old, 0.05 of the new) and holds every
sample in memory; here one pass gives the true minimum and maximum, a second one (only where an estimator needs it)
histograms of a fixed size. Memory does not grow with the samples.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgekit_converters.runtime import float_model_refused, open_interpreter, signature_of

BINS = 2048
"""As TensorRT's calibrator and PyTorch's HistogramObserver: 8 bins for each step of int8."""
MOMENTUM = 0.95
"""What the moving average keeps at each sample: ai-edge-quantizer's figure. PyTorch's 0.99 is for batches of training;
over 100 samples it would leave a third of the weight on the first."""

HUGE = 3e38
"""Beyond it (bfloat16's largest number, infinity, NaN) a value is a mask or a padding, as for ai-edge-quantizer."""

Samples = Callable[[], Iterable[Mapping[str, Any]]]
"""Starts a pass: one array per input name, each of the input's own shape and dtype. The same samples every time."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of a tensor's elements over all samples, without those that are exactly 0 (which int8 keeps exactly)."""

    low: float
    """Left edge of the first bin."""
    high: float
    """Right edge of the last bin."""
    counts: Any
    """(BINS,) int64, bins of one width between ``low`` and ``high``."""
    zeros: int
    """Elements that are exactly 0: most of what a ReLU gives."""


@dataclass(frozen=True, kw_only=True)
class TensorStatistics:
    """One activation over all samples; real values."""

    low: float
    high: float
    moving_low: float
    """Moving average of each sample's minimum, in the order of the samples."""
    moving_high: float
    histogram: Histogram | None = None
    """None where none was collected."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Every activation that quantization has to know."""

    samples: int
    tensors: dict[str, TensorStatistics]
    """Tensor name -> its statistics, for the inputs and every float output of an op."""
    half: "Statistics | None"
    """The same over every second sample (the first, the third, ...): what half the data would have said, whatever its
    order. None below 2 samples."""


def collect_statistics(
    float_model: bytes,
    samples: Samples,
    *,
    histograms: bool,
    on_sample: Callable[[int], None] | None = None,
    on_outputs: Callable[[dict[str, Any]], None] | None = None,
    num_threads: int = 1,
) -> Statistics:
    """One pass over ``samples()``, and with ``histograms`` a second one.

    ``on_sample`` is told the number done (it starts again in the second pass), ``on_outputs`` a copy of each output by
    name (in the first). No tensors for no samples. Raises ConversionError if the runtime refuses the model.
    """
    observer = _Observer(float_model, num_threads)
    spans = _Spans(len(observer.names)), _Spans(len(observer.names))
    done = 0
    for done, sample in enumerate(samples(), start=1):
        observer.run(sample)
        found = [_span(view()) for view in observer.views]
        spans[0].see(found)
        if done % 2:
            spans[1].see(found)
        if on_outputs is not None:
            on_outputs(observer.outputs())
        if on_sample is not None:
            on_sample(done)
    if not done:
        return Statistics(samples=0, tensors={}, half=None)
    counts = _count(observer, samples, spans[0], on_sample) if histograms else None
    every_second = (done + 1) // 2
    half = None if done == 1 else _statistics(observer.names, every_second, spans[1], counts and counts[1], None)
    return _statistics(observer.names, done, spans[0], counts and counts[0] + counts[1], half)


class _Observer:
    """The float model with a look at every tensor that changes from sample to sample."""

    def __init__(self, float_model: bytes, num_threads: int) -> None:
        self._interpreter = open_interpreter(
            float_model, float_model_refused, num_threads=num_threads, keep_tensors=True
        )
        self._inputs, self._outputs = _signature_views(self._interpreter)
        watched = _watched_tensors(self._interpreter)
        self.names = tuple(watched)
        # A fresh view per call: XNNPACK may move its buffers at the first invoke. And no array of a view outlives its
        # expression: the runtime refuses to run while one is held.
        self.views = [self._interpreter.tensor(index) for index in watched.values()]

    def run(self, sample: Mapping[str, Any]) -> None:
        for name, view in self._inputs.items():
            view()[...] = sample[name]
        try:
            self._interpreter.reset_all_variables()  # samples are independent of each other
            self._interpreter.invoke()
        except RuntimeError as err:  # a damaged file: a tensor that nobody gives
            raise float_model_refused(str(err)) from err

    def outputs(self) -> dict[str, Any]:
        return {name: view().copy() for name, view in self._outputs.items()}


class _Spans:
    """Minimum, maximum and their moving averages of ``size`` tensors, sample by sample."""

    def __init__(self, size: int) -> None:
        import numpy as np

        self.low, self.high = np.full(size, np.inf), np.full(size, -np.inf)
        self.moving = np.full((size, 2), np.nan)

    def see(self, found: list[tuple[float, float]]) -> None:
        """``found``: (min, max) of every tensor in this sample."""
        import numpy as np

        now = np.array(found).reshape(-1, 2)
        self.low, self.high = np.fmin(self.low, now[:, 0]), np.fmax(self.high, now[:, 1])
        fresh = np.isnan(self.moving)
        averaged = np.where(np.isnan(now), self.moving, MOMENTUM * self.moving + (1 - MOMENTUM) * now)
        self.moving = np.where(fresh, now, averaged)

    def finite(self) -> tuple[Any, Any]:
        """Lowest and highest; 0 for a tensor that was never a number."""
        import numpy as np

        seen = self.low <= self.high
        return np.where(seen, self.low, 0.0), np.where(seen, self.high, 0.0)


def _span(values: Any) -> tuple[float, float]:
    """(min, max) of the numbers in it; NaN where there are none."""
    low, high = values.min(), values.max()
    if low > -HUGE and high < HUGE:
        return float(low), float(high)
    numbers = _numbers(values)
    return (float(numbers.min()), float(numbers.max())) if numbers.size else (float("nan"), float("nan"))


def _numbers(values: Any) -> Any:
    import numpy as np

    return values[np.abs(values) < HUGE]


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """Histograms of all tensors: (tensors, BINS) int64 and (tensors,) exact zeros."""

    bins: Any
    zeros: Any
    edges: Any
    """(2, tensors): left and right end."""

    def histogram(self, position: int) -> Histogram:
        low, high = self.edges[:, position]
        return Histogram(low=float(low), high=float(high), counts=self.bins[position], zeros=int(self.zeros[position]))

    def __add__(self, other: "_Counts") -> "_Counts":
        return _Counts(bins=self.bins + other.bins, zeros=self.zeros + other.zeros, edges=self.edges)


def _count(
    observer: _Observer, samples: Samples, spans: _Spans, on_sample: Callable[[int], None] | None
) -> tuple[_Counts, _Counts]:
    """Histograms of the samples at even positions and (second) at odd ones, counted from 1."""
    import numpy as np

    edges = np.stack(spans.finite())
    widths = edges[1] - edges[0]
    # A constant tensor falls into bin 0.
    factors = np.divide(BINS, widths, out=np.zeros_like(widths), where=widths > 0).astype(np.float32)
    lows = edges[0].astype(np.float32)
    size = len(observer.names)
    found = tuple(
        _Counts(bins=np.zeros((size, BINS), np.int64), zeros=np.zeros(size, np.int64), edges=edges) for _ in range(2)
    )
    for number, sample in enumerate(samples(), start=1):
        observer.run(sample)
        mine = found[number % 2]
        for position, view in enumerate(observer.views):
            bins, zeros = _bincount(view(), lows[position], factors[position])
            mine.bins[position] += bins
            mine.zeros[position] += zeros
        if on_sample is not None:
            on_sample(number)
    return found[0], found[1]


def _bincount(values: Any, low: Any, factor: Any) -> tuple[Any, int]:
    """(BINS,) counts of what is not 0, and the number of zeros."""
    import numpy as np

    flat = values.reshape(-1)
    if not (flat.min() > -HUGE and flat.max() < HUGE):
        flat = _numbers(flat)
    positions = np.subtract(flat, low)
    positions *= factor
    # The highest value belongs to the last bin; a source that gives other samples now is kept inside.
    np.clip(positions, 0, BINS - 1, out=positions)
    bins = np.bincount(positions.astype(np.intp), minlength=BINS)
    zeros = flat.size - int(np.count_nonzero(flat))
    if zeros:
        at_zero = np.clip((np.float32(0) - low) * factor, 0, BINS - 1)
        bins[int(at_zero)] -= zeros
    return bins, zeros


def _statistics(
    names: tuple[str, ...], samples: int, spans: _Spans, counts: _Counts | None, half: Statistics | None
) -> Statistics:
    import numpy as np

    lows, highs = spans.finite()
    moving = np.nan_to_num(spans.moving)
    return Statistics(
        samples=samples,
        half=half,
        tensors={
            name: TensorStatistics(
                low=float(lows[position]),
                high=float(highs[position]),
                moving_low=float(moving[position, 0]),
                moving_high=float(moving[position, 1]),
                histogram=None if counts is None else counts.histogram(position),
            )
            for position, name in enumerate(names)
        },
    )


def _signature_views(interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    runner = signature_of(interpreter)
    sides = (runner.get_input_details(), runner.get_output_details())
    inputs, outputs = ({name: interpreter.tensor(item["index"]) for name, item in side.items()} for side in sides)
    return inputs, outputs


def _watched_tensors(interpreter: Any) -> dict[str, int]:
    """Name -> index of what changes from sample to sample and is float: inputs and outputs of ops, no constants.

    An output that nobody reads (a gate of the first step of an unrolled LSTM) is left out: XNNPACK does not compute it.
    """
    import numpy as np

    operations = interpreter._get_ops_details()  # noqa: SLF001 - the runtime tells its ops nowhere else
    indices = {int(details["index"]) for details in interpreter.get_input_details()}
    read = {int(details["index"]) for details in interpreter.get_output_details()}
    read.update(int(index) for operation in operations for index in operation["inputs"])
    for operation in operations:
        indices.update(int(index) for index in operation["outputs"] if int(index) in read)
    details = {int(item["index"]): item for item in interpreter.get_tensor_details()}
    return {
        str(details[index]["name"]): index
        for index in sorted(indices & details.keys())
        if details[index]["dtype"] is np.float32 and details[index]["name"] and 0 not in details[index]["shape"]
    }
