"""DSSE: what was signed comes back, and no byte of the envelope can be another."""

import base64
import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.documents import write_json
from edgekit.errors import IntegrityError, KeysError
from edgekit.keys import dsse
from edgekit.keys.dsse import sign_dsse, verify_dsse
from edgekit.keys.ecdsa import ORDER
from edgekit.keys.new import new_keys
from edgekit.keys.trust import read_trust
from edgekit.keys.types import Algorithm
from tests.unit.certificates import NOW, replace_leaf

pytestmark = pytest.mark.unit
KIND = "application/vnd.in-toto+json"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dsse") / "keys"
    new_keys(folder, algorithms={}, days=30, organization=None, ca=None, now=NOW)
    return folder


@pytest.fixture(scope="module")
def envelope(keys: Path) -> bytes:
    return sign_dsse(b"what it says", KIND, keys)


@pytest.mark.parametrize("algorithm", ["ed25519", "p256", "rsa"])
def test_signed_twice_is_the_same_bytes_and_verifies(tmp_path: Path, algorithm: Algorithm) -> None:
    keys = tmp_path / "keys"
    new_keys(keys, algorithms={"release": algorithm}, days=30, organization=None, ca=None, now=NOW)
    data = sign_dsse(b"payload\x00\xff", KIND, keys)
    assert data == sign_dsse(b"payload\x00\xff", KIND, keys)
    assert verify_dsse(data, KIND, read_trust(keys), NOW) == b"payload\x00\xff"
    assert verify_dsse(data, KIND, read_trust(keys / "public"), NOW) == b"payload\x00\xff"


def test_the_mirror_of_a_signature_is_refused(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    new_keys(keys, algorithms={"release": "p256"}, days=30, organization=None, ca=None, now=NOW)
    value = json.loads(sign_dsse(b"payload", KIND, keys))
    r, s = decode_dss_signature(base64.b64decode(value["signatures"][0]["sig"]))
    assert s <= ORDER // 2
    value["signatures"][0]["sig"] = base64.b64encode(encode_dss_signature(r, ORDER - s)).decode()
    with pytest.raises(IntegrityError, match="not in the one form"):
        verify_dsse(write_json(value), KIND, read_trust(keys), NOW)


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_no_byte_can_change_be_added_or_removed(keys: Path, envelope: bytes, step: int) -> None:
    trust = read_trust(keys)
    for place in range(0, len(envelope), step):
        flipped = bytearray(envelope)
        flipped[place] ^= 1 << place % 8
        changed = [bytes(flipped), envelope[:place], envelope[:place] + b" " + envelope[place:]]
        changed.append(envelope[:place] + envelope[place + 1 :])
        for data in changed:
            with pytest.raises(IntegrityError, match=r"The release's signature is refused: .*\."):
                verify_dsse(data, KIND, trust, NOW)


@settings(max_examples=40)
@given(st.data())
def test_hostile_bytes_are_refused_and_nothing_else(keys: Path, envelope: bytes, data: st.DataObject) -> None:
    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
    )
    fields = dict.fromkeys(("payload", "payloadType", "signatures"), json_values)
    some = data.draw(
        st.one_of(
            st.binary(max_size=200),
            json_values.map(lambda value: json.dumps(value).encode()),
            st.fixed_dictionaries(fields).map(lambda value: json.dumps(value).encode()),
            st.tuples(st.integers(0, len(envelope)), st.binary(max_size=9)).map(
                lambda cut: envelope[: cut[0]] + cut[1] + envelope[cut[0] + len(cut[1]) :]
            ),
        )
    )
    if some != envelope:
        with pytest.raises(IntegrityError):
            verify_dsse(some, KIND, read_trust(keys), NOW)


def changed(envelope: bytes, **fields: object) -> bytes:
    return write_json({**json.loads(envelope), **fields})


def test_another_type_another_key_more_or_no_signatures_are_refused(
    keys: Path, envelope: bytes, tmp_path: Path
) -> None:
    trust = read_trust(keys)
    (signature,) = json.loads(envelope)["signatures"]
    other = tmp_path / "other"
    new_keys(other, algorithms={}, days=30, organization=None, ca=keys, now=NOW)  # of the same CA
    (foreign,) = json.loads(sign_dsse(b"what it says", KIND, other))["signatures"]
    for data, cause in [
        (sign_dsse(b"what it says", "text/plain", keys), r"it signs 'text/plain' and not 'application"),
        (changed(envelope, signatures=[]), "not signed by the release key that is trusted"),
        (changed(envelope, signatures=[foreign]), "not signed by the release key that is trusted"),
        (changed(envelope, signatures=[signature, foreign]), "or not by that key alone"),
        (changed(envelope, signatures=[signature, signature]), "it is no DSSE envelope"),
        (changed(envelope, signatures=[{**signature, "keyid": foreign["keyid"]}]), "not signed by the release key"),
        (changed(envelope, signatures=[{**foreign, "keyid": signature["keyid"]}]), "its signature does not fit"),
        (changed(envelope, signatures=[{**signature, "note": "x"}]), "not in the one form"),
        (changed(envelope, payload=base64.b64encode(b"other").decode()), "its signature does not fit"),
        (changed(envelope, more=1), "not in the one form that edgekit writes"),
        (json.dumps(json.loads(envelope)).encode(), "not in the one form that edgekit writes"),
        (b"[" * 100_000, "it is no DSSE envelope"),
    ]:
        with pytest.raises(IntegrityError, match=cause):
            verify_dsse(data, KIND, trust, NOW)
    assert verify_dsse(changed(envelope), KIND, trust, NOW) == b"what it says"


def test_a_key_that_expired_or_may_not_sign_is_refused(keys: Path, envelope: bytes, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"release.crt expired on"):
        verify_dsse(envelope, KIND, read_trust(keys), NOW + timedelta(days=31))
    new_keys(tmp_path / "keys", algorithms={}, days=30, organization=None, ca=None, now=NOW)
    replace_leaf(tmp_path / "keys", "release", usages=None)
    with pytest.raises(IntegrityError, match="may not sign"):
        verify_dsse(envelope, KIND, read_trust(tmp_path / "keys"), NOW)
    with pytest.raises(KeysError, match=r"release.key does not belong to release.crt\."):
        sign_dsse(b"x", KIND, tmp_path / "keys")


def test_a_bomb_is_refused_before_it_is_read(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsse, "MAX_ENVELOPE_BYTES", 100)
    with pytest.raises(IntegrityError, match="it has 101 bytes, more than 100"):
        verify_dsse(b"{" * 101, KIND, read_trust(keys), NOW)
