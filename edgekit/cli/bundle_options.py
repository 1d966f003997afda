"""What the commands of ``edgekit bundle`` share: ``--keys``, ``--setting``, and how a bundle is told."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from edgekit.bundle.verify import Verified

FILE = click.Path(path_type=Path)
keys_option: "Callable[[Any], Any]" = option(
    "--keys",
    required=True,
    type=FILE,
    metavar="DIR",
    help="As `edgekit key new` wrote it; where nothing is signed, its public/ is enough.",
)


def parse_settings(_context: click.Context, _parameter: click.Parameter, values: "Sequence[str]") -> dict[str, str]:
    """``NAME=VALUE``, several times."""
    settings: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not name or not equals or name in settings:
            raise click.BadParameter(f"{value!r} is no NAME=VALUE, or its name was given before.")
        settings[name] = text
    return settings


settings_option: "Callable[[Any], Any]" = option(
    "--setting",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    callback=parse_settings,
    help="Of the format or server, several times; an unknown name shows those that there are.",
)


def print_verified(verified: "Verified") -> None:
    """What was accepted and what that rests on, a fact a line, on stdout."""
    from rich.markup import escape
    from rich.table import Table

    from edgekit.cli.options import output

    table = Table(box=None, show_header=False, pad_edge=False)
    for label, value in _facts(verified):
        table.add_row(f"[dim]{label}[/dim]", escape(value))
    output().print(table)


def _facts(verified: "Verified") -> "Iterator[tuple[str, str]]":
    from edgekit.bundle.types import RELEASE
    from edgekit.versions import version_of

    release = verified.release
    yield "release", f"{release.name} {release.version}"
    yield "for", f"{release.target}; hardware {', '.join(release.hardware)}"
    yield "digest", f"{verified.digest} ({RELEASE})"
    yield "payload", f"{verified.payload_sha256} (the tree, the same in every format)"
    yield "file", f"{verified.format}, {verified.bytes:,} bytes"
    for signer in verified.signers:
        yield f"{signer.purpose} key", f"{signer.fingerprint} until {signer.expires:%Y-%m-%d}"
    by = f"edgekit {version_of('edgekit') or ''}".strip()
    for phrase in verified.checked:
        yield f"by {by}", phrase
    if verified.tool is not None:
        version = f" {verified.tool.version}" if verified.tool.version else ""
        yield f"by {verified.tool.tool}{version}", verified.tool.checked
