"""A report -> its article: the verdict first, then findings, key figures and what they rest on."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from edgekit.bench.report import BenchmarkReport
from edgekit.bench.versus.comparison import ComparisonReport
from edgekit.entries import FindingEntry
from edgekit.report.html import coverage, effects, latency, machine, power, profile, timeline, whole_way
from edgekit.report.html.view import Article, KeyFigure, Section, Verdict
from edgekit.report.html.words import ms, plural, span_ms, when

Report = BenchmarkReport | ComparisonReport

KEY_FIGURES: tuple[Callable[[BenchmarkReport], tuple[KeyFigure, ...]], ...] = (
    latency.key_figures,
    coverage.key_figures,
    timeline.key_figures,
    power.key_figures,
    whole_way.key_figures,
)
SECTIONS: tuple[Callable[[BenchmarkReport], Section | None], ...] = (
    latency.section,
    timeline.section,
    power.energy_section,
    power.battery_section,
    coverage.section,
    profile.section,
    whole_way.stages_section,
    whole_way.throughput_section,
    machine.section,
)
"""In the order of the page; None: that was not measured."""
SEVERITIES = ("error", "warning", "info")


def write_article(report: Report) -> Article:
    """Everything the page says about one run."""
    facts, emulated = report.machine, report.machine.emulated
    figures, sections = _key_figures(report), _sections(report)
    if emulated is not None:  # also where a section is read, copied or printed without the banner
        figures = tuple(replace(figure, label=f"{figure.label} (emulated)") for figure in figures)
        sections = (*(replace(part, title=f"{part.title} (emulated)") for part in sections[:-1]), sections[-1])
    return Article(
        title=name(report),
        subtitle=", ".join(
            (
                facts.board or facts.cpu or facts.architecture,
                f"{report.runtime.name} {report.runtime.version}",
                when(report.before),
            )
        ),
        verdict=_verdict(report),
        findings=tuple(sorted(report.findings, key=lambda finding: SEVERITIES.index(finding.severity))),
        key_figures=figures,
        sections=sections,
    )


def name(report: Report) -> str:
    """What was measured on what."""
    if isinstance(report, BenchmarkReport):
        return f"{report.model} on {report.device}"
    baseline, *others = (model.name for model in report.models)
    candidates = others[0] if len(others) == 1 else f"{len(others)} models"
    return f"{candidates} against {baseline} on {report.device}"


def _key_figures(report: Report) -> tuple[KeyFigure, ...]:
    if isinstance(report, ComparisonReport):
        return effects.key_figures(report)
    return tuple(figure for make in KEY_FIGURES for figure in make(report))


def _sections(report: Report) -> tuple[Section, ...]:
    if isinstance(report, ComparisonReport):
        return (*effects.sections(report), machine.section(report))
    return tuple(section for make in SECTIONS if (section := make(report)) is not None)


def _verdict(report: Report) -> Verdict:
    errors = [finding for finding in report.findings if finding.severity == "error"]
    if errors:
        causes = ", ".join(dict.fromkeys(finding.name for finding in errors))
        also = "" if report.machine.emulated is None else f" And it was emulated: {report.machine.emulated}."
        return Verdict(tone="bad", word="Invalid", text=f"These numbers mean nothing: {causes}.{also}")
    if report.machine.emulated is not None:
        text = f"No latency, energy or throughput below is a device's: {report.machine.emulated}."
        return Verdict(tone="warning", word="Emulated", text=text)
    said = _said(report)
    warnings = _count(report.findings, "warning")
    if warnings:
        return Verdict(tone="warning", word=f"Valid, with {plural(warnings, 'warning')}", text=said)
    return Verdict(tone="good", word="Valid", text=said)


def _count(findings: Sequence[FindingEntry], severity: str) -> int:
    return sum(finding.severity == severity for finding in findings)


def _said(report: Report) -> str:
    if isinstance(report, ComparisonReport):
        return effects.short(report)
    best = min(report.results, key=lambda result: result.latency_ms.median)
    return (
        f"One inference takes {ms(best.latency_ms.median)} ({span_ms(best.latency_ms.median_interval)}) with "
        f"{plural(best.num_threads, 'thread')}."
    )
