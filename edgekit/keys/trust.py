"""What is trusted: which certificate, whether it may sign at this moment, and where the private key lies.

The chain is judged by cryptography's X.509 verifier (RFC 5280, with its Web PKI rules for the CA) under a policy of
our own for the leaf: it may sign code and nothing else.
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgekit.documents import read_bounded
from edgekit.errors import IntegrityError, KeysError
from edgekit.keys.certificates import algorithm_of, certificate_pem
from edgekit.keys.types import ALGORITHMS, PRIVATE, PUBLIC, Purpose, Trust

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.x509.verification import Policy

MAX_PEM_BYTES = 64 * 1024
OTHERS = 0o077
"""Of a file's mode: what group and others may."""


def read_trust(keys: Path) -> Trust:
    """The public keys of a folder of ``edgekit key new``, or of a folder that holds ca.crt itself.

    Raises IntegrityError where there is none: nothing is trusted without a key.
    """
    for folder in (keys / PUBLIC, keys):
        if (folder / "ca.crt").is_file():
            return Trust(folder=folder)
    raise IntegrityError(
        f"There is no key to check against: {keys} holds neither {PUBLIC}/ca.crt nor ca.crt.",
        hint="Give --keys the folder that `edgekit key new` wrote, or a copy of its public/ folder.",
    )


def read_certificate(trust: Trust, name: Purpose | Literal["ca"]) -> "x509.Certificate":
    """One certificate, not checked; raises IntegrityError when it is missing or no certificate."""
    from cryptography import x509

    path = trust.certificate(name)
    if not path.is_file():
        raise IntegrityError(
            f"There is no {name} key to check against: {path} is missing.",
            hint=f"Copy {path.name} from the public/ folder of the keys that the bundle was signed with.",
        )
    try:
        return x509.load_pem_x509_certificate(read_bounded(path, IntegrityError, limit=MAX_PEM_BYTES))
    except (ValueError, x509.InvalidVersion) as err:
        raise IntegrityError(
            f"{path} is no X.509 certificate in PEM: {err}.", hint="Copy it anew from the keys it belongs to."
        ) from err


def ca_pem(trust: Trust) -> bytes:
    """The CA's certificate for a device, and nothing else of its file: a private key may lie there, too.

    Raises IntegrityError when it is missing or no certificate.
    """
    return certificate_pem(read_certificate(trust, "ca"))


def checked_certificate(trust: Trust, purpose: Purpose, now: datetime) -> "x509.Certificate":
    """The certificate that signs for ``purpose``, good at ``now`` (aware); raises IntegrityError.

    It is a leaf directly below ca.crt, both are valid, its one extended key usage is codeSigning, its key usage says
    digitalSignature and not keyCertSign, it has no critical extension that nobody checked, and its key is of a kind
    that the purpose takes.
    """
    authority, leaf = read_certificate(trust, "ca"), read_certificate(trust, purpose)
    _check_moment(authority, trust.certificate("ca"), now)
    _check_moment(leaf, trust.certificate(purpose), now)
    check_leaf(leaf, authority, now, path=trust.certificate(purpose))
    if algorithm_of(leaf) not in ALGORITHMS[purpose]:
        raise IntegrityError(
            f"{trust.certificate(purpose)} has a key that {purpose} does not take.",
            hint=f"It takes {', '.join(ALGORITHMS[purpose])}: `edgekit key new --algorithm {purpose}=...`.",
        )
    return leaf


def check_leaf(leaf: "x509.Certificate", authority: "x509.Certificate", now: datetime, *, path: Path) -> None:
    """Chain and purpose of one certificate; raises IntegrityError that names ``path``."""
    from cryptography import x509
    from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

    signer = (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_leaf)
        .require_present(x509.KeyUsage, Criticality.AGNOSTIC, _signs)
        .require_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _signs_code)
    )
    try:
        verifier = (
            PolicyBuilder()
            .store(Store([authority]))
            .time(now)
            .max_chain_depth(0)  # nothing between the CA and the leaf
            .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=signer)
            .build_client_verifier()
        )
        chain = verifier.verify(leaf, []).chain
    except (VerificationError, ValueError) as err:
        raise _may_not_sign(path, str(err).partition("\n")[0].rstrip(".")) from err
    if chain != [leaf, authority]:  # what is in the store is trusted, whatever signed it
        raise _may_not_sign(path, "it is its own CA")


def private_key(keys: Path, purpose: Purpose | Literal["ca"]) -> Path:
    """The private key's file; raises KeysError when it is missing or others may read it."""
    path = keys / PRIVATE / f"{purpose}.key"
    try:
        missing = not path.is_file()
    except OSError as err:
        raise KeysError(
            f"{path} cannot be read: {err.strerror}.", hint="Sign as the owner of the keys, whom alone they are for."
        ) from err
    if missing:
        raise KeysError(
            f"{path} is missing: signing needs the private {purpose} key.",
            hint="Give --keys the folder that `edgekit key new` wrote, with its private/ folder.",
        )
    mode = path.stat().st_mode & 0o777
    if mode & OTHERS:
        raise KeysError(
            f"{path} can be read or written by others (mode {mode:04o}).",
            hint=f"Run `chmod 600 {path}`; if others were here, make new keys.",
        )
    return path


def _check_moment(certificate: "x509.Certificate", path: Path, now: datetime) -> None:
    if now > certificate.not_valid_after_utc:
        raise IntegrityError(
            f"{path} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC.",
            hint="Renew it: `edgekit key new --ca OLD --output NEW`, then sign the bundle again.",
        )
    if now < certificate.not_valid_before_utc:
        raise IntegrityError(
            f"{path} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC.",
            hint=f"This machine's clock says {now:%Y-%m-%d %H:%M}; correct it if it is wrong.",
        )


def _is_leaf(_policy: "Policy", _certificate: "x509.Certificate", value: "x509.BasicConstraints") -> None:
    if value.ca:
        raise ValueError("it is a CA itself")


def _signs(_policy: "Policy", _certificate: "x509.Certificate", value: "x509.KeyUsage") -> None:
    if not value.digital_signature or value.key_cert_sign:
        raise ValueError("its key usage must be digitalSignature, without keyCertSign")


def _signs_code(_policy: "Policy", _certificate: "x509.Certificate", value: "x509.ExtendedKeyUsage") -> None:
    from cryptography.x509.oid import ExtendedKeyUsageOID

    if list(value) != [ExtendedKeyUsageOID.CODE_SIGNING]:
        raise ValueError("its extended key usage must be codeSigning and nothing else")


def _may_not_sign(path: Path, why: str) -> IntegrityError:
    return IntegrityError(
        f"{path} may not sign: it is no code signing certificate below ca.crt ({why}).",
        hint="Use certificate and CA of one `edgekit key new`; docs/keys.md says what a certificate must state.",
    )
