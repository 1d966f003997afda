"""Releases by Debian's SWUpdate, into a folder and into slots: what is active is whole, whatever happens."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from edgekit.agent.versions import parse
from edgekit.artifact import Artifact, read_artifact
from edgekit.bundle.archives.cpio import read_cpio, write_cpio
from edgekit.bundle.archives.types import Member
from edgekit.bundle.create import create_bundle
from edgekit.bundle.swupdate.envelope import check
from edgekit.bundle.verify import Policy, verify_bundle
from edgekit.errors import BundleError, IntegrityError
from edgekit.keys.trust import read_trust
from edgekit.project import Deploy
from tests.artifacts import with_wrong_golden
from tests.bundles import make_keys, tiny_artifact, wanted
from tests.lab.clients.cuts import RETRIED_EVERY, PowerCuts
from tests.lab.clients.swupdate import ROOT, SETTINGS, Swupdate, swupdate
from tests.lab.machine import LabUnavailable

pytestmark = pytest.mark.lab
KILLS = 25
"""In each mode."""
"""Every how manieth killed installation is tried again at once; the others leave what they left for the next kill."""
BOARD = "rpi4"


class Bundles:
    """Bundles of one model, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = make_keys(folder / "keys", now=datetime.now(UTC))

    def __call__(self, version: str, mode: str, *, golden: bool = True, keys: Path | None = None, **more: str) -> Path:
        path = (
            self.folder / f"{version}-{mode}{'' if golden else '-wrong'}{(keys or self.keys).name}{''.join(more)}.swu"
        )
        if not path.exists():
            fields = {"version": version, "hardware": (BOARD,), "settings": {**SETTINGS[mode], **more}}
            artifact = self._artifact(version, golden=golden)
            try:
                create_bundle(wanted(artifact, "swupdate", keys or self.keys, path, **fields), now=datetime.now(UTC))
            except BundleError as err:
                pytest.skip(f"no .swu here: {err}")
        return path

    def hooked(self, version: str, told: str, health_check: str, *, timeout_s: float = 30.0) -> Path:
        """A bundle for slots whose application notes in ``told`` which version it sees."""
        see = """sed -n 's/^ *"version": "\\(.*\\)",*$/\\1/p' "$EDGEKIT_PATH/../release.json" """
        on_activate = f'{{ [ -z "$EDGEKIT_DIGEST" ] && echo none || {see}; }} >> {told}'
        path = self.folder / f"{version}-hooked-{len(list(self.folder.iterdir()))}.swu"
        fields = {
            "version": version, "hardware": (BOARD,), "settings": SETTINGS["ab"],
            "deploy": Deploy(on_activate=on_activate, health_check=health_check, health_timeout_s=timeout_s),
        }  # fmt: skip
        artifact = self._artifact(version, golden=True)
        create_bundle(wanted(artifact, "swupdate", self.keys, path, **fields), now=datetime.now(UTC))
        return path

    def _artifact(self, version: str, *, golden: bool) -> Artifact:
        folder = self.folder / f"artifact-{version}-{golden}"
        if not folder.exists():
            artifact = tiny_artifact(folder / "right", tools={"edgekit": version})
            return artifact if golden else with_wrong_golden(artifact, folder / "wrong")
        return read_artifact(folder / ("right" if golden else "wrong"))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    return Bundles(tmp_path_factory.mktemp("swu"))


