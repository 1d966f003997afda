"""DSSE: a payload, its type and one signature over both (secure-systems-lab/dsse, protocol 1.0).

Of an envelope every byte counts: it is canonical JSON (``documents.write_json``), and what no signature covers, the
key's name and the spelling of base64, can be written in one way only. Signatures are deterministic: ed25519, ECDSA by
RFC 6979, RSA by PKCS#1 v1.5.
"""

import base64
import binascii
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.documents import write_json
from edgekit.errors import IntegrityError
from edgekit.keys.ecdsa import lower_s
from edgekit.keys.types import UNTRUSTED, Trust

if TYPE_CHECKING:
    from cryptography import x509
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import Signature, SSlibKey

    from edgekit.keys.certificates import PrivateKey

MAX_ENVELOPE_BYTES = 8 * 2**20
RSA_SCHEME = "rsa-pkcs1v15-sha256"
"""securesystemslib's default, PSS, draws a random salt: another file every time."""


def sign_dsse(payload: bytes, payload_type: str, keys: Path) -> bytes:
    """The envelope as JSON, signed by the ``release`` key of the folder ``keys``; the same bytes every time.

    Raises KeysError where the key is missing, readable by others or not the certificate's; IntegrityError where there
    is no certificate.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import Signature

    from edgekit.keys.private import read_private_key
    from edgekit.keys.trust import read_certificate, read_trust

    certificate = read_certificate(read_trust(keys), "release")
    key = read_private_key(keys, "release", certificate)
    envelope = Envelope(payload, payload_type, {})
    keyid = _public_key(certificate).keyid
    envelope.signatures[keyid] = Signature(keyid, _sign(key, envelope.pae()).hex())
    return write_json(envelope.to_dict())


def verify_dsse(data: bytes, payload_type: str, trust: Trust, now: datetime) -> bytes:
    """The payload, if ``data`` is exactly what ``sign_dsse`` writes and the release key is good at ``now``.

    Raises IntegrityError.
    """
    from securesystemslib.exceptions import VerificationError

    from edgekit.keys.trust import checked_certificate

    key = _public_key(checked_certificate(trust, "release", now))
    envelope = _parse(data)
    if envelope.payload_type != payload_type:
        raise _refused(f"it signs {envelope.payload_type!r} and not {payload_type!r}")
    if list(envelope.signatures) != [key.keyid]:
        raise _refused("it is not signed by the release key that is trusted, or not by that key alone")
    try:
        envelope.verify([key], threshold=1)
    except VerificationError as err:
        raise _refused("its signature does not fit: it was changed, or signed with another key") from err
    signature = bytes.fromhex(envelope.signatures[key.keyid].signature)
    if key.keytype == "ecdsa" and lower_s(signature) != signature:
        raise _refused("its signature is not in the one form that edgekit writes")
    return envelope.payload


def _parse(data: bytes) -> "Envelope":
    from securesystemslib.dsse import Envelope

    if len(data) > MAX_ENVELOPE_BYTES:
        raise _refused(f"it has {len(data):,} bytes, more than {MAX_ENVELOPE_BYTES:,}")
    try:
        envelope = Envelope.from_dict(json.loads(data))
        again = write_json({**envelope.to_dict(), "signatures": [_bare(item) for item in envelope.signatures.values()]})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error) as err:
        raise _refused("it is no DSSE envelope") from err
    if again != data:
        raise _refused("its JSON is not in the one form that edgekit writes")
    return envelope


def _bare(signature: "Signature") -> dict[str, str]:
    """Without fields that nobody knows, which securesystemslib keeps."""
    return {"keyid": signature.keyid, "sig": base64.b64encode(bytes.fromhex(signature.signature)).decode()}


def _refused(why: str) -> IntegrityError:
    return IntegrityError(f"The release's signature is refused: {why}.", hint=UNTRUSTED)


def _public_key(certificate: "x509.Certificate") -> "SSlibKey":
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from securesystemslib.signer import SSlibKey

    key = certificate.public_key()
    return SSlibKey.from_crypto(key, scheme=RSA_SCHEME if isinstance(key, RSAPublicKey) else None)


def _sign(key: "PrivateKey", data: bytes) -> bytes:
    """As securesystemslib's CryptoSigner, whose ECDSA is random."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
    from cryptography.hazmat.primitives.hashes import SHA256

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return lower_s(key.sign(data, ec.ECDSA(SHA256(), deterministic_signing=True)))
    return key.sign(data, padding.PKCS1v15(), SHA256())
