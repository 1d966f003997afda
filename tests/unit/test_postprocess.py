"""Postprocessing: declared, checked by the build, and the same on the host and on the device."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgekit.agent.boxes import box_iou
from edgekit.agent.outputs import DoesNotFit
from edgekit.agent.pipeline import Pipeline, find_image, image_size
from edgekit.agent.postprocess import Class, apply
from edgekit.artifact import Artifact
from edgekit.entries import DetectionEntry, Postprocessing
from edgekit.errors import ProjectError
from edgekit.postprocessing import check_postprocessing, decide_postprocessing
from edgekit.predict import predict
from edgekit.project import Classification, load_project
from edgekit_converters.types import FloatModel, TensorSpec
from tests.artifacts import make_artifact

pytestmark = pytest.mark.unit
Array = np.ndarray[Any, Any]
BOX = [0.1, 0.2, 0.5, 0.6]


def plain(spec: Postprocessing) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(spec)
    return found


def scores(*values: float) -> dict[str, Array]:
    return {"scores": np.array([values], np.float32)}


def detected(*rows: list[float]) -> dict[str, Array]:
    """Boxes and scores of one image, with the batch."""
    table = np.array([rows], np.float32)
    return {"boxes": table[..., :4], "scores": table[..., 4:]}


@pytest.mark.parametrize(
    ("activation", "expected"),
    [(None, [3.0, 1.0]), ("sigmoid", [0.952574, 0.731059]), ("softmax", [0.843795, 0.114195])],
)
def test_the_best_classes(activation: Any, expected: list[float]) -> None:
    spec = Classification(activation=activation, top_k=2)
    found = apply(plain(spec), scores(1, 3, 0), ["a", "b", "c"]).classes
    assert [(item.class_index, item.label) for item in found] == [(1, "b"), (0, "a")]
    assert [item.score for item in found] == pytest.approx(expected, abs=1e-6)
    assert apply(plain(spec), scores(1, 3, 0)).classes[0].label is None


def test_a_classifier_needs_no_declaration() -> None:
    assert apply(None, scores(1, 1), ["a", "b"]).classes == (Class(0, "a", 1.0), Class(1, "b", 1.0))
    assert apply(None, scores(1, 1), ["a"]) == ((), ())
    assert apply(None, scores(1, 1)) == ((), ())


def test_scores_that_are_no_numbers_are_left_out() -> None:
    nan, inf = float("nan"), float("inf")
    found = apply(plain(Classification()), scores(nan, 1, inf, 2)).classes
    assert [item.class_index for item in found] == [3, 1]
    assert apply(plain(Classification(activation="softmax")), scores(nan, 1)).classes == ()
    assert apply(plain(Classification(activation="softmax")), scores(inf, 1)).classes == ()


def test_boxes_in_pixels_of_the_image() -> None:
    spec = plain(DetectionEntry(background=0, score_threshold=0.5))
    outputs = detected([*BOX, 0.1, 0.9, 0.2], [*BOX, 0.1, 0.8, 0.7], [0.9, 0.9, 2.0, 2.0, 0.1, 0.2, 0.6])
    for labels in (["cat", "dog"], ["nothing", "cat", "dog"]):
        found = apply(spec, outputs, labels, (100, 200), (32, 32)).detections
        assert [(item.label, item.class_index) for item in found] == [("cat", 0), ("dog", 1), ("dog", 1)]
        assert [item.score for item in found] == pytest.approx([0.9, 0.7, 0.6])
    assert found[0].box == pytest.approx((10, 40, 50, 120), abs=1e-4)
    assert found[2].box == pytest.approx((90, 180, 100, 200), abs=1e-4)  # never outside the image
    assert apply(spec, outputs, None, (100, 200)).detections[0].label is None


def test_boxes_that_are_no_numbers_are_left_out() -> None:
    nan = float("nan")
    outputs = detected([*BOX, nan], [nan, 0, 1, 1, 0.9], [*BOX, 0.7])
    found = apply(plain(DetectionEntry()), outputs, None, (10, 10)).detections
    assert [item.score for item in found] == pytest.approx([0.7])
    inside: dict[str, Array] = {
        "b": np.ones((1, 2, 4)),
        "s": np.ones((1, 2)),
        "c": np.array([[nan, 1]]),
        "n": np.array([nan]),
    }
    spec = plain(DetectionEntry(boxes="b", scores="s", classes="c", count="n"))
    assert apply(spec, inside, None, (10, 10)).detections == ()
    assert [item.class_index for item in apply({**spec, "count": None}, inside, None, (10, 10)).detections] == [1]


def test_huge_outputs_take_bounded_time() -> None:
    outputs: dict[str, Array] = {
        "boxes": np.random.default_rng(0).random((1, 50_000, 4), np.float32),
        "scores": np.ones((1, 50_000, 20)),
    }
    begin = time.process_time()
    found = apply(plain(DetectionEntry(max_detections=1000, nms_iou=1.0)), outputs, None, (640, 480)).detections
    assert len(found) == 1000
    assert time.process_time() - begin < 3


@settings(max_examples=40)
@given(
    rows=arrays.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(6)), elements=st.floats(0, 1, width=32)),
    overlap=st.floats(0.1, 1),
    limit=st.integers(1, 20),
)
def test_what_is_left_does_not_overlap(rows: Array, overlap: float, limit: int) -> None:
    spec = plain(DetectionEntry(nms_iou=overlap, max_detections=limit, score_threshold=0.2))
    found = apply(spec, detected(*rows.tolist()), None, (1, 1)).detections
    assert len(found) <= limit
    values = [item.score for item in found]
    assert values == sorted(values, reverse=True)
    assert all(value >= np.float32(0.2) for value in values)
    for place, item in enumerate(found):
        others = [other.box for other in found[:place] if other.class_index == item.class_index]
        if others:
            assert box_iou(np.array([item.box]), np.array(others)).max() <= overlap + 1e-6


@pytest.mark.parametrize(
    ("spec", "outputs", "labels", "message"),
    [
        (
            Classification(),
            {"a": (1, 3), "b": (1, 3)},
            None,
            r"not known which output has the scores.*a \[3\], b \[3\]",
        ),
        (Classification(output="x"), {"a": (1, 3)}, None, r"\[postprocessing\] names an output 'x'"),
        (Classification(), {"a": (1, 8, 8, 3)}, None, r"'a' of shape \[8, 8, 3\] is no list of scores"),
        (Classification(), {"a": (1, 3)}, ("x", "y"), "There are 2 labels, and output 'a' has 3 scores"),
        (Classification(), {"a": (4, 3)}, None, "has a batch of 4"),
        (DetectionEntry(), {"a": (1, 5, 3), "b": (1, 5, 2)}, None, "not known which outputs are boxes and scores"),
        (DetectionEntry(boxes="a", scores="b"), {"a": (1, 5, 3), "b": (1, 5)}, None, "holds no boxes of 4 numbers"),
        (DetectionEntry(), {"a": (1, 5, 4), "b": (1, 5, 2)}, ("x",) * 3, "3 labels, and the scores are of 2 classes"),
        (DetectionEntry(background=2), {"a": (1, 5, 4), "b": (1, 5, 2)}, None, "column 2 of output 'b', which has 2"),
        (DetectionEntry(), {"a": (1, 20, 4)}, None, r"does not hold boxes with the scores of their classes"),
    ],
)
def test_what_does_not_fit_is_told_by_the_build(spec: Any, outputs: Any, labels: Any, message: str) -> None:
    with pytest.raises(ProjectError, match=message) as caught:
        check_postprocessing(spec, float_model(outputs), labels)
    assert "The postprocessing does not fit the model" in caught.value.message
    assert caught.value.hint


def float_model(outputs: Mapping[str, tuple[int, ...]], shape: tuple[int, ...] = (1, 8, 8, 3)) -> FloatModel:
    return FloatModel(
        tflite=b"",
        inputs=(TensorSpec(name="image", shape=shape, dtype="float32"),),
        outputs=tuple(TensorSpec(name=name, shape=size, dtype="float32") for name, size in outputs.items()),
        source_format="test",
        route="none",
        tools={},
    )


def test_detections_need_an_image() -> None:
    outputs = {"a": (1, 5, 4), "b": (1, 5, 2)}
    check_postprocessing(DetectionEntry(), float_model(outputs), None)
    with pytest.raises(ProjectError, match="the model does not take one image"):
        check_postprocessing(DetectionEntry(), float_model(outputs, (1, 10)), None)


def declared(folder: Path, text: str) -> Postprocessing | None:
    (folder / "edgekit.toml").write_text(text)
    return decide_postprocessing(load_project(folder))


def test_declared(tmp_path: Path) -> None:
    assert declared(tmp_path, "") is None
    assert declared(tmp_path, '[postprocessing]\nkind = "classification"\ntop_k = 1') == Classification(top_k=1)
    assert declared(tmp_path, "[detection]\nbackground = 0") == DetectionEntry(background=0)
    both = '[detection]\nbackground = 0\nnms_iou = 0.4\n[postprocessing]\nkind = "detection"\nscore_threshold = 0.7'
    assert declared(tmp_path, both) == DetectionEntry(background=0, nms_iou=0.4, score_threshold=0.7)
    assert declared(tmp_path, '[model]\npath = "m.onnx"\nbatch = 4\n[detection]') is None
    with pytest.raises(ProjectError, match="does not say how the outputs are read"):
        declared(tmp_path, '[postprocessing]\nkind = "detection"')
    with pytest.raises(ProjectError, match=r"postprocessing.*kind"):
        declared(tmp_path, '[postprocessing]\nkind = "segmentation"')
    with pytest.raises(ProjectError, match="top_k"):
        declared(tmp_path, '[postprocessing]\nkind = "classification"\ntop_k = 0')


def test_a_kind_of_a_newer_version_is_refused() -> None:
    with pytest.raises(DoesNotFit, match="'segmentation' is not known; this version knows") as caught:
        apply({"kind": "segmentation"}, scores(1))
    assert "newer" in caught.value.hint


@pytest.mark.parametrize(
    ("shape", "spec", "expected"),
    [
        ((48, 64, 3), {}, (64, 48)),
        ((1, 48, 64, 3), {"layout": "nchw"}, (64, 48)),
        ((48, 64), {}, (64, 48)),
        ((3, 48, 64), None, (64, 48)),
        ((1, 48, 64, 3), None, (64, 48)),
        ((10,), {}, None),
    ],
)
def test_size_of_an_image(shape: tuple[int, ...], spec: Any, expected: Any) -> None:
    assert image_size(shape, spec) == expected


def test_the_image_among_the_inputs() -> None:
    image, other = ((1, 3, 48, 64), {"layout": "nchw"}), ((1, 2), None)
    assert find_image({"image": image, "size": other}) == ("image", (64, 48))
    assert find_image({"a": image, "b": image}) is None


@pytest.fixture
def classifier(tmp_path: Path, cases: Path) -> Artifact:
    """KWS int8 with labels."""
    data = (cases / "models" / "tflite_ref" / "kws_int8.tflite").read_bytes()
    labels = tuple(f"word {n}" for n in range(12))
    return make_artifact(tmp_path / "kws", data, labels=labels, postprocessing=Classification(top_k=3))


def test_run_applies_what_the_manifest_declares(
    classifier: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgekit.agent import load
    from edgekit.cli import cli
    from edgekit.cli.failures import guarded

    sample = np.random.default_rng(0).normal(0, 10, (49, 10, 1)).astype(np.float32)
    np.save(tmp_path / "sample.npy", sample)
    found = predict(classifier.path, tmp_path / "sample.npy")
    on_device = load(str(classifier.path)).predict(sample)
    assert found.classes == on_device.classes
    assert len(found.classes) == 3
    assert (on_device.label, on_device.score) == (found.classes[0].label, found.classes[0].score)
    assert guarded(cli, ["run", str(classifier.path), str(tmp_path / "sample.npy")]) == 0
    assert found.classes[0].label is not None
    assert found.classes[0].label in capsys.readouterr().out


def test_a_face_detector_finds_the_faces(cases: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from PIL import Image

    with Image.open(cases / "data/images/face.jpg") as image:
        width, height = image.size
        pixels = np.asarray(image.convert("RGB").resize((320, 240)), np.float32)
    session = onnxruntime.InferenceSession(cases / "models/onnx/ultraface_slim-320.onnx")
    outputs = dict(
        zip(
            ("scores", "boxes"),
            session.run(None, {"input": ((pixels - 127) / 128).transpose(2, 0, 1)[None]}),
            strict=True,
        )
    )
    spec = plain(DetectionEntry(background=0, score_threshold=0.7))
    found = apply(spec, outputs, ["face"], (width, height), (320, 240)).detections
    assert [item.label for item in found] == ["face"] * 4
    np.testing.assert_allclose(
        np.array(found[0].box) / np.tile([width / 320, height / 240], 2), [161, 29, 223, 117], atol=2
    )


def test_bare_file_is_given_and_gives_real_values(cases: Path) -> None:
    from edgekit.agent.runtime import Model

    pipeline = Pipeline(Model(str(cases / "models" / "tflm" / "hello_world_int8.tflite")), {})
    found = pipeline.run(np.array([[1.5]], np.float32))
    assert next(iter(found.outputs.values())).item() == pytest.approx(np.sin(1.5), abs=0.1)
    assert found[1:] == (None, None, (), ())


def test_the_build_keeps_it_in_the_manifest_or_refuses(cases: Path, tmp_path: Path) -> None:
    from edgekit.build import build
    from edgekit.plan import BuildOptions, plan
    from edgekit.target import load_target

    model = cases / "models" / "tflm" / "hello_world_float.tflite"
    text = f'[model]\npath = "{model}"\n[postprocessing]\nkind = "classification"\nactivation = "sigmoid"\n'
    options, target = BuildOptions(precision="float32"), load_target("rpi4")
    (tmp_path / "edgekit.toml").write_text(text)
    built = build(plan(load_project(tmp_path), target, options, tmp_path))
    assert built.manifest.postprocessing == Classification(activation="sigmoid")
    (tmp_path / "edgekit.toml").write_text(text + 'output = "scores"\n')
    with pytest.raises(ProjectError, match=r"\[postprocessing\] names an output 'scores'; the model has .* \[1\]"):
        build(plan(load_project(tmp_path), target, options, tmp_path / "other"))
    assert not (tmp_path / "other").exists()
