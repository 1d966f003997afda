"""MCUboot images: made by imgtool, judged by us as imgtool does, and more strictly."""

import os
import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.artifact import Artifact
from edgekit.bundle.create import create_bundle, release_request
from edgekit.bundle.envelopes import ExtrasRequest, detect
from edgekit.bundle.mcu.envelope import FIRMWARE_IMAGE, MODEL_IMAGE, check, device_files, extras, open_envelope
from edgekit.bundle.mcu.image import AREA, COUNTER, HEADER, SHA256, Image, read_image
from edgekit.bundle.mcu.imgtool import check_image, image_version, sign_image
from edgekit.bundle.mcu.settings import read_settings
from edgekit.bundle.tar import tar_of
from edgekit.bundle.tree import build_tree
from edgekit.bundle.verify import Policy, verify_bytes
from edgekit.errors import BundleError, IntegrityError
from edgekit.keys.trust import checked_certificate, read_trust
from edgekit.keys.types import Algorithm, Trust
from tests.bundles import NOW, make_keys, make_release, tiny_artifact, wanted

pytestmark = pytest.mark.unit
PAYLOAD = bytes(range(256)) * 8
FLIPS = 300
ALGORITHMS: tuple[Algorithm, ...] = ("p256", "ed25519", "rsa")
every_algorithm = pytest.mark.parametrize(
    "algorithm", [pytest.param(name, marks=() if name == "p256" else pytest.mark.slow) for name in ALGORITHMS]
)
Signers = Callable[[Algorithm], "Signer"]


@dataclass(frozen=True)
class Signer:
    """Keys, and an image that was signed with them."""

    keys: Path
    image: bytes

    @property
    def trust(self) -> Trust:
        return read_trust(self.keys)

    @property
    def certificate(self) -> x509.Certificate:
        return checked(self.keys)

    def read(self, data: bytes) -> Image:
        return read_image(data, self.certificate, name="model.bin")


@cache
def checked(keys: Path) -> x509.Certificate:
    return checked_certificate(read_trust(keys), "mcuboot", NOW)


def signed(keys: Path, scratch: Path, settings: Mapping[str, str] | None = None, *, reserved: bool = False) -> bytes:
    scratch.mkdir(parents=True, exist_ok=True)
    payload = bytes(512) + PAYLOAD if reserved else PAYLOAD
    return sign_image(payload, "1.2.3", read_settings(settings or {}), keys, scratch, reserved=reserved)


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> Signers:
    """A signer for each kind of key, made when it is asked for."""
    folder = tmp_path_factory.mktemp("signers")

    @cache
    def make(algorithm: Algorithm) -> Signer:
        keys = make_keys(folder / algorithm, algorithms={"mcuboot": algorithm})
        return Signer(keys=keys, image=signed(keys, folder / f"{algorithm}-scratch"))

    return make


@pytest.fixture(scope="module")
def signer(signers: Signers) -> Signer:
    return signers("p256")


@every_algorithm
def test_device_files_are_the_public_key_that_mcuboot_is_built_with(signers: Signers, algorithm: Algorithm) -> None:
    keys = signers(algorithm).keys
    made = device_files(make_release(), read_trust(keys), {})
    assert made.files == {"mcuboot.pub": (keys / "public" / "mcuboot.pub").read_bytes()}
    assert 'CONFIG_BOOT_SIGNATURE_KEY_FILE="mcuboot.pub"' in made.notes[0]


@every_algorithm
def test_what_imgtool_makes_is_accepted(signers: Signers, algorithm: Algorithm, tmp_path: Path) -> None:
    signer = signers(algorithm)
    found = signer.read(signer.image)
    assert (found.version, found.release, found.payload) == ((1, 2, 3, 0), "1.2.3", PAYLOAD)
    assert found.security_counter == (1 << 24) + (2 << 16) + 3  # imgtool's `auto`
    told = check_image(signer.image, signer.certificate, tmp_path, name="model.bin")
    assert (told.tool, told.version) == ("imgtool", "2.5.0")


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["p256", "ed25519"])
def test_the_same_release_is_the_same_image(signers: Signers, algorithm: Algorithm, tmp_path: Path) -> None:
    assert signed(signers(algorithm).keys, tmp_path) == signers(algorithm).image


