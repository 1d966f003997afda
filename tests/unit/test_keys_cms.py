"""CMS as OpenSSL writes it: the one form that is accepted, and everything beside it that is not."""

import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import cms, core
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import IntegrityError
from edgekit.keys.cms import one_form, verify_cms
from edgekit.keys.ecdsa import ORDER, lower_s
from edgekit.keys.new import new_keys
from edgekit.keys.trust import read_trust
from edgekit.keys.types import Algorithm
from tests.unit.certificates import NOW, replace_leaf

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on this machine: apt install openssl"),
]
LONGEST_ECDSA = 72
"""Bytes of DER on P-256; RSA has more."""
CONTENT = b"software = { };\n"


def signed(keys: Path, *options: str, purpose: str = "cms", content: bytes = CONTENT) -> bytes:
    """As the update systems' own tools do it, again and again until ECDSA's s is the lower one."""
    while True:
        message = signed_once(keys, *options, purpose=purpose, content=content)
        value = cms.ContentInfo.load(message)["content"]["signer_infos"][0]["signature"].native
        if len(value) > LONGEST_ECDSA or lower_s(value) == value:
            return message


def signed_once(keys: Path, *options: str, purpose: str = "cms", content: bytes = CONTENT) -> bytes:
    """Whatever OpenSSL makes."""
    command = [
        "openssl", "cms", "-sign", "-outform", "DER", "-nosmimecap", "-binary",
        "-signer", str(keys / f"public/{purpose}.crt"), "-inkey", str(keys / f"private/{purpose}.key"), *options,
    ]  # fmt: skip
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cms") / "keys"
    new_keys(folder, algorithms={}, days=30, organization=None, ca=None, now=NOW)
    return folder


@pytest.fixture(scope="module")
def detached(keys: Path) -> bytes:
    return signed(keys)


@pytest.fixture(scope="module")
def attached(keys: Path) -> bytes:
    return signed(keys, "-nodetach")


def test_the_mirror_of_a_signature_is_refused_and_put_right_by_who_made_it(keys: Path, detached: bytes) -> None:
    """(r, n - s) is as good as (r, s), and needs no key."""
    info = cms.ContentInfo.load(detached)
    signer = info["content"]["signer_infos"][0]
    r, s = decode_dss_signature(signer["signature"].native)
    signer["signature"] = encode_dss_signature(r, ORDER - s)
    mirror = info.dump(force=True)
    trust = read_trust(keys)
    assert len(mirror) - len(detached) in {0, 1}
    with pytest.raises(IntegrityError, match="not in the one form"):
        verify_cms(mirror, CONTENT, trust, NOW)
    assert one_form(mirror, trust) == detached


@pytest.mark.parametrize("algorithm", ["p256", "rsa"])
def test_what_openssl_signs_verifies_attached_and_detached(tmp_path: Path, algorithm: Algorithm) -> None:
    keys = tmp_path / "keys"
    new_keys(keys, algorithms={"cms": algorithm}, days=30, organization=None, ca=None, now=NOW)
    trust = read_trust(keys / "public")
    assert verify_cms(signed(keys), CONTENT, trust, NOW) == CONTENT
    assert verify_cms(signed(keys, "-nodetach"), None, trust, NOW) == CONTENT
    assert verify_cms(signed(keys, content=b""), b"", trust, NOW) == b""


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_no_byte_of_a_signature_can_change_be_added_or_removed(
    keys: Path, detached: bytes, attached: bytes, step: int
) -> None:
    trust = read_trust(keys)
    for signature, content in ((detached, CONTENT), (attached, None)):
        assert verify_cms(signature, content, trust, NOW) == CONTENT
        for place in range(0, len(signature), step):
            flipped = bytearray(signature)
            flipped[place] ^= 1 << place % 8
            with pytest.raises(IntegrityError, match=r"The CMS signature is refused: .*\."):
                verify_cms(bytes(flipped), content, trust, NOW)
        for data in (signature + b"\0", signature[:-1], b"\0" + signature, signature * 2, b"", bytes(2**20 + 1)):
            with pytest.raises(IntegrityError, match=r"The CMS signature is refused: .*\."):
                verify_cms(data, content, trust, NOW)


