"""``edgekit bench``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.bench_delegate import check_gates, delegate_options, take_gates
from edgekit.cli.bench_options import (
    measurement_options,
    parse_regression,
    part_options,
    say_where,
    take_parts,
    write_page,
)
from edgekit.cli.bench_profile import profile_options, take_files, write_files
from edgekit.cli.options import bar_progress, common, emit, option, output, print_findings, progress

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.bench import BenchmarkReport, BenchOptions
    from edgekit.bench.versus.comparison import ComparisonReport
    from edgekit.bench.versus.gate import GateReport
    from edgekit.device import Device
    from edgekit.history import Kept, RunRecord
    from edgekit.progress import Progress
    from edgekit.transport import Connection


GATE_SECS = 20.0
"""How long baseline and candidate take turns: longer than `edgekit compare`, because a job fails by it."""


@click.command(name="bench")
@click.argument("model", required=False, type=click.Path(path_type=Path))
@option("--device", default="local", show_default=True, help="A name in device_configs/, user@host, or local.")
@option("--delegate", help="xnnpack, none, or a library's path on the device.  [default: the model's]")
@delegate_options
@measurement_options(min_secs=1.0)
@part_options
@profile_options
@option("--baseline", metavar="REF", help="Exit 3 if slower than this: a kept run, or a model, measured in turns.")
@option(
    "--max-regression",
    default="3%",
    show_default=True,
    callback=parse_regression,
    help="How much slower than --baseline is still good.",
)
@option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="The report as a page.")
@option("--note", help="Kept with the run, such as why it was made.")
@common
def command(
    *,
    model: Path | None,
    device: str,
    baseline: str | None,
    max_regression: float,
    html: Path | None,
    note: str | None,
    allow_invalid: bool,
    as_json: bool,
    verbose: bool,
    **settings: Any,
) -> None:
    """Measure latency and memory of MODEL on a device; energy, battery, heat and the whole way where asked for.

    MODEL is an artifact's folder or a .tflite; it defaults to the artifact below build/ for the device's target. Every
    run is kept in .edgekit/runs (`edgekit runs`).
    """
    from edgekit.bench import BenchOptions, require_valid
    from edgekit.bench.session import measure_parts
    from edgekit.bench.versus.gate import require_no_regression
    from edgekit.cli.deploy import BUILD, find_artifact
    from edgekit.history import find_baseline, keep
    from edgekit.meters import open_meter
    from edgekit.report import document
    from edgekit.report.html import check_html
    from edgekit.transport import connect, find_device

    files, gates = take_files(settings), take_gates(settings)
    parts, meter = take_parts(settings), settings.pop("meter")
    options, resolved = BenchOptions(**settings), find_device(device)
    if html is not None:
        check_html(html)  # before minutes of measuring
    reference = None if baseline is None else find_baseline(baseline)
    opened = None if meter is None else open_meter(meter)
    subject = model if model is not None else find_artifact(BUILD, resolved.table.target, command="bench")
    _check_reference(reference, subject, options, resolved)
    with connect(resolved) as connection, progress() as bar:
        show = bar_progress(bar)
        report = _last(measure_parts(subject, connection, options, parts, meter=opened, progress=show), note)
        with _kept_if_it_fails([report], note):
            turns = _in_turns(reference, subject, connection, options, max_regression, show)
    also = [keep(item, note=note) for item in turns]
    kept = keep(report, note=note)  # last: it is what `latest` is asked for
    facts = {**document(report), "run": None if kept.path is None else kept.record.id}
    if not as_json:
        _show(report, kept, also, every_op=verbose)
    write_page([report, *turns], html, facts)
    write_files(report, files, facts)
    if not allow_invalid:
        require_valid(report, details=facts)
    check_gates(report, gates, facts)
    if reference is not None:
        gate = _gate(report, reference, turns, max_regression)
        facts["gate"] = gate
        if not as_json:
            _say(gate)
        require_no_regression(gate, details=facts)
    if as_json:
        emit(facts)


def _show(report: "BenchmarkReport", kept: "Kept", also: "list[Kept]", *, every_op: bool) -> None:
    from edgekit.report import print_report

    print_report(report, output(), every_op=every_op)
    print_findings((*report.findings, *(finding for item in (kept, *also) for finding in item.findings)))
    say_where(kept)


def _last(reports: "Iterator[BenchmarkReport]", note: str | None) -> "BenchmarkReport":
    """The whole report."""
    so_far: list[BenchmarkReport] = []
    with _kept_if_it_fails(so_far, note):
        so_far.extend(reports)
    return so_far[-1]


@contextmanager
def _kept_if_it_fails(so_far: "list[BenchmarkReport]", note: str | None) -> "Iterator[None]":
    """Where what follows fails or is interrupted, what was measured before it is kept."""
    from edgekit.bench.session import mark_incomplete
    from edgekit.errors import EdgekitError
    from edgekit.history import keep

    try:
        yield
    except BaseException as err:
        if so_far:
            why = err.message if isinstance(err, EdgekitError) else "it was interrupted."
            kept = keep(mark_incomplete(so_far[-1], why), note=note)
            if kept.path is not None:
                click.echo(f"What was measured before that is kept: edgekit runs show {kept.record.id}", err=True)
        raise


def _check_reference(
    reference: "RunRecord | Path | None", subject: "Artifact | Path", options: "BenchOptions", device: "Device"
) -> None:
    """Raise before minutes of measuring, where the baseline cannot be held against what will be measured."""
    from edgekit.bench.plan import configurations, read_subject
    from edgekit.bench.versus.gate import check_asked

    if isinstance(reference, Path):
        read_subject(reference)
    elif reference is not None and reference.bench is not None:
        asked = configurations(read_subject(subject), options, device)
        check_asked(asked, options, device=device.name, baseline=reference.bench, name=reference.id)


def _in_turns(
    reference: "RunRecord | Path | None",
    subject: "Artifact | Path",
    connection: "Connection",
    options: "BenchOptions",
    max_regression: float,
    show: "Progress",
) -> "list[ComparisonReport]":
    """A baseline that is a model, measured now in turns with the candidate: once for each number of threads."""
    from msgspec.structs import replace

    from edgekit.bench.versus.compare import compare

    if not isinstance(reference, Path):
        return []
    return [
        compare(
            [reference, subject],
            connection,
            replace(options, num_threads=(threads,)),
            margin=max_regression,
            max_secs=GATE_SECS,
            on_progress=lambda done, total: show("against the baseline", round(done), round(total)),
        )
        for threads in options.num_threads
    ]


def _gate(
    report: "BenchmarkReport",
    reference: "RunRecord | Path",
    turns: "list[ComparisonReport]",
    max_regression: float,
) -> "GateReport":
    from edgekit.bench.versus.gate import gate_comparisons, gate_run

    if isinstance(reference, Path) or reference.bench is None:  # find_baseline takes no run of another kind
        return gate_comparisons(turns, max_regression=max_regression)
    return gate_run(report, reference.bench, name=reference.id, max_regression=max_regression)


def _say(gate: "GateReport") -> None:
    from edgekit.bench.versus.gate import describe
    from edgekit.report.plain import plain

    print_findings(gate.findings)
    for line in describe(gate):
        click.echo(plain(f"against {gate.baseline}: {line}"))
