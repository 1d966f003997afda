"""Models on the device: ``status``, ``deploy``, ``rollback``. One command is one deployment, start to end."""

import os
import shutil
import sys
from contextlib import nullcontext, suppress
from typing import Any, BinaryIO, Callable, Dict, List, NamedTuple, Optional, Tuple

from . import staging
from .activation import activate, undo
from .child import ROOT as PACKAGE
from .events import AgentError, Emit, Request, Result
from .host import Host
from .layout import (
    MANIFEST,
    NAME,
    SHA256,
    Entry,
    Place,
    drop_way_back,
    explained,
    find_damage,
    list_versions,
    make_folders,
    read_current,
    read_entries,
    read_place,
    write_file,
)
from .selftest import check, prepared, require_taken
from .state import Activation, Hooks, Named, State, locked, read_hooks, read_state, tested_delegate, write_state

LIBRARY = os.path.join("lib", "edgekit.pyz")


class Wanted(NamedTuple):
    """A version that is to be active, and how."""

    digest: str
    """sha256 of its manifest."""
    files: Dict[str, Entry]
    """The manifest included."""
    delegate: str
    options: Dict[str, str]
    hooks: Hooks
    keep_versions: int
    require_delegate: bool = False
    """Whether the delegate must take an op."""
    release: Optional[Named] = None
    """What it comes with; None for `edgekit deploy`."""


def status(request: Request, _stdin: BinaryIO, _emit: Emit) -> Result:
    """What is on the device; ``request["root"]``. Reads every file of the active versions, changes nothing."""
    root = str(request["root"])
    folder = os.path.join(root, "models")
    names = sorted(name for name in os.listdir(folder) if NAME.match(name)) if os.path.isdir(folder) else []
    places = [Place(root=root, name=name) for name in names]
    return {
        "models": [_describe(place) for place in places],
        "free_bytes": staging.free_bytes(Place(root=root, name="none")),
    }


def _describe(place: Place) -> Dict[str, Any]:
    state, active = read_state(place), read_current(place)
    release = state.release_of(active)
    return {
        "name": place.name,
        "active": active,
        "release": release and release.version,
        "floor": state.floor and state.floor.version,
        "previous": state.previous and state.previous.digest,
        "unconfirmed": state.pending is not None,
        "damaged": [] if active is None else find_damage(place.version(active), active),
        "versions": [
            {"digest": digest, "bytes": _folder_bytes(place.version(digest))} for digest in list_versions(place)
        ],
    }


def _folder_bytes(path: str) -> int:
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)


def deploy(request: Request, stdin: BinaryIO, emit: Emit) -> Result:
    """Receive a version, test it here, switch to it.

    request: ``root``, ``name``, ``digest`` (sha256 of the manifest), ``files`` ({path: {sha256, bytes}}, the manifest
    included), ``delegate``, ``delegate_options``, ``require_delegate`` (whether it must take an op), ``hooks``,
    ``keep_versions``, ``dry_run``.

    Emits ``need`` (see ``staging.fetch``; empty in a dry run), ``self-test``, ``switched``, ``hook``, ``alive``.
    Returns ``previous`` and ``active`` (digests), ``received_bytes``, ``needed_bytes``, ``self_test``, ``undone``
    (a switch that an earlier command left unconfirmed), ``removed`` (versions).

    The host keeps stdin open to the end: if it ends before, everything is as it was, except that received bytes are
    kept for the next attempt. Raises AgentError: ``integrity``, ``self-test``, ``gate`` (the application is not
    healthy) or ``device``.
    """
    place, digest, host = read_place(request), str(request["digest"]), Host(stdin, emit)
    files = read_entries(request["files"])
    if not SHA256.match(digest) or files.get(MANIFEST, Entry("", 0)).sha256 != digest:
        raise AgentError("integrity", "The digest is not the manifest's.", "Build the artifact again.")
    if request["dry_run"]:
        return _rehearse(place, digest, files, host)
    wanted = Wanted(
        digest=digest,
        files=files,
        delegate=str(request["delegate"]),
        options=dict(request.get("delegate_options") or {}),
        hooks=read_hooks(request["hooks"]),
        keep_versions=int(request["keep_versions"]),
        require_delegate=bool(request.get("require_delegate")),
    )
    return bring(place, wanted, host, staging.Source(lambda _sha, _offset: nullcontext(host.read), resumes=True))


def bring(
    place: Place,
    wanted: Wanted,
    host: Host,
    source: staging.Source,
    admit: Callable[[State], State] = lambda state: state,
) -> Result:
    """Make ``wanted`` whole on the device, test it here, switch to it; returns and raises what ``deploy`` does.

    ``admit`` sees the state as it is under the lock, and returns it with the floor that holds from the moment the
    switch is confirmed; it raises AgentError to refuse.
    """
    digest, delegate, options = wanted.digest, wanted.delegate, wanted.options
    with explained(place):
        make_folders(place.versions)
        with locked(place, host) as lock, prepared(place.version(digest), delegate, options) as child:
            undone = undo(place)
            before, state = read_current(place), admit(read_state(place))
            received = staging.fetch(place, digest, wanted.files, host, source)
            host.emit("self-test", delegate=delegate)
            report = check(child, delegate, host, lambda: staging.flush(place, digest))
            if wanted.require_delegate:
                require_taken(report)
            _install_library(place)
            unchanged = before == digest and not received and wanted.hooks == state.hooks
            state = state._replace(
                history=_appended(state.history, Activation(digest, delegate, options, wanted.release)),
                hooks=wanted.hooks,
                pending=None,
            )
            if unchanged:
                write_state(place, state)
                drop_way_back(place)  # of a switch that was cut right after it was confirmed
            else:
                activate(place, state, host, lock)
            removed = _prune(place, wanted.keep_versions)
            result = _result(place, before, report, undone)
    return dict(result, received_bytes=received, needed_bytes=received, removed=removed)


