"""A Debian package of one release: made by dpkg-deb, with our signature as a last member.

::

    debian-binary  control.tar  data.tar   as dpkg-deb makes them, uncompressed, so that a delta is small
    _edgekit                               DSSE over the sha256 of all that stands before it

deb(5) lets members follow data.tar, and dpkg and apt ignore them. So the maintainer scripts, which run as root, are
signed like the model is. Nobody but ``edgekit bundle verify`` looks at ``_edgekit``: on a device apt trusts the
repository, whose signature covers the whole file.
"""

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from edgekit.bundle.archives.ar import read_ar, write_ar
from edgekit.bundle.archives.tar import BLOCK, MTIME, write_tar
from edgekit.bundle.archives.types import Member
from edgekit.bundle.deb.control import FIELDS, RELEASES, SCRIPTS, control_files, read_control, release_folder
from edgekit.bundle.deb.device import SETTINGS as DEVICE_SETTINGS
from edgekit.bundle.deb.device import device_files
from edgekit.bundle.deb.names import debian_architecture, release_version
from edgekit.bundle.entries import Release
from edgekit.bundle.refusal import refused
from edgekit.bundle.sealed import read_document
from edgekit.bundle.tar import canonical_order
from edgekit.bundle.tools import find_tool, make, run_tool
from edgekit.bundle.types import INSTALL, MAX_BUNDLE_BYTES, MAX_FILES, RELEASE, CreateRequest, Opened, ToolCheck
from edgekit.compilers.process import how_it_ended
from edgekit.documents import MAX_BYTES, write_json
from edgekit.errors import BundleError, IntegrityError
from edgekit.keys.types import Trust
from edgekit.target import load_target

__all__ = ["SETTINGS", "SUFFIX", "check", "create", "device_files", "open_envelope"]

SUFFIX = ".deb"
SETTINGS: Mapping[str, str] = {
    **{name: f"{meaning} (default: {default})" if default else meaning for name, (default, meaning) in FIELDS.items()},
    **DEVICE_SETTINGS,
}
SIGNATURE = "_edgekit"
PAYLOAD_TYPE = "application/vnd.edgekit.deb+json"
MEMBERS = ("debian-binary", "control.tar", "data.tar")
FORMAT = b"2.0\n"
INSTALL_DPKG = "Install dpkg, which every Debian has: apt-get install dpkg; elsewhere your distribution packages it."
FILE, FOLDER = 0o644, 0o755
KINDS = b"05L"
"""Files, folders, and the name of a following one where it is long: all that GNU tar writes for dpkg-deb."""
SIZE = re.compile(rb"[0-7]{11}\0")


def create(request: CreateRequest) -> Path:
    """Make the package by dpkg-deb and sign it; raises BundleError, and KeysError where the keys cannot sign."""
    from edgekit.keys.dsse import sign_dsse

    dpkg_deb = find_tool("dpkg-deb", install=INSTALL_DPKG)
    release, files = request.tree.release, request.tree.files
    architecture = debian_architecture(load_target(release.target))
    root, made = request.scratch / "root", request.scratch / "made.deb"
    for path, data in files.items():
        _write(root, f"{release_folder(release)}/{path}", data, executable=path == INSTALL)
    for name, data in control_files(release, files, architecture, request.settings).items():
        _write(root, f"DEBIAN/{name}", data, executable=name in SCRIPTS)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DPKG_", "TAR_"))}
    environment |= {"SOURCE_DATE_EPOCH": str(MTIME), "LC_ALL": "C.UTF-8"}
    command = (dpkg_deb, "--root-owner-group", "-Znone", "--build", str(root), str(made))
    make(command, environment=environment)
    signed = _as_written(made.read_bytes())
    signature = sign_dsse(_statement(signed), PAYLOAD_TYPE, request.keys)
    bundle = request.scratch / f"bundle{SUFFIX}"
    bundle.write_bytes(write_ar([*read_ar(signed), Member(name=SIGNATURE, data=signature)]))
    return bundle


