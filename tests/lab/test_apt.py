"""Releases as Debian packages, by the real apt and dpkg: what is active is whole, whatever happens."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgekit.bundle.create import create_bundle
from edgekit.bundle.deb.device import device_files
from edgekit.bundle.entries import Release
from edgekit.documents import read_json
from edgekit.errors import BundleError
from edgekit.keys.trust import read_trust
from edgekit.project import Deploy
from tests.artifacts import with_wrong_golden
from tests.bundles import make_keys, tiny_artifact, wanted
from tests.lab import debian_apt
from tests.lab.arm64 import CPUINFO, PROGRAMS, register_emulator
from tests.lab.clients.apt import Apt, apt
from tests.lab.clients.cuts import survive
from tests.lab.clients.repository import make_repository, public_key, signing_key
from tests.lab.machine import LabUnavailable, require, run

pytestmark = pytest.mark.lab
PACKAGE = "edgekit-model-demo"
TARGET = "x86-64"
KILLS = 50
TOLD = "/srv/told"
DEPLOY = Deploy(on_activate=f'echo "$EDGEKIT_DIGEST" >> {TOLD}')


class Packages:
    """Packages of one model, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = make_keys(folder / "keys", now=datetime.now(UTC))

    def __call__(self, version: str, *, golden: bool = True, **changes: object) -> Path:
        path = self.folder / f"{version}{'' if golden else '-wrong'}.deb"
        if path.exists():
            return path
        target, settings = str(changes.pop("target", TARGET)), changes.pop("settings", {})
        artifact = tiny_artifact(self.folder / path.stem, target=target, tools={"edgekit": version})
        if not golden:
            artifact = with_wrong_golden(artifact, self.folder / f"{path.stem}-golden")
        fields = {"version": version, "deploy": DEPLOY, "settings": settings, **changes}
        try:
            create_bundle(wanted(artifact, "deb", self.keys, path, **fields), now=datetime.now(UTC))
        except BundleError as err:
            pytest.skip(f"no packages here: {err}")
        return path


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return Packages(tmp_path_factory.mktemp("packages"))


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Apt]:
    try:
        with apt(tmp_path) as running:
            yield running
    except LabUnavailable as err:
        pytest.skip(str(err))


@pytest.fixture
def arm64_device(tmp_path: Path) -> Iterator[Apt]:
    """arm64's own apt, dpkg, shell and Python, under qemu-user."""
    try:
        require(PROGRAMS)
        register_emulator()
        with apt(tmp_path, lower=debian_apt.root(), python="/usr/bin/python3", cpuinfo=CPUINFO) as running:
            yield running
    except LabUnavailable as err:
        pytest.skip(str(err))


def told(device: Apt) -> list[str]:
    """Digests that the application was told of, in order; empty for none."""
    return (device.files / TOLD.lstrip("/")).read_text().split("\n")[:-1]


def test_install_upgrade_and_the_same_again(device: Apt, packages: Packages) -> None:
    assert device.install(packages("1.0.0")).accepted
    assert device.active() == "1.0.0"
    assert device.run("dpkg", "--verify", PACKAGE).output == ""
    upgraded = device.install(packages("1.1.0"))
    assert upgraded.accepted
    assert "demo 1.1.0 is active" in upgraded.output
    assert device.active() == "1.1.0"
    assert device.apt("--reinstall", "install", device.bring(packages("1.1.0"))).accepted
    assert device.active() == "1.1.0"
    assert len(told(device)) == 2
    releases = device.files / "usr/lib/edgekit/releases/demo"
    assert [path.name for path in releases.iterdir()] == ["1.1.0"]


def test_a_pre_release_comes_before_its_release(device: Apt, packages: Packages) -> None:
    assert device.install(packages("1.0.0-rc.1")).accepted
    assert device.active() == "1.0.0-rc.1"
    assert device.install(packages("1.0.0")).accepted
    assert "dpkg: warning: downgrading" in device.install(packages("1.0.0-rc.1")).output
    assert device.active() == "1.0.0"


def test_golden_vectors_that_fail_leave_the_old_version_and_a_good_one_repairs(device: Apt, packages: Packages) -> None:
    assert device.install(packages("1.0.0")).accepted
    failed = device.install(packages("1.1.0", golden=False))
    assert not failed.accepted
    assert "The device computes something else" in failed.output
    assert "the package stays half-configured until" in failed.output
    assert (device.active(), device.status(PACKAGE)) == ("1.0.0", "iF")
    assert not device.apt("install", "dpkg").accepted  # apt goes on saying it
    assert device.install(packages("1.2.0")).accepted
    assert (device.active(), device.status(PACKAGE)) == ("1.2.0", "ii")


def test_after_a_failure_the_version_before_can_be_installed_again(device: Apt, packages: Packages) -> None:
    assert device.install(packages("1.0.0")).accepted
    assert not device.install(packages("1.1.0", golden=False)).accepted
    assert device.install(packages("1.0.0")).accepted
    assert (device.active(), device.status(PACKAGE)) == ("1.0.0", "ii")


