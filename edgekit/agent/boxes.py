"""From the outputs of a detector to boxes in the pixels of an image.

The activation, scores of at least ``score_threshold``, at most ``MAX_CANDIDATES`` of them, greedy non-maximum
suppression within each class (Felzenszwalb et al. 2010, as in ``tf.image.non_max_suppression``), the best
``max_detections``.
``project.Detection`` has the formats. Rows with NaN or infinity mean nothing and are left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from .outputs import DoesNotFit, activated, known, listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Size = Tuple[int, int]
"""Width and height in pixels."""
MAX_CANDIDATES = 3000
"""Boxes that go into non-maximum suppression, the best ones."""
CORNERS = 4
MATRIX = 2
TABLE = "[detection]"
NAME_THEM = "Name the outputs under [detection] boxes and scores."


class Decoded(NamedTuple):
    """The detections of one image."""

    rows: Array
    """float32 (detections, 6), best first: left, top, right, bottom in pixels of the image, score, class (from 0,
    without the background)."""
    columns: Optional[int]
    """Scores that a box has, the background's included; None where the graph chose the class itself."""


class _Candidates(NamedTuple):
    boxes: Array
    """(n, 4)."""
    scores: Array
    """Flat: (n * classes,)."""
    classes: Optional[Array]
    """(n,), chosen inside the graph, with one score a box; None: a box has a score for each class."""
    columns: Optional[int]


