"""What may sign: chain, purpose and expiry, at a moment that is given."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from edgekit.errors import IntegrityError, KeysError
from edgekit.keys.new import new_keys
from edgekit.keys.trust import checked_certificate, private_key, read_certificate, read_trust
from edgekit.keys.types import ALGORITHMS, Trust
from tests.unit.certificates import NOW, UNKNOWN, replace_leaf

pytestmark = pytest.mark.unit


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    new_keys(tmp_path / "keys", algorithms={}, days=30, organization="Tests", ca=None, now=NOW)
    return tmp_path / "keys"


def test_every_purpose_may_sign_from_the_first_second_to_the_last(keys: Path) -> None:
    trust = read_trust(keys)
    for purpose in ALGORITHMS:
        for moment in (NOW, NOW + timedelta(days=30)):
            assert checked_certificate(trust, purpose, moment) == read_certificate(trust, purpose)
        with pytest.raises(IntegrityError, match=rf"{purpose}.crt expired on 2026-12-01 12:00 UTC\.") as failure:
            checked_certificate(trust, purpose, NOW + timedelta(days=30, seconds=1))
        assert "key new --ca" in failure.value.hint
        with pytest.raises(
            IntegrityError, match=rf"{purpose}.crt is not valid before 2026-11-01 12:00 UTC\.|ca.crt is"
        ):
            checked_certificate(trust, purpose, NOW - timedelta(seconds=1))


def test_the_public_folder_alone_is_enough_and_nothing_is_refused(keys: Path, tmp_path: Path) -> None:
    assert read_trust(keys) == Trust(folder=keys / "public") == read_trust(keys / "public")
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(IntegrityError, match="There is no key to check against"):
            read_trust(folder)


@pytest.mark.parametrize("name", ["ca", "cms"])
def test_a_missing_or_broken_certificate_is_a_refusal(keys: Path, name: str) -> None:
    path = keys / f"public/{name}.crt"
    path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(IntegrityError, match=rf"{name}.crt is no X.509 certificate in PEM"):
        checked_certificate(read_trust(keys), "cms", NOW)
    trust = read_trust(keys)
    path.unlink()
    with pytest.raises(IntegrityError, match=rf"There is no {name} key to check against"):
        checked_certificate(trust, "cms", NOW)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"usages": (ExtendedKeyUsageOID.SERVER_AUTH,)}, "extended key usage must be codeSigning and nothing else"),
        (
            {"usages": (ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.CLIENT_AUTH)},
            "extended key usage must be codeSigning and nothing else",
        ),
        ({"usages": (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)}, "extended key usage must be codeSigning"),
        ({"usages": None}, "may not sign"),
        ({"usage": None}, "may not sign"),
        ({"usage": "key_cert_sign"}, "key usage must be digitalSignature, without keyCertSign"),
        ({"usage": "key_agreement"}, "key usage must be digitalSignature"),
        ({"ca": True}, "it is a CA itself"),
        ({"ca": None}, "may not sign"),
        ({"extra": UNKNOWN}, "may not sign"),
        ({"starts": NOW + timedelta(days=1)}, "is not valid before 2026-11-02"),
        ({"days": 0.5}, "expired on 2026-11-01 00:00"),
        ({"key": ec.generate_private_key(ec.SECP384R1())}, "has a key that cms does not take"),
    ],
)
def test_a_certificate_for_anything_else_may_not_sign(keys: Path, changes: dict[str, Any], cause: str) -> None:
    replace_leaf(keys, "cms")
    checked_certificate(read_trust(keys), "cms", NOW)  # the builder itself makes good ones
    replace_leaf(keys, "cms", **changes)
    with pytest.raises(IntegrityError, match=cause):
        checked_certificate(read_trust(keys), "cms", NOW)


def test_the_ca_itself_and_a_leaf_of_another_one_of_the_same_name_may_not_sign(keys: Path, tmp_path: Path) -> None:
    new_keys(tmp_path / "other", algorithms={}, days=30, organization="Tests", ca=None, now=NOW)
    replace_leaf(keys, "cms", issuer_keys=tmp_path / "other")
    with pytest.raises(IntegrityError, match="may not sign"):
        checked_certificate(read_trust(keys), "cms", NOW)
    (keys / "public/cms.crt").write_bytes((keys / "public/ca.crt").read_bytes())
    with pytest.raises(IntegrityError, match="may not sign"):
        checked_certificate(read_trust(keys), "cms", NOW)


def test_a_leaf_is_no_ca_for_others_nor_for_itself(keys: Path, tmp_path: Path) -> None:
    new_keys(tmp_path / "fake", algorithms={}, days=30, organization="Tests", ca=None, now=NOW)
    for kind in ("crt", "key"):  # a leaf of keys as the CA of fake
        folder = "public" if kind == "crt" else "private"
        (tmp_path / f"fake/{folder}/ca.{kind}").write_bytes((keys / f"{folder}/cms.{kind}").read_bytes())
    replace_leaf(tmp_path / "fake", "release")
    with pytest.raises(IntegrityError, match="may not sign"):
        checked_certificate(read_trust(tmp_path / "fake"), "release", NOW)
    (tmp_path / "fake/public/cms.crt").write_bytes((keys / "public/cms.crt").read_bytes())
    with pytest.raises(IntegrityError, match="it is its own CA"):
        checked_certificate(read_trust(tmp_path / "fake"), "cms", NOW)


def test_a_private_key_is_there_and_only_its_owners(keys: Path) -> None:
    path = private_key(keys, "mender")
    assert path == keys / "private/mender.key"
    path.chmod(0o640)
    with pytest.raises(KeysError, match=r"mender.key can be read or written by others \(mode 0640\)") as failure:
        private_key(keys, "mender")
    assert f"chmod 600 {path}" in failure.value.hint
    with pytest.raises(KeysError, match=r"cms.key is missing: signing needs the private cms key"):
        private_key(keys / "public", "cms")


def test_the_clock_is_in_any_zone(keys: Path) -> None:
    moment = NOW.astimezone(datetime.now(UTC).astimezone().tzinfo)
    checked_certificate(read_trust(keys), "cms", moment)
