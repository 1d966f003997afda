"""Average precision against COCO's own, the ways outputs are read, labels from COCO files, and a real face detector."""

import contextlib
import dataclasses
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.agent.boxes import box_iou
from edgekit.errors import DataError
from edgekit.evaluate import compare, measure
from edgekit.metrics import metric_of
from edgekit.metrics.average_precision import Found, MeanAveragePrecision, _guesses, _truths
from edgekit.metrics.detections import decode
from edgekit.project import Detection
from edgekit_converters.calibration import open_dataset
from edgekit_converters.coco import Objects, read_instances
from edgekit_converters.errors import DataError as ConverterDataError
from edgekit_converters.types import TensorSpec

pytestmark = pytest.mark.unit
Array = np.ndarray[Any, Any]
NAMES = {1: "person", 3: "car", 7: "train"}


@dataclass(frozen=True, kw_only=True)
class Sample:
    target: Objects
    inputs: dict[str, Array]
    label: int | None = None
    digest: bytes = b"\x00"
    where: str = "image.jpg"


def random_records(images: int, seed: int = 0, *, ties: bool = True) -> list[Found]:
    """Noisy copies of random boxes, some missed, some made up, some crowds."""
    rng = np.random.default_rng(seed)
    records = []
    for _ in range(images):
        corners = rng.uniform(0, 60, (rng.integers(0, 7), 2))
        boxes = np.column_stack([corners, rng.uniform(5, 40, corners.shape)])
        categories = rng.choice([1, 3], len(boxes))
        objects = Objects(
            size=(100, 100),
            boxes=tuple(map(tuple, boxes.tolist())),
            categories=tuple(categories.tolist()),
            crowd=tuple((rng.random(len(boxes)) < 0.1).tolist()),
            names=NAMES,
        )
        noisy = boxes + rng.normal(0, 3, boxes.shape)
        found = np.column_stack([noisy[:, :2], noisy[:, :2] + noisy[:, 2:], rng.random(len(boxes)), categories])
        extra = np.column_stack([rng.uniform(0, 50, (3, 2)), rng.uniform(50, 99, (3, 2)), rng.random(3), [1, 3, 7]])
        found = np.vstack([found[rng.random(len(boxes)) < 0.8], extra]).astype(np.float32)
        if ties:
            found[:, 4] = np.round(found[:, 4], 1)
        records.append(Found(found[np.argsort(-found[:, 4], kind="stable")], objects, None))
    return records


def reference(records: list[Found]) -> tuple[float, float]:
    """AP and AP50 by pycocotools from end to end."""
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(_truths(records), _guesses(records), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0]), float(judge.stats[1])


def values(name: str, records: list[Found], weights: Array | None = None) -> Array:
    weights = np.ones((1, len(records))) if weights is None else weights
    return metric_of(name).statistic(records).values(weights)


@pytest.mark.parametrize("seed", range(5))
def test_the_precision_is_that_of_coco(seed: int) -> None:
    records = random_records(40, seed)
    expected = reference(records)
    assert values("map", records) == pytest.approx(expected[:1], abs=1e-12)
    assert values("map50", records) == pytest.approx(expected[1:], abs=1e-12)
    per_class = metric_of("map").statistic(records).per_class
    assert {found.name for found in per_class.values()} == {"person", "car"}
    assert np.mean([found.value for found in per_class.values()]) == pytest.approx(expected[0])


def test_a_resampled_precision_is_that_of_the_resample() -> None:
    records = random_records(12, ties=False)
    rng = np.random.default_rng(5)
    chosen = [np.sort(rng.integers(0, 12, 12)) for _ in range(6)]
    weights = np.array([np.bincount(each, minlength=12) for each in chosen], float)
    expected = [reference([records[index] for index in each])[0] for each in chosen]
    np.testing.assert_allclose(values("map", records, weights), expected, atol=1e-12)


