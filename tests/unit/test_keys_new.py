"""A folder of keys: whole or not there, its private half nobody else's."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509.oid import NameOID

from edgekit.errors import IntegrityError, KeysError
from edgekit.keys.certificates import USAGES, certificate_pem, new_key, private_pem
from edgekit.keys.new import new_keys
from edgekit.keys.show import find_problems, show_keys
from edgekit.keys.trust import checked_certificate, read_certificate, read_trust
from edgekit.keys.types import ALGORITHMS, Algorithm, Keys, Purpose
from tests.unit.certificates import NOW, replace_leaf

if TYPE_CHECKING:
    from edgekit.keys.certificates import PrivateKey

pytestmark = pytest.mark.unit


def made(folder: Path, **changes: Any) -> Keys:
    return new_keys(folder, **{"algorithms": {}, "days": 90, "organization": None, "ca": None, "now": NOW, **changes})


def test_a_folder_holds_every_purpose_and_its_private_half_is_the_owners_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        keys = made(tmp_path / "deep/keys")
    finally:
        os.umask(old)
    folder = tmp_path / "deep/keys"
    assert (folder / ".gitignore").read_text() == "private/\n"
    assert sorted(path.name for path in (folder / "private").iterdir()) == sorted(
        f"{name}.key" for name in ("ca", *ALGORITHMS)
    )
    assert {path.stat().st_mode & 0o777 for path in (folder / "private").iterdir()} == {0o600}
    assert (folder / "private").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.parent.iterdir()] == ["keys"]
    assert [(entry.purpose, entry.algorithm) for entry in keys.keys] == [
        ("ca", "p256"), ("release", "ed25519"), ("cms", "p256"), ("mender", "p256"), ("mcuboot", "p256"),
    ]  # fmt: skip
    assert {entry.expires - NOW for entry in keys.keys[1:]} == {timedelta(days=90)}
    assert keys.keys[0].expires - NOW == timedelta(days=3650)
    assert show_keys(folder) == keys
    for purpose in ALGORITHMS:
        private = load_pem_private_key((folder / f"private/{purpose}.key").read_bytes(), None)
        public = load_pem_public_key((folder / f"public/{purpose}.pub").read_bytes())
        assert private.public_key() == public == read_certificate(read_trust(folder), purpose).public_key()


@pytest.mark.parametrize(
    ("algorithms", "begins"),
    [({"mender": "p256"}, "EC PRIVATE KEY"), ({"mender": "rsa"}, "RSA PRIVATE KEY"), ({"mcuboot": "ed25519"}, None)],
)
def test_keys_are_written_as_the_tools_read_them(
    tmp_path: Path, algorithms: Mapping[Purpose, Algorithm], begins: str | None
) -> None:
    keys = made(tmp_path / "keys", algorithms=algorithms)
    ((purpose, algorithm),) = algorithms.items()
    assert next(entry for entry in keys.keys if entry.purpose == purpose).algorithm == algorithm
    text = (tmp_path / f"keys/private/{purpose}.key").read_text()
    assert text.startswith(f"-----BEGIN {begins or 'PRIVATE KEY'}-----\n")
    checked_certificate(read_trust(tmp_path / "keys"), purpose, NOW)


def test_what_exists_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("keys", "link"):
        with pytest.raises(KeysError, match=r"exists already, and keys are never overwritten\."):
            made(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys", "link"]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"days": 0}, "valid for 0 days signs nothing"),
        ({"days": 4_000_000}, "after the year 9999"),
        ({"organization": "x" * 65}, "no organization for a certificate"),
        ({"organization": "a\nb"}, "no organization for a certificate"),
        ({"algorithms": {"cms": "ed25519"}}, "ed25519 is no algorithm for cms"),
    ],
)
def test_impossible_wishes_are_errors_and_leave_nothing(tmp_path: Path, changes: dict[str, Any], cause: str) -> None:
    with pytest.raises(KeysError, match=cause):
        made(tmp_path / "keys", **changes)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeysError, match=r"file/keys cannot be written: "):
        made(tmp_path / "file/keys")


def test_renewed_keys_are_below_the_same_ca_whose_key_stays_where_it_is(tmp_path: Path) -> None:
    made(tmp_path / "old", organization="Acme")
    later = NOW + timedelta(days=80)
    keys = made(tmp_path / "new", ca=tmp_path / "old", now=later)
    assert (tmp_path / "new/public/ca.crt").read_bytes() == (tmp_path / "old/public/ca.crt").read_bytes()
    assert not (tmp_path / "new/private/ca.key").exists()
    assert not keys.keys[0].private
    leaf = checked_certificate(read_trust(tmp_path / "new"), "cms", later + timedelta(days=90))
    assert leaf.subject.rfc4514_string() == "CN=cms,O=Acme"
    assert leaf.serial_number != read_certificate(read_trust(tmp_path / "old"), "cms").serial_number
    with pytest.raises(KeysError, match=r"private/ca.key is missing") as missing:
        made(tmp_path / "third", ca=tmp_path / "new", now=later)
    assert missing.value.hint.startswith("Give --ca the folder")


def test_a_ca_that_cannot_sign_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "old")
    with pytest.raises(KeysError, match=r"The CA expires on 2036-10-29, before a key of 90 days would"):
        made(tmp_path / "new", ca=tmp_path / "old", now=NOW + timedelta(days=3600))
    with pytest.raises(KeysError, match=r"The CA of .* is valid from 2026-11-01 to 2036-10-29, not now"):
        made(tmp_path / "new", ca=tmp_path / "old", now=NOW + timedelta(days=3651))
    (tmp_path / "old/private/ca.key").write_bytes((tmp_path / "old/private/cms.key").read_bytes())
    with pytest.raises(KeysError, match=r"ca.key does not belong to ca.crt"):
        made(tmp_path / "new", ca=tmp_path / "old")
    with pytest.raises(IntegrityError, match="There is no key to check against"):
        made(tmp_path / "new", ca=tmp_path)
    assert not (tmp_path / "new").exists()


def own_ca(folder: Path, key: "PrivateKey", *, ca: bool = True) -> Path:
    """A CA as another tool makes it: no key identifiers, no organization."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Own CA")])
    builder = x509.CertificateBuilder().issuer_name(name).subject_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=400))
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    usage = x509.KeyUsage(**{item: item == "key_cert_sign" for item in USAGES})
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    certificate = builder.add_extension(usage, critical=True).sign(key, digest)
    for part in ("public", "private"):
        (folder / part).mkdir(parents=True)
    (folder / "public/ca.crt").write_bytes(certificate_pem(certificate))
    (folder / "private/ca.key").write_bytes(private_pem(key, "ca"))
    (folder / "private/ca.key").chmod(0o600)
    return folder


