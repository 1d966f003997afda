"""Make, open and check a .swu."""

import hashlib
import os
import re
from datetime import datetime
from importlib.resources import files
from pathlib import Path

from edgekit.bundle.archives.cpio import read_cpio, write_cpio
from edgekit.bundle.archives.types import Member
from edgekit.bundle.refusal import refused
from edgekit.bundle.swupdate.description import (
    HOOK,
    PAYLOAD,
    Description,
    describe,
    read_description,
    selection,
    split_board,
)
from edgekit.bundle.swupdate.libconfig import write_libconfig
from edgekit.bundle.swupdate.settings import read_settings
from edgekit.bundle.tools import check_room, find_tool, make, run_tool
from edgekit.bundle.types import CreateRequest, Opened, ToolCheck
from edgekit.keys.types import Trust

SUFFIX = ".swu"
DESCRIPTION, SIGNATURE = "sw-description", "sw-description.sig"
MEMBERS = (DESCRIPTION, SIGNATURE, PAYLOAD, HOOK)
"""In this order; sw-description must be first and its signature second."""
GENERATOR = "Install it with pip install 'edgekit[bundle]'."
SWUPDATE = "Install SWUpdate 2022.12 or newer: sudo apt install swupdate."
OPENSSL = "Install it with sudo apt install openssl."
SUCCEEDED = "SWUPDATE successful"
FAILED = re.compile(r"SWUPDATE failed \[\d+\] (?:ERROR : )?(.+)")
ATTEMPTS = 3
MARGIN_BYTES = 2**20
"""Room for what SWUpdate writes beside the payload while it checks."""


def create(request: CreateRequest) -> Path:
    """A .swu by swugenerator, framed canonically; raises BundleError, and KeysError for keys that are not there."""
    from edgekit.keys.private import matching_key
    from edgekit.keys.trust import read_trust

    generator = find_tool("swugenerator", install=GENERATOR)
    find_tool("openssl", install=OPENSSL)  # swugenerator calls it
    said = read_settings(request.tree.release, request.settings)
    folder = request.scratch
    (folder / "template").write_text(write_libconfig(describe(said, {})))
    (folder / PAYLOAD).write_bytes(request.payload)
    (folder / HOOK).write_bytes(files(__package__).joinpath("hook.sh").read_bytes())
    # by links, because swugenerator takes both paths in one argument with a comma between them
    (folder / "cms.key").symlink_to(matching_key(request.keys, "cms").resolve())
    (folder / "cms.crt").symlink_to(read_trust(request.keys).certificate("cms").resolve())
    made = folder / f"release{SUFFIX}"
    make(
        [
            generator, "--no-compress", "--no-encrypt", "--sw-description", "template", "--artifactory", ".",
            "--sign", "CMS,cms.key,cms.crt", "--swu-file", made.name, "create",
        ],
        folder=folder,
    )  # fmt: skip
    made.write_bytes(_canonical(made.read_bytes(), read_trust(request.keys)))
    return made


def _canonical(made: bytes, trust: Trust) -> bytes:
    """The archive of swugenerator with headers that depend on nothing but the files, and its signature in one form."""
    from edgekit.keys.cms import one_form

    members = {member.name: member.data for member in _read_any(made)}
    members[SIGNATURE] = one_form(members[SIGNATURE], trust)
    return write_cpio([Member(name=name, data=members[name]) for name in MEMBERS])


def _read_any(data: bytes) -> list[Member]:
    """The files of an archive that swugenerator wrote just now, whatever their metadata."""
    members: list[Member] = []
    at = 0
    while True:
        size, name_bytes = (int(data[at + start : at + start + 8], 16) for start in (54, 94))
        name = data[at + 110 : at + 110 + name_bytes - 1].decode()
        if name == "TRAILER!!!":
            return members
        start = at + 110 + name_bytes
        start += -start % 4
        members.append(Member(name=name, data=data[start : start + size]))
        at = start + size + -size % 4


def open_envelope(data: bytes, trust: Trust, now: datetime) -> Opened:
    """Account for every byte: framing canonical, sw-description signed, every other file by its sha256 in there.

    Raises IntegrityError.
    """
    members, said = _opened(data, trust, now)
    return Opened(payload=members[PAYLOAD], version=said.version, hardware=said.hardware, signed_by=("cms",))


def _opened(data: bytes, trust: Trust, now: datetime) -> tuple[dict[str, bytes], Description]:
    from edgekit.keys.cms import verify_cms

    found = read_cpio(data)
    names = tuple(member.name for member in found)
    if SIGNATURE not in names:
        raise refused(f"The .swu is not signed: it holds no {SIGNATURE}.")
    if names != MEMBERS or any(member.executable for member in found):
        raise refused(f"The .swu does not hold {', '.join(MEMBERS)} in this order, and nothing else.")
    members = {member.name: member.data for member in found}
    verify_cms(members[SIGNATURE], members[DESCRIPTION], trust, now)
    said, digests = read_description(members[DESCRIPTION])
    for name, digest in digests.items():
        if hashlib.sha256(members[name]).hexdigest() != digest:
            raise refused(f"{name} is not the file that sw-description names: its bytes were changed.")
    return members, said


def check(path: Path, trust: Trust, scratch: Path) -> ToolCheck | None:
    """Ask ``swupdate -c``, as the first board that may install it, with no configuration of this machine.

    SWUpdate 2022.12 ends with status 1 now and then although all was well (a race at its end), and then its own words
    count; it never ends with 0 otherwise. Where it ends with 1 and gives no reason, it is asked again.
    """
    swupdate = find_tool("swupdate", install=SWUPDATE)
    check_room(scratch, path.stat().st_size + MARGIN_BYTES)  # it unpacks the payload there
    said = read_description(read_cpio(path.read_bytes())[0].data)[0]
    (scratch / "swupdate.cfg").write_text("globals : {};\n")
    chosen = [] if said.slots is None else ["--select", selection("a")]
    command = [
        swupdate, "-f", "swupdate.cfg", "--loglevel", "3",
        "--key", str(trust.certificate("ca").resolve()), "--cert-purpose", "codeSigning",
        "--hwrevision", split_board(said.hardware[0]).argument, *chosen, "--check", "--image", str(path.resolve()),
    ]  # fmt: skip
    # its sockets lie in TMPDIR, and their paths may have 107 characters: relative ones do
    environment = {**os.environ, "TMPDIR": "."}
    reasons: list[str] = []
    for _ in range(ATTEMPTS):
        ran = run_tool(command, folder=scratch, environment=environment)
        if ran.status == 0 or SUCCEEDED in ran.output:
            return ToolCheck(tool="swupdate", version=None, checked="signature, hardware and every sha256")
        reasons = FAILED.findall(ran.output)
        if reasons:
            break
    reason = reasons[0].strip() if reasons else f"it ended with status {ran.status} and gave no reason"
    raise refused(f"swupdate refuses it: {reason}.")
