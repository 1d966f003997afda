"""What `edgekit bundle verify` promises, asked of every format: nothing but what was signed is accepted."""

import random
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.artifact import Artifact
from edgekit.bundle.archives.ar import read_ar, write_ar
from edgekit.bundle.archives.cpio import read_cpio, write_cpio
from edgekit.bundle.archives.tar import read_tar, write_tar
from edgekit.bundle.archives.types import Member
from edgekit.bundle.create import Created
from edgekit.bundle.entries import Format
from edgekit.bundle.envelopes import ENVELOPES, EXTRAS, load_envelope
from edgekit.bundle.tar import tar_of
from edgekit.bundle.verify import Policy, verify_bundle, verify_bytes
from edgekit.errors import IntegrityError, ToolMissingError
from edgekit.keys.trust import read_trust
from edgekit.keys.types import Trust
from edgekit.transport.agent_file import AgentFile
from tests.bundles import DAYS, NOW, create_request, make_bundle, make_keys, make_tree, tiny_artifact

SMALL_AGENT = AgentFile(data=b"agent", digest="0" * 64)
"""The real one is most of a small bundle, and only bytes here."""
FLIPS, CUTS = 100, 25
"""Sampled positions of a format in the fast tests."""
LATE = NOW + timedelta(days=DAYS, seconds=1)
EARLY = NOW - timedelta(days=2)
pytestmark = pytest.mark.unit


def each(names: Iterable[Format]) -> pytest.MarkDecorator:
    """One test a format; those of a format share a worker, which makes its bundles once."""
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=pytest.mark.xdist_group(f"bundle-{name}")) for name in names]
    )


every_format = each(ENVELOPES)


@dataclass(frozen=True)
class Workshop:
    """Keys, an artifact, and a bundle of each format, made once."""

    folder: Path
    keys: Path
    artifact: Artifact
    made: dict[tuple[Format, str], Created | ToolMissingError]

    @property
    def trust(self) -> Trust:
        return read_trust(self.keys)

    def path(self, name: Format, version: str = "1.2.0") -> Path:
        return self.created(name, version).path

    def created(self, name: Format, version: str = "1.2.0") -> Created:
        """The bundle of a format; skips where its tool is missing."""
        if (name, version) not in self.made:
            self.made[name, version] = self._make(name, version)
        made = self.made[name, version]
        if isinstance(made, ToolMissingError):
            pytest.skip(f"{made.message} {made.hint}")
        return made

    def bytes(self, name: Format, version: str = "1.2.0") -> bytes:
        return self.path(name, version).read_bytes()

    def _make(self, name: Format, version: str) -> Created | ToolMissingError:
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("edgekit.transport.agent_file.build_agent", lambda: SMALL_AGENT)
                return make_bundle(self.folder, name, keys=self.keys, artifact=self.artifact, version=version)
        except ToolMissingError as err:
            return err


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("bundles")
    return Workshop(folder, make_keys(folder / "keys"), tiny_artifact(folder / "artifact"), {})


def refusal(data: bytes, trust: Trust, policy: Policy | None = None) -> IntegrityError:
    """The refusal of these bytes: one clear sentence and a next step."""
    with pytest.raises(IntegrityError) as caught:
        verify_bytes(data, trust, policy or Policy(now=NOW))
    err = caught.value
    assert err.exit_code == 8
    assert err.message.endswith(".")
    assert "\n" not in err.message
    assert len(err.message) < 600
    assert err.hint
    return err


@every_format
def test_a_bundle_is_accepted_as_it_was_made(name: Format, shop: Workshop) -> None:
    with_tool = all(finding.name != "tool-not-asked" for finding in shop.created(name).findings)
    verified = verify_bundle(shop.path(name), shop.trust, Policy(now=NOW), with_tool=with_tool)
    assert (verified.format, verified.release.version) == (name, "1.2.0")
    assert verified.signers[0].purpose == "release"
    accepted = verify_bytes(shop.bytes(name), shop.trust, Policy(now=NOW))
    assert tar_of(accepted.tree) == accepted.opened.payload


