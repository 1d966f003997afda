"""``edgekit doctor``: what this machine has, and how to get what it has not."""

from typing import TYPE_CHECKING

import click

from edgekit.cli.options import common, emit, output, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.doctor import Check

INSTALLABLE = ("onnx",)
"""Keys of ``edgekit_converters.environments.TOOLS``, here so that the help loads nothing."""


@click.command()
@click.option("--install", type=click.Choice(INSTALLABLE), help="Make this tool's environment now (downloads 0.2 GB).")
@common
def command(install: str | None, *, as_json: bool, verbose: bool) -> None:  # noqa: ARG001 - acts in its callback
    """Show what this machine has of what edgekit needs, with what installs the rest.

    Ends with exit code 1 where something is broken; what is only missing is optional.
    """
    from edgekit.cli.options import bar_progress
    from edgekit.doctor import examine
    from edgekit.doctor import install as install_tool

    if install is not None:
        with progress() as bar:
            install_tool(install, bar_progress(bar))
    checks = examine()
    if as_json:
        emit({"checks": checks})
    else:
        render(checks)
    if any(check.state == "broken" for check in checks):
        click.get_current_context().exit(1)


def render(checks: "Sequence[Check]") -> None:
    """A table on stdout, each fix below its line."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "", "found", "for", box=None, pad_edge=False, show_header=False)
    colours = {"ok": "green", "missing": "yellow", "broken": "red"}
    for check in checks:
        table.add_row(f"[{colours[check.state]}]{check.state}[/]", check.name, escape(check.found), check.purpose)
        if check.fix is not None:
            table.add_row("", "", f"[dim]fix: {escape(check.fix)}[/]", "")
    output().print(table)
