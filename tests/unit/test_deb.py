"""The Debian package as an envelope: what is in it, and that nothing else is accepted."""

import copy
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edgekit.bundle.archives.ar import read_ar, write_ar
from edgekit.bundle.archives.tar import MTIME
from edgekit.bundle.archives.types import Member
from edgekit.bundle.deb import envelope
from edgekit.bundle.deb.control import SCRIPTS, control_files, read_control
from edgekit.bundle.deb.device import device_files
from edgekit.bundle.types import CreateRequest, Opened, Tree
from edgekit.errors import BundleError, IntegrityError
from edgekit.keys.dsse import sign_dsse
from edgekit.keys.trust import read_trust
from tests.bundles import NOW, create_request, make_keys, make_tree, tiny_artifact

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb on this machine: install dpkg"),
]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_keys(tmp_path_factory.mktemp("deb") / "keys")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Tree:
    artifact = tiny_artifact(tmp_path_factory.mktemp("deb-artifact") / "a", target="rpi4")
    return make_tree(artifact, keys, version="1.2.0-rc.1")


@pytest.fixture
def request_(tree: Tree, keys: Path, tmp_path: Path) -> CreateRequest:
    return create_request(tree, "deb", keys, tmp_path / "scratch")


@pytest.fixture(scope="module")
def package(tree: Tree, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    scratch = tmp_path_factory.mktemp("deb-package") / "scratch"
    return envelope.create(create_request(tree, "deb", keys, scratch)).read_bytes()


def open_(package: bytes, keys: Path) -> Opened:
    return envelope.open_envelope(package, read_trust(keys), NOW)


def test_the_tree_comes_out_as_it_went_in(package: bytes, keys: Path, request_: CreateRequest) -> None:
    opened = open_(package, keys)
    assert opened.payload == request_.payload
    assert (opened.version, opened.hardware) == ("1.2.0-rc.1", None)


def test_the_same_bytes_whatever_the_umask_and_the_environment(
    package: bytes, request_: CreateRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAR_OPTIONS", "--owner=1000")
    monkeypatch.setenv("DPKG_DEB_COMPRESSOR_TYPE", "xz")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    before = os.umask(0o077)
    try:
        assert envelope.create(request_).read_bytes() == package
    finally:
        os.umask(before)


def test_what_dpkg_reads_of_it(package: bytes, keys: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.deb"
    path.write_bytes(package)
    checked = envelope.check(path, read_trust(keys), tmp_path)
    assert checked is not None
    assert checked.tool == "dpkg-deb"
    assert checked.version is not None
    assert checked.version[0].isdigit()
    said = subprocess.run(["dpkg-deb", "--field", path], capture_output=True, text=True, check=True)
    fields = read_control(said.stdout)
    assert fields["Package"] == "edgekit-model-demo"
    assert fields["Version"] == "1.2.0~rc~1"
    assert fields["Architecture"] == "arm64"
    assert fields["Depends"] == "python3 (>= 3.7)"
    path.write_bytes(package[:5000])
    with pytest.raises(IntegrityError, match="dpkg-deb cannot read the package"):
        envelope.check(path, read_trust(keys), tmp_path)


def test_no_tool_is_a_sentence_with_the_next_step(
    request_: CreateRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BundleError, match="dpkg-deb is not on this machine") as caught:
        envelope.create(request_)
    assert "apt-get install dpkg" in caught.value.hint


def test_a_board_without_debian_is_refused(keys: Path, tmp_path: Path) -> None:
    tree = make_tree(tiny_artifact(tmp_path / "a", target="android-arm64"), keys)
    with pytest.raises(BundleError, match="no Debian package is installed there"):
        envelope.create(create_request(tree, "deb", keys, tmp_path / "scratch"))


def test_settings(tree: Tree) -> None:
    settings = {
        "package": "acme-kws",
        "maintainer": "Acme <a@example.com>",
        "homepage": "https://example.com",
        "depends": "python3 (>= 3.7), python3-numpy",
        "description": "hears words",
    }
    files = control_files(tree.release, tree.files, "arm64", settings)
    fields = read_control(files["control"].decode())
    assert {name.lower(): value for name, value in fields.items()}.items() >= settings.items()
    assert b"acme-kws" in files["preinst"]
    for name in settings:
        with pytest.raises(BundleError, match="cannot be"):
            control_files(tree.release, tree.files, "arm64", {name: "a\nPre-Depends: bash"})


def test_scripts_are_shell_and_have_no_place_left_open(tree: Tree, tmp_path: Path) -> None:
    files = control_files(tree.release, tree.files, "arm64", {})
    for name in SCRIPTS:
        text = files[name].decode()
        assert text.startswith("#!/bin/sh\n")
        assert not any(f"@{key}@" in text for key in ("PACKAGE", "MODEL", "FOLDER", "INSTALL", "DEFAULTS", "ROOT"))
        (tmp_path / name).write_text(text)
        subprocess.run(["sh", "-n", tmp_path / name], check=True)
        if shutil.which("shellcheck"):
            subprocess.run(["shellcheck", "--exclude=SC1091", tmp_path / name], check=True)


def test_every_kind_of_change_is_refused(package: bytes, keys: Path) -> None:
    for at in range(0, len(package), 997):
        changed = package[:at] + bytes([package[at] ^ 1]) + package[at + 1 :]
        with pytest.raises(IntegrityError):
            open_(changed, keys)
    for damaged in (package[:-1], package + b"\n", package[: len(package) // 2], b""):
        with pytest.raises(IntegrityError):
            open_(damaged, keys)


def _resigned(package: bytes, keys: Path, change: Callable[[list[Member]], list[Member]]) -> bytes:
    """Another package under a good signature of ours: what a defect or a stolen key would make."""
    members = change(list(read_ar(package))[:-1])
    signature = sign_dsse(envelope._statement(write_ar(members)), envelope.PAYLOAD_TYPE, keys)
    return write_ar([*members, Member(name=envelope.SIGNATURE, data=signature)])


def _retarred(data: bytes, change: Callable[[tarfile.TarInfo, bytes], list[tuple[tarfile.TarInfo, bytes]]]) -> bytes:
    made = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as old,
        tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as new,
    ):
        for info in old:
            stream = old.extractfile(info)
            for changed, body in change(info, stream.read() if stream else b""):
                new.addfile(changed, io.BytesIO(body))
    return made.getvalue()


def _replaced(info: tarfile.TarInfo, **fields: object) -> tarfile.TarInfo:
    changed = copy.copy(info)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _in_data(
    change: Callable[[tarfile.TarInfo, bytes], list[tuple[tarfile.TarInfo, bytes]]],
) -> Callable[[list[Member]], list[Member]]:
    return lambda members: [*members[:2], Member(name="data.tar", data=_retarred(members[2].data, change))]


def _with_link(info: tarfile.TarInfo, data: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    if not info.name.endswith("model.tflite"):
        return [(info, data)]
    link = tarfile.TarInfo(info.name)
    link.type, link.linkname, link.mtime, link.uname, link.gname = tarfile.SYMTYPE, "/etc/passwd", MTIME, "root", "root"
    return [(link, b"")]


def _with_another_file(path: str) -> Callable[[tarfile.TarInfo, bytes], list[tuple[tarfile.TarInfo, bytes]]]:
    def add(info: tarfile.TarInfo, data: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        last = info.name.endswith("sbom.cdx.json")
        return [(info, data), *([(_replaced(info, name=path), data)] if last else [])]

    return add


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda members: members[:2], "not those that edgekit writes"),
        (lambda members: [members[0], members[2], members[1]], "not those that edgekit writes"),
        (lambda members: [Member(name="debian-binary", data=b"2.1\n"), *members[1:]], "another version"),
        (lambda members: [*members[:2], Member(name="data.tar", data=b"x" * 1024)], "does not write"),
        (_in_data(lambda i, d: [(i, d)] * (2 if i.isreg() else 1)), "twice"),
        (_in_data(_with_link), "has a header that dpkg-deb does not write"),
        (_in_data(_with_another_file("./etc/cron.d/x")), "'etc/cron.d/x', which edgekit does not write"),
        (_in_data(_with_another_file("./usr/lib/edgekit/releases/demo/9.0.0/x")), "2 releases in it"),
        (_in_data(_with_another_file("./usr/lib/edgekit/releases/../x/y")), "2 releases in it"),
        (_in_data(lambda i, d: [(_replaced(i, mode=0o4755), d)]), "does not write"),
        (_in_data(lambda i, d: [(_replaced(i, uid=1000), d)]), "with an owner or a time"),
        (_in_data(lambda i, d: [(_replaced(i, mtime=1), d)]), "with an owner or a time"),
        (_in_data(lambda i, d: [(_replaced(i, name=i.name.replace("demo", "dome")), d)]), "not where its release"),
        (_in_data(lambda i, d: [] if i.name.endswith("release.json") else [(i, d)]), "not where its release"),
    ],
)
def test_a_package_of_another_form_is_refused_even_when_it_is_signed(
    package: bytes, keys: Path, change: Callable[[list[Member]], list[Member]], message: str
) -> None:
    with pytest.raises(IntegrityError, match=message) as caught:
        open_(_resigned(package, keys, change), keys)
    assert caught.value.hint


def _control(change: Callable[[str], str]) -> Callable[[list[Member]], list[Member]]:
    def changed(info: tarfile.TarInfo, data: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        body = change(data.decode()).encode() if info.name == "./control" else data
        return [(_replaced(info, size=len(body)), body)]

    return lambda members: [
        members[0],
        Member(name="control.tar", data=_retarred(members[1].data, changed)),
        members[2],
    ]


def test_the_version_of_the_control_file_is_taken_back(package: bytes, keys: Path) -> None:
    newer = _resigned(package, keys, _control(lambda text: text.replace("1.2.0~rc~1", "1.3.0")))
    assert open_(newer, keys).version == "1.3.0"  # and `verify` holds it against release.json
    foreign = _resigned(package, keys, _control(lambda text: text.replace("1.2.0~rc~1", "2:1.2.0-1")))
    with pytest.raises(IntegrityError, match=r"'2:1\.2\.0-1' is none that edgekit writes"):
        open_(foreign, keys)


def test_without_its_signature_or_with_another_keys_it_is_refused(package: bytes, keys: Path, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="not signed: it has no _edgekit"):
        open_(write_ar(read_ar(package)[:-1]), keys)
    with pytest.raises(IntegrityError, match="not signed by the release key that is trusted"):
        open_(package, make_keys(tmp_path / "theirs"))
    of_another_kind = write_ar(
        [*read_ar(package)[:-1], Member(name=envelope.SIGNATURE, data=sign_dsse(b"{}", "text/plain", keys))]
    )
    with pytest.raises(IntegrityError, match="it signs 'text/plain'"):
        open_(of_another_kind, keys)


def test_device_files(tree: Tree, keys: Path, tmp_path: Path) -> None:
    made = device_files(tree.release, read_trust(keys), {})
    source = made.files["etc/apt/sources.list.d/edgekit.sources"].decode()
    assert "Suites: ./\nSigned-By: /etc/apt/keyrings/edgekit.asc\n" in source
    assert made.files["var/lib/edgekit/target"] == b"rpi4\n"
    assert "--setting uri=ADDRESS" in made.notes[0]
    assert "--setting keyring=FILE" in made.notes[1]
    keyring = tmp_path / "r.gpg"
    keyring.write_bytes(b"\x98\x33\x04")
    settings = {"keyring": str(keyring), "suite": "stable", "uri": "https://apt.example.com"}
    made = device_files(tree.release, read_trust(keys), settings)
    assert made.files["etc/apt/keyrings/edgekit.gpg"] == b"\x98\x33\x04"
    assert made.notes[0] == "Then: apt-get update && apt-get install edgekit-model-demo"
    source = made.files["etc/apt/sources.list.d/edgekit.sources"].decode()
    assert "Suites: stable\nComponents: main\nSigned-By: /etc/apt/keyrings/edgekit.gpg\n" in source
    keyring.write_bytes(b"-----BEGIN PGP PRIVATE KEY BLOCK-----")
    with pytest.raises(BundleError, match="is no OpenPGP public key"):
        device_files(tree.release, read_trust(keys), settings)
    with pytest.raises(BundleError, match="setting uri cannot be"):
        device_files(tree.release, read_trust(keys), {"uri": "a\nTrusted: yes"})


def test_documents_of_a_release_fit_into_scripts() -> None:
    """What control.py puts into shell text has none of its special characters: the schema sees to it."""
    from edgekit.bundle.entries import DevicePath, SemVer
    from edgekit.project import ModelName

    for kind in (DevicePath, SemVer, ModelName):
        for text in ('/a"b', "/a$b", "/a`b", "/a b", "/a\nb", "/a\\b"):
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert(text, kind)
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert(text[1:], kind)
