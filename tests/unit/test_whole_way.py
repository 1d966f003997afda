"""The whole way of a sample, timed by the real agent on this machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgekit.artifact import Artifact
from edgekit.bench import BenchOptions
from edgekit.bench.stages import StagesSamples, measure_stages, summarize_stages
from edgekit.bench.whole_way_sample import application_sample
from edgekit.errors import DataError, DeviceFaultError
from edgekit.project import Classification, Preprocessing
from edgekit.report.stages import stages_table
from edgekit.transport import Connection
from tests.artifacts import make_artifact

pytestmark = pytest.mark.unit
QUICK = BenchOptions(num_runs=5, warmup_runs=1, min_secs=0.0, processes=1)
IMAGE = Preprocessing(resize=(32, 32), color="rgb")


@pytest.fixture
def artifact(tmp_path: Path, cases: Path) -> Callable[..., Artifact]:
    """ResNet8 int8 with the preprocessing of its image and other fields of the manifest."""
    data = (cases / "models" / "tflite_ref" / "ic_resnet8_int8.tflite").read_bytes()
    (entry,) = make_artifact(tmp_path / "plain", data).manifest.inputs

    def make(preprocessing: Preprocessing | None, **changes: Any) -> Artifact:
        inputs = (msgspec.structs.replace(entry, preprocessing=preprocessing),)
        return make_artifact(tmp_path / "artifact", data, inputs=inputs, **changes)

    return make


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    np.save(tmp_path / "picture.npy", np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))
    return tmp_path / "picture.npy"


def test_stages_of_an_artifact(artifact: Callable[..., Artifact], picture: Path, connection: Connection) -> None:
    seen: list[tuple[int, int]] = []
    subject = artifact(IMAGE, postprocessing=Classification(activation="softmax"))
    report, findings = measure_stages(
        subject.path, connection, QUICK, sample=picture, on_progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 1)]
    assert report.sample == "picture.npy [48, 64, 3] uint8"
    assert [stage.name for stage in report.stages] == ["preprocess", "inference", "postprocess", "whole"]
    assert all(stage.latency_ms.min > 0 for stage in report.stages)
    assert report.stages[-1].share == 1
    assert not {"no-postprocessing", "stages-of-a-file", "noise", "few-runs"} & {item.name for item in findings}
    assert stages_table(report).row_count == 4


def test_bare_file_times_only_what_a_file_declares(cases: Path, connection: Connection) -> None:
    model = cases / "models" / "tflm" / "hello_world_int8.tflite"
    report, findings = measure_stages(model, connection, QUICK)
    assert report.sample == "seeded random values as the model takes them"
    assert "stages-of-a-file" in [item.name for item in findings]


def test_sample_of_a_wrong_shape(artifact: Callable[..., Artifact], tmp_path: Path, connection: Connection) -> None:
    np.save(tmp_path / "wrong.npy", np.zeros((31, 32, 3), np.uint8))
    with pytest.raises(DeviceFaultError, match=r"takes \(1, 32, 32, 3\); the data is \(31, 32, 3\)"):
        measure_stages(artifact(Preprocessing()), connection, QUICK, sample=tmp_path / "wrong.npy")


def test_postprocessing_that_does_not_fit(
    artifact: Callable[..., Artifact], picture: Path, connection: Connection
) -> None:
    with pytest.raises(DeviceFaultError, match=r"postprocessing does not fit the model.*names an output 'x'"):
        measure_stages(artifact(IMAGE, postprocessing=Classification(output="x")), connection, QUICK, sample=picture)


def test_unreadable_sample(artifact: Callable[..., Artifact], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png does not exist"):
        application_sample(artifact(IMAGE), tmp_path / "none.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.png"):
        application_sample(artifact(IMAGE), tmp_path / "broken.png")


def test_a_sample_is_drawn_where_its_shape_is_known(artifact: Callable[..., Artifact]) -> None:
    with pytest.raises(DataError, match="nobody but the application knows what from") as caught:
        application_sample(artifact(IMAGE), None)
    assert "--sample FILE" in caught.value.hint
    drawn = application_sample(artifact(Preprocessing(color="rgb")), None)
    (image,) = drawn.arrays.values()
    assert (image.shape, image.dtype) == ((32, 32, 3), np.uint8)
    assert drawn.text == "seeded random [32, 32, 3] uint8"
    (again,) = application_sample(artifact(Preprocessing(color="rgb")), None).arrays.values()
    assert np.array_equal(image, again)
    (values,) = application_sample(artifact(None), None).arrays.values()
    assert values.dtype == np.float32


def samples(process: int, *, preprocess: int, inference: int) -> StagesSamples:
    from tests.unit.test_bench_report import events

    event = next(item for item in events() if item["event"] == "process")
    fields = {key: value for key, value in event.items() if key != "event"}
    return msgspec.convert(
        {
            **fields,
            "process": process,
            "samples_ns": [preprocess + inference + 10] * 3,
            "preprocess_ns": [preprocess] * 3,
            "inference_ns": [inference] * 3,
            "postprocess_ns": [10] * 3,
        },
        StagesSamples,
    )


def test_shares_are_of_the_same_process() -> None:
    report = summarize_stages([samples(n, preprocess=60 * n, inference=30 * n) for n in (1, 2, 3)], "x")
    shares = {stage.name: stage.share for stage in report.stages}
    assert shares["preprocess"] == pytest.approx(120 / 190)
    assert shares["whole"] == 1
    assert report.processes == 3
