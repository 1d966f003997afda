"""``edgekit key new|show``."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from edgekit.cli.options import common, console, emit, option, output, print_findings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from edgekit.keys.show import KeyFinding
    from edgekit.keys.types import Algorithm, Keys, Purpose

DAYS = 730
REFUSED = 8
"""Exit code where a key may not sign: of IntegrityError."""


@click.group()
def command() -> None:
    """Keys that sign bundles: one for each purpose, below one CA whose certificate devices carry."""


@command.command("new", short_help="Make the signing keys of a fleet.")
@option("--output", "folder", required=True, type=click.Path(path_type=Path), help="A folder that is new.")
@option("--algorithm", "algorithms", multiple=True, metavar="PURPOSE=ALG", help="Such as mender=rsa; see docs/keys.md.")
@option("--days", type=click.IntRange(min=1), default=DAYS, show_default=True, help="How long the keys are valid.")
@option("--organization", help="In the certificates.  [default: the CA's, or edgekit]")
@option("--ca", type=click.Path(path_type=Path), help="Renew: new keys below the CA of this keys folder.")
@common
def new_command(
    *,
    folder: Path,
    algorithms: tuple[str, ...],
    days: int,
    organization: str | None,
    ca: Path | None,
    as_json: bool,
    verbose: bool,  # noqa: ARG001 - acts in its callback
) -> None:
    """Make the keys of a fleet: private/ signs and stays with you, public/ verifies and goes along."""
    from datetime import UTC, datetime

    from edgekit.keys.new import new_keys

    now = datetime.now(UTC)
    keys = new_keys(folder, algorithms=_algorithms(algorithms), days=days, organization=organization, ca=ca, now=now)
    _print(keys, now, as_json=as_json)
    if as_json:
        return
    err = console()
    err.print(f"Wrote {folder}. {folder}/public verifies bundles: devices and colleagues get a copy.", markup=False)
    err.print("The private keys are not encrypted, because the tools of the formats take no password; only you can")
    err.print(f"read them, and {folder}/.gitignore keeps them out of git.", markup=False)
    if ca is None:
        err.print(f"Next: move {folder}/private/ca.key to a medium that is offline, with a second copy:", markup=False)
        err.print("only `edgekit key new --ca` needs it, and who has it can sign for your whole fleet.")


@command.command("show", short_help="Show keys, expiry, fingerprints.")
@click.argument("folder", type=click.Path(path_type=Path))
@common
def show_command(folder: Path, *, as_json: bool, verbose: bool) -> None:  # noqa: ARG001
    """Show purpose, algorithm, expiry and fingerprint of every key; exit code 8 where one may not sign."""
    from datetime import UTC, datetime

    from edgekit.keys.show import show_keys

    findings = _print(show_keys(folder), datetime.now(UTC), as_json=as_json)
    if any(finding.severity == "error" for finding in findings):
        click.get_current_context().exit(REFUSED)


def _algorithms(texts: "Sequence[str]") -> "dict[Purpose, Algorithm]":
    from edgekit.keys.types import ALGORITHMS

    chosen: dict[Purpose, Algorithm] = {}
    for text in texts:
        purpose, _, algorithm = text.partition("=")
        accepted = ALGORITHMS.get(cast("Purpose", purpose), ())
        if algorithm not in accepted:
            known = ", ".join(f"{name}={'|'.join(kinds)}" for name, kinds in ALGORITHMS.items())
            raise click.BadParameter(f"{text!r} is none of {known}.", param_hint="--algorithm")
        chosen[cast("Purpose", purpose)] = algorithm
    return chosen


def _print(keys: "Keys", now: "datetime", *, as_json: bool) -> "tuple[KeyFinding, ...]":
    """The public side of the keys, and what their owner should know."""
    from rich.table import Table

    from edgekit.keys.show import find_problems

    findings = find_problems(keys, now)
    if as_json:
        emit({"folder": keys.folder, "keys": keys.keys, "findings": findings})
        return findings
    table = Table(box=None, pad_edge=False)
    for title in ("key", "algorithm", "expires", "private key"):
        table.add_column(title, no_wrap=True)
    table.add_column("sha256 of the certificate", overflow="fold")
    for entry in keys.keys:
        table.add_row(
            entry.purpose,
            entry.algorithm or "another",
            f"{entry.expires:%Y-%m-%d}",
            "here" if entry.private else "not here",
            entry.fingerprint,
        )
    output().print(table)
    print_findings(findings)
    return findings
