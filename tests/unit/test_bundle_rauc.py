"""RAUC bundles: what rauc makes is what we expect to the byte, the manifest and the hash tree, the device's program."""

import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bundle.entries import Installation
from edgekit.bundle.rauc import check, device_files, manifest, squashfs, verity
from edgekit.bundle.rauc.envelope import create, open_envelope
from edgekit.bundle.types import CreateRequest, DeviceFiles, Tree
from edgekit.errors import BundleError, IntegrityError
from edgekit.keys.trust import read_trust
from edgekit.keys.types import Trust
from tests.bundles import NOW, make_keys, make_release

pytestmark = pytest.mark.unit
needs_rauc = pytest.mark.skipif(
    not (shutil.which("rauc") and shutil.which("mksquashfs")), reason="rauc and squashfs-tools are not installed"
)
SIGNED = b"""\
[update]
compatible=rpi4
version=1.0.0

[bundle]
format=verity
verity-hash=%(hash)s
verity-salt=%(hash)s
verity-size=4096

[image.model]
sha256=%(hash)s
size=10
filename=release.tar
""".replace(b"%(hash)s", b"ab" * 32)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_keys(tmp_path_factory.mktemp("rauc") / "keys")


@pytest.fixture(scope="module")
def trust(keys: Path) -> Trust:
    return read_trust(keys)


def envelope(keys: Path, scratch: Path, payload: bytes, bundle_format: str) -> bytes:
    """The bytes of a bundle around a payload that is no release."""
    scratch.mkdir()
    request = CreateRequest(
        tree=Tree(release=make_release(), files={}),
        payload=payload,
        keys=keys,
        settings={"format": bundle_format},
        scratch=scratch,
        now=NOW,
    )
    return create(request).read_bytes()


@needs_rauc
@pytest.mark.parametrize("bundle_format", ["plain", "verity"])
@pytest.mark.parametrize(
    "size",
    [4000, squashfs.BLOCK_BYTES + 1, pytest.param(0, id="two levels of hashes", marks=pytest.mark.slow)],
)
def test_what_rauc_makes_is_what_we_expect_to_the_byte(
    keys: Path, trust: Trust, tmp_path: Path, bundle_format: str, size: int
) -> None:
    payload = bytes(size or 3 * squashfs.BLOCK_BYTES + 7)  # zeros: mksquashfs would leave such blocks out
    before = os.umask(0o077)
    try:
        data = envelope(keys, tmp_path / "scratch", payload, bundle_format)
    finally:
        os.umask(before)
    opened = open_envelope(data, trust, NOW)
    assert opened.payload == payload
    assert (opened.version, opened.hardware, opened.signed_by) == ("1.2.0", ("rpi4",), ("cms",))


@needs_rauc
def test_the_image_is_the_same_whenever_it_is_made(keys: Path, tmp_path: Path) -> None:
    first, second = (envelope(keys, tmp_path / name, b"payload", "plain") for name in "ab")
    assert first[:4096] == second[:4096]


@needs_rauc
def test_a_flipped_bit_of_a_plain_bundle_is_refused(keys: Path, trust: Trust, tmp_path: Path) -> None:
    """The other format; every promise is asked of the default one."""
    data = envelope(keys, tmp_path / "scratch", b"a" * 9000, "plain")
    chance = random.Random(6)
    for place in (
        *range(0, 96, 7),
        *(chance.randrange(len(data)) for _ in range(60)),
        *range(len(data) - 9, len(data)),
    ):
        changed = bytearray(data)
        changed[place] ^= 1 << chance.randrange(8)
        with pytest.raises(IntegrityError):
            open_envelope(bytes(changed), trust, NOW)


@needs_rauc
def test_a_tree_over_another_image_is_refused(keys: Path, trust: Trust, tmp_path: Path) -> None:
    """Both signed by the right key: an image, and the tree and signature of another."""
    one, two = (envelope(keys, tmp_path / name, name.encode() * 9000, "verity") for name in "ab")
    image_bytes = 3 * 4096
    with pytest.raises(IntegrityError, match="its hash tree does not fit"):
        open_envelope(one[:image_bytes] + two[image_bytes:], trust, NOW)


@needs_rauc
def test_a_verity_bundle_cannot_pass_as_a_plain_one_nor_the_other_way(keys: Path, trust: Trust, tmp_path: Path) -> None:
    plain = envelope(keys, tmp_path / "plain", b"a" * 9000, "plain")
    verity_bundle = envelope(keys, tmp_path / "verity", b"a" * 9000, "verity")
    image = 3 * 4096
    with pytest.raises(IntegrityError, match="The CMS signature is refused"):
        open_envelope(verity_bundle[:image] + verity_bundle[image + 4096 :], trust, NOW)
    with pytest.raises(IntegrityError, match="The CMS signature is refused"):
        open_envelope(plain[:image] + bytes(4096) + plain[image:], trust, NOW)


