"""What a writer with good keys, a tool that lies or dies, and odd files and keys cannot do to `edgekit bundle`."""

import base64
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from edgekit.artifact import read_artifact
from edgekit.bundle import rollout, tools
from edgekit.bundle.archives.ar import read_ar, write_ar
from edgekit.bundle.archives.tar import BLOCK, MTIME, read_tar, write_tar
from edgekit.bundle.archives.types import Member
from edgekit.bundle.create import release_request
from edgekit.bundle.deb import envelope as deb
from edgekit.bundle.delta import apply_delta, make_delta, patch_bundle
from edgekit.bundle.device_files import write_device_files
from edgekit.bundle.entries import Format
from edgekit.bundle.envelopes import load_envelope
from edgekit.bundle.mender import envelope as mender
from edgekit.bundle.mender.signature import sign_manifest
from edgekit.bundle.sealed import read_sealed
from edgekit.bundle.tar import tar_of
from edgekit.bundle.tools import run_tool
from edgekit.bundle.tree import build_tree
from edgekit.bundle.verify import MAX_REASON, Policy, read_bundle, verify_bundle, verify_bytes
from edgekit.errors import BundleError, IntegrityError, KeysError
from edgekit.keys.dsse import sign_dsse
from edgekit.keys.private import matching_key
from edgekit.keys.trust import checked_certificate, private_key, read_certificate, read_trust
from edgekit.project import Deploy
from tests.bundles import NOW, make_bundle, make_keys, make_tree, tiny_artifact, wanted
from tests.unit.certificates import replace_leaf

pytestmark = pytest.mark.unit
TOOLS = ("dpkg-deb", "mender-artifact", "zstd")
needs = {name: pytest.mark.skipif(shutil.which(name) is None, reason=f"no {name} on this machine") for name in TOOLS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """keys/ and artifact/, and the bundles that the tests make."""
    made = tmp_path_factory.mktemp("hostile")
    make_keys(made / "keys")
    tiny_artifact(made / "artifact")
    return made


def bundle(folder: Path, kind: Format, version: str = "1.0.0") -> Path:
    path = folder / f"bundle-{version}.{kind}"
    if not path.exists():
        make_bundle(folder, kind, artifact=read_artifact(folder / "artifact"), version=version)
    return path


def header(kind: bytes, size: int, *, sparse: bytes = b"", name: bytes = b"./control") -> bytes:
    """Of GNU tar, with a good checksum."""
    fields = (
        (0, name), (100, b"0000644\0"), (108, b"0000000\0"), (116, b"0000000\0"), (124, b"%011o\0" % size),
        (136, b"%011o\0" % MTIME), (148, b" " * 8), (156, kind), (257, b"ustar  \0"), (265, b"root"), (297, b"root"),
        (386, sparse),
    )  # fmt: skip
    block = bytearray(BLOCK)
    for at, value in fields:
        block[at : at + len(value)] = value
    return bytes(block[:148] + b"%06o\0 " % sum(block) + block[156:])


HUGE = b"%011o\0%011o\0" % (0, 0) + bytes(73) + b"%011o\0" % 2**32
"""A map of a sparse file with nothing in it, and its size: 4 GiB."""


@needs["dpkg-deb"]
@pytest.mark.parametrize("archive", [1, 2])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(header(b"S", 0, sparse=HUGE) + bytes(2 * BLOCK), id="a sparse file of 4 GiB"),
        pytest.param(header(b"x", 200_192) + b"1" * 200_192 + bytes(BLOCK), id="pax records that take minutes"),
        pytest.param((header(b"L", BLOCK) + b"a" * BLOCK) * 3000, id="3000 names for one file"),
        pytest.param(header(b"0", 8**11 - 1) + bytes(BLOCK), id="a file that goes on behind the end"),
        pytest.param(bytes(2 * BLOCK) + b"x", id="bytes behind the end"),
    ],
)
def test_archives_of_a_signed_package_are_bounded(folder: Path, archive: int, data: bytes) -> None:
    members = list(read_ar(bundle(folder, "deb").read_bytes()))[:3]
    members[archive] = Member(name=members[archive].name, data=data)
    signature = sign_dsse(deb._statement(write_ar(members)), deb.PAYLOAD_TYPE, folder / "keys")
    hostile = write_ar([*members, Member(name=deb.SIGNATURE, data=signature)])
    with pytest.raises(IntegrityError, match=r"An archive in the package (has a header that|is cut off, or goes on)"):
        verify_bytes(hostile, read_trust(folder / "keys"), Policy(now=NOW))


