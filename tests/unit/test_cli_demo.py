"""The last lines of ``edgekit demo``; the demo itself is in tests/convert."""

import sys
from pathlib import Path

import pytest

from edgekit.cli.demo import bundle_steps, next_steps

pytestmark = pytest.mark.unit
STEPS = [
    "cd my-demo",
    "edgekit device trust pi@ADDRESS",
    "edgekit device setup pi@ADDRESS",
    "edgekit deploy --device pi@ADDRESS",
    "edgekit bench --device pi@ADDRESS",
]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bin" / "edgekit"
    path.parent.mkdir()
    path.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(path)])
    return path


def test_what_it_says_can_be_typed(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(program.parent))
    assert next_steps(Path("my-demo")) == STEPS


def test_from_a_virtual_environment_the_path_comes_first(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert next_steps(Path("my-demo")) == [f"export PATH={program.parent}:$PATH", *STEPS]


def test_a_bundle_is_created_and_then_verified() -> None:
    new, create, verify = bundle_steps(Path("build/digits-rpi4-int8"))
    assert new == "edgekit key new --output keys"
    assert create.startswith("edgekit bundle create build/digits-rpi4-int8 --format tar --keys keys ")
    assert verify == f"edgekit bundle verify {create.rpartition(' ')[2]} --keys keys/public"