@every_format
def test_no_private_key_is_in_a_bundle(name: Format, shop: Workshop) -> None:
    data, secrets = shop.bytes(name), sorted((shop.keys / "private").iterdir())
    assert len(secrets) == 5
    for path in secrets:
        key = load_pem_private_key(path.read_bytes(), None)
        if isinstance(key, ed25519.Ed25519PrivateKey):
            secret = key.private_bytes_raw()
        else:
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            secret = key.private_numbers().private_value.to_bytes(32)
        # as DER, and as any line of PEM
        assert not [part for part in (secret, *path.read_bytes().splitlines()[1:-1]) if part in data]
    assert b"PRIVATE KEY" not in data


@every_format
def test_every_format_carries_the_same_tree(name: Format, shop: Workshop) -> None:
    if name not in EXTRAS:
        assert verify_bytes(shop.bytes(name), shop.trust, Policy(now=NOW)).opened.payload == shop.bytes("tar")


@every_format
def test_the_same_inputs_give_the_same_payload(name: Format, shop: Workshop, tmp_path: Path) -> None:
    data, again = shop.bytes(name), Workshop(tmp_path, shop.keys, shop.artifact, {}).bytes(name)
    one, two = (verify_bytes(item, shop.trust, Policy(now=NOW)).opened for item in (data, again))
    assert one.payload == two.payload
    if "cms" not in one.signed_by:  # openssl's elliptic signatures are random
        assert data == again


@every_format
def test_a_flipped_bit_anywhere_is_refused(name: Format, shop: Workshop) -> None:
    data, chance = shop.bytes(name), random.Random(1)
    edge = [*range(0, 64, 3), *range(len(data) - 64, len(data), 3)]
    for at in {*edge, *chance.sample(range(len(data)), FLIPS)}:
        refusal(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :], shop.trust)


@every_format
@pytest.mark.slow
def test_a_flipped_bit_is_refused_at_a_thousand_places(name: Format, shop: Workshop) -> None:
    """Most of them around the payload, where signatures and framing are; bundle_table tries any number."""
    data, chance = shop.bytes(name), random.Random(2)
    payload = verify_bytes(data, shop.trust, Policy(now=NOW)).opened.payload
    start = data.find(payload) if len(payload) < len(data) else -1
    around = [*range(start), *range(start + len(payload), len(data))] if start >= 0 else [*range(len(data))]
    places = {*chance.sample(around, min(850, len(around))), *chance.sample(range(len(data)), 150)}
    for at in places:
        refusal(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :], shop.trust)


@every_format
def test_an_inserted_or_removed_byte_is_refused(name: Format, shop: Workshop) -> None:
    data, chance = shop.bytes(name), random.Random(3)
    for at in chance.sample(range(len(data)), CUTS):
        refusal(data[:at] + bytes([chance.randrange(256)]) + data[at:], shop.trust)
        refusal(data[:at] + data[at + 1 :], shop.trust)


@every_format
def test_a_truncated_bundle_is_refused(name: Format, shop: Workshop) -> None:
    data, chance = shop.bytes(name), random.Random(4)
    for length in {
        0,
        1,
        512,
        1024,
        len(data) - 1024,
        len(data) - 512,
        len(data) - 1,
        *chance.sample(range(len(data)), CUTS),
    }:
        refusal(data[:length], shop.trust)


@every_format
@pytest.mark.parametrize(
    "more", [b"\0", b"\n", b"x", bytes(512), bytes(10240)], ids=["nul", "newline", "x", "block", "record"]
)
def test_a_byte_behind_the_end_is_refused(name: Format, more: bytes, shop: Workshop) -> None:
    refusal(shop.bytes(name) + more, shop.trust)
    refusal(more + shop.bytes(name), shop.trust)


@every_format
def test_two_bundles_in_one_file_are_refused(name: Format, shop: Workshop) -> None:
    refusal(shop.bytes(name) * 2, shop.trust)


@every_format
def test_blocks_in_another_order_are_refused(name: Format, shop: Workshop) -> None:
    data, chance = shop.bytes(name), random.Random(5)
    for size in (4, 512, 4096):
        for _ in range(8):
            count = len(data) // size
            one, two = sorted(chance.sample(range(count), 2))
            blocks = [data[at * size : (at + 1) * size] for at in range(count)]
            if blocks[one] == blocks[two]:
                continue
            blocks[one], blocks[two] = blocks[two], blocks[one]
            refusal(b"".join(blocks) + data[count * size :], shop.trust)