@needs_rauc
def test_rauc_itself_refuses_what_a_verity_bundle_does_not_hold_any_more(
    keys: Path, trust: Trust, tmp_path: Path
) -> None:
    data = bytearray(envelope(keys, tmp_path / "scratch", b"a" * 9000, "verity"))
    data[2 * 4096] ^= 1
    path = tmp_path / "changed.raucb"
    path.write_bytes(data)
    path.chmod(0o640)
    (tmp_path / "check").mkdir()
    with pytest.raises(IntegrityError, match="rauc refuses the bundle: Failed to extract bundle"):
        check(path, trust, tmp_path / "check")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_missing_rauc_says_how_to_install_it(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BundleError, match="rauc is not on this machine") as caught:
        envelope(keys, tmp_path / "scratch", b"a", "plain")
    assert "sudo apt install rauc squashfs-tools" in caught.value.hint


def test_a_release_that_is_too_large_for_one_block_of_inodes_is_refused(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squashfs, "MAX_PAYLOAD_BYTES", 4)
    with pytest.raises(BundleError, match="The release has 5 bytes; a RAUC bundle takes 4"):
        envelope(keys, tmp_path / "scratch", b"12345", "plain")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ((b"[update]", b"[hooks]\nfilename=hook\n[update]"), r"something of '\[hooks\] filename'"),
        ((b"sha256=", b"hooks=post-install\nsha256="), r"something of '\[image.model\] hooks'"),
        ((b"[image.model]", b"[image.rootfs]"), r"something of '\[image.rootfs\] sha256'"),
        ((b"filename=release.tar", b"filename=../release.tar"), r"something of '\[image.model\] filename'"),
        ((b"format=verity", b"format=crypt"), r"something of '\[bundle\] format'"),
        ((b"size=10", b"size=010"), r"something of '\[image.model\] size'"),
        ((b"version=1.0.0\n", b""), "does not say 'version'"),
        ((b"verity-size=4096\n", b""), "does not say 'verity-size'"),
        ((b"format=verity", b"format=plain"), "names a hash tree, and the bundle has none"),
        ((b"version=1.0.0\n", b"version=1.0.0\nversion=2.0.0\n"), "cannot be read"),
        ((b"[update]", b"\xff"), "cannot be read"),
    ],
)
def test_a_manifest_that_says_more_or_less_is_refused(changed: tuple[bytes, bytes], reason: str) -> None:
    assert manifest.read_manifest(SIGNED).compatible == "rpi4"
    with pytest.raises(IntegrityError, match=reason):
        manifest.read_manifest(SIGNED.replace(*changed))


@given(st.binary(max_size=300))
def test_no_bytes_break_the_manifest_reader(data: bytes) -> None:
    with contextlib.suppress(IntegrityError):
        manifest.read_manifest(data)


@given(st.binary(max_size=600))
def test_no_bytes_break_the_envelope_reader(trust: Trust, data: bytes) -> None:
    with pytest.raises(IntegrityError):
        open_envelope(b"hsqs" + data, trust, NOW)


def test_a_size_beyond_all_bounds_is_refused_before_anything_is_computed(trust: Trust) -> None:
    inner = SIGNED.replace(b"size=10\n", b"size=9999999999\n")
    data = b"hsqs".ljust(squashfs.SUPERBLOCK_BYTES, b"\0") + inner + bytes(5000) + (1).to_bytes(8, "big")
    with pytest.raises(IntegrityError, match="says that it holds 9,999,999,999 bytes"):
        open_envelope(data, trust, NOW)


