"""From a model's outputs to what an application wants: the best classes, or boxes in the pixels of its image.

One implementation for evaluation, ``edgekit run`` and the device, in numpy alone.

``classification``: one score a class in one output; ``activation`` (softmax or sigmoid) where the graph leaves it out,
then the ``top_k`` best ones by falling score with their labels. ``detection``: see ``boxes``.

Scores that are NaN or infinite mean nothing and are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from .boxes import Decoded, Size, decode
from .outputs import DoesNotFit, activated, known, listed, without_batch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

TOP_K = 5
"""Classes of a model with labels and no postprocessing of its own."""
TABLE = "[postprocessing]"


class Class(NamedTuple):
    """One class of a sample."""

    class_index: int
    """Place in the output, from 0."""
    label: Optional[str]
    """None where the artifact has no labels."""
    score: float
    """After the activation."""


class Detection(NamedTuple):
    """One object in an image."""

    box: Tuple[float, float, float, float]
    """Left, top, right, bottom in pixels of the image that was given."""
    class_index: int
    """Class, from 0, without the background."""
    label: Optional[str]
    """None where the artifact has no label for it."""
    score: float
    """After the activation."""


class Found(NamedTuple):
    """What the outputs of one sample mean."""

    classes: Tuple[Class, ...] = ()
    """Best first; empty where there are none."""
    detections: Tuple[Detection, ...] = ()
    """Best first; empty where there are none."""


def apply(
    spec: Mapping[str, Any] | None,
    outputs: Mapping[str, Array],
    labels: Sequence[str] | None = None,
    image_size: Size | None = None,
    input_size: Size | None = None,
) -> Found:
    """What the outputs of one sample mean.

    ``spec`` is the manifest's ``postprocessing`` as a plain mapping; with None a model of one output and as many labels
    is a classifier, and any other is left alone. ``outputs``: output name -> real values, with a batch of 1.
    ``image_size`` is that of the image before preprocessing, ``input_size`` that of the model's input; detections need
    them.

    Raises:
        DoesNotFit: the specification does not fit the outputs, or is none.
    """
    if spec is None:
        fits = labels is not None and [values.size for values in outputs.values()] == [len(labels)]
        single = {name: values.ravel() for name, values in outputs.items()}
        return Found(classes=_classify({"top_k": TOP_K}, single, labels)) if fits else Found()
    single = {name: without_batch(name, values) for name, values in outputs.items()}
    if spec.get("kind") == "classification":
        return Found(classes=_classify(spec, single, labels))
    if spec.get("kind") != "detection":
        raise DoesNotFit(
            "Postprocessing of the kind %r is not known; this version knows classification and detection."
            % (spec.get("kind"),),
            "Use the edgekit that built the artifact, or a newer one.",
        )
    if image_size is None:
        raise DoesNotFit(
            "Detections are boxes in an image, and the model does not take one image (height, width, channels).",
            "Leave [postprocessing] and [detection] out for this model.",
        )
    decoded = decode(spec, single, image_size, input_size)
    names = _names_of(decoded, labels, spec.get("background"))
    return Found(detections=tuple(_detection(row, names) for row in decoded.rows.tolist()))


def _classify(spec: Mapping[str, Any], outputs: Mapping[str, Array], labels: Sequence[str] | None) -> Tuple[Class, ...]:
    name = _scores_output(spec.get("output"), outputs, labels)
    scores = np.asarray(outputs[name], np.float32)
    if max(scores.shape, default=1) != scores.size:
        raise DoesNotFit(
            "Output %r of shape %s is no list of scores, one a class." % (name, list(scores.shape)),
            "Name the output with the scores under [postprocessing] output.",
        )
    if labels is not None and len(labels) != scores.size:
        raise DoesNotFit(
            "There are %d labels, and output %r has %d scores." % (len(labels), name, scores.size),
            "Give one label a line in the order of the output, or name another under [postprocessing] output.",
        )
    scores = activated(scores.ravel(), spec.get("activation"))
    there = np.flatnonzero(np.isfinite(scores))
    best = there[np.argsort(-scores[there], kind="stable")][: int(spec["top_k"])]
    return tuple(Class(int(place), labels[place] if labels else None, float(scores[place])) for place in best)


def _scores_output(name: str | None, outputs: Mapping[str, Array], labels: Sequence[str] | None) -> str:
    if name is not None:
        return known(outputs, name, TABLE)
    fitting = list(outputs)
    if len(fitting) > 1 and labels is not None:
        fitting = [key for key, values in outputs.items() if values.size == len(labels)]
    if len(fitting) != 1:
        raise DoesNotFit(
            "It is not known which output has the scores of the classes: %s." % listed(outputs),
            "Name it in edgekit.toml: [postprocessing] output.",
        )
    return fitting[0]


def _names_of(decoded: Decoded, labels: Sequence[str] | None, background: int | None) -> Sequence[str]:
    """Labels of the classes without the background, which the file of labels may have or not; raises DoesNotFit."""
    names = list(labels or ())
    if not names or decoded.columns is None:
        return names
    if background is not None and len(names) == decoded.columns:
        del names[background]
    classes = decoded.columns - (background is not None)
    if len(names) != classes:
        raise DoesNotFit(
            "There are %d labels, and the scores are of %d classes." % (len(names), classes),
            "Give one label a line in the order of the scores; one for the background may be among them.",
        )
    return names


def _detection(row: Sequence[float], names: Sequence[str]) -> Detection:
    left, top, right, bottom, score, place = row
    index = int(place)
    return Detection((left, top, right, bottom), index, names[index] if 0 <= index < len(names) else None, score)
