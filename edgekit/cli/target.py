"""``edgekit target list|show``."""

from pathlib import Path

import click

from edgekit.cli.options import common, emit, output


@click.group()
def command() -> None:
    """Target profiles: what a board has and takes. Your own go into ./targets/NAME.toml."""


@command.command("list")
@common
def list_command(*, as_json: bool, verbose: bool) -> None:  # noqa: ARG001 - verbose acts in its callback
    """Show every profile."""
    from edgekit.target import list_targets

    targets = list_targets()
    if as_json:
        emit({"targets": targets})
        return
    from rich.table import Table

    table = Table("target", "build", "delegate", "precisions", "description", box=None, pad_edge=False)
    for target in targets:
        precisions = " ".join(target.quantization.precisions)
        table.add_row(target.name, target.support.build, target.delegate, precisions, target.description)
    output().print(table)


@command.command("show")
@click.argument("name")
@common
def show_command(name: str, *, as_json: bool, verbose: bool) -> None:  # noqa: ARG001
    """Show one profile with its sources."""
    from edgekit.target import load_target, target_file

    target = load_target(name)
    if as_json:
        emit({"target": target})
        return
    click.echo(target_file(name, Path()).read_text().rstrip())