def test_the_hash_tree_is_that_of_dm_verity() -> None:
    """Two levels by hand: 130 blocks are two blocks of digests and one above them."""
    image, salt = os.urandom(130 * 4096), b"s" * 32
    tree, root = verity.hash_tree(memoryview(image), salt)
    digests = b"".join(
        hashlib.sha256(salt + image[at : at + 4096]).digest() for at in range(0, len(image), 4096)
    ).ljust(8192, b"\0")
    top = b"".join(hashlib.sha256(salt + digests[at : at + 4096]).digest() for at in (0, 4096)).ljust(4096, b"\0")
    assert tree == top + digests
    assert root == hashlib.sha256(salt + top).digest()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"format": "crypt"}, "format"),
        ({"slot-a": "model-a"}, "slot-a"),
        ({"slot-a": "/dev/x'; reboot"}, "slot-a"),
        ({"rauc": "new"}, "rauc"),
        ({"slot-a": "/dev/a", "slot-b": "/dev/a"}, "Both slots are one device"),
    ],
)
def test_a_setting_that_is_none_is_refused(trust: Trust, settings: dict[str, str], reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        device_files(make_release(), trust, settings)


def test_a_release_for_two_devices_needs_two_bundles(trust: Trust) -> None:
    with pytest.raises(BundleError, match="for one compatible, and the release is for rpi4, rpi5") as caught:
        device_files(make_release(hardware=("rpi4", "rpi5")), trust, {})
    assert "--hardware ONE" in caught.value.hint


def test_the_device_checks_the_purpose_and_keeps_a_floor_where_its_rauc_can(trust: Trust) -> None:
    old, new = (device_files(make_release(), trust, {"rauc": version}) for version in ("1.8", "1.13"))
    texts = [files.files["etc/rauc/system.conf"].decode() for files in (old, new)]
    assert all("check-purpose=codesign" in text and "bundle-formats=verity" in text for text in texts)
    assert ["min-bundle-version=1.2.0" in text for text in texts] == [False, True]
    assert any("knows no min-bundle-version" in note or "not to know min-bundle-version" in note for note in old.notes)
    assert old.executable == ("usr/lib/edgekit/edgekit-slot",)
    assert b"@" not in old.files["usr/lib/edgekit/edgekit-slot"].replace(b'"$@"', b"")


class Program:
    """The slots' program with its state in a folder; what it mounts is not there."""

    def __init__(self, made: DeviceFiles, folder: Path) -> None:
        self.path, self.state = folder / "edgekit-slot", folder / "data/slots/state"
        self.path.write_bytes(made.files[str(self.path)[1:]])

    def __call__(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(["sh", self.path, *arguments], capture_output=True, text=True, check=False, timeout=20)
        return done.returncode, done.stdout.strip()

    def proven(self, *slots: str) -> None:
        """As after mark-good of these slots, and of no other."""
        self.state.parent.mkdir(parents=True, exist_ok=True)
        lines = (f"{slot}={'good' if slot in slots else 'bad'}\n" for slot in "AB")
        self.state.write_text(f"primary=A\n{''.join(lines)}")


@pytest.fixture
def program(trust: Trust, tmp_path: Path) -> Program:
    settings = {"program": f"{tmp_path}/edgekit-slot", "run": f"{tmp_path}/run"}
    release = make_release(installation=Installation(root=f"{tmp_path}/data"))
    return Program(device_files(release, trust, settings), tmp_path)


def test_the_backend_keeps_what_rauc_tells_it(program: Program) -> None:
    assert program("get-primary") == (0, "A")
    assert program("get-state", "A") == (0, "bad")
    assert program("set-primary", "B") == (0, "")
    assert program("get-primary") == (0, "B")
    assert program("get-state", "B") == (0, "bad")  # nobody has proven it
    assert program.state.read_text() == "primary=B\nA=bad\nB=3\n"
    assert program("get-current") == (0, "A")
    program.proven("A")
    assert program("get-state", "A") == (0, "good")
    assert program("set-state", "A", "good") == (0, "")
    assert program("set-state", "A", "bad") == (0, "")
    assert program("get-state", "A") == (0, "bad")


def test_a_slot_is_not_good_because_rauc_says_so(program: Program, tmp_path: Path) -> None:
    """`rauc status mark-good` at every boot: where no slot is active, RAUC takes A for the one in use."""
    assert program("set-state", "A", "good") == (1, "")
    assert not program.state.exists()
    program("set-primary", "A")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/current").symlink_to(tmp_path / "run/A")
    assert program("set-state", "A", "good") == (1, "")
    program("set-state", "A", "bad")  # by hand, and taken back
    assert program("set-state", "A", "good") == (0, "")
    assert program("get-state", "A") == (0, "good")


@pytest.mark.parametrize("words", [(), ("reboot",), ("set-primary",), ("set-primary", "C"), ("set-state", "A", "ok")])
def test_the_backend_refuses_what_it_does_not_know(program: Program, words: tuple[str, ...]) -> None:
    assert program(*words)[0] == 2
    assert not program.state.exists()


def test_a_damaged_state_is_a_device_without_a_release(program: Program) -> None:
    program("set-primary", "B")
    program.state.write_text("primary=C\nA=\nB=99\n")
    assert program("get-primary") == (0, "A")
    assert [program("get-state", slot) for slot in "AB"] == [(0, "bad"), (0, "bad")]


def test_a_new_slot_that_cannot_be_mounted_is_bad_and_a_good_one_may_be_there_another_time(program: Program) -> None:
    program.proven("A")
    program("set-primary", "B")
    assert program("start")[0] == 0
    assert program.state.read_text() == "primary=B\nA=good\nB=bad\n"
    assert program("get-primary") == (0, "B")


def _without_mount(folder: Path) -> Path:
    """For PATH: a mount that does nothing."""
    mount = folder / "bin" / "mount"
    mount.parent.mkdir()
    mount.write_text("#!/bin/sh\n")
    mount.chmod(0o755)
    return mount.parent


def test_a_slot_that_is_mounted_is_known_through_a_link_too(program: Program, tmp_path: Path) -> None:
    """As for run=/var/run/edgekit: a second mount would fail, and the slot with it."""
    program.proven("A")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/A").symlink_to("/proc")  # a mount that every device has
    assert program("start")[0] == 0
    assert (tmp_path / "run/current").readlink() == tmp_path / "run/A"


def test_a_state_that_cannot_be_written_keeps_no_good_slot_from_its_application(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data partition is full or read-only, and the new slot has its attempts left."""
    monkeypatch.setenv("PATH", f"{_without_mount(tmp_path)}:{os.environ['PATH']}")
    program.proven("A")
    program("set-primary", "B")
    program.state.with_name("state.new").mkdir()
    assert program("start")[0] == 0
    assert (tmp_path / "run/current").readlink() == tmp_path / "run/A"
    assert program.state.read_text() == "primary=B\nA=good\nB=3\n"


def test_a_slot_that_is_good_or_was_marked_bad_by_hand_is_not_proven_again(program: Program, tmp_path: Path) -> None:
    assert program("mark-good") == (0, "")
    for state in ("good", "bad"):
        program.proven(*"A" if state == "good" else "")
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run/current").unlink(missing_ok=True)
        (tmp_path / "run/current").symlink_to(tmp_path / "run/A")
        assert program("mark-good") == (0, "")
        assert program.state.read_text() == f"primary=A\nA={state}\nB=bad\n"


def test_applications_that_ran_before_are_told_of_another_good_slot(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slot A was marked bad by hand, and the slots' service started again."""
    for slot in "AB":
        script = tmp_path / "run" / slot / "install.sh"
        script.parent.mkdir(parents=True)
        script.write_text(f"echo $0 $1 $2 >> {tmp_path}/told\n")
    program.proven("A", "B")
    monkeypatch.setenv("PATH", f"{_without_mount(tmp_path)}:{os.environ['PATH']}")
    assert (program("start")[0], program("mark-good")[0]) == (0, 0)
    program("set-state", "A", "bad")
    for _ in range(2):
        assert (program("start")[0], program("mark-good")[0]) == (0, 0)
    run = tmp_path / "run"
    assert (tmp_path / "told").read_text() == f"{run}/B/install.sh --fallen-back {run}/current\n"


def test_an_application_is_told_of_the_way_back_though_that_was_cut(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service was stopped, or killed, between the way back and the application's command."""
    killed = f"test -e {tmp_path}/cut || {{ touch {tmp_path}/cut; kill -9 $PPID; exit; }}"
    tell = f"{killed}; echo $0 $1 $2 >> {tmp_path}/told"
    for slot, does in (("A", f"case $1 in --fallen-back) {tell} ;; esac"), ("B", "test $1 = --check")):
        script = tmp_path / "run" / slot / "install.sh"
        script.parent.mkdir(parents=True)
        script.write_text(f"{does}\n")
    monkeypatch.setenv("PATH", f"{_without_mount(tmp_path)}:{os.environ['PATH']}")
    program.proven("A")
    program("set-primary", "B")
    assert program("start")[0] == 0
    assert program("mark-good")[0] == -signal.SIGKILL
    assert program.state.read_text() == "primary=A\nA=good\nB=bad\n"
    for _ in range(2):
        assert program("mark-good")[0] == 0
    run = tmp_path / "run"
    assert (tmp_path / "told").read_text() == f"{run}/A/install.sh --fallen-back {run}/current\n"


def test_the_application_can_start_before_it_is_asked(trust: Trust) -> None:
    files = device_files(make_release(), trust, {}).files
    units = {Path(path).name: data.decode() for path, data in files.items()}
    assert "After=edgekit-slot.service\n" in units["edgekit-mark-good.service"]
    assert "edgekit-mark-good.service\n" in units["edgekit-slot.service"].partition("\nWants=")[2]
    assert "After=edgekit-slot.service edgekit-mark-good.service\n" in units["edgekit.conf"]
    assert "RemainAfterExit" not in units["edgekit-mark-good.service"]  # each start of the slots' unit asks again


def test_the_unit_waits_for_the_slots_devices(trust: Trust) -> None:
    unit = device_files(make_release(), trust, {"slot-b": "/dev/mmcblk0p6"}).files[
        "etc/systemd/system/edgekit-slot.service"
    ]
    assert rb"After=dev-disk-by\x2dpartlabel-model\x2da.device dev-mmcblk0p6.device" in unit
