"""Certificates of any kind for tests: what `edgekit key new` would never make, below its CA."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from edgekit.keys.certificates import USAGES

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
CODE = (ExtendedKeyUsageOID.CODE_SIGNING,)
UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


def replace_leaf(
    keys: Path,
    purpose: str,
    *,
    usages: Sequence[ObjectIdentifier] | None = CODE,
    usage: str | None = "digital_signature",
    ca: bool | None = False,
    starts: datetime = NOW - timedelta(days=1),
    days: float = 100,
    extra: x509.ExtensionType | None = None,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    issuer_keys: Path | None = None,
) -> None:
    """Write ``purpose``.crt anew, signed by the CA of ``issuer_keys``; None leaves an extension out."""
    issuer_folder = issuer_keys or keys
    issuer = x509.load_pem_x509_certificate((issuer_folder / "public/ca.crt").read_bytes())
    issuer_key = load_pem_private_key((issuer_folder / "private/ca.key").read_bytes(), None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .issuer_name(issuer.subject)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, purpose)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(starts + timedelta(days=days))
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if usage is not None:
        builder = builder.add_extension(x509.KeyUsage(**{name: name == usage for name in USAGES}), critical=True)
    if usages is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if extra is not None:
        builder = builder.add_extension(extra, critical=True)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    (keys / f"public/{purpose}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
