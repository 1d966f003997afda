"""A tar bundle unpacked by a script, installed by its install.sh: killed, without space, read-only, two at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgekit.agent.state import read_state
from edgekit.bundle.create import Created, create_bundle
from edgekit.project import Deploy
from tests.artifacts import with_wrong_golden
from tests.bundles import make_keys, tiny_artifact, wanted
from tests.lab.clients.cuts import survive
from tests.lab.clients.plain import Plain, plain
from tests.lab.machine import LabUnavailable, run

pytestmark = pytest.mark.lab
KILLS = 50


class Bundles:
    """Tar bundles of one model, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = make_keys(folder / "keys", now=datetime.now(UTC))
        self.release = self._create("0.1.0", golden=True).verified.release

    def __call__(self, version: str, *, golden: bool = True, **changes: object) -> Path:
        path = self.folder / f"{version}{'' if golden else '-wrong'}.tar"
        return path if path.exists() else self._create(version, golden=golden, **changes).path

    def _create(self, version: str, *, golden: bool, **changes: object) -> Created:
        path = self.folder / f"{version}{'' if golden else '-wrong'}.tar"
        artifact = tiny_artifact(self.folder / path.stem, tools={"edgekit": version})
        if not golden:
            artifact = with_wrong_golden(artifact, self.folder / f"{path.stem}-golden")
        want = wanted(artifact, "tar", self.keys, path, version=version, **changes)
        return create_bundle(want, now=datetime.now(UTC))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    return Bundles(tmp_path_factory.mktemp("bundles"))


@pytest.fixture
def device(tmp_path: Path, bundles: Bundles) -> Iterator[Plain]:
    try:
        with plain(tmp_path / "device", bundles.keys, bundles.release) as running:
            yield running
    except LabUnavailable as err:
        pytest.skip(str(err))


@contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory."""
    folder.mkdir(parents=True)
    run("mount", "-t", "tmpfs", "-o", options, "tmpfs", folder)
    try:
        yield folder
    finally:
        run("umount", "-l", folder)


def unpacked(bundle: Path, folder: Path) -> Path:
    folder.mkdir()
    run("tar", "-C", folder, "-xf", bundle)
    return folder


def test_installed_upgraded_refused_and_rolled_back(device: Plain, bundles: Bundles) -> None:
    assert device.install(bundles("1.0.0")).accepted
    upgraded = device.install(bundles("1.1.0"))
    assert upgraded.accepted, upgraded.output
    assert device.active() == "1.1.0"
    again = device.install(bundles("1.1.0"))
    assert again.accepted
    assert "is active already" in again.output
    assert "1.1.0 was active here" in device.install(bundles("1.0.0")).output
    assert "The device computes something else" in device.install(bundles("1.2.0", golden=False)).output
    ill = device.install(bundles("1.3.0", deploy=Deploy(health_check="exit 4", health_timeout_s=0.5)))
    assert "ended with status 4" in ill.output
    assert not ill.accepted
    assert device.active() == "1.1.0"


def test_a_bundle_of_another_key_or_with_another_byte_never_reaches_the_device(
    device: Plain, bundles: Bundles, tmp_path: Path
) -> None:
    assert device.install(bundles("1.0.0")).accepted
    (device.folder / "arrived.tar").unlink()
    data = bytearray(bundles("1.1.0").read_bytes())
    data[len(data) // 2] ^= 1
    changed = tmp_path / "changed.tar"
    changed.write_bytes(data)
    artifact = tiny_artifact(tmp_path / "theirs", tools={"edgekit": "2.0.0"})
    theirs = wanted(artifact, "tar", make_keys(tmp_path / "keys"), tmp_path / "theirs.tar", version="2.0.0")
    for path in (changed, create_bundle(theirs, now=datetime.now(UTC)).path):
        assert not device.install(path).accepted
    assert not (device.folder / "arrived.tar").exists()
    assert device.active() == "1.0.0"


@pytest.mark.timeout(600)
def test_killed_at_any_moment_the_old_or_the_new_version_is_active_and_a_retry_succeeds(
    device: Plain, bundles: Bundles
) -> None:
    """SIGKILL for tar, the shell, the agent, its child, its guardian and the application's commands: a power cut."""
    hooks = Deploy(on_activate="sleep 0.05", health_check="sleep 0.05")

    def after(versions: set[str]) -> None:
        state = read_state(device.place)
        assert state.floor == state.history[-1].release, "the floor moves with the confirmation"
        if len(versions) == 1:
            assert state.pending is None
            assert list(Path(device.place.staging).iterdir()) == []
            entries = {path.name for path in Path(device.place.folder).iterdir()}
            assert entries == {"current", "lock", "state.json", "versions"}

    survive(device, lambda version: bundles(version, deploy=hooks), cuts=KILLS, after=after)
    assert len(list(Path(device.place.versions).iterdir())) == 3


