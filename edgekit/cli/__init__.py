"""The command line: parse, one call, render. One module a command, imported when it is called."""

import sys
from importlib import import_module
from typing import Any

import click

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Train, build, deploy and benchmark a small model on this machine."),
    "init": ("init", "Write a commented edgekit.toml for a model."),
    "build": ("build", "Turn a trained model into a checked artifact for a target."),
    "inspect": ("inspect", "Show what is in an artifact or a .tflite file."),
    "evaluate": ("evaluate", "Measure accuracy on held-out samples, here and on a device."),
    "explain": ("explain", "Show where the precision of an artifact goes, layer by layer."),
    "run": ("run", "Make one prediction on this machine."),
    "deploy": ("deploy", "Put an artifact on a device; active only after its self-test."),
    "rollback": ("rollback", "Go back to the version before."),
    "bench": ("bench", "Measure latency, memory, energy, battery and heat on a device."),
    "compare": ("compare", "Say which model is faster on a device, and how sure that is."),
    "tune": ("tune", "Find the fastest file, threads and delegate that keep the accuracy."),
    "key": ("key", "Signing keys for bundles: new, show."),
    "bundle": ("bundle", "Signed bundles for update systems: create, verify, patch, device-files, rollout."),
    "runs": ("runs", "Kept runs: list, show, export."),
    "report": ("report", "Show kept runs side by side, here or as a page."),
    "target": ("target", "Target profiles: list, show, new."),
    "doctor": ("doctor", "Show what this machine has of what edgekit needs; --install onnx."),
    "device": ("device", "Devices: list, add, remove, trust, rekey, setup, status."),
}
"""Command -> (module of this package with a ``command`` in it, one line of help)."""


class LazyGroup(click.Group):
    """Names and help lines come from ``COMMANDS``; a module is imported only when its command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"edgekit.cli.{COMMANDS[cmd_name][0]}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and name not in COMMANDS and not name.startswith("-"):
            import difflib

            close = difflib.get_close_matches(name, COMMANDS, n=1)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {close[0]!r}?" if close else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version

        click.echo(f"edgekit {version('edgekit')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def cli() -> None:
    """From a trained model to a working, measured deployment on a small device.

    Every command takes --json (data on stdout, messages on stderr) and -v.
    """


def main() -> Any:
    """Entry point: runs the command and turns every failure into its exit code."""
    from edgekit.cli.failures import guarded

    sys.exit(guarded(cli))
