"""``edgekit demo``: the first five minutes."""

import shlex
import shutil
import sys
from pathlib import Path

import click

from edgekit.cli.options import common, console, emit, output, print_findings, progress


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default="edgekit-demo",
    show_default=True,
    help="Where everything is made; the device's files too.",
)
@common
def command(folder: Path, *, as_json: bool, verbose: bool) -> None:  # noqa: ARG001 - verbose acts in its callback
    """Train a small network on real digits, build it for a Raspberry Pi 4, deploy it to this machine, measure it.

    Needs the [keras] extra: pip install "edgekit[keras]".
    """
    from edgekit.cli.artifact_text import render as render_artifact
    from edgekit.cli.deploy import print_deployment
    from edgekit.cli.options import bar_progress
    from edgekit.demo import demo
    from edgekit.report import document, print_report

    err = console()
    with progress() as bar:
        found = demo(folder, say=lambda step: err.print(step, style="bold"), progress=bar_progress(bar))
    if as_json:
        report = document(found.report)
        emit({"folder": str(folder), "artifact": found.artifact, "deployment": found.deployment, "report": report})
        return
    render_artifact(found.artifact)
    print_deployment(found.deployment)
    print_findings(found.deployment.findings)
    print_report(found.report, output())
    print_findings(found.report.findings)
    click.echo(f"\nEverything is in {folder}/. Next, on a board of your own:")
    for line in next_steps(folder):
        click.echo(f"  {line}")
    click.echo("Or as a signed bundle, for a fleet:")
    for line in bundle_steps(found.artifact.path.relative_to(folder)):
        click.echo(f"  {line}")


def next_steps(folder: Path) -> list[str]:
    """What to type to do the same on a board; starts with PATH where this edgekit is not what the shell would find."""
    program = Path(sys.argv[0]).absolute()
    found = shutil.which("edgekit")
    is_found = found is not None and Path(found).resolve() == program.resolve()
    steps = (f"device {verb} pi@ADDRESS" for verb in ("trust", "setup"))
    return [
        *([] if is_found or program.name != "edgekit" else [f"export PATH={shlex.quote(str(program.parent))}:$PATH"]),
        f"cd {shlex.quote(str(folder))}",
        *(f"edgekit {step}" for step in steps),
        *(f"edgekit {verb} --device pi@ADDRESS" for verb in ("deploy", "bench")),
    ]


def bundle_steps(artifact: Path) -> list[str]:
    """What to type, in the demo's folder, to bundle ``artifact`` and to look at what that gave."""
    file = "digits-1.0.0.tar"
    return [
        "edgekit key new --output keys",
        f"edgekit bundle create {artifact} --format tar --keys keys --version 1.0.0 --output {file}",
        f"edgekit bundle verify {file} --keys keys/public",
    ]
