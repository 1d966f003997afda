"""ar as Debian packages use it: one form, read strictly."""

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bundle.archives.ar import HEADER_BYTES, MAGIC, MAX_MEMBERS, read_ar, write_ar
from edgekit.bundle.archives.types import Member
from edgekit.errors import BundleError, IntegrityError

pytestmark = pytest.mark.unit
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,14}", fullmatch=True)
MEMBERS = st.lists(st.builds(Member, name=NAMES, data=st.binary(max_size=40)), max_size=5, unique_by=lambda m: m.name)


@given(MEMBERS)
def test_what_is_written_is_read(members: list[Member]) -> None:
    assert list(read_ar(write_ar(members))) == members


@given(MEMBERS.filter(bool), st.data())
def test_any_other_bytes_are_no_archive_or_another_one(members: list[Member], data: st.DataObject) -> None:
    whole = write_ar(members)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    for damaged in (changed, whole[:at], whole + b"\n", whole[:at] + whole[at + 1 :]):
        with suppress(IntegrityError):
            found = read_ar(damaged)
            assert write_ar(found) == damaged
            assert list(found) != members


@given(st.binary(max_size=300))
def test_hostile_bytes_are_refused_or_canonical(data: bytes) -> None:
    for damaged in (data, MAGIC + data):
        with suppress(IntegrityError):
            assert write_ar(read_ar(damaged)) == damaged


def test_it_is_the_form_that_dpkg_and_binutils_read(tmp_path: Path) -> None:
    ar = shutil.which("ar")
    if ar is None:
        pytest.skip("no ar on this machine: install binutils")
    path = tmp_path / "a.deb"
    path.write_bytes(write_ar([Member(name="debian-binary", data=b"2.0\n"), Member(name="_edgekit", data=b"odd")]))
    assert subprocess.run([ar, "t", path], capture_output=True, text=True, check=True).stdout.split() == [
        "debian-binary",
        "_edgekit",
    ]
    assert subprocess.run([ar, "p", path, "_edgekit"], capture_output=True, check=True).stdout == b"odd"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\3\4", "no Debian package"),
        (MAGIC + b"debian-binary", "changed or truncated"),
        (write_ar([Member(name="a", data=b"abcd")])[:-1], "truncated: it ends within a"),
        (write_ar([Member(name="a", data=b"abc")])[:-1] + b"x", "belongs to no member"),
        (write_ar([Member(name="a", data=b"")] * 2), "has a twice"),
        (write_ar([Member(name=f"a{n}", data=b"") for n in range(MAX_MEMBERS + 1)]), "more than 16 members"),
        (write_ar([Member(name="a", data=b"")]).replace(b"100644", b"100755"), "changed or truncated"),
        (MAGIC + b"a/".ljust(16) + write_ar([Member(name="a", data=b"")])[24:], "changed or truncated"),
    ],
)
def test_each_refusal_says_why(data: bytes, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        read_ar(data)


@pytest.mark.parametrize("name", ["", "a/b", "//", "sixteen-letters-", "ä"])
def test_a_name_that_it_cannot_hold(name: str) -> None:
    with pytest.raises(BundleError, match="cannot be a member"):
        write_ar([Member(name=name, data=b"")])


def test_headers_have_sixty_bytes() -> None:
    assert len(write_ar([Member(name="a", data=b"")])) == len(MAGIC) + HEADER_BYTES
