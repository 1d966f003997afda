"""CMS (RFC 5652) as SWUpdate and RAUC write it with OpenSSL, in one form only.

One signer by certificate, SHA-256, signed attributes, no others; the certificate is the trusted one and the only one;
no revocation lists. What no signature covers is written again from what must be there and compared, so that no byte
can change.
"""

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

from edgekit.errors import IntegrityError, KeysError
from edgekit.keys.ecdsa import lower_s
from edgekit.keys.types import UNTRUSTED, Trust

if TYPE_CHECKING:
    from asn1crypto import cms
    from cryptography import x509

MAX_SIGNATURE_BYTES = 2**20
"""With what it holds: RAUC's manifest, SWUpdate's nothing."""
ATTRIBUTES = {"content_type", "message_digest", "signing_time", "smime_capabilities"}
"""What a signer states; the first two must be there."""
SHA256_DER = bytes.fromhex("300b0609608648016503040201")
"""SHA-256 without parameters, as OpenSSL writes it (RFC 5754, 2); asn1crypto would add a NULL."""
SET_OF = b"\x31"
"""Signed attributes are signed under this tag and sent under another (RFC 5652, 5.4)."""


def verify_cms(signature: bytes, content: bytes | None, trust: Trust, now: datetime) -> bytes:
    """The content, if ``signature`` (DER) is the ``cms`` key's over it and that key is good at ``now``.

    ``content`` is None where the signature holds it. Raises IntegrityError, and KeysError without asn1crypto.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    from edgekit.keys.trust import checked_certificate

    certificate = checked_certificate(trust, "cms", now)
    signed = _parse(signature)
    held, signer = signed["encap_content_info"]["content"].native, signed["signer_infos"][0]
    if (held is None) == (content is None):
        raise _refused("it holds its content" if content is not None else "it holds no content")
    if [item.dump() for item in signed["certificates"]] != [certificate.public_bytes(Encoding.DER)]:
        raise _refused("it is not by the cms certificate that is trusted, or brings others along")
    message = held if content is None else content
    _check_attributes(signer["signed_attrs"], message)
    _check_signature(certificate, signer)
    if _write(certificate, signed) != signature:
        raise _refused("it is not in the one form that edgekit accepts")
    return bytes(message)


def one_form(signature: bytes, trust: Trust) -> bytes:
    """A CMS message that OpenSSL made a moment ago with the ``cms`` key, as ``verify_cms`` takes it.

    Its ECDSA has the higher s in half of all cases. Raises IntegrityError, and KeysError without asn1crypto.
    """
    from edgekit.keys.trust import read_certificate

    return _write(read_certificate(trust, "cms"), _parse(signature))


def _parse(signature: bytes) -> "cms.SignedData":
    try:
        from asn1crypto import cms
    except ImportError as err:
        raise KeysError("asn1crypto is not installed.", hint="Run `pip install 'edgekit[bundle]'`.") from err
    if len(signature) > MAX_SIGNATURE_BYTES:
        raise _refused(f"it has {len(signature):,} bytes, more than {MAX_SIGNATURE_BYTES:,}")
    try:
        info = cms.ContentInfo.load(signature, strict=True)
        if info["content_type"].native != "signed_data":
            raise _refused("it is another kind of CMS message")
        signed = info["content"]
        _ = signed.native  # reads all of it: parts are parsed on first use
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, AttributeError) as err:
        # asn1crypto lets out whatever its decoding runs into
        raise _refused("it is no CMS message") from err
    if signed["encap_content_info"]["content_type"].native != "data":
        raise _refused("it does not sign plain data")
    if len(signed["signer_infos"]) != 1:
        raise _refused(f"it has {len(signed['signer_infos'])} signers, and one is expected")
    if not isinstance(signed["certificates"].native, list):
        raise _refused("it brings no certificate")
    if not isinstance(signed["signer_infos"][0]["signed_attrs"].native, list):
        raise _refused("it has no signed attributes")
    return signed


def _check_attributes(attributes: Any, message: bytes) -> None:
    named: dict[str, Any] = {}
    for attribute in attributes:
        name = attribute["type"].native
        if name not in ATTRIBUTES or name in named or len(attribute["values"]) != 1:
            raise _refused(f"its signed attribute {name} is not one that is known, or there twice")
        named[name] = attribute["values"][0].native
    if named.get("content_type") != "data":
        raise _refused("it says that it does not sign plain data")
    if named.get("message_digest") != hashlib.sha256(message).digest():
        raise _refused("its content is not what was signed")


def _check_signature(certificate: "x509.Certificate", signer: "cms.SignerInfo") -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    attributes = SET_OF + signer["signed_attrs"].dump()[1:]
    key, value = certificate.public_key(), signer["signature"].native
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(value, attributes, ec.ECDSA(SHA256()))
        else:
            assert isinstance(key, rsa.RSAPublicKey)  # noqa: S101 - of the kinds that ALGORITHMS gives to cms
            key.verify(value, attributes, padding.PKCS1v15(), SHA256())
    except InvalidSignature as err:
        raise _refused("it does not fit: something was changed, or another key signed") from err


def _write(certificate: "x509.Certificate", signed: "cms.SignedData") -> bytes:
    """The message as it must be; from ``signed`` come only the content and what its signature covers, and that."""
    from asn1crypto import cms
    from asn1crypto import x509 as asn1_x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import Encoding

    leaf = asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))
    elliptic = isinstance(certificate.public_key(), EllipticCurvePublicKey)
    sha256 = cms.DigestAlgorithm.load(SHA256_DER)
    signer = signed["signer_infos"][0]
    value = signer["signature"].native
    identifier = cms.IssuerAndSerialNumber({"issuer": leaf.issuer, "serial_number": leaf.serial_number})
    written = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(name="issuer_and_serial_number", value=identifier),
            "digest_algorithm": sha256,
            "signed_attrs": signer["signed_attrs"],
            "signature_algorithm": {"algorithm": "sha256_ecdsa" if elliptic else "rsassa_pkcs1v15"},
            "signature": lower_s(value) if elliptic else value,
        }
    )
    content = {"content_type": "data", "content": signed["encap_content_info"]["content"].native}
    if content["content"] is None:
        del content["content"]
    body = {
        "version": "v1",
        "digest_algorithms": [sha256],
        "encap_content_info": content,
        "certificates": [leaf],
        "signer_infos": [written],
    }
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(body)}).dump())


def _refused(why: str) -> IntegrityError:
    return IntegrityError(f"The CMS signature is refused: {why}.", hint=UNTRUSTED)
