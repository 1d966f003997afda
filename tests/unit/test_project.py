"""edgekit.toml, fractions, devices and plans."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.device import resolve_device
from edgekit.errors import DeviceConfigError, EdgekitError, ProjectError, TargetError
from edgekit.plan import BuildOptions, plan
from edgekit.project import Project, load_project, parse_fraction
from edgekit.target import load_target, target_file

pytestmark = pytest.mark.unit
PROJECT = """
name = "demo"
[model]
path = "model.h5"
[build]
target = "rpi4"
precision = "int8"
[calibration]
data = "a.npz"
samples = 100
[evaluation]
data = "b.npz"
max_drop = "1pt"
"""


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    (tmp_path / "edgekit.toml").write_text(PROJECT)
    project, target = load_project(tmp_path), load_target("rpi4")
    by_file = plan(project, target, BuildOptions(), tmp_path)
    assert (by_file.precision, by_file.scheme.io, by_file.name) == ("int8", "int8", "demo")
    assert by_file.calibration is not None
    assert (by_file.calibration.spec, by_file.calibration.limit) == ("a.npz", 100)
    assert by_file.output == tmp_path / "build" / "demo-rpi4-int8"
    by_flag = plan(project, target, BuildOptions(precision="float16", max_drop="2%", output=Path("x")), tmp_path)
    assert (by_flag.precision, by_flag.scheme.io, by_flag.max_drop, by_flag.output) == (
        "float16",
        "float32",
        "2%",
        Path("x"),
    )


def test_pyproject_is_read_where_there_is_no_edgekit_toml(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.edgekit]\nname = "from-pyproject"\n')
    assert load_project(tmp_path).name == "from-pyproject"
    assert load_project(tmp_path / "nowhere") == Project()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "a b"', "name"),
        ("[model]\npth = 1", "unknown field `pth`"),
        ("[deploy]\nkeep_versions = 1", "deploy.keep_versions"),
        ('[evaluation]\ndata = "x"\nmax_drop = "1"', "evaluation.max_drop"),
        ("[model\n", "not valid TOML"),
        ("name = '\xff'", "name"),
    ],
)
def test_a_wrong_project_names_the_file_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "edgekit.toml").write_text(text)
    with pytest.raises(ProjectError) as caught:
        load_project(tmp_path)
    assert "edgekit.toml" in caught.value.message
    assert message in caught.value.message


def test_the_name_of_the_file_is_that_of_its_own_model(tmp_path: Path) -> None:
    (tmp_path / "edgekit.toml").write_text(PROJECT)
    project, target = load_project(tmp_path), load_target("rpi4")
    assert project.model is not None
    assert plan(project, target, BuildOptions(model=project.model.path), tmp_path).name == "demo"
    assert plan(project, target, BuildOptions(model="other.onnx"), tmp_path).name == "other"


@given(st.decimals(min_value=0, max_value=100, places=2), st.sampled_from(["pt", "%"]))
def test_a_fraction_keeps_its_value_and_unit(amount: object, unit: str) -> None:
    assert parse_fraction(f"{amount}{unit}") == (float(str(amount)), unit)


@pytest.mark.parametrize("text", ["1", "0.5", "", "-1pt", "1 points", "pt", "nan%", "1e3%"])
def test_a_fraction_without_a_unit_is_refused_with_both_spellings(text: str) -> None:
    with pytest.raises(ProjectError) as caught:
        parse_fraction(text)
    assert "pt" in caught.value.hint
    assert "%" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "target", "kind", "message"),
    [
        (BuildOptions(), "rpi4", ProjectError, "There is no model"),
        (BuildOptions(model="m.h5"), "rpi4", ProjectError, "int8 needs calibration data"),
        (
            BuildOptions(model="m.h5", precision="float16", io="int8"),
            "rpi4",
            ProjectError,
            "float16 models take and give float32; io",
        ),
        (
            BuildOptions(model="m.h5", precision="float16", max_drop="1pt"),
            "rpi4",
            ProjectError,
            "nothing to measure",
        ),
    ],
)
def test_a_plan_that_cannot_be_kept_is_refused(
    options: BuildOptions, target: str, kind: type[EdgekitError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        plan(Project(), load_target(target), options)
    assert caught.value.hint


def test_a_target_that_is_only_planned_is_refused_with_its_own_words(tmp_path: Path) -> None:
    text = target_file("rpi4").read_text().replace('name = "rpi4"', 'name = "mine"')
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "mine.toml").write_text(
        text.replace('build = "ready"', 'build = "planned"\nmissing = "Its compiler is not out."')
    )
    with pytest.raises(TargetError, match=r"cannot build for mine yet\. Its compiler is not out\.") as caught:
        plan(Project(), load_target("mine", tmp_path), BuildOptions(model="m.h5"))
    assert "edgekit target list" in caught.value.hint


def test_devices_by_name_by_address_and_by_mistake(tmp_path: Path) -> None:
    (tmp_path / "device_configs").mkdir()
    (tmp_path / "device_configs" / "home.toml").write_text('[device.garage]\nhost = "10.0.0.4"\ntarget = "rpi4"\n')
    assert resolve_device("garage", tmp_path).host == "10.0.0.4"
    assert resolve_device("local", tmp_path).transport == "local"
    assert resolve_device("work", tmp_path, ssh_hosts=frozenset({"work"})).host == "work"
    address = resolve_device("pi@[fe80::1]:2222", tmp_path)
    assert (address.table.user, address.host, address.table.port) == ("pi", "fe80::1", 2222)
    with pytest.raises(DeviceConfigError, match="no device 'garag'") as caught:
        resolve_device("garag", tmp_path)
    assert "garage" in caught.value.hint


@pytest.mark.parametrize("name", ["pi@host:0", "pi@host:99999", "-oProxyCommand=x@h", "a;b@host", "pi@ho st", "pi@"])
def test_hostile_device_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DeviceConfigError):
        resolve_device(name, tmp_path)


def test_a_device_that_is_configured_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "device_configs").mkdir()
    for file in ("a.toml", "b.toml"):
        (tmp_path / "device_configs" / file).write_text('[device.garage]\nhost = "h"\n')
    with pytest.raises(DeviceConfigError, match=r"a\.toml and in .*b\.toml"):
        resolve_device("garage", tmp_path)


def test_a_table_of_no_compiler_is_refused(tmp_path: Path) -> None:
    (tmp_path / "edgekit.toml").write_text("[compiler.velo]\noptimise = 'Size'\n")
    with pytest.raises(ProjectError, match=r"Expected \[compiler.NAME\] with one of .*vela.*, got velo"):
        load_project(tmp_path)