def decode(
    table: Mapping[str, Any], outputs: Mapping[str, Array], image_size: Size, input_size: Size | None
) -> Decoded:
    """What ``table`` (project.Detection as a plain mapping) makes of the outputs of one image, without the batch.

    ``input_size`` is that of the model's input, which boxes that are not normalized need. Raises DoesNotFit when the
    outputs are not what the table says.
    """
    found = _candidates(table, outputs)
    keep = _best(found.scores, max(float(table["score_threshold"]), float(np.finfo(np.float32).tiny)))
    if found.classes is None:
        places, classes = np.divmod(keep, max(found.scores.size // max(len(found.boxes), 1), 1))
    else:
        places, classes = keep, found.classes[keep]
    corners = _corners(found.boxes[places], table["format"])
    corners = corners * _to_image(image_size, input_size, bool(table["normalized"]))
    corners = np.clip(corners, 0, np.tile(np.array(image_size, np.float32), 2))
    rows = np.column_stack([corners, found.scores[keep], classes]).astype(np.float32)
    rows = rows[np.isfinite(rows).all(axis=1)]
    limit = int(table["max_detections"])
    if found.classes is None:
        rows = rows[suppress(rows, float(table["nms_iou"]), limit)]
    return Decoded(rows[:limit], found.columns)


def suppress(found: Array, overlap: float, limit: int) -> list[int]:
    """Greedy non-maximum suppression within each class, of rows sorted by falling score: the first ``limit`` kept."""
    kept: list[int] = []
    alive = np.ones(len(found), bool)
    while alive.any() and len(kept) < limit:
        row = int(alive.argmax())
        kept.append(row)
        rivals = np.flatnonzero(alive & (found[:, 5] == found[row, 5]))
        alive[rivals] = box_iou(found[row : row + 1], found[rivals])[0] <= overlap
        alive[row] = False  # an empty box does not overlap itself
    return kept


def box_iou(first: Array, second: Array) -> Array:
    """Intersection over union of boxes whose first four columns are corners: (n, m), 0 for empty boxes."""
    left, top, right, bottom = (column[:, None] for column in first.T[:4])
    others = second.T
    width = np.minimum(right, others[2]) - np.maximum(left, others[0])
    height = np.minimum(bottom, others[3]) - np.maximum(top, others[1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    union = (right - left) * (bottom - top) + (others[2] - others[0]) * (others[3] - others[1]) - shared
    iou: Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou


def _best(scores: Array, threshold: float) -> Array:
    """Places of the scores from ``threshold`` on, by falling score, equal ones in order; ``MAX_CANDIDATES`` at most."""
    keep = np.flatnonzero(scores >= threshold)
    if keep.size > MAX_CANDIDATES:  # far cheaper than to sort what may be millions
        least = np.partition(scores[keep], -MAX_CANDIDATES)[-MAX_CANDIDATES]
        keep = keep[scores[keep] >= least]
    best: Array = keep[np.argsort(-scores[keep], kind="stable")][:MAX_CANDIDATES]
    return best


def _candidates(table: Mapping[str, Any], outputs: Mapping[str, Array]) -> _Candidates:
    boxes_name, scores_name = _names(table, outputs)
    boxes, scores = outputs[boxes_name], outputs[scores_name]
    if table.get("classes") is not None:
        return _chosen(table, outputs, boxes_name, scores_name)
    if boxes_name == scores_name:
        boxes, scores = _split(boxes_name, boxes, bool(table["objectness"]))
    boxes = _as_boxes(boxes_name, boxes)
    if scores.size % max(len(boxes), 1):
        raise DoesNotFit(
            "There are %d boxes in output %r and %d scores in %r." % (len(boxes), boxes_name, scores.size, scores_name),
            NAME_THEM,
        )
    columns = scores.size // max(len(boxes), 1)
    scores = activated(scores.reshape(len(boxes), columns), table["activation"])
    background = table.get("background")
    if background is not None:
        if background >= columns:
            raise DoesNotFit(
                "The background is column %d of output %r, which has %d." % (background, scores_name, columns),
                "Correct [detection] background: columns count from 0.",
            )
        scores = np.delete(scores, background, axis=1)
    return _Candidates(boxes, scores.ravel(), None, columns)


def _chosen(table: Mapping[str, Any], outputs: Mapping[str, Array], boxes_name: str, scores_name: str) -> _Candidates:
    """After non-maximum suppression inside the graph."""
    boxes, scores = _as_boxes(boxes_name, outputs[boxes_name]), outputs[scores_name].ravel()
    classes = outputs[known(outputs, table["classes"], TABLE)].ravel()
    if not len(boxes) == scores.size == classes.size:
        raise DoesNotFit(
            "There are %d boxes in output %r, %d scores in %r and %d classes in %r."
            % (len(boxes), boxes_name, scores.size, scores_name, classes.size, table["classes"]),
            "Name the outputs under [detection] boxes, scores and classes.",
        )
    valid = slice(0, _count(table, outputs, scores.size))
    return _Candidates(boxes[valid], scores[valid], np.round(classes[valid]), None)


def _count(table: Mapping[str, Any], outputs: Mapping[str, Array], most: int) -> int:
    """How many rows are valid."""
    if not table.get("count"):
        return most
    told = outputs[known(outputs, table["count"], TABLE)].ravel()
    value = float(told[0]) if told.size else 0.0
    return max(0, min(int(value), most)) if math.isfinite(value) else 0


def _as_boxes(name: str, values: Array) -> Array:
    if values.size % CORNERS:
        raise DoesNotFit("Output %r of shape %s holds no boxes of 4 numbers." % (name, list(values.shape)), NAME_THEM)
    return values.reshape(-1, CORNERS)


def _split(name: str, values: Array, objectness: bool) -> Tuple[Array, Array]:
    """A YOLO output, (N, 4 + classes) or transposed; boxes outnumber the columns."""
    first = CORNERS + objectness
    matrix = values.reshape(values.shape[-MATRIX:]) if values.size == np.prod(values.shape[-MATRIX:]) else values
    if matrix.ndim != MATRIX or min(matrix.shape) <= first:
        raise DoesNotFit(
            "Output %r of shape %s does not hold boxes with the scores of their classes: (N, %d + classes)."
            % (name, list(values.shape), first),
            NAME_THEM,
        )
    rows = matrix.T if matrix.shape[0] < matrix.shape[1] else matrix
    scores = rows[:, first:] * rows[:, CORNERS:first] if objectness else rows[:, first:]
    return rows[:, :CORNERS], scores


def _names(table: Mapping[str, Any], outputs: Mapping[str, Array]) -> Tuple[str, str]:
    boxes, scores = table.get("boxes"), table.get("scores")
    if boxes is None and scores is None and len(outputs) == 1:
        boxes = scores = next(iter(outputs))
    elif boxes is None and scores is None and len(outputs) == 2:  # noqa: PLR2004 - boxes and scores
        with_corners = [name for name, values in outputs.items() if values.shape[-1:] == (CORNERS,)]
        if len(with_corners) == 1:
            boxes, scores = with_corners[0], next(name for name in outputs if name != with_corners[0])
    if boxes is None or scores is None:
        raise DoesNotFit(
            "It is not known which outputs are boxes and scores: %s." % listed(outputs),
            "Name them in edgekit.toml: [detection] boxes, scores, and classes where the graph suppresses overlaps "
            "itself.",
        )
    return known(outputs, boxes, TABLE), known(outputs, scores, TABLE)


def _corners(boxes: Array, form: str) -> Array:
    """(n, 4) of any format -> left, top, right, bottom in the same unit."""
    first, second, third, fourth = boxes.astype(np.float32).T
    if form == "yxyx":
        return np.column_stack([second, first, fourth, third])
    if form == "xywh":
        return np.column_stack([first, second, first + third, second + fourth])
    if form == "cxcywh":
        return np.column_stack([first - third / 2, second - fourth / 2, first + third / 2, second + fourth / 2])
    return np.column_stack([first, second, third, fourth])


def _to_image(size: Size, input_size: Size | None, normalized: bool) -> Array:
    """Factors from the model's unit to pixels of the image, which was stretched to the input."""
    if normalized:
        return np.tile(np.array(size, np.float32), 2)
    if input_size is None:
        raise DoesNotFit(
            "Boxes in pixels of the input need a model with one image as input.",
            "Set [detection] normalized = true where boxes are in 0..1.",
        )
    return np.tile(np.array(size, np.float32) / np.array(input_size, np.float32), 2)
