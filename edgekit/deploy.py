"""A model goes to a device: one agent command receives it, tests it there, switches, and undoes what fails.

``deploy`` and ``rollback`` say what is wanted, send the bytes the device asks for, and turn its answer into a value;
every decision that must hold when this machine goes away is taken on the device (edgekit/agent/store.py).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgekit.agent.layout import NAME
from edgekit.artifact import Artifact
from edgekit.delegate_pairs import explain_crash
from edgekit.deployment import Deployment, SelfTest, delegate_findings
from edgekit.device import LOCAL, PLAIN_DELEGATES, choose_delegate
from edgekit.documents import convert
from edgekit.entries import FindingEntry
from edgekit.errors import ArtifactError, DeviceConfigError, DeviceFaultError, SelfTestError, TargetError
from edgekit.project import Deploy
from edgekit.target import Target
from edgekit.transport import Connection

CHUNK_BYTES = 256 * 1024
TIMEOUT_S = 60.0
"""Longest silence of the device; it says that it lives every few seconds."""

Progress = Callable[[int, int], None]
"""Called with the payload bytes sent and the bytes to send."""


def deploy(
    artifact: Artifact,
    connection: Connection,
    *,
    target: Target | None = None,
    name: str | None = None,
    settings: Deploy | None = None,
    dry_run: bool = False,
    require_delegate: bool = False,
    on_progress: Progress = lambda _sent, _total: None,
) -> Deployment:
    """Make ``artifact`` the active version of model ``name`` on the device, or leave everything as it was.

    ``target`` is the profile of the device where one is known. ``settings`` default to no hooks, ``name`` to the
    artifact's own. A dry run changes no model there and sends none. ``require_delegate``: the delegate must take an op.

    Raises:
        ArtifactError: built for another target.
        TargetError: something else than edgekit brings files to devices of this target.
        CoverageError: the required delegate took none of the model's ops; the version before stays active.
        SelfTestError: the device does not reproduce the golden vectors; ``details`` hold the report.
        GateError: the application is not healthy with it; the version before is active again.
        IntegrityError: bytes were damaged on the way.
        DeviceFaultError: no runtime, disk full or read-only, another deployment is running.
        TransportError: the connection was lost; what was received is kept for the next attempt.
    """
    from edgekit.transport.agent import call, prepare_agent, result

    started = time.monotonic()
    settings = settings or Deploy()
    delegate, options = choose_delegate(
        connection.device.table, own=artifact.manifest.delegate, own_options=artifact.manifest.delegate_options
    )
    findings = check_target(artifact, connection.device.name, target)
    name = check_name(name or settings.name or artifact.manifest.name)
    upload = _Upload(artifact, on_progress)
    agent = prepare_agent(connection)
    wanted = {"name": name, "delegate": delegate, "delegate_options": options, "require_delegate": require_delegate}
    request = {"root": agent.root, "dry_run": dry_run, **wanted, **_files_and_hooks(artifact, settings)}
    events = call(agent, "deploy", request, answer=upload.answer, keep_open=True, timeout_s=TIMEOUT_S)
    try:
        done = result(events)
    except SelfTestError as err:
        raise explain_crash(err, delegate) from err
    test = _read_self_test(done)
    return Deployment(
        device=connection.device.name,
        name=name,
        digest=artifact.digest,
        previous=done["previous"],
        active=done["active"] == artifact.digest,
        dry_run=dry_run,
        bytes_sent=done["needed_bytes"],
        seconds=time.monotonic() - started,
        self_test=test,
        removed=tuple(done["removed"]),
        findings=(*findings, *_undone(done), *delegate_findings(test)),
    )


def rollback(connection: Connection, *, name: str, settings: Deploy | None = None) -> Deployment:
    """Make the version before the active one active again; self-test and health check decide as in ``deploy``.

    ``settings`` None: the hooks of the last deployment.

    Raises:
        IntegrityError: that version was changed on the device; the active one stays.
        DeviceFaultError: there is no version before.
        SelfTestError, GateError, TransportError: as ``deploy``.
    """
    from edgekit.transport.agent import call, prepare_agent, result

    started = time.monotonic()
    agent = prepare_agent(connection)
    request = {
        "root": agent.root,
        "name": check_name(name),
        "delegate": connection.device.table.delegate,
        "delegate_options": connection.device.table.delegate_options,
        "hooks": None if settings is None else _hooks(settings),
    }
    done = result(call(agent, "rollback", request, keep_open=True, timeout_s=TIMEOUT_S))
    test = _read_self_test(done)
    return Deployment(
        device=connection.device.name,
        name=name,
        digest=done["active"],
        previous=done["previous"],
        active=True,
        bytes_sent=0,
        seconds=time.monotonic() - started,
        self_test=test,
        findings=(*_undone(done), *delegate_findings(test)),
    )


def only_model(connection: Connection) -> str:
    """Name of the only model on the device; raises DeviceFaultError where there is none, or several."""
    from edgekit.transport.agent import call, prepare_agent, result

    agent = prepare_agent(connection)
    names = [str(model["name"]) for model in result(call(agent, "status", {"root": agent.root}))["models"]]
    if len(names) != 1:
        raise DeviceFaultError(
            f"{connection.device.name} has {len(names)} models: {', '.join(names)}."
            if names
            else f"There is no model on {connection.device.name}.",
            hint="Name the one with --name." if names else "Deploy one: edgekit deploy ARTIFACT --device NAME.",
        )
    return names[0]


def check_name(name: str) -> str:
    """``name`` if a model on a device can be called like this; raises DeviceConfigError."""
    if not NAME.match(name):
        raise DeviceConfigError(
            f"{name!r} cannot be the name of a model on a device.",
            hint="Use letters, digits, '.', '_' and '-', 63 at most, a letter or digit first.",
        )
    return name


def check_target(artifact: Artifact, device: str, target: Target | None) -> tuple[FindingEntry, ...]:
    """Whether the artifact may go to a device of this profile; what should be known about it.

    An artifact for the plain CPU runs wherever a TFLite runtime does: then the self-test decides, and that is said.
    Raises TargetError where something else than edgekit brings files to such a device; ArtifactError for any other
    artifact of another target, and for a file that is no .tflite.
    """
    manifest = artifact.manifest
    if target is not None and target.support.deploy == "elsewhere":
        raise TargetError(
            f"edgekit cannot deploy to {target.name}, the target of {device}. {target.support.missing}",
            hint=f"{artifact.path / manifest.model} is the file; `edgekit target list` shows where edgekit deploys to.",
        )
    if not manifest.model.endswith(".tflite"):
        raise ArtifactError(
            f"{artifact.path} was built for {manifest.target}: no TFLite runtime runs its {manifest.model}.",
            hint=f"Build one that {device} can run: edgekit build --target {target.name if target else 'NAME'}.",
        )
    if target is not None and target.name == manifest.target:
        return ()
    known = f"the target of {device} is {target.name}" if target is not None else f"{device} states no target"
    if target is not None and (manifest.delegate not in PLAIN_DELEGATES or target.runtime.kind != "tflite"):
        raise ArtifactError(
            f"{artifact.path} was built for {manifest.target} (delegate {manifest.delegate}); {known}.",
            hint=f"Build it for the device: edgekit build --target {target.name}.",
        )
    return (
        FindingEntry(
            name="other-target",
            severity="info",
            message=f"Built for {manifest.target}; {known}. "
            + ("A plain CPU model: " if manifest.delegate in PLAIN_DELEGATES else f"It needs {manifest.delegate}: ")
            + "the self-test on the device decides.",
            fix=("Build for it: " if device == LOCAL else "Set `target` in the device's table, or build for it: ")
            + f"edgekit build --target {target.name if target is not None else 'NAME'}.",
        ),
    )


class _Upload:
    """Answers the device's ``need`` event with the bytes it asks for."""

    def __init__(self, artifact: Artifact, on_progress: Progress) -> None:
        self._on_progress = on_progress
        self._files = {entry.sha256: (artifact.path / path, entry.bytes) for path, entry in artifact.files.items()}

    def answer(self, event: Mapping[str, Any]) -> Iterable[bytes]:
        return self._chunks(event["files"]) if event["event"] == "need" else ()

    def _chunks(self, needed: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
        parts = [(*self._find(str(item["sha256"])), int(item["offset"])) for item in needed]
        total = sum(size - offset for _, size, offset in parts)
        sent = 0
        self._on_progress(sent, total)
        for path, size, offset in parts:
            for chunk in _read(path, offset, size - offset):
                yield chunk
                sent += len(chunk)
                self._on_progress(sent, total)

    def _find(self, sha256: str) -> tuple[Path, int]:
        try:
            return self._files[sha256]
        except KeyError:
            raise DeviceFaultError(
                f"The device asks for {sha256[:12]}, which is no file of the artifact.",
                hint="Its agent is damaged; remove the folder `agent` below edgekit's root on the device.",
            ) from None


def _read(path: Path, offset: int, size: int) -> Iterator[bytes]:
    with path.open("rb") as stream:
        stream.seek(offset)
        while size > 0:
            chunk = stream.read(min(size, CHUNK_BYTES))
            if not chunk:
                raise ArtifactError(f"{path} became shorter while it was sent.", hint="Build the artifact again.")
            size -= len(chunk)
            yield chunk


def _files_and_hooks(artifact: Artifact, settings: Deploy) -> dict[str, Any]:
    """What shall be there, and what the application does about it."""
    return {
        "digest": artifact.digest,
        "files": {path: {"sha256": entry.sha256, "bytes": entry.bytes} for path, entry in artifact.files.items()},
        "hooks": _hooks(settings),
        "keep_versions": settings.keep_versions,
    }


def _hooks(settings: Deploy) -> dict[str, Any]:
    return {
        "on_activate": settings.on_activate,
        "health_check": settings.health_check,
        "health_timeout_s": settings.health_timeout_s,
    }


def _read_self_test(done: Mapping[str, Any]) -> SelfTest | None:
    report = done.get("self_test")
    return None if report is None else convert(report, SelfTest, DeviceFaultError, where="the device's self-test")


def _undone(done: Mapping[str, Any]) -> tuple[FindingEntry, ...]:
    if not done["undone"]:
        return ()
    return (
        FindingEntry(
            name="unconfirmed-switch",
            severity="warning",
            message=f"An earlier switch to {done['undone'][:12]} was never confirmed (power lost?); undone.",
            fix="Nothing to do; look at the device's log if you did not cut its power.",
        ),
    )
