"""What a framework's module is: three functions, called in the child process by ``worker.py``.

``load(source, hints=...)`` -> ``convert(loaded, ...)`` -> ``run(loaded, inputs)``; ``sources.CONVERTERS`` lists them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgekit_converters.shapes import InputHint, OpenShape
from edgekit_converters.sources import ModelSource
from edgekit_converters.types import Finding

Say = Callable[[str], None]
"""Told what a long step is doing, for the progress display."""

Permutation = tuple[int, ...]
"""Axes as ``numpy.transpose`` takes them: tensor of the .tflite = tensor of the source, transposed by it."""


class Loaded(Protocol):
    """A source model in memory; a module's own ``Loaded`` holds more."""

    @property
    def inputs(self) -> dict[str, tuple[OpenShape, str]]:
        """Name -> shape with open dimensions as None, and dtype; in the source's order and layout."""

    @property
    def outputs(self) -> dict[str, tuple[OpenShape, str]]:
        """The same for outputs."""

    @property
    def tools(self) -> dict[str, str]:
        """Package -> version of what reads and converts it."""


@dataclass(frozen=True, kw_only=True)
class Converted:
    """Float32 TFLite bytes, not yet with a signature of ours."""

    tflite: bytes
    input_tensors: dict[str, str]
    """The source's name -> the tensor's name in the flatbuffer; empty: the flatbuffer's own order or signature."""
    output_tensors: dict[str, str]
    route: str
    findings: list[Finding] = field(default_factory=list)
    input_permutations: dict[str, Permutation] = field(default_factory=dict)
    """Only for inputs whose layout was changed."""
    output_permutations: dict[str, Permutation] = field(default_factory=dict)


class Converter(Protocol):
    """A module such as ``from_keras``."""

    def load(self, source: ModelSource, *, hints: Mapping[str, InputHint]) -> Any:
        """The model in memory (``Loaded``); raises SourceError with the cause and the way out."""

    def convert(self, loaded: Any, *, batch: int, hints: Mapping[str, InputHint], say: Say) -> Converted:
        """A float32 .tflite with static shapes; raises SourceError or ConversionError."""

    def run(self, loaded: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The source's own answer: arrays by input name in the source's layout -> arrays by output name."""
