"""map50 and map: mean average precision as COCO defines it (AP at IoU 0.50, and the mean of 0.50:0.05:0.95).

pycocotools matches detections with the labelled boxes; the precisions are summed up here, because an interval needs
them under many resamples of the images. Equal to ``COCOeval.accumulate`` (tested): 101 recall points, at most 100
detections an image, crowds neither right nor wrong, categories without a labelled box left out.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from edgekit.errors import DataError, ProjectError
from edgekit.metrics.detections import decode
from edgekit.metrics.protocol import ClassValue, EvaluationSample, Statistic
from edgekit.project import Detection
from edgekit_converters.coco import Objects
from edgekit_converters.targets import Targets

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

COCO_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
RECALL_POINTS = 101
MAX_DETECTIONS = 100
IMAGE_RANK = 4
SURE = 0.3
"""Score from which a detection of the source counts in ``agreement``."""
SAME = 0.5
"""IoU from which two detections of a category are the same one."""


class Found(NamedTuple):
    """24 bytes a detection, at most ``max_detections`` of them, and the labels."""

    detections: "Array"
    """float32 (detections, 6), see ``detections.COLUMNS``; best first."""
    objects: Objects
    input_size: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class MeanAveragePrecision:
    """For detectors; ``table`` says how their outputs are read."""

    name: str
    thresholds: tuple[float, ...]
    """IoU from which a detection is right; the mean over them counts."""
    table: Detection
    targets: Targets = "boxes"
    higher_is_better: bool = True
    is_fraction: bool = True
    score: str = "score of the image's best detection"
    aligned: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "aligned", self.table.classes is None)

    def record(self, sample: EvaluationSample, outputs: "Mapping[str, Array]") -> Found:
        objects = sample.target
        if not isinstance(objects, Objects):
            raise DataError(
                f"{sample.where} has no boxes, and {self.name} needs them.",
                hint="Give the JSON file of COCO instances, its images beside it.",
            )
        size = _input_size(sample.inputs)
        return Found(decode(outputs, self.table, objects=objects, input_size=size), objects, size)

    def replay(self, record: Found, outputs: "Mapping[str, Array]") -> Found:
        """The same image with other outputs."""
        found = decode(outputs, self.table, objects=record.objects, input_size=record.input_size)
        return record._replace(detections=found)

    def statistic(self, records: Sequence[Found]) -> Statistic:
        import numpy as np

        names = records[0].objects.names
        matches = _match(records, self.thresholds)
        if not matches:
            raise DataError(
                f"The evaluation data has no boxes, and {self.name} needs some.",
                hint="Give images with labelled objects.",
            )
        everything = np.ones((1, len(records)))
        per_class = {
            category: ClassValue(
                value=float(_precision(match, everything)[0]), samples=int(match.objects.sum()), name=names[category]
            )
            for category, match in matches.items()
        }

        def values(weights: "Array") -> "Array":
            found = np.stack([_precision(match, weights) for match in matches.values()])
            defined = np.isfinite(found)
            count = defined.sum(axis=0)
            total = np.where(defined, found, 0).sum(axis=0)
            mean: Array = np.divide(total, count, out=np.full(len(weights), np.nan), where=count > 0)
            return mean

        cost = sum(match.right.size for match in matches.values())
        return Statistic(values=values, per_class=per_class, cost=cost)

    def score_of(self, record: Found) -> float:
        return float(record.detections[0, 4]) if len(record.detections) else 0.0

    def prediction(self, record: Found) -> int | None:
        return int(record.detections[0, 5]) if len(record.detections) else None

    def agreement(self, source: Sequence[Found], model: Sequence[Found]) -> Mapping[str, float]:
        """How the source's sure detections (score >= 0.3) fare: share found again, their boxes' IoU, their scores."""
        import numpy as np

        pairs = [_pairs(before.detections, after.detections) for before, after in zip(source, model, strict=True)]
        sure = sum(int((before.detections[:, 4] >= SURE).sum()) for before in source)
        both = np.concatenate(pairs) if pairs else np.empty((0, 2))
        if not sure:
            return {}
        found = {"source_detections": float(sure), "found_again": len(both) / sure}
        if len(both):
            found["median_box_iou"] = float(np.median(both[:, 0]))
            found["mean_score_change"] = float(both[:, 1].mean())
        return found


def make(name: str, detection: Detection) -> MeanAveragePrecision:
    """``map50`` or ``map``; raises ProjectError where pycocotools is not installed."""
    try:
        import pycocotools.cocoeval  # noqa: F401
    except ImportError as err:
        raise ProjectError(
            f"The metric {name} needs pycocotools, which is not installed.", hint='pip install "edgekit[metrics]"'
        ) from err
    thresholds = COCO_THRESHOLDS[:1] if name == "map50" else COCO_THRESHOLDS
    return MeanAveragePrecision(name=name, thresholds=thresholds, table=detection)


class _Match(NamedTuple):
    """One category over all images, its detections sorted by falling score."""

    images: "Array"
    """int (D,): image of each detection."""
    right: "Array"
    """bool (T, D): matched a labelled box."""
    wrong: "Array"
    """bool (T, D): matched none; neither for those that matched a crowd."""
    objects: "Array"
    """int (n,): labelled boxes in each image, crowds left out."""


def _match(records: Sequence[Found], thresholds: tuple[float, ...]) -> dict[int, _Match]:
    """Category -> its matches, for the categories that have a labelled box; by pycocotools."""
    import numpy as np
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        judge = COCOeval(_truths(records), _guesses(records), iouType="bbox")
        judge.params.imgIds = list(range(1, len(records) + 1))
        judge.params.catIds = sorted(records[0].objects.names)
        judge.params.iouThrs = np.array(thresholds)
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.params.maxDets = [MAX_DETECTIONS]
        judge.evaluate()
    found = {}
    for position, category in enumerate(judge.params.catIds):
        images = judge.evalImgs[position * len(records) : (position + 1) * len(records)]
        match = _category(images, len(thresholds))
        if match.objects.sum():
            found[category] = match
    return found


def _category(images: Sequence[Mapping[str, Any] | None], thresholds: int) -> _Match:
    import numpy as np

    objects = np.array([0 if image is None else int((image["gtIgnore"] == 0).sum()) for image in images])
    present = [(index, image) for index, image in enumerate(images) if image is not None]
    scores = np.concatenate([np.array(image["dtScores"], float) for _, image in present] or [np.empty(0)])
    order = np.argsort(-scores, kind="stable")
    numbers = np.concatenate([np.full(len(image["dtScores"]), index) for index, image in present] or [np.empty(0)])
    empty = [np.empty((thresholds, 0))]
    matched = np.concatenate([image["dtMatches"] > 0 for _, image in present] or empty, axis=1)[:, order]
    ignored = np.concatenate([image["dtIgnore"] for _, image in present] or empty, axis=1)[:, order].astype(bool)
    return _Match(
        images=numbers[order].astype(np.intp),
        right=matched.astype(bool) & ~ignored,
        wrong=~matched.astype(bool) & ~ignored,
        objects=objects,
    )


def _precision(match: _Match, weights: "Array") -> "Array":
    """Weights (R, n) -> average precision (R,) over the thresholds; NaN where a resample has no labelled box."""
    import numpy as np

    objects = weights @ match.objects
    drawn = weights[:, match.images]
    total = np.zeros(len(weights))
    for right, wrong in zip(match.right, match.wrong, strict=True):
        hits = np.cumsum(drawn * right, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            recall = hits / objects[:, None]
            precision = hits / (hits + np.cumsum(drawn * wrong, axis=1) + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        total += _interpolated(recall, envelope)
    with np.errstate(invalid="ignore"):
        average: Array = np.where(objects > 0, total / len(match.right), np.nan)
    return average


def _interpolated(recall: "Array", envelope: "Array") -> "Array":
    """Mean of the envelope (R, D) at the first place where each row's rising recall reaches 0, 0.01, ..., 1."""
    import numpy as np

    rows, detections = recall.shape
    if not detections:
        return np.zeros(rows)
    points = np.linspace(0, 1, RECALL_POINTS)
    reached = [np.searchsorted(row, points, side="left") for row in recall]
    padded = np.column_stack([envelope, np.zeros(rows)])
    means: Array = np.take_along_axis(padded, np.stack(reached), axis=1).mean(axis=1)
    return means


