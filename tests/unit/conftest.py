"""This machine as a device, with a folder of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.artifact import Artifact
from edgekit.device import resolve_device
from edgekit.transport import Connection, connect
from tests.artifacts import make_artifact
from tests.unit.delegate_library import build_library
from tests.unit.releases import Board, Shelf


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """edgekit's folder on the device."""
    monkeypatch.setenv("EDGEKIT_LOCAL_ROOT", str(tmp_path / "device"))
    return tmp_path / "device"


@pytest.fixture
def connection(root: Path) -> Iterator[Connection]:
    """A real connection to this machine."""
    with connect(resolve_device("local")) as opened:
        yield opened


@pytest.fixture
def versions(tmp_path: Path, cases: Path) -> list[Artifact]:
    """Four versions of one small model."""
    model = (cases / "models" / "tflm" / "hello_world_int8.tflite").read_bytes()
    return [make_artifact(tmp_path / f"v{n}", model, tools={"edgekit": str(n)}) for n in range(4)]


@pytest.fixture(scope="session")
def elementwise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real external delegate, see ``delegate/elementwise.c``."""
    return build_library(tmp_path_factory.mktemp("delegate") / "libelementwise.so")


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """Unpacked releases of a tiny model."""
    return Shelf(tmp_path_factory.mktemp("shelf"))


@pytest.fixture
def board(root: Path, capfd: pytest.CaptureFixture[str]) -> Board:
    """A device where update clients call install.sh."""
    return Board(root, lambda: capfd.readouterr().err)
