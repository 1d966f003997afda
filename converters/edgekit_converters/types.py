"""The values that travel from a source model to a quantized one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Precision = Literal["float32", "float16", "dynamic", "int8", "int16x8"]
"""``int8`` is full integer: weights, activations, inputs and outputs (see ``IoDtype``). ``int16x8`` has int16
activations over int8 weights."""

IoDtype = Literal["int8", "uint8", "int16", "float32"]
"""What the application hands in and gets back in an ``int8`` (or, ``int16`` and ``float32``, an ``int16x8``) model."""

LayerPrecision = Literal["int16x8", "float32"]
"""What a single layer of an ``int8`` file can be rescued to."""

Calibrator = Literal["min-max", "moving-average", "percentile", "percentile-99.9", "mse", "entropy"]
"""How the range of an activation is estimated from what the calibration samples gave."""

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something a user should know; never silence (DESIGN, promise 1)."""

    name: str
    """Stable kebab-case name, such as ``calibration-range``."""
    severity: Severity
    """``error`` stops the build; ``warning`` and ``info`` are shown and recorded."""
    message: str
    """What was found, with the numbers."""
    fix: str
    """What to do about it."""


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output of a model."""

    name: str
    """The name in the model's signature, which is the source's own name."""
    shape: tuple[int, ...]
    """Static shape with the batch, such as (1, 32, 32, 3)."""
    dtype: str
    """numpy name, such as ``float32`` or ``int8``."""
    scale: float | None = None
    """Quantization scale, per tensor; None where the tensor is not quantized."""
    zero_point: int | None = None
    permutation: tuple[int, ...] | None = None
    """Where conversion changed the layout: this tensor = the source's, transposed by these axes."""


@dataclass(frozen=True, kw_only=True)
class OutputFidelity:
    """One output of the float .tflite against the source's own."""

    name: str
    max_error: float
    """Largest absolute difference."""
    sqnr_db: float | None
    """Signal to error ratio; None where there is no difference at all, or no signal."""


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How true the conversion is, on a few inputs."""

    kind: Literal["calibration", "evaluation", "random"]
    """Real samples, or seeded random ones where there is no data."""
    samples: int
    outputs: tuple[OutputFidelity, ...]


@dataclass(frozen=True, kw_only=True)
class FloatModel:
    """A float32 .tflite with a static batch and one named signature, ``serving_default``."""

    tflite: bytes
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    source_format: str
    """``keras``, ``keras-h5``, ``saved-model``, ..."""
    route: str
    """How it was converted, such as ``frozen-concrete-function`` or ``from_keras_model``."""
    tools: dict[str, str]
    """Package name -> version of what converted it."""
    findings: tuple[Finding, ...] = ()
    fidelity: Fidelity | None = None
    """None where nothing was converted (a .tflite source) or nothing was compared."""
    states: Mapping[str, str] = field(default_factory=dict)
    """State input -> the output that becomes it at the next frame; empty for a model that is no stream."""
    files: tuple[str, ...] = ()
    """Code of a ``package.module:function`` source, relative to the project's folder."""


@dataclass(frozen=True, kw_only=True)
class QuantizedModel:
    """The flatbuffer at the precision asked for; equal to the float one for ``float32``."""

    tflite: bytes
    precision: Precision
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    tools: dict[str, str]
    findings: tuple[Finding, ...] = ()


Ranges = dict[str, tuple[float, float]]
"""Tensor name -> (min, max) that quantization covers, as a calibrator estimated it."""


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """How a float model is quantized; the rules of a target and the wishes of a user, already made one."""

    precision: Precision
    io: IoDtype = "float32"
    weight_bits: Literal[4, 8] = 8
    """4: int4 weights where the runtime has kernels for them; the others stay int8."""
    per_channel: bool = True
    """One scale per output channel of a convolution's weights, else one per tensor."""
    per_channel_fully_connected: bool = True
    """The same for FULLY_CONNECTED, which fewer runtimes know; needs ``per_channel``."""
    symmetric_activations: bool = False
    """Zero point 0 in every activation (int8 affine otherwise; int16 is always symmetric)."""
    layers: Mapping[str, LayerPrecision] = field(default_factory=dict)
    """Name of an op's first output in the float model -> what it is computed in instead of int8."""