def _write(root: Path, path: str, data: bytes, *, executable: bool) -> None:
    """A file whose mode, and whose folders' modes, do not depend on the umask."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    for folder in (target.parent, *target.parent.parents):
        folder.chmod(FOLDER)
        if folder == root:
            break
    target.write_bytes(data)
    target.chmod(FOLDER if executable else FILE)


def _as_written(data: bytes) -> bytes:
    """``data`` if this dpkg-deb writes what ours reads."""
    try:
        names = tuple(member.name for member in read_ar(data))
    except IntegrityError as err:
        raise _another_dpkg(err.message) from err
    if names != MEMBERS:
        raise _another_dpkg(f"its members are {', '.join(names)}")
    return data


def _another_dpkg(reason: str) -> BundleError:
    return BundleError(
        f"This dpkg-deb writes packages in a form that edgekit does not know: {reason}",
        hint="Use the dpkg-deb of Debian 12 or 13 or of Ubuntu 22.04 or later, and report its version.",
    )


def _statement(signed: bytes) -> bytes:
    return write_json({"bytes": len(signed), "sha256": hashlib.sha256(signed).hexdigest()})


def open_envelope(data: bytes, trust: Trust, now: datetime) -> Opened:
    """The release tree in a package whose every byte is signed; nothing in it is read before its signature held."""
    from edgekit.keys.dsse import verify_dsse

    members = read_ar(data)
    names = tuple(member.name for member in members)
    if names == MEMBERS:
        raise refused(f"The package is not signed: it has no {SIGNATURE}.")
    if names != (*MEMBERS, SIGNATURE):
        raise refused(f"The package's members are {', '.join(names)}, not those that edgekit writes.")
    signed = write_ar(members[:-1])
    if verify_dsse(members[-1].data, PAYLOAD_TYPE, trust, now) != _statement(signed):
        raise refused("The package was changed after it was signed.")
    if members[0].data != FORMAT:
        raise refused("The package is of another version of Debian's format than 2.0.")
    try:
        return _open_signed(members[1].data, members[2].data)
    except (tarfile.TarError, ValueError, EOFError, OSError) as err:
        raise refused(f"An archive in the package cannot be read: {err}") from err


def _open_signed(control_tar: bytes, data_tar: bytes) -> Opened:
    """The tree and what the control file says of it, from archives whose signature held."""
    control = {member.name: member.data for member in _members(control_tar, "")}
    if set(control) != {"control", "md5sums", *SCRIPTS}:
        raise refused(f"The package's control archive holds {', '.join(sorted(control))}.")
    if len(control["control"]) > MAX_BYTES:
        raise refused(f"The package's control file has more than {MAX_BYTES:,} bytes.")
    fields = read_control(control["control"].decode())
    files = {member.name: member for member in _members(data_tar, RELEASES + "/")}
    folder, files = _below_one_folder(files)
    version = release_version(fields.get("Version", ""))
    if version is None:
        raise refused(f"The package's version {fields.get('Version', '')!r} is none that edgekit writes.")
    release = read_document(files[RELEASE].data, Release, RELEASE) if RELEASE in files else None
    if release is None or f"{RELEASES}/{folder}" != release_folder(release):
        raise refused(f"The package installs into /{RELEASES}/{folder}, which is not where its release belongs.")
    payload = write_tar([files[path] for path in canonical_order(files)])
    return Opened(payload=payload, version=version, hardware=None)


def _below_one_folder(files: Mapping[str, Member]) -> tuple[str, dict[str, Member]]:
    """NAME/VERSION, and the files by their paths below it."""
    folders = {"/".join(path.split("/")[:2]) for path in files}
    if len(folders) != 1:
        raise refused(f"The package has {len(folders)} releases in it; one is right.")
    folder = folders.pop()
    start = len(folder) + 1
    return folder, {
        path[start:]: Member(name=path[start:], data=member.data, executable=member.executable)
        for path, member in files.items()
    }


def _members(data: bytes, prefix: str) -> Iterator[Member]:
    """The files of an archive of dpkg-deb, their names less ``prefix``; only folders that lead to it stand beside them.

    Raises IntegrityError for links, devices, and owners, modes or times that dpkg-deb was not told to write.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise refused(f"An archive in the package has more than {MAX_BUNDLE_BYTES:,} bytes.")
    _check_headers(data)
    seen: set[str] = set()
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for count, info in enumerate(archive):
            name = info.name.removeprefix("./")
            plain = (info.uid, info.gid, info.uname, info.gname, int(info.mtime)) == (0, 0, "root", "root", MTIME)
            if count > 2 * MAX_FILES or not plain:
                raise refused(f"The package has {name[:200]!r} with an owner or a time that edgekit does not write.")
            if name in seen:
                raise refused(f"The package has {name[:200]!r} twice.")
            seen.add(name)
            if info.isdir() and info.mode == FOLDER and (name == "." or f"{name}/".startswith(prefix[: len(name) + 1])):
                continue
            stream = archive.extractfile(info) if info.isreg() else None
            if stream is None or info.mode not in {FILE, FOLDER} or not name.startswith(prefix):
                raise refused(f"The package has {name[:200]!r}, which edgekit does not write.")
            yield Member(name=name.removeprefix(prefix), data=stream.read(), executable=info.mode == FOLDER)


def _check_headers(data: bytes) -> None:
    """Raise IntegrityError for what tarfile unfolds without a limit: sparse files, pax records, chains of names."""
    at, last = 0, b""
    while any(header := data[at : at + BLOCK]):
        kind, size = header[156:157], header[124:136]
        if len(header) < BLOCK or kind not in KINDS or not SIZE.fullmatch(size) or kind == last == b"L":
            raise refused("An archive in the package has a header that dpkg-deb does not write.")
        at, last = at + BLOCK + -(-int(size[:11], 8) // BLOCK) * BLOCK, kind
    if at > len(data) or any(data[at:]):
        raise refused("An archive in the package is cut off, or goes on behind its end.")


def check(path: Path, trust: Trust, scratch: Path) -> ToolCheck | None:  # noqa: ARG001 - Debian's tool knows no key
    """dpkg-deb reads the control file and the whole data archive; packages have no signature that it knows.

    Raises IntegrityError when it cannot read them, BundleError when it is not installed.
    """
    dpkg_deb = find_tool("dpkg-deb", install=INSTALL_DPKG)
    environment = {**os.environ, "TMPDIR": str(scratch), "LC_ALL": "C.UTF-8"}
    for question in ("--info", "--contents"):
        ran = run_tool((dpkg_deb, question, str(path.absolute())), environment=environment)
        if ran.status != 0:
            raise refused(f"dpkg-deb cannot read the package: {how_it_ended('dpkg-deb', ran)}")
    version = run_tool((dpkg_deb, "--version"), environment=environment).output.partition(" version ")[2].split()
    return ToolCheck(
        tool="dpkg-deb",
        version=version[0] if version else None,
        checked="control file and every entry of the data archive; it knows no signature",
    )
