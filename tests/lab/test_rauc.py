"""RAUC bundles, installed for real by Debian's rauc on loop-mounted A/B slots."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgekit.artifact import Artifact
from edgekit.bundle.rauc.squashfs import SUPERBLOCK_BYTES
from edgekit.project import Deploy
from tests.artifacts import with_wrong_golden
from tests.bundles import make_bundle, make_keys, tiny_artifact
from tests.lab.clients import rauc
from tests.lab.clients.cuts import RETRIED_EVERY, PowerCuts
from tests.lab.clients.rauc import RaucDevice
from tests.lab.machine import LabUnavailable
from tests.lab.newer_rauc import newer_rauc

pytestmark = pytest.mark.lab
NOW = datetime.now(UTC)
"""rauc knows no other moment: it asks the clock of this machine."""
KILLS = 50


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Keys, and the releases that are sent to devices."""

    folder: Path
    keys: Path
    artifact: Artifact

    def hooked(self, version: str, told: Path, health_check: str, *, timeout_s: float = 30.0) -> Path:
        """A bundle whose application notes in ``told`` which version it sees."""
        see = """sed -n 's/^ *"version": "\\(.*\\)",*$/\\1/p' "$EDGEKIT_PATH/../release.json" """
        on_activate = f'{{ [ -z "$EDGEKIT_DIGEST" ] && echo none || {see}; }} >> {told}'
        deploy = Deploy(on_activate=on_activate, health_check=health_check, health_timeout_s=timeout_s)
        return self.bundle(version, name=f"{version}-{told.parent.name}", deploy=deploy)

    def bundle(self, version: str, *, name: str | None = None, **changes: object) -> Path:
        """A plain bundle; ``changes`` as of ``make_bundle``, ``name`` of its folder where it is no usual one."""
        fields = {"keys": self.keys, "artifact": self.artifact, "settings": rauc.SETTINGS, **changes}
        path = self.folder / (name or version)
        return make_bundle(path, "rauc", version=version, now=NOW, **fields).path  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    folder = tmp_path_factory.mktemp("rauc")
    return Fleet(folder=folder, keys=make_keys(folder / "keys", now=NOW), artifact=tiny_artifact(folder / "artifact"))


@pytest.fixture(scope="module")
def old(fleet: Fleet) -> Path:
    return fleet.bundle("1.0.0")


@pytest.fixture(scope="module")
def new(fleet: Fleet) -> Path:
    return fleet.bundle("1.1.0")


@pytest.fixture
def empty(fleet: Fleet, tmp_path: Path) -> Iterator[RaucDevice]:
    """A device that never had a release."""
    try:
        with rauc.client(tmp_path, fleet.keys) as device:
            yield device
    except LabUnavailable as err:
        pytest.skip(f"rauc: {err}")


@pytest.fixture
def device(empty: RaucDevice, old: Path) -> RaucDevice:
    """A device that runs 1.0.0."""
    assert empty.install(old).accepted
    return empty


def test_a_release_is_confirmed_after_its_golden_vectors_and_the_next_goes_to_the_other_slot(
    empty: RaucDevice, old: Path, new: Path
) -> None:
    assert empty.active() is None
    written = empty.power_on("install", str(old))
    assert written.accepted, written.output
    assert empty.states() == {"primary": "B", "A": "bad", "B": "3"}  # written, and not proven
    started = empty.power_on("status")
    assert started.output.index("4 golden vectors on xnnpack") < started.output.index("slot B is active")
    assert "Activated: model.1 (B)" in started.output
    assert empty.states() == {"primary": "B", "A": "bad", "B": "good"}
    assert empty.active() == "1.0.0"
    outcome = empty.install(new)
    assert outcome.accepted, outcome.output
    assert (empty.slot(), empty.active()) == ("A", "1.1.0")
    assert empty.states() == {"primary": "A", "A": "good", "B": "good"}


