"""``edgekit-unpack``, the device's side of the format tar: what its key signed is unpacked, nothing else."""

import itertools
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

import edgekit.bundle.unpack
from edgekit.artifact import Artifact
from edgekit.bundle.archives.tar import read_tar, write_tar
from edgekit.bundle.archives.types import Member
from edgekit.bundle.device_files import write_device_files
from edgekit.bundle.tar import PROGRAM, PUBLIC_KEY, tar_of
from edgekit.bundle.unpack import main
from edgekit.bundle.verify import Policy, verify_bundle
from edgekit.keys.trust import read_trust
from edgekit.keys.types import Algorithm
from tests.bundles import NOW, make_bundle, make_keys, make_tree, tiny_artifact
from tests.unit.power import VIEWS, Disk, PowerLostError

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not here: apt install openssl"),
]
Captured = pytest.CaptureFixture[str]
Change = Callable[[list[Member]], list[Member]]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return tiny_artifact(tmp_path_factory.mktemp("artifact") / "a")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_keys(tmp_path_factory.mktemp("keys") / "keys")


@pytest.fixture(scope="module")
def data(artifact: Artifact, keys: Path) -> bytes:
    return tar_of(make_tree(artifact, keys))


def unpack(data: bytes, keys: Path, folder: Path) -> int:
    bundle = folder.with_suffix(".tar")
    bundle.write_bytes(data)
    return main([str(bundle), str(folder)], keys / "public" / "release.pub")


def files_of_tar(data: bytes) -> dict[str, bytes]:
    return {member.name: member.data for member in read_tar(data)}


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("algorithm", get_args(Algorithm))
def test_a_signed_bundle_is_unpacked(
    artifact: Artifact, tmp_path: Path, algorithm: Algorithm, capsys: Captured
) -> None:
    keys = make_keys(tmp_path / "keys", algorithms={"release": algorithm})
    tree = make_tree(artifact, keys)
    assert unpack(tar_of(tree), keys, tmp_path / "new") == 0
    assert files_of(tmp_path / "new") == tree.files
    assert (tmp_path / "new" / "install.sh").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "new" / "release.json").stat().st_mode & 0o777 == 0o600 | 0o044
    assert f"next: sh {tmp_path / 'new'}/install.sh" in capsys.readouterr().err
    other = make_keys(tmp_path / "other", algorithms={"release": algorithm}, ca=keys)
    assert unpack(tar_of(tree), other, tmp_path / "again") == 8
    assert "its signature is not that of this device's key" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()


def test_what_was_changed_is_refused_and_leaves_nothing(data: bytes, keys: Path, tmp_path: Path) -> None:
    chance = random.Random(1)
    metadata = {at + offset for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"
                for offset in (*range(100, 124), *range(136, 156), *range(265, 345), *range(500, 512))}  # fmt: skip
    for at in chance.sample(sorted(set(range(len(data))) - metadata), 12):
        assert unpack(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], keys, tmp_path / "new") == 8
    for cut in (0, 100, 512, 5000, len(data) - 1024, len(data) - 512, len(data) - 1):
        assert unpack(data[:cut], keys, tmp_path / "new") == 8
    assert unpack(data + b"\0", keys, tmp_path / "new") == 8
    assert [path.name for path in tmp_path.iterdir()] == ["new.tar"]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda members: members[1:], "it is no bundle, or not signed: release.json"),
        (lambda members: [members[0], *members[2:]], "it is no bundle, or not signed: release.dsse.json"),
        (lambda members: members[:-1], "sbom.cdx.json is missing"),
        (lambda members: [*members, Member(name="more", data=b"")], "more is not what was signed"),
        (lambda members: [*members, members[-1]], "sbom.cdx.json is not what was signed"),
        (lambda members: [*members, Member(name="../evil", data=b"")], "'../evil', which no release does"),
        (lambda members: [*members, Member(name="/evil", data=b"")], "'/evil', which no release does"),
        (lambda members: [Member(name="release.json", data=b"{}"), *members[1:]], "not the one that was signed"),
        (lambda members: [members[0], Member(name="release.dsse.json", data=b"{"), *members[2:]], "cannot be read"),
    ],
)  # fmt: skip
def test_members_that_were_not_signed(
    change: Change, cause: str, data: bytes, keys: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert unpack(write_tar(change(list(read_tar(data)))), keys, tmp_path / "new") == 8
    assert cause in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("view", VIEWS)
def test_the_power_fails(data: bytes, keys: Path, tmp_path: Path, view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """FOLDER is there with every byte, or it is not there and can be made again."""
    whole = files_of_tar(data)
    monkeypatch.setattr(edgekit.bundle.unpack, "_signed", lambda *_: True)
    for number in itertools.count():
        (tmp_path / "disk").mkdir()
        disk = Disk(tmp_path / "disk")
        with disk.failing(number, PowerLostError(), monkeypatch):
            unpack(data, keys, tmp_path / "disk" / "new")
        found = disk.survivor(view, tmp_path / "found") / "new"
        assert not found.exists() or files_of(found) == whole, number
        assert found.exists() or disk.steps > number, "it had ended"
        shutil.rmtree(tmp_path / "found")
        shutil.rmtree(tmp_path / "disk")
        if disk.steps <= number:
            break


def test_an_openssl_that_cannot_check_the_key_is_said(
    data: bytes, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """1.1.1, of Debian 10 and 11, knows Ed25519 keys and cannot check their signatures."""
    program = tmp_path / "bin" / "openssl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncase $1 in pkeyutl) exit 1;; esac\nexec {shutil.which("openssl")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    assert unpack(data, keys, tmp_path / "new") == 1
    assert "FAILED (exit 1): openssl: an Ed25519 key needs version 3 of it." in capsys.readouterr().err


def test_a_number_without_an_end_is_not_computed(data: bytes, keys: Path, tmp_path: Path, capsys: Captured) -> None:
    members = list(read_tar(data))
    members[1] = Member(name="release.dsse.json", data=b'{"signatures": ' + b"9" * 2_000_000 + b"}")
    started = time.process_time()
    assert unpack(write_tar(members), keys, tmp_path / "new") == 8
    assert "cannot be read" in capsys.readouterr().err
    assert time.process_time() - started < 5


def test_what_the_device_cannot_do_is_exit_1(data: bytes, keys: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "new").mkdir()
    assert unpack(data, keys, tmp_path / "new") == 1
    assert "it exists already" in capsys.readouterr().err
    assert unpack(data, tmp_path, tmp_path / "other") == 1
    said = capsys.readouterr().err
    assert "release.pub: No such file" in said
    assert "next: Put the release key there: `edgekit bundle device-files` writes it." in said
    assert main([]) == 2


def test_the_program_that_devices_get_runs_alone(artifact: Artifact, keys: Path, tmp_path: Path) -> None:
    made = make_bundle(tmp_path, "tar", keys=keys, artifact=artifact)
    trust = read_trust(keys)
    written = write_device_files(verify_bundle(made.path, trust, Policy(now=NOW)), trust, {}, tmp_path / "device")
    assert set(written.files) == {PROGRAM, PUBLIC_KEY}
    program = tmp_path / "device" / PROGRAM
    assert program.stat().st_mode & 0o111
    text = program.read_text().replace("/etc/edgekit/release.pub", str(tmp_path / "device" / PUBLIC_KEY))
    program.write_text(text)
    done = subprocess.run(
        [sys.executable, "-I", "-S", program, made.path, tmp_path / "new"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, (tmp_path / "new" / "install.sh").is_file()) == (0, True), done.stderr