def test_an_application_that_is_not_healthy_keeps_the_old_version(device: Apt, packages: Packages) -> None:
    ill = Deploy(health_check="false", health_timeout_s=1)
    assert device.install(packages("1.0.0")).accepted
    failed = device.install(packages("1.9.0", deploy=ill))
    assert not failed.accepted
    assert "not healthy" in failed.output
    assert (device.active(), device.status(PACKAGE)) == ("1.0.0", "iF")


def test_a_device_without_a_runtime_says_so_and_apt_ends_it_later(device: Apt, packages: Packages) -> None:
    device.set_defaults(EDGEKIT_PYTHON="/usr/bin/python3")
    failed = device.install(packages("1.0.0"))
    assert not failed.accepted
    assert "no Python on this device has numpy and a TFLite runtime" in failed.output
    assert (device.active(), device.status(PACKAGE)) == (None, "iF")
    device.set_defaults()
    assert device.run("dpkg", "--configure", "-a").accepted
    assert (device.active(), device.status(PACKAGE)) == ("1.0.0", "ii")


def test_a_downgrade_is_refused_by_apt_and_by_the_floor_unless_the_device_is_told(
    device: Apt, packages: Packages
) -> None:
    assert device.install(packages("1.1.0")).accepted
    by_apt = device.apt("install", device.bring(packages("1.0.0")))
    assert not by_apt.accepted
    assert "without --allow-downgrades" in by_apt.output
    assert (device.active(), device.status(PACKAGE)) == ("1.1.0", "ii")
    by_floor = device.install(packages("1.0.0"))
    assert not by_floor.accepted
    assert "1.1.0 was active here" in by_floor.output
    assert "EDGEKIT_ALLOW_DOWNGRADE=1 in /etc/default/edgekit" in by_floor.output
    assert device.active() == "1.1.0"
    device.set_defaults(EDGEKIT_ALLOW_DOWNGRADE="1")
    assert device.run("dpkg", "--configure", "-a").accepted
    assert (device.active(), device.status(PACKAGE)) == ("1.0.0", "ii")


def test_a_removed_model_is_out_of_use_and_its_floor_stays(device: Apt, packages: Packages) -> None:
    assert device.install(packages("1.1.0")).accepted
    assert device.apt("remove", PACKAGE).accepted
    assert (device.active(), device.status(PACKAGE)) == (None, "rc")
    assert told(device)[-1] == ""
    assert not (device.files / "usr/lib/edgekit").exists()
    assert not device.install(packages("1.0.0")).accepted
    assert device.active() is None
    assert device.install(packages("1.1.0")).accepted
    assert (device.active(), device.status(PACKAGE)) == ("1.1.0", "ii")


def test_a_purged_model_leaves_nothing(device: Apt, packages: Packages) -> None:
    assert device.install(packages("1.1.0")).accepted
    assert device.apt("purge", PACKAGE).accepted
    assert (device.active(), device.status(PACKAGE)) == (None, "un")
    assert list((device.files / "var/lib/edgekit").iterdir()) == []
    assert device.install(packages("1.0.0")).accepted  # no floor any more
    assert device.active() == "1.0.0"


def test_a_device_that_lost_its_runtime_can_remove_it(device: Apt, packages: Packages) -> None:
    assert device.install(packages("1.0.0")).accepted
    device.set_defaults(EDGEKIT_PYTHON="/nowhere/python3")
    removed = device.apt("remove", PACKAGE)
    assert removed.accepted
    assert "the application was not told" in removed.output
    assert device.active() is None


def test_a_removal_that_does_not_come_about_leaves_the_model_active(device: Apt, packages: Packages) -> None:
    """dpkg runs ``postinst abort-remove`` when a removal fails behind prerm."""
    assert device.install(packages("1.0.0")).accepted
    scripts = f"/var/lib/dpkg/info/{PACKAGE}"
    assert device.run("sh", f"{scripts}.prerm", "remove").accepted
    assert device.active() is None
    assert device.run("sh", f"{scripts}.postinst", "abort-remove").accepted
    assert device.active() == "1.0.0"


def test_another_model_under_the_same_package_name_is_refused_before_it_is_unpacked(
    device: Apt, packages: Packages
) -> None:
    assert device.install(packages("1.0.0")).accepted
    other = packages("7.0.0", deploy=Deploy(name="other"), settings={"package": PACKAGE})
    refused = device.install(other)
    assert not refused.accepted
    assert f"the installed package {PACKAGE} holds another model than other" in refused.output
    assert (device.active(), device.status(PACKAGE)) == ("1.0.0", "ii")  # abort-upgrade kept it


