"""What a page shows, as values: articles of sections, of figures, key figures and tables. No HTML in here."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from edgekit.entries import FindingEntry

Row = tuple[str, ...]
Values = tuple[float | None, ...]
SpanKind = Literal["phase", "idle", "load", "bad", "margin"]
"""``phase``: a part of a run; ``bad``: the device throttled; ``margin``: too small a change to matter."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text; the first column names the row."""

    kind: ClassVar = "table"
    caption: str
    heads: Row
    """Empty: names and values that need none."""
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class KeyFigure:
    """One number that a reader came for."""

    label: str
    value: str
    """With its unit."""
    note: str
    """Its interval, or how it came about."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One thing over the x of its panel."""

    label: str
    values: Values
    """None: nothing is known there."""
    kind: Literal["line", "steps", "points"] = "line"
    """``steps``: a value holds from its x to the next."""
    colour: int = 0
    """Place in the palette of report.css."""
    low: Values = ()
    high: Values = ()
    """An interval around each value; empty: there is none."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of the x axis (of the y axis of intervals that lie on their side)."""

    start: float
    end: float
    label: str
    kind: SpanKind


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes."""

    x_label: str
    y_label: str
    """With its unit."""
    x: tuple[float, ...]
    """Ascending."""
    series: tuple[Series, ...]
    x_names: tuple[str, ...] = ()
    """Names of x = 0, 1, 2 ...; empty: x are numbers."""
    x_log: bool = False
    x_clock: bool = False
    """x are seconds, shown as minutes:seconds."""
    y_log: bool = False
    y_from_zero: bool = False
    horizontal: bool = False
    """x goes down and y to the right: long names have room."""
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Zoom:
    """A stretch of x that a button shows."""

    label: str
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Panels that share their x, what they show in words, and their data."""

    kind: ClassVar = "figure"
    title: str
    summary: str
    """What a reader who cannot see it has to know."""
    panels: tuple[Panel, ...]
    data: Table
    zooms: tuple[Zoom, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Part:
    """One piece of a bar."""

    label: str
    value: str
    share: float
    """Of the bar's length, 0 to 1; those of all parts add up to 1."""
    said: str
    """Its share in words: of a whole that was measured by itself, so that these need not add up."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Parts of a whole."""

    kind: ClassVar = "bar"
    title: str
    summary: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """One subject of an article."""

    title: str
    text: tuple[str, ...] = ()
    """Paragraphs."""
    pieces: tuple[Bar | Figure | Table, ...] = ()
    """In the order of the page; a figure's data is folded away."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a run is worth, in words."""

    tone: Literal["good", "warning", "bad"]
    word: str
    """Such as ``Valid``."""
    text: str


@dataclass(frozen=True, kw_only=True)
class Article:
    """One run."""

    title: str
    subtitle: str
    verdict: Verdict
    findings: tuple[FindingEntry, ...]
    key_figures: tuple[KeyFigure, ...]
    sections: tuple[Section, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A whole page."""

    title: str
    overview: Section | None
    """Of several runs side by side."""
    articles: tuple[Article, ...]
    written_by: str