@pytest.mark.slow
def test_settings_decide_the_image(signer: Signer, tmp_path: Path) -> None:
    settings = {"security-counter": "7", "build-number": "9", "header-size": "0x80"}
    found = signer.read(signed(signer.keys, tmp_path, settings))
    assert (found.version, found.security_counter, found.header_bytes) == ((1, 2, 3, 9), 7, 128)


@pytest.mark.slow
def test_room_for_the_header_that_the_linker_left_is_used(signer: Signer, tmp_path: Path) -> None:
    assert signer.read(signed(signer.keys, tmp_path, reserved=True)).payload == PAYLOAD


def test_an_image_larger_than_its_slot_is_refused(signer: Signer, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="exceeds requested size 0x1000"):
        signed(signer.keys, tmp_path, {"slot-size": "0x1000"})


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("1.0.0-rc.1", "MCUboot knows no pre-releases, and 1.0.0-rc.1 is one."),
        ("256.0.0", "MCUboot's header cannot hold the version 256.0.0."),
        ("1.256.0", "MCUboot's header cannot hold the version 1.256.0."),
        ("1.0.65536", "MCUboot's header cannot hold the version 1.0.65536."),
    ],
)
def test_versions_that_mcuboot_has_not(version: str, message: str) -> None:
    with pytest.raises(BundleError) as caught:
        image_version(version, 0)
    assert caught.value.message == message
    assert "--setting image=none" in caught.value.hint


def test_versions_as_imgtool_takes_them() -> None:
    assert image_version("255.255.65535", 0) == "255.255.65535"
    assert image_version("1.0.0", 12) == "1.0.0+12"


@every_algorithm
def test_another_key_is_refused(signers: Signers, algorithm: Algorithm, tmp_path: Path) -> None:
    other = make_keys(tmp_path / "other", algorithms={"mcuboot": algorithm})
    certificate = checked_certificate(read_trust(other), "mcuboot", NOW)
    with pytest.raises(IntegrityError, match=r"model.bin was signed with another key than mcuboot.crt\."):
        read_image(signers(algorithm).image, certificate, name="model.bin")
    with pytest.raises(IntegrityError, match=r"imgtool refuses model.bin: .*"):
        check_image(signers(algorithm).image, certificate, tmp_path, name="model.bin")


@pytest.mark.slow
def test_another_kind_of_key_is_refused(signers: Signers) -> None:
    with pytest.raises(IntegrityError, match="not signed with the kind of key"):
        signers("p256").read(signers("ed25519").image)


@every_algorithm
def test_a_flipped_bit_anywhere_is_refused(signers: Signers, algorithm: Algorithm) -> None:
    signer = signers(algorithm)
    generator = random.Random(20261121)
    ends = (*range(HEADER.size), *range(len(signer.image) - 120, len(signer.image)))
    for at in {*ends, *generator.sample(range(len(signer.image)), FLIPS)}:
        data = bytearray(signer.image)
        data[at] ^= 1 << generator.randrange(8)
        with pytest.raises(IntegrityError, match=r"^model.bin .*\.$"):
            signer.read(bytes(data))


