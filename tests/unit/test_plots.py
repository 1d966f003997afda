"""Plots: deterministic files, clear refusals."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from edgekit.errors import PlotError
from edgekit.plots.figure import BLUE, render, shorten, write_plot

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


def test_long_names_keep_both_ends() -> None:
    name = "mobilenet/block_13/expand/very/long/path/to/Conv2D"
    assert len(shorten(name, 30)) == 30
    assert shorten(name, 30).startswith("mobilenet")
    assert shorten(name, 30).endswith("to/Conv2D")
    assert shorten("conv") == "conv"