def test_a_release_whose_golden_vectors_fail_is_marked_bad_and_the_one_before_stays(
    fleet: Fleet, device: RaucDevice, new: Path, tmp_path: Path
) -> None:
    broken = with_wrong_golden(fleet.artifact, tmp_path / "broken")
    outcome = device.install(fleet.bundle("1.2.0", name="broken", artifact=broken))
    assert not outcome.accepted
    assert "FAILED" in outcome.output
    assert "the release in slot A is not good here" in outcome.output
    assert device.states() == {"primary": "B", "A": "bad", "B": "good"}
    assert device.active() == "1.0.0"
    assert device.install(new).accepted  # the floor did not move to 1.2.0


def test_a_slot_is_good_when_the_application_is_healthy_with_it_and_left_when_it_is_not(
    fleet: Fleet, device: RaucDevice, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    sees = 'test "$EDGEKIT_MODEL" -ef "$EDGEKIT_PATH/model.tflite"'
    done = device.install(fleet.hooked("1.1.0", told, sees))
    assert done.accepted, done.output
    assert done.output.index("slot A is active") < done.output.index("running health_check")
    assert done.output.index("The application is healthy with demo 1.1.0") < done.output.index("slot A is good")
    assert device.active() == "1.1.0"
    assert told.read_text().split() == ["1.1.0"]  # and not at the next start: it starts with what it has proven
    failed = device.install(fleet.hooked("1.2.0", told, "sleep 60", timeout_s=0.5))
    assert not failed.accepted
    assert "health_check (sleep 60) did not end within 0.5 s" in failed.output
    assert "slot A is active again" in failed.output
    assert told.read_text().split() == ["1.1.0", "1.2.0", "1.1.0"]
    assert device.states() == {"primary": "A", "A": "good", "B": "bad"}
    assert device.floor() == "1.1.0"
    assert device.active() == "1.1.0"


def test_a_first_release_that_is_not_healthy_leaves_none(fleet: Fleet, empty: RaucDevice, tmp_path: Path) -> None:
    told = tmp_path / "told"
    failed = empty.install(fleet.hooked("1.0.0", told, "echo dark; false", timeout_s=0.1))
    assert "no slot has a good release" in failed.output
    assert told.read_text().split() == ["1.0.0", "none"]
    assert (empty.active(), empty.states()["B"]) == (None, "bad")


def test_power_that_goes_while_the_application_is_asked_uses_up_an_attempt(
    fleet: Fleet, device: RaucDevice, tmp_path: Path
) -> None:
    told, well = tmp_path / "told", tmp_path / "well"
    whole = device.install(fleet.hooked("1.1.0", told, "true"))
    assert whole.accepted, whole.output
    assert device.power_on("install", str(fleet.hooked("1.2.0", told, f"test -e {well} || sleep 30"))).accepted
    assert not device.power_on("show", kill_after_s=whole.seconds).accepted  # half of it was RAUC's, which is done
    assert told.read_text().split() == ["1.1.0", "1.2.0"]
    assert device.states() == {"primary": "B", "A": "good", "B": "2"}
    well.touch()
    assert device.active() == "1.2.0"
    assert told.read_text().split() == ["1.1.0", "1.2.0", "1.2.0"]
    assert device.states() == {"primary": "B", "A": "good", "B": "good"}


def test_a_release_becomes_active_without_a_restart_of_the_device(device: RaucDevice, new: Path) -> None:
    done = device.power_on("switch", str(new))
    assert done.accepted, done.output
    assert f"current: {device.folder}/run/A; mounted: 1" in done.output  # the other one can be written again
    assert device.active() == "1.1.0"


def test_rauc_reports_what_was_proven(device: RaucDevice) -> None:
    said = device.power_on("status").output
    assert "Booted from: model.1 (B)" in said
    assert device.power_on("status", "mark-good", "booted").accepted
    assert device.power_on("status", "mark-bad", "model.1").accepted
    assert device.states()["B"] == "bad"
    assert device.active() is None  # nobody is given a release that was marked bad


def test_an_older_release_is_refused_by_the_floor_of_the_device(device: RaucDevice, old: Path, new: Path) -> None:
    assert device.install(new).accepted
    outcome = device.install(old)
    assert not outcome.accepted
    assert "1.1.0 was active here, and a lower version is not installed over it" in outcome.output
    assert device.active() == "1.1.0"


def test_a_rauc_that_knows_a_floor_refuses_an_older_release_itself(fleet: Fleet, old: Path, tmp_path: Path) -> None:
    try:
        program = newer_rauc()
    except LabUnavailable as err:
        pytest.skip(f"rauc 1.13: {err}")
    older = fleet.bundle("1.0.0-rc.1")
    with rauc.client(tmp_path, fleet.keys, program=program, settings={"rauc": "1.13"}) as device:
        refused = device.install(older)
        assert not refused.accepted
        assert "Version mismatch: Expected at least '1.0.0'" in refused.output
        assert device.active() is None
        assert device.install(old).accepted
        assert device.active() == "1.0.0"


def test_a_rauc_that_knows_no_floor_refuses_a_configuration_with_one(fleet: Fleet, old: Path, tmp_path: Path) -> None:
    with rauc.client(tmp_path, fleet.keys, settings={"rauc": "1.13"}) as device:
        assert "Invalid key 'min-bundle-version'" in device.power_on("install", str(old)).output


def test_rauc_refuses_what_was_changed_or_is_not_for_this_device(
    fleet: Fleet, device: RaucDevice, new: Path, tmp_path: Path
) -> None:
    changed = bytearray(new.read_bytes())
    changed[SUPERBLOCK_BYTES + 5000] ^= 1
    (tmp_path / "changed.raucb").write_bytes(changed)
    others = make_keys(tmp_path / "others", now=NOW)
    cases = {
        tmp_path / "changed.raucb": "signature verification failed",
        fleet.bundle("1.1.0", name="others", keys=others): "signature verification failed",
        fleet.bundle("1.1.0", name="rpi5", hardware=("rpi5",)): "Compatible mismatch",
        fleet.bundle("1.1.0", name="verity", settings={"format": "verity"}): "format 'verity' not allowed",
    }
    for path, reason in cases.items():
        outcome = device.install(path)
        assert not outcome.accepted, path
        assert reason in outcome.output, outcome.output
        assert (device.slot(), device.active()) == ("B", "1.0.0")
    assert device.install(new).accepted


def test_a_key_that_expired_is_refused(fleet: Fleet, old: Path, tmp_path: Path) -> None:
    """The device trusts a CA whose certificate is over."""
    past = make_keys(tmp_path / "past", days=1, now=NOW - timedelta(days=4000))
    (tmp_path / "device").mkdir()
    with rauc.client(tmp_path / "device", past) as device:
        outcome = device.install(old)
        assert not outcome.accepted
        assert "signature verification failed" in outcome.output


def test_power_that_goes_at_any_moment_leaves_a_whole_release_and_a_retry_works(
    device: RaucDevice, new: Path, tmp_path: Path
) -> None:
    saved = _Saved(device, tmp_path / "saved")
    whole = device.install(new)
    assert whole.accepted
    cuts = PowerCuts(KILLS, whole.seconds)
    seen: set[tuple[str | None, bool]] = set()
    while cuts.left:
        saved.restore()
        share = 1.0 if cuts.left % 2 else 0.25  # the first power-on, in which RAUC writes, is a quarter of it
        outcome = cuts.saw(device.install(new, kill_after_s=share * cuts.moment()))
        active = device.active()
        # what was killed while it proved itself may prove itself at the next start; it is whole, says active()
        assert active in ({"1.0.0", "1.1.0"} if outcome.killed else {"1.1.0"}), outcome.output
        seen.add((active, outcome.killed))
        if active == "1.0.0" and cuts.left % RETRIED_EVERY == 0:
            assert device.install(new).accepted
            assert device.active() == "1.1.0"
    assert ("1.0.0", True) in seen


class _Saved:
    """The state of a device that is off, to go back to; through its block devices, whose pages are the kernel's."""

    def __init__(self, device: RaucDevice, folder: Path) -> None:
        self.device, self.folder = device, folder
        folder.mkdir()
        shutil.copytree(device.folder / "data", folder / "data")
        for slot, path in device.devices.items():
            shutil.copyfile(path, folder / slot)

    def restore(self) -> None:
        shutil.rmtree(self.device.folder / "data")
        shutil.copytree(self.folder / "data", self.device.folder / "data")
        for slot, path in self.device.devices.items():
            with (self.folder / slot).open("rb") as source, Path(path).open("r+b") as target:
                shutil.copyfileobj(source, target)
