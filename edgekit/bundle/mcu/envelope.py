"""The format ``mcu``: the release tree as a canonical tar, with a source package and MCUboot images below ``mcu/``.

The tar is what ``tar`` writes: every byte is under the tree's signature or canonical. The images are signed once more,
by the key that MCUboot on the board holds: that signature is what the board checks.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.artifact import MANIFEST
from edgekit.bundle import tar
from edgekit.bundle.archives.tar import read_tar
from edgekit.bundle.entries import Release
from edgekit.bundle.envelopes import ExtrasRequest
from edgekit.bundle.mcu.image import Image, read_image
from edgekit.bundle.mcu.imgtool import check_image, sign_image
from edgekit.bundle.mcu.package import source_package
from edgekit.bundle.mcu.settings import SETTINGS, ImageSettings, read_settings
from edgekit.bundle.mcu.view import view_of
from edgekit.bundle.refusal import refused
from edgekit.bundle.sealed import read_sealed
from edgekit.bundle.types import ARTIFACT, CreateRequest, DeviceFiles, Opened, ToolCheck, Tree
from edgekit.documents import parse_json
from edgekit.entries import Manifest
from edgekit.errors import BundleError, IntegrityError
from edgekit.keys.types import Trust

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["SETTINGS", "SUFFIX", "check", "create", "device_files", "extras", "open_envelope"]

SUFFIX = ".mcu.tar"
FOLDER = "mcu"
MODEL_IMAGE = f"{FOLDER}/mcuboot/model.bin"
FIRMWARE_IMAGE = f"{FOLDER}/mcuboot/firmware.bin"
IMAGES = (MODEL_IMAGE, FIRMWARE_IMAGE)
MAX_FIRMWARE_BYTES = 64 * 2**20
"""Many times the flash of any microcontroller."""
FLOOR = (
    "Only a bootloader that compares security counters refuses older images: CONFIG_MCUBOOT_HW_DOWNGRADE_PREVENTION=y "
    "with a counter in hardware, or CONFIG_MCUBOOT_DOWNGRADE_PREVENTION=y and "
    "CONFIG_MCUBOOT_DOWNGRADE_PREVENTION_SECURITY_COUNTER=y, which compares with the installed image."
)
CONFIRMED = (
    "The firmware confirms its image (boot_write_img_confirmed() in Zephyr) after RunSelfTest() of the source package "
    "returned 0: otherwise MCUboot swaps the old one back at the next start."
)
BOOT_TYPES = {"p256": "ECDSA_P256", "ed25519": "ED25519", "rsa": "RSA"}
"""Algorithm -> CONFIG_BOOT_SIGNATURE_TYPE_... of MCUboot in Zephyr."""


def extras(request: ExtrasRequest) -> Mapping[str, bytes]:
    """The source package and the signed images, by their paths in the tree.

    Raises BundleError for an artifact that TFLite Micro does not run, a setting or version that cannot be, a firmware
    that does not hold the model, a missing imgtool; KeysError where the keys cannot sign.
    """
    settings = read_settings(request.settings)
    view = view_of(request.artifact, request.version)
    firmware = _read_firmware(settings, view.model)
    package = source_package(view)
    images = {}
    if settings.model:
        images[MODEL_IMAGE] = _signed(view.model, request, settings, reserved=False)
    if firmware is not None:
        # a firmware begins with its stack pointer, never zero, unless the linker left room for the header
        reserved = not any(firmware[: settings.header_bytes])
        images[FIRMWARE_IMAGE] = _signed(firmware, request, settings, reserved=reserved)
    return {**{f"{FOLDER}/{path}": data for path, data in package.items()}, **images}


def _signed(payload: bytes, request: ExtrasRequest, settings: ImageSettings, *, reserved: bool) -> bytes:
    return sign_image(payload, request.version, settings, request.keys, request.scratch, reserved=reserved)


def _read_firmware(settings: ImageSettings, model: bytes) -> bytes | None:
    """The user's binary, which holds the model that is released with it."""
    if settings.firmware is None:
        return None
    if settings.firmware.is_fifo():  # would be waited for
        raise BundleError(f"{settings.firmware} is a named pipe.", hint="Give the binary of your build, a file.")
    try:
        with settings.firmware.open("rb") as stream:
            data = stream.read(MAX_FIRMWARE_BYTES + 1)
    except OSError as err:
        raise BundleError(
            f"The firmware {settings.firmware} cannot be read: {err.strerror or err}.",
            hint="Give the binary of your build: arm-none-eabi-objcopy -O binary firmware.elf firmware.bin.",
        ) from err
    if not settings.header_bytes < len(data) <= MAX_FIRMWARE_BYTES or data[:1] == b":" or data[:4] == b"\x7fELF":
        raise BundleError(
            f"{settings.firmware} is no raw binary of a firmware.",
            hint="Make one: arm-none-eabi-objcopy -O binary firmware.elf firmware.bin.",
        )
    if settings.firmware_holds_model and model not in data:
        raise BundleError(
            f"{settings.firmware} does not hold this model: it was linked with another one, or with none.",
            hint="Build it with the source package of this artifact, or say that the model has a slot of its own: "
            "--setting firmware-model=elsewhere.",
        )
    return data


