"""Streaming models: states are explicit and share a grid, data are sequences, samples know nothing of each other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.agent.runtime import Model
from edgekit.artifact import Artifact
from edgekit.build import build
from edgekit.device_evaluation import evaluate_file
from edgekit.errors import DataError, ModelError, ProjectError
from edgekit.evaluate import runner
from edgekit.held_out import Data
from edgekit.metrics import metric_of
from edgekit.plan import BuildOptions, plan
from edgekit.project import Project, Stream
from edgekit.streams import check_states as audit_states
from edgekit.streams import stream_runner
from edgekit.target import load_target
from edgekit_converters.errors import QuantizationError, SourceError
from edgekit_converters.from_tflite import read_float_model
from edgekit_converters.quantize import quantize
from edgekit_converters.sources import open_source
from edgekit_converters.states import check_states
from edgekit_converters.streams import float_frames
from edgekit_converters.structure import read_structure
from edgekit_converters.types import FloatModel, QuantizedModel, Scheme
from tests.min_max import min_max_ranges

pytestmark = pytest.mark.unit
DATA = Path(__file__).parent / "data" / "tflite"
FRAMES = 50
STATES = {
    "cell": {"state": "new_state"},
    "tanh_cell": {"state": "state_out"},
    "window": {"window": "new_window"},
}
"""A GRU; a cell whose kernel dictates the grid of its output; a sliding window of frames."""


def float_model(name: str) -> FloatModel:
    model = read_float_model(open_source(DATA / f"{name}.tflite"), batch=1, hints={})
    return replace(model, states=STATES.get(name, {}))


def sequences(count: int, seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(count, FRAMES, 6)).astype(np.float32)


def quantized(name: str, scheme: Scheme) -> QuantizedModel:
    model = float_model(name)
    frames = float_frames(model, [{"frame": row[None]} for row in sequences(8, seed=1)])
    return quantize(model, scheme=scheme, ranges=min_max_ranges(model.tflite, frames))


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize(
    "scheme",
    [
        Scheme(precision="int8", io="int8"),
        Scheme(precision="int8", io="uint8"),
        Scheme(precision="int8", io="int8", symmetric_activations=True),
        Scheme(precision="int16x8", io="int16"),
    ],
    ids=["int8", "uint8", "symmetric", "int16"],
)
def test_a_states_input_and_output_share_scale_and_zero_point(name: str, scheme: Scheme) -> None:
    made = quantized(name, scheme)
    inputs, outputs = ({spec.name: spec for spec in side} for side in (made.inputs, made.outputs))
    for taken, given in STATES[name].items():
        before, after = inputs[taken], outputs[given]
        assert before.scale == after.scale is not None
        assert (before.zero_point, before.dtype, before.shape) == (after.zero_point, after.dtype, after.shape)
    assert not list(audit_states(read_structure(made.tflite), STATES[name]))


def test_an_artifact_of_a_stream(stream: Artifact) -> None:
    manifest = stream.manifest
    assert manifest.stream == Stream(state={"state": "new_state"})
    assert set(manifest.audit.tensor_dtypes) == {"int8", "int32"}
    assert manifest.evaluation is not None
    assert manifest.evaluation.samples == 60
    assert manifest.evaluation.source == 1.0
    assert manifest.evaluation.model >= 0.9
    assert {head.name for head in manifest.evaluation.heads} == {"scores"}, "a state is no result"
    (entry,) = (tensor for tensor in manifest.inputs if tensor.name == "state")
    (after,) = (tensor for tensor in manifest.outputs if tensor.name == "new_state")
    assert entry.quantization is not None
    assert entry.quantization == after.quantization
    states = [_golden(stream, number, "state", entry.shape) for number in range(4)]
    assert np.all(states[0] == entry.quantization.zero_point), "a stream starts at 0"
    assert all(len(np.unique(state)) > 4 for state in states[1:]), "and goes on with real states"


def test_evaluate_takes_no_stream(stream: Artifact) -> None:
    with pytest.raises(ProjectError, match="is a stream: its samples are sequences"):
        evaluate_file(stream, Data(spec="evaluation.npz", metric=metric_of("top1")))


def test_the_file_runs_as_its_own_stream_and_hands_its_bytes_back(stream: Artifact) -> None:
    """What ``stream_runner`` gives is what an application gets that copies raw states."""
    from ai_edge_litert.interpreter import Interpreter

    (row,) = sequences(1, seed=7)
    found = stream_runner(stream.model.read_bytes(), Stream(state=STATES["cell"]))({"frame": row[None]})
    interpreter = Interpreter(str(stream.model))
    application = interpreter.get_signature_runner()
    frame, scores = application.get_input_details()["frame"], application.get_output_details()["scores"]
    scale, point = frame["quantization"]
    state = np.full((1, 8), application.get_input_details()["state"]["quantization"][1], np.int8)
    for values in row:
        steps = np.clip(np.round(values.astype(np.float64) / scale) + point, -128, 127).astype(np.int8)
        answer = application(frame=steps[None], state=state)
        state = answer["new_state"]
    scale, point = scores["quantization"]
    assert np.array_equal(found["scores"], (answer["scores"].astype(np.float32) - point) * np.float32(scale))
    assert set(found) == {"scores"}


def test_int8_follows_the_float_model_over_all_frames() -> None:
    made = quantized("cell", Scheme(precision="int8", io="int8"))
    runs = [stream_runner(tflite, Stream(state=STATES["cell"])) for tflite in (float_model("cell").tflite, made.tflite)]
    rows = [row[None] for row in sequences(20, seed=2)]
    expected, found = ([run({"frame": row})["scores"] for row in rows] for run in runs)
    noise = np.square(np.subtract(expected, found)).sum()
    assert 10 * np.log10(np.square(expected).sum() / noise) > 25


def test_the_mean_over_all_frames() -> None:
    tflite = float_model("cell").tflite
    (row,) = sequences(1, seed=3)
    last = stream_runner(tflite, Stream(state=STATES["cell"]))
    mean = stream_runner(tflite, Stream(state=STATES["cell"], output="mean"))
    singles = [last({"frame": row[None, : length + 1]})["scores"] for length in range(FRAMES)]
    assert np.allclose(mean({"frame": row[None]})["scores"], np.mean(singles, axis=0), atol=1e-6)


def test_a_model_with_variables_starts_each_sequence_anew() -> None:
    run = stream_runner(float_model("variables").tflite, Stream())
    first, second = (row[None, :, None] for row in sequences(2, seed=4))
    alone = run({"frame": first})["output_0"]
    run({"frame": second})
    assert np.array_equal(run({"frame": first})["output_0"], alone)
    assert not np.array_equal(run({"frame": first[:, -1:]})["output_0"], alone), "the frames before counted"


@pytest.mark.parametrize("precision", ["int8", "dynamic"])
def test_variables_cannot_be_quantized(precision: Any) -> None:
    scheme = Scheme(precision=precision, io="int8" if precision == "int8" else "float32")
    with pytest.raises(QuantizationError, match="keeps its state in variables") as caught:
        quantize(float_model("variables"), scheme=scheme, ranges={"frame": (0.0, 1.0)})
    assert "[stream] state" in caught.value.hint


def test_float16_keeps_the_variables() -> None:
    model = float_model("variables")
    made = quantize(model, scheme=Scheme(precision="float16"))
    frames = sequences(1, seed=5)[:, :, None]
    expected, found = (stream_runner(tflite, Stream())({"frame": frames}) for tflite in (model.tflite, made.tflite))
    assert np.allclose(found["output_0"], expected["output_0"], atol=1e-2)


def test_the_state_of_a_fused_lstm_does_not_leak_into_the_next_sample(cases: Path) -> None:
    run = runner((cases / "models/tflm/mnist_lstm_float.tflite").read_bytes())
    first, second = np.random.default_rng(6).uniform(size=(2, 1, 28, 28)).astype(np.float32)
    alone = run({"fixed_input": first})["sequential"]
    run({"fixed_input": second})
    assert np.array_equal(run({"fixed_input": first})["sequential"], alone)


def test_an_application_keeps_the_state_until_it_resets() -> None:
    model = Model(DATA / "variables.tflite")
    frame = {"frame": np.ones((1, 1, 6), np.float32)}
    first, second = (model.run(frame)["output_0"] for _ in range(2))
    model.reset()
    assert not np.array_equal(first, second)
    assert np.array_equal(model.run(frame)["output_0"], first)


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ({"nothing": "new_state"}, "names an input 'nothing' that the model does not have"),
        ({"state": "nothing"}, "names an output 'nothing' that the model does not have"),
        ({"state": "scores"}, r"is float32 \(1, 8\), and 'scores', which becomes it, is float32 \(1, 3\)"),
    ],
)
def test_states_that_do_not_fit_the_model(states: dict[str, str], said: str) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        check_states(float_model("cell"), states)
    assert caught.value.hint


def test_states_that_leave_nothing_or_are_fed_twice() -> None:
    model = float_model("cell")
    (state,) = (spec for spec in model.inputs if spec.name == "state")
    with pytest.raises(SourceError, match="fed by the same output"):
        check_states(
            replace(model, inputs=(*model.inputs, replace(state, name="b"))), {"state": "new_state", "b": "new_state"}
        )
    with pytest.raises(SourceError, match="nothing is left for the frames"):
        check_states(replace(model, inputs=(state,)), {"state": "new_state"})


def test_bytes_that_cannot_be_handed_back_are_an_error() -> None:
    made = quantize(
        replace(float_model("tanh_cell"), states={}),
        scheme=Scheme(precision="int8", io="int8"),
        ranges=min_max_ranges(
            float_model("tanh_cell").tflite,
            [{"frame": np.ones((1, 6), np.float32), "state": np.full((1, 8), 3, np.float32)}],
        ),
    )
    (finding,) = audit_states(read_structure(made.tflite), STATES["tanh_cell"])
    assert (finding.name, finding.severity) == ("state-differs", "error")
    assert "'state_out', which becomes it, is int8 (1, 8) of scale 0.0078125 and zero point 0" in finding.message


def test_frames_that_do_not_fit(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", frame=np.zeros((4, FRAMES, 5), np.float32))
    with pytest.raises(DataError, match=r"has shape \(5,\), the model takes \(6,\)"):
        _build(tmp_path, calibration="bad.npz")
    np.savez(tmp_path / "flat.npz", frame=np.zeros(4, np.float32))
    with pytest.raises(DataError, match="frames must lie along its first axis"):
        _build(tmp_path, calibration="flat.npz")


def test_a_state_that_is_not_there_stops_the_build(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not have"):
        _build(tmp_path, stream=Stream(state={"h": "new_state"}), precision="float32")


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The GRU cell as int8; the float model itself says the labels of 60 sequences of 50 frames."""
    folder = tmp_path_factory.mktemp("stream")
    x = sequences(60, seed=8)
    run = stream_runner(float_model("cell").tflite, Stream(state=STATES["cell"]))
    y = [int(run({"frame": row[None]})["scores"].argmax()) for row in x]
    np.savez(folder / "calibration.npz", frame=sequences(20, seed=9))
    np.savez(folder / "evaluation.npz", frame=x, y=y)
    return _build(folder, calibration="calibration.npz", evaluate="evaluation.npz", precision="int8")


def _build(folder: Path, *, stream: Stream | None = None, **options: Any) -> Artifact:
    chosen = BuildOptions(model=str(DATA / "cell.tflite"), output=folder / "artifact", **options)
    project = Project(stream=stream or Stream(state=STATES["cell"]))
    return build(plan(project, load_target("rpi4"), chosen, folder))


def _golden(artifact: Artifact, number: int, name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    import json

    golden = json.loads((artifact.path / "golden" / "golden.json").read_text())
    path = golden["vectors"][number]["inputs"][name]
    return np.fromfile(artifact.path / path, np.int8).reshape(shape)
