"""What a build says of a compiled file."""

import pytest

from edgekit.compilation import compilation_findings
from edgekit.compilers.entries import CompilationEntry
from edgekit.target import load_target

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("target", "setting", "own", "other"),
    [
        ("ethos-u55-128", "accelerator_config", "ethos-u55-128", "ethos-u85-128"),
        ("rk3588", "target_platform", "rk3588", "rk3566"),
        ("rpi5-hailo-8l", "hw_arch", "hailo8l", "hailo8"),
    ],
)
def test_a_file_for_another_chip_than_the_profiles_is_said(target: str, setting: str, own: str, other: str) -> None:
    def said(chip: str) -> list[str]:
        entry = CompilationEntry(
            compiler="c", version=None, accelerator="a", settings={setting: chip}, ops_on_accelerator=1, ops_on_cpu={}
        )
        found = compilation_findings(entry, load_target(target))
        return [finding.message for finding in found if finding.name == "other-chip"]

    assert said(own) == []
    assert said(other) == [f"The file is for {other}, by the setting {setting}; {target} has {own}."]
