"""A run as it is kept, and the id that names it."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec

from edgekit.bench.report import BenchmarkReport
from edgekit.bench.versus.comparison import ComparisonReport
from edgekit.documents import Document

ID = re.compile(r"(?P<stamp>\d{8}T\d{6})-[a-z0-9-]+-(?P<fraction>[0-9a-f]{4})")
RunId = Annotated[
    str, msgspec.Meta(pattern=f"^{ID.pattern.replace('?P<stamp>', '').replace('?P<fraction>', '')}$(?!\\n)")
]
Report = BenchmarkReport | ComparisonReport
Kind = Literal["bench", "compare"]
TICKS = 1 << 16
"""Of a second, at the end of an id."""
TICK = timedelta(microseconds=16)
"""Never less than one of them."""
NAME_LENGTH = 40


class RunRecord(Document, frozen=True, kw_only=True):
    """``.edgekit/runs/ID.json``.

    It says what the report says, and no more of who ran it: no host name, no user, no path of this machine, and of
    the command line what is in the report's options.
    """

    schema_version: Literal[1]
    id: RunId
    """Second (UTC), models, device, and the fraction of the second in 1/65536, hexadecimal."""
    created: Annotated[datetime, msgspec.Meta(tz=True)]
    """When the run ended."""
    kind: Kind
    edgekit_version: Annotated[str, msgspec.Meta(max_length=100)]
    project_commit: Annotated[str, msgspec.Meta(max_length=100)] | None
    """Of the git checkout it was run in, as ``git describe --always --dirty`` says it; None: it was none."""
    note: str | None = None
    """``--note``."""
    bench: BenchmarkReport | None = None
    """Of ``kind`` bench."""
    comparison: ComparisonReport | None = None
    """Of ``kind`` compare."""

    def __post_init__(self) -> None:
        if (self.bench is not None, self.comparison is not None) != (self.kind == "bench", self.kind == "compare"):
            raise ValueError(f"Expected exactly the report of kind {self.kind!r}")

    @property
    def report(self) -> Report:
        """What was measured."""
        found = self.bench or self.comparison
        assert found is not None  # noqa: S101 - __post_init__ has seen to it
        return found

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models; of a comparison the baseline first."""
        return model_names(self.report)

    @property
    def valid(self) -> bool:
        """No finding says that the numbers mean nothing."""
        return not any(finding.severity == "error" for finding in self.report.findings)


def model_names(report: Report) -> tuple[str, ...]:
    """Names of the models of a report."""
    if isinstance(report, BenchmarkReport):
        return (report.model,)
    return tuple(model.name for model in report.models)


def make_record(
    report: Report, *, created: datetime, edgekit_version: str, project_commit: str | None, note: str | None
) -> RunRecord:
    """The record of a report; its id follows from its values, so later by ``TICK`` is another id. Pure."""
    names = "-vs-".join(model_names(report))
    created = created.astimezone(UTC)
    fraction = created.microsecond * TICKS // 1_000_000
    return RunRecord(
        schema_version=1,
        id=f"{created:%Y%m%dT%H%M%S}-{_slug(names)}-{_slug(report.device)}-{fraction:04x}",
        created=created,
        kind="bench" if isinstance(report, BenchmarkReport) else "compare",
        edgekit_version=edgekit_version,
        project_commit=project_commit,
        note=note,
        bench=report if isinstance(report, BenchmarkReport) else None,
        comparison=report if isinstance(report, ComparisonReport) else None,
    )


def age(name: str) -> tuple[str, str]:
    """What ids are ordered by, oldest first; a name that is no id comes before them all."""
    match = ID.fullmatch(name)
    return ("", name) if match is None else (match["stamp"], match["fraction"])


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:NAME_LENGTH].strip("-") or "unnamed"
