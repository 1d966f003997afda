"""Where the precision goes: the error of each layer of a quantized model, against its float model.

Three figures a layer. *Weights*: how well the file's weights match the float ones. *Own*: the noise this layer alone
brings to the model's outputs; the float model is run with the error of just this layer added (``probes.py``), so what
later layers do to it, clipping and softmax included, is in the figure. *Accumulated*: how far its result in the
quantized file is from the float one, with everything before it quantized too.

Own noises add up to the noise of the file where errors are small and independent; one run of the float model a layer
and sample replaces a quantization and an evaluation a layer (docs/accuracy.md has the rank correlation with the truth).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from edgekit_converters.errors import DataError
from edgekit_converters.probes import Probed, Site, probe
from edgekit_converters.quantized_tensors import QuantizedTensors, read_quantized, sqnr_db, weight_errors
from edgekit_converters.tensor_runner import TensorRunner

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MAX_SAMPLES = 16
"""Ranks settle with few samples, since each is an average over all elements of a tensor."""
MOVERS = frozenset({
    "BATCH_TO_SPACE_ND", "BROADCAST_TO", "CONCATENATION", "DEPTH_TO_SPACE", "EXPAND_DIMS", "GATHER", "MAX_POOL_2D",
    "MIRROR_PAD", "PACK", "PAD", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "SLICE", "SPACE_TO_BATCH_ND",
    "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE", "TRANSPOSE", "UNPACK",
})  # fmt: skip
"""Ops whose results are some of the values they read: on the same grid they round nothing."""


@dataclass(frozen=True, kw_only=True)
class LayerError:
    """One op of the float model, or one of its inputs."""

    name: str
    """Name of its first output in the float model, as ``Scheme.layers`` takes it."""
    op: str
    """Builtin operator, or ``INPUT``."""
    dtype: str | None
    """Of its result in the quantized file; None where the file has no such tensor."""
    inputs: tuple[str, ...]
    """The activations it reads."""
    outputs: tuple[str, ...]
    weight_sqnr_db: float | None
    """Of its weights; None where it has none or they are stored as they were."""
    weight_noise: float
    """What rounding the weights brings to the outputs: noise power / signal power, the sum over the outputs."""
    activation_noise: float
    """The same for rounding and clipping its result."""
    share: float
    """Of all own noises together, 0..1."""
    accumulated_sqnr_db: float | None
    """Of its result in the file; infinite where it is exact, None where the file does not tell."""

    @property
    def own_noise(self) -> float:
        """What the layer alone brings to the outputs, relative to their power."""
        return self.weight_noise + self.activation_noise


def layer_errors(
    float_model: bytes,
    quantized: bytes,
    samples: Iterable[Mapping[str, "Array"]],
    *,
    max_samples: int = MAX_SAMPLES,
    on_sample: Callable[[int], None] = lambda _done: None,
) -> tuple[LayerError, ...]:
    """Errors of every op that has a float result, in the order of execution, the model's inputs first.

    ``samples``: input name -> array in the float model's own shape and dtype; the first ``max_samples`` are used.
    Raises DataError for no sample, ConversionError where the runtime refuses a model, SourceError for a damaged one.
    """
    tensors = read_quantized(quantized)
    probed = probe(float_model, tensors.weights)
    measurement = _Measurement(
        probed=probed,
        tensors=tensors,
        reference=TensorRunner(probed.tflite, like=float_model),
        file=TensorRunner(quantized, like=quantized),
    )
    done = 0
    for done, sample in enumerate(islice(samples, max_samples), start=1):
        measurement.see(sample)
        on_sample(done)
    if not done:
        raise DataError(
            "There is no sample to measure the layers with.", hint="Give real inputs of the model, such as 16 of them."
        )
    weights = weight_errors(float_model, tensors)
    noises = {site.name: measurement.noises(site) for site in probed.sites}
    total = sum(map(sum, noises.values()))
    return tuple(
        LayerError(
            name=site.name,
            op=site.op,
            dtype=tensors.dtypes.get(site.name),
            inputs=site.inputs,
            outputs=site.outputs,
            weight_sqnr_db=min((weights[name] for name in site.weights if name in weights), default=None),
            weight_noise=noises[site.name][0],
            activation_noise=noises[site.name][1],
            share=sum(noises[site.name]) / total if total else 0.0,
            accumulated_sqnr_db=measurement.accumulated_db(site),
        )
        for site in probed.sites
    )


@dataclass(kw_only=True)
class _Measurement:
    """Sums over the samples."""

    probed: Probed
    tensors: QuantizedTensors
    reference: TensorRunner
    file: TensorRunner
    signal: "Array | float" = 0.0
    """Power of each output of the float model."""
    weights: dict[str, "Array"] = field(default_factory=dict)
    """Site -> power of the change of each output, by its weights."""
    activations: dict[str, "Array"] = field(default_factory=dict)
    accumulated: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Site -> (signal, noise) of its result in the file."""

    def see(self, sample: "Mapping[str, Array]") -> None:
        self.reference.run(sample)
        self.file.run(sample)
        outputs = self._outputs()
        self.signal = self.signal + _powers(outputs)
        raw = {name: self.reference.value(probe) for name, probe in self.probed.raw.items()}
        twins = {name: self.reference.value(probe) for name, probe in self.probed.twins.items()}
        for site in self.probed.sites:
            results = {name: raw[name] for name in site.outputs}
            self._compare(site, results)
            by_weights = {name: twins[name] - raw[name] for name in site.outputs if name in twins}
            by_grid = {} if self._moves_only(site) else self._rounding(results)
            for sums, errors in ((self.weights, by_weights), (self.activations, by_grid)):
                changed = {name: error for name, error in errors.items() if error.any()}
                if changed:
                    named = {self.probed.errors[name]: error for name, error in changed.items()}
                    self.reference.run(sample, named)
                    noise = _powers([after - before for after, before in zip(self._outputs(), outputs, strict=True)])
                    sums[site.name] = sums.get(site.name, 0.0) + noise

    def _outputs(self) -> "list[Array]":
        return [self.reference.value(name) for name in self.probed.results]

    def _rounding(self, results: "Mapping[str, Array]") -> "dict[str, Array]":
        grids = self.tensors.grids
        return {name: grids[name].snap(values) - values for name, values in results.items() if name in grids}

    def _moves_only(self, site: Site) -> bool:
        """Whether its results lie on the grid because what it read does."""
        grids = [self.tensors.grids.get(name) for name in (*site.inputs, *site.outputs)]
        return site.op in MOVERS and len(set(grids)) == 1

    def _compare(self, site: Site, results: "Mapping[str, Array]") -> None:
        name, expected = next(iter(results.items()))
        found = self.file.value(name) if self.file.has(name) else None
        if found is not None and found.shape == expected.shape:
            signal, noise = self.accumulated.get(site.name, (0.0, 0.0))
            more = _powers([expected, found - expected])
            self.accumulated[site.name] = signal + float(more[0]), noise + float(more[1])

    def noises(self, site: Site) -> tuple[float, float]:
        """(by weights, by the grid of the result), relative to the power of the outputs."""
        import numpy as np

        signal = np.maximum(self.signal, np.finfo(np.float64).tiny)
        both = (self.weights.get(site.name, 0.0), self.activations.get(site.name, 0.0))
        return float(np.sum(both[0] / signal)), float(np.sum(both[1] / signal))

    def accumulated_db(self, site: Site) -> float | None:
        return sqnr_db(*self.accumulated[site.name]) if site.name in self.accumulated else None


def _powers(arrays: "Sequence[Array]") -> "Array":
    import numpy as np

    return np.array([np.square(array, dtype=np.float64).sum() for array in arrays])
