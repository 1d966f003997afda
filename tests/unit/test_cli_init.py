"""What ``edgekit init`` writes, for names and shapes of every kind; the models themselves are tests/convert's."""

from pathlib import Path

import pytest

from edgekit.build import Description, OpenSpec
from edgekit.cli import cli
from edgekit.cli.failures import guarded
from edgekit.project import load_project

pytestmark = pytest.mark.unit


def init(model: str, inputs: dict[str, OpenSpec], monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    described = Description(name="m", source_format="keras", inputs=inputs, outputs={"y": ((None, 2), "float32")})
    monkeypatch.setattr("edgekit.build.describe", lambda *_, **__: described)
    monkeypatch.chdir(folder)
    assert guarded(cli, ["init", model]) == 0


@pytest.mark.parametrize("name", ["plain", "two words", 'we"ird ü', "a.b", "back\\slash", "serving_default_x:0"])
def test_names_of_every_kind_are_valid_toml(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    init(f"{name}.keras", {name: ((None, 4), "float32")}, monkeypatch, tmp_path)
    project = load_project(tmp_path)
    assert project.model is not None
    assert project.model.path == f"{name}.keras"
    assert project.input[name].shape == (1, 4)


def test_an_open_dimension_is_left_to_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init("m.keras", {"x": ((None, None, 8, 3), "float32")}, monkeypatch, tmp_path)
    assert load_project(tmp_path).input["x"].shape is None
    assert "# shape = [1, ?, 8, 3]  # open in the model" in Path("edgekit.toml").read_text()
    assert "choose the sizes that the model leaves open" in capsys.readouterr().out


def test_the_next_step_is_one_that_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init("m.keras", {"x": ((None, 4), "float32")}, monkeypatch, tmp_path)
    assert "next: edgekit build --calibration DATA" in capsys.readouterr().out, "int8 is the default, and needs it"


def test_a_channels_first_image_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    init("net:make", {"x": ((1, 3, 32, 48), "float32")}, monkeypatch, tmp_path)
    text = Path("edgekit.toml").read_text()
    assert "# resize = [32, 48]" in text
    assert '# layout = "nchw"' in text


def test_a_shape_is_name_and_numbers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("1,3,32,32", "x=", "x=1,-3", "x=1,?"):
        assert guarded(cli, ["init", "net:make", "--shape", wrong]) == 2
        assert "is not like x=1,3,224,224" in capsys.readouterr().err
