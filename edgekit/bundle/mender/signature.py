"""The signature of a manifest as Mender writes it, in one form only: base64 of ECDSA's r and s, or of RSA PKCS#1 v1.5.

Both over SHA-256. mender-artifact's own ECDSA is random; ours follows RFC 6979, so that the same release gives the same
file. Of the two values of s that are good, the lower one is written and accepted.
"""

import base64
import binascii
from datetime import datetime
from pathlib import Path

from edgekit.bundle.refusal import refused
from edgekit.keys.ecdsa import ORDER, lower_s
from edgekit.keys.types import Trust

HALF_BYTES = 32
"""Of r and of s on P-256."""


def sign_manifest(manifest: bytes, keys: Path) -> bytes:
    """``manifest.sig`` by the ``mender`` key of the folder ``keys``.

    Raises KeysError where the key is missing, readable by others or not the certificate's; IntegrityError where there
    is no certificate.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
    from cryptography.hazmat.primitives.hashes import SHA256

    from edgekit.keys.private import read_private_key
    from edgekit.keys.trust import read_certificate, read_trust

    key = read_private_key(keys, "mender", read_certificate(read_trust(keys), "mender"))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        signature = lower_s(key.sign(manifest, ec.ECDSA(SHA256(), deterministic_signing=True)))
        return base64.b64encode(b"".join(n.to_bytes(HALF_BYTES, "big") for n in utils.decode_dss_signature(signature)))
    return base64.b64encode(key.sign(manifest, padding.PKCS1v15(), SHA256()))  # type: ignore[call-arg]  # rsa


def verify_manifest(manifest: bytes, signature: bytes, trust: Trust, now: datetime) -> None:
    """Raise IntegrityError where ``signature`` is not what ``sign_manifest`` writes with a key good at ``now``."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
    from cryptography.hazmat.primitives.hashes import SHA256

    from edgekit.keys.trust import checked_certificate

    key = checked_certificate(trust, "mender", now).public_key()
    value = _decode(signature)
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            r, s = (int.from_bytes(half, "big") for half in (value[:HALF_BYTES], value[HALF_BYTES:]))
            if len(value) != 2 * HALF_BYTES or s > ORDER // 2:
                raise refused("Its signature is not in the one form that edgekit accepts.")
            key.verify(utils.encode_dss_signature(r, s), manifest, ec.ECDSA(SHA256()))
        else:
            assert isinstance(key, rsa.RSAPublicKey)  # noqa: S101 - of the kinds that ALGORITHMS gives to mender
            key.verify(value, manifest, padding.PKCS1v15(), SHA256())
    except InvalidSignature as err:
        raise refused("Its manifest is not what was signed, or another key signed it.") from err


def _decode(signature: bytes) -> bytes:
    try:
        value = base64.b64decode(signature, validate=True)
    except binascii.Error as err:
        raise refused("Its signature is no base64.") from err
    if base64.b64encode(value) != signature:
        raise refused("Its signature is not in the one form that edgekit accepts.")
    return value