def _truths(records: Sequence[Found]) -> Any:
    annotations = [
        {"image_id": number, "category_id": category, "bbox": list(box), "area": box[2] * box[3], "iscrowd": int(crowd)}
        for number, record in enumerate(records, start=1)
        for box, category, crowd in zip(
            record.objects.boxes, record.objects.categories, record.objects.crowd, strict=True
        )
    ]
    return _coco(records, annotations)


def _guesses(records: Sequence[Found]) -> Any:
    annotations = [
        {
            "image_id": number,
            "category_id": int(category),
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top),
            "score": score,
        }
        for number, record in enumerate(records, start=1)
        for left, top, right, bottom, score, category in record.detections.tolist()
    ]
    return _coco(records, annotations)


def _coco(records: Sequence[Found], annotations: list[dict[str, Any]]) -> Any:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "images": [{"id": number} for number in range(1, len(records) + 1)],
        "categories": [{"id": category} for category in records[0].objects.names],
        "annotations": [{**annotation, "id": number} for number, annotation in enumerate(annotations, start=1)],
    }
    coco.createIndex()
    return coco


def _pairs(source: "Array", model: "Array") -> "Array":
    """(IoU, absolute change of the score) of each sure detection of the source that the model has, too: (pairs, 2)."""
    import numpy as np

    from edgekit.agent.boxes import box_iou

    pairs = []
    free = np.ones(len(model), bool)
    for row in source[source[:, 4] >= SURE]:
        overlaps = np.where(free & (model[:, 5] == row[5]), box_iou(row[None], model)[0], 0.0)
        if overlaps.size and overlaps.max() >= SAME:
            best = int(overlaps.argmax())
            free[best] = False
            pairs.append((overlaps[best], abs(row[4] - model[best, 4])))
    return np.array(pairs).reshape(-1, 2)


def _input_size(inputs: "Mapping[str, Array]") -> tuple[int, int] | None:
    """(width, height) of the only input, NHWC or NCHW by where the 1, 3 or 4 channels are; None for other models."""
    shapes = [values.shape for values in inputs.values()]
    if len(shapes) != 1 or len(shapes[0]) != IMAGE_RANK:
        return None
    _, first, second, third = shapes[0]
    return (second, first) if third in {1, 3, 4} else (third, second)