@needs["mender-artifact"]
@pytest.mark.parametrize(
    "text",
    [b'{"%s": 1}' % (b"z" * 10**6), b"[" * 10**6, b"[" + b"1," * 3 * 10**6 + b"1]"],
    ids=["long", "deep", "large"],  # what a test is called is in its environment, too, and of the tools it starts
)
def test_a_signed_header_is_bounded_and_so_is_what_is_said_of_it(folder: Path, text: bytes) -> None:
    parts = {member.name: member.data for member in read_tar(bundle(folder, "mender").read_bytes())}
    payload = read_tar(parts["data/0000.tar"])[0].data
    info, *others = read_tar(parts["header.tar"])
    parts["header.tar"] = write_tar([replace(info, data=text), *others])
    parts["manifest"] = mender._manifest(parts["header.tar"], payload)
    parts["manifest.sig"] = sign_manifest(parts["manifest"], folder / "keys")
    hostile = write_tar([Member(name=name, data=data) for name, data in parts.items()])
    with pytest.raises(IntegrityError, match=r"^header-info( is not valid JSON|: | has more than )") as it:
        verify_bytes(hostile, read_trust(folder / "keys"), Policy(now=NOW))
    assert len(it.value.message) <= MAX_REASON


@pytest.mark.parametrize(
    "kind", [pytest.param("deb", marks=needs["dpkg-deb"]), pytest.param("mender", marks=needs["mender-artifact"])]
)
def test_a_name_like_an_option_is_a_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Format
) -> None:
    shutil.copyfile(bundle(folder, kind), tmp_path / "-x")
    monkeypatch.chdir(tmp_path)
    assert verify_bundle(Path("-x"), read_trust(folder / "keys"), Policy(now=NOW)).tool is not None


@needs["dpkg-deb"]
def test_a_folder_for_temporary_files_that_is_none_refuses_no_package(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))  # Python takes another one then, dpkg-deb fails
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert deb.check(bundle(folder, "deb"), read_trust(folder / "keys"), scratch) is not None


def test_a_tool_that_was_killed_has_refused_nothing() -> None:
    with pytest.raises(BundleError, match=r"^sh was killed, most likely because the machine ran out of memory"):
        run_tool(["sh", "-c", "kill -9 $$"])


def test_what_is_there_is_not_said_to_be_missing() -> None:
    with pytest.raises(BundleError, match=r"^/dev/zero is no regular file\.$"):
        read_bundle(Path("/dev/zero"))


@needs["zstd"]
def test_patch_replaces_no_device_and_keeps_a_link(folder: Path, tmp_path: Path) -> None:
    old, new, delta = bundle(folder, "tar"), bundle(folder, "tar", "1.1.0"), tmp_path / "delta"
    make_delta(old, new, delta)
    trust = read_trust(folder / "keys")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BundleError, match=r"pipe is no regular file\.$"):
        patch_bundle(old, delta, tmp_path / "pipe", trust, now=NOW)
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "link").symlink_to("target")
    patch_bundle(old, delta, tmp_path / "link", trust, now=NOW)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == new.read_bytes()


def test_an_rsa_key_that_is_too_short_is_no_key(folder: Path, tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "keys")
    replace_leaf(keys, "cms", key=rsa.generate_private_key(65537, 1024))
    with pytest.raises(IntegrityError, match=r"cms.crt has a key that cms does not take\.$"):
        checked_certificate(read_trust(keys), "cms", NOW)


def test_a_certificate_of_a_version_that_does_not_exist_is_none(tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "keys")
    der = read_certificate(read_trust(keys), "cms").public_bytes(Encoding.DER)
    wrong = der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020142"), 1)
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(wrong) + b"-----END CERTIFICATE-----\n"
    (keys / "public/cms.crt").write_bytes(pem)
    with pytest.raises(IntegrityError, match=r"cms.crt is no X.509 certificate in PEM: 66 is not a valid X509 version"):
        checked_certificate(read_trust(keys), "cms", NOW)


