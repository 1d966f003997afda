"""``python edgekit.pyz install FOLDER``: what install.sh calls, for update clients and their logs.

Sentences on stderr, one for each step; the last says what is so now. Exit status: 0 done, 1 the device could not,
2 wrong arguments, 3 the device computes something else or the application is not healthy, 8 not a whole release, for
another device, or below the floor. Whatever is not 0 left the version active that was active before.
"""

import argparse
import contextlib
import os
import sys
import traceback
from typing import Any, Callable, List, Optional

from . import slot
from .commit import healthy, restore
from .events import AgentError, Result
from .host import Host
from .install import NONE, Device, check, confirm, deactivate, install
from .layout import SHA256, Place, read_current
from .release import Release, read_release

Step = Callable[[Release, Device, Host], str]
"""Does something; returns what is so at the end, as a sentence."""
STATUS = {"integrity": 8, "self-test": 3, "gate": 3, "coverage": 3}
"""``kind`` of an AgentError -> exit status; 1 for the others."""
LINES = {
    "verified": "every file is as it was made (%(files)d files, %(bytes)d bytes)",
    "unknown-target": "neither --target nor ROOT/target says what this device is: the release is taken for its own",
    "floor": "active: %(active)s; floor: %(floor)s",
    "floor-lost": "the model's state.json is damaged, and the floor with it: it begins anew with %(version)s",
    "lowered": "--allow-downgrade: the floor goes from %(floor)s down to %(version)s",
    "self-test": "running the golden vectors on %(delegate)s",
    "switched": "switched to %(digest).12s; it stays when the application is healthy",
    "hook": "running %(name)s",
    "untold": "the application was not told: %(command)s ended with %(status)s: %(output)s",
}
"""Event -> the line it is in the log; the others are for hosts."""


