"""Mender artifacts: what the header may say, signatures in one form, what the tool wrote, the device's files."""

import base64
import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

import pytest

from edgekit.bundle.archives.tar import read_tar, write_tar
from edgekit.bundle.archives.types import Member
from edgekit.bundle.mender import check, create, device_files, open_envelope
from edgekit.bundle.mender import envelope as envelope_module
from edgekit.bundle.mender.envelope import PAYLOAD, SIGNED, VERSION
from edgekit.bundle.mender.header import MEMBERS, SCRIPT, read_depends
from edgekit.bundle.mender.signature import sign_manifest
from edgekit.bundle.tar import tar_of
from edgekit.bundle.tools import find_tool
from edgekit.bundle.types import Tree
from edgekit.compilers.types import Ran
from edgekit.errors import BundleError, IntegrityError
from edgekit.keys.ecdsa import ORDER
from edgekit.keys.trust import read_trust
from edgekit.keys.types import Trust
from edgekit.transport.agent_file import AgentFile
from tests.bundles import DAYS, NOW, create_request, make_keys, make_tree, tiny_artifact

pytestmark = pytest.mark.unit
HEADER_INFO = {
    "payloads": [{"type": "edgekit"}],
    "artifact_provides": {"artifact_name": "demo-1.2.0"},
    "artifact_depends": {"device_type": ["rpi4", "rpi4:b"]},
}
TYPE_INFO = {
    "type": "edgekit",
    "artifact_provides": {"edgekit.demo.version": "1.2.0"},
    "clears_artifact_provides": ["edgekit.demo.*"],
}


@dataclass(frozen=True)
class Shop:
    """Keys, and a release with a small agent."""

    keys: Path
    tree: Tree

    @property
    def trust(self) -> Trust:
        return read_trust(self.keys)

    def artifact(
        self,
        header_info: Mapping[str, object] = HEADER_INFO,
        type_info: Mapping[str, object] = TYPE_INFO,
        *,
        executable: str = MEMBERS[1],
        members: tuple[str, ...] = MEMBERS,
        sign: Callable[[bytes], bytes] | None = None,
    ) -> bytes:
        """An artifact made without the tool, signed by the right key."""
        data = {
            MEMBERS[0]: json.dumps(header_info).encode(),
            MEMBERS[1]: b"script",
            MEMBERS[2]: json.dumps(type_info).encode(),
        }
        header = write_tar(
            [Member(name=name, data=data.get(name, b""), executable=name == executable) for name in members]
        )
        payload = tar_of(self.tree)
        manifest = envelope_module._manifest(header, payload)
        signature = sign_manifest(manifest, self.keys) if sign is None else sign(manifest)
        parts = (VERSION, manifest, signature, header, write_tar([Member(name=PAYLOAD, data=payload)]))
        return write_tar([Member(name=name, data=part) for name, part in zip(SIGNED, parts, strict=True)])

    def refusal(self, data: bytes) -> str:
        with pytest.raises(IntegrityError) as caught:
            open_envelope(data, self.trust, NOW)
        return caught.value.message


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("mender")
    keys = make_keys(folder / "keys")
    with pytest.MonkeyPatch.context() as patch:
        small = AgentFile(data=b"agent", digest="0" * 64)
        patch.setattr("edgekit.transport.agent_file.build_agent", lambda: small)
        tree = make_tree(tiny_artifact(folder / "a"), keys, version="1.2.0", hardware=("rpi4", "rpi4:b"))
    return Shop(keys, tree)


def tool_or_skip() -> str:
    try:
        return find_tool("mender-artifact", install="")
    except BundleError as err:
        pytest.skip(err.message)


def test_an_artifact_is_opened_to_what_was_put_in(shop: Shop) -> None:
    opened = open_envelope(shop.artifact(), shop.trust, NOW)
    assert opened.payload == tar_of(shop.tree)
    assert (opened.version, opened.hardware, opened.signed_by) == ("1.2.0", ("rpi4", "rpi4:b"), ("mender",))


def changed(document: Mapping[str, object], **values: object) -> dict[str, object]:
    return {**document, **values}


@pytest.mark.parametrize(
    ("header", "kind", "reason"),
    [
        ({"artifact_provides": {"artifact_name": "demo-1.3.0"}}, {}, "Its artifact name is demo-1.3.0, not demo-1.2.0"),
        ({"artifact_depends": {"device_type": ["rpi4"]}}, {}, "It is for the device types rpi4, its release is not"),
        ({"payloads": []}, {}, "header-info: payloads"),
        ({"payloads": [{"type": "deb"}]}, {}, "header-info: payloads"),
        ({"surplus": 1}, {}, "header-info: surplus"),
        ({}, {"type": "deb"}, "headers/0000/type-info: type"),
        (
            {},
            {"artifact_provides": {"edgekit.demo.version": "9.0.0"}},
            "It does not provide edgekit.demo.version 1.2.0",
        ),
        ({}, {"clears_artifact_provides": ["*"]}, "It takes away what other artifacts provide"),
    ],
)
def test_a_header_that_is_signed_and_says_something_else(
    shop: Shop, header: dict[str, object], kind: dict[str, object], reason: str
) -> None:
    message = shop.refusal(shop.artifact(changed(HEADER_INFO, **header), changed(TYPE_INFO, **kind)))
    assert message.startswith(reason)


