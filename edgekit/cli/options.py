"""What every command shares: options with their environment variable, JSON on stdout, messages on stderr."""

import json
import logging
import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console
    from rich.progress import Progress

    from edgekit.progress import Progress as StepProgress


class Finding(Protocol):
    """A finding of any layer."""

    @property
    def name(self) -> str: ...
    @property
    def severity(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def fix(self) -> str: ...


PIPE_WIDTH = 1000
"""Wider than any table."""
F = TypeVar("F", bound=Callable[..., Any])


def option(*names: str, **settings: Any) -> Callable[[F], F]:
    """``click.option`` with ``EDGEKIT_NAME`` as its environment variable, shown in the help."""
    long = next(name for name in names if name.startswith("--")).split("/")[0]
    variable = "EDGEKIT_" + long.removeprefix("--").replace("-", "_").upper()
    return click.option(*names, **{"envvar": variable, "show_envvar": True, **settings})


def common(function: F) -> F:
    """The ``--json`` and ``-v`` of every command; passed on as ``as_json`` and ``verbose``."""
    function = click.option("--json", "as_json", is_flag=True, help="Data on stdout as JSON; messages on stderr.")(
        function
    )
    return click.option("-v", "--verbose", is_flag=True, callback=_verbosity, help="More of what happens; tracebacks.")(
        function
    )


def _verbosity(_context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s", force=True)
    for name in ("edgekit", "edgekit_converters"):
        logging.getLogger(name).setLevel(logging.DEBUG if value else logging.WARNING)
    # quiet: what paramiko has to say reaches the user as our own error; its DEBUG is the wire, a screen a connection
    logging.getLogger("paramiko").setLevel(logging.INFO if value else logging.CRITICAL)
    return value


def emit(value: Any) -> None:
    """Print a JSON document on stdout; ``schema_version`` comes first."""
    import msgspec

    document = msgspec.to_builtins(value, enc_hook=str)  # paths
    click.echo(json.dumps({"schema_version": 1, **document}, indent=2))


def console() -> "Console":
    """Where messages, tables of progress and findings go: stderr."""
    from edgekit.report.terminal import Terminal

    return Terminal(stderr=True, soft_wrap=True, highlight=False)


def output() -> "Console":
    """Where results go: stdout. Never wider than the terminal, never folded in a pipe."""
    from edgekit.report.terminal import Terminal

    return Terminal(highlight=False) if sys.stdout.isatty() else Terminal(highlight=False, width=PIPE_WIDTH)


@contextmanager
def progress() -> "Iterator[Progress]":
    """A progress display on stderr that leaves nothing behind; silent where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    err = Console(stderr=True)
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        yield bar


def bar_progress(bar: "Progress") -> "StepProgress":
    """Steps of long work as one line that changes."""
    task = bar.add_task("start", total=None)

    def show(step: str, done: int | None = None, total: int | None = None) -> None:
        bar.update(task, description=step, completed=done or 0, total=total)

    return show


def print_findings(findings: "Iterable[Finding]") -> None:
    """Each finding on stderr: what was found, and what to do about it."""
    from rich.markup import escape

    colours = {"error": "red", "warning": "yellow", "info": "cyan"}
    err = console()
    for finding in findings:
        colour = colours[finding.severity]
        err.print(f"[{colour}]{finding.severity}[/{colour}] {escape(finding.name)}: ", end="")
        err.print(finding.message, markup=False)
        if finding.fix:
            err.print(f"  fix: {finding.fix}", markup=False, style="dim")
