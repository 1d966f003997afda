"""An MCUboot image, read strictly: every byte is accounted for, its hash and its signature are checked here.

Layout (docs/design.md and boot/bootutil/include/bootutil/image.h of MCUboot): a header of 32 bytes, padding up to the
header's size, the image, a protected TLV area with the security counter, a TLV area with the SHA-256 over all of that,
the key's hash, and the signature. Nothing behind it. Pure.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.bundle.refusal import refused
from edgekit.errors import IntegrityError

if TYPE_CHECKING:
    from cryptography import x509

MAGIC = 0x96F3B83D
HEADER = struct.Struct("<IIHHIIBBHII")
"""Magic, load address, header size, size of the protected TLVs, image size, flags, version, padding."""
AREA = struct.Struct("<HH")
"""Magic, size of the whole area; a TLV itself is type and length in the same form."""
PROTECTED_MAGIC, UNPROTECTED_MAGIC = 0x6908, 0x6907
KEY_HASH, SHA256, RSA2048, ECDSA, RSA3072, ED25519, COUNTER = 0x01, 0x10, 0x20, 0x22, 0x23, 0x24, 0x50
RSA_TLVS = {2048: RSA2048, 3072: RSA3072}
PSS_SALT_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Image:
    """A signed image, whose hash and signature were checked."""

    version: tuple[int, int, int, int]
    """Major, minor, revision, build."""
    security_counter: int
    """0 to 2^32 - 1: MCUboot refuses an image below the one it has seen, where the hardware keeps it."""
    header_bytes: int
    payload: bytes
    """What was signed: a model, or a firmware with the padding for the header taken off."""

    @property
    def release(self) -> str:
        """The version without the build number: what a release says."""
        return ".".join(map(str, self.version[:3]))


def read_image(data: bytes, certificate: "x509.Certificate", *, name: str) -> Image:
    """The image in ``data``, signed by the key of ``certificate``; raises IntegrityError with one sentence.

    ``name``: for messages.
    """
    if len(data) < HEADER.size:
        raise refused(f"{name} is too short for an MCUboot image.")
    magic, load, header_bytes, protected_bytes, image_bytes, flags, *version, padding = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise refused(f"{name} is no MCUboot image: it does not begin with its magic number.")
    if load or flags or padding or header_bytes < HEADER.size:
        raise refused(f"{name} has a header that edgekit does not write.")
    end = header_bytes + image_bytes
    hashed = end + protected_bytes
    if hashed + AREA.size > len(data):
        raise refused(f"{name} is truncated: its header announces more than there is.")
    counter = _security_counter(data[end:hashed], name)
    _check_signature(data[:hashed], data[hashed:], certificate, name)
    return Image(
        version=(version[0], version[1], version[2], version[3]),
        security_counter=counter,
        header_bytes=header_bytes,
        payload=data[header_bytes:end],
    )


def _security_counter(area: bytes, name: str) -> int:
    """The one TLV of the protected area."""
    tlvs = dict(_tlvs(area, PROTECTED_MAGIC, name)) if area else {}
    if set(tlvs) != {COUNTER} or len(tlvs[COUNTER]) != 4:  # noqa: PLR2004 - uint32
        raise refused(f"{name} has no security counter, or other protected entries than edgekit writes.")
    return int.from_bytes(tlvs[COUNTER], "little")


def _check_signature(signed: bytes, area: bytes, certificate: "x509.Certificate", name: str) -> None:
    digest = hashlib.sha256(signed).digest()
    entries = list(_tlvs(area, UNPROTECTED_MAGIC, name))
    if [kind for kind, _ in entries] != [SHA256, KEY_HASH, _signature_tlv(certificate, name)]:
        raise refused(f"{name} is not signed with the kind of key that mcuboot.crt holds, or has entries of its own.")
    (_, said), (_, key_hash), (_, signature) = entries
    if said != digest:
        raise refused(f"{name} is not what its SHA-256 says: its bytes were changed.")
    if key_hash != hashlib.sha256(_public_bytes(certificate)).digest():
        raise refused(f"{name} was signed with another key than mcuboot.crt.")
    if not _is_signed(signature, signed, digest, certificate):
        raise refused(f"{name} has a signature that is not of mcuboot.crt.")


def _tlvs(area: bytes, magic: int, name: str) -> Iterator[tuple[int, bytes]]:
    """Type and value of each entry of an area that fills ``area`` to its last byte."""
    found, size = AREA.unpack_from(area) if len(area) >= AREA.size else (0, 0)
    if found != magic or size != len(area):
        raise refused(f"{name} has a list of entries that is not as long as it says, or bytes behind it.")
    at = AREA.size
    while at < size:
        if at + AREA.size > size:
            raise _cut(name)
        kind, length = AREA.unpack_from(area, at)
        at += AREA.size
        if at + length > size:
            raise _cut(name)
        yield kind, area[at : at + length]
        at += length


def _cut(name: str) -> IntegrityError:
    return refused(f"{name} has an entry that goes beyond its list.")


def _signature_tlv(certificate: "x509.Certificate", name: str) -> int:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    key = certificate.public_key()
    if isinstance(key, ed25519.Ed25519PublicKey):
        return ED25519
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return ECDSA
    if isinstance(key, rsa.RSAPublicKey) and key.key_size in RSA_TLVS:
        return RSA_TLVS[key.key_size]
    raise refused(f"{name} cannot be checked: mcuboot.crt holds a key that MCUboot does not take.")


def _public_bytes(certificate: "x509.Certificate") -> bytes:
    """The key as MCUboot has it: RSA in PKCS #1, the others as SubjectPublicKeyInfo."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = certificate.public_key()
    form = PublicFormat.PKCS1 if isinstance(key, rsa.RSAPublicKey) else PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(Encoding.DER, form)


def _is_signed(signature: bytes, signed: bytes, digest: bytes, certificate: "x509.Certificate") -> bool:
    """Ed25519 signs the digest, ECDSA and RSA-PSS the bytes (boot/bootutil/src/image_*.c)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    key = certificate.public_key()
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=PSS_SALT_BYTES)
            key.verify(signature, signed, pss, hashes.SHA256())
        else:
            return False
    except InvalidSignature:
        return False
    return True