def test_wherever_the_disk_is_full_the_old_version_stays_and_space_is_all_that_it_takes(
    device: Plain, bundles: Bundles, tmp_path: Path
) -> None:
    tree = {version: unpacked(bundles(version), tmp_path / version) for version in ("1.0.0", "1.1.0")}
    refused = []
    with disk(device.folder / "edgekit", "size=32m,nr_inodes=64") as root:
        assert device.run("sh", tree["1.0.0"] / "install.sh", "--root", root).accepted
        used = int(run("df", "--output=iused", root).split()[-1])
        for more in range(1, 40):  # files and folders that can still be made
            run("mount", "-o", f"remount,nr_inodes={used + more}", root)
            done = device.run("sh", tree["1.1.0"] / "install.sh", "--root", root)
            if done.accepted:
                break
            assert "its disk is full" in done.output
            assert device.active() == "1.0.0"
            refused.append(more)
        assert device.active() == "1.1.0"
        assert len(refused) >= 10, "it was full at every step"
        run("mount", "-o", "remount,size=3m,nr_inodes=100", root)
        (root / "filler").write_bytes(bytes(2 * 2**20))
        done = device.run("sh", unpacked(bundles("1.2.0"), tmp_path / "more") / "install.sh", "--root", root)
        assert "There is not enough space in" in done.output
        assert device.active() == "1.1.0"


def test_a_read_only_disk_lets_check_pass_and_nothing_else(device: Plain, bundles: Bundles, tmp_path: Path) -> None:
    with disk(tmp_path / "slot", "size=32m") as slot, disk(device.folder / "edgekit", "size=32m") as root:
        tree = unpacked(bundles("1.1.0"), slot / "camera")
        assert device.run("sh", unpacked(bundles("1.0.0"), slot / "old") / "install.sh", "--root", root).accepted
        run("mount", "-o", "remount,ro", slot)
        run("mount", "-o", "remount,ro", root)
        script = tree / "install.sh"
        for step in ("--check", "--self-test"):
            done = device.run("sh", script, "--root", root, step)
            assert done.accepted, done.output
        for steps in ((), ("--confirm",)):
            done = device.run("sh", script, "--root", root, *steps)
            assert not done.accepted
            assert "its file system is read-only" in done.output
        assert device.active() == "1.0.0"
        run("mount", "-o", "remount,rw", root)
        done = device.run("sh", script, "--root", root, "--confirm")
        assert "the floor is 1.1.0" in done.output


def test_two_at_once_end_with_the_higher_version(device: Plain, bundles: Bundles, tmp_path: Path) -> None:
    assert device.install(bundles("1.0.0")).accepted
    trees = [unpacked(bundles(version), tmp_path / version) for version in ("1.1.0", "1.2.0")]
    with ThreadPoolExecutor() as pool:
        lower, higher = pool.map(lambda tree: device.run("sh", tree / "install.sh", "--root", device.place.root), trees)
    assert higher.accepted, higher.output
    assert lower.accepted or "1.2.0 was active here" in lower.output
    assert device.active() == "1.2.0"
