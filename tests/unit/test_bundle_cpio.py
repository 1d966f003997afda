"""The archive of a .swu: one form, read strictly, the same as cpio(1) and SWUpdate read."""

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bundle.archives.cpio import read_cpio, write_cpio
from edgekit.bundle.archives.types import Member
from edgekit.errors import BundleError, IntegrityError

pytestmark = pytest.mark.unit

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(lambda name: name != "TRAILER!!!")
MEMBERS = st.lists(
    st.builds(Member, name=NAMES, data=st.binary(max_size=40), executable=st.booleans()),
    unique_by=lambda member: member.name,
    max_size=5,
)
SMALL = write_cpio(
    [Member(name="sw-description", data=b"software = {};\n"), Member(name="payload.tar", data=b"\xff" * 9)]
)


@given(MEMBERS)
def test_what_is_written_is_read(members: list[Member]) -> None:
    data = write_cpio(members)
    assert read_cpio(data) == tuple(members)
    assert len(data) % 512 == 0


def test_cpio_reads_it(tmp_path: Path) -> None:
    if shutil.which("cpio") is None:
        pytest.skip("cpio is not on this machine")
    done = subprocess.run(["cpio", "-idv"], input=SMALL, cwd=tmp_path, capture_output=True, check=True)
    assert done.stderr.decode().split()[:2] == ["sw-description", "payload.tar"]
    assert (tmp_path / "payload.tar").read_bytes() == b"\xff" * 9
    assert (tmp_path / "payload.tar").stat().st_mode == 0o100644


def test_a_changed_byte_is_refused_or_names_another_file() -> None:
    """What names and modes are is the envelope's to check; there is no second way to write the same members."""
    for at in range(len(SMALL)):
        for bit in (0x01, 0x20, 0x80):
            changed = SMALL[:at] + bytes([SMALL[at] ^ bit]) + SMALL[at + 1 :]
            with suppress(IntegrityError):
                found = read_cpio(changed)
                assert write_cpio(found) == changed
                assert {member.name for member in found} != {"sw-description", "payload.tar"}


@given(st.integers(min_value=0, max_value=len(SMALL) - 1))
def test_no_byte_can_be_missing_or_added(at: int) -> None:
    for changed in (SMALL[:at], SMALL[:at] + SMALL[at + 1 :], SMALL[:at] + b"\0" + SMALL[at:], SMALL + bytes(512)):
        with pytest.raises(IntegrityError):
            read_cpio(changed)


@given(st.binary(max_size=400))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    for start in (b"", b"070702" + b"0" * 104):
        with pytest.raises(IntegrityError):
            read_cpio(start + data)


def test_members_in_another_order_are_refused() -> None:
    first, second = read_cpio(SMALL)
    assert write_cpio([second, first]) != SMALL
    with pytest.raises(IntegrityError, match="twice"):
        read_cpio(write_cpio([first, first]))


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b", "ü", "x" * 255])
def test_names_that_leave_the_folder_are_not_written(name: str) -> None:
    with pytest.raises(BundleError, match=r"cannot be a file of a \.swu"):
        write_cpio([Member(name=name, data=b"")])


def test_names_that_leave_the_folder_are_not_read() -> None:
    data = write_cpio([Member(name="abcde", data=b"x")]).replace(b"abcde\0", b"../cd\0")
    with pytest.raises(IntegrityError, match="a header that edgekit does not write"):
        read_cpio(data)


def test_the_sum_of_bytes_wraps() -> None:
    """2**32 / 255 bytes of 255: SWUpdate's checksum has 32 bits."""
    from edgekit.bundle.archives.cpio import _checksum

    assert _checksum(b"\xff" * 17_000_000) == (17_000_000 * 255) % 2**32
