"""The lab: devices with no hardware, each brought up once a run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.machine import LabUnavailable
from tests.lab.tier1 import Sshd, tier1


@pytest.fixture(scope="session")
def _sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    try:
        with tier1(tmp_path_factory.mktemp("tier1")) as device:
            yield device
    except LabUnavailable as err:
        pytest.skip(f"tier 1 of the lab: {err}")


@pytest.fixture
def sshd(_sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sshd:
    """The tier 1 device, with edgekit reading its ssh config and a working directory of the test's own."""
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(_sshd.ssh_config))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.chdir(tmp_path)
    return _sshd
