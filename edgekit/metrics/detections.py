"""From the outputs of a detector to boxes in the image, as ``[detection]`` of edgekit.toml declares."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgekit.errors import DataError
from edgekit.project import Detection
from edgekit_converters.coco import Objects

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MAX_CANDIDATES = 3000
"""Boxes that go into non-maximum suppression, the best ones."""
CORNERS = 4
COLUMNS = 6
"""Of a detection: left, top, right, bottom in pixels of the image, score, COCO category."""


def decode(
    outputs: "Mapping[str, Array]", table: Detection, *, objects: Objects, input_size: tuple[int, int] | None
) -> "Array":
    """The detections of one image, best first: float32 (detections, 6), see ``COLUMNS``.

    ``outputs`` without the batch; ``input_size`` (width, height) of the model's input in pixels, which boxes that are
    not normalized need. Raises DataError when the outputs are not what the table says.
    """
    import numpy as np

    boxes, scores, classes = _candidates(outputs, table)
    keep = np.flatnonzero(scores >= max(table.score_threshold, np.finfo(np.float32).tiny))
    keep = keep[np.argsort(-scores[keep], kind="stable")][:MAX_CANDIDATES]
    corners = _corners(boxes[keep], table.format) * _to_image(objects.size, input_size, normalized=table.normalized)
    corners = np.clip(corners, 0, np.tile(np.array(objects.size, np.float32), 2))
    found = np.column_stack([corners, scores[keep], classes[keep]]).astype(np.float32)
    if table.classes is None:
        found = found[suppress(found, table.nms_iou, table.max_detections)]
    found = found[: table.max_detections]
    categories = np.array(table.categories or tuple(objects.names))
    if found.size and not 0 <= found[:, 5].min() <= found[:, 5].max() < len(categories):
        raise DataError(
            f"The model has a class {int(found[:, 5].max())}, and there are {len(categories)} categories.",
            hint="Set [detection] categories to the COCO category of each class, and background if there is one.",
        )
    found[:, 5] = categories[found[:, 5].astype(np.intp)]
    return found


def suppress(found: "Array", overlap: float, limit: int) -> list[int]:
    """Greedy non-maximum suppression within each class, of rows sorted by falling score: the first ``limit`` kept."""
    import numpy as np

    kept: list[int] = []
    alive = np.ones(len(found), bool)
    while alive.any() and len(kept) < limit:
        row = int(alive.argmax())
        kept.append(row)
        rivals = np.flatnonzero(alive & (found[:, 5] == found[row, 5]))
        alive[rivals] = box_iou(found[row : row + 1], found[rivals])[0] <= overlap
        alive[row] = False  # an empty box does not overlap itself
    return kept


def box_iou(first: "Array", second: "Array") -> "Array":
    """Intersection over union of boxes whose first four columns are corners: (n, m), 0 for empty boxes."""
    import numpy as np

    left, top, right, bottom = (column[:, None] for column in first.T[:4])
    others = second.T
    width = np.minimum(right, others[2]) - np.maximum(left, others[0])
    height = np.minimum(bottom, others[3]) - np.maximum(top, others[1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    union = (right - left) * (bottom - top) + (others[2] - others[0]) * (others[3] - others[1]) - shared
    iou: Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou


def _candidates(outputs: "Mapping[str, Array]", table: Detection) -> "tuple[Array, Array, Array]":
    """Boxes (n, 4), their scores (n,) and class indexes (n,), a box once for each of its classes."""
    import numpy as np

    boxes_name, scores_name = _names(outputs, table)
    boxes, scores = outputs[boxes_name], outputs[scores_name]
    if table.classes is not None:
        count = int(_output(outputs, table.count).reshape(-1)[0]) if table.count else scores.size
        classes = _output(outputs, table.classes).reshape(-1)
        valid = slice(0, max(0, min(count, scores.size)))
        return boxes.reshape(-1, CORNERS)[valid], scores.reshape(-1)[valid], np.round(classes[valid])
    if boxes_name == scores_name:
        boxes, scores = _split(boxes.reshape(boxes.shape[-2:]), objectness=table.objectness)
    boxes = boxes.reshape(-1, CORNERS)
    if scores.size % max(len(boxes), 1):
        raise DataError(
            f"There are {len(boxes)} boxes in output {boxes_name!r} and {scores.size} scores in {scores_name!r}.",
            hint="Name the outputs under [detection] boxes and scores.",
        )
    scores = _activated(scores.reshape(len(boxes), -1), table.activation)
    if table.background is not None:
        scores = np.delete(scores, table.background, axis=1)
    rows, classes = np.divmod(np.arange(scores.size), max(scores.shape[1], 1))
    return boxes[rows], scores.ravel(), classes


def _split(rows: "Array", *, objectness: bool) -> "tuple[Array, Array]":
    """A YOLO output, (N, 4 + classes) or transposed; boxes outnumber the columns."""
    rows = rows.T if rows.shape[0] < rows.shape[1] else rows
    scores = rows[:, CORNERS + 1 :] * rows[:, CORNERS : CORNERS + 1] if objectness else rows[:, CORNERS:]
    return rows[:, :CORNERS], scores


def _names(outputs: "Mapping[str, Array]", table: Detection) -> tuple[str, str]:
    boxes, scores = table.boxes, table.scores
    if boxes is None and scores is None and len(outputs) == 1:
        boxes = scores = next(iter(outputs))
    elif boxes is None and scores is None and len(outputs) == 2:  # noqa: PLR2004 - boxes and scores
        with_corners = [name for name, values in outputs.items() if values.shape[-1:] == (CORNERS,)]
        if len(with_corners) == 1:
            boxes, scores = with_corners[0], next(name for name in outputs if name != with_corners[0])
    if boxes is None or scores is None:
        raise DataError(
            f"It is not known which outputs are boxes and scores: {_listed(outputs)}.",
            hint="Name them in edgekit.toml: [detection] boxes, scores, and classes where the graph suppresses "
            "overlaps itself.",
        )
    return _known(outputs, boxes), _known(outputs, scores)


def _output(outputs: "Mapping[str, Array]", name: str | None) -> "Array":
    return outputs[_known(outputs, name or "")]


def _known(outputs: "Mapping[str, Array]", name: str) -> str:
    if name not in outputs:
        raise DataError(
            f"[detection] names an output {name!r}; the model has {_listed(outputs)}.", hint="Correct the name."
        )
    return name


def _listed(outputs: "Mapping[str, Array]") -> str:
    return ", ".join(f"{name} {list(values.shape)}" for name, values in outputs.items())


def _activated(scores: "Array", activation: str | None) -> "Array":
    import numpy as np

    if activation == "sigmoid":
        scores = 1 / (1 + np.exp(-np.clip(scores, -80, 80)))
    if activation == "softmax":
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores = powers / powers.sum(axis=1, keepdims=True)
    return scores


def _corners(boxes: "Array", form: str) -> "Array":
    """(n, 4) of any format -> left, top, right, bottom in the same unit."""
    import numpy as np

    first, second, third, fourth = boxes.astype(np.float32).T
    if form == "yxyx":
        return np.column_stack([second, first, fourth, third])
    if form == "xywh":
        return np.column_stack([first, second, first + third, second + fourth])
    if form == "cxcywh":
        return np.column_stack([first - third / 2, second - fourth / 2, first + third / 2, second + fourth / 2])
    return np.column_stack([first, second, third, fourth])


def _to_image(size: tuple[int, int], input_size: tuple[int, int] | None, *, normalized: bool) -> "Array":
    """Factors from the model's unit to pixels of the image, which was stretched to the input."""
    import numpy as np

    if normalized:
        return np.tile(np.array(size, np.float32), 2)
    if input_size is None:
        raise DataError(
            "Boxes in pixels of the input need a model with one image as input.",
            hint="Set [detection] normalized = true where boxes are in 0..1.",
        )
    return np.tile(np.array(size, np.float32) / np.array(input_size, np.float32), 2)