def test_data_without_a_box_cannot_be_judged() -> None:
    record = random_records(1)[0]
    empty = record._replace(objects=dataclasses.replace(record.objects, boxes=(), categories=(), crowd=()))
    with pytest.raises(DataError, match="has no boxes, and map needs some"):
        metric_of("map").statistic([empty])


IMAGE = Objects(size=(200, 100), boxes=(), categories=(), crowd=(), names={1: "cat", 2: "dog"})
BOX = (20.0, 10.0, 60.0, 50.0)


@pytest.mark.parametrize(
    ("form", "box"),
    [
        ("xyxy", (0.1, 0.1, 0.3, 0.5)),
        ("yxyx", (0.1, 0.1, 0.5, 0.3)),
        ("xywh", (0.1, 0.1, 0.2, 0.4)),
        ("cxcywh", (0.2, 0.3, 0.2, 0.4)),
    ],
)
@pytest.mark.parametrize("normalized", [True, False])
def test_every_format_of_boxes(form: Any, box: Any, *, normalized: bool) -> None:
    table = Detection(format=form, normalized=normalized)
    boxes = np.array([box], np.float32)
    scale = np.array([50, 40, 50, 40] if form != "yxyx" else [40, 50, 40, 50])
    outputs = {"b": boxes if normalized else boxes * scale, "s": np.array([[0.2, 0.9]], np.float32)}
    found = decode(outputs, table, objects=IMAGE, input_size=(50, 40))
    np.testing.assert_allclose(found, [[*BOX, 0.9, 2], [*BOX, 0.2, 1]], rtol=1e-5)


def test_yolo_suppression_inside_the_graph_and_activations() -> None:
    row = np.array([0.2, 0.3, 0.2, 0.4, 0.5, 0.9, 0.1], np.float32)
    table = Detection(format="cxcywh", objectness=True)
    rows = np.tile(row, (20, 1))
    for output in (rows, rows.T):
        found = decode({"out": output}, table, objects=IMAGE, input_size=None)
        np.testing.assert_allclose(found, np.array([[*BOX, 0.45, 1], [*BOX, 0.05, 2]]), rtol=1e-5)
    inside = {
        "boxes": np.array([[0.1, 0.1, 0.5, 0.3]] * 3, np.float32),
        "classes": np.array([1.0, 0.0, 9.0]),
        "scores": np.array([0.9, 0.8, 0.7]),
        "n": np.array(2.0),
    }
    table = Detection(boxes="boxes", scores="scores", classes="classes", count="n", format="yxyx")
    found = decode(inside, table, objects=IMAGE, input_size=None)
    np.testing.assert_allclose(found[:, 4:], [[0.9, 2], [0.8, 1]], rtol=1e-6)
    assert not metric_of("map", detection=table).aligned
    logits = {"b": np.array([[0.1, 0.1, 0.3, 0.5]]), "s": np.array([[0.0, 2.0]])}
    softmax = decode(logits, Detection(activation="softmax", background=0), objects=IMAGE, input_size=None)
    np.testing.assert_allclose(softmax, np.array([[*BOX, 1 / (1 + np.exp(-2)), 1]]), rtol=1e-5)
    sigmoid = decode(logits, Detection(activation="sigmoid"), objects=IMAGE, input_size=None)
    np.testing.assert_allclose(sigmoid[:, 4], [1 / (1 + np.exp(-2)), 0.5], rtol=1e-5)