def test_another_architecture_is_refused_by_apt_and_dpkg(device: Apt, packages: Packages) -> None:
    arm = device.bring(packages("8.0.0", target="rpi4"))
    assert not device.apt("install", arm).accepted
    by_dpkg = device.run("dpkg", "-i", arm)
    assert not by_dpkg.accepted
    assert "package architecture (arm64) does not match system (amd64)" in by_dpkg.output
    assert device.status(PACKAGE) == "un"


def test_another_board_of_the_same_architecture_is_refused_by_the_device(device: Apt, packages: Packages) -> None:
    assert device.install(packages("1.0.0")).accepted
    (device.files / "var/lib/edgekit/target").write_text("gateway-2\n")
    refused = device.install(packages("1.1.0"))
    assert not refused.accepted
    assert "this device is 'gateway-2'" in refused.output
    assert device.active() == "1.0.0"


@pytest.fixture
def repository(device: Apt, packages: Packages, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A signed repository on the device with 1.0.0, known to its apt by the device files; and the key's home."""
    try:
        with signing_key(tmp_path / "gnupg") as gnupg:
            folder = device.files / "srv/repository"
            make_repository([packages("1.0.0")], folder, gnupg)
            keyring = public_key(gnupg, tmp_path / "repository.asc")
            release = read_json(_unpacked(packages("1.0.0"), tmp_path) / "release.json", Release, BundleError)
            settings = {"uri": "file:/srv/repository", "keyring": str(keyring)}
            made = device_files(release, read_trust(packages.keys), settings)
            for path, data in made.files.items():
                (device.files / path).parent.mkdir(parents=True, exist_ok=True)
                (device.files / path).write_bytes(data)
            device.set_defaults()
            yield folder, gnupg
    except LabUnavailable as err:
        pytest.skip(str(err))


def _unpacked(package: Path, folder: Path) -> Path:
    run("dpkg-deb", "-x", package, folder / "unpacked")
    return next((folder / "unpacked/usr/lib/edgekit/releases/demo").iterdir())


def test_a_signed_repository_is_trusted_and_upgrades(
    device: Apt, packages: Packages, repository: tuple[Path, Path]
) -> None:
    folder, gnupg = repository
    assert device.run("apt-get", "-q", "update").accepted
    assert device.apt("install", PACKAGE).accepted
    assert device.active() == "1.0.0"
    make_repository([packages("1.1.0")], folder, gnupg)
    assert device.run("apt-get", "-q", "update").accepted
    assert device.apt("upgrade").accepted
    assert device.active() == "1.1.0"


def test_a_package_that_was_changed_in_the_repository_is_refused_by_apt(
    device: Apt, packages: Packages, repository: tuple[Path, Path]
) -> None:
    folder, gnupg = repository
    make_repository([packages("1.1.0")], folder, gnupg)
    assert device.run("apt-get", "-q", "update").accepted
    path = folder / packages("1.1.0").name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused = device.apt("install", PACKAGE)
    assert not refused.accepted
    assert "Hash Sum mismatch" in refused.output
    assert device.status(PACKAGE) == "un"


def test_a_repository_with_another_key_or_without_a_signature_is_refused(
    device: Apt, packages: Packages, repository: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, _ = repository
    with signing_key(tmp_path / "theirs") as theirs:
        make_repository([packages("1.1.0")], folder, theirs)
    refused = device.run("apt-get", "-q", "update")
    assert not refused.accepted
    assert "NO_PUBKEY" in refused.output
    (folder / "InRelease").unlink()
    assert "is not signed" in device.run("apt-get", "-q", "update").output
    assert not device.apt("install", PACKAGE).accepted


@pytest.mark.timeout(600)
def test_on_arm64(arm64_device: Apt, packages: Packages) -> None:
    device = arm64_device
    installed = device.install(packages("8.0.0", target="rpi4"))
    assert installed.accepted, installed.output
    assert device.active() == "8.0.0"
    assert device.install(packages("8.1.0", target="rpi4")).accepted
    assert (device.active(), device.status(PACKAGE)) == ("8.1.0", "ii")
    other = device.run("dpkg", "-i", device.bring(packages("1.0.0")))
    assert "package architecture (amd64) does not match system (arm64)" in other.output
    assert device.apt("purge", PACKAGE).accepted
    assert (device.active(), device.status(PACKAGE)) == (None, "un")


@pytest.mark.timeout(900)
def test_killed_at_any_moment_the_old_or_the_new_version_is_active_and_a_retry_succeeds(
    device: Apt, packages: Packages
) -> None:
    """SIGKILL for apt, dpkg, the scripts, the agent and its guardian, as a power cut would."""

    def after(versions: set[str]) -> None:
        assert len(versions) > 1 or device.status(PACKAGE) == "ii"

    survive(device, packages, cuts=KILLS, after=after)
    assert device.install(packages("4.0.0")).accepted
    assert list((device.files / "var/lib/edgekit/staging/demo").iterdir()) == []
