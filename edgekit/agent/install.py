"""A release becomes active on the device it lies on: for update clients, which call it by install.sh.

``install`` is what `edgekit deploy` does, with the release's folder in the place of the host. Where the update client
switches by itself (A/B slots) it is in pieces: ``check`` before a slot is booted, with the floor, or without it before
the booted slot is marked as good, and ``confirm`` afterwards. Where it decides after ``install`` whether to keep the
release (``Device.confirm_later``), ``confirm`` belongs to its commit. The floor is the highest release that was
confirmed; it is in state.json of the model.
"""

import os
from contextlib import contextmanager
from typing import Iterator, NamedTuple, Optional

from . import selftest, staging
from .activation import withdraw
from .events import AgentError, Result
from .host import Host
from .layout import Place, explained, make_folders, own_delegate, read_current, read_manifest, write_file
from .release import Release, refused, verify
from .state import Named, State, locked, read_state, write_state
from .store import Wanted, bring
from .versions import parse

TARGET = "target"
"""ROOT/target: one line, what this device calls itself."""
MAX_TARGET_BYTES = 200
NONE = "none"
"""What is remembered where no version was active."""


class Device(NamedTuple):
    """What the caller says of the device."""

    root: str
    """Absolute path of edgekit's folder."""
    target: Optional[str] = None
    """What the device is; None: what ROOT/target says, if it is there."""
    allow_downgrade: bool = False
    """Lower the floor to this release, where it is below."""
    remember: Optional[str] = None
    """File that gets the digest of the version before the switch, or ``none``; for ``commit.restore``."""
    confirm_later: bool = False
    """Leave the floor to ``confirm``: the update client may still roll back."""


def install(release: Release, device: Device, host: Host) -> Result:
    """Verify the tree, test it here, switch to it, raise the floor if it is not left to ``confirm``; or change nothing.

    Emits what ``install_command.LINES`` names and what ``store.deploy`` emits; returns what that returns. Killed at any
    moment, the version before is active or becomes it again, and the next attempt works.

    Raises AgentError: ``integrity`` for a tree that is not the release, another device's release or one below the
    floor, ``self-test`` or ``gate`` where the device or the application refuses it, ``device`` for the rest.
    """
    place = _admitted(release, device, host)
    delegate, options = own_delegate(read_manifest(release.path("artifact"), release.digest))
    wanted = Wanted(
        digest=release.digest,
        files=release.artifact,
        delegate=delegate,
        options=options,
        hooks=release.hooks,
        keep_versions=release.keep_versions,
        release=release.named,
    )

    def admit(state: State) -> State:
        admitted = _admit(release, device, host, state)
        if device.remember is not None:  # here: under the lock, and on the disk before anything is switched
            write_file(os.path.abspath(device.remember), (read_current(place) or NONE).encode() + b"\n")
        return admitted

    return bring(place, wanted, host, _source(release), admit)


def check(release: Release, device: Device, host: Host, *, with_floor: bool) -> Result:
    """All that ``install`` does before the switch, in the release's own folder: nothing is written anywhere.

    Without the floor for what is booted already: a slot to fall back to is below it, and must be let run.
    Returns the report of the self-test.
    """
    place = _admitted(release, device, host)
    if with_floor:
        _admit(release, device, host, read_state(place))
    folder = release.path("artifact")
    delegate, options = own_delegate(read_manifest(folder, release.digest))
    host.emit("self-test", delegate=delegate)
    with selftest.prepared(folder, delegate, options) as child:
        return selftest.check(child, delegate, host)


def confirm(release: Release, device: Device, host: Host) -> str:
    """Raise the floor to a release that the update client keeps; can be called again and again.

    Nothing but the floor changes, whether the release is in a slot or under ROOT/models. What was fallen back to leaves
    the floor where it is. Returns the version of the floor.
    """
    place = _admitted(release, device, host)
    with explained(place):
        make_folders(place.folder)
        with locked(place, host):
            state = read_state(place)
            _tell_damage(release, host, state)
            floor = _confirmed(release, device, host, state)
            if floor != state.floor:
                write_state(place, state._replace(floor=floor))
    return floor.version