def create(request: CreateRequest) -> Path:
    """Write the payload as it is."""
    return tar.create(request)


def open_envelope(data: bytes, trust: Trust, now: datetime) -> Opened:
    """The file is the payload; the images in it are good, too.

    Each holds what it says: the model of the tree, signed by the key of mcuboot.crt, with a security counter. Raises
    IntegrityError.
    """
    from edgekit.keys.trust import checked_certificate

    tree = read_sealed(data, trust, now)
    present = [path for path in IMAGES if path in tree.files]
    if not present:
        return Opened(payload=data, version=None, hardware=None)
    certificate = checked_certificate(trust, "mcuboot", now)
    versions = {image.release for image in _images(tree, certificate)}
    if len(versions) > 1:
        raise refused(f"Its images are of different versions: {', '.join(sorted(versions))}.")
    return Opened(payload=data, version=versions.pop(), hardware=None)


def _images(tree: Tree, certificate: "x509.Certificate") -> Iterator[Image]:
    for path in IMAGES:
        if path not in tree.files:
            continue
        image = read_image(tree.files[path], certificate, name=path)
        if path == MODEL_IMAGE and image.payload != _model(tree):
            raise refused(f"{path} holds another model than the artifact.")
        yield image


def _model(tree: Tree) -> bytes:
    manifest = parse_json(tree.files[f"{ARTIFACT}/{MANIFEST}"], Manifest, IntegrityError, where=MANIFEST)
    return tree.files[f"{ARTIFACT}/{manifest.model}"]


def check(path: Path, trust: Trust, scratch: Path) -> ToolCheck | None:
    """Let imgtool verify every image with the key of mcuboot.crt; None where there are none."""
    from edgekit.keys.trust import read_certificate

    images = {member.name: member.data for member in read_tar(path.read_bytes()) if member.name in IMAGES}
    checks = [
        check_image(data, read_certificate(trust, "mcuboot"), scratch, name=name) for name, data in images.items()
    ]
    return checks[0] if checks else None


def device_files(release: Release, trust: Trust, settings: Mapping[str, str]) -> DeviceFiles:  # noqa: ARG001
    """What MCUboot is built with: the public key, and a security counter that refuses older images."""
    from edgekit.keys.certificates import algorithm_of, public_pem
    from edgekit.keys.trust import read_certificate

    public = trust.public_key("mcuboot").name
    certificate = read_certificate(trust, "mcuboot")
    kind = BOOT_TYPES.get(algorithm_of(certificate) or "", "...")
    key = (
        f"MCUboot is built with the public key: in Zephyr by CONFIG_BOOT_SIGNATURE_TYPE_{kind}=y and "
        f'CONFIG_BOOT_SIGNATURE_KEY_FILE="{public}", elsewhere by what '
        f"`imgtool getpub --key {public} --encoding lang-c` writes."
    )
    return DeviceFiles(files={public: public_pem(certificate)}, notes=(key, FLOOR, CONFIRMED))
