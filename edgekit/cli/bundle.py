"""``edgekit bundle``: create, verify, patch, device-files, rollout."""

from pathlib import Path

import click

from edgekit.cli.bundle_create import create_command
from edgekit.cli.bundle_options import FILE, keys_option, print_verified, settings_option
from edgekit.cli.bundle_rollout import rollout_command
from edgekit.cli.options import bar_progress, common, console, emit, option, output, progress


@click.group()
def command() -> None:
    """Firmware bundles: one signed release in the format of the fleet's own update system."""


command.add_command(create_command)
command.add_command(rollout_command)


@command.command("verify", short_help="Check a bundle: every byte, signatures, device.")
@click.argument("file", type=FILE)
@keys_option
@option("--device-version", metavar="V", help="Refuse this version again and older ones.")
@option("--target", help="Refuse what was built for another target profile.")
@option("--hardware", help="Refuse what does not name this device.")
@option("--skip-tool", is_flag=True, help="Do not ask the format's own tool in addition.")
@common
def verify_command(
    *,
    file: Path,
    keys: Path,
    device_version: str | None,
    target: str | None,
    hardware: str | None,
    skip_tool: bool,
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
) -> None:
    """Check every byte of FILE, its signatures, and whether a device may have it; exit 8 where not."""
    from datetime import UTC, datetime

    from edgekit.bundle.verify import Policy, check_version, verify_bundle
    from edgekit.keys.trust import read_trust

    policy = Policy(
        now=datetime.now(UTC),
        device_version=None if device_version is None else check_version(device_version),
        target=target,
        hardware=hardware,
    )
    with progress() as bar:
        verified = verify_bundle(file, read_trust(keys), policy, with_tool=not skip_tool, progress=bar_progress(bar))
    if as_json:
        emit(verified)
    else:
        print_verified(verified)
        console().print("[green]Accepted.[/green]")


@command.command("patch", short_help="Make the newer bundle of the old one and a delta.")
@click.argument("old", type=FILE)
@click.argument("delta", type=FILE)
@keys_option
@option("--output", required=True, type=FILE, metavar="FILE", help="Replaced when what the delta makes is verified.")
@option("--skip-tool", is_flag=True, help="Do not ask the format's own tool in addition.")
@common
def patch_command(
    *,
    old: Path,
    delta: Path,
    keys: Path,
    output: Path,
    skip_tool: bool,
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
) -> None:
    """Make the newer bundle of OLD and DELTA; both ends are verified, and an older version is refused."""
    from datetime import UTC, datetime

    from edgekit.bundle.delta import patch_bundle
    from edgekit.keys.trust import read_trust

    trust, now = read_trust(keys), datetime.now(UTC)
    with progress() as bar:
        made = patch_bundle(old, delta, output, trust, now=now, with_tool=not skip_tool, progress=bar_progress(bar))
    if as_json:
        emit({"path": output, "verified": made})
    else:
        print_verified(made)
        console().print(f"Wrote {output}, and verified it.", markup=False)


@command.command("device-files", short_help="Write what each device needs once.")
@click.argument("file", type=FILE)
@keys_option
@option("--output", "folder", required=True, type=FILE, metavar="DIR", help="New or empty; mirrors / of the device.")
@settings_option
@common
def device_files_command(
    *,
    file: Path,
    keys: Path,
    folder: Path,
    settings: dict[str, str],
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
) -> None:
    """Write what a device needs once before it can install bundles like FILE: configuration and public keys."""
    from datetime import UTC, datetime

    from edgekit.bundle.device_files import write_device_files
    from edgekit.bundle.verify import Policy, verify_bundle
    from edgekit.keys.trust import read_trust

    trust = read_trust(keys)
    verified = verify_bundle(file, trust, Policy(now=datetime.now(UTC)), with_tool=False)
    written = write_device_files(verified, trust, settings, folder)
    if as_json:
        emit(written)
        return
    for name in written.files:
        output().print(f"{written.folder / name}", markup=False)
    for note in written.notes:
        console().print(note, markup=False)