def deactivate(release: Release, device: Device, host: Host) -> Optional[str]:
    """Take the model out of use, whatever version of it is active; see ``activation.withdraw``."""
    place = Place(root=device.root, name=release.name)
    if not os.path.isdir(place.folder):
        return None
    with explained(place), locked(place, host):
        return withdraw(place, host)


def _admitted(release: Release, device: Device, host: Host) -> Place:
    """The model's place on the device, once the tree is whole and for this device."""
    verify(release)
    host.emit("verified", files=len(release.files), bytes=sum(entry.bytes for entry in release.files.values()))
    own = _read_target(device.root) if device.target is None else device.target
    if own is None:
        host.emit("unknown-target")
    elif own != release.target and own not in release.hardware:
        raise AgentError(
            "integrity",
            "%s is for %s; this device is %r."
            % (release.title, ", ".join(sorted({release.target, *release.hardware})), own),
            "Send the release that was made for this device. What the device is comes from --target or %s."
            % os.path.join(device.root, TARGET),
        )
    return Place(root=device.root, name=release.name)


def _read_target(root: str) -> Optional[str]:
    path = os.path.join(root, TARGET)
    try:
        with open(path, "rb") as stream:
            text = stream.read(MAX_TARGET_BYTES + 1).decode().strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as err:
        raise AgentError(
            "device", "%s cannot be read: %s." % (path, err), "Write one line: the target's name."
        ) from err
    return text or None


def _admit(release: Release, device: Device, host: Host, state: State) -> State:
    """The state with the floor that holds once the switch stays; raises AgentError ``integrity``."""
    floor, new = state.floor, release.named
    active = state.history[-1].release if state.history else None
    _tell_damage(release, host, state)
    host.emit("floor", floor=floor and floor.version, active=active and active.version, version=new.version)
    again = new in (floor, active)  # or after a rollback
    if not (again or device.allow_downgrade or floor is None or parse(new.version) > parse(floor.version)):
        raise _below(release, floor)
    if device.confirm_later:
        return state
    return state._replace(floor=_confirmed(release, device, host, state))


def _below(release: Release, floor: Named) -> AgentError:
    if release.named.version == floor.version:
        reason = "another release with the version %s was active here" % floor.version
        hint = "A version names one release: give the new one a higher version."
    else:
        reason = "%s was active here, and a lower version is not installed over it" % floor.version
        hint = "Install a release from %s on." % floor.version
    return AgentError(
        "integrity",
        "%s is refused: %s." % (release.title, reason),
        hint + " --allow-downgrade lowers the floor knowingly.",
    )


def _confirmed(release: Release, device: Device, host: Host, state: State) -> Named:
    """The floor once this release is confirmed."""
    floor, new = state.floor, release.named
    if floor is None or parse(new.version) > parse(floor.version):
        return new
    if device.allow_downgrade and new != floor:
        host.emit("lowered", floor=floor.version, version=new.version)
        return new
    return floor


def _tell_damage(release: Release, host: Host, state: State) -> None:
    if state.damaged:
        host.emit("floor-lost", version=release.named.version)


def _source(release: Release) -> staging.Source:
    """The release's folder as what sends the files of the artifact."""
    paths = {entry.sha256: path for path, entry in release.files.items()}

    @contextmanager
    def opened(sha: str, offset: int) -> Iterator[staging.Read]:
        with open(release.path(paths[sha]), "rb", buffering=0) as stream:
            stream.seek(offset)

            def read(size: int) -> bytes:
                data = stream.read(size)
                if not data:
                    raise refused("%s became shorter" % paths[sha])
                return bytes(data)

            yield read

    return staging.Source(opened, resumes=False)
