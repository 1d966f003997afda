"""Plots: deterministic files, clear refusals."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from edgekit.errors import PlotError
from edgekit.plots.figure import BLUE, render, write_plot
from edgekit.plots.layer_errors import plot_layer_errors
from edgekit_converters.layer_errors import LayerError
from edgekit_converters.layer_names import short_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

pytestmark = pytest.mark.unit


def draw(figure: "Figure") -> None:
    axes = figure.subplots()
    axes.plot([0, 1, 2], [3, 1, 2], color=BLUE, marker="o", clip_on=True)
    axes.set_title("conv")


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_plot_gives_the_same_bytes(kind: str) -> None:
    first = render(draw, kind)
    assert first == render(draw, kind)
    assert b"dc:date" not in first


def test_a_plot_is_written_whole(tmp_path: Path) -> None:
    write_plot(tmp_path / "a.svg", draw)
    write_plot(tmp_path / "a.PNG", draw)
    assert ET.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "a.PNG").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"a.svg", "a.PNG"}


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlotError, match="no kind that edgekit plots") as caught:
        write_plot(tmp_path / "a.gif", draw)
    assert ".svg or .png" in caught.value.hint


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(PlotError, match="does not exist"):
        write_plot(tmp_path / "no" / "a.svg", draw)


def test_a_place_that_cannot_be_written_is_said_and_left_clean(tmp_path: Path) -> None:
    (tmp_path / "a.svg").mkdir()
    with pytest.raises(PlotError, match="cannot be written"):
        write_plot(tmp_path / "a.svg", draw)
    assert [path.name for path in tmp_path.iterdir()] == ["a.svg"]


def test_missing_matplotlib_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(PlotError, match="need matplotlib") as caught:
        write_plot(tmp_path / "a.svg", draw)
    assert caught.value.hint == "pip install 'edgekit[plot]'"


def test_layer_names_are_those_a_person_knows() -> None:
    assert short_name("conv") == "conv"
    fused = "StatefulPartitionedCall/net/relu/Relu;StatefulPartitionedCall/net/conv/Conv2D;6012"
    assert short_name(fused) == "net/conv/Conv2D"
    assert short_name("123") == "123"
    name = "mobilenet/block_13/expand/very/long/path/to/Conv2D"
    assert len(short_name(name, 30)) == 30
    assert short_name(name, 30).startswith("mobilenet")
    assert short_name(name, 30).endswith("to/Conv2D")


def layer(name: str, **values: Any) -> LayerError:
    known = {"op": "CONV_2D", "dtype": "int8", "inputs": (), "outputs": (name,), "weight_sqnr_db": 40.0}
    known |= {"weight_noise": 1e-4, "activation_noise": 3e-4, "share": 0.1, "accumulated_sqnr_db": 30.0, **values}
    return LayerError(name=name, **known)  # type: ignore[arg-type]


def test_layer_errors_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.plots.layer_errors.MOST_LAYERS", 4)
    errors = [layer(f"net/conv_{n}/Conv2D", share=n / 1000) for n in range(5)]
    errors.append(layer("out", accumulated_sqnr_db=math.inf, weight_noise=0.0, activation_noise=0.0, share=0.0))
    plot_layer_errors(tmp_path / "a.svg", errors, title="net, int8")
    shown = (tmp_path / "a.svg").read_text()
    assert "net/conv_4/Conv2D" in shown
    assert "net/conv_0/Conv2D" not in shown
    assert "the 4 of 6 layers with the largest share" in shown


def test_layers_without_any_error_are_drawn(tmp_path: Path) -> None:
    plot_layer_errors(tmp_path / "a.png", [layer("x", weight_noise=0.0, activation_noise=0.0)], title="net")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