@pytest.mark.parametrize(
    ("outputs", "table", "message"),
    [
        ({"a": (5, 4), "b": (5,), "c": (5,)}, Detection(), r"not known which outputs are boxes and scores: a \[5, 4\]"),
        ({"a": (5, 4), "b": (5, 4)}, Detection(), "not known which outputs"),
        (
            {"a": (5, 4), "b": (5, 2)},
            Detection(boxes="x", scores="b"),
            r"names an output 'x'; the model has a \[5, 4\]",
        ),
        ({"a": (5, 4), "b": (7,)}, Detection(boxes="a", scores="b"), "There are 5 boxes in output 'a' and 7 scores"),
        ({"a": (5, 4), "b": (5, 3)}, Detection(), "has a class 2, and there are 2 categories"),
        ({"a": (5, 4), "b": (5, 2)}, Detection(normalized=False), "need a model with one image as input"),
    ],
)
def test_outputs_that_are_not_what_the_table_says(outputs: Any, table: Detection, message: str) -> None:
    arrays = {name: np.full(shape, 0.5, np.float32) for name, shape in outputs.items()}
    with pytest.raises(DataError, match=message):
        decode(arrays, table, objects=IMAGE, input_size=None)


def test_iou_of_boxes() -> None:
    first = np.array([[0, 0, 2, 2], [1, 1, 1, 1]], float)
    second = np.array([[1, 1, 3, 3], [0, 0, 2, 2]], float)
    np.testing.assert_allclose(box_iou(first, second), np.array([[1 / 7, 1], [0, 0]]))


def instances(folder: Path, **changes: Any) -> Path:
    from PIL import Image

    (folder / "images").mkdir(exist_ok=True)
    for number in range(3):
        Image.new("RGB", (20, 10), (number, 0, 0)).save(folder / "images" / f"{number}.png")
    content = {
        "info": {"year": 2017},
        "images": [{"id": 7 - i, "file_name": f"{i}.png", "width": 20, "height": 10, "license": 1} for i in range(3)],
        "annotations": [{"id": 1, "image_id": 6, "category_id": 3, "bbox": [1, 2, 3.5, 4], "iscrowd": 0, "area": 14}],
        "categories": [{"id": 3, "name": "car"}, {"id": 1, "name": "person", "supercategory": "x"}],
        **changes,
    }
    path = folder / "instances_val.json"
    path.write_text(json.dumps(content))
    return path


SPEC = (TensorSpec(name="image", shape=(1, 10, 20, 3), dtype="float32"),)


def test_coco_files_are_data(tmp_path: Path) -> None:
    dataset = open_dataset(str(instances(tmp_path)), SPEC, targets="boxes")
    samples = list(dataset.samples())
    assert dataset.count == 3
    assert [sample.target.boxes for sample in samples] == [(), ((1.0, 2.0, 3.5, 4.0),), ()]
    assert list(samples[1].target.names.items()) == [(1, "person"), (3, "car")]
    assert samples[1].where.endswith("1.png")
    assert samples[1].inputs["image"][0, 0, 0].tolist() == [1, 0, 0]
    assert [sample.target.size for sample in open_dataset("instances_val.json", SPEC, base=tmp_path, limit=1).samples()]
    with pytest.raises(ConverterDataError, match="labelled with boxes, and the metric needs another target"):
        list(open_dataset(str(tmp_path / "instances_val.json"), SPEC, targets="class").samples())
    with pytest.raises(ConverterDataError, match="has no boxes, and the metric needs them"):
        list(open_dataset(str(tmp_path / "images"), SPEC, targets="boxes").samples())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": []}, "has no images or no categories"),
        ({"images": [{"id": 1, "file_name": "../x.png", "width": 1, "height": 1}]}, "lies outside its folder"),
        ({"images": [{"id": 1, "file_name": "/x.png", "width": 1, "height": 1}]}, "lies outside its folder"),
        ({"images": [{"id": 1, "file_name": "x" * 300, "width": 1, "height": 1}]}, "a name of 300 characters"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [5, 5, -2, 2]}]}, "is none"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1e200, 1e200]}]}, "is none"),
        ({"images": [{"id": 1, "file_name": "none.png", "width": 1, "height": 1}]}, r"none\.png of .* is not found"),
        (
            {"images": [{"id": 1, "file_name": "0.png", "width": 9, "height": 9}]},
            "20 x 10 pixels; its labels say 9 x 9",
        ),
        ({"annotations": [{"image_id": 1, "category_id": 9, "bbox": [0, 0, 1, 1]}]}, "unknown category 9"),
        ({"annotations": [{"image_id": 1, "category_id": 3, "bbox": [0, 0, 1]}]}, "no file of COCO instances"),
    ],
)
def test_wrong_coco_files(tmp_path: Path, changes: Any, message: str) -> None:
    path = instances(tmp_path, **changes)
    with pytest.raises(ConverterDataError, match=message):
        list(open_dataset(str(path), SPEC).samples())


