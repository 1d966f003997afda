"""The time of each op: rows of a runtime and ops of a model, the report, and its files; golden ones in data/profile."""

import csv
import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.console import Console

from edgekit.bench import BenchOptions, session
from edgekit.bench import profile as bench_profile
from edgekit.bench.profile import find_slow, measure_profile, midmean, summarize_profile
from edgekit.bench.profile_ops import COMPUTING, HELPING, RowKey, kind_of, place_rows
from edgekit.bench.samples import Failed, Measurement
from edgekit.cli.bench import command
from edgekit.errors import DeviceFaultError, PlotError
from edgekit.history import RunRecord
from edgekit.history.export import to_json
from edgekit.history.record import make_record
from edgekit.report import print_report
from edgekit.report.html.page import render
from edgekit.report.profile import profile_table
from edgekit.report.profile_files import check_file, profile_csv, profile_trace, write_file
from edgekit.transport import Connection
from edgekit_converters.structure import OpInfo
from tests import reports

pytestmark = pytest.mark.unit
GOLDEN = Path(__file__).parent / "data" / "profile"
QUICK = BenchOptions(num_runs=4, warmup_runs=1, min_secs=0.0, processes=2)
REPORT = reports.bench_report(profile=reports.profile())


def golden(name: str, text: str) -> None:
    """``EDGEKIT_GOLDEN=write`` makes them anew."""
    path = GOLDEN / name
    if os.environ.get("EDGEKIT_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def rows(*items: tuple[str, str, int, int]) -> list[RowKey]:
    return [RowKey(kind=kind, owner=owner, place=place, calls=calls) for kind, owner, place, calls in items]


def ops(*names: str) -> list[OpInfo]:
    return [
        OpInfo(name=name, custom=None, version=1, inputs=(), outputs=(), index=index)
        for index, name in enumerate(names)
    ]


def test_real_models_have_the_op_of_every_kernel(cases: Path, connection: Connection) -> None:
    model = cases / "models" / "tflite_ref" / "ic_resnet8_int8.tflite"
    seen: list[tuple[int, int]] = []
    report, findings = measure_profile(
        model, connection, QUICK, on_progress=lambda done, total: seen.append((done, total))
    )
    assert report is not None
    assert seen == [(1, 2), (2, 2)]
    assert (report.processes, report.num_runs, report.num_threads) == (2, 8, 1)
    placed = {op.node: op.op for op in report.ops if op.node is not None}
    convolutions = {0, 1, 2, 4, 5, 6, 8, 9, 10}
    assert placed == {
        **dict.fromkeys(convolutions, "CONV_2D"), **dict.fromkeys((3, 7, 11), "ADD"),
        12: "AVERAGE_POOL_2D", 14: "FULLY_CONNECTED", 15: "SOFTMAX",
    }  # fmt: skip
    assert [op.node for op in report.ops if not op.delegate] == [12, 15]
    assert all(op.macs and op.gmac_per_s for op in report.ops if op.node in convolutions)
    assert report.ops[-1].cumulative == pytest.approx(1)
    assert sum(op.share for op in report.ops) == pytest.approx(1)
    assert report.plain_us < report.profiled_us
    assert not {"no-profile", "profile-failed"} & {finding.name for finding in findings}


def test_plain_kernels_are_all_the_runtimes_own(cases: Path, connection: Connection) -> None:
    model = cases / "models" / "tflite_ref" / "kws_int8.tflite"
    report, _ = measure_profile(model, connection, replace(QUICK, processes=1, delegate="none"))
    assert report is not None
    assert [op.node for op in report.ops] == list(range(13))
    assert not any(op.delegate or op.interval_us for op in report.ops)


def test_a_model_without_a_profile_is_a_finding(cases: Path, connection: Connection) -> None:
    model = cases / "models" / "tflm" / "mnist_lstm_float.tflite"
    report, (finding,) = measure_profile(model, connection, QUICK)
    assert report is None
    assert (finding.name, finding.severity) == ("no-profile", "info")
    assert "Variable tensors not yet supported" in finding.message
    assert "with it and without" in finding.fix


def test_ops_that_would_count_twice_are_a_finding(connection: Connection) -> None:
    model = GOLDEN.parent / "tflite" / "variables.tflite"
    report, (finding,) = measure_profile(model, connection, QUICK)
    assert report is None
    assert "the model has CALL_ONCE and WHILE, whose ops the runtime would count twice" in finding.message


def test_a_crash_is_a_warning_and_what_was_measured_before_stays(
    cases: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = Failed(configuration=0, message="The process that ran the model was killed by SIGSEGV.", hint="Try none.")

    def answer(*_arguments: Any) -> Measurement:
        measured = (reports.profiled_process(0),)
        return replace(reports.recorded(), processes=measured, failed=(failed,))

    monkeypatch.setattr(bench_profile, "take_turns", answer)
    report, findings = measure_profile(cases / "models" / "tflm" / "hello_world_int8.tflite", connection, QUICK)
    assert report is not None
    assert report.processes == 1
    (finding,) = (item for item in findings if item.name == "profile-failed")
    assert finding.severity == "warning"
    assert finding.message.endswith("killed by SIGSEGV. 1 processes were measured before.")


def test_two_calls_of_a_row_are_two_ops() -> None:
    report = reports.profile()
    assert [(op.node, op.op, op.divided, op.calls) for op in report.ops if op.divided] == [
        (2, "CONV_2D", True, 1),
        (5, "FULLY_CONNECTED", True, 1),
    ]
    first, second = (op for op in report.ops if op.divided)
    assert first.time_us + second.time_us == pytest.approx(700 * 1.02)
    assert first.time_us / second.time_us == pytest.approx(0.96 / 2**0.5 / (1.02 - 0.96 / 2**0.5), rel=0.05)
    assert (first.interval_us, second.interval_us) == (None, None)
    names = [finding.name for finding in find_slow(report, "xnnpack")]
    assert names == ["slow-op", "ops-divided"]


def test_slow_op_beside_the_delegate() -> None:
    (finding, *_) = find_slow(reports.profile(), "xnnpack")
    assert finding.message == "AVERAGE_POOL_2D (op 3) takes 57 % of the time of all ops, and xnnpack does not take it."
    assert [item.name for item in find_slow(reports.profile(), "none")] == ["ops-divided"]


def test_calls_of_more_than_two_partitions_stay_one_line() -> None:
    kind = ("Delegate/Add (ND)", "Delegate", 0)
    keys = rows((*kind, 3), ("CUMSUM", "Builtin", 1, 1), ("CUMSUM", "Builtin", 3, 1))
    placed = place_rows(keys, ops("ADD", "CUMSUM", "ADD", "CUMSUM", "ADD"))
    assert [(item.key.calls, item.op and item.op.index) for item in placed] == [(3, None), (1, 1), (1, 3)]


def test_rows_that_do_not_fit_have_no_op() -> None:
    keys = rows(("Delegate/Add (ND)", "Delegate", 0, 1), ("Delegate/Softmax (NC, F32)", "Delegate", 1, 1))
    assert [item.op for item in place_rows(keys, ops("SOFTMAX", "ADD"))] == [None, None]
    assert [item.op for item in place_rows(keys, ops("ADD"))] == [None, None]
    out_of_order = rows(("SOFTMAX", "Builtin", 1, 1), ("ADD", "Builtin", 0, 1))
    assert [item.op for item in place_rows(out_of_order, ops("ADD", "SOFTMAX"))] == [None, None]
    of_another_model = rows(("SOFTMAX", "Builtin", 0, 1))
    assert [item.op for item in place_rows(of_another_model, ops("ADD"))] == [None]


def test_helpers_have_an_op_where_there_are_as_many() -> None:
    keys = rows(
        ("Delegate/Convert (NC, F32, QDU8)", "Delegate", 0, 1), ("Delegate/Convolution (NHWC) IGEMM", "Delegate", 1, 1),
        ("Delegate/Clamp (NC)", "Delegate", 2, 1), ("Delegate/Static Reshape (NC)", "Delegate", 3, 1),
        ("Delegate/Static Reshape (NC)", "Delegate", 4, 1),
    )  # fmt: skip
    placed = place_rows(keys, ops("CONV_2D", "RELU6", "RESHAPE"))
    assert [item.op and item.op.name for item in placed] == [None, "CONV_2D", "RELU6", None, None]


KINDS = st.sampled_from([*COMPUTING, *HELPING, "Copy"])
ANY_ROW = st.one_of(
    st.tuples(
        KINDS.map(lambda kind: f"Delegate/{kind} (NC)"), st.just("Delegate"), st.integers(0, 6), st.integers(1, 3)
    ),
    st.tuples(st.sampled_from(["ADD", "CUMSUM"]), st.just("Builtin"), st.integers(0, 9), st.integers(1, 2)),
)
ANY_OP = st.sampled_from(sorted({name for names in COMPUTING.values() for name in names} | {"CUMSUM", "RESHAPE"}))


@given(st.lists(ANY_ROW, max_size=12), st.lists(ANY_OP, max_size=10))
def test_every_row_is_there_and_no_op_twice(items: list[tuple[str, str, int, int]], names: list[str]) -> None:
    keys = rows(*items)
    placed = place_rows(keys, ops(*names))
    for number, key in enumerate(keys):
        own = [item for item in placed if item.row == number]
        assert sum(item.key.calls for item in own) == key.calls
        assert [item.call for item in own] in ([None], [0, 1])
    found = [item.op.index for item in placed if item.op is not None]
    assert len(set(found)) == len(found)
    for item in placed:
        known = COMPUTING.get(kind_of(item.key.kind))
        if item.op is not None and known is not None:
            assert item.op.name in known


def test_processes_that_differ_are_refused() -> None:
    first, second = reports.profiled_process(0), reports.profiled_process(1)
    with pytest.raises(DeviceFaultError, match="ran different ops"):
        summarize_profile([first, replace(second, rows=second.rows[:-1])], reports.profiled_ops())


def test_middle_half() -> None:
    assert midmean([4.0, 5.0, 4.0, 900.0]) == 4.5
    assert midmean([3.0]) == 3.0
    assert midmean([0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 90.0]) == 1.0


def test_table_as_text() -> None:
    stream = io.StringIO()
    Console(file=stream, width=150, color_system=None).print(profile_table(reports.profile(), most=4))
    golden("table.txt", stream.getvalue())


def test_a_table_has_all_ops_where_it_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    many = reports.profile()
    report = replace(REPORT, profile=replace(many, ops=many.ops * 4))
    for every_op, there in ((False, True), (True, False)):
        print_report(report, Console(width=150), every_op=every_op)
        assert (" others" in capsys.readouterr().out) is there


def test_csv() -> None:
    text = profile_csv(REPORT)
    golden("ops.csv", text)
    assert [len(row) for row in csv.reader(io.StringIO(text))] == [16] * 9
    assert profile_csv(reports.bench_report()).count("\n") == 1


def test_no_formula_in_the_csv() -> None:
    named = tuple(replace(op, tensor="=cmd|'/c calc'!A0") for op in reports.profile().ops)
    assert ",'=cmd" in profile_csv(replace(REPORT, profile=replace(reports.profile(), ops=named)))


def test_trace_is_of_the_trace_event_format() -> None:
    text = profile_trace(REPORT)
    golden("trace.json", text)
    document = json.loads(text)
    assert "laid out one after the other" in document["otherData"]["layout"]
    for event in document["traceEvents"]:
        assert {"name", "ph", "pid", "tid"} <= set(event)
        assert event["ph"] in {"X", "M"}
        if event["ph"] == "X":
            assert isinstance(event["ts"], int | float)
            assert event["dur"] >= 0
    assert REPORT.profile is not None
    for track in range(5):
        whole, *parts = (item for item in document["traceEvents"] if item["ph"] == "X" and item["tid"] == track)
        assert len(parts) == len(REPORT.profile.ops)
        ends = [item["ts"] + item["dur"] for item in parts]
        begins = [item["ts"] for item in parts]
        assert begins == pytest.approx([0.0, *ends[:-1]], abs=0.002), "in order, no gap, no overlap"
        assert whole["dur"] == pytest.approx(ends[-1], abs=0.002)


def test_page() -> None:
    page = render([REPORT])
    assert "Time of each op" in page
    assert "AVERAGE_POOL_2D" in page
    assert "(emulated)" not in page
    assert "Time of each op" not in render([reports.bench_report()])


def test_plot(tmp_path: Path) -> None:
    from edgekit.plots.profile import plot_profile

    plot_profile(tmp_path / "a.svg", reports.profile(), title="vww on garage")
    plot_profile(tmp_path / "b.svg", reports.profile(), title="vww on garage")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_kept_run_has_it() -> None:
    created = datetime(2026, 11, 21, 8, 15, 30, tzinfo=UTC)
    record = make_record(REPORT, created=created, edgekit_version="0.1.0", project_commit=None, note=None)
    again = msgspec.json.decode(to_json([record]))["runs"][0]
    assert msgspec.convert(again, RunRecord) == record
    assert len(again["bench"]["profile"]["ops"]) == 8


@pytest.mark.parametrize("flag", ["--trace", "--profile-csv", "--profile-plot"])
@pytest.mark.parametrize(("name", "words"), [("none/a.json", "does not exist"), ("", "is a folder")])
def test_files_are_checked_before_anything_is_measured(
    flag: str, name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "measure_parts", lambda *_arguments, **_settings: pytest.fail("measured all the same"))
    result = CliRunner().invoke(command, ["model.tflite", flag, str(tmp_path / name)])
    assert isinstance(result.exception, PlotError)
    assert words in result.exception.message


def test_one_file_is_not_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "measure_parts", lambda *_arguments, **_settings: pytest.fail("measured all the same"))
    (tmp_path / "link").symlink_to(tmp_path / "a.json")
    files = ["--trace", str(tmp_path / "a.json"), "--profile-csv", str(tmp_path / "link")]
    result = CliRunner().invoke(command, ["model.tflite", *files])
    assert isinstance(result.exception, PlotError)
    assert "would be written twice" in result.exception.message


def test_links_are_followed_where_they_are_the_user_s_alone(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    (tmp_path / ".a.csv.part").symlink_to(tmp_path / "other")
    write_file(tmp_path / "link.csv", "text")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "a.csv").read_text() == "text"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "link.csv"]


def test_a_named_pipe_is_no_file_to_write(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(PlotError, match="is no ordinary file"):
        check_file(tmp_path / "pipe.csv")


def test_unwritable_file_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(PlotError, match="cannot be written: Is a directory"):
        write_file(tmp_path / "folder", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    check_file(tmp_path / "new.csv")


@pytest.mark.usefixtures("root")
def test_files_of_a_model_without_a_profile_are_an_error(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = str(cases / "models" / "tflm" / "mnist_lstm_int8.tflite")
    quick = ["--num-runs", "2", "--min-secs", "0", "--processes", "1", "--allow-invalid"]
    result = CliRunner().invoke(command, [model, *quick, "--trace", "t.json"])
    assert isinstance(result.exception, DeviceFaultError)
    assert result.exception.message == "t.json cannot be written: there is no profile."
    assert "no-profile" in result.output
    assert not (tmp_path / "t.json").exists()
    assert "kept as " in result.output