def test_missing_and_added_bytes_are_refused(signer: Signer) -> None:
    image = signer.image
    for data in (b"", image[:31], image[:600], image[:-1], image + b"\0", image + image, image[1:]):
        with pytest.raises(IntegrityError):
            signer.read(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_reason(data: bytes) -> None:
    certificate = object()  # never asked: no signature gets that far
    for tail in (data, struct.pack("<I", 0x96F3B83D) + data):
        with pytest.raises(IntegrityError):
            read_image(tail, certificate, name="x")  # type: ignore[arg-type]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 3000), length=st.integers(0, 3000), put=st.binary(max_size=40))
def test_whatever_is_spliced_only_the_image_itself_is_accepted(
    signer: Signer, start: int, length: int, put: bytes
) -> None:
    data = signer.image[:start] + put + signer.image[start + length :]
    if data == signer.image:
        return
    with pytest.raises(IntegrityError, match=r"^model.bin .*\.$"):
        read_image(data, checked(signer.keys), name="model.bin")


def areas(image: bytes) -> tuple[bytes, bytes, bytes]:
    """Header and payload, protected TLVs, the others."""
    _, _, header, protected, size, *_ = HEADER.unpack_from(image)
    return image[: header + size], image[header + size : header + size + protected], image[header + size + protected :]


def area(magic: int, *entries: tuple[int, bytes]) -> bytes:
    body = b"".join(AREA.pack(kind, len(value)) + value for kind, value in entries)
    return AREA.pack(magic, AREA.size + len(body)) + body


def test_what_imgtool_would_not_see_is_refused_too(signer: Signer) -> None:
    body, protected, rest = areas(signer.image)
    assert protected == area(0x6908, (COUNTER, (0x01020003).to_bytes(4, "little")))
    doubled = AREA.pack(0x6907, len(rest) + 36) + AREA.pack(SHA256, 32) + bytes(32) + rest[AREA.size :]
    with pytest.raises(IntegrityError, match="entries of its own"):
        signer.read(body + protected + doubled)
    with pytest.raises(IntegrityError, match="not as long as it says"):
        signer.read(body + protected + AREA.pack(0x6907, 4) + rest[AREA.size :])
    with pytest.raises(IntegrityError, match="goes beyond its list"):
        signer.read(body + protected + AREA.pack(0x6907, 10) + AREA.pack(SHA256, 99) + b"xx")
    flagged = bytearray(signer.image)
    flagged[16] |= 0x10
    with pytest.raises(IntegrityError, match="a header that edgekit does not write"):
        signer.read(bytes(flagged))


def test_an_image_without_a_security_counter_is_refused(signer: Signer) -> None:
    body, _, rest = areas(signer.image)
    header = bytearray(body)
    header[10:12] = bytes(2)
    with pytest.raises(IntegrityError, match="has no security counter"):
        signer.read(bytes(header) + rest)


def request_for(artifact: Artifact, keys: Path, scratch: Path, **settings: str) -> ExtrasRequest:
    scratch.mkdir()
    return ExtrasRequest(artifact=artifact, version="1.2.3", keys=keys, settings=settings, scratch=scratch)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return tiny_artifact(tmp_path_factory.mktemp("micro") / "artifact")


def test_the_tree_has_the_package_and_the_image(signer: Signer, artifact: Artifact, tmp_path: Path) -> None:
    made = extras(request_for(artifact, signer.keys, tmp_path / "scratch"))
    assert signer.read(made[MODEL_IMAGE]).payload == artifact.model.read_bytes()
    assert FIRMWARE_IMAGE not in made
    assert {"mcu/CMakeLists.txt", "mcu/src/demo_model.h", "mcu/library.properties", "mcu/zephyr/module.yml"} <= set(
        made
    )


@pytest.mark.slow
def test_a_firmware_is_signed_beside_the_model(signer: Signer, artifact: Artifact, tmp_path: Path) -> None:
    firmware = tmp_path / "app.bin"
    firmware.write_bytes(b"\0\x80\0\x20" + bytes(996) + artifact.model.read_bytes() + bytes(50))
    made = extras(request_for(artifact, signer.keys, tmp_path / "a", firmware=str(firmware)))
    assert signer.read(made[FIRMWARE_IMAGE]).payload == firmware.read_bytes()
    alone = extras(request_for(artifact, signer.keys, tmp_path / "b", firmware=str(firmware), image="none"))
    assert FIRMWARE_IMAGE in alone
    assert MODEL_IMAGE not in alone


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\x7fELF" + bytes(2000), "is no raw binary of a firmware"),
        (b":10010000" + bytes(2000), "is no raw binary of a firmware"),
        (b"short", "is no raw binary of a firmware"),
        (b"\0\x80\0\x20" + bytes(2000), "does not hold this model"),
    ],
)
def test_a_firmware_that_is_none(
    signer: Signer, artifact: Artifact, tmp_path: Path, content: bytes | None, message: str
) -> None:
    firmware = tmp_path / "app.bin"
    if content is not None:
        firmware.write_bytes(content)
    with pytest.raises(BundleError, match=message) as caught:
        extras(request_for(artifact, signer.keys, tmp_path / "scratch", firmware=str(firmware)))
    assert caught.value.hint


