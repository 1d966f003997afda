"""What a build takes from the cache: nothing that depends on what the key does not say."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.artifact import Artifact
from edgekit.build import build
from edgekit.cache import Cache, put
from edgekit.errors import DataError, LockError
from edgekit.ladder import Latency
from edgekit.lock import settings_of, sha256_data
from edgekit.plan import BuildOptions, BuildPlan, plan
from edgekit.project import load_project
from edgekit.target import load_target
from tests.unit.float_networks import network_samples, planted_network

pytestmark = pytest.mark.unit

METRIC = "def score(outputs, targets):\n    return {}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.tflite").write_bytes(planted_network(hard=None).tflite)
    for name, seed in (("calibration", 1), ("held_out", 2)):
        samples = np.concatenate([sample["x"] for sample in network_samples(32, seed=seed)])
        np.savez(tmp_path / f"{name}.npz", x=samples, y=np.zeros(32, int))
    (tmp_path / "edgekit.toml").write_text("")
    return tmp_path


def planned(folder: Path, **options: object) -> BuildPlan:
    chosen = BuildOptions(
        model=str(folder / "model.tflite"),
        calibration="calibration.npz",
        evaluate="held_out.npz",
        calibrator="min-max",
        equalize=False,
        correct_biases=False,
        **options,  # type: ignore[arg-type]
    )
    return plan(load_project(folder), load_target("rpi4"), chosen, folder)


def made(chosen: BuildPlan, cache: Cache, latency: Latency | None = None) -> tuple[Artifact, list[str]]:
    said: list[str] = []
    return build(chosen, cache=cache, latency=latency, said=said.append), said


def test_a_metric_of_the_user_s_own_is_measured_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(folder=folder / "cache")
    (folder / "own_metric.py").write_text(METRIC.format(0.9))
    chosen = planned(folder, metric="own_metric:score")
    made(chosen, cache)
    (folder / "own_metric.py").write_text(METRIC.format("0.50"))  # another size, so that Python compiles it anew
    monkeypatch.delitem(sys.modules, "own_metric")
    importlib.invalidate_caches()
    with pytest.raises(LockError, match="setting metric-code"):
        build(chosen, cache=cache, locked=True)
    artifact, said = made(chosen, cache)
    assert artifact.manifest.evaluation is not None
    assert artifact.manifest.evaluation.model == 0.5
    assert said == ["reused the conversion: the model and its framework are unchanged"]


def test_a_choice_by_a_device_is_made_anew(folder: Path) -> None:
    cache = Cache(folder=folder / "cache")
    chosen = planned(folder, precision="auto", max_drop="100pt")
    made(chosen, cache)
    assert made(chosen, cache)[1] == ["reused the whole artifact: model, data, settings and tools are unchanged"]
    measured: list[int] = []

    def latency(tflite: bytes) -> float:
        measured.append(len(tflite))
        return 1.0

    said = made(chosen, cache, latency)[1]
    assert measured
    assert said == ["reused the conversion: the model and its framework are unchanged"]


def test_how_detections_are_read_is_a_setting(folder: Path) -> None:
    before = settings_of(planned(folder))
    (folder / "edgekit.toml").write_text('[detection]\nformat = "xywh"\n')
    after = settings_of(planned(folder))
    assert {name for name in after if after[name] != before.get(name)} == {"detection", "postprocessing"}


def test_the_images_of_coco_instances_are_part_of_the_data(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "c.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.png", "width": 4, "height": 4}],
                "annotations": [],
                "categories": [{"id": 1, "name": "cat"}],
            }
        )
    )
    before = sha256_data(tmp_path / "c.json")
    assert sha256_data(tmp_path / "c.json") == before
    Image.fromarray(np.ones((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
    assert sha256_data(tmp_path / "c.json") != before
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(DataError, match="no file of COCO instances"):
        sha256_data(tmp_path / "c.json")


@pytest.mark.parametrize("content", [{"other": b""}, {"float.json": b"[]", "code.json": b"{}", "manifest.json": b"{}"}])
def test_an_entry_of_something_else_is_made_anew(
    folder: Path, content: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(folder=folder / "cache")
    chosen = planned(folder)
    first, _ = made(chosen, cache)
    for entry in cache.folder.glob("*/*"):
        put(cache, entry.name, content)
    again, said = made(chosen, cache)
    assert again.digest == first.digest
    assert said == []
    assert {record.getMessage().partition(" is not one")[0] for record in caplog.records} == {
        "A cached conversion",
        "A cached artifact",
    }
