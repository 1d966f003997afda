"""Target profiles: every shipped file loads; an invalid one names file, key, found and expected."""

from pathlib import Path

import pytest

from edgekit.errors import TargetError
from edgekit.target import list_targets, load_target, read_target, target_folders

pytestmark = pytest.mark.unit
SHIPPED = sorted(target_folders(Path("/nonexistent"))[1].glob("*.toml"))
EXPECTED = {
    "rpi3", "rpi4", "rpi5", "rpi-zero-2w", "coral-dev-board", "coral-usb", "jetson-orin-nano", "android-arm64",
    "ethos-u55-128", "x86-64",
}  # fmt: skip


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_profile_loads_and_cites_its_sources(path: Path) -> None:
    target = read_target(path)
    assert target.name == path.stem
    assert target.support.build == "ready" or target.support.missing.endswith(".")
    assert target.cpu.source.startswith("https://")


def test_the_boards_of_the_readme_are_there() -> None:
    assert {path.stem for path in SHIPPED} >= EXPECTED


@pytest.mark.parametrize(
    ("line", "replacement", "message", "hint"),
    [
        ("cores = 4", 'cores = "four"', "cpu.cores: Expected `int`, got `str`, found 'four'", ""),
        ("cores = 4", "corse = 4", "cpu: Object contains unknown field `corse`", "Did you mean 'cores'?"),
        ("cores = 4", "", "cpu: Object missing required field `cores`", ""),
        ('os = "linux"', 'os = "plan9"', "os: Invalid enum value 'plan9'", "'android', 'linux' or 'none'"),
        (
            'default_precision = "int8"',
            'default_precision = "int4"',
            "default_precision: Invalid enum value",
            "'int8'",
        ),
        (
            "int16_activations = true",
            "int16_activations = false",
            "found 'int16x8', expected none of it without int16_activations",
            "Set int16_activations = true",
        ),
        ("cores = 4", "cores = 4 4", "is not valid TOML", "line"),
        ('name = "rpi4"', 'name = "rpi9"', "name: found 'rpi9', expected 'mine'", "Rename"),
        (
            '"float32"]',
            '"float32", "int4"]',
            "quantization.precisions[5]: Invalid enum value 'int4'",
            "'float16'",
        ),
    ],
)
def test_an_invalid_profile_is_explained(tmp_path: Path, line: str, replacement: str, message: str, hint: str) -> None:
    text = next(path for path in SHIPPED if path.stem == "rpi4").read_text()
    assert line in text
    path = tmp_path / "mine.toml"
    name = line if line.startswith("name") else 'name = "rpi4"'
    path.write_text(
        text.replace(line, replacement).replace(name, 'name = "mine"')
        if line != name
        else text.replace(line, replacement)
    )
    with pytest.raises(TargetError) as caught:
        read_target(path)
    assert str(path) in caught.value.message
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_the_users_own_profile_comes_first(tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    text = next(path for path in SHIPPED if path.stem == "rpi4").read_text()
    (tmp_path / "targets" / "rpi4.toml").write_text(text.replace("Raspberry Pi 4 Model B", "My own board"))
    assert load_target("rpi4", tmp_path).description.startswith("My own board")
    assert [target.name for target in list_targets(tmp_path)].count("rpi4") == 1


def test_an_unknown_target_names_the_closest() -> None:
    with pytest.raises(TargetError) as caught:
        load_target("rpi-4")
    assert "rpi4" in caught.value.hint