def test_coco_as_it_is_laid_out(tmp_path: Path) -> None:
    path = instances(tmp_path)
    (tmp_path / "annotations").mkdir()
    path = path.rename(tmp_path / "annotations" / path.name)
    (tmp_path / "images").rename(tmp_path / "val")
    assert read_instances(path).files[0] == tmp_path / "val" / "0.png"


FACES = ((161.0, 29.0, 62.0, 88.0), (83.0, 56.0, 58.0, 80.0), (4.0, 69.0, 27.0, 38.0), (274.0, 82.0, 31.0, 42.0))


def faces(cases: Path, count: int) -> tuple[list[Sample], list[dict[str, Array]]]:
    """Shifted views of the picture with its four faces, and what UltraFace slim makes of them."""
    import onnxruntime
    from PIL import Image

    with Image.open(cases / "data/images/face.jpg") as image:
        pixels = np.asarray(image.convert("RGB").resize((320, 240)), np.float32)
    session = onnxruntime.InferenceSession(cases / "models/onnx/ultraface_slim-320.onnx")
    samples, outputs = [], []
    for shift in range(count):
        view = np.roll(pixels, 2 * shift, axis=1)
        data = ((view - 127) / 128).transpose(2, 0, 1)[None]
        objects = Objects(
            size=(320, 240),
            boxes=tuple((left + 2.0 * shift, top, width, height) for left, top, width, height in FACES),
            categories=(1,) * 4,
            crowd=(False,) * 4,
            names={1: "face"},
        )
        samples.append(Sample(target=objects, inputs={"input": data}, digest=bytes([shift])))
        outputs.append(dict(zip(("scores", "boxes"), session.run(None, {"input": data}), strict=True)))
    return samples, outputs


def test_a_real_detector_whose_boxes_collapse(cases: Path) -> None:
    pytest.importorskip("onnxruntime")
    samples, outputs = faces(cases, 8)
    metric = metric_of("map50", detection=Detection(background=0, score_threshold=0.3))
    assert isinstance(metric, MeanAveragePrecision)

    def replay(change: Any) -> Any:
        rows = iter(outputs)
        return measure(lambda _: change(next(rows)), samples, metric)

    source = replay(lambda found: found)
    np.testing.assert_allclose(source.records[0].detections[0, :4], [161, 29, 223, 117], atol=1.5)
    assert source.records[0].detections[0, 4] > 0.999
    moved = compare(source, replay(lambda found: {**found, "boxes": found["boxes"] * 0.5}))
    assert (moved.source, moved.model) == (1, 0)
    heads = {head.name: head for head in moved.heads}
    assert (heads["boxes"].drop, heads["scores"].drop) == (1, 0)
    assert (heads["scores"].sqnr_db, heads["scores"].max_error) == (None, 0)
    assert [finding.name for finding in moved.findings] == ["output-collapsed", "evaluation-few-samples"]
    assert "it alone takes the metric from 1 to 0" in moved.findings[0].message
    assert moved.agreement["found_again"] == 0
    steps = compare(source, replay(lambda found: {**found, "boxes": np.round(found["boxes"] * 255) / 255}))
    assert steps.drop == 0
    assert 0.95 < steps.agreement["median_box_iou"] < 1
    assert [(change.name, change.samples) for change in steps.per_class] == [("face", 32)]