def test_another_content_or_one_too_many_is_refused(keys: Path, detached: bytes, attached: bytes) -> None:
    trust = read_trust(keys)
    with pytest.raises(IntegrityError, match=r"its content is not what was signed\."):
        verify_cms(detached, CONTENT + b" ", trust, NOW)
    with pytest.raises(IntegrityError, match=r"it holds its content\."):
        verify_cms(attached, CONTENT, trust, NOW)
    with pytest.raises(IntegrityError, match=r"it holds no content\."):
        verify_cms(detached, None, trust, NOW)


@settings(max_examples=60)
@given(st.data())
def test_hostile_bytes_are_refused_and_nothing_else(keys: Path, attached: bytes, data: st.DataObject) -> None:
    cut, put = data.draw(st.integers(0, len(attached))), data.draw(st.binary(max_size=12))
    skip = data.draw(st.integers(0, 12))
    some = data.draw(st.sampled_from([attached[:cut] + put + attached[cut + skip :], put, attached[:cut] * 2]))
    if some != attached:
        with pytest.raises(IntegrityError):
            verify_cms(some, None, read_trust(keys), NOW)


def test_what_no_signature_covers_cannot_be_put_in(keys: Path, detached: bytes, tmp_path: Path) -> None:
    trust, authority = read_trust(keys), x509.load_pem_x509_certificate((keys / "public/ca.crt").read_bytes())

    def changed(name: str, value: object) -> bytes:
        info = cms.ContentInfo.load(detached)
        body = info["content"]
        if name in body.native:
            body[name] = value
        else:
            body["signer_infos"][0][name] = value
        return bytes(info.dump(force=True))

    assert changed("version", "v1") == detached
    leaf = cms.ContentInfo.load(detached)["content"]["certificates"][0].chosen
    unsigned = cms.CMSAttribute({"type": "counter_signature", "values": []})
    revoked = x509.CertificateRevocationListBuilder().issuer_name(authority.subject)
    revoked = revoked.last_update(NOW).next_update(NOW + timedelta(days=1))
    ca_key = load_pem_private_key((keys / "private/ca.key").read_bytes(), None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    revocations = cms.RevocationInfoChoices.load(
        b"\x31" + core.OctetString(revoked.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.DER)).dump()[1:]
    )
    null = cms.DigestAlgorithm({"algorithm": "sha256"})  # with a NULL beside it
    for name, value, cause in [
        ("unsigned_attrs", [unsigned], "not in the one form"),
        ("crls", revocations, "not in the one form"),
        ("digest_algorithms", [null], "not in the one form"),
        ("digest_algorithm", null, "not in the one form"),
        ("digest_algorithms", [], "not in the one form"),
        ("version", "v3", "not in the one form"),
        ("certificates", [leaf, leaf], "not by the cms certificate that is trusted, or brings others along"),
        ("certificates", [], "not by the cms certificate that is trusted|brings no certificate"),
        ("signer_infos", [], "it has 0 signers, and one is expected"),
    ]:
        with pytest.raises(IntegrityError, match=cause):
            verify_cms(changed(name, value), CONTENT, trust, NOW)


def test_content_under_another_type_is_refused(keys: Path) -> None:
    """A parsed structure where bytes are expected: the type beside the content is not signed."""
    inner = cms.ContentInfo({"content_type": "data", "content": CONTENT})["content"].dump()
    whole = signed(keys, "-nodetach", content=inner)
    data, digested = (cms.ContentType(name).dump() for name in ("data", "signed_data"))
    for place in (index for index in range(len(whole)) if whole.startswith(data, index)):
        changed = whole[:place] + digested + whole[place + len(data) :]
        with pytest.raises(
            IntegrityError, match=r"it does not sign plain data|is no CMS message|says that it does not"
        ):
            verify_cms(changed, None, read_trust(keys), NOW)


