"""The small PKI: one CA, below it a leaf for every purpose that may sign code and nothing else (RFC 5280)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from edgekit.errors import KeysError
from edgekit.keys.types import Algorithm, Purpose

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

RSA_BITS = 3072
"""The most that MCUboot, Mender, SWUpdate and RAUC take alike; as strong as P-256 (NIST SP 800-57 part 1, table 2)."""
MIN_RSA_BITS = 2048
"""Shorter ones are broken sooner or later (NIST SP 800-131A)."""
MAX_NAME = 64
"""Characters of an organization (RFC 5280, appendix A.1: ub-organization-name)."""
USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A private key and its certificate."""

    key: "PrivateKey"
    certificate: "x509.Certificate"

    def __repr__(self) -> str:
        return f"Pair({self.certificate.subject.rfc4514_string()})"  # nothing of the key


def new_key(algorithm: Algorithm) -> "PrivateKey":
    """From the operating system's random numbers."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if algorithm == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)


def algorithm_of(key: object) -> Algorithm | None:
    """Of a private or public key, or of the one in a certificate; None where it is none of ours, or too short."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, x509.Certificate):
        try:
            return algorithm_of(key.public_key())
        except (UnsupportedAlgorithm, ValueError):
            return None
    if isinstance(key, ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        return "p256" if isinstance(key.curve, ec.SECP256R1) else None
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        return "rsa" if key.key_size >= MIN_RSA_BITS else None
    return None


def new_ca(organization: str, *, now: datetime, days: int) -> Pair:
    """A self-signed P-256 CA that may sign leaves and nothing below them; raises KeysError for an impossible name."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    key = new_key("p256")
    name = _name(organization, "edgekit signing CA")
    builder = _builder(name, name, key, now=now, expires=_later(now, days))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage("key_cert_sign"), critical=True)
    return Pair(key=key, certificate=builder.sign(key, hashes.SHA256()))


def new_leaf(ca: Pair, purpose: Purpose, algorithm: Algorithm, *, organization: str, now: datetime, days: int) -> Pair:
    """A leaf for signing code; raises KeysError where it would outlive its CA."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID

    expires = _later(now, days)
    if expires > ca.certificate.not_valid_after_utc:
        raise KeysError(
            f"The CA expires on {ca.certificate.not_valid_after_utc:%Y-%m-%d}, before a key of {days} days would.",
            hint="Give fewer --days, or make a new CA (without --ca) and bring its ca.crt to the devices first.",
        )
    key = new_key(algorithm)
    issuer = ca.certificate
    builder = _builder(issuer.subject, _name(organization, purpose), key, now=now, expires=expires)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage("digital_signature"), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
    builder = builder.add_extension(_authority(issuer), critical=False)
    digest = None if algorithm_of(ca.key) == "ed25519" else hashes.SHA256()
    return Pair(key=key, certificate=builder.sign(ca.key, digest))


def private_pem(key: "PrivateKey", purpose: Purpose | Literal["ca"]) -> bytes:
    """PKCS#8, not encrypted; mender-artifact reads RSA keys as PKCS#1 and elliptic ones as SEC 1 only."""
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL if purpose == "mender" else serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def certificate_pem(certificate: "x509.Certificate") -> bytes:
    """As openssl writes it."""
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)


def public_pem(certificate: "x509.Certificate") -> bytes:
    """SubjectPublicKeyInfo."""
    from cryptography.hazmat.primitives import serialization

    return certificate.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _authority(issuer: "x509.Certificate") -> "x509.AuthorityKeyIdentifier":
    from cryptography import x509

    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:  # the CA of a PKI of one's own
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _builder(
    issuer: "x509.Name", subject: "x509.Name", key: "PrivateKey", *, now: datetime, expires: datetime
) -> "x509.CertificateBuilder":
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_seconds(now))
        .not_valid_after(expires)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(organization: str, common_name: str) -> "x509.Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    if not (1 <= len(organization) <= MAX_NAME and organization.isprintable()):
        raise KeysError(
            f"{organization!r} is no organization for a certificate.",
            hint=f"Give --organization 1 to {MAX_NAME} characters that can be printed.",
        )
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _usage(allowed: str) -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(**{usage: usage == allowed for usage in USAGES})


def _seconds(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)  # what a certificate can say


def _later(now: datetime, days: int) -> datetime:
    try:
        return _seconds(now) + timedelta(days=days)
    except OverflowError as err:
        raise KeysError(f"{days} days from now is after the year 9999.", hint="Give fewer --days.") from err
