"""A fleet's whole way: upload.sh, a server that speaks Mender's API, and Debian's client as a service on the device."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edgekit.agent.state import read_state
from edgekit.bundle.mender.device import PROGRAM
from edgekit.bundle.rollout import write_rollout
from edgekit.keys.trust import read_trust
from edgekit.project import Deploy
from tests.bundles import make_tree, tiny_artifact
from tests.lab.clients.mender import Mender, mender
from tests.lab.clients.mender_daemon import daemon, prepare
from tests.lab.machine import LabUnavailable
from tests.lab.mender_server import USER_TOKEN, Deployment, MenderServer, mender_server
from tests.lab.rest import make_certificate
from tests.lab.test_mender import Bundles

pytestmark = pytest.mark.lab
PLACE = "/var/lib/edgekit"
HEALTHY_ONCE = Deploy(health_check=f"test ! -e {PLACE}/asked && touch {PLACE}/asked", health_timeout_s=0.5)
"""With the installation, and not any more before the commit."""
WAITING = Deploy(health_check=f"touch {PLACE}/waiting; test -e {PLACE}/go-on", health_timeout_s=60)


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """A server, and a device with edgekit's files on it."""

    server: MenderServer
    certificate: Path
    device: Mender
    bundles: Bundles
    folder: Path

    def deploy(self, version: str, **changes: Any) -> Deployment:
        """As docs/ota.md does: `edgekit bundle rollout`, then upload.sh."""
        bundle = self.bundles(version, **changes)
        folder = self.folder / f"rollout-{len(self.server.deployments)}"
        write_rollout(bundle, "mender", read_trust(self.bundles.keys), {}, folder, datetime.now(UTC))
        environment = {
            **os.environ, "MENDER_TOKEN": USER_TOKEN, "MENDER_SERVER": self.server.address,
            "CURL_CA_BUNDLE": str(self.certificate),
        }  # fmt: skip
        command = ["sh", str(folder / "upload.sh"), str(bundle), "canaries"]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)
        assert (ran.returncode, ran.stdout) == (0, "deployed to the group canaries\n"), ran.stderr
        return self.server.deployments[-1]

    def standing(self) -> tuple[str | None, str | None]:
        """Versions that are active and the floor."""
        floor = read_state(self.device.place).floor
        return self.device.active(), floor and floor.version


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    return Bundles(tmp_path_factory.mktemp("bundles"))


@pytest.fixture
def fleet(tmp_path: Path, bundles: Bundles) -> Iterator[Fleet]:
    certificate, tls = make_certificate(tmp_path)
    tree = make_tree(tiny_artifact(tmp_path / "artifact"), bundles.keys)
    with mender_server(tls) as server:
        try:
            with mender(tmp_path, bundles.keys, tree.release, server=server.address) as device:
                prepare(device, certificate)
                yield Fleet(server=server, certificate=certificate, device=device, bundles=bundles, folder=tmp_path)
        except LabUnavailable as err:
            pytest.skip(str(err))


def seen(path: Path, log: Callable[[], str]) -> None:
    """Wait until something on the device has made ``path``."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, log()[-6000:]
        time.sleep(0.05)


def test_from_the_upload_to_the_inventory_and_what_fails_on_the_way(fleet: Fleet) -> None:
    server, place = fleet.server, Path(fleet.device.place.root)
    with daemon(fleet.device) as log:
        fleet.deploy("1.0.0")
        server.wait_for(lambda store: store.identity, log)
        assert (server.identity, fleet.device.active()) == ({"serial": "1"}, None)
        server.accept()
        told = server.ended(log).statuses
        assert (told[:2], told[-1]) == (["downloading", "installing"], "success")
        assert fleet.standing() == ("1.0.0", "1.0.0")
        server.wait_for(lambda store: store.inventory.get("edgekit.demo.version") == "1.0.0", log)
        assert server.inventory["artifact_name"] == "demo-1.0.0"

        fleet.deploy("1.1.0", golden=False)
        assert "The device computes something else" in server.failed(log)
        assert fleet.standing() == ("1.0.0", "1.0.0")

        fleet.deploy("1.4.0", deploy=HEALTHY_ONCE)
        failed = server.failed(log)
        assert "demo 1.4.0 is active (4 golden vectors" in failed
        assert "The application is not healthy with the new version: health_check" in failed
        assert fleet.standing() == ("1.0.0", "1.0.0"), "what was rolled back does not count"

        aborted = fleet.deploy("1.3.0", deploy=WAITING)
        seen(place / "waiting", log)
        with server.lock:
            aborted.aborted = True
        (place / "go-on").touch()
        fleet.deploy("1.2.0")
        assert server.ended(log).statuses[-1] == "success"
        assert "success" not in aborted.statuses
        assert fleet.standing() == ("1.2.0", "1.2.0"), "lower than what was rolled back"

        fleet.deploy("1.1.5")
        assert "demo 1.1.5 is refused: 1.2.0 was active here" in server.failed(log)
        server.wait_for(lambda store: store.inventory.get("edgekit.demo.version") == "1.2.0", log)


def test_power_that_goes_in_the_commit_rolls_back_and_the_same_release_is_taken_again(fleet: Fleet) -> None:
    """Between the floor and Mender's own note of the commit, which is the one moment in which the two can differ."""
    server, place = fleet.server, Path(fleet.device.place.root)
    module = fleet.device.top / PROGRAM
    whole = module.read_text()
    waiting = f"ArtifactCommit) (installer --confirm) && touch {PLACE}/confirmed && sleep 60"
    server.accept()
    with daemon(fleet.device) as log:
        fleet.deploy("1.0.0")
        assert server.ended(log).statuses[-1] == "success"
        module.write_text(whole.replace("ArtifactCommit) installer --confirm", waiting))
        fleet.deploy("1.1.0")
        seen(place / "confirmed", log)
    module.write_text(whole)
    with daemon(fleet.device) as log:
        assert "Version" in server.failed(log)
        assert fleet.standing() == ("1.0.0", "1.1.0")
        server.deployments.append(Deployment(artifact="demo-1.1.0"))
        assert server.ended(log).statuses[-1] == "success"
        assert fleet.standing() == ("1.1.0", "1.1.0")
