"""``edgekit bundle rollout``."""

from pathlib import Path

import click

from edgekit.cli.bundle_options import FILE, keys_option, settings_option
from edgekit.cli.options import common, console, emit, option, output

SYSTEMS = ("hawkbit", "mender", "azure", "balena")


@click.command("rollout", short_help="Write what the fleet's server takes beside a bundle.")
@click.argument("file", type=FILE)
@option("--for", "system", required=True, type=click.Choice(SYSTEMS), help="The server of the fleet.")
@keys_option
@option("--output", "folder", required=True, type=FILE, metavar="DIR", help="New or empty.")
@settings_option
@common
def rollout_command(
    *,
    file: Path,
    system: str,
    keys: Path,
    folder: Path,
    settings: dict[str, str],
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
) -> None:
    """Verify FILE and write what the fleet's server takes beside it: docs/ota.md says what to do with each."""
    from datetime import UTC, datetime

    from edgekit.bundle.rollout import write_rollout
    from edgekit.keys.trust import read_trust

    written = write_rollout(file, system, read_trust(keys), settings, folder, datetime.now(UTC))
    if as_json:
        emit(written)
        return
    for name in written.files:
        output().print(f"{written.folder / name}", markup=False, soft_wrap=True)
    release = written.verified.release
    err = console()
    err.print(f"{release.name} {release.version} for {system}. Next:", markup=False)
    err.print(f"  {written.following}", markup=False, soft_wrap=True)
