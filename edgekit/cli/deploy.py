"""``edgekit deploy``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import common, console, emit, option, output, print_findings, progress

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.deployment import Deployment, SelfTest

BUILD = Path("build")


@click.command()
@click.argument("artifact", required=False, type=click.Path(path_type=Path))
@option("--device", required=True, help="A name in device_configs/, user@host, or local.")
@option("--name", help="Name of the model on the device.  [default: [deploy] name, else the artifact's]")
@option("--require-delegate", is_flag=True, help="Exit 3 where the delegate takes none of the model's ops.")
@option("--dry-run", is_flag=True, help="Say what would be sent; change no model on the device.")
@common
def command(
    *,
    artifact: Path | None,
    device: str,
    name: str | None,
    require_delegate: bool,
    dry_run: bool,
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
) -> None:
    """Put ARTIFACT on a device; it becomes active only after its self-test there.

    ARTIFACT defaults to the one below build/ for the device's target.
    """
    from edgekit.artifact import read_artifact
    from edgekit.deploy import check_target, deploy
    from edgekit.errors import SelfTestError
    from edgekit.project import load_project
    from edgekit.target import load_target
    from edgekit.transport import connect, find_device

    resolved = find_device(device)
    target = load_target(resolved.table.target) if resolved.table.target else None
    chosen = read_artifact(artifact) if artifact is not None else find_artifact(BUILD, resolved.table.target)
    settings = load_project().deploy
    check_target(chosen, resolved.name, target)  # before a connection: phones and microcontrollers have no ssh
    try:
        with connect(resolved) as connection, progress() as bar:
            task = bar.add_task(f"deploy to {device}", total=None)
            deployment = deploy(
                chosen,
                connection,
                target=target,
                name=name,
                settings=settings,
                dry_run=dry_run,
                require_delegate=require_delegate,
                on_progress=lambda sent, total: bar.update(task, completed=sent, total=total),
            )
    except SelfTestError as err:
        print_mismatch(err.details)
        raise
    show_deployment(deployment, as_json=as_json)


def show_deployment(deployment: "Deployment", *, as_json: bool) -> None:
    """The result on stdout, its findings on stderr; of a deployment and of a rollback."""
    if as_json:
        emit(deployment)
    else:
        print_deployment(deployment)
    print_findings(deployment.findings)


def find_artifact(folder: Path, target: str | None, *, command: str = "deploy") -> "Artifact":
    """The only artifact below ``folder`` (for ``target``, where one is given); which one is said on stderr.

    Raises ArtifactError when there is none, or several.
    """
    from edgekit.artifact import MANIFEST, read_artifact
    from edgekit.errors import ArtifactError

    found = [read_artifact(path.parent) for path in sorted(folder.glob(f"*/{MANIFEST}"))]
    fitting = [artifact for artifact in found if target is None or artifact.manifest.target == target]
    purpose = f" for {target}" if target else ""
    if len(fitting) != 1:
        names = ", ".join(str(artifact.path) for artifact in fitting or found)
        raise ArtifactError(
            f"There is no artifact{purpose} in {folder}{': ' + names if names else ''}."
            if not fitting
            else f"There are {len(fitting)} artifacts{purpose} in {folder}: {names}.",
            hint=f"Name the one to {command}: edgekit {command} ARTIFACT --device NAME."
            if found
            else f"Build one first: edgekit build --target {target or 'NAME'}.",
        )
    console().print(f"Taking {fitting[0].path}, the only artifact{purpose}.", markup=False)
    return fitting[0]


def print_deployment(deployment: "Deployment") -> None:
    """What happened, a fact a line, on stdout."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for label, value in _facts(deployment):
        table.add_row(f"[dim]{label}[/dim]", value)
    output().print(table)


def _facts(deployment: "Deployment") -> list[tuple[str, str]]:
    changed = deployment.previous != deployment.digest
    state = ("active" if changed else "active, as before") if deployment.active else "not active"
    facts = [
        ("model", f"{deployment.name} on {deployment.device}"),
        ("version", f"{deployment.digest[:12]} ({state})"),
        ("before", deployment.previous[:12] if deployment.previous else "nothing"),
        ("would send" if deployment.dry_run else "sent", f"{deployment.bytes_sent:,} bytes"),
    ]
    if deployment.self_test is not None:
        facts.append(("self-test", _self_test_line(deployment.self_test)))
    if deployment.removed:
        facts.append(("removed", ", ".join(digest[:12] for digest in deployment.removed)))
    return [*facts, ("time", f"{deployment.seconds:.1f} s")]


def _self_test_line(test: "SelfTest") -> str:
    worst = ", ".join(
        f"{check.difference:.3g} {'steps' if check.unit == 'steps' else 'relative'} ({check.allowed:.3g} allowed)"
        for check in test.outputs
        if check.difference is not None
    )
    vectors = f"{test.vectors} {test.kind} vectors"
    by = next((len(item.nodes) for item in test.taken if item.delegate == test.delegate), 0)
    ran = test.delegate if test.ops is None or test.delegate == "none" else f"{test.delegate} ({by} of {test.ops} ops)"
    return f"passed: {vectors}, largest difference {worst}; {ran}, {test.runtime} {test.version}"


def print_mismatch(details: dict[str, Any]) -> None:
    """Expected against found, for each output, on stderr; nothing when the device had no report."""
    from rich.table import Table

    from edgekit.deployment import SelfTest
    from edgekit.documents import convert
    from edgekit.errors import DeviceFaultError

    if "self_test" not in details:
        return
    test = convert(details["self_test"], SelfTest, DeviceFaultError, where="the device's self-test")
    for check in test.outputs:
        table = Table(title=f"{check.output}, vector {check.vector}", title_justify="left")
        for heading in ("element", "expected", "found"):
            table.add_column(heading, justify="right")
        for position, (expected, found) in enumerate(zip(check.expected, check.found, strict=True), check.first_shown):
            style = "red" if position == check.at and not check.passed else None
            table.add_row(str(position), _number(expected), _number(found), style=style)
        console().print(table)


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:g}"