def test_parts_that_edgekit_does_not_write(shop: Shop) -> None:
    assert "other parts" in shop.refusal(shop.artifact(members=(*MEMBERS, "scripts/ArtifactInstall_Enter_00")))
    assert "other parts" in shop.refusal(shop.artifact(members=(MEMBERS[0], MEMBERS[2])))
    assert "A mode in its header" in shop.refusal(shop.artifact(executable=MEMBERS[0]))
    parts = list(read_tar(shop.artifact()))
    assert "is not signed" in shop.refusal(write_tar([part for part in parts if part.name != "manifest.sig"]))
    assert "not those that edgekit writes" in shop.refusal(write_tar([*parts, Member(name="extra", data=b"")]))
    assert "not those that edgekit writes" in shop.refusal(write_tar(parts[::-1]))
    assert "not those" in shop.refusal(write_tar([*parts[:-1], replace(parts[-1], executable=True)]))


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("version", b'{"format":"mender","version":2}', "A part of the artifact is not what its signed manifest says"),
        ("data/0000.tar", write_tar([Member(name=PAYLOAD, data=b"")]), "A part of the artifact is not what"),
        ("data/0000.tar", write_tar([Member(name="other.tar", data=b"")]), "payload is not release.tar alone"),
        ("data/0000.tar", b"no tar", "The archive is truncated"),
        ("header.tar", b"", "A part of the artifact is not what"),
        ("manifest", b"", "Its manifest is not what was signed"),
        ("manifest.sig", b"", "Its signature is not in the one form"),
        ("manifest.sig", b"!", "Its signature is no base64"),
    ],
)
def test_a_part_that_was_replaced(shop: Shop, name: str, data: bytes, reason: str) -> None:
    parts = [Member(name=part.name, data=data) if part.name == name else part for part in read_tar(shop.artifact())]
    assert reason in shop.refusal(write_tar(parts))


def test_a_signature_has_one_form(shop: Shop) -> None:
    def other_s(manifest: bytes) -> bytes:
        value = base64.b64decode(sign_manifest(manifest, shop.keys))
        return base64.b64encode(value[:32] + (ORDER - int.from_bytes(value[32:], "big")).to_bytes(32, "big"))

    def spare_bits(manifest: bytes) -> bytes:
        text = sign_manifest(manifest, shop.keys)
        last = text[-3:-2]  # 64 bytes leave four bits of it unused
        alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        at = alphabet.index(last)
        return text[:-3] + alphabet[at + 1 : at + 2] + text[-2:]

    for sign in (other_s, spare_bits, lambda manifest: sign_manifest(manifest, shop.keys) + b"\n"):
        message = shop.refusal(shop.artifact(sign=sign))
        assert "one form" in message or "no base64" in message
    assert shop.artifact() == shop.artifact()  # RFC 6979


def test_another_key_an_expired_one_and_none(shop: Shop, tmp_path: Path) -> None:
    foreign = make_keys(tmp_path / "foreign")
    message = shop.refusal(shop.artifact(sign=lambda manifest: sign_manifest(manifest, foreign)))
    assert message == "Its manifest is not what was signed, or another key signed it."
    with pytest.raises(IntegrityError, match="expired on"):
        open_envelope(shop.artifact(), shop.trust, NOW + timedelta(days=DAYS + 1))
    (tmp_path / "public").mkdir()
    (tmp_path / "public/ca.crt").write_bytes((shop.keys / "public/ca.crt").read_bytes())
    with pytest.raises(IntegrityError, match="There is no mender key to check against"):
        open_envelope(shop.artifact(), read_trust(tmp_path), NOW)


def test_what_must_be_there_before() -> None:
    assert read_depends("") == {}
    assert read_depends("rootfs-image.version:4.1,edgekit.demo.version:1.0.0-rc.1") == {
        "rootfs-image.version": "4.1",
        "edgekit.demo.version": "1.0.0-rc.1",
    }
    for text in ("a", "a:b:c", "a:b,a:c", "a:b c", ":b"):
        with pytest.raises(BundleError, match="The setting depends cannot have") as caught:
            read_depends(text)
        assert "mender show-provides" in caught.value.hint


