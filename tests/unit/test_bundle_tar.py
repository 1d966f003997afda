"""The canonical tar: what is written is read, and nothing else is, whoever wrote it and however it is changed."""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bundle.archives.tar import BLOCK, MTIME, read_tar, write_tar
from edgekit.bundle.archives.types import Member
from edgekit.bundle.types import MAX_BUNDLE_BYTES, MAX_FILES
from edgekit.errors import BundleError, IntegrityError

pytestmark = pytest.mark.unit
NAMES = st.from_regex(r"\A[A-Za-z0-9._-]{1,60}(/[A-Za-z0-9._-]{1,60}){0,2}\Z")
MEMBERS = (Member(name="release.json", data=b"{}"), Member(name="install.sh", data=b"x" * 513, executable=True))


@given(st.dictionaries(NAMES, st.tuples(st.binary(max_size=1200), st.booleans()), max_size=6))
def test_what_is_written_is_read(files: dict[str, tuple[bytes, bool]]) -> None:
    members = tuple(Member(name=name, data=data, executable=run) for name, (data, run) in files.items())
    assert read_tar(write_tar(members)) == members


def test_other_tars_read_it(tmp_path: Path) -> None:
    deep = "/".join(["d" * 70] * 3) + "/file"
    data = write_tar([*MEMBERS, Member(name=deep, data=b"deep")])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert [(item.name, item.size, item.mode, item.mtime, item.uid) for item in archive] == [
            ("release.json", 2, 0o644, MTIME, 0),
            ("install.sh", 513, 0o755, MTIME, 0),
            (deep, 4, 0o644, MTIME, 0),
        ]
    tar = shutil.which("tar")
    if tar is None:
        pytest.skip("no tar here")
    done = subprocess.run([tar, "-xf", "-", "-C", tmp_path], input=data, capture_output=True, check=True)
    assert done.stderr == b""
    assert (tmp_path / deep).read_bytes() == b"deep"


def test_every_bit_counts() -> None:
    data = write_tar(MEMBERS)
    contents = {BLOCK, BLOCK + 1, *range(3 * BLOCK, 3 * BLOCK + 513)}
    for at in range(len(data)):
        for bit in range(8):
            changed = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            if at in contents:
                assert read_tar(changed) != MEMBERS
            else:
                with pytest.raises(IntegrityError):
                    read_tar(changed)


def test_every_length_counts() -> None:
    data = write_tar(MEMBERS)
    for length in range(len(data)):
        with pytest.raises(IntegrityError, match="truncated"):
            read_tar(data[:length])
    with pytest.raises(IntegrityError, match="behind its end"):
        read_tar(data + b"\0")


def _foreign(info: tarfile.TarInfo, data: bytes = b"", form: int = tarfile.USTAR_FORMAT) -> bytes:
    """An archive of one member as Python writes it, with our metadata where it can have it."""
    info.mtime, info.uname, info.gname = MTIME, "root", "root"
    info.size = info.size or len(data)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def _typed(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("a")
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_foreign(_typed(tarfile.SYMTYPE)), id="symbolic link"),
        pytest.param(_foreign(_typed(tarfile.LNKTYPE)), id="hard link"),
        pytest.param(_foreign(_typed(tarfile.CHRTYPE)), id="device"),
        pytest.param(_foreign(_typed(tarfile.FIFOTYPE)), id="fifo"),
        pytest.param(_foreign(_typed(tarfile.DIRTYPE)), id="folder"),
        pytest.param(_foreign(_typed(tarfile.GNUTYPE_SPARSE)), id="sparse"),
        pytest.param(_foreign(_typed(tarfile.CONTTYPE)), id="contiguous"),
        pytest.param(_foreign(tarfile.TarInfo("n" * 300), b"x", tarfile.GNU_FORMAT), id="GNU long name"),
        pytest.param(_foreign(tarfile.TarInfo("n" * 300), b"x", tarfile.PAX_FORMAT), id="pax"),
        pytest.param(_foreign(tarfile.TarInfo("ä"), b"x", tarfile.PAX_FORMAT), id="not ASCII"),
        pytest.param(_foreign(tarfile.TarInfo("a"), b"x"), id="padded to a record"),
        pytest.param(b"\xff" * 2048, id="noise"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_others_write_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        read_tar(data)


@pytest.mark.parametrize(
    "field", [b"77777777777\0", b"00000002001\0", b"\x80" + bytes(11), b"-0000000001\0", b"1_000000000\0"]
)
def test_a_size_that_is_a_lie_is_refused(field: bytes) -> None:
    data = write_tar(MEMBERS)
    lie = data[:124] + field + data[136:]
    lie = lie[:148] + b"%06o\0 " % sum(lie[:148] + b" " * 8 + lie[156:BLOCK]) + lie[156:]  # a checksum that fits
    with pytest.raises(IntegrityError):
        read_tar(lie)


def test_a_member_twice_is_refused() -> None:
    with pytest.raises(IntegrityError, match=r"has release\.json twice"):
        read_tar(write_tar([MEMBERS[0], MEMBERS[0]]))


def test_too_many_members_are_refused() -> None:
    members = [Member(name=f"f{number}", data=b"") for number in range(MAX_FILES + 1)]
    assert len(read_tar(write_tar(members[:-1]))) == MAX_FILES
    with pytest.raises(IntegrityError, match=f"more than {MAX_FILES} files"):
        read_tar(write_tar(members))


def test_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.bundle.archives.tar.MAX_BUNDLE_BYTES", 100)
    with pytest.raises(IntegrityError, match="more than 100 bytes"):
        read_tar(write_tar(MEMBERS))
    assert MAX_BUNDLE_BYTES == 2 * 2**30


@pytest.mark.parametrize("name", ["", "ä", "a\0b", "n" * 101, "/".join(["n" * 90] * 4), "p" * 160 + "/n"])
def test_a_name_that_does_not_fit_is_not_written(name: str) -> None:
    with pytest.raises(BundleError) as caught:
        write_tar([Member(name=name, data=b"")])
    assert caught.value.hint
