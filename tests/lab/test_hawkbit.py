"""A roll-out as a whole: upload.py, a server with hawkBit's two APIs, and the real clients on the device.

SWUpdate's suricatta, and rauc-hawkbit-updater.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgekit.bundle.rollout import write_rollout
from edgekit.bundle.verify import Policy, verify_bundle
from edgekit.keys.trust import read_trust
from tests.artifacts import with_wrong_golden
from tests.bundles import make_bundle, tiny_artifact
from tests.lab.clients import rauc
from tests.lab.clients.suricatta import suricatta
from tests.lab.clients.swupdate import Swupdate, swupdate
from tests.lab.hawkbit import LOGIN, TOKEN, Action, HawkBit, hawkbit
from tests.lab.machine import LabUnavailable
from tests.lab.newer_rauc import hawkbit_updater
from tests.lab.test_swupdate import Bundles

pytestmark = pytest.mark.lab
UPDATE_S = 60.0
"""For one update, on a machine that has other things to do; 5 s otherwise."""

UPDATER = """\
[client]
hawkbit_server={host}
ssl=false
target_name=edge-1
auth_token={token}
bundle_download_location={folder}/bundle.raucb
retry_wait=1

[device]
board=rpi4
"""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    return Bundles(tmp_path_factory.mktemp("hawkbit"))


@pytest.fixture
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def device(mode: str, bundles: Bundles, tmp_path: Path) -> Iterator[Swupdate]:
    """A new device that has nothing yet."""
    policy = Policy(now=datetime.now(UTC))
    release = verify_bundle(bundles("1.0.0", mode), read_trust(bundles.keys), policy, with_tool=False).release
    try:
        with swupdate(tmp_path, bundles.keys, release, mode=mode) as device:
            yield device
    except LabUnavailable as err:
        pytest.skip(f"SWUpdate: {err}")


@pytest.fixture
def server() -> Iterator[HawkBit]:
    with hawkbit() as server:
        yield server


def roll_out(server: HawkBit, bundle: Path, keys: Path) -> None:
    """``edgekit bundle rollout`` and ``upload.py --start``, as docs/ota.md says."""
    folder = bundle.with_suffix(f".{server.address.rpartition(':')[2]}")
    write_rollout(bundle, "hawkbit", read_trust(keys), {}, folder, datetime.now(UTC))
    user, _, password = LOGIN.partition(":")
    environment = {"HAWKBIT_URL": server.address, "HAWKBIT_USER": user, "HAWKBIT_PASSWORD": password}
    command = [sys.executable, str(folder / "upload.py"), str(bundle), "--start"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("mode", ["ab"], indirect=True)
def test_releases_reach_the_device_and_a_bad_one_is_told_and_not_tried_again(
    mode: str, device: Swupdate, server: HawkBit, bundles: Bundles
) -> None:
    def update(version: str, *, golden: bool = True) -> Action:
        roll_out(server, bundles(version, mode, golden=golden), bundles.keys)
        server.wait_for(lambda server: server.actions[-1].finished, timeout_s=UPDATE_S, log=log)
        return server.actions[-1]

    with suricatta(device, server) as log:
        first = update("1.0.0")
        assert first.finished == "success", first.details()
        assert first.details().endswith("demo 1.0.0 is active")
        assert device.active() == "1.0.0"

        wrong = update("1.1.0", golden=False)
        assert wrong.finished == "failure"
        assert "The device computes something else" in wrong.details()
        time.sleep(2.5)  # two polls
        assert server.downloads == 2
        assert device.active() == "1.0.0"

        second = update("1.1.1")  # into the slot that the wrong one left, by an SWUpdate that was started anew
        assert second.finished == "success", second.details()
        assert device.active() == "1.1.1"
    assert server.refused == []


@pytest.mark.parametrize("mode", ["directory"], indirect=True)
def test_what_was_installed_while_the_server_was_away_is_told_after_the_power_was(
    device: Swupdate, server: HawkBit, bundles: Bundles
) -> None:
    told = device.top / "var-lib/edgekit/swupdate.action"

    def installed_unheard(version: str) -> None:
        with suricatta(device, server) as log:
            before = server.downloads
            roll_out(server, bundles(version, "directory"), bundles.keys)
            server.wait_for(lambda server: server.downloads > before, timeout_s=UPDATE_S, log=log)
            server.reachable = False
            deadline = time.monotonic() + UPDATE_S
            while not told.exists():
                assert time.monotonic() < deadline, log()[-6000:]
                time.sleep(0.05)
        server.reachable = True
        assert device.active() == version
        assert server.actions[-1].finished is None

    installed_unheard("1.0.0")
    with suricatta(device, server) as log:
        server.wait_for(lambda server: server.actions[-1].finished, timeout_s=UPDATE_S, log=log)
    assert server.actions[-1].finished == "success"
    assert server.downloads == 1

    installed_unheard("1.1.0")
    # hawkBit cancels 1.1.0, which is installed: that must not be told of this one
    roll_out(server, bundles("1.2.0", "directory", golden=False), bundles.keys)
    with suricatta(device, server) as log:
        server.wait_for(lambda server: server.actions[-1].finished, timeout_s=UPDATE_S, log=log)
    assert [action.finished for action in server.actions] == ["success", "canceled", "failure"]
    assert server.downloads == 3
    assert device.active() == "1.1.0"


def test_what_rauc_installed_is_told_and_a_bad_release_is_told_as_that(
    server: HawkBit, bundles: Bundles, tmp_path: Path
) -> None:
    """The golden vectors run before the client has an answer from RAUC; the device starts anew after it."""
    now, device_folder = datetime.now(UTC), tmp_path / "device"
    device_folder.mkdir()
    right = tiny_artifact(tmp_path / "right")
    wrong = with_wrong_golden(right, tmp_path / "wrong")
    try:
        updater = hawkbit_updater()
        with rauc.client(device_folder, bundles.keys) as device:
            (device_folder / "bin").mkdir()
            (device_folder / "bin/rauc-hawkbit-updater").write_text(updater)
            (device_folder / "bin/rauc-hawkbit-updater").chmod(0o755)
            configuration = device_folder / "hawkbit.conf"
            host = server.address.removeprefix("http://")
            configuration.write_text(UPDATER.format(host=host, token=TOKEN, folder=device_folder))
            for version, artifact, finished in (("1.0.0", right, "success"), ("1.1.0", wrong, "failure")):
                fields = {"keys": bundles.keys, "artifact": artifact, "settings": rauc.SETTINGS, "hardware": ("rpi4",)}
                bundle = make_bundle(tmp_path / version, "rauc", version=version, now=now, **fields).path  # type: ignore[arg-type]
                roll_out(server, bundle, bundles.keys)
                done = device.power_on("hawkbit", str(configuration))
                assert done.accepted == (finished == "success"), done.output
                assert server.actions[-1].finished == finished, server.actions[-1].details()
                assert device.active() == "1.0.0"
            assert "The device computes something else" in done.output
            assert device.states() == {"primary": "B", "A": "bad", "B": "good"}
    except LabUnavailable as err:
        pytest.skip(f"RAUC with hawkBit: {err}")
    assert server.refused == []