@pytest.mark.parametrize("algorithm", ["p256", pytest.param("rsa", marks=pytest.mark.slow)])
def test_the_tool_s_artifact_is_ours(shop: Shop, tmp_path: Path, algorithm: str) -> None:
    tool_or_skip()
    keys = shop.keys if algorithm == "p256" else make_keys(tmp_path / "keys", algorithms={"mender": "rsa"})
    made = [
        create(create_request(shop.tree, "mender", keys, tmp_path / name, depends="a.b:1")) for name in ("one", "two")
    ]
    assert made[0].read_bytes() == made[1].read_bytes()
    opened = open_envelope(made[0].read_bytes(), read_trust(keys), NOW)
    assert opened.payload == tar_of(shop.tree)
    (tmp_path / "check").mkdir()
    said = check(made[0], read_trust(keys), tmp_path / "check")
    assert said is not None
    assert (said.tool, bool(said.version)) == ("mender-artifact", True)


def test_the_tool_refuses_what_another_key_signed_and_what_nobody_signed(shop: Shop, tmp_path: Path) -> None:
    tool_or_skip()
    foreign = read_trust(make_keys(tmp_path / "foreign"))
    path = tmp_path / "a.mender"
    path.write_bytes(shop.artifact())
    with pytest.raises(IntegrityError, match="mender-artifact refuses it"):
        check(path, foreign, tmp_path)
    path.write_bytes(write_tar([part for part in read_tar(shop.artifact()) if part.name != "manifest.sig"]))
    with pytest.raises(IntegrityError, match="mender-artifact refuses it"):
        check(path, shop.trust, tmp_path)


def test_a_tool_that_is_missing_or_another(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def another(command: tuple[str, ...], **_settings: object) -> Ran:
        Path(command[-1]).write_bytes(written)
        return Ran(status=0, output="")

    monkeypatch.setattr(envelope_module, "find_tool", lambda _name, **_settings: "mender-artifact")
    monkeypatch.setattr(envelope_module, "make", another)
    for written in (b"no tar", write_tar([Member(name="version", data=VERSION)])):
        with pytest.raises(BundleError, match="writes artifacts in a form that edgekit does not know") as caught:
            create(create_request(shop.tree, "mender", shop.keys, tmp_path / str(len(written))))
        assert "Use version 3.9" in caught.value.hint
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BundleError, match="mender-artifact is not on this machine") as caught:
        check(tmp_path, shop.trust, tmp_path)
    assert "apt-get install mender-artifact" in caught.value.hint


def test_the_device_s_files(shop: Shop) -> None:
    made = device_files(shop.tree.release, shop.trust, {"server": "https://mender.example.com"})
    configuration = json.loads(made.files["etc/mender/mender.conf"])
    assert configuration["ServerURL"] == "https://mender.example.com"
    key = made.files[configuration["ArtifactVerifyKey"].lstrip("/")]
    assert key == (shop.keys / "public/mender.pub").read_bytes()
    assert made.files["var/lib/mender/device_type"] == b"device_type=rpi4\n"
    inventory = "usr/share/mender/inventory/mender-inventory-provides"
    assert made.executable == ("usr/share/mender/modules/v3/edgekit", inventory)
    assert b"show-provides" in made.files[inventory]
    assert any("mender-device-identity" in note for note in made.notes)
    other = device_files(shop.tree.release, shop.trust, {"device-type": "rpi4:b"})
    assert other.files["var/lib/mender/device_type"] == b"device_type=rpi4:b\n"
    with pytest.raises(BundleError, match="device-type"):
        device_files(shop.tree.release, shop.trust, {"device-type": "two words"})


def test_what_the_update_module_says_and_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = files("edgekit.bundle.mender").joinpath("edgekit-module.sh")
    release = tmp_path / "tmp/release"

    def said(state: str) -> str:
        done = subprocess.run(["sh", str(module), state, tmp_path], capture_output=True, text=True, check=True)
        return done.stdout

    assert (said("NeedsArtifactReboot"), said("SupportsRollback")) == ("No\n", "Yes\n")
    for state in ("Download", "ArtifactRollback", "ArtifactFailure", "Cleanup"):
        assert said(state) == ""
    (tmp_path / "current_device_type").write_text("rpi4")
    payload = write_tar([Member(name="install.sh", data=b'echo "$@"')])
    (tmp_path / "files").mkdir()
    (tmp_path / "files/release.tar").write_bytes(payload)
    previous = release.parent / "previous"
    assert said("ArtifactInstall") == f"--target rpi4 --remember {previous} --confirm-later\n"
    assert said("ArtifactCommit") == "--target rpi4 --confirm\n"
    monkeypatch.setenv("EDGEKIT_ALLOW_DOWNGRADE", "1")
    assert said("ArtifactInstall") == f"--target rpi4 --remember {previous} --confirm-later --allow-downgrade\n"
    assert said("ArtifactCommit") == "--target rpi4 --confirm --allow-downgrade\n"
    assert said("ArtifactRollback") == "", "it never came to the switch"
    previous.write_text("none\n")
    assert said("ArtifactRollback") == "--restore none\n"
    assert SCRIPT.startswith("ArtifactCommit_Enter_")