Read = Callable[[bytes], tuple[Member, ...]]
Write = Callable[[Sequence[Member]], bytes]
ARCHIVES: dict[Format, tuple[Read, Write]] = {
    "tar": (read_tar, write_tar),
    "mcu": (read_tar, write_tar),
    "mender": (read_tar, write_tar),
    "deb": (read_ar, write_ar),
    "swupdate": (read_cpio, write_cpio),
}
"""Formats that are an archive, as it is read and written canonically; RAUC's is a file system."""


@each(ARCHIVES)
def test_members_added_removed_reordered_renamed_or_swapped_are_refused(name: Format, shop: Workshop) -> None:
    data, (read, write) = shop.bytes(name), ARCHIVES[name]
    members = read(data)
    assert write(members) == data
    for at in random.Random(6).sample(range(len(members)), min(8, len(members))):
        member = members[at]
        others = (*members[:at], *members[at + 1 :])
        changed = [
            others,
            (*others, member),
            (member, *others),
            (*members[:at], replace(member, name=f"{member.name}x"), *members[at + 1 :]),
            (*members[:at], replace(member, data=b""), *members[at + 1 :]),
            (*members[:at], replace(member, data=member.data + b"\n"), *members[at + 1 :]),
            (*members[:at], replace(member, executable=not member.executable), *members[at + 1 :]),
            (*members[:at], replace(member, name="extra"), *members[at:]),
            *([(*members[:at], replace(member, data=members[at - 1].data), *members[at + 1 :])] if at else []),
        ]
        for forged in changed:
            again = write(forged)
            if again != data:
                refusal(again, shop.trust)


@each(ARCHIVES)
def test_parts_of_two_good_releases_do_not_make_a_third(name: Format, shop: Workshop) -> None:
    data, (read, write) = shop.bytes(name), ARCHIVES[name]
    other = shop.bytes(name, version="1.3.0")
    verify_bytes(other, shop.trust, Policy(now=NOW))
    ours, theirs = ({member.name: member for member in read(item)} for item in (data, other))
    for part in set(ours) & set(theirs):
        if ours[part] != theirs[part]:
            refusal(write([theirs[part] if item == part else ours[item] for item in ours]), shop.trust)


@every_format
def test_another_key_of_the_same_ca_is_refused(name: Format, shop: Workshop, tmp_path: Path) -> None:
    other = make_keys(tmp_path / "other", ca=shop.keys)
    refusal(shop.bytes(name), read_trust(other))


@every_format
def test_another_ca_is_refused(name: Format, shop: Workshop, tmp_path: Path) -> None:
    refusal(shop.bytes(name), read_trust(make_keys(tmp_path / "other")))


@every_format
def test_the_right_key_below_another_ca_is_refused(name: Format, shop: Workshop, tmp_path: Path) -> None:
    public = shutil.copytree(shop.trust.folder, tmp_path / "mixed")
    shutil.copy(make_keys(tmp_path / "other") / "public" / "ca.crt", public / "ca.crt")
    assert "may not sign" in refusal(shop.bytes(name), read_trust(public)).message


@every_format
def test_each_signature_needs_its_own_key(name: Format, shop: Workshop, tmp_path: Path) -> None:
    data = shop.bytes(name)
    signed_by = verify_bytes(data, shop.trust, Policy(now=NOW)).opened.signed_by
    other = read_trust(make_keys(tmp_path / "other", ca=shop.keys))
    for purpose in ("release", *signed_by):
        public = shutil.copytree(shop.trust.folder, tmp_path / purpose)
        for file in (f"{purpose}.crt", f"{purpose}.pub"):
            shutil.copy(other.folder / file, public / file)
        refusal(data, read_trust(public))
        (public / f"{purpose}.crt").unlink()
        assert "is missing" in refusal(data, read_trust(public)).message


@every_format
def test_a_key_with_another_purpose_is_refused(name: Format, shop: Workshop, tmp_path: Path) -> None:
    public = shutil.copytree(shop.trust.folder, tmp_path / "mixed")
    shutil.copy(public / "ca.crt", public / "release.crt")
    refusal(shop.bytes(name), read_trust(public))


@every_format
def test_expired_and_not_yet_valid_keys_are_refused(name: Format, shop: Workshop) -> None:
    assert (
        f"expired on {NOW + timedelta(days=DAYS):%Y-%m-%d}"
        in refusal(shop.bytes(name), shop.trust, Policy(now=LATE)).message
    )
    assert "not valid before" in refusal(shop.bytes(name), shop.trust, Policy(now=EARLY)).message


