"""A sustained run: latency over time with temperature and frequency."""

from collections.abc import Sequence
from dataclasses import replace

from edgekit.agent.sensors.thermal import find_hottest
from edgekit.bench.heat.sustained import Phase, SustainedReport
from edgekit.bench.heat.throttling import is_held
from edgekit.bench.latency import NS_PER_MS
from edgekit.bench.recording import Recording, Window
from edgekit.bench.report import BenchmarkReport
from edgekit.bench.samples import MachineState
from edgekit.report.html.reduce import MAX_ROWS, buckets, choose_points, significant
from edgekit.report.html.view import Figure, KeyFigure, Panel, Section, Series, Span, Table, Zoom
from edgekit.report.html.words import UNKNOWN, clock, duration, level, ms, number, percent, span
from edgekit.report.units import milliseconds

NS_PER_S = 1e9
NEARLY_A_MINUTE_S = 58.0
"""Windows do not end at whole seconds."""
LOG_FROM = 20.0
"""Slowest over fastest from which on latency has a logarithmic axis: one outlier would flatten all else."""


def key_figures(report: BenchmarkReport) -> tuple[KeyFigure, ...]:
    """What is left after minutes of load."""
    run = report.sustained
    if run is None:
        return ()
    return (
        KeyFigure(
            label=f"Median after {duration(run.plateau.start_s)} of load",
            value=ms(run.plateau.median_ms),
            note=f"{percent(run.slowdown - 1, sign=True)} against the {_phases_of(run)[0][0]}"
            + ("" if run.settled else "; it never settled"),
        ),
    )


def section(report: BenchmarkReport) -> Section | None:
    """None where no sustained run was asked for."""
    run = report.sustained
    if run is None:
        return None
    recording = report.recordings.get("sustained")
    figures = (_figure(run, recording),) if recording is not None and recording.windows else ()
    return Section(title="Sustained load", text=_text(run), pieces=(*figures, _phases(run)))


def latency_panel(runs: Sequence[tuple[str, Recording]]) -> Panel:
    """Median and 99th percentile of one run; the medians of several."""
    x, columns = _latencies([run for _, run in runs])
    names = ["median", "99th percentile"] if len(runs) == 1 else [name for name, _ in runs]
    kept = choose_points(columns)
    known = [value for column in columns for value in column if value]
    return Panel(
        x_label="time under load",
        y_label="latency, ms",
        x=tuple(x[place] for place in kept),
        x_clock=True,
        y_log=bool(known) and max(known) > LOG_FROM * min(known),
        series=tuple(
            Series(label=name, values=tuple(column[place] for place in kept), colour=number_)
            for number_, (name, column) in enumerate(zip(names, columns, strict=True))
        ),
    )


def _latencies(runs: Sequence[Recording]) -> tuple[list[float], list[list[float | None]]]:
    """Seconds, and a column for each line over them; those of several runs are merged, with gaps."""
    if len(runs) == 1:
        windows, zero = runs[0].windows, start_ns(runs[0])
        x = [(item.end_ns - zero) / NS_PER_S for item in windows]
        return x, [[significant(getattr(item, name) / NS_PER_MS) for item in windows] for name in ("p50_ns", "p99_ns")]
    points = sorted(
        ((item.end_ns - start_ns(run)) / NS_PER_S, place, item.p50_ns / NS_PER_MS)
        for place, run in enumerate(runs)
        for item in run.windows
    )
    columns = [[significant(value) if own == place else None for _, own, value in points] for place in range(len(runs))]
    return [second for second, _, _ in points], columns


def start_ns(recording: Recording) -> int:
    """When the load began: what the seconds of a ``Phase`` count from."""
    loads = (stretch.start_ns for stretch in recording.stretches if recording.kind(stretch) == "load")
    return next(loads, recording.windows[0].start_ns)


def _text(run: SustainedReport) -> tuple[str, ...]:
    rate = "as fast as they go" if run.rate_per_s is None else f"at {number(run.rate_per_s)} a second"
    low, high = run.slowdown_interval
    settled = "" if run.settled else " The latency never settled: the last third stands for the plateau."
    throttled = (
        "Nothing on the device tells whether it throttled."
        if run.throttled_s is None
        else f"It throttled for {duration(run.throttled_s)}"
        + (f": {', '.join(run.throttling)}." if run.throttling else ".")
    )
    run_text = (
        f"{run.inferences} inferences in {duration(run.secs)}, {rate}. The plateau is "
        f"{percent(run.slowdown - 1, sign=True)} against the {_phases_of(run)[0][0]} ({percent(low - 1, sign=True)} to "
        f"{percent(high - 1, sign=True)}, {level(run.level)} interval).{settled}"
    )
    return (run_text, throttled)