def main(arguments: List[str]) -> int:
    """Run it; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        release = read_release(options.folder)
        root = os.path.abspath(options.root or release.root)
        device = Device(root, options.target, options.allow_downgrade, options.remember, options.confirm_later)
        _say("%s for %s, in %s" % (release.title, release.target, device.root))
        _say(options.step(release, device, Host(None, _tell)))
    except AgentError as err:
        status = STATUS.get(err.kind, 1)
        _say("FAILED (exit %d): %s" % (status, err.message))
        _say("next: " + err.hint)
        return status
    except Exception as err:  # noqa: BLE001 - the boundary: a client's log must end with a sentence
        sys.stderr.write(traceback.format_exc())
        _say("FAILED (exit 1): %s: %s" % (type(err).__name__, err))
        _say("next: This is a defect of edgekit, or something is wrong with the device; report the lines above.")
        return 1
    except BaseException:
        _say("FAILED: it was told to stop. %s Run it again." % _standing(options.folder, options.root))
        raise
    return 0


def _install(release: Release, device: Device, host: Host) -> str:
    done = install(release, device, host)
    if done["undone"]:
        _say("an earlier switch to %s was never confirmed, and was undone first" % done["undone"][:12])
    already = " already" if done["previous"] == done["active"] else ""
    return "%s is active%s (%s)." % (release.title, already, _tested(done["self_test"]))


def _check(release: Release, device: Device, host: Host) -> str:
    report = check(release, device, host, with_floor=True)
    return "%s works here (%s). Nothing was changed." % (release.title, _tested(report))


def _self_test(release: Release, device: Device, host: Host) -> str:
    report = check(release, device, host, with_floor=False)
    return "%s works here (%s). Nothing was changed." % (release.title, _tested(report))


def _confirm(release: Release, device: Device, host: Host) -> str:
    floor = confirm(release, device, host)
    return "%s is confirmed; the floor is %s: nothing below it is installed from now on." % (release.title, floor)


def _deactivate(release: Release, device: Device, host: Host) -> str:
    before = deactivate(release, device, host)
    return "No version of %s is active%s. The floor stays." % (release.name, "" if before else ", as before")


def _healthy(release: Release, device: Device, host: Host) -> str:
    return "%s is active and healthy (%s)." % (release.title, _tested(healthy(release, device, host)))


def _restoring(text: str) -> Step:
    """What ``--restore TEXT`` does."""
    if text != NONE and not SHA256.match(text):
        raise argparse.ArgumentTypeError("%r is neither the digest of a version nor %r" % (text[:100], NONE))

    def _restore(release: Release, device: Device, host: Host) -> str:
        found = restore(release, device, host, None if text == NONE else text)
        version = "No version" if found is None else "Version %.12s" % found
        return "%s of %s is active. The floor stays." % (version, release.name)

    return _restore


def _activating(shown: str) -> Step:
    """What ``--activated SHOWN`` does."""

    def _activated(release: Release, _device: Device, host: Host) -> str:
        slot.activated(release, shown, host)
        return "The application is healthy with %s." % release.title

    return _activated


def _falling_back(shown: str) -> Step:
    """What ``--fallen-back SHOWN`` does."""

    def _fallen_back(release: Release, _device: Device, host: Host) -> str:
        active = slot.fallen_back(release, shown, host)
        return "%s of %s is active in %s." % ("A release" if active else "No release", release.name, shown)

    return _fallen_back


STEPS = (
    ("--check", _check, "A/B slots, before it may be booted: everything up to the switch; writes nothing"),
    ("--self-test", _self_test, "A/B slots, booted: --check without the floor"),
    ("--confirm", _confirm, "A/B slots, marked as good; or at a commit: raise the floor"),
    ("--healthy", _healthy, "before a commit: it is active, and the application is well"),
    ("--deactivate", _deactivate, "before a removal: no version is active any more"),
)
"""Instead of the installation: option, what it does, its help."""
STEPS_WITH = (
    ("--activated", "DIR", _activating, "A/B slots, switched: is the application well? It sees this release as DIR"),
    ("--fallen-back", "DIR", _falling_back, "A/B slots, switched back: tell the application what it sees as DIR"),
    ("--restore", "DIGEST", _restoring, "instead of a commit: back to it, or none"),
)
"""As well: option, what it is given, what makes its step, its help."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="install.sh", description="Make a release of a model the active one on this device."
    )
    parser.add_argument("folder", help=argparse.SUPPRESS)
    parser.add_argument("--root", help="edgekit's folder on this device (default: the release's)")
    parser.add_argument("--target", help="what this device is (default: the line in ROOT/target)")
    parser.add_argument("--allow-downgrade", action="store_true", help="accept a lower version, and lower the floor")
    parser.add_argument("--remember", metavar="FILE", help="write there what was active before, for --restore")
    parser.add_argument(
        "--confirm-later", action="store_true", help="leave the floor to --confirm, at the client's commit"
    )
    steps = parser.add_mutually_exclusive_group()
    for option, step, text in STEPS:
        steps.add_argument(option, dest="step", action="store_const", const=step, default=_install, help=text)
    for option, given, makes, text in STEPS_WITH:
        steps.add_argument(option, dest="step", metavar=given, type=makes, default=_install, help=text)
    return parser


def _standing(folder: str, root: Optional[str]) -> str:
    """What is active now, as a sentence: it may have been stopped behind the switch."""
    try:
        release = read_release(folder)
        found = read_current(Place(root=os.path.abspath(root or release.root), name=release.name))
    except AgentError as err:
        return err.message
    if found == release.digest:
        return "%s is active." % release.title
    return "No version is active." if found is None else "Version %.12s is active." % found


def _tested(report: Result) -> str:
    return "%d golden vectors on %s, %s %s" % (
        report["vectors"],
        report["delegate"],
        report["runtime"],
        report["version"],
    )


def _tell(event: str, **fields: Any) -> None:
    if event in LINES:
        _say(LINES[event] % {name: "none" if value is None else value for name, value in fields.items()})


def _say(text: str) -> None:
    # not by sys.stderr, which keeps what it could not write and fails at the end: a full log decides nothing
    with contextlib.suppress(OSError):
        os.write(2, ("edgekit: %s\n" % text).encode("utf-8", "replace"))