@every_format
def test_no_key_means_refusal(name: Format, shop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="There is no key to check against") as caught:
        read_trust(tmp_path)
    assert "edgekit key new" in caught.value.hint
    assert "is missing" in refusal(shop.bytes(name), _without(shop.trust, "release.crt", tmp_path)).message


def _without(trust: Trust, file: str, folder: Path) -> Trust:
    public = shutil.copytree(trust.folder, folder / "public")
    (public / file).unlink()
    return read_trust(folder)


@every_format
def test_another_device_is_refused(name: Format, shop: Workshop) -> None:
    data = shop.bytes(name)
    target = refusal(data, shop.trust, Policy(now=NOW, target="rpi5"))
    assert target.message == "It is for the target rpi4, and the device's is rpi5."
    assert "edgekit build --target rpi5" in target.hint
    hardware = refusal(data, shop.trust, Policy(now=NOW, hardware="board:2"))
    assert hardware.message == "It is for rpi4, and the device is board:2."
    verify_bytes(data, shop.trust, Policy(now=NOW, target="rpi4", hardware="rpi4"))


@every_format
def test_an_older_or_replayed_version_is_refused(name: Format, shop: Workshop) -> None:
    data = shop.bytes(name)
    older = refusal(data, shop.trust, Policy(now=NOW, device_version="1.10.0"))
    assert older.message == "It is version 1.2.0, older than the 1.10.0 on the device."
    replay = refusal(data, shop.trust, Policy(now=NOW, device_version="1.2.0"))
    assert "a replay" in replay.message
    verify_bytes(data, shop.trust, Policy(now=NOW, device_version="1.2.0-rc.1"))


@every_format
def test_the_envelope_cannot_say_another_release_than_the_tree(name: Format, shop: Workshop, tmp_path: Path) -> None:
    shop.path(name)  # skips where the tool is missing
    tree, other = (make_tree(shop.artifact, shop.keys, version=version) for version in ("1.0.0", "2.0.0"))
    request = create_request(tree, name, shop.keys, tmp_path / "scratch")
    made = load_envelope(name).create(replace(request, payload=tar_of(other))).read_bytes()
    try:
        accepted = verify_bytes(made, shop.trust, Policy(now=NOW))
    except IntegrityError:
        return
    assert accepted.opened.version in {None, accepted.tree.release.version}


Mutation = Callable[[bytes], bytes]


def _mutations() -> st.SearchStrategy[Mutation]:
    """A change at a place anywhere in a file; the place is a share of its length."""
    places = st.floats(0, 1, exclude_max=True)

    def overwrite(place: float, new: bytes) -> Mutation:
        return lambda data: _spliced(data, place, len(new), new)

    def insert(place: float, new: bytes) -> Mutation:
        return lambda data: _spliced(data, place, 0, new)

    def remove(place: float, count: int) -> Mutation:
        return lambda data: _spliced(data, place, count, b"")

    short = st.binary(min_size=1, max_size=16)
    return st.one_of(
        st.builds(overwrite, places, short),
        st.builds(insert, places, short),
        st.builds(remove, places, st.integers(1, 5000)),
    )


def _spliced(data: bytes, place: float, removed: int, new: bytes) -> bytes:
    at = int(place * len(data))
    return data[:at] + new + data[at + removed :]


@every_format
@pytest.mark.parametrize("examples", [50, pytest.param(500, marks=pytest.mark.slow)])
def test_whatever_is_done_to_a_bundle_only_it_is_accepted(name: Format, examples: int, shop: Workshop) -> None:
    original = shop.bytes(name)

    @settings(max_examples=examples)
    @given(st.lists(_mutations(), min_size=1, max_size=4))
    def holds(mutations: list[Mutation]) -> None:
        data = original
        for mutation in mutations:
            data = mutation(data)
        if data != original:
            refusal(data, shop.trust)

    holds()


@settings(max_examples=60)
@given(
    start=st.sampled_from([b"", b"release.json\0", b"!<arch>\ndebian-binary", b"070702", b"hsqs", b"version\0"]),
    rest=st.binary(max_size=3000),
)
def test_whatever_the_bytes_are_the_answer_is_a_refusal(shop: Workshop, start: bytes, rest: bytes) -> None:
    refusal(start + rest, shop.trust)
