"""``edgekit bundle create``."""

from pathlib import Path

import click

from edgekit.cli.bundle_options import FILE, keys_option, print_verified, settings_option
from edgekit.cli.options import bar_progress, common, console, emit, option, print_findings, progress

FORMATS = ("tar", "deb", "swupdate", "rauc", "mender", "mcu")


@click.command("create", short_help="Make a signed bundle of an artifact.")
@click.argument("artifact", type=FILE)
@option("--format", "format_", required=True, type=click.Choice(FORMATS), help="What the fleet's devices install.")
@keys_option
@option("--version", "release_version", required=True, metavar="V", help="Of the release, such as 1.4.0 (semver).")
@option("--output", required=True, type=FILE, metavar="FILE", help="Replaced when the new bundle is verified.")
@option("--hardware", multiple=True, help="A device that may install it; several times.  [default: the target's name]")
@option("--license", "licenses", multiple=True, metavar="SPDX", help="Of the model, for the SBOM; several times.")
@settings_option
@option("--delta-from", type=FILE, metavar="OLD", help="Write a delta from this older bundle too, beside --output.")
@common
def create_command(
    *,
    artifact: Path,
    format_: str,
    keys: Path,
    release_version: str,
    output: Path,
    hardware: tuple[str, ...],
    licenses: tuple[str, ...],
    settings: dict[str, str],
    delta_from: Path | None,
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
) -> None:
    """Package ARTIFACT as a signed bundle, and verify it before it appears.

    The [deploy] table of edgekit.toml in this folder says what the device runs after the switch.
    """
    from datetime import UTC, datetime
    from typing import cast

    from edgekit.artifact import read_artifact
    from edgekit.bundle.create import BundleRequest, create_bundle
    from edgekit.bundle.delta import create_delta, verified_old
    from edgekit.bundle.entries import Format
    from edgekit.project import load_project

    wanted = BundleRequest(
        artifact=read_artifact(artifact),
        format=cast(Format, format_),
        version=release_version,
        keys=keys,
        output=output,
        hardware=hardware,
        licenses=licenses,
        settings=settings,
        deploy=load_project().deploy,
    )
    now = datetime.now(UTC)
    delta = None
    with progress() as bar:
        tell = bar_progress(bar)
        before = None if delta_from is None else verified_old(delta_from, wanted, now=now, progress=tell)
        created = create_bundle(wanted, now=now, progress=tell)
        if delta_from is not None and before is not None:
            delta = create_delta(delta_from, before, created, progress=tell)
    if as_json:
        emit({**vars(created), "delta": delta})
    else:
        print_verified(created.verified)
        console().print(f"Wrote {created.path} in {created.seconds:.1f} s, and verified it.", markup=False)
    if delta is not None and not as_json:
        console().print(
            f"Wrote {delta.path}: {delta.bytes:,} bytes instead of {delta.whole_bytes:,} from {delta.from_version} "
            f"({delta.saving:.1%} saved), applied and compared.",
            markup=False,
        )
    print_findings(created.findings)