def test_a_ca_of_ones_own_signs_keys_where_it_may(tmp_path: Path) -> None:
    keys = made(tmp_path / "keys", ca=own_ca(tmp_path / "own", new_key("p256")))
    assert find_problems(keys, NOW) == ()
    assert read_certificate(read_trust(tmp_path / "keys"), "cms").subject.rfc4514_string() == "CN=cms,O=edgekit"
    for number, folder in enumerate(
        (own_ca(tmp_path / "leaf", new_key("p256"), ca=False), own_ca(tmp_path / "ed25519", new_key("ed25519")))
    ):
        with pytest.raises(KeysError, match=r"holds no CA that can sign keys for code\. A key may not sign"):
            made(tmp_path / str(number), ca=folder)


@pytest.mark.parametrize(
    "text", ["", "secret-words", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----"]
)
def test_no_error_repeats_what_is_in_a_private_file(tmp_path: Path, text: str) -> None:
    made(tmp_path / "old")
    (tmp_path / "old/private/ca.key").write_text(text)
    with pytest.raises(KeysError, match=r"ca.key is no private key in PEM\.") as failure:
        made(tmp_path / "new", ca=tmp_path / "old")
    assert failure.value.__cause__ is None
    assert "secret" not in str(failure.value)


def test_what_is_wrong_with_keys_is_found(tmp_path: Path) -> None:
    keys = made(tmp_path / "keys")
    assert find_problems(keys, NOW) == ()
    assert find_problems(keys, NOW + timedelta(days=60)) == ()
    soon = find_problems(keys, NOW + timedelta(days=60, seconds=1))
    assert [(finding.name, finding.severity) for finding in soon] == [
        (f"{purpose}-expires", "warning") for purpose in ALGORITHMS
    ]
    assert soon[0].message == "The release key expires in 29 days."
    (tmp_path / "keys/private/cms.key").chmod(0o644)
    replace_leaf(tmp_path / "keys", "mender", usages=None)
    assert [(finding.name, finding.severity) for finding in find_problems(keys, NOW)] == [
        ("mender-refused", "error"), ("cms-readable", "error"),
    ]  # fmt: skip
    late = find_problems(keys, NOW + timedelta(days=91))
    assert sum(finding.name.endswith("-refused") for finding in late) == len(ALGORITHMS)


@pytest.mark.slow
def test_killed_at_any_moment_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from datetime import datetime, UTC\n"
        "from edgekit.keys import certificates, private, show, new; import cryptography.x509\n"
        "print('ready', flush=True)\n"
        "new.new_keys(Path(sys.argv[1]), algorithms={}, days=9, organization=None, ca=None, now=datetime.now(UTC))\n"
    )
    whole = 0
    for number in range(12):
        folder = tmp_path / f"keys{number}"
        process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(number * 0.004)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        if folder.exists():
            whole += 1
            assert len(show_keys(folder).keys) == 5
    assert whole < 12
    for left in tmp_path.glob(".keys*.part"):  # a killed process cannot clean up; nobody takes it for keys
        assert left.stat().st_mode & 0o777 == 0o700
