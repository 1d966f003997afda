"""edgekit explain, from the command line, on artifacts of networks made here."""

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from click.testing import CliRunner

from edgekit.build import build
from edgekit.cli import cli
from edgekit.errors import ArtifactError, PlotError, ProjectError
from edgekit.explain import advice, explain
from edgekit.plan import BuildOptions, plan
from edgekit.progress import silent
from edgekit.project import Project
from edgekit.target import load_target
from edgekit_converters.layer_errors import LayerError
from tests.unit.float_networks import network_samples, planted_network

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hard.tflite, easy.tflite, data.npz, and two artifacts of hard.tflite: int8 and float16."""
    path = tmp_path_factory.mktemp("explain")
    (path / "hard.tflite").write_bytes(planted_network(hard=3).tflite)
    (path / "easy.tflite").write_bytes(planted_network(hard=None).tflite)
    np.savez(path / "data.npz", x=np.concatenate([sample["x"] for sample in network_samples(64)]))
    for precision in ("int8", "float16"):
        options = BuildOptions(
            model=str(path / "hard.tflite"),
            precision=precision,
            calibration=str(path / "data.npz") if precision == "int8" else None,
            calibrator="min-max",  # the one that the planted layer is planted for
            correct_biases=False,
            output=path / precision,
        )
        build(plan(Project(), load_target("rpi4"), options))
    return path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without an edgekit.toml."""
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: str | Path) -> str:
    result = CliRunner().invoke(cli, ["explain", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_table_shows_every_layer_and_what_to_do(folder: Path) -> None:
    shown = invoke(folder / "int8", "--source", folder / "hard.tflite", "--no-cache")
    layers = [line.split()[0] for line in shown.splitlines() if "fully_connected" in line]
    assert layers == ["dense0", "dense1", "dense2", "dense3", "dense4", "scores"]
    assert "over 4 samples" in shown
    assert "--precision auto" in shown


def test_top_puts_the_largest_share_first(folder: Path) -> None:
    shown = invoke(folder / "int8", "--source", folder / "hard.tflite", "--top", "2", "--no-cache")
    layers = [line.split()[0] for line in shown.splitlines() if "fully_connected" in line]
    assert layers[0] == "dense3"
    assert len(layers) == 2


def test_json_csv_and_plot(folder: Path, tmp_path: Path) -> None:
    arguments = (folder / "int8", "--source", folder / "hard.tflite", "--calibration", folder / "data.npz")
    found = json.loads(invoke(*arguments, "--json", "--plot", tmp_path / "layers.svg", "--no-cache"))
    assert found["schema_version"] == 1
    assert found["samples"] == 16
    assert sum(row["share"] for row in found["layers"]) == pytest.approx(1)
    assert ET.parse(tmp_path / "layers.svg").getroot().tag.endswith("svg")
    rows = list(csv.DictReader(io.StringIO(invoke(*arguments, "--csv", "--no-cache"))))
    assert [row["layer"] for row in rows] == [row["layer"] for row in found["layers"]]
    assert float(rows[4]["share"]) == found["layers"][4]["share"]


def test_random_golden_vectors_are_said(folder: Path) -> None:
    found = explain(
        folder / "float16", source=str(folder / "hard.tflite"), calibration=None, cache=None, progress=silent
    )
    assert [finding.name for finding in found.findings] == ["explain-random"]
    assert all(error.activation_noise == 0 for error in found.errors)


def test_without_the_source_the_way_to_it_is_named(folder: Path) -> None:
    with pytest.raises(ProjectError, match="does not hold the float model") as caught:
        explain(folder / "int8", source=None, calibration=None, cache=None, progress=silent)
    assert "--source MODEL" in caught.value.hint


def test_another_source_is_refused(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="made from another model"):
        explain(folder / "int8", source=str(folder / "easy.tflite"), calibration=None, cache=None, progress=silent)


def test_a_plot_that_cannot_be_is_refused_before_anything_is_measured(folder: Path) -> None:
    with pytest.raises(PlotError, match="no kind"):
        invoke(folder / "int8", "--plot", "layers.bmp")


def test_the_source_of_the_project_is_the_default(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "edgekit.toml").write_text(
        f'[model]\npath = "{folder / "hard.tflite"}"\n[calibration]\ndata = "{folder / "data.npz"}"\n'
    )
    found = explain(folder / "int8", source=None, calibration=None, cache=None, progress=silent)
    assert found.samples == 4


def layer(name: str, weights: float, result: float, share: float) -> LayerError:
    return LayerError(
        name=name,
        op="CONV_2D",
        dtype="int8",
        inputs=(),
        outputs=(name,),
        weight_sqnr_db=None,
        weight_noise=weights,
        activation_noise=result,
        share=share,
        accumulated_sqnr_db=None,
    )


def test_advice() -> None:
    assert "rounds anything" in advice([layer("a", 0, 0, 0)])
    few = [layer("a", 9, 0, 0.9), *(layer(f"b{n}", 0.1, 0, 0.02) for n in range(5))]
    assert advice(few).startswith("1 of 6 layers bring 90% of the noise: a. The first, 90%, by rounding its weights.")
    assert "layers that read the result" in advice([layer("a", 0, 9, 0.9), *few[1:]])
    assert "spread" in advice([layer(f"b{n}", 1, 0, 0.2) for n in range(5)])


def test_what_is_no_artifact_is_said(folder: Path) -> None:
    with pytest.raises(ArtifactError):
        explain(folder / "nothing", source=None, calibration=None, cache=None, progress=silent)