@needs["zstd"]
def test_a_zstd_that_hangs_is_ended(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "zstd"
    fake.write_text("#!/bin/sh\nsleep 60 &\nsleep 60\n")  # the second one holds its output open
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(tools, "TIMEOUT_S", 0.2)
    with pytest.raises(BundleError, match=r"^zstd was killed, or did not end within 0\.2 s\.$"):
        apply_delta(bundle(folder, "tar"), fake, tmp_path / "made")


def test_no_room_for_a_tool_is_no_refusal(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(BundleError, match=rf"^{tmp_path} has [\d,]+ bytes free, and the check takes [\d,]+\.$") as it:
        tools.check_room(scratch, 2**62)
    assert "TMPDIR" in it.value.hint


def test_a_bundle_that_changes_while_it_is_read_is_not_rolled_out(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bundle(folder, "tar").read_bytes()
    monkeypatch.setattr(rollout, "read_bundle", lambda _: data.replace(b"install.sh", b"install.py"))
    with pytest.raises(IntegrityError):
        rollout.write_rollout(bundle(folder, "tar"), "balena", read_trust(folder / "keys"), {}, tmp_path / "out", NOW)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["swupdate", "rauc"])
def test_no_private_key_goes_to_a_device_with_the_ca(folder: Path, tmp_path: Path, kind: Format) -> None:
    keys = tmp_path / "keys"
    shutil.copytree(folder / "keys", keys)
    with (keys / "public/ca.crt").open("ab") as stream:
        stream.write((keys / "private/ca.key").read_bytes())
    release = read_sealed(bundle(folder, "tar").read_bytes(), read_trust(keys), NOW).release
    written = load_envelope(kind).device_files(release, read_trust(keys), {}).files
    assert any(b"BEGIN CERTIFICATE" in data for data in written.values())
    assert not any(b"PRIVATE KEY" in data for data in written.values())


@pytest.mark.parametrize("program", ["/etc/rauc/system.conf", "/etc/rauc", "/etc/systemd/system/edgekit-slot.service"])
def test_no_file_of_a_device_takes_the_place_of_another(folder: Path, program: str) -> None:
    trust = read_trust(folder / "keys")
    release = read_sealed(bundle(folder, "tar").read_bytes(), trust, NOW).release
    with pytest.raises(BundleError, match=f"^program={program} is where another of the device's files goes"):
        load_envelope("rauc").device_files(release, trust, {"program": program})


def test_device_files_do_not_take_what_the_release_says(folder: Path, tmp_path: Path) -> None:
    trust = read_trust(folder / "keys")
    verified = verify_bundle(bundle(folder, "tar"), trust, Policy(now=NOW))
    with pytest.raises(BundleError, match=r"^The release says its root on the device: /var/lib/edgekit\.$"):
        write_device_files(verified, trust, {"root": "/data"}, tmp_path / "out")
    with pytest.raises(BundleError, match=r"^'x; reboot' cannot be the name of a Debian package\.$"):
        load_envelope("deb").device_files(verified.release, trust, {"package": "x; reboot"})


@pytest.mark.parametrize("other", ["mender", "release", None])
def test_a_key_that_is_not_the_certificates_is_said_before_a_tool_is_asked(
    folder: Path, tmp_path: Path, other: str | None
) -> None:
    keys = tmp_path / "keys"
    shutil.copytree(folder / "keys", keys)
    key = keys / "private/cms.key"
    key.write_bytes(b"secret" if other is None else (keys / f"private/{other}.key").read_bytes())
    said = "is no private key in PEM" if other is None else "does not belong to cms.crt"
    with pytest.raises(KeysError, match=rf"cms.key {said}\.$"):
        matching_key(keys, "cms")


def test_a_private_folder_of_somebody_else_is_no_output_that_cannot_be_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)  # root may read everything
    with pytest.raises(KeysError, match=r"private/cms.key cannot be read: Permission denied\.$"):
        private_key(folder / "keys", "cms")


def test_an_artifact_that_goes_away_meanwhile(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "artifact", tmp_path / "artifact")
    artifact = read_artifact(tmp_path / "artifact")
    artifact.model.unlink()
    with pytest.raises(BundleError, match=r"model.tflite cannot be read: No such file or directory\.$"):
        make_tree(artifact, folder / "keys")


def test_a_file_where_a_folder_is(folder: Path) -> None:
    artifact, keys = read_artifact(folder / "artifact"), folder / "keys"
    request = release_request(wanted(artifact, "tar", keys, folder / "unused"), None)
    payload = tar_of(build_tree(request, keys, {"agent": b"x"}))
    with pytest.raises(IntegrityError, match=r"^agent is a file and a folder in it\.$"):
        read_sealed(payload, read_trust(keys), NOW)


@pytest.mark.parametrize("command", ["echo \0", "x" * 10_001])
def test_a_command_that_no_shell_of_the_device_can_get_is_refused(folder: Path, command: str) -> None:
    with pytest.raises(BundleError, match="on_activate: Expected `str`"):
        make_tree(read_artifact(folder / "artifact"), folder / "keys", deploy=Deploy(on_activate=command))