def test_other_ways_to_sign_are_refused(keys: Path) -> None:
    trust = read_trust(keys)
    release = ("-signer", str(keys / "public/mender.crt"), "-inkey", str(keys / "private/mender.key"))
    for options, cause in [
        (("-noattr",), "it has no signed attributes"),
        (("-nocerts",), "it brings no certificate"),
        (("-certfile", str(keys / "public/ca.crt")), "or brings others along"),
        (("-keyid",), "not in the one form"),
        (("-md", "sha512"), "its content is not what was signed"),
        (("-econtent_type", "1.2.3.4"), "it does not sign plain data"),
        (release, "it has 2 signers, and one is expected"),
    ]:
        with pytest.raises(IntegrityError, match=cause):
            verify_cms(signed(keys, *options), CONTENT, trust, NOW)
    encrypted = ["openssl", "cms", "-encrypt", "-outform", "DER", "-aes256", str(keys / "public/cms.crt")]
    made = subprocess.run(encrypted, input=CONTENT, capture_output=True, check=True).stdout
    with pytest.raises(IntegrityError, match="it is another kind of CMS message"):
        verify_cms(made, CONTENT, trust, NOW)


def test_a_signed_attribute_that_nobody_knows_is_refused(keys: Path) -> None:
    key = load_pem_private_key((keys / "private/cms.key").read_bytes(), None)
    certificate = x509.load_pem_x509_certificate((keys / "public/cms.crt").read_bytes())
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    builder = pkcs7.PKCS7SignatureBuilder().set_data(CONTENT).add_signer(certificate, key, hashes.SHA256())
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.NoCapabilities]
    made = builder.sign(Encoding.DER, options)
    info = cms.ContentInfo.load(made)
    info["content"]["signer_infos"][0]["signed_attrs"].append({"type": "1.2.3.4", "values": [core.Integer(1)]})
    with pytest.raises(IntegrityError, match=r"its signed attribute 1\.2\.3\.4 is not one that is known"):
        verify_cms(info.dump(force=True), CONTENT, read_trust(keys), NOW)


def test_another_key_of_the_same_ca_another_ca_and_an_expired_key_are_refused(
    keys: Path, detached: bytes, tmp_path: Path
) -> None:
    trust = read_trust(keys)
    with pytest.raises(IntegrityError, match="not by the cms certificate that is trusted"):
        verify_cms(signed(keys, purpose="mender"), CONTENT, trust, NOW)
    other = tmp_path / "other"
    new_keys(other, algorithms={}, days=30, organization=None, ca=None, now=NOW)
    with pytest.raises(IntegrityError, match="not by the cms certificate that is trusted"):
        verify_cms(signed(other), CONTENT, trust, NOW)
    (other / "public/cms.crt").write_bytes((keys / "public/cms.crt").read_bytes())
    with pytest.raises(IntegrityError, match="may not sign"):
        verify_cms(detached, CONTENT, read_trust(other), NOW)
    with pytest.raises(IntegrityError, match=r"cms\.crt expired"):
        verify_cms(detached, CONTENT, trust, NOW + timedelta(days=31))
    with pytest.raises(IntegrityError, match=r"is not valid before"):
        verify_cms(detached, CONTENT, trust, NOW - timedelta(days=1))


def test_a_certificate_for_another_purpose_is_refused_whatever_it_signed(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    new_keys(keys, algorithms={}, days=30, organization=None, ca=None, now=NOW)
    key = load_pem_private_key((keys / "private/cms.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    replace_leaf(keys, "cms", key=key)
    assert verify_cms(signed(keys), CONTENT, read_trust(keys), NOW) == CONTENT
    replace_leaf(keys, "cms", key=key, usages=(ExtendedKeyUsageOID.EMAIL_PROTECTION,))
    with pytest.raises(IntegrityError, match="must be codeSigning and nothing else"):
        verify_cms(signed(keys), CONTENT, read_trust(keys), NOW)