def _figure(run: SustainedReport, recording: Recording) -> Figure:
    zero, end = start_ns(recording), recording.windows[-1].end_ns
    own = [state for state in recording.states if zero <= state.monotonic_ns <= end]
    phases = _phases_of(run)
    spans = tuple(Span(start=phase.start_s, end=phase.end_s, label=name, kind="phase") for name, phase in phases)
    panels = [latency_panel([("", recording)]), *_state_panels(own, run.zone, zero)]
    bad = _throttled(own, zero)
    marked = tuple(replace(panel, spans=(*(spans if not place else ()), *bad)) for place, panel in enumerate(panels))
    first, last = run.first_minute, run.plateau
    shown = len(panels[0].x)
    return Figure(
        title="Latency, temperature and frequency over time",
        summary=(
            f"Median {ms(first.median_ms)} in the {phases[0][0]}, {ms(last.median_ms)} from {clock(last.start_s)} on; "
            f"temperature {span(last.temperature_c, '°C', digits=3)}, clock {span(last.mhz, 'MHz', digits=4)} there."
            + (
                f" {shown} of {len(recording.windows)} windows are drawn: the extremes of each stretch."
                if shown < len(recording.windows)
                else ""
            )
        ),
        panels=marked,
        data=_table(recording.windows, own, run.zone, zero),
        zooms=tuple(Zoom(label=name.capitalize(), start=phase.start_s, end=phase.end_s) for name, phase in phases),
    )


def _phases_of(run: SustainedReport) -> tuple[tuple[str, Phase], ...]:
    """What stands for the beginning and for the end: a short run has no first minute, and not every run a plateau."""
    start = (
        "first minute" if run.first_minute.end_s >= NEARLY_A_MINUTE_S else f"first {duration(run.first_minute.end_s)}"
    )
    return ((start, run.first_minute), ("plateau" if run.settled else "last third", run.plateau))


def hottest(state: MachineState) -> float | None:
    """Of the zones that tell of the CPU, °C."""
    hottest = find_hottest(state.temperatures_c)
    return None if hottest is None else hottest[1]


def fastest_mhz(state: MachineState) -> float | None:
    """Of the clocks of all CPUs, MHz."""
    return max((policy.khz / 1000 for policy in state.policies if policy.khz is not None), default=None)


def _state_panels(states: Sequence[MachineState], zone: str | None, zero: int) -> list[Panel]:
    """One for each thing that the device tells."""
    columns = (
        ("temperature, °C", zone or "", [state.temperatures_c.get(zone or "") for state in states]),
        ("clock, MHz", "fastest CPU", [fastest_mhz(state) for state in states]),
    )
    panels = []
    for place, (y_label, label, values) in enumerate(columns):
        if any(value is not None for value in values):
            kept = choose_points([values])
            panels.append(
                Panel(
                    x_label="time under load",
                    y_label=y_label,
                    x=tuple((states[item].monotonic_ns - zero) / NS_PER_S for item in kept),
                    x_clock=True,
                    series=(
                        Series(
                            label=label,
                            values=tuple(significant(values[item]) for item in kept),
                            kind="steps",
                            colour=2 + place,
                        ),
                    ),
                )
            )
    return panels


def _throttled(states: Sequence[MachineState], zero: int) -> tuple[Span, ...]:
    """Stretches in which the device said that it holds its clock down."""
    spans: list[Span] = []
    begun: float | None = None
    for state in states:
        second = (state.monotonic_ns - zero) / NS_PER_S
        if is_held(state):
            begun = second if begun is None else begun
        elif begun is not None:
            spans.append(Span(start=begun, end=second, label="throttled", kind="bad"))
            begun = None
    if begun is not None:
        last = (states[-1].monotonic_ns - zero) / NS_PER_S
        spans.append(Span(start=begun, end=last, label="throttled", kind="bad"))
    return tuple(spans)


def _phases(run: SustainedReport) -> Table:
    rows = tuple(
        (
            name,
            f"{clock(phase.start_s)} to {clock(phase.end_s)}",
            f"{milliseconds(phase.median_ms)} ({span(phase.interval_ms)})",
            milliseconds(phase.p99_ms),
            number(phase.inferences_per_s),
            span(phase.temperature_c, "°C", digits=3),
            span(phase.mhz, "MHz"),
        )
        for name, phase in _phases_of(run)
    )
    heads = ("phase", "time", "median, ms", "99th percentile, ms", "inferences per second", "temperature", "clock")
    return Table(caption="First minute and plateau", heads=heads, rows=rows)


def _table(windows: Sequence[Window], states: Sequence[MachineState], zone: str | None, zero: int) -> Table:
    """The run in stretches: extremes and middles, so that nothing is hidden by the choice of rows."""
    rows = []
    for first, last in buckets(len(windows), MAX_ROWS):
        part = windows[first:last]
        inside = [state for state in states if part[0].start_ns <= state.monotonic_ns <= part[-1].end_ns]
        middles = sorted(item.p50_ns for item in part)
        heat = [state.temperatures_c[zone] for state in inside if zone in state.temperatures_c] if zone else []
        clocks = [value for value in map(fastest_mhz, inside) if value is not None]
        rows.append(
            (
                f"{clock((part[0].start_ns - zero) / NS_PER_S)} to {clock((part[-1].end_ns - zero) / NS_PER_S)}",
                milliseconds(middles[len(middles) // 2] / NS_PER_MS),
                milliseconds(max(item.p99_ns for item in part) / NS_PER_MS),
                f"{max(heat):.1f}" if heat else UNKNOWN,
                f"{min(clocks):.0f}" if clocks else UNKNOWN,
                "yes" if any(map(is_held, inside)) else "no",
            )
        )
    heads = ("time", "median, ms", "highest 99th percentile, ms", "highest °C", "lowest MHz", "throttled")
    return Table(caption=f"The run in {len(rows)} stretches", heads=heads, rows=tuple(rows))
