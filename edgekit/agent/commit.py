"""Between an update client's ``install`` and its commit: is the release healthy, and the way back.

For clients that decide later than ``install`` did, such as Mender, which commits or rolls back. Both can be called
again and again, and after the power was lost.
"""

import os
from typing import Optional

from . import selftest
from .activation import check_application, undo, withdraw
from .events import AgentError, Result
from .host import Host
from .install import Device
from .layout import Place, explained, find_damage, read_current
from .release import Release
from .state import Pending, locked, read_state, tested_delegate, write_state


def healthy(release: Release, device: Device, host: Host) -> Result:
    """Whether this release is active, whole, computes what it must, and the application is well with it.

    Emits ``self-test`` and ``hook``. Returns the report of the self-test. Raises AgentError: ``gate``, ``integrity`` or
    ``self-test`` where it is not so, ``device`` for the rest.
    """
    place = Place(root=device.root, name=release.name)
    if not os.path.isdir(place.folder):
        raise _not_active(release, None)
    with explained(place), locked(place, host):
        undo(place)
        found, state = read_current(place), read_state(place)
        if found is None or found != release.digest:
            raise _not_active(release, found)
        folder = place.version(found)
        damage = find_damage(folder, found)
        if damage:
            raise AgentError(
                "integrity",
                "%s is active, and %s was changed on the device." % (release.title, ", ".join(damage)),
                "Install it again; that repairs the files.",
            )
        delegate, options = tested_delegate(place, state.history[-1])
        host.emit("self-test", delegate=delegate)
        with selftest.prepared(folder, delegate, options) as child:
            report = selftest.check(child, delegate, host)
        check_application(place, found, state.hooks, host)
        return report


def restore(release: Release, device: Device, host: Host, previous: Optional[str]) -> Optional[str]:
    """Make ``previous`` the active version, if this release is: what was active before its ``install``.

    ``previous`` is a digest, None for no version: what ``install`` remembered. It is not tested: it was active, and the
    update client has decided.
    Returns what is active now: another version than ``previous`` where somebody else has switched since. The floor
    stays. Raises AgentError ``device`` where ``previous`` is not on the device any more; this release stays then.
    """
    place = Place(root=device.root, name=release.name)
    if not os.path.isdir(place.folder):
        return None
    with explained(place), locked(place, host):
        undo(place)
        found = read_current(place)
        if found is None or found == previous or found != release.digest:
            return found
        if previous is None:
            withdraw(place, host)
            return None
        if not os.path.isdir(place.version(previous)):
            raise AgentError(
                "device",
                "Version %s cannot come back: it is not on the device any more." % previous[:12],
                "Install the release that is wanted; %s stays active until then." % release.title,
            )
        state = read_state(place)
        pending = Pending(found, previous, state.hooks.on_activate, release.named)
        write_state(place, state._replace(history=state.history[:-1], pending=pending))  # as if it never was confirmed
        undo(place)
        return read_current(place)


def _not_active(release: Release, found: Optional[str]) -> AgentError:
    is_active = "version %s is" % found[:12] if found else "no version is"
    return AgentError(
        "gate",
        "%s is not active on this device: %s." % (release.title, is_active),
        "The update client rolls back; install it again.",
    )
