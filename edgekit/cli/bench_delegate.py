"""The options of ``edgekit bench`` about the delegate: proof that it ran, and the gates on it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.options import F, option

if TYPE_CHECKING:
    from edgekit.bench.report import BenchmarkReport


@dataclass(frozen=True, kw_only=True)
class DelegateGates:
    """What is asked of the delegate."""

    min_coverage: float | None
    """Share of the ops; None: any."""
    require_delegate: bool

    @property
    def asked(self) -> bool:
        """Whether anything is."""
        return self.require_delegate or self.min_coverage is not None


def parse_options(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """``KEY=VALUE``, several times."""
    found: dict[str, str] = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not key or not equals or key in found:
            raise click.BadParameter(f"{value!r} is no KEY=VALUE, or its key was given before.")
        found[key] = text
    return found


def parse_coverage(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """``95%`` as 0.95."""
    from edgekit.errors import ProjectError
    from edgekit.project import parse_fraction

    if value is None:
        return None
    try:
        share, unit = parse_fraction(value)
    except ProjectError as err:
        raise click.BadParameter(f"{value!r} is no share of the ops such as 95%.") from err
    if unit != "%" or not 0 <= share <= 100:  # noqa: PLR2004 - per cent
        raise click.BadParameter(f"{value!r} is no share of the ops such as 95%.")
    return share / 100


def delegate_options(function: F) -> F:
    """``take_gates`` reads the gates; the others are settings and parts of a run."""
    options: tuple[Callable[[F], F], ...] = (
        option("--delegate-option", "delegate_options", multiple=True, metavar="KEY=VALUE", callback=parse_options,
               help="Handed to the delegate's library; may be given several times."),
        option("--coverage", is_flag=True,
               help="Which ops the delegate took, and the time without it; always for a library."),
        option("--min-coverage", metavar="SHARE", callback=parse_coverage,
               help="Exit 3 if the delegate takes fewer of the ops, such as 95%."),
        option("--require-delegate", is_flag=True,
               help="Exit 3 if it takes none, or if a library is not surely faster than the CPU."),
        option("--allow-fallback", is_flag=True,
               help="Measure the CPU where the library cannot be used, and say so; else that is an error."),
    )  # fmt: skip
    for add in reversed(options):
        function = add(function)
    return function


def take_gates(settings: dict[str, Any]) -> DelegateGates:
    """Move the gates out of ``settings``, where ``coverage`` follows from them."""
    gates = DelegateGates(**{name: settings.pop(name) for name in ("min_coverage", "require_delegate")})
    settings["coverage"] = settings["coverage"] or gates.asked
    return gates


def check_gates(report: "BenchmarkReport", gates: DelegateGates, details: dict[str, Any]) -> None:
    """Raise CoverageError (exit code 3) where the delegate does not do what was asked."""
    from edgekit.bench.coverage_findings import require_coverage

    if report.coverage is not None and gates.asked:
        require_coverage(
            report.coverage,
            min_coverage=gates.min_coverage,
            require_delegate=gates.require_delegate,
            details=details,
        )