def test_a_firmware_that_is_a_named_pipe_is_not_waited_for(signer: Signer, artifact: Artifact, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BundleError, match=r"pipe is a named pipe\.$"):
        extras(request_for(artifact, signer.keys, tmp_path / "scratch", firmware=str(tmp_path / "pipe")))


@pytest.mark.slow
def test_a_model_in_a_slot_of_its_own_is_said(signer: Signer, artifact: Artifact, tmp_path: Path) -> None:
    firmware = tmp_path / "app.bin"
    firmware.write_bytes(bytes(512) + b"\0\x80\0\x20" + bytes(996))
    settings = {"firmware": str(firmware), "firmware-model": "elsewhere"}
    made = extras(request_for(artifact, signer.keys, tmp_path / "scratch", **settings))
    assert signer.read(made[FIRMWARE_IMAGE]).payload == firmware.read_bytes()[512:]


def sealed(signer: Signer, artifact: Artifact, files: dict[str, bytes]) -> bytes:
    request = release_request(wanted(artifact, "mcu", signer.keys, Path("unused"), version="1.2.3"), None)
    return tar_of(build_tree(request, signer.keys, files))


def test_an_image_of_another_model_is_refused_though_the_tree_is_signed(
    signer: Signer, artifact: Artifact, tmp_path: Path
) -> None:
    data = sealed(signer, artifact, {MODEL_IMAGE: signer.image})
    assert detect(data) == "mcu"
    with pytest.raises(IntegrityError, match="holds another model than the artifact"):
        open_envelope(data, signer.trust, NOW)


@pytest.mark.slow
def test_an_image_of_another_version_is_refused(signer: Signer, artifact: Artifact, tmp_path: Path) -> None:
    settings = read_settings({})
    image = sign_image(artifact.model.read_bytes(), "1.2.4", settings, signer.keys, tmp_path, reserved=False)
    data = sealed(signer, artifact, {MODEL_IMAGE: image})
    with pytest.raises(IntegrityError, match=r"envelope says version 1.2.4, and release.json says 1.2.3"):
        verify_bytes(data, signer.trust, Policy(now=NOW))
    with pytest.raises(IntegrityError, match="Its images are of different versions"):
        open_envelope(sealed(signer, artifact, {MODEL_IMAGE: image, FIRMWARE_IMAGE: signer.image}), signer.trust, NOW)


def test_without_images_the_package_is_a_bundle_of_any_version(
    signer: Signer, artifact: Artifact, tmp_path: Path
) -> None:
    output = tmp_path / "bundle.tar"
    request = wanted(artifact, "mcu", signer.keys, output, version="1.0.0-rc.1", settings={"image": "none"})
    made = create_bundle(request, now=NOW)
    assert made.verified.format == "mcu"
    assert made.verified.tool is None
    assert check(output, signer.trust, tmp_path) is None


@pytest.mark.slow
def test_the_same_bundle_twice_is_the_same_bytes(signer: Signer, artifact: Artifact, tmp_path: Path) -> None:
    outputs = [tmp_path / f"{number}.tar" for number in range(2)]
    for output in outputs:
        create_bundle(wanted(artifact, "mcu", signer.keys, output), now=NOW)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.slow
def test_a_device_is_told_what_its_bootloader_needs(signers: Signers, artifact: Artifact) -> None:
    for algorithm, kind in (("p256", "ECDSA_P256"), ("ed25519", "ED25519"), ("rsa", "RSA")):
        found = device_files(None, signers(algorithm).trust, {})  # type: ignore[arg-type]
        assert f"CONFIG_BOOT_SIGNATURE_TYPE_{kind}=y" in found.notes[0]
        assert any("SECURITY_COUNTER" in note for note in found.notes)


def test_without_imgtool(signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.bundle.tools.sys.executable", "/nowhere/python")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BundleError, match="imgtool is not on this machine") as caught:
        signed(signer.keys, tmp_path)
    assert "edgekit[bundle]" in caught.value.hint
