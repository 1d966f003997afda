"""PyTorch through the child process: .pt2, functions and TorchScript, against PyTorch itself (the fidelity check)."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.build import build
from edgekit.plan import BuildOptions, plan
from edgekit.project import Project
from edgekit.target import load_target
from edgekit_converters.child import convert, describe
from edgekit_converters.errors import ConversionError, SourceError
from edgekit_converters.shapes import InputHint
from edgekit_converters.sources import open_source
from edgekit_converters.structure import read_structure
from edgekit_converters.types import FloatModel
from tests.convert.conftest import run

pytestmark = [pytest.mark.convert, pytest.mark.xdist_group("torch")]  # conversions are shared

HERE = Path(__file__).parent
PT2 = "models/pytorch_derived/resnet20_cifar10.pt2"


def hint(*shape: int, dtype: str | None = None) -> InputHint:
    return InputHint(shape=shape, dtype=dtype, declared=True)


SMALL = {"image": hint(1, 3, 8, 8), "index": hint(1, 2, dtype="int64")}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's project: a module of networks, and files made from them."""
    folder = tmp_path_factory.mktemp("torch")
    shutil.copy(HERE / "torch_nets.py", folder)
    subprocess.run([sys.executable, "torch_nets.py", "."], cwd=folder, check=True, capture_output=True)
    return folder


def true(model: FloatModel, atol: float) -> bool:
    assert model.fidelity is not None
    return all(output.max_error <= atol for output in model.fidelity.outputs)


