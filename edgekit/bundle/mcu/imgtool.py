"""MCUboot's imgtool: signs an image, and says what it thinks of one.

ECDSA signatures are made here, by RFC 6979, and put into the image by imgtool: its own have a random nonce, and the
same release would be another one each time. Ed25519 has none. RSA-PSS has a random salt by definition.
"""

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.agent.versions import parse
from edgekit.bundle.mcu.settings import ImageSettings
from edgekit.bundle.refusal import refused
from edgekit.bundle.tools import find_tool, make, run_tool
from edgekit.bundle.types import ToolCheck
from edgekit.errors import BundleError
from edgekit.versions import version_of

if TYPE_CHECKING:
    from cryptography import x509

INSTALL = 'Install it: pip install "edgekit[bundle]".'
LIMITS = (0xFF, 0xFF, 0xFFFF)
"""Major, minor, revision in the image's header."""


def image_version(version: str, build: int) -> str:
    """A release's version as imgtool takes it; raises BundleError where the header cannot hold it."""
    parsed = parse(version)
    if not parsed.final:
        raise BundleError(
            f"MCUboot knows no pre-releases, and {version} is one.",
            hint="Give a final version and tell candidates apart by --setting build-number=N, or leave the image out: "
            "--setting image=none.",
        )
    if any(number > limit for number, limit in zip(parsed.core, LIMITS, strict=True)):
        raise BundleError(
            f"MCUboot's header cannot hold the version {version}.",
            hint="It has room for 255.255.65535; leave the image out with --setting image=none.",
        )
    return f"{version}+{build}" if build else version


def sign_image(
    payload: bytes, version: str, settings: ImageSettings, keys: Path, scratch: Path, *, reserved: bool
) -> bytes:
    """The signed image of ``payload``; ``reserved``: it begins with the header's room already, as zeros.

    Raises BundleError where imgtool is missing or refuses (such as an image larger than its slot), KeysError.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    from edgekit.keys.private import read_private_key
    from edgekit.keys.trust import private_key, read_certificate, read_trust

    tool = find_tool("imgtool", install=INSTALL)
    source, target = scratch / "unsigned.bin", scratch / "image.bin"
    source.write_bytes(payload)
    command = [tool, "sign", *_options(version, settings), *(() if reserved else ("--pad-header",))]
    key = read_private_key(keys, "mcuboot", read_certificate(read_trust(keys), "mcuboot"))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        vector, signature = scratch / "vector.bin", scratch / "signature.txt"
        make([*command, "--vector-to-sign", "payload", str(source), str(vector)])
        signed = key.sign(vector.read_bytes(), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        signature.write_bytes(base64.b64encode(signed))
        public = read_trust(keys).public_key("mcuboot")
        command += ["--fix-sig", str(signature), "--fix-sig-pubkey", str(public)]
    else:
        command += ["--key", str(private_key(keys, "mcuboot"))]
    make([*command, str(source), str(target)])
    return target.read_bytes()


def _options(version: str, settings: ImageSettings) -> list[str]:
    counter = "auto" if settings.security_counter is None else str(settings.security_counter)
    return [
        *("--version", image_version(version, settings.build), "--security-counter", counter),
        *("--header-size", str(settings.header_bytes), "--slot-size", str(settings.slot_bytes)),
        *("--align", str(settings.align)),
    ]


def check_image(data: bytes, certificate: "x509.Certificate", scratch: Path, *, name: str) -> ToolCheck:
    """What ``imgtool verify`` says; raises IntegrityError when it refuses, BundleError where it is not installed."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    tool = find_tool("imgtool", install=INSTALL)
    image, key = scratch / "image.bin", scratch / "mcuboot.pub"
    image.write_bytes(data)
    key.write_bytes(certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    ran = run_tool([tool, "verify", "--key", str(key), str(image)])
    if ran.status != 0:
        last = ran.output.strip().splitlines()[-1:] or ["it says nothing"]
        raise refused(f"imgtool refuses {name}: {last[0][:200]}.")
    return ToolCheck(tool="imgtool", version=version_of("imgtool"), checked="hash and signature of the images")
