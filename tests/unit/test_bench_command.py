"""What ``edgekit bench`` makes of its options, and the parts of a run as one report."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from edgekit.bench import session
from edgekit.bench.plan import BenchOptions
from edgekit.bench.recording import Recording, Segment
from edgekit.bench.report import BenchmarkReport
from edgekit.bench.session import Parts, lasting_schedule, run_session
from edgekit.cli.bench import _last, command
from edgekit.cli.bench_options import parse_duration, parse_rate
from edgekit.device import Device
from edgekit.entries import FindingEntry
from edgekit.errors import DataError, DeviceFaultError, PlotError, TransportError
from edgekit.history import find_run
from edgekit.report import print_report
from edgekit.report.units import number
from edgekit.transport.cooling import say_cooling
from tests.reports import bench_report, energy_recording, full_report, stages, sustained_run

pytestmark = pytest.mark.unit

CONTEXT, OPTION = click.Context(command), click.Option(["--x"])


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("10m", 600), ("2min", 120), ("1.5h", 5400), ("24h", 86400)]
)
def test_durations_have_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(CONTEXT, OPTION, text) == seconds


@pytest.mark.parametrize("text", ["10", "0s", "25h", "-5s", "1e3s", "ten", "5 m", "0.5s", "1d"])
def test_what_is_no_duration_names_three_that_are(text: str) -> None:
    with pytest.raises(click.BadParameter, match="such as 90s, 10m or"):
        parse_duration(CONTEXT, OPTION, text)


@pytest.mark.parametrize(("text", "rate"), [("10/s", 10), ("30/min", 0.5), ("36/h", 0.01), ("0.5/s", 0.5)])
def test_rates_have_a_unit(text: str, rate: float) -> None:
    assert parse_rate(CONTEXT, OPTION, text) == rate


@pytest.mark.parametrize("text", ["10", "0/s", "10/d", "-1/s", "10 /s", "1e9/s"])
def test_what_is_no_rate_names_three_that_are(text: str) -> None:
    with pytest.raises(click.BadParameter, match="10/s, 30/min or 6/h"):
        parse_rate(CONTEXT, OPTION, text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sample", "x.png"], "--sample is what --whole-way begins with"),
        (["--rate", "10/s"], "--rate is the load of --sustained and --battery"),
        (["--gauge", "BAT0"], "--gauge is for --energy and --battery"),
        (["--meter", "ppk2"], "--meter is for --energy"),
        (["--meter", "ppk2", "--energy", "--gauge", "BAT0"], "--meter is the gauge for --energy"),
        (["--streams", "2", "--tune-threads"], "--tune-threads chooses the numbers of streams itself"),
        (["--streams", "0"], "'0' is no list of different numbers of streams such as 1,2,4"),
        (["--sustained", "5s"], "--sustained takes 30s or more"),
        (["--max-regression", "3"], "3%"),
        (["--baseline", "nothing-of-this-name"], "nothing-of-this-name"),
        (["--baseline", "missing.tflite"], "missing.tflite cannot be read"),
        (["--html", "no/such/folder/report.html"], "no/such/folder"),
    ],
)
def test_parts_that_need_others_are_refused_before_anything_runs(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.tflite").write_bytes(b"")
    done = CliRunner().invoke(command, ["model.tflite", *arguments])
    assert done.exit_code != 0
    assert said in done.output + str(done.exception)


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_what_was_measured_is_shown_where_no_page_can_be_written(
    flags: tuple[str, ...], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_reports: Any, path: Path) -> None:
        raise PlotError(f"{path} cannot be written: No space left on device.", hint="Free some space.")

    monkeypatch.setenv("EDGEKIT_RUNS_DIR", "/proc/no-run-is-kept-here")
    monkeypatch.setattr("edgekit.report.html.write_html", refuse)
    monkeypatch.setattr(session, "measure_parts", lambda *_arguments, **_settings: iter([bench_report()]))
    done = CliRunner().invoke(command, [str(model), "--html", str(tmp_path / "report.html"), *flags])
    assert isinstance(done.exception, PlotError)
    if flags:
        assert done.exception.details["model"] == "vww-rpi4-int8"
        json.dumps(done.exception.details)
    else:
        assert "vww-rpi4-int8 on garage" in done.output
        assert "run-not-kept" in done.output


def test_one_load_serves_heat_and_battery() -> None:
    (load,) = lasting_schedule(Parts(sustained_secs=600, rate_per_s=10))
    assert load == Segment(kind="load", secs=600, rate_per_s=10)
    before, load, after = lasting_schedule(Parts(sustained_secs=600, battery=True))
    assert (before.kind, load.secs, after) == ("idle", 600, before)
    before, load, _ = lasting_schedule(Parts(battery=True, battery_secs=1000))
    assert before.secs == pytest.approx(200)
    assert load.secs == pytest.approx(600)


class Connection:
    """Enough of one: nothing here reaches a device."""

    device = Device(name="garage", transport="local")


@pytest.fixture
def model(cases: Path) -> Path:
    return cases / "models/tflite_ref/kws_int8.tflite"


def answered(monkeypatch: pytest.MonkeyPatch, recordings: list[Recording]) -> list[tuple[Any, ...]]:
    """``bench`` and ``record`` give what is prepared; the calls of ``record`` are kept."""
    calls: list[tuple[Any, ...]] = []

    def record(_first: Any, _connection: Any, schedule: Any, options: BenchOptions, **settings: Any) -> Recording:
        calls.append((schedule, options, settings["processes"]))
        return recordings.pop(0)

    monkeypatch.setattr(session, "bench", lambda *_arguments, **_settings: bench_report())
    monkeypatch.setattr(session, "record", record)
    return calls


def test_a_sample_that_cannot_be_read_is_said_before_measuring(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bench(*_arguments: Any, **_settings: Any) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(session, "bench", bench)
    with pytest.raises(DataError, match=r"none\.png does not exist"):
        run_session(model, Connection(), BenchOptions(), Parts(whole_way=True, sample=Path("none.png")))  # type: ignore[arg-type]


def test_energy_and_a_sustained_run_are_parts_of_one_report(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    energy, lasting = energy_recording(), sustained_run().recording
    calls = answered(monkeypatch, [energy, energy, lasting])
    options = BenchOptions(cooldown_c=45.0)
    report = run_session(model, Connection(), options, Parts(energy=True, sustained_secs=600.0))  # type: ignore[arg-type]
    assert report.energy is not None
    assert report.sustained is not None
    assert (report.battery, report.stages, report.throughput) == (None, None, None)
    assert set(report.recordings) == {"energy", "sustained"}
    probe, measured, loaded = calls
    assert (probe[0], probe[1].cooldown_c, probe[2]) == ((), None, 0), "only asks which gauges there are"
    assert measured[1].cooldown_c == loaded[1].cooldown_c == 45.0


def test_a_gauge_that_is_missing_is_said_before_anything_is_measured(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = replace(energy_recording(), traces=())
    calls = answered(monkeypatch, [bare])
    monkeypatch.setattr(session, "bench", lambda *_arguments, **_settings: pytest.fail("measured all the same"))
    with pytest.raises(DeviceFaultError, match="tells the power it draws"):
        run_session(model, Connection(), BenchOptions(), Parts(energy=True))  # type: ignore[arg-type]
    assert len(calls) == 1


def test_a_finding_of_a_later_part_says_so(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = FindingEntry(name="other-load", severity="warning", message="Others kept 1 CPU busy.", fix="Stop them.")
    answered(monkeypatch, [])
    monkeypatch.setattr(session, "bench", lambda *_arguments, **_settings: replace(bench_report(), findings=(load,)))
    again = replace(load, message="Others kept 2 CPUs busy.")
    monkeypatch.setattr(session, "measure_stages", lambda *_arguments, **_settings: (stages(), (load, again)))
    report = run_session(model, Connection(), BenchOptions(), Parts(whole_way=True))  # type: ignore[arg-type]
    assert [item.message for item in report.findings] == [load.message, f"Whole way: {again.message}"]


def test_every_part_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    print_report(full_report(), Console(width=140, highlight=False))
    text = capsys.readouterr().out
    for words in (
        "inferences per second",
        "preprocess",
        "streams",
        "energy per inference",
        "plateau",
        "hours of operation",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (12.345, "12.3"), (0.00012345, "0.000123"), (1234567.0, "1234567"), (2.0, "2")]
)
def test_numbers_have_three_digits_and_no_powers_of_ten(value: float, text: str) -> None:
    assert number(value) == text


def test_waiting_for_a_cool_device_is_said_every_half_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    event = {"event": "cooling", "zone": "cpu-thermal-0", "temperature_c": 61.5, "limit_c": 45.0, "timeout_s": 900}
    for waited in (0.0, 2.0, 28.0, 30.1, 32.2, None, "soon"):
        say_cooling({**event, "waited_s": waited}, "garage")
    assert [record.getMessage() for record in caplog.records] == [
        "garage: waiting until it is cool: cpu-thermal-0 at 61.5 C, 45.0 C asked for; 0 s of at most 900",
        "garage: waiting until it is cool: cpu-thermal-0 at 61.5 C, 45.0 C asked for; 30 s of at most 900",
    ]


def test_what_was_measured_before_a_part_fails_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEKIT_RUNS_DIR", str(tmp_path))

    def parts() -> Iterator[BenchmarkReport]:
        yield bench_report()
        raise TransportError("garage: the connection was lost.", hint="Look at it.")

    with pytest.raises(TransportError):
        _last(parts(), "a note")
    run = find_run("latest")
    assert run.note == "a note"
    assert run.bench is not None
    assert not run.bench.valid
    assert run.bench.findings[0].name == "incomplete"
    assert "garage: the connection was lost." in run.bench.findings[0].message
    assert f"edgekit runs show {run.id}" in capsys.readouterr().err


def test_nothing_is_kept_where_nothing_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_RUNS_DIR", str(tmp_path))

    def parts(reports: list[BenchmarkReport]) -> Iterator[BenchmarkReport]:
        yield from reports
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _last(parts([]), None)
    assert not list(tmp_path.iterdir())