def rollback(request: Request, stdin: BinaryIO, emit: Emit) -> Result:
    """Go back to the version that was active before; the same self-test and health check decide.

    request: ``root``, ``name``, ``delegate`` (None: the one it was active with, and its options), ``delegate_options``,
    ``hooks`` (None: those of the last deployment). Returns what ``deploy`` does, without the bytes. Raises AgentError:
    ``device`` when there is no version to go to, ``integrity`` when it was changed on the device, and what ``deploy``
    raises.
    """
    place, host = read_place(request), Host(stdin, emit)
    if not os.path.isdir(place.folder):
        raise AgentError(
            "device",
            "There is no model %r on the device." % place.name,
            "`edgekit device status NAME` shows which there are; choose one with --name.",
        )
    with explained(place), locked(place, host) as lock:
        undone = undo(place)
        before, state = read_current(place), read_state(place)
        target = state.previous
        if target is None:
            raise _no_version(place)
        damage = find_damage(place.version(target.digest), target.digest)
        if damage:
            raise AgentError(
                "integrity",
                "Version %s cannot come back: %s was changed on the device." % (target.digest[:12], ", ".join(damage)),
                "Deploy that artifact again; it repairs the files. The active version stays.",
            )
        delegate, options = _chosen(request, target, place)
        host.emit("self-test", delegate=delegate)
        with prepared(place.version(target.digest), delegate, options) as child:
            report = check(child, delegate, host)
        hooks = state.hooks if request.get("hooks") is None else read_hooks(request["hooks"])
        history = (*state.history[:-2], target._replace(delegate=delegate, options=options))
        activate(place, state._replace(history=history, hooks=hooks), host, lock)
        return _result(place, before, report, undone)


def _no_version(place: Place) -> AgentError:
    return AgentError(
        "device",
        "There is no version of %s before the active one." % place.name,
        "Deploy the artifact you want; `edgekit device status NAME` shows what is on the device.",
    )


def _chosen(request: Request, target: Activation, place: Place) -> "Tuple[str, Dict[str, str]]":
    """Delegate and options of a version that comes back: the request's, those it was active with, its own."""
    if request.get("delegate"):
        return str(request["delegate"]), dict(request.get("delegate_options") or {})
    return tested_delegate(place, target)


def _rehearse(place: Place, digest: str, files: Dict[str, Entry], host: Host) -> Result:
    missing = staging.find_missing(place, digest, files)
    wanted = {files[path].sha256: files[path].bytes for path in missing}
    offsets = staging.find_offsets(place, digest, wanted)
    host.emit("need", files=[], free_bytes=staging.free_bytes(place))
    needed = sum(wanted.values()) - sum(offsets.values())
    result = _result(place, read_current(place), None, None)
    return dict(result, received_bytes=0, needed_bytes=needed, removed=[])


def _result(place: Place, before: Optional[str], report: Optional[Result], undone: Optional[str]) -> Result:
    return {"previous": before, "active": read_current(place), "self_test": report, "undone": undone}


def _appended(history: Tuple[Activation, ...], new: Activation) -> Tuple[Activation, ...]:
    if not history or history[-1].digest != new.digest:
        return (*history, new)
    release = new.release or history[-1].release  # a deployment of what is active leaves it the release it came with
    return (*history[:-1], new._replace(release=release))


def _install_library(place: Place) -> None:
    """Put this package where applications import it: ``PYTHONPATH=ROOT/lib/edgekit.pyz``."""
    path = os.path.join(place.root, LIBRARY)
    packed = PACKAGE if os.path.isfile(PACKAGE) else os.path.join(PACKAGE, "edgekit.pyz")
    if not os.path.isfile(packed):
        return  # run from a source tree, whose users import it from there
    with open(packed, "rb") as stream:
        data = stream.read()
    if os.path.isfile(path) and os.path.getsize(path) == len(data):
        with open(path, "rb") as stream:
            if stream.read() == data:
                return
    make_folders(os.path.dirname(path))
    write_file(path, data)


def _prune(place: Place, keep: int) -> List[str]:
    """Remove the oldest versions until ``keep`` are left; never the active one or the one before."""
    state = read_state(place)
    needed = [item.digest for item in state.history[-2:]]
    recent = [item.digest for item in reversed(state.history[:-2])]
    order = sorted(set(list_versions(place)), key=_rank(needed + recent))
    removed = []
    for digest in order[max(keep, len(set(needed))) :]:
        trash = os.path.join(place.staging, digest)
        try:
            os.makedirs(place.staging, mode=0o700, exist_ok=True)
            shutil.rmtree(trash, ignore_errors=True)
            os.rename(place.version(digest), trash)  # so that no half of it is ever seen
            shutil.rmtree(trash)
        except OSError as err:
            with suppress(OSError):  # the switch is confirmed: neither a disk nor a log makes it a failure now
                sys.stderr.write("%s could not be removed: %s\n" % (place.version(digest), err))
            continue
        removed.append(digest)
    return removed


def _rank(order: List[str]) -> Any:
    return lambda digest: order.index(digest) if digest in order else len(order)
