"""Private keys in memory: read where a signature is made by us, compared with their certificate, never shown."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgekit.documents import read_bounded
from edgekit.errors import KeysError
from edgekit.keys.certificates import algorithm_of
from edgekit.keys.trust import MAX_PEM_BYTES, private_key, read_certificate, read_trust
from edgekit.keys.types import Purpose

if TYPE_CHECKING:
    from cryptography import x509

    from edgekit.keys.certificates import PrivateKey


def matching_key(keys: Path, purpose: Purpose) -> Path:
    """The private key's file for a tool that signs; raises KeysError and IntegrityError as ``read_private_key``."""
    read_private_key(keys, purpose, read_certificate(read_trust(keys), purpose))
    return private_key(keys, purpose)


def read_private_key(keys: Path, name: Purpose | Literal["ca"], certificate: "x509.Certificate") -> "PrivateKey":
    """The key that belongs to ``certificate``; raises KeysError, without a word of what is in the file."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path = private_key(keys, name)
    pem = read_bounded(path, KeysError, limit=MAX_PEM_BYTES)
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise KeysError(
            f"{path} is encrypted, and the tools of the formats take no password.",
            hint="Decrypt it for the time of signing: `openssl pkcs8 -in KEY -out KEY.plain`, then rename it.",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        # from None: what the parser says of a file must not repeat what is in it
        raise KeysError(f"{path} is no private key in PEM.", hint="Restore it from your copy.") from None
    if key.public_key() != certificate.public_key():
        raise KeysError(
            f"{path} does not belong to {name}.crt.", hint="Use private/ and public/ of one `edgekit key new`."
        )
    if algorithm_of(key) is None:
        raise KeysError(f"{path} is neither ed25519, p256 nor rsa.", hint="Make it with `edgekit key new`.")
    return key  # type: ignore[return-value]  # algorithm_of knows it
