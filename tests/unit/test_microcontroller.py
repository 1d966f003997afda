"""A build for a microcontroller, from a float .tflite to the manifest."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from edgekit.agent.runtime import REFERENCE, Model
from edgekit.build import build
from edgekit.cli import cli
from edgekit.cli.micro_text import describe_micro
from edgekit.errors import AuditError, MicroError
from edgekit.micro import host
from edgekit.micro.examine import Files, MicroVector, examine, examine_file
from edgekit.plan import BuildOptions, BuildPlan, plan
from edgekit.project import Project, Stream
from edgekit.target import Target, load_target
from tests.unit.float_networks import network_samples, planted_network

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(find_spec("tflite_micro") is None, reason="tflite-micro has no wheel for this machine"),
]
DATA = Path(__file__).parent / "data" / "tflite"


def planned(
    folder: Path, target: Target, *, model: Path | None = None, stream: Stream | None = None, **options: Any
) -> BuildPlan:
    if model is None:
        model = folder / "dense.tflite"
        model.write_bytes(planted_network(hard=None).tflite)
    project = Project(stream=stream)
    flags = BuildOptions(model=str(model), precision="float32", output=folder / "artifact", **options)
    return plan(project, target, flags, folder)


def with_memory(name: str, **sizes: int) -> Target:
    target = load_target(name)
    return msgspec.structs.replace(target, memory=msgspec.structs.replace(target.memory, **sizes))


def test_the_manifest_says_what_a_program_needs(tmp_path: Path) -> None:
    model, samples = tmp_path / "dense.tflite", tmp_path / "samples.npy"
    model.write_bytes(planted_network(hard=None).tflite)
    np.save(samples, np.concatenate([sample["x"] for sample in network_samples(8)]))
    arguments = ["build", str(model), "--target", "arduino-nano-33-ble", "--calibration", str(samples), "--no-cache"]
    result = CliRunner().invoke(cli, [*arguments, "--output", str(tmp_path / "artifact")])
    assert result.exit_code == 0, result.output
    assert "op resolver: AddFullyConnected\n" in result.stdout
    assert "TFLite Micro against TFLite's reference kernels on 4 vectors: " in result.stdout
    assert "the board's kernels and pointers decide" in result.stdout
    micro = msgspec.json.decode((tmp_path / "artifact" / "manifest.json").read_bytes())["micro"]
    assert micro["ops"] == ["FULLY_CONNECTED"]
    assert micro["ran"] == "model"
    assert micro["vectors"] == 4
    assert micro["max_steps"] <= 2
    assert micro["model_bytes"] == (tmp_path / "artifact" / "model.tflite").stat().st_size


def test_a_model_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(
        AuditError, match=r"needs an arena of [0-9,]+ bytes; arduino-nano-33-ble has 1,024 bytes"
    ) as error:
        build(planned(tmp_path, with_memory("arduino-nano-33-ble", sram_kib=1, flash_kib=1)))
    assert "(1 more: flash-exceeded)" in error.value.message
    assert error.value.exit_code == 3
    assert not (tmp_path / "artifact").exists()


def test_without_the_package_nothing_is_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "PACKAGE", "tflite-micro-that-is-not-there")
    missing = tmp_path / "nothing.tflite"
    target = load_target("arduino-nano-33-ble")
    with pytest.raises(MicroError, match="TFLite Micro is not installed here"):
        build(planned(tmp_path, target, model=missing))
    artifact = build(planned(tmp_path, target, no_micro_check=True))
    assert artifact.manifest.micro is None
    (finding,) = [item for item in artifact.manifest.findings if item.name == "micro-not-checked"]
    assert finding.severity == "warning"
    assert "--no-micro-check" in finding.message
    found = examine_file(planted_network(hard=None).tflite, target)
    assert (found.entry, found.findings[0].name) == (None, "micro-not-checked")


def test_a_target_with_a_system_needs_no_tflite_micro(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "PACKAGE", "tflite-micro-that-is-not-there")
    assert build(planned(tmp_path, load_target("rpi4"))).manifest.micro is None


@pytest.mark.slow
def test_the_state_of_a_stream_is_the_applications(tmp_path: Path) -> None:
    stream = Stream(state={"state": "new_state"})
    target = load_target("arduino-nano-33-ble")
    artifact = build(planned(tmp_path, target, model=DATA / "cell.tflite", stream=stream))
    micro = artifact.manifest.micro
    assert micro is not None
    state = next(tensor for tensor in artifact.manifest.inputs if tensor.name == "state")
    assert micro.state_bytes == 4 * int(np.prod(state.shape))
    assert f"state {micro.state_bytes} bytes, kept by the application" in list(describe_micro(micro))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "resolver"),
    [
        ("tflm/hello_world_int8", "AddFullyConnected"),
        ("tflm/hello_world_float", "AddFullyConnected"),
        ("tflm/mnist_lstm_int8", "AddUnidirectionalSequenceLSTM"),
        ("tflm/mnist_lstm_float", "AddUnidirectionalSequenceLSTM"),
        ("coral/keras_lstm_mnist_ptq", "AddUnidirectionalSequenceLSTM"),
        ("tflite_ref/kws_int8", "AddDepthwiseConv2D"),
        ("tflite_ref/ic_resnet8_int8", "AddAdd"),
        ("tflite_ref/ic_resnet8_float", "AddAdd"),
        ("tflite_ref/vww_int8", "AddDepthwiseConv2D"),
        ("tflite_ref/vww_float", "AddDepthwiseConv2D"),
    ],
)
def test_published_models_equal_the_reference(cases: Path, name: str, resolver: str) -> None:
    tflite = (cases / "models" / f"{name}.tflite").read_bytes()
    reference = Model(tflite, REFERENCE)
    rng = np.random.default_rng(7)
    vectors = []
    for _ in range(3):
        inputs = {item.name: draw(rng, item.shape, item.dtype) for item in reference.inputs}
        reference.reset()
        vectors.append(MicroVector(inputs=tuple(inputs.values()), outputs=tuple(reference.run(inputs).values())))
    found = examine(Files(model=tflite, reference=tflite), load_target("nucleo-h743zi"), vectors=vectors)
    assert [item for item in found.findings if item.severity == "error"] == []
    assert found.entry is not None
    assert resolver in found.entry.resolver


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    if dtype.kind == "f":
        return rng.uniform(0, 1, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["variables", "cell", "tanh_cell", "window"])
def test_vectors_start_from_an_empty_state(name: str) -> None:
    tflite = (DATA / f"{name}.tflite").read_bytes()
    reference = Model(tflite, REFERENCE)
    rng = np.random.default_rng(3)
    vectors = []
    for _ in range(3):
        inputs = {item.name: rng.normal(size=item.shape).astype(np.float32) for item in reference.inputs}
        reference.reset()
        vectors.append(MicroVector(inputs=tuple(inputs.values()), outputs=tuple(reference.run(inputs).values())))
    found = examine(Files(model=tflite, reference=tflite), load_target("nucleo-h743zi"), vectors=vectors)
    assert found.findings == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tflite_ref/kws_hybrid_named_float32", "CONV_2D (op 0) cannot be prepared: conv_common.cc: Hybrid models"),
        ("coral/mobilenet_v1_0.25_128_quant_edgetpu", "TFLite Micro has no kernel for edgetpu-custom-op."),
    ],
)
def test_published_models_that_it_refuses(cases: Path, name: str, said: str) -> None:
    found = examine_file((cases / "models" / f"{name}.tflite").read_bytes(), load_target("nucleo-h743zi"))
    assert found.entry is None
    assert said in found.findings[0].message
    assert found.findings[0].severity == "error"


@pytest.mark.slow
def test_inspect_shows_what_tflite_micro_makes_of_a_file(cases: Path) -> None:
    model = cases / "models" / "tflite_ref" / "kws_int8.tflite"
    shown = CliRunner().invoke(cli, ["inspect", str(model), "--target", "nucleo-f446re"])
    assert shown.exit_code == 0, shown.output
    assert "op resolver: AddAveragePool2D, AddConv2D, AddDepthwiseConv2D, AddFullyConnected, AddReshape" in shown.stdout
    assert "against TFLite's reference kernels" not in shown.stdout, "nothing was compared"
    told = CliRunner().invoke(cli, ["inspect", str(model), "--target", "nucleo-f446re", "--json"])
    micro = msgspec.json.decode(told.stdout)["micro"]
    assert micro["entry"]["arena"]["nonpersistent_bytes"] == 16_000
    assert (micro["entry"]["vectors"], micro["entry"]["max_steps"]) == (0, None)


@pytest.mark.slow
def test_the_same_build_gives_the_same_bytes(tmp_path: Path) -> None:
    target = load_target("arduino-nano-33-ble")
    digests = set()
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        digests.add(build(planned(tmp_path / str(number), target)).digest)
    assert len(digests) == 1
