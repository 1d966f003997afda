"""``edgekit target list|show|new``."""

from typing import TYPE_CHECKING

import click

from edgekit.cli.options import common, console, emit, option, output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.target import Memory, Target


@click.group()
def command() -> None:
    """Target profiles: what a board has and takes. Your own go into ./targets/NAME.toml."""


@command.command("list")
@common
def list_command(*, as_json: bool, verbose: bool) -> None:  # noqa: ARG001 - verbose acts in its callback
    """Show every profile: its runtime, what computes there, its memory, and what edgekit does for it."""
    from edgekit.errors import TargetError
    from edgekit.target import profile_files, read_target

    targets, errors = [], []
    for path in profile_files():
        try:
            targets.append(read_target(path))
        except TargetError as err:  # one's own file that is broken hides no others
            errors.append(err)
    targets.sort(key=lambda target: target.name)
    if as_json:
        emit({"targets": targets, "errors": [{"message": err.message, "hint": err.hint} for err in errors]})
    else:
        _print_list(targets)
    for broken in errors:
        console().print(f"error: {broken.message}\n next: {broken.hint}", markup=False, style="red")
    if errors:
        click.get_current_context().exit(errors[0].exit_code)


def _print_list(targets: "Sequence[Target]") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("target", no_wrap=True)  # a name that is cut short cannot be copied
    for title in ("runtime", "accelerators", "memory", "edgekit"):
        table.add_column(title)
    for target in targets:
        names = ", ".join(accelerator.name for accelerator in target.accelerators)
        table.add_row(
            target.name, target.runtime.kind, names or "-", _memory(target.memory), ", ".join(_support(target))
        )
    output().print(table)


def _memory(memory: "Memory") -> str:
    """``1 to 8 GiB`` of RAM, or the SRAM and the flash of a microcontroller; ``-`` where machines differ."""
    if memory.ram_mib:
        sizes = sorted(memory.ram_mib)
        return _size(sizes[0] * 1024) if len(sizes) == 1 else f"{_size(sizes[0] * 1024)} to {_size(sizes[-1] * 1024)}"
    parts = [(memory.sram_kib, "SRAM"), (memory.flash_kib, "flash")]
    return ", ".join(f"{_size(kib)} {what}" for kib, what in parts if kib is not None) or "-"


def _size(kib: int) -> str:
    for unit, factor in (("GiB", 1024 * 1024), ("MiB", 1024)):
        if kib >= factor and kib % factor == 0:
            return f"{kib // factor} {unit}"
    return f"{kib} KiB"


def _support(target: "Target") -> list[str]:
    """What edgekit does for it."""
    if target.support.build == "planned":
        return ["planned"]
    return ["builds", "deploys"] if target.support.deploy == "ready" else ["builds"]


@command.command("show")
@click.argument("name")
@common
def show_command(name: str, *, as_json: bool, verbose: bool) -> None:  # noqa: ARG001
    """Show one profile with its sources."""
    from edgekit.report.plain import plain
    from edgekit.target import load_target, target_file

    target = load_target(name)
    if as_json:
        emit({"target": target})
        return
    path = target_file(name)
    click.echo(plain(path.read_text(encoding="utf-8").rstrip()))
    err = console()
    err.print(f"{path}: {target.runtime.kind}, {_memory(target.memory)}; edgekit {' and '.join(_support(target))}.")
    if target.support.missing:
        err.print(target.support.missing, markup=False)


@command.command("new")
@click.argument("name")
@option("--from", "source", required=True, help="The profile to start from, such as rpi4.")
@option("--description", help="For people.  [default: NAME, from the other's]")
@option("--force", is_flag=True, help="Overwrite targets/NAME.toml.")
@common
def new_command(
    name: str,
    *,
    source: str,
    description: str | None,
    force: bool,
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
) -> None:
    """Start a profile of your own in ./targets/NAME.toml from another, with its comments and sources."""
    from edgekit.new_target import new_target

    path, target = new_target(name, source, description=description, force=force)
    if as_json:
        emit({"file": path, "target": target})
        return
    err = console()
    err.print(f"Wrote {path}, which says what {source} does.", markup=False)
    err.print("Next: correct what is different, each fact with its source; docs/targets.md explains every key.")
    steps = [f"edgekit target show {name}", f"edgekit build --target {name}"]
    if target.support.deploy == "ready":
        steps.append(f"edgekit device add NAME --target {name}")
    err.print(f"Then: {', '.join(steps)}.")
    rules = sorted({item.rules for item in target.accelerators if item.rules is not None})
    if rules:
        err.print(f"The rules of its ops ({', '.join(rules)}) stay shared; others of your own go into targets/rules/.")