@pytest.fixture(scope="session")
def resnet20(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> FloatModel:
    return convert(open_source(PT2, directory=cases, layout="nhwc"), log_folder=tmp_path_factory.mktemp("logs"))


@pytest.mark.slow
def test_resnet20_of_a_pt2_of_a_newer_torch(resnet20: FloatModel) -> None:
    assert [(spec.name, spec.shape, spec.permutation) for spec in resnet20.inputs] == [
        ("x", (1, 32, 32, 3), (0, 2, 3, 1))
    ]
    assert [(spec.name, spec.shape) for spec in resnet20.outputs] == [("output_0", (1, 10))]
    assert (resnet20.source_format, resnet20.findings) == ("torch-export", ())
    assert true(resnet20, 1e-5)
    names = Counter(op.name for op in read_structure(resnet20.tflite).ops)
    ops = {name: names[name] for name in ("TRANSPOSE", "CONV_2D", "MEAN")}
    assert ops == {"TRANSPOSE": 0, "CONV_2D": 19, "MEAN": 1}, "a mean over height and width needs no TRANSPOSE"
    assert b"layer3.2.conv2" in resnet20.tflite, "layers keep the names of state_dict"


@pytest.mark.slow
def test_resnet20_of_a_function_and_its_weights_is_the_same_file(
    cases: Path, folder: Path, resnet20: FloatModel, tmp_path: Path
) -> None:
    weights = cases / "models/pytorch/resnet20-12fca82f.th"
    source = open_source("torch_nets:ResNet20", directory=folder, weights=weights, layout="nhwc")
    model = convert(source, hints={"x": hint(1, 3, 32, 32)}, log_folder=tmp_path)
    assert model.tflite == resnet20.tflite
    assert (model.files, model.source_format) == (("torch_nets.py",), "torch-factory")
    script = open_source("models/pytorch_derived/resnet20_cifar10_ts.pt", directory=cases, layout="nhwc")
    traced = convert(script, hints={"x": hint(1, 3, 32, 32)}, log_folder=tmp_path)
    assert true(traced, 1e-5)


@pytest.mark.slow
def test_resnet20_int8_build(cases: Path, resnet20: FloatModel, tmp_path: Path) -> None:
    from benchmarks.quality import photograph_crops

    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    crops = ((photograph_crops(cases) / 255 - mean) / deviation).astype(np.float32)
    np.savez(tmp_path / "calibration.npz", x=crops[:100].transpose(0, 3, 1, 2))
    options = BuildOptions(
        model=str(cases / PT2), layout="nhwc", calibration=str(tmp_path / "calibration.npz"), output=tmp_path / "out"
    )
    artifact = build(plan(Project(), load_target("rpi4"), options, tmp_path))
    assert artifact.manifest.audit.model_bytes < 320_000
    expected = run(resnet20, {"x": crops[300:400]})[0]
    spec = artifact.manifest.inputs[0]
    assert (spec.dtype, spec.shape) == ("int8", (1, 32, 32, 3))
    found = run_artifact(artifact.model, crops[300:400])
    sqnr_db = 10 * np.log10(np.square(expected).sum() / np.square(expected - found).sum())
    assert sqnr_db > 20
    assert (expected.argmax(1) == found.argmax(1)).mean() >= 0.9


def run_artifact(path: Path, inputs: Any) -> Any:
    from edgekit_converters.flatbuffer import read, signature_specs
    from tests.convert.conftest import run_bytes

    data = path.read_bytes()
    sides = signature_specs(read(data))
    return run_bytes(data, *sides, {sides[0][0].name: inputs})[0]


@pytest.fixture(scope="session")
def small(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> FloatModel:
    source = open_source("torch_nets:small", directory=folder, weights=folder / "small.pth")
    return convert(source, hints=SMALL, log_folder=tmp_path_factory.mktemp("logs"))


@pytest.mark.slow
def test_a_function_with_weights(small: FloatModel) -> None:
    model = small
    assert [(spec.name, spec.dtype) for spec in model.inputs] == [("image", "float32"), ("index", "int32")]
    assert [(spec.name, spec.shape) for spec in model.outputs] == [
        ("scores", (1, 2)),
        ("map", (1, 4, 8, 8)),
        ("rows", (1, 4, 8)),
    ]
    assert true(model, 1e-5)
    found = {finding.name for finding in model.findings}
    assert found == {"nchw-input", "narrowed-dtype", "mean-over-axes"}


@pytest.mark.slow
def test_weights_as_safetensors_give_the_same_file(folder: Path, small: FloatModel, tmp_path: Path) -> None:
    source = open_source("torch_nets:small", directory=folder, weights=folder / "small.safetensors")
    assert convert(source, hints=SMALL, log_folder=tmp_path).tflite == small.tflite


@pytest.mark.slow
def test_an_open_batch_and_nhwc(folder: Path, tmp_path: Path) -> None:
    source = open_source("dynamic.pt2", directory=folder, layout="nhwc")
    assert describe(source, log_folder=tmp_path)[0]["image"] == ((None, 3, 8, 8), "float32")
    model = convert(source, batch=2, log_folder=tmp_path)
    assert {spec.name: spec.shape for spec in model.inputs} == {"image": (2, 8, 8, 3), "index": (2, 2)}
    assert {spec.name: spec.shape for spec in model.outputs}["map"] == (2, 8, 8, 4)
    assert true(model, 1e-5)


REFUSED = (
    (
        "torch_nets:small",
        "other.pth",
        r"missing in the file: conv\.weight, .* and 2 more; not in the network: other",
    ),
    ("torch_nets:small", "bomb.pth", "hold more than tensors"),
    ("torch_nets:small", "shape.pth", r"other shapes: linear\.weight is \(3, 6\), the network's \(2, 6\)"),
    ("torch_nets:small", "none.pth", "cannot be read: No such file"),
    ("torch_nets:small", "damaged.safetensors", "are damaged or no weights at all"),
    ("torch_nets:number", None, "gave a int, not a torch.nn.Module"),
    ("torch_nets:absent", None, "is not found: module 'torch_nets' has no attribute 'absent'"),
    ("train.pt2", None, r"exported in training mode \(aten::batch_norm"),
    ("torch_nets:Counting", None, "writes 'b_count' while it computes, and a .tflite would not remember that"),
)


@pytest.mark.slow
def test_refusals(folder: Path) -> None:
    small = {name: (shape.shape, shape.dtype) for name, shape in SMALL.items()}
    asked = [(spec, weights, {"x": ((1, 3), None)} if "Count" in spec else small) for spec, weights, _ in REFUSED]
    command = [sys.executable, str(HERE / "refuse_torch.py"), str(folder)]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, check=True, text=True)
    said = json.loads(done.stdout.splitlines()[-1])
    for (spec, weights, message), answer in zip(REFUSED, said, strict=True):
        assert re.search(message, answer), f"{spec} with {weights}: {answer!r}"


@pytest.mark.slow
def test_a_refusal_comes_through_the_child_process(folder: Path, tmp_path: Path) -> None:
    source = open_source("torch_nets:small", directory=folder, weights=folder / "bomb.pth")
    with pytest.raises(SourceError, match="hold more than tensors"):
        describe(source, hints=SMALL, log_folder=tmp_path)


@pytest.mark.slow
def test_a_function_that_fails_and_one_without_shapes(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="torch_nets:broken failed: ValueError: no such variant") as failed:
        describe(open_source("torch_nets:broken", directory=folder), log_folder=tmp_path)
    assert "Log: " in failed.value.hint
    with pytest.raises(SourceError, match="The shape of the input 'image' of torch_nets:small is not known") as caught:
        describe(open_source("torch_nets:small", directory=folder), log_folder=tmp_path)
    assert "[input.image] shape = [1, 3, 224, 224]" in caught.value.hint


@pytest.mark.slow
def test_a_pt2_that_calls_python_is_refused(cases: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(cases / PT2) as archive, zipfile.ZipFile(tmp_path / "evil.pt2", "w") as evil:
        for name in archive.namelist():
            evil.writestr(name, archive.read(name).replace(b"torch.ops.aten.linear.default", b"torch.os.system"))
    with pytest.raises(SourceError, match=r"its graph calls 'torch\.os\.system', which is no operation on tensors"):
        describe(open_source("evil.pt2", directory=tmp_path), log_folder=tmp_path)