@pytest.fixture(params=["directory", "ab"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def device(mode: str, bundles: Bundles, tmp_path: Path) -> Iterator[Swupdate]:
    """A new device that has nothing yet."""
    first = bundles("1.0.0", mode)
    release = verify_bundle(first, read_trust(bundles.keys), Policy(now=datetime.now(UTC)), with_tool=False).release
    try:
        with swupdate(tmp_path, bundles.keys, release, mode=mode) as device:
            yield device
    except LabUnavailable as err:
        pytest.skip(f"SWUpdate: {err}")


def test_updates_follow_each_other_and_a_bad_one_changes_nothing(mode: str, device: Swupdate, bundles: Bundles) -> None:
    assert device.active() is None
    for version in ("1.0.0", "1.1.0"):
        outcome = device.install(bundles(version, mode))
        assert outcome.accepted, outcome.output
        assert device.active() == version
    assert device.run("sh", device.program, "arguments").output.split()[:2] == ["-N", "1.1.0"]

    lower = device.install(bundles("1.0.0", mode))
    assert not lower.accepted
    assert "No downgrading allowed: new version 1.0.0 <= installed 1.1.0" in lower.output
    lower = device.install(bundles("1.0.0", mode), "-N", "0.0.1")  # SWUpdate's own floor lowered: the agent has its own
    assert not lower.accepted
    assert "1.1.0 was active here, and a lower version is not installed over it" in lower.output
    assert device.active() == "1.1.0"

    wrong = device.install(bundles("1.2.0", mode, golden=False))
    assert not wrong.accepted
    assert "The device computes something else" in wrong.output
    assert device.active() == "1.1.0"
    assert device.run("sh", device.program, "arguments").output.split()[:2] == ["-N", "1.1.0"]

    again = device.install(bundles("1.1.0", mode))
    assert again.accepted, again.output
    assert device.active() == "1.1.0"
    assert [path.name for path in (device.top / "var-lib/edgekit/incoming").iterdir()] == [".demo.lock"]


def test_killed_at_any_moment_the_old_or_the_new_release_is_active(
    mode: str, device: Swupdate, bundles: Bundles, tmp_path: Path
) -> None:
    """SIGKILL for SWUpdate, the hook, the agent and its guardian, as a power cut would; disks stay as they are."""
    assert device.install(bundles("1.0.0", mode)).accepted
    before, new = tmp_path / "before", bundles("1.1.0", mode)
    _copy(device.top, before)
    cuts = PowerCuts(KILLS, device.install(new).seconds)
    _copy(before, device.top)
    while cuts.left:
        outcome = cuts.saw(device.install(new, kill_after_s=cuts.moment()))
        assert device.active() in ({"1.0.0", "1.1.0"} if outcome.killed else {"1.1.0"}), outcome.output
        if outcome.killed and cuts.left % RETRIED_EVERY == 0:
            retried = device.install(new)
            assert retried.accepted, f"{outcome.output}\n--- retry ---\n{retried.output}"
            assert device.active() == "1.1.0"
        if device.active() == "1.1.0":
            _copy(before, device.top)
            assert device.active() == "1.0.0"


def _copy(source: Path, target: Path) -> None:
    """What is on the disks of a device; the loops keep their files."""
    shutil.rmtree(target / "var-lib", ignore_errors=True)
    shutil.copytree(
        source / "var-lib", target / "var-lib", symlinks=True, ignore=shutil.ignore_patterns("sock*", "swupdateprog")
    )
    for image in source.glob("slot-*.img"):
        data = image.read_bytes()
        with (target / image.name).open("r+b" if (target / image.name).exists() else "wb") as stream:
            stream.write(data)


@pytest.mark.parametrize("mode", ["ab"], indirect=True)
def test_a_slot_stays_when_the_application_is_healthy_with_it(device: Swupdate, bundles: Bundles) -> None:
    sees = 'test "$EDGEKIT_MODEL" -ef "$EDGEKIT_PATH/model.tflite"'

    first = device.install(bundles.hooked("1.0.0", f"{ROOT}/told", "echo dark; false", timeout_s=0.1))
    assert not first.accepted
    assert "health_check (echo dark; false) ended with status 1 within 0.1 s. It said: dark" in first.output
    assert (_told(device), device.active()) == (["1.0.0", "none"], None)

    done = device.install(bundles.hooked("1.1.0", f"{ROOT}/told", sees))
    assert done.accepted, done.output
    assert (_told(device)[2:], device.active()) == (["1.1.0"], "1.1.0")

    failed = device.install(bundles.hooked("1.2.0", f"{ROOT}/told", "sleep 60", timeout_s=0.5))
    assert not failed.accepted
    assert "health_check (sleep 60) did not end within 0.5 s" in failed.output
    assert (_told(device)[3:], device.active()) == (["1.2.0", "1.1.0"], "1.1.0")
    assert device.run("sh", device.program, "arguments").output.split() == ["-N", "1.1.0", "-e", "stable,copy-b"]

    killed = device.install(
        bundles.hooked("1.3.0", f"{ROOT}/told", "sleep 60", timeout_s=60.0), kill_after_s=2 * done.seconds
    )
    assert not killed.accepted
    assert (_told(device)[5:], device.active()) == (["1.3.0"], "1.3.0")  # whole, and not proven
    assert device.run("sh", device.program, "arguments").output.split() == ["-N", "1.1.0", "-e", "stable,copy-b"]
    again = device.install(bundles.hooked("1.3.1", f"{ROOT}/told", sees))
    assert again.accepted, again.output
    assert (_told(device)[6:], device.active()) == (["1.1.0", "1.3.1"], "1.3.1")


def _told(device: Swupdate) -> list[str]:
    return (device.top / "var-lib/edgekit/told").read_text().split()


def test_a_hook_that_outlives_swupdate_is_waited_for(mode: str, device: Swupdate, bundles: Bundles) -> None:
    """SWUpdate and edgekit-swupdate are killed during the self-test, their hook is not; the next starts at once."""
    assert device.install(bundles("1.0.0", mode)).accepted
    second, third = bundles("1.1.0", mode), bundles("1.2.0", mode)
    script = (
        f"sh {device.program} install {second} & first=$!; "
        f"until [ -e {ROOT}/incoming/.demo.log ]; do sleep 0.01; done; "
        f"sleep 0.1; kill -9 $(pidof swupdate) $first; "
        f"while pidof swupdate >/dev/null; do sleep 0.05; done; sh {device.program} install {third}"
    )
    outcome = device.run("sh", "-c", script)
    if not outcome.accepted:  # the hook made the slot active that was to be filled
        assert "is the active one" in outcome.output, outcome.output
        assert device.active() == "1.1.0"
        assert device.install(third).accepted
    assert device.active() == "1.2.0"


@pytest.mark.parametrize("mode", ["directory"], indirect=True)
def test_two_do_not_install_at_a_time(device: Swupdate, bundles: Bundles) -> None:
    bundle = bundles("1.0.0", "directory")
    install = f"sh {device.program} install {bundle}"
    outcome = device.run("sh", "-c", f"{install} & sleep 0.2; {install}; status=$?; wait; exit $status")
    assert not outcome.accepted
    assert "FAILED: SWUpdate is running" in outcome.output
    assert device.active() == "1.0.0"


def _changed(path: Path, folder: Path, change: Callable[[list[Member]], list[Member]]) -> Path:
    """The .swu with other members, their checksums right."""
    changed = folder.with_suffix(".swu")
    changed.write_bytes(write_cpio(change(list(read_cpio(path.read_bytes())))))
    return changed


def _flip(name: str) -> Callable[[list[Member]], list[Member]]:
    def change(members: list[Member]) -> list[Member]:
        return [
            Member(name=m.name, data=m.data[:-40] + bytes([m.data[-40] ^ 1]) + m.data[-39:]) if m.name == name else m
            for m in members
        ]

    return change


def _without(name: str) -> Callable[[list[Member]], list[Member]]:
    return lambda members: [member for member in members if member.name != name]


@pytest.mark.parametrize("mode", ["directory"], indirect=True)
def test_swupdate_refuses_what_was_not_signed_for_it(device: Swupdate, bundles: Bundles, tmp_path: Path) -> None:
    good = bundles("1.0.0", "directory")
    stranger = make_keys(tmp_path / "stranger", now=datetime.now(UTC))
    swapped = tmp_path / "swapped"  # another leaf below the same CA
    shutil.copytree(bundles.keys, swapped)
    for folder, kind in (("private", "key"), ("public", "crt"), ("public", "pub")):
        shutil.copyfile(swapped / folder / f"mcuboot.{kind}", swapped / folder / f"cms.{kind}")
    refused: list[tuple[Path, tuple[str, ...], str]] = [
        (bundles("1.0.1", "directory", keys=stranger), (), "Authentication of all signatures failed"),
        (bundles("1.0.2", "directory", keys=swapped), (), "does not match expected 'cms'"),
        (_changed(good, tmp_path / "description", _flip("sw-description")), (), "Signature verification failed"),
        (_changed(good, tmp_path / "unsigned", _without("sw-description.sig")), (), "Image invalid or corrupted"),
        (_changed(good, tmp_path / "payload", _flip("release.tar")), (), "HASH mismatch"),
        (_changed(good, tmp_path / "hook", _flip("edgekit.sh")), (), "HASH mismatch"),
        (good, ("-H", "rpi3:1"), "HW compatibility not found"),
    ]
    for path, arguments, reason in refused:
        outcome = device.install(path, *arguments)
        assert not outcome.accepted
        assert reason in outcome.output
    assert device.active() is None


@pytest.mark.parametrize("mode", ["ab"], indirect=True)
def test_u_boot_is_told_of_the_slot_after_it_was_checked(device: Swupdate, bundles: Bundles) -> None:
    """A variable of U-Boot's environment, in a file here; SWUpdate's own two say how the installation went."""
    (device.top / "etc/fw_env.config").write_text("/var/lib/uboot.env 0x0 0x4000\n")
    (device.top / "var-lib/uboot.env").write_bytes(bytes(0x4000))
    (device.top / "var-lib/initial").write_text("model_slot=none\n")
    set_up = device.run("fw_setenv", "-f", "/var/lib/initial", "model_slot", "none")
    if not set_up.accepted:
        pytest.skip(f"fw_setenv: {set_up.output}; install libubootenv-tool")

    def variables() -> set[str]:
        return set(device.run("fw_printenv").output.split())

    wrong = device.install(bundles("1.3.0", "ab", golden=False, bootenv="model_slot"), "-B", "uboot")
    assert not wrong.accepted
    assert variables() == {"model_slot=none", "recovery_status=failed", "ustate=3"}
    assert device.install(bundles("1.3.0", "ab", bootenv="model_slot"), "-B", "uboot").accepted
    assert variables() == {"model_slot=a", "ustate=1"}
    assert device.active() == "1.3.0"


VERSIONS = [
    "1.9.0",
    "1.10.0",
    "1.10.1-rc.2",
    "1.10.1-rc.10",
    "1.10.1-rc.10.1",
    "1.10.1-rc-1",
    "1.10.1",
    "999999999.0.0",
]


@pytest.mark.parametrize("mode", ["directory"], indirect=True)
def test_swupdate_orders_versions_as_edgekit_does(device: Swupdate, bundles: Bundles) -> None:
    ordered = sorted(VERSIONS, key=parse)
    for lower, higher in pairwise(ordered):
        outcome = device.install(bundles(lower, "directory"), "-N", higher)
        assert f"No downgrading allowed: new version {lower} <= installed {higher}" in outcome.output
    for lower, higher in pairwise(ordered[:4]):
        outcome = device.install(bundles(higher, "directory"), "-N", lower)
        assert outcome.accepted, outcome.output


def test_edgekit_asks_swupdate_too(bundles: Bundles, tmp_path: Path) -> None:
    """``check`` needs no device, and tells the tool's reason in one sentence."""
    trust = read_trust(bundles.keys)
    for mode in ("directory", "ab"):
        assert check(bundles("1.0.0", mode), trust, tmp_path) is not None
    changed = _changed(bundles("1.0.0", "ab"), tmp_path / "payload", _flip("release.tar"))
    with pytest.raises(IntegrityError, match=r"^swupdate refuses it: .*HASH mismatch.*\.$"):
        check(changed, trust, tmp_path)
    stranger = read_trust(make_keys(tmp_path / "stranger", now=datetime.now(UTC)))
    with pytest.raises(IntegrityError, match="signature"):
        check(bundles("1.0.0", "directory"), stranger, tmp_path)
