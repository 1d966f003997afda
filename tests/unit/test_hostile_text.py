"""Names and messages come from devices, models and files of other people: they are shown as text, no more."""

import io
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from edgekit.bench.coverage import CoverageReport, DelegateLibrary, Fallback
from edgekit.bench.report import BenchmarkReport
from edgekit.cli.failures import guarded
from edgekit.cli.options import print_findings
from edgekit.entries import FindingEntry
from edgekit.errors import DeviceFaultError
from edgekit.history.export import to_csv, to_markdown
from edgekit.history.record import make_record
from edgekit.report import print_comparison, print_report
from edgekit.report.html.page import render
from edgekit.report.plain import MARK, plain
from edgekit.report.terminal import Terminal
from tests import reports

pytestmark = pytest.mark.unit

HOSTILE = (
    "</script><img src=x onerror=alert(1)>[/][link=file:///x]y[bold] \x1b[31mRED\x1b]0;title\x07\x9b2J\r\u202e\ud800"
    "|`=cmd|'/c calc'!A0"
)
FINDING = FindingEntry(name=HOSTILE, severity="warning", message=HOSTILE, fix=HOSTILE)
FULL = reports.full_report(secs=60)
SUSTAINED = reports.sustained_run(secs=60).report
GAUGE = replace(reports.GAUGE, name=HOSTILE, covers=HOSTILE)
STATE = replace(
    FULL.before,
    temperatures_c={HOSTILE: 50.0},
    policies=(replace(FULL.before.policies[0], name=HOSTILE, governor=HOSTILE),),
)
PROFILE = reports.profile()
NAMES = {"kernel": HOSTILE, "op": HOSTILE, "tensor": HOSTILE}


def hostile_coverage() -> CoverageReport:
    """Its library, its options, the ops and who runs them."""
    found = reports.coverage()
    library = DelegateLibrary(path=HOSTILE, bytes=1, sha256="ab" * 32, version=HOSTILE)
    ops = tuple(replace(op, op=HOSTILE, processor=HOSTILE) for op in found.placement.ops)
    placement = replace(found.placement, told_by=HOSTILE, ops=ops)
    fallback = Fallback(delegate=HOSTILE, reason=HOSTILE)
    return replace(
        found, delegate=HOSTILE, delegate_options={HOSTILE: HOSTILE}, library=library, placement=placement,
        fallback=fallback,
    )  # fmt: skip


REPORTS = {
    "model": replace(FULL, model=HOSTILE, device=HOSTILE, delegate=HOSTILE, findings=(FINDING,)),
    "machine": replace(FULL, machine=replace(FULL.machine, board=HOSTILE, cpu=HOSTILE, emulated=HOSTILE)),
    "runtime": replace(FULL, runtime=replace(FULL.runtime, name=HOSTILE, version=HOSTILE)),
    "energy": replace(FULL, energy=replace(reports.ENERGY, gauge=GAUGE)),
    "battery": replace(FULL, battery=replace(reports.BATTERY_REPORT, gauge=GAUGE)),
    "stages": replace(FULL, stages=replace(reports.stages(), sample=HOSTILE)),
    "profile": replace(FULL, profile=replace(PROFILE, ops=tuple(replace(op, **NAMES) for op in PROFILE.ops))),
    "coverage": replace(FULL, coverage=hostile_coverage()),
    "throughput": replace(FULL, throughput=replace(reports.throughput(), reason=HOSTILE)),
    "sustained": replace(FULL, sustained=replace(SUSTAINED, zone=HOSTILE, throttling=(HOSTILE,))),
    "state": replace(FULL, before=STATE, after=STATE),
}


def shown(say: Callable[[Terminal], None]) -> str:
    """What a terminal with colours gets, without the colours of our own."""
    stream = io.StringIO()
    say(Terminal(file=stream, width=200, no_color=True, color_system=None, force_terminal=True))
    return stream.getvalue()


def is_plain(text: str) -> bool:
    return plain(text) == text


def test_what_is_plain_stays() -> None:
    assert plain("µs, 75 °C\n\tfé 日本") == "µs, 75 °C\n\tfé 日本"
    assert plain("a\x1b[2Jb\u202ec\x9bd\re\ud800") == f"a{MARK}[2Jb{MARK}c{MARK}d{MARK}e{MARK}"


@pytest.mark.parametrize("part", REPORTS)
def test_no_text_commands_the_terminal(part: str) -> None:
    assert is_plain(shown(lambda console: print_report(REPORTS[part], console)))


def test_colours_of_our_own_are_kept() -> None:
    stream = io.StringIO()
    Terminal(file=stream, force_terminal=True, color_system="standard").print("[red]x[/]\x1bc")
    assert stream.getvalue() == f"\x1b[31mx\x1b[0m{MARK}c\n"


def test_names_of_models_and_findings_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    report = reports.comparison_report(effects=(0.03,))
    models = tuple(replace(model, name=HOSTILE) for model in report.models)
    text = shown(lambda console: print_comparison(replace(report, models=models), console))
    assert is_plain(text)
    assert "[/]" in text
    print_findings([FINDING])
    err = capsys.readouterr().err
    assert is_plain(err)
    assert err.count("[link=file:///x]") == 3


def test_an_error_of_a_device_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    import click

    @click.command()
    def fail() -> None:
        raise DeviceFaultError(HOSTILE, hint=HOSTILE)

    assert guarded(fail, []) == 1
    assert is_plain(capsys.readouterr().err)


@pytest.mark.parametrize("part", REPORTS)
def test_exports_and_the_page_hold_text(part: str) -> None:
    report: BenchmarkReport = REPORTS[part]
    record = make_record(
        report, created=datetime.now(UTC), edgekit_version="1", project_commit=None, note=f"={HOSTILE}"
    )
    markdown, table = to_markdown([record, record], max_regression=0.03), to_csv([record])
    assert is_plain(markdown)
    assert is_plain(table)
    assert "<img" not in markdown
    assert "'=</script>" in table
    assert "<img src" not in render([report])
