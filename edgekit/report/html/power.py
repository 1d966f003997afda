"""Energy and battery: what a gauge said over time, and what follows from it."""

from collections.abc import Sequence
from itertools import pairwise

from edgekit.bench.power.battery import BatteryReport
from edgekit.bench.power.blocks import blocks, origin_ns
from edgekit.bench.power.energy import EnergyReport
from edgekit.bench.recording import Gauge, Recording, Trace
from edgekit.bench.report import BenchmarkReport
from edgekit.report.html.reduce import MAX_ROWS, buckets, choose_points, significant
from edgekit.report.html.view import Figure, KeyFigure, Panel, Section, Series, Span, Table
from edgekit.report.html.words import UNKNOWN, clock, duration, level, number, plural, span

NS_PER_S = 1e9


def key_figures(report: BenchmarkReport) -> tuple[KeyFigure, ...]:
    """Energy of one inference, hours on a battery."""
    figures = []
    if report.energy is not None:
        energy = report.energy
        held = f"{span(energy.interval_mj, 'mJ')}, {level(energy.level)} interval" if energy.interval_mj else ""
        figures.append(
            KeyFigure(
                label="Energy per inference",
                value=number(energy.energy_per_inference_mj, "mJ") if energy.energy_per_inference_mj is not None
                else "below the gauge",
                note="; ".join(filter(None, (held, f"above idle, by {energy.gauge.name}"))),
            )
        )  # fmt: skip
    if report.battery is not None:
        battery = report.battery
        figures.append(
            KeyFigure(
                label="Hours on a full battery",
                value=number(battery.hours, "h", digits=3),
                note=f"{span(battery.hours_interval, 'h', digits=3)}, {level(battery.level)} interval, {_rate(battery)}"
                if battery.hours_interval
                else "its level did not move by as much as it shows",
            )
        )
    return tuple(figures)


def energy_section(report: BenchmarkReport) -> Section | None:
    """None where energy was not asked for."""
    energy = report.energy
    if energy is None:
        return None
    figure = _power_figure(report.recordings.get("energy"), energy)
    return Section(
        title="Energy",
        text=(_energy_text(energy),),
        pieces=(figure, _energy_table(energy)) if figure else (_energy_table(energy),),
    )


def battery_section(report: BenchmarkReport) -> Section | None:
    """None where the battery was not asked for."""
    battery = report.battery
    if battery is None:
        return None
    figure = _capacity_figure(report.recordings.get("sustained"), battery)
    table = _battery_table(battery)
    return Section(title="Battery", pieces=(figure, table) if figure else (table,))


def _rate(battery: BatteryReport) -> str:
    return (
        "as fast as they go" if battery.rate_per_s is None else f"at {number(battery.rate_per_s)} inferences a second"
    )


def _energy_text(energy: EnergyReport) -> str:
    if energy.energy_per_inference_mj is not None:
        return (
            f"One inference takes {number(energy.energy_per_inference_mj, 'mJ')} above idle, by {energy.gauge.name}, "
            f"which covers: {energy.gauge.covers}."
        )
    needed = f" A run of {duration(energy.needed_secs)} would." if energy.needed_secs else ""
    return (
        f"This run could not tell the energy of one inference from idle: {energy.gauge.name} resolves "
        f"{number(energy.resolvable_mj, 'mJ')} here.{needed}"
    )


def _gauge_rows(gauge: Gauge) -> list[tuple[str, str]]:
    steps = [f"{name} {channel.resolution:g}" for name, channel in gauge.channels.items() if channel.resolution]
    return [
        ("gauge", f"{gauge.name} ({gauge.sensor})"),
        ("covers", gauge.covers + ("" if gauge.whole_device else " (not the whole device)")),
        ("read every", f"{number(gauge.interval_s, 's', digits=3)} at most"),
        ("resolution as told", ", ".join(steps) or UNKNOWN),
    ]


def _energy_table(energy: EnergyReport) -> Table:
    rows = [
        ("energy per inference, above idle", number(energy.energy_per_inference_mj, "mJ")),
        (f"{level(energy.level)} interval", span(energy.interval_mj, "mJ")),
        ("smallest energy this run could tell", number(energy.resolvable_mj, "mJ")),
        ("power when idle", number(energy.idle_power_w, "W")),
        ("power under load", number(energy.load_power_w, "W")),
        ("inferences", str(energy.inferences)),
        ("blocks", str(energy.blocks)),
        ("integrated", energy.method.replace("-", " ")),
        *_gauge_rows(energy.gauge),
        ("its value changed every", number(energy.update_interval_s, "s", digits=3)),
    ]
    return Table(caption="Energy of one inference", heads=(), rows=tuple(rows))


