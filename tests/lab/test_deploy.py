"""Deployments over a real sshd: a full and a read-only disk, a cut cable, a killed server; the old version stays."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit.artifact import Artifact
from edgekit.deploy import deploy, rollback
from edgekit.deployment import Deployment
from edgekit.device import Device
from edgekit.errors import DeviceFaultError, TransportError
from edgekit.project import Deploy
from edgekit.transport import connect
from tests.artifacts import make_artifact
from tests.lab.tier1 import Sshd, wait_until

pytestmark = pytest.mark.lab
PADDING = 8 * 1024 * 1024
NO_HANG_S = 15.0


@pytest.fixture
def versions(tmp_path: Path, cases: Path) -> list[Artifact]:
    model = (cases / "models" / "tflite_ref" / "kws_int8.tflite").read_bytes()
    return [make_artifact(tmp_path / f"v{n}", model, name="kws", tools={"edgekit": str(n)}) for n in range(2)]


@pytest.fixture
def large(tmp_path: Path, cases: Path) -> Artifact:
    """A model with enough bytes behind it for something to happen in mid-transfer."""
    model = (cases / "models" / "tflite_ref" / "kws_int8.tflite").read_bytes()
    return make_artifact(tmp_path / "large", model + os.urandom(PADDING), name="kws")


@pytest.fixture
def device(sshd: Sshd) -> Sshd:
    """The device with nothing of an earlier test on it but the agent."""
    for path in (sshd.root / "models", sshd.root / "staging"):
        if path.exists():
            shutil.rmtree(path)
    return sshd


def reach(device: Sshd, python: str = sys.executable) -> Device:
    """The device with the interpreter of this test run, which has a TFLite runtime."""
    return device.device(python=python)


def send(device: Sshd, artifact: Artifact, **settings: object) -> Deployment:
    with connect(reach(device)) as connection:
        return deploy(artifact, connection, settings=Deploy(**settings))  # type: ignore[arg-type]


def active(device: Sshd) -> str | None:
    link = device.root / "models" / "kws" / "current"
    return link.resolve().name if link.is_symlink() else None


def staged(device: Sshd) -> int:
    return sum(path.stat().st_size for path in (device.root / "staging").rglob("*") if path.is_file())


def test_deploy_again_and_rollback(device: Sshd, versions: list[Artifact]) -> None:
    assert send(device, versions[0]).active
    assert send(device, versions[0]).bytes_sent == 0
    assert send(device, versions[1]).previous == versions[0].digest
    with connect(reach(device)) as connection:
        assert rollback(connection, name="kws").digest == versions[0].digest == active(device)


def test_a_device_without_a_runtime_says_how_to_get_one(device: Sshd, versions: list[Artifact]) -> None:
    bare = f"{sys.base_prefix}/bin/python3"
    with connect(reach(device, bare)) as connection, pytest.raises(DeviceFaultError, match="no TFLite") as caught:
        deploy(versions[0], connection)
    assert "edgekit device setup" in caught.value.hint
    assert active(device) is None


def test_a_full_disk_is_noticed_before_anything_is_sent(
    device: Sshd, versions: list[Artifact], large: Artifact
) -> None:
    send(device, versions[0])
    with (
        device.full(free_bytes=6 * 1024 * 1024),
        pytest.raises(DeviceFaultError, match=r"not enough space .* \d+ bytes are free, \d+ are needed"),
    ):
        send(device, large)
    assert active(device) == versions[0].digest
    assert staged(device) == 0


def test_a_disk_that_fills_up_meanwhile_leaves_nothing(device: Sshd, versions: list[Artifact], large: Artifact) -> None:
    send(device, versions[0])
    filler = device.storage / "meanwhile"

    def fill(sent: int, _total: int) -> None:
        if sent > PADDING // 8 and not filler.exists():
            with filler.open("wb", buffering=0) as stream:
                try:
                    while stream.write(b"\0" * 65536):
                        pass
                except OSError:
                    pass

    try:
        with connect(reach(device)) as connection, pytest.raises(DeviceFaultError, match="disk is full"):
            deploy(large, connection, on_progress=fill)
    finally:
        filler.unlink()
    assert active(device) == versions[0].digest
    assert staged(device) == 0
    assert send(device, large).active


def test_a_read_only_disk_is_said(device: Sshd, versions: list[Artifact]) -> None:
    send(device, versions[0])
    with device.read_only(), pytest.raises(DeviceFaultError, match="read-only") as caught:
        send(device, versions[1])
    assert "root" in caught.value.hint
    assert active(device) == versions[0].digest


@pytest.mark.parametrize("fault", ["cable", "server"])
def test_a_connection_lost_in_mid_transfer_is_resumed(
    device: Sshd, versions: list[Artifact], large: Artifact, fault: str
) -> None:
    send(device, versions[0])
    broke = threading.Event()

    def break_it(sent: int, _total: int) -> None:
        if sent > PADDING // 2 and not broke.is_set():
            broke.set()
            wait_until(lambda: staged(device) > PADDING // 4)
            device.net.drop() if fault == "cable" else device.kill_sessions()

    began = time.monotonic()
    try:
        with connect(reach(device)) as connection, pytest.raises(TransportError):
            deploy(large, connection, on_progress=break_it)
        assert time.monotonic() - began < NO_HANG_S
    finally:
        if fault == "cable":
            device.net.restore()
    assert active(device) == versions[0].digest
    arrived = staged(device)
    assert arrived > 0
    again = send(device, large)
    assert again.active
    assert again.bytes_sent <= sum(entry.bytes for entry in large.files.values()) - arrived


def test_when_all_of_ours_is_killed_during_the_health_check_the_next_command_goes_back(
    device: Sshd, versions: list[Artifact], tmp_path: Path
) -> None:
    send(device, versions[0])
    started = tmp_path / "started"
    kill = after(started.exists, device.kill_sessions)  # server, agent and guardian, as a power cut would
    with pytest.raises(TransportError):
        send(device, versions[1], health_check=f"touch {started}; sleep 60", health_timeout_s=60)
    kill.join()
    done = send(device, versions[1])
    assert done.active
    assert done.previous == versions[0].digest
    assert "unconfirmed-switch" in [finding.name for finding in done.findings]


def after(condition: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    """Act in the background as soon as the condition holds."""

    def run() -> None:
        wait_until(condition, timeout_s=30)
        act()

    thread = threading.Thread(target=run)
    thread.start()
    return thread
