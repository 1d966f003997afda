"""ONNX through onnx2tf in its own environment, against onnxruntime; real networks, real images, whole builds."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgekit.artifact import Artifact
from edgekit.build import build
from edgekit.cache import Cache
from edgekit.plan import BuildOptions, plan
from edgekit.predict import predict
from edgekit.progress import silent
from edgekit.project import load_project
from edgekit.reuse import convert_or_reuse
from edgekit.target import load_target
from edgekit_converters.child import convert
from edgekit_converters.environments import TOOLS, maker_for, prepare
from edgekit_converters.errors import ConversionError, MismatchError, SourceError
from edgekit_converters.shapes import InputHint
from edgekit_converters.sources import open_source
from edgekit_converters.types import FloatModel
from tests.conftest import ROOT

# A process of its own group: the environment is made once, by one worker. Making it takes a minute.
pytestmark = [
    pytest.mark.convert,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("onnx"),
    pytest.mark.usefixtures("onnx2tf"),
]
NHWC = (0, 2, 3, 1)
FACE_ANCHOR = 4251
"""The anchor that onnxruntime scores highest on face.jpg; int8 scores end at 255/256, as its neighbours do."""


@pytest.fixture(scope="session")
def onnx2tf() -> Iterator[None]:
    """The environment of onnx2tf, kept in build/envs of the checkout between runs; skips without a Python for it."""
    try:
        maker_for(TOOLS["onnx"])
    except SourceError as err:
        pytest.skip(str(err))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKIT_ENV_DIR", os.environ.get("EDGEKIT_ENV_DIR", str(ROOT / "build" / "envs")))
        prepare(TOOLS["onnx"], silent)
        yield


@pytest.fixture(scope="session")
def images(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 crops of 5 photographs, 320 x 240."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for path in sorted((cases / "data/images").glob("*.[bj][mp][pg]")):
        photograph = Image.open(path).convert("RGB")
        for number in range(20):
            share = rng.uniform(0.5, 1)
            width, height = (int(size * share) for size in photograph.size)
            left, top = (int(rng.integers(0, n + 1)) for n in (photograph.width - width, photograph.height - height))
            crop = photograph.crop((left, top, left + width, top + height)).resize((320, 240))
            crop.save(folder / f"{path.stem}-{number:02}.png")
    return folder


ULTRAFACE = "resize = [240, 320]\nmean = [127]\nstd = [128]"
RESNET = "resize = [32, 32]\nscale = 0.00392156862745098\nmean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]"


@pytest.mark.parametrize(
    ("model", "preprocessing", "outputs"),
    [
        ("onnx/ultraface_slim-320.onnx", ULTRAFACE, {"scores": (1, 4420, 2), "boxes": (1, 4420, 4)}),
        ("onnx/ultraface_slim-320_simplified.onnx", ULTRAFACE, {"scores": (1, 4420, 2), "boxes": (1, 4420, 4)}),
        ("pytorch_derived/resnet20_cifar10.onnx", RESNET, {"logits": (1, 10)}),
    ],
)
def test_a_real_network_to_an_int8_artifact(
    cases: Path, images: Path, tmp_path: Path, model: str, preprocessing: str, outputs: dict[str, tuple[int, ...]]
) -> None:
    source = Path(shutil.copy(cases / "models" / model, tmp_path))
    before = source.read_bytes()
    (tmp_path / "edgekit.toml").write_text(
        f'[model]\npath = "{source.name}"\n[input.input.preprocessing]\n{preprocessing}\nlayout = "nchw"\n'
        f'[calibration]\ndata = "{images}"\n'
    )
    planned = plan(load_project(tmp_path), load_target("rpi4"), BuildOptions(output=tmp_path / "out"), tmp_path)
    cache = Cache(folder=tmp_path / "cache")
    artifact = build(planned, cache=cache)
    converted, reused = convert_or_reuse(planned, cache, silent)
    assert reused
    check_conversion(converted, outputs)
    assert set(artifact.manifest.audit.tensor_dtypes) <= {"int8", "int32"}
    assert artifact.manifest.audit.model_bytes < len(converted.tflite) / 2
    assert source.read_bytes() == before, "onnx2tf works on a copy"
    assert {path.name for path in tmp_path.iterdir()} <= {source.name, "edgekit.toml", "edgekit.lock", "out", "cache"}
    if "scores" in outputs:
        check_face(cases, artifact, decoded="simplified" not in model)


def check_conversion(converted: FloatModel, outputs: dict[str, tuple[int, ...]]) -> None:
    assert (converted.route, converted.tools["onnx2tf"]) == ("onnx2tf", "2.6.9")
    (image,) = converted.inputs
    assert (image.name, image.permutation) == ("input", NHWC)
    assert {spec.name: spec.shape for spec in converted.outputs} == outputs
    assert converted.fidelity is not None
    assert converted.fidelity.kind == "calibration"
    for output in converted.fidelity.outputs:
        assert output.sqnr_db is not None
        assert output.sqnr_db > 100


def check_face(cases: Path, artifact: Artifact, *, decoded: bool) -> None:
    """The face of face.jpg is near (161, 29)-(223, 117) in 320 x 240, in int8 too.

    The simplified network gives offsets from its anchors, whose decoding was cut off.
    """
    (image,) = artifact.manifest.inputs
    assert image.preprocessing is not None
    assert (image.permutation, image.preprocessing.layout) == (NHWC, "nhwc")
    answer = predict(artifact.path, cases / "data/images/face.jpg").outputs
    assert answer["scores"][0, FACE_ANCHOR, 1] > 0.99
    if decoded:
        left, top, right, bottom = answer["boxes"][0, FACE_ANCHOR] * [320, 240, 320, 240]
        np.testing.assert_allclose([(left + right) / 2, (top + bottom) / 2], [192, 73], atol=16)


def network(folder: Path, nodes: list[onnx.NodeProto], inputs: object, outputs: object, weights: object = ()) -> Path:
    """An .onnx of opset 17; ``inputs`` and ``outputs`` map names to shapes."""
    sides = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side.items()]  # type: ignore[attr-defined]
        for side in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "graph", *sides, list(weights))  # type: ignore[call-overload]
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def weight(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(len(name)).normal(size=shape).astype(np.float32)
    return numpy_helper.from_array(values / np.float32(np.sqrt(np.prod(shape[1:]))), name)


def test_layouts_with_equal_dimensions_names_of_all_kinds_and_open_sizes(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["images:0", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["out/1"]),
        helper.make_node("MatMul", ["tokens", "m"], ["2"]),
    ]
    source = network(
        tmp_path,
        nodes,
        {"tokens": ["N", 7, 5], "images:0": ["N", 8, "H", 8]},
        {"2": ["N", 7, 8], "out/1": None},
        [weight("w", 8, 8, 3, 3), weight("m", 5, 8)],
    )
    with pytest.raises(SourceError, match="Dimension 2 of input 'images:0' is open"):
        convert(open_source(source), log_folder=tmp_path / "logs")
    hints = {"images:0": InputHint(shape=(1, 8, 8, 8), dtype=None, declared=True)}
    model = convert(open_source(source), hints=hints, log_folder=tmp_path / "logs")
    assert [(spec.name, spec.shape, spec.permutation) for spec in (*model.inputs, *model.outputs)] == [
        ("tokens", (1, 7, 5), None),
        ("images:0", (1, 8, 8, 8), NHWC),
        ("2", (1, 7, 8), None),
        ("out/1", (1, 8, 8, 8), NHWC),
    ]
    kept = convert(open_source(source, layout="nchw"), hints=hints, log_folder=tmp_path / "logs")
    assert [spec.permutation for spec in kept.inputs] == [None, None]
    finding = next(finding for finding in kept.findings if finding.name == "output-layout")
    assert "out/1 with channels last" in finding.message
    assert kept.outputs[1].permutation == NHWC
    again = convert(open_source(source), hints=hints, log_folder=tmp_path / "logs")
    assert again.tflite == model.tflite
    assert not (tmp_path / "logs").exists()


def test_a_network_that_is_nhwc_already_stays_so(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Transpose", ["c"], ["y"], perm=list(NHWC)),
    ]
    source = network(tmp_path, nodes, {"x": [1, 10, 12, 3]}, {"y": [1, 10, 12, 8]}, [weight("w", 8, 3, 3, 3)])
    model = convert(open_source(source), log_folder=tmp_path)
    assert [(spec.shape, spec.permutation) for spec in (*model.inputs, *model.outputs)] == [
        ((1, 10, 12, 3), None),
        ((1, 10, 12, 8), None),
    ]


def test_what_cannot_be_converted_says_so(tmp_path: Path) -> None:
    unique = network(tmp_path, [helper.make_node("Unique", ["x"], ["y"], axis=0)], {"x": [4, 3]}, {"y": ["k", 3]})
    with pytest.raises(ConversionError, match=r"What onnx2tf made does not run: .*ONNX_UNIQUE") as caught:
        convert(open_source(unique), log_folder=tmp_path / "logs")
    assert "that TensorFlow Lite does not have" in caught.value.hint
    noise = network(tmp_path, [helper.make_node("RandomNormalLike", ["x"], ["y"])], {"x": [4, 3]}, {"y": [4, 3]})
    with pytest.raises(MismatchError, match=r"Output 'y' of the float \.tflite differs from the source's"):
        convert(open_source(noise), log_folder=tmp_path / "logs")
