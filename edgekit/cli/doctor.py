"""``edgekit doctor``: what this machine and a device have, and how to get what they have not."""

from itertools import groupby
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import common, emit, option, output, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.doctor import Check

INSTALLABLE = ("onnx", "rknn")
"""Keys of ``edgekit_converters.environments.TOOLS``, here so that the help loads nothing."""


@click.command()
@option("--device", help="Look at this device, too: a name in device_configs/, user@host, or local.")
@click.option(
    "--install",
    type=click.Choice(INSTALLABLE),
    help="Make this tool's environment now (onnx downloads 0.2 GB, rknn 1 GB).",
)
@common
def command(device: str | None, install: str | None, *, as_json: bool, verbose: bool) -> None:  # noqa: ARG001
    """Show what this machine has of what edgekit needs, with what installs the rest; with --device a board as well.

    Ends with exit code 1 where something is broken; what is only missing is optional.
    """
    from edgekit.cli.options import bar_progress
    from edgekit.doctor import examine
    from edgekit.doctor import install as install_tool

    if install is not None:
        with progress() as bar:
            install_tool(install, bar_progress(bar))
    checks = examine() if device is None else (*examine(), *_ask(device))
    if as_json:
        emit({"checks": checks})
    else:
        render(checks)
    if any(check.state == "broken" for check in checks):
        click.get_current_context().exit(1)


def _ask(name: str) -> "tuple[Check, ...]":
    from edgekit.doctor import examine_device
    from edgekit.target import load_target
    from edgekit.transport import connect, find_device

    device = find_device(name)
    target = load_target(device.table.target) if device.table.target else None
    with connect(device) as connection:
        return examine_device(connection, target)


def render(checks: "Sequence[Check]") -> None:
    """A table on stdout for every place, each fix below its line."""
    from rich.markup import escape
    from rich.table import Table

    colours = {"ok": "green", "missing": "yellow", "broken": "red"}
    for where, group in groupby(checks, key=lambda check: check.where):
        table = Table("", "", "found", "for", box=None, pad_edge=False, show_header=False)
        for check in group:
            state, name = f"[{colours[check.state]}]{check.state}[/]", escape(check.name)
            table.add_row(state, name, escape(check.found), escape(check.purpose))
            if check.fix is not None:
                table.add_row("", "", f"[dim]fix: {escape(check.fix)}[/]", "")
        output().print(f"[bold]{escape(where)}[/bold]")
        output().print(table)
