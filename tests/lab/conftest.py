"""The lab: devices with no hardware, each brought up once a run."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import pytest

from edgekit.provision import setup
from edgekit.transport import connect
from tests.lab.arm64 import Arm64, arm64
from tests.lab.guest import Guest, guest
from tests.lab.machine import LabUnavailable
from tests.lab.tier1 import Sshd, tier1

D = TypeVar("D")
SHARED = {"_guest": "guest", "_arm64": "arm64", "built": "firmware", "real": "firmware"}
"""Fixture that takes long to bring up -> the group of the tests that have it: one worker brings it up, once."""
LONG = "at_any_moment"
"""In the name of a test that takes minutes."""


@pytest.hookimpl(tryfirst=True)  # pytest-xdist looks at the marks in a hook of the same name
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups first, then long tests: the others fill what is left, so that no worker ends long after the other."""
    order = dict.fromkeys(items, 3)
    for item in items:
        if isinstance(item, pytest.Function) and item.path.is_relative_to(Path(__file__).parent):
            group = next((group for fixture, group in SHARED.items() if fixture in item.fixturenames), None)
            if group is not None:
                item.add_marker(pytest.mark.xdist_group(group))
            order[item] = 0 if group is not None else 1 if LONG in item.name else 2
    items.sort(key=order.__getitem__)


def _brought_up(tier: int, start: Callable[[Path], AbstractContextManager[D]], folder: Path) -> Iterator[D]:
    try:
        with start(folder) as device:
            yield device
    except LabUnavailable as err:
        pytest.skip(f"tier {tier} of the lab: {err}")


@pytest.fixture(scope="session")
def _sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    yield from _brought_up(1, tier1, tmp_path_factory.mktemp("tier1"))


@pytest.fixture(scope="session")
def _arm64(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arm64]:
    yield from _brought_up(2, arm64, tmp_path_factory.mktemp("tier2"))


@pytest.fixture(scope="module")  # an emulated machine that waits takes half a CPU from whoever comes next
def _guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    yield from _brought_up(3, guest, tmp_path_factory.mktemp("tier3"))


@pytest.fixture
def sshd(_sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sshd:
    """The tier 1 device, with edgekit reading its ssh config and a working directory of the test's own."""
    _enter(_sshd.ssh_config, monkeypatch, tmp_path)
    return _sshd


@pytest.fixture
def bare_arm64_device(_arm64: Arm64, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Arm64:
    """The tier 2 device as it comes, set up like ``sshd``; edgekit's folder may or may not be there."""
    _enter(_arm64.ssh_config, monkeypatch, tmp_path)
    return _arm64


@pytest.fixture(scope="session")
def _runtime_on_arm64(_arm64: Arm64) -> None:
    """The runtime that `edgekit device setup` installs."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(_arm64.ssh_config))
        with connect(_arm64.device()) as connection:
            setup(connection)


@pytest.fixture
def arm64_device(bare_arm64_device: Arm64, _runtime_on_arm64: None) -> Arm64:
    """The tier 2 device with a TFLite runtime in edgekit's default folder there."""
    return bare_arm64_device


@pytest.fixture(name="guest")
def tier3(_guest: Guest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Guest:
    """The tier 3 machine with a runtime, its battery and its temperature, set up like ``sshd``."""
    _enter(_guest.ssh_config, monkeypatch, tmp_path)
    for module in ("test_power", "heat"):
        _guest.plug(module)
    return _guest


def _enter(ssh_config: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(ssh_config))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.chdir(folder)
