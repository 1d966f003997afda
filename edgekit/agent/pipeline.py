"""The whole way of one sample: preprocessing, inference, postprocessing, as the manifest declares them.

The same for an application on the device (``application``), for ``edgekit run``, and where the parts are timed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, NamedTuple, Optional, Tuple, Union

import numpy as np

from . import postprocess, preprocess, runtime

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Data = Union[Array, Mapping[str, Array]]

BATCH_AND_IMAGE = 4
IMAGE = 3
CHANNELS = (1, 3, 4)


class Prediction(NamedTuple):
    """What the model said about one sample."""

    outputs: Dict[str, Array]
    """Output name -> real values, float32, with the batch as the model gives it."""
    label: Optional[str]
    """Name of the best class; None where the artifact has no labels for its output, or no score is a number."""
    score: Optional[float]
    """Its score, after the activation that the manifest declares; None as ``label``."""
    classes: Tuple[postprocess.Class, ...] = ()
    """Best first; empty where the model is no classifier."""
    detections: Tuple[postprocess.Detection, ...] = ()
    """Best first, in pixels of the image that was given; empty where the model is no detector."""


class Pipeline:
    """A model that is ready to run, with what comes before and after it."""

    def __init__(self, model: runtime.Model, manifest: Mapping[str, Any]) -> None:
        """``manifest``: ``inputs``, ``labels`` and ``postprocessing`` of a manifest; empty for a bare .tflite."""
        self.model = model
        self.labels: Optional["list[str]"] = manifest.get("labels")
        self._specs = {entry["name"]: entry.get("preprocessing") for entry in manifest.get("inputs", ())}
        self._postprocessing = manifest.get("postprocessing")
        self._image = find_image({tensor.name: (tensor.shape, self._specs.get(tensor.name)) for tensor in model.inputs})
        self._image_size: Optional[Tuple[int, int]] = None

    def run(self, data: Data) -> Prediction:
        """All of it; raises as ``preprocess`` and ``runtime.Model`` do."""
        self.preprocess(data)
        self.model.invoke()
        return self.postprocess()

    def preprocess(self, data: Data) -> None:
        """Put one sample, with or without its batch, into the model's inputs.

        ``data``: an array, or for a model with several inputs a mapping from their names. Raises ValueError for data
        that does not fit the model.
        """
        inputs = self.model.inputs
        arrays = data if isinstance(data, Mapping) else {inputs[0].name: data}
        names = [tensor.name for tensor in inputs]
        if sorted(arrays) != sorted(names):
            raise ValueError("the model takes %s; the data has %s" % (names, sorted(arrays)))
        self.model.set_inputs(
            {item.name: preprocess.prepare(self._specs.get(item.name), arrays[item.name], item) for item in inputs}
        )
        if self._image is not None:
            name, _ = self._image
            self._image_size = image_size(np.shape(arrays[name]), self._specs.get(name))

    def postprocess(self) -> Prediction:
        """What the outputs of the last inference mean; raises postprocess.DoesNotFit."""
        found = self.model.get_outputs()
        outputs = {item.name: runtime.dequantize(found[item.name], item) for item in self.model.outputs}
        input_size = None if self._image is None else self._image[1]
        meaning = postprocess.apply(self._postprocessing, outputs, self.labels, self._image_size, input_size)
        best = meaning.classes[0] if meaning.classes and meaning.classes[0].label is not None else None
        return Prediction(
            outputs,
            None if best is None else best.label,
            None if best is None else best.score,
            meaning.classes,
            meaning.detections,
        )


Shape = Tuple[int, ...]


def find_image(
    inputs: Mapping[str, Tuple[Shape, Optional[Mapping[str, Any]]]],
) -> Optional[Tuple[str, Tuple[int, int]]]:
    """Name of the only input that is an image, and its (width, height); None where there is no such input.

    ``inputs``: name -> shape with the batch, and preprocessing.
    """
    images = {
        name: size for name, (shape, spec) in inputs.items() for size in [_input_size(shape, spec)] if size is not None
    }
    return next(iter(images.items())) if len(images) == 1 else None


def _input_size(shape: Shape, spec: Optional[Mapping[str, Any]]) -> Optional[Tuple[int, int]]:
    if len(shape) != BATCH_AND_IMAGE:
        return None
    first = bool(spec) and spec.get("layout") == "nchw"  # type: ignore[union-attr]
    return (shape[3], shape[2]) if first else _size(shape[1:])


def image_size(shape: Shape, spec: Optional[Mapping[str, Any]]) -> Optional[Tuple[int, int]]:
    """(width, height) of an image as the application has it, with or without the batch; None for anything else.

    With preprocessing it is (H, W), (H, W, C) or (N, H, W, C); without, in the layout of the model.
    """
    if spec is None:
        return _size(shape[-IMAGE:]) if len(shape) in (IMAGE, BATCH_AND_IMAGE) else None
    if len(shape) == IMAGE - 1:
        return shape[1], shape[0]
    return (shape[-2], shape[-3]) if len(shape) in (IMAGE, BATCH_AND_IMAGE) else None


def _size(shape: Shape) -> Tuple[int, int]:
    """Of (H, W, C), or of (C, H, W) where the last axis cannot be the channels."""
    first, second, third = shape
    return (second, first) if third in CHANNELS or first not in CHANNELS else (third, second)
