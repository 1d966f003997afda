"""sw-description: which boards, which files, where they go, and the scripts around it.

https://sbabic.github.io/swupdate/sw-description.html. One group for each board, since SWUpdate looks a device's board
up by the group's name and only then compares the revision. What is read is written again and compared, so that there
is nothing in it that is not known here: no other handler, script, file or destination.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgekit.bundle.entries import DevicePath, Hardware, SemVer
from edgekit.bundle.refusal import refused
from edgekit.bundle.swupdate.libconfig import Group, Value, read_libconfig
from edgekit.documents import Document
from edgekit.errors import IntegrityError
from edgekit.project import ModelName

Mode = Literal["directory", "ab"]
PAYLOAD = "release.tar"
HOOK = "edgekit.sh"
FOLDER = "release"
"""Of a slot: lost+found and whatever a file system has at its top is no part of the release."""
ANY_REVISION = "#RE:."
"""A regular expression to SWUpdate: any revision that is not empty."""
SET = "stable"
COPIES = {"a": "copy-a", "b": "copy-b"}
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
RESERVED = {"version", "description", SET, "hardware-compatibility"}
"""Names beside the boards'."""


class Slots(Document, frozen=True, kw_only=True):
    """Two file systems, one of which is active."""

    a: DevicePath
    """Block device."""
    b: DevicePath
    variable: str | None = None
    """Of U-Boot's environment, set to ``a`` or ``b`` after the new slot was checked."""


class Description(Document, frozen=True, kw_only=True):
    """What a sw-description of ours says."""

    name: ModelName
    """Of the model on the device."""
    version: SemVer
    hardware: tuple[Hardware, ...]
    """``board`` (any revision) or ``board:revision``."""
    root: DevicePath
    """edgekit's folder on the device."""
    slots: Slots | None = None
    """None: the agent installs into its own folder."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """A device as SWUpdate's ``-H`` names it."""

    name: str
    revision: str | None
    """None: any."""

    @property
    def argument(self) -> str:
        """For ``swupdate -H``."""
        return f"{self.name}:{self.revision or '1'}"


def split_board(hardware: str) -> Board:
    """``rpi4:1.2`` or ``rpi4``."""
    name, _, revision = hardware.partition(":")
    return Board(name=name, revision=revision or None)


def selection(slot: str) -> str:
    """For ``swupdate -e``."""
    return f"{SET},{COPIES[slot]}"


def describe(said: Description, digests: Mapping[str, str]) -> Group:
    """The settings of a sw-description; ``digests`` are sha256 by file, which swugenerator adds, or empty."""
    boards: dict[str, list[str]] = {}
    for board in map(split_board, said.hardware):
        boards.setdefault(board.name, []).append(board.revision or ANY_REVISION)
    software: Group = {"version": said.version, "description": f"{said.name} {said.version}"}
    for board_name, revisions in boards.items():
        software[board_name] = {"hardware-compatibility": tuple(revisions), **_installed(said, digests)}
    return {"software": software}


def _installed(said: Description, digests: Mapping[str, str]) -> Group:
    if said.slots is None:
        archive: Group = {"filename": PAYLOAD, "type": "archive", "path": f"{said.root}/incoming/{said.name}"}
        archive["properties"] = {"create-destination": "true"}
        return _files(archive, f"directory {said.root} {said.name}", digests)
    copies: Group = {}
    for slot, device in (("a", said.slots.a), ("b", said.slots.b)):
        ext4: Group = {"fstype": "ext4", "force": "true", "label": f"edgekit-{slot}"}
        archive = {"filename": PAYLOAD, "type": "archive", "device": device, "filesystem": "ext4"}
        archive |= {"path": f"/{FOLDER}", "properties": {"create-destination": "true"}}
        copies[COPIES[slot]] = {
            "partitions": [{"type": "diskformat", "device": device, "properties": ext4}],
            **_files(archive, f"ab {said.root} {said.name} {slot} {device}", digests),
            **({"bootenv": [{"name": said.slots.variable, "value": slot}]} if said.slots.variable else {}),
        }
    return {SET: copies}


def _files(archive: Group, data: str, digests: Mapping[str, str]) -> Group:
    hook: Group = {"filename": HOOK, "type": "shellscript", "data": data}
    for entry, name in ((archive, PAYLOAD), (hook, HOOK)):
        if name in digests:
            entry["sha256"] = digests[name]
    return {"files": [archive], "scripts": [hook]}


def read_description(data: bytes) -> tuple[Description, dict[str, str]]:
    """What it says, and sha256 by file; raises IntegrityError for one that edgekit would not have made."""
    from edgekit.documents import convert

    group = read_libconfig(data)
    try:
        found = _find(group)
        said = convert(found, Description, IntegrityError, where="sw-description")
        digests = {name: _digest(_first(group, name)) for name in (PAYLOAD, HOOK)}
    except (LookupError, TypeError, ValueError, AttributeError, IntegrityError) as err:
        raise refused("sw-description is not one that edgekit makes.") from err
    if describe(said, digests) != group:
        raise refused("sw-description says more, or something else, than edgekit has it say.")
    return said, digests


def _find(group: Group) -> dict[str, object]:
    """The fields of a Description in the settings; raises LookupError, TypeError, ValueError or AttributeError."""
    software = _group(group["software"])
    boards = {name: _group(value) for name, value in software.items() if name not in RESERVED}
    hardware = [
        name if revision == ANY_REVISION else f"{name}:{revision}"
        for name, board in boards.items()
        for revision in board["hardware-compatibility"]
    ]
    words = str(_first(group, HOOK)["data"]).split(" ")
    found: dict[str, object] = {
        "version": software["version"],
        "hardware": hardware,
        "root": words[1],
        "name": words[2],
    }
    if words[0] == "ab":
        copies = _copies(next(iter(boards.values())))
        devices = {slot: _entry(copies[copy], "files")["device"] for slot, copy in COPIES.items()}
        variable = _entry(copies[COPIES["a"]], "bootenv")["name"] if "bootenv" in copies[COPIES["a"]] else None
        found["slots"] = {**devices, "variable": variable}
    return found


def _first(group: Group, name: str) -> Group:
    """The first entry of a file: all must be the same, which writing it again shows."""
    software = _group(group["software"])
    board = next(_group(value) for key, value in software.items() if key not in RESERVED)
    holder = _copies(board)[COPIES["a"]] if SET in board else board
    return _entry(holder, "files" if name == PAYLOAD else "scripts")


def _copies(board: Group) -> dict[str, Group]:
    return {name: _group(value) for name, value in _group(board[SET]).items()}


def _entry(holder: Group, key: str) -> Group:
    entries = holder[key]
    if not isinstance(entries, list):
        raise TypeError(key)
    return entries[0]


def _group(value: Value) -> Group:
    if not isinstance(value, dict):
        raise TypeError(type(value))
    return value


def _digest(entry: Group) -> str:
    text = entry["sha256"]
    if not isinstance(text, str) or not SHA256.fullmatch(text):
        raise ValueError(text)
    return text
