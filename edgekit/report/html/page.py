"""Articles -> one HTML file that needs nothing else: styles, scripts and data are in it, and no network is allowed."""

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.bench.report import BenchmarkReport
from edgekit.bench.versus.comparison import ComparisonReport
from edgekit.errors import PlotError
from edgekit.files import replace_file
from edgekit.report.html.articles import write_article
from edgekit.report.html.overview import write_overview
from edgekit.report.html.view import Figure, Page

if TYPE_CHECKING:
    from jinja2 import Environment

STYLES = ("uPlot.min.css", "report.css")
SCRIPTS = ("uPlot.iife.min.js", "report.js")


def write_html(reports: Sequence[BenchmarkReport | ComparisonReport], path: Path, *, title: str | None = None) -> None:
    """Write the reports, in order, as one page, whole or not at all; the same reports give the same bytes.

    title: of the page; None: the first report's. Raises PlotError: no reports, or a place that cannot be written.
    """
    data = render(reports, title=title).encode()
    try:
        replace_file(path, data)
    except OSError as err:
        raise PlotError(
            f"{path} cannot be written: {err.strerror or err}.",
            hint="Create its folder, free some space, or choose another file.",
        ) from err


def check_html(path: Path) -> None:
    """Raise PlotError where no page can be written to ``path``: before the measurement that it would show."""
    if path.suffix.lower() not in {".html", ".htm"}:
        raise PlotError(f"{path} is no name of a page.", hint="Give a file name that ends in .html.")
    if not path.parent.is_dir():
        raise PlotError(f"The folder {path.parent} does not exist.", hint="Create it, or choose another file.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PlotError(f"The folder {path.parent} cannot be written.", hint="Correct it, or choose another file.")


def render(reports: Sequence[BenchmarkReport | ComparisonReport], *, title: str | None = None) -> str:
    """The page as text; raises PlotError where there are no reports."""
    if not reports:
        raise PlotError("There is no run to show.", hint="Name one or more; `edgekit runs list` shows them.")
    benchmarks = [report for report in reports if isinstance(report, BenchmarkReport)]
    articles = tuple(map(write_article, reports))
    more = f" and {len(articles) - 1} more" if len(articles) > 1 else ""
    page = Page(
        title=title or f"{articles[0].title}{more}",
        overview=write_overview(benchmarks) if len(benchmarks) > 1 else None,
        articles=articles,
        written_by=f"edgekit {version('edgekit')}",
    )
    return _fill(page)


def _fill(page: Page) -> str:
    from markupsafe import Markup

    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            styles=[Markup(asset(name)) for name in STYLES],  # noqa: S704 - our own files
            scripts=[Markup(asset(name)) for name in SCRIPTS],  # noqa: S704
            policy=_policy(),
        )
    )


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("edgekit.report.html"),
        autoescape=True,  # names and messages come from devices and models: text, never markup
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plotted"] = _plotted
    return environment


def _plotted(figure: Figure) -> dict[str, Any]:
    """What report.js needs of it; its data is a table of the page."""
    return {name: value for name, value in asdict(figure).items() if name != "data"}


@cache
def asset(name: str) -> str:
    """Text of a file of ``assets``."""
    return resources.files("edgekit.report.html").joinpath("assets", name).read_text("utf-8")


def _policy() -> str:
    """Content-Security-Policy: our own scripts and styles by their digests, nothing else, nothing from anywhere."""
    scripts, styles = (" ".join(map(_digest, map(asset, names))) for names in (SCRIPTS, STYLES))
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
