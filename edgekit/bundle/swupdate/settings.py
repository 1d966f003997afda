"""``--setting NAME=VALUE`` of a .swu, and what a release and its settings say together."""

import re
from collections.abc import Mapping

from edgekit.bundle.entries import Release
from edgekit.bundle.swupdate.description import RESERVED, Description, Slots, split_board
from edgekit.bundle.swupdate.libconfig import NAME
from edgekit.documents import convert
from edgekit.errors import BundleError

SETTINGS: Mapping[str, str] = {
    "mode": "directory: the agent installs into edgekit's folder and switches by itself (the default); "
    "ab: SWUpdate fills the slot that is not active, and it becomes active once it was checked",
    "slot-a": "ab: block device of the first slot; default /dev/disk/by-partlabel/model-a",
    "slot-b": "ab: block device of the second slot; default /dev/disk/by-partlabel/model-b",
    "bootenv": "ab: variable of U-Boot's environment that becomes a or b once the slot was checked; default none",
}
DEFAULTS = {"slot-a": "/dev/disk/by-partlabel/model-a", "slot-b": "/dev/disk/by-partlabel/model-b"}
REVISION = re.compile(r"[A-Za-z0-9._-]{1,40}", re.ASCII)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}", re.ASCII)
MAX_PRERELEASE_DIGITS = 18
"""SWUpdate 2022.12 takes longer numeric identifiers for equal, so that its floor would let an older release pass."""


def read_settings(release: Release, settings: Mapping[str, str]) -> Description:
    """What the sw-description is to say; raises BundleError for a release or settings that SWUpdate cannot take."""
    mode = settings.get("mode", "directory")
    if mode not in {"directory", "ab"}:
        raise BundleError(f"There is no mode {mode!r}.", hint=f"mode is {SETTINGS['mode']}.")
    _check_boards(release.hardware)
    _check_version(release.version)
    if mode == "directory":
        wrong = next((key for key in settings if key != "mode"), None)
        if wrong is not None:
            raise BundleError(f"{wrong} is a setting of mode=ab only.", hint="Add --setting mode=ab, or leave it out.")
    value = {
        "name": release.name,
        "version": release.version,
        "hardware": release.hardware,
        "root": release.installation.root,
        "slots": None if mode == "directory" else _slots(settings),
    }
    return convert(value, Description, BundleError, where="--setting")


def _slots(settings: Mapping[str, str]) -> Slots:
    value = {
        "a": settings.get("slot-a", DEFAULTS["slot-a"]),
        "b": settings.get("slot-b", DEFAULTS["slot-b"]),
        "variable": settings.get("bootenv"),
    }
    slots = convert(value, Slots, BundleError, where="--setting slot")
    if slots.a == slots.b:
        raise BundleError("Both slots are one device.", hint="Name two: --setting slot-a=... --setting slot-b=...")
    if slots.variable is not None and not VARIABLE.fullmatch(slots.variable):
        raise BundleError(
            f"bootenv={slots.variable} is no variable's name.", hint="Use letters, digits and '_', such as model_slot."
        )
    return slots


def _check_boards(hardware: tuple[str, ...]) -> None:
    for text in hardware:
        board = split_board(text)
        if not NAME.fullmatch(board.name) or board.name in RESERVED:
            raise BundleError(
                f"SWUpdate cannot call a board {board.name!r}.",
                hint="Use letters, digits, '-' and '_', a letter first: --hardware BOARD or BOARD:REVISION.",
            )
        if ":" in text and not REVISION.fullmatch(board.revision or ""):
            raise BundleError(
                f"{text!r} is no board with its revision to SWUpdate.",
                hint="Use BOARD:REVISION, such as rpi4:1.2, as in /etc/hwrevision of the device.",
            )


def _check_version(version: str) -> None:
    for identifier in version.partition("-")[2].split("."):
        if identifier.isdigit() and len(identifier) > MAX_PRERELEASE_DIGITS:
            raise BundleError(
                f"SWUpdate cannot compare the version {version}: {identifier} has too many digits.",
                hint=f"Use at most {MAX_PRERELEASE_DIGITS} digits there.",
            )