def _battery_table(battery: BatteryReport) -> Table:
    rows = [
        ("drain under load", number(battery.drain_percent_per_h, "% an hour", digits=3)),
        (f"{level(battery.level)} interval", span(battery.drain_interval, "% an hour", digits=3)),
        ("drain when idle", number(battery.idle_drain_percent_per_h, "% an hour", digits=3)),
        ("from full to empty, " + _rate(battery), number(battery.hours, "h", digits=3)),
        (f"{level(battery.level)} interval", span(battery.hours_interval, "h", digits=3)),
        ("level at the start and the end", span(battery.capacity_percent, "%", digits=3)),
        *_gauge_rows(battery.gauge),
    ]
    return Table(caption="Drain of the battery", heads=(), rows=tuple(rows))


def watts(trace: Trace) -> list[float | None]:
    """Power at each reading: as read, or a counter's change up to it, or voltage times current; else empty."""
    values = trace.values
    if "power_w" in values:
        return list(values["power_w"])
    if "energy_j" in values:
        return _slopes(trace.monotonic_ns, values["energy_j"])
    if "voltage_v" in values and "current_a" in values:
        pairs = zip(values["voltage_v"], values["current_a"], strict=True)
        return [None if volt is None or amp is None else abs(volt * amp) for volt, amp in pairs]
    return []


def _slopes(times_ns: Sequence[int], counter: Sequence[float | None]) -> list[float | None]:
    """Change per second up to each reading; None where a counter was not read or began again."""
    slopes: list[float | None] = [None]
    for (t0, e0), (t1, e1) in pairwise(zip(times_ns, counter, strict=True)):
        known = e0 is not None and e1 is not None and e1 >= e0 and t1 > t0
        slopes.append(NS_PER_S * (e1 - e0) / (t1 - t0) if known else None)  # type: ignore[operator]
    return slopes


def _own(recording: Recording | None, gauge: Gauge) -> Trace | None:
    traces = recording.traces if recording is not None else ()
    return next((trace for trace in traces if trace.gauge.name == gauge.name and trace.monotonic_ns), None)


def _power_figure(recording: Recording | None, energy: EnergyReport) -> Figure | None:
    trace = _own(recording, energy.gauge)
    if recording is None or trace is None:
        return None
    return _line_figure(
        recording, trace, watts(trace), title="Power over time", y_label="power, W",
        summary=(
            f"Idle {number(energy.idle_power_w, 'W')}, under load {number(energy.load_power_w, 'W')}, in "
            f"{plural(energy.blocks, 'block')} of load with idle around them."
        ),
    )  # fmt: skip


def _capacity_figure(recording: Recording | None, battery: BatteryReport) -> Figure | None:
    trace = _own(recording, battery.gauge)
    if recording is None or trace is None:
        return None
    return _line_figure(
        recording, trace, trace.values.get("capacity_percent", ()), title="Level of the battery", y_label="level, %",
        summary=f"From start to end: {span(battery.capacity_percent, '%', digits=3)}.",
    )  # fmt: skip


def _line_figure(
    recording: Recording, trace: Trace, values: Sequence[float | None], *, title: str, y_label: str, summary: str
) -> Figure | None:
    """None where nothing was read."""
    if all(value is None for value in values):
        return None
    zero = origin_ns(recording)
    seconds = [(moment - zero) / NS_PER_S for moment in trace.monotonic_ns]
    kept = choose_points([values])
    if len(kept) < len(values):
        summary += f" {len(kept)} of {len(values)} readings are drawn: the extremes of each stretch."
    return Figure(
        title=title,
        summary=summary,
        panels=(
            Panel(
                x_label="time",
                y_label=y_label,
                x=tuple(significant(seconds[place]) or 0.0 for place in kept),
                x_clock=True,
                series=(
                    Series(
                        label=trace.gauge.name, values=tuple(significant(values[place]) for place in kept), kind="steps"
                    ),
                ),
                spans=_blocks(recording),
            ),
        ),
        data=_stretches(seconds, values, y_label),
    )


def _blocks(recording: Recording) -> tuple[Span, ...]:
    """Of idle and load; none where there was only one of the two."""
    found = blocks(recording)
    if len({block.kind for block in found}) == 1:
        return ()
    return tuple(Span(start=block.start_s, end=block.end_s, label=block.kind, kind=block.kind) for block in found)


def _stretches(seconds: Sequence[float], values: Sequence[float | None], caption: str) -> Table:
    rows = []
    for first, last in buckets(len(values), MAX_ROWS):
        known = [value for value in values[first:last] if value is not None]
        cells = (min(known), sum(known) / len(known), max(known)) if known else (None, None, None)
        rows.append((f"{clock(seconds[first])} to {clock(seconds[last - 1])}", *map(number, cells)))
    return Table(caption=caption, heads=("time", "lowest", "mean", "highest"), rows=tuple(rows))
