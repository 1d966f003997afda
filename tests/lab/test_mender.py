"""Releases as Mender artifacts, by Debian's client standalone: what is active is whole, whatever happens."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgekit.bundle.archives.tar import read_tar, write_tar
from edgekit.bundle.archives.types import Member
from edgekit.bundle.create import create_bundle
from edgekit.errors import BundleError
from edgekit.keys.types import Algorithm
from edgekit.project import Deploy
from tests.artifacts import with_wrong_golden
from tests.bundles import make_keys, make_tree, tiny_artifact, wanted
from tests.lab.clients.cuts import survive
from tests.lab.clients.mender import Mender, mender
from tests.lab.machine import LabUnavailable

pytestmark = pytest.mark.lab
KILLS = 50
ILL = "/var/lib/edgekit/ill"
DEPLOY = Deploy(
    on_activate='echo "$EDGEKIT_DIGEST" >> /var/lib/edgekit/told', health_check=f"test ! -e {ILL}", health_timeout_s=0.5
)


class Bundles:
    """Artifacts of one model, each made when it is first asked for."""

    def __init__(self, folder: Path, algorithm: Algorithm = "p256") -> None:
        self.folder = folder
        self.keys = make_keys(folder / "keys", algorithms={"mender": algorithm}, now=datetime.now(UTC))

    def __call__(self, version: str, *, golden: bool = True, **changes: object) -> Path:
        path = self.folder / f"{version}{'' if golden else '-wrong'}.mender"
        if path.exists():
            return path
        artifact = tiny_artifact(self.folder / path.stem, tools={"edgekit": version})
        if not golden:
            artifact = with_wrong_golden(artifact, self.folder / f"{path.stem}-golden")
        fields = {"version": version, "deploy": DEPLOY, **changes}
        try:
            create_bundle(wanted(artifact, "mender", self.keys, path, **fields), now=datetime.now(UTC))
        except BundleError as err:
            pytest.skip(f"no Mender artifacts here: {err}")
        return path

    def device(self, folder: Path) -> Iterator[Mender]:
        tree = make_tree(tiny_artifact(folder / "artifact"), self.keys)
        try:
            with mender(folder, self.keys, tree.release) as running:
                yield running
        except LabUnavailable as err:
            pytest.skip(str(err))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    return Bundles(tmp_path_factory.mktemp("bundles"))


@pytest.fixture
def device(tmp_path: Path, bundles: Bundles) -> Iterator[Mender]:
    yield from bundles.device(tmp_path)


def changed(bundle: Path, folder: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """The artifact with other parts, its tar whole."""
    parts = {member.name: member.data for member in read_tar(bundle.read_bytes())}
    change(parts)
    path = folder / "changed.mender"
    path.write_bytes(write_tar([Member(name=name, data=data) for name, data in parts.items()]))
    return path


def test_install_upgrade_and_the_same_again(device: Mender, bundles: Bundles) -> None:
    assert device.install(bundles("1.0.0")).accepted
    assert device.active() == "1.0.0"
    assert device.provides() == {"artifact_name": "demo-1.0.0", "edgekit.demo.version": "1.0.0"}
    upgraded = device.install(bundles("1.1.0"))
    assert upgraded.accepted
    assert "authenticated digital signature" in upgraded.output
    assert "demo 1.1.0 is active (4 golden vectors" in upgraded.output
    assert "demo 1.1.0 is active and healthy (4 golden vectors" in upgraded.output
    assert device.install(bundles("1.1.0")).accepted
    assert device.active() == "1.1.0"
    assert device.provides() == {"artifact_name": "demo-1.1.0", "edgekit.demo.version": "1.1.0"}


def test_golden_vectors_that_fail_leave_the_old_version(device: Mender, bundles: Bundles) -> None:
    assert device.install(bundles("1.0.0")).accepted
    failed = device.install(bundles("1.1.0", golden=False))
    assert not failed.accepted
    assert "The device computes something else" in failed.output
    assert "Rolling back Artifact" in failed.output
    assert device.active() == "1.0.0"
    assert device.provides()["artifact_name"] == "demo-1.0.0"  # nothing is inconsistent
    assert device.install(bundles("1.2.0")).accepted
    assert device.active() == "1.2.0"


def test_an_application_that_falls_ill_before_the_commit_brings_the_old_version_back(
    device: Mender, bundles: Bundles
) -> None:
    assert device.install(bundles("1.0.0")).accepted
    old = device.place.current
    assert device.mender("install", bundles("1.1.0")).accepted
    assert device.active() == "1.1.0"
    Path(device.place.root, "ill").touch()
    failed = device.mender("commit")
    assert not failed.accepted
    assert "The application is not healthy" in failed.output
    assert device.active() == "1.0.0"
    assert Path(old).is_symlink()
    assert device.provides()["artifact_name"] == "demo-1.0.0"
    told = Path(device.place.root, "told").read_text().split()
    assert (len(told), told[0]) == (3, told[2])
    Path(device.place.root, "ill").unlink()
    assert device.install(bundles("1.0.5")).accepted, "what was rolled back does not count for the floor"
    assert device.active() == "1.0.5"


def test_a_changed_file_before_the_commit_brings_the_old_version_back(device: Mender, bundles: Bundles) -> None:
    assert device.install(bundles("1.0.0")).accepted
    assert device.mender("install", bundles("1.1.0")).accepted
    Path(device.place.current, "model.tflite").write_bytes(b"worn flash")
    failed = device.mender("commit")
    assert not failed.accepted
    assert "model.tflite was changed on the device" in failed.output
    assert device.active() == "1.0.0"


def test_a_rollback_by_hand_goes_to_what_was_active(device: Mender, bundles: Bundles) -> None:
    assert device.mender("install", bundles("1.0.0")).accepted
    assert device.mender("rollback").accepted
    assert device.active() is None
    assert device.install(bundles("1.1.0")).accepted
    assert device.mender("install", bundles("1.1.0")).accepted  # again: it was active before
    assert device.mender("rollback").accepted
    assert device.active() == "1.1.0"
    refused = device.mender("rollback")
    assert "There is nothing to commit" in refused.output
    assert device.active() == "1.1.0"


def test_a_downgrade_is_refused_by_the_floor_unless_the_device_is_told(device: Mender, bundles: Bundles) -> None:
    assert device.install(bundles("1.1.0")).accepted
    refused = device.install(bundles("1.0.0"))
    assert not refused.accepted
    assert "demo 1.0.0 is refused: 1.1.0 was active here" in refused.output
    assert device.active() == "1.1.0"
    device.set_defaults(EDGEKIT_ALLOW_DOWNGRADE="1")
    assert device.install(bundles("1.0.0")).accepted
    assert device.active() == "1.0.0"


def test_the_client_refuses_what_was_changed(device: Mender, bundles: Bundles, tmp_path: Path) -> None:
    assert device.install(bundles("1.0.0")).accepted
    good = bundles("1.1.0")

    def payload(parts: dict[str, bytes]) -> None:
        data = parts["data/0000.tar"]
        at = data.index(b"golden.json") + 2000
        parts["data/0000.tar"] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    cases: dict[str, Callable[[dict[str, bytes]], object]] = {
        "payload": payload,
        "script": lambda parts: parts.update({"header.tar": parts["header.tar"].replace(b"exit 1", b"exit 0")}),
        "manifest": lambda parts: parts.update(manifest=parts["manifest"].replace(b"0", b"1", 1)),
        "signature": lambda parts: parts.update({"manifest.sig": parts["manifest.sig"].swapcase()}),
        "unsigned": lambda parts: parts.pop("manifest.sig"),
    }
    for name, change in cases.items():
        refused = device.install(changed(good, tmp_path, change))
        assert not refused.accepted, name
        assert "edgekit: demo 1.1.0" not in refused.output, name  # nothing of it was run
        assert device.active() == "1.0.0", name


def test_another_key_and_another_device_are_refused(device: Mender, bundles: Bundles, tmp_path: Path) -> None:
    foreign = Bundles(tmp_path / "foreign")
    refused = device.install(foreign("1.0.0"))
    assert not refused.accepted
    assert "invalid signature: signer: verification failed" in refused.output
    other = device.install(bundles("7.0.0", hardware=("jetson-nano",)))
    assert not other.accepted
    assert "image (device types [jetson-nano]) not compatible with device rpi4" in other.output
    assert device.active() is None


def test_mender_s_own_dependencies_are_kept(device: Mender, bundles: Bundles) -> None:
    dependent = bundles("1.2.1", settings={"depends": "edgekit.demo.version:1.1.0"})
    refused = device.install(dependent)
    assert not refused.accepted
    assert '"edgekit.demo.version\\" not satisfied' in refused.output
    assert device.install(bundles("1.1.0")).accepted
    assert device.install(dependent).accepted
    assert device.active() == "1.2.1"


def test_an_rsa_key(tmp_path: Path) -> None:
    rsa = Bundles(tmp_path / "bundles", "rsa")
    for device in rsa.device(tmp_path):
        assert device.install(rsa("1.0.0")).accepted
        assert device.active() == "1.0.0"


def test_a_refused_artifact_makes_mender_forget_what_waits_for_its_commit(
    device: Mender, bundles: Bundles, tmp_path: Path
) -> None:
    """A surprise of the client: its scripts then lie there and are not run; the next installation repairs all."""
    assert device.install(bundles("1.0.0")).accepted
    assert device.mender("install", bundles("1.1.0")).accepted

    def other_script(parts: dict[str, bytes]) -> None:
        parts["header.tar"] = parts["header.tar"].replace(b"# State script of", b"echo HOSTILE >&2 #")

    assert not device.mender("install", changed(bundles("1.2.0"), tmp_path, other_script)).accepted
    forgotten = device.mender("commit")
    assert "There is nothing to commit" in forgotten.output
    assert "\nHOSTILE" not in forgotten.output
    assert (device.active(), device.provides()["artifact_name"]) == ("1.1.0", "demo-1.0.0")
    assert device.install(bundles("1.1.0")).accepted
    assert (device.active(), device.provides()["artifact_name"]) == ("1.1.0", "demo-1.1.0")


def test_lost_power_before_the_commit_leaves_a_whole_version_and_a_way_on(device: Mender, bundles: Bundles) -> None:
    assert device.install(bundles("1.0.0")).accepted
    assert device.mender("install", bundles("1.1.0")).accepted  # each command is a boot
    assert device.mender("install", bundles("1.2.0")).accepted  # over one that nobody committed
    assert device.mender("rollback").accepted
    assert device.active() == "1.1.0"


@pytest.mark.timeout(1200)
def test_killed_at_any_moment_a_whole_version_is_active_and_a_retry_succeeds(device: Mender, bundles: Bundles) -> None:
    def after(versions: set[str]) -> None:
        provided = device.provides()
        assert provided["edgekit.demo.version"] in versions
        if len(versions) == 1:
            assert provided["artifact_name"] == f"demo-{min(versions)}"

    survive(device, bundles, cuts=KILLS, after=after)
    assert device.install(bundles("4.0.0")).accepted
    assert list((Path(device.place.root) / "staging" / "demo").iterdir()) == []
