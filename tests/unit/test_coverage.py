"""Proof that a delegate ran: reports, findings and gates, with a real external delegate on this machine."""

import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from rich.console import Console

from edgekit.agent.application import load
from edgekit.agent.coverage import walk_back
from edgekit.artifact import Artifact, write_artifact
from edgekit.bench import coverage_run
from edgekit.bench.coverage import (
    CoverageReport,
    Fallback,
    Seen,
    Taken,
    TimeShare,
    read_model,
    share_of_macs,
    summarize_coverage,
)
from edgekit.bench.coverage_findings import compare_prediction, coverage_findings, require_coverage
from edgekit.bench.coverage_run import Start, is_compiled, measure_coverage, start_coverage, start_if_needed
from edgekit.bench.plan import BenchOptions, Configuration, configurations, read_subject
from edgekit.bench.samples import RuntimeFacts
from edgekit.cli.bench_delegate import parse_coverage, parse_options, take_gates
from edgekit.deploy import deploy, rollback
from edgekit.device import DeviceTable, choose_delegate, resolve_device
from edgekit.errors import CoverageError, DeviceConfigError, DeviceFaultError, SelfTestError
from edgekit.report import print_report
from edgekit.report.coverage import facts, left
from edgekit.report.html.articles import write_article
from edgekit.target import Target, load_target
from edgekit.transport import Connection
from tests.artifacts import make_artifact
from tests.reports import bench_report
from tests.unit.delegate_models import chain

pytestmark = pytest.mark.unit

OPS = ("ADD", "MUL", "SIN", "RELU", "ADD")
LIBRARY = "/opt/lib/libnpu.so.2"
TIME = TimeShare(
    delegate_ms=4.0,
    without_ms=10.0,
    without="xnnpack",
    gone=0.6,
    interval=(0.55, 0.65),
    level=0.95,
    verdict="faster",
    rounds=20,
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "chain.tflite"
    path.write_bytes(chain(OPS))
    return path


def seen(*taken: Taken, version: str = "2.3.0", differ: tuple[int, ...] = ()) -> Seen:
    return Seen(
        runtime=RuntimeFacts(name="ai-edge-litert", version=version),
        ops=OPS,
        taken=taken,
        route="node by node",
        differ=differ,
        library=None,
    )


def asked(model: Path, delegate: str = LIBRARY) -> Configuration:
    return configurations(read_subject(model), BenchOptions(delegate=delegate), resolve_device("local"))[0]


NPU = Taken(delegate=LIBRARY, nodes=(0, 1, 3, 4), partitions=2)


def report(model: Path, found: Seen | None = None, *, time: TimeShare | None = TIME) -> CoverageReport:
    return summarize_coverage(found or seen(NPU), read_model(model), asked(model), time=time, fallback=None)


def test_a_report_shows_it_on_the_terminal_and_on_the_page(model: Path) -> None:
    whole = replace(bench_report(), coverage=report(model))
    screen = Console(file=io.StringIO(), width=100)
    print_report(whole, screen)
    shown = " ".join(screen.file.getvalue().split())  # type: ignore[attr-defined]
    assert "4 of 5 (80.0 %)" in shown
    assert "Told by ai-edge-litert 2.3.0, by a run in which every op" in shown
    article = write_article(whole)
    assert "Delegate" in [part.title for part in article.sections]
    assert "4 of 5 ops" in [figure.value for figure in article.key_figures]


def test_what_the_runtime_said_as_a_report(model: Path) -> None:
    found = report(model)

    assert (found.taken_ops, found.ops, found.by_ops, found.partitions) == (4, 5, 0.8, 2)
    assert found.placement.basis == "runtime"
    assert found.placement.told_by == "ai-edge-litert 2.3.0"
    assert found.placement.counts == {"libnpu.so.2": 4, "cpu": 1}
    assert [part.processor for part in found.placement.partitions] == ["libnpu.so.2", "cpu", "libnpu.so.2"]
    assert {(item.source, item.destination) for item in found.placement.transfers} >= {("libnpu.so.2", "cpu")}
    assert found.by_macs is None  # elementwise ops have none
    assert left(found) == "cpu 1 (1 SIN)"
    assert ("time that went away", "60.0 % (faster)") in facts(found)


def test_a_device_that_speaks_of_another_model_is_refused(model: Path) -> None:
    other = Taken(delegate=LIBRARY, nodes=(7,), partitions=1)
    with pytest.raises(DeviceFaultError, match="The device speaks of 5 ops, the model has 5"):
        report(model, seen(other))


def test_the_share_of_multiply_accumulates(cases: Path) -> None:
    structure = read_model(cases / "models" / "tflite_ref" / "vww_float.tflite")
    convolutions = [op.index for op in structure.ops if "CONV_2D" in op.name]
    share = share_of_macs(structure, convolutions)
    assert share is not None
    assert 0.9 < share < 1.0
    assert share_of_macs(structure, [op.index for op in structure.ops]) == 1.0


def names(found: CoverageReport, told: Seen) -> list[str]:
    return [item.name for item in coverage_findings(found, told)]


def test_findings(model: Path) -> None:
    assert names(report(model), seen(NPU)) == []
    assert names(report(model, seen()), seen()) == ["delegate-unused"]
    unsure = replace(TIME, gone=0.01, interval=(-0.02, 0.04), verdict="inconclusive")
    assert names(report(model, time=unsure), seen(NPU)) == ["not-faster"]
    assert names(report(model), seen(NPU, differ=(2,))) == ["routes-differ"]
    plain = summarize_coverage(seen(), read_model(model), asked(model, "xnnpack"), time=None, fallback=None)
    (note,) = coverage_findings(plain, seen())
    assert (note.name, note.severity) == ("delegate-unused", "info")
    fell = replace(report(model), fallback=Fallback(delegate="lib.so", reason="There is no file lib.so."))
    assert names(fell, seen(NPU)) == ["delegate-fallback"]


def test_gates_that_hold(model: Path) -> None:
    require_coverage(report(model), min_coverage=0.8, require_delegate=True)


@pytest.mark.parametrize(
    ("change", "gates", "said"),
    [
        ({}, {"min_coverage": 0.95}, "took 4 of 5 ops, 80.0 %; 95 % were asked for"),
        (
            {"taken_ops": 0},
            {"require_delegate": True},
            "A delegate was required, and /opt/lib/libnpu.so.2 took none of 5",
        ),
        ({"taken_ops": 0, "delegate": "none"}, {"require_delegate": True}, "and no delegate was used"),
        ({"time": None}, {"require_delegate": True}, "there is no time without it"),
        (
            {"time": replace(TIME, verdict="slower", interval=(-0.3, -0.1))},
            {"require_delegate": True},
            "is not surely faster than on the CPU: 4 ms, and 10 ms with xnnpack; -30.0 % to -10.0 %",
        ),
        (
            {"fallback": Fallback(delegate="lib.so", reason="There is no file lib.so.")},
            {"min_coverage": 0.1},
            "lib.so was required and could not be used: There is no file lib.so.",
        ),
    ],
)
def test_gates_that_fail(model: Path, change: dict[str, Any], gates: dict[str, Any], said: str) -> None:
    with pytest.raises(CoverageError) as caught:
        require_coverage(replace(report(model), **change), **gates)
    assert said in caught.value.message
    assert caught.value.exit_code == 3


def test_xnnpack_need_not_be_faster_than_itself(model: Path) -> None:
    own = summarize_coverage(
        seen(Taken(delegate="xnnpack", nodes=(0,), partitions=1)),
        read_model(model),
        asked(model, "xnnpack"),
        time=replace(TIME, verdict="slower"),
        fallback=None,
    )
    require_coverage(own, require_delegate=True)


@pytest.fixture
def target() -> Target:
    return load_target("x86-64")


def test_a_prediction_that_holds_says_nothing(model: Path, connection: Connection, target: Target) -> None:
    told = start_coverage(model, connection, BenchOptions()).seen
    assert told.taken[0].nodes == (0, 1, 2, 3, 4)
    assert compare_prediction(told, read_model(model), target) == ()


def test_a_wrong_prediction_is_a_finding(model: Path, target: Target) -> None:
    told = seen(Taken(delegate="xnnpack", nodes=(0, 1, 3), partitions=2))
    (finding,) = compare_prediction(told, read_model(model), target)
    assert finding.name == "prediction-differs"
    assert "2 of 5 ops: SIN (2) not taken by xnnpack, ADD (4) not taken by xnnpack" in finding.message
    (older,) = compare_prediction(replace(told, runtime=RuntimeFacts(name="tflite-runtime", version="2.14.0")),
                                  read_model(model), target)  # fmt: skip
    assert older.severity == "info"


def test_nothing_is_predicted_of_what_a_library_took(model: Path, target: Target) -> None:
    told = seen(NPU, Taken(delegate="xnnpack", nodes=(2,), partitions=1))
    assert compare_prediction(told, read_model(model), target) == ()
    assert compare_prediction(told, read_model(model), None) == ()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparisons of the least number of rounds, in short blocks."""
    monkeypatch.setattr("edgekit.bench.versus.compare.ROUND_S", 0.01)
    monkeypatch.setattr("edgekit.bench.versus.compare.MAX_PASSES", 4)


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_a_real_delegate_from_start_to_gate(tmp_path: Path, elementwise: Path, connection: Connection) -> None:
    """Told to compute nothing it is surely faster, told to be busy for 50 ms surely slower, on any machine."""
    model = tmp_path / "long.tflite"
    model.write_bytes(chain(("ADD", "MUL", "MAXIMUM") * 30, size=1 << 18))
    options = BenchOptions(delegate=str(elementwise), delegate_options={"skip": "1"})

    start = start_coverage(model, connection, options)
    found, _ = measure_coverage(start, connection, secs=0.5)
    require_coverage(found, min_coverage=1.0, require_delegate=True)

    slow = start_coverage(model, connection, replace(options, delegate_options={"slow_us": "50000"}))
    slower, findings = measure_coverage(slow, connection, secs=0.5)
    assert "not-faster" in [item.name for item in findings]
    with pytest.raises(CoverageError, match="is not surely faster than on the CPU"):
        require_coverage(slower, require_delegate=True)


def test_a_library_that_cannot_be_used_is_an_error(model: Path, connection: Connection, tmp_path: Path) -> None:
    with pytest.raises(DeviceFaultError, match=r"There is no file .*libnone\.so on the device"):
        start_coverage(model, connection, BenchOptions(delegate=str(tmp_path / "libnone.so")))


def test_fallback_is_for_those_who_ask(model: Path, connection: Connection, elementwise: Path) -> None:
    options = BenchOptions(delegate=str(elementwise), delegate_options={"fail": "load"})

    start = start_coverage(model, connection, options, allow_fallback=True)

    assert start.asked.delegate == start.options.delegate == "xnnpack"
    assert start.fallback is not None
    assert start.fallback.delegate == str(elementwise)
    assert "was killed by SIGSEGV" in start.fallback.reason


@pytest.mark.slow
def test_a_crash_names_the_library_the_runtime_and_the_likely_cause(
    model: Path, connection: Connection, elementwise: Path
) -> None:
    options = BenchOptions(delegate=str(elementwise), delegate_options={"fail": "crash_prepare"})
    with pytest.raises(DeviceFaultError, match=r"libelementwise\.so crashed with ai-edge-litert 2\.3\.0: ") as caught:
        start_coverage(model, connection, options)
    assert "built for another version of the runtime" in caught.value.hint
    assert caught.value.details["status"] == -11


def test_a_crash_of_a_known_pair_names_the_one_that_works(
    model: Path, connection: Connection, elementwise: Path, tmp_path: Path
) -> None:
    library = tmp_path / "libedgetpu.so.1"
    library.symlink_to(elementwise)
    options = BenchOptions(delegate=str(library), delegate_options={"fail": "load"})
    with pytest.raises(DeviceFaultError, match=r"Coral's own libedgetpu is built for TensorFlow 2\.5") as caught:
        start_coverage(model, connection, options)
    assert "tflite-runtime 2.5.0.post1" in caught.value.hint


def test_a_compiled_artifact_falls_back_to_its_reference(tmp_path: Path, connection: Connection) -> None:
    compiled = make_compiled(tmp_path / "compiled")
    assert is_compiled(compiled)
    start = start_coverage(compiled, connection, BenchOptions(), allow_fallback=True)
    assert start.model == compiled.reference
    assert start.fallback is not None
    assert start.fallback.delegate == "/opt/libnpu.so"


def make_compiled(folder: Path) -> Artifact:
    """An artifact whose model.tflite is of another processor, made from reference.tflite."""
    made = make_artifact(folder, chain(OPS), delegate="/opt/libnpu.so", precision="float32")
    files = {path: (made.path / path).read_bytes() for path in made.manifest.files}
    files = {**files, "reference.tflite": files["model.tflite"], "model.tflite": chain(("ADD",))}
    return write_artifact(folder, files, replace(made.manifest, reference="reference.tflite"))


@pytest.mark.slow
def test_a_model_that_is_none_is_no_reason_to_fall_back(tmp_path: Path, connection: Connection) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\0\0\0\0TFL3" + bytes(100))
    with pytest.raises(DeviceFaultError, match="refuses the model"):
        start_coverage(broken, connection, BenchOptions(), allow_fallback=True)


def test_plain_delegates_are_looked_at_where_it_is_asked_for(model: Path, connection: Connection) -> None:
    assert start_if_needed(model, connection, BenchOptions(), wanted=False, allow_fallback=False) is None


def test_no_time_without_is_a_finding(model: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Iterator[Any]:
        raise DeviceFaultError("The runtime refuses the model.", hint="Look at it.")

    monkeypatch.setattr(coverage_run, "measure_rounds", refuse)
    start = Start(model=model, options=BenchOptions(), asked=asked(model), seen=seen(NPU), fallback=None)
    found, findings = measure_coverage(start, connection)
    assert found.time is None
    assert [item.name for item in findings] == ["no-time-without"]


TABLE = DeviceTable(delegate="/usr/lib/libedgetpu.so.1", delegate_options={"device": "usb:0"})


@pytest.mark.parametrize(
    ("table", "asked_for", "chosen"),
    [
        (DeviceTable(), None, ("libedgetpu.so.1", {"own": "1"})),
        (TABLE, None, ("/usr/lib/libedgetpu.so.1", {"own": "1", "device": "usb:0"})),
        (TABLE, "/opt/libother.so", ("/opt/libother.so", {"x": "y"})),
        (TABLE, "libedgetpu.so.1", ("libedgetpu.so.1", {"own": "1", "device": "usb:0", "x": "y"})),
    ],
)
def test_options_go_with_their_library(
    table: DeviceTable, asked_for: str | None, chosen: tuple[str, dict[str, str]]
) -> None:
    given = {} if asked_for is None else {"x": "y"}
    found = choose_delegate(
        table, own="libedgetpu.so.1", own_options={"own": "1"}, asked=asked_for, asked_options=given
    )
    assert found == chosen


@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
def test_a_delegate_of_the_runtime_takes_no_options(delegate: str) -> None:
    named = {"own": "libedgetpu.so.1", "own_options": {"own": "1"}, "asked": delegate}
    assert choose_delegate(TABLE, **named) == (delegate, {})  # type: ignore[arg-type]
    with pytest.raises(DeviceConfigError, match=f"{delegate} takes no options; x was given") as caught:
        choose_delegate(TABLE, asked_options={"x": "y"}, **named)  # type: ignore[arg-type]
    assert "--delegate-option" in caught.value.hint


@pytest.fixture
def artifact(tmp_path: Path, elementwise: Path) -> Artifact:
    return make_artifact(
        tmp_path / "artifact", chain(OPS), delegate=str(elementwise), precision="float32", target="x86-64"
    )


def with_options(connection: Connection, **options: str) -> Connection:
    device = replace(connection.device, table=replace(connection.device.table, delegate_options=options))
    connection.device = device
    return connection


def test_the_self_test_says_what_the_delegate_took(artifact: Artifact, connection: Connection) -> None:
    done = deploy(artifact, connection, target=load_target("x86-64"), require_delegate=True)
    assert done.self_test is not None
    assert done.self_test.ops == 5
    assert [(item.nodes, item.partitions) for item in done.self_test.taken] == [((0, 1, 3, 4), 2), ((2,), 1)]
    assert done.findings == ()


def test_a_delegate_that_does_nothing_is_a_finding_and_a_gate(artifact: Artifact, connection: Connection) -> None:
    with_options(connection, ops="nothing")
    with pytest.raises(CoverageError, match="was required, and took none of the model's 5 ops"):
        deploy(artifact, connection, target=load_target("x86-64"), require_delegate=True)
    done = deploy(artifact, connection, target=load_target("x86-64"))
    assert [item.name for item in done.findings] == ["delegate-unused"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"wrong": "0.25"}, "The device computes something else"),
        ({"fail": "crash_invoke"}, "The self-test crashed on delegate"),
    ],
)
def test_a_wrong_or_crashing_delegate_never_becomes_active(
    artifact: Artifact, connection: Connection, options: dict[str, str], said: str
) -> None:
    with pytest.raises(SelfTestError, match=said):
        deploy(artifact, with_options(connection, **options), target=load_target("x86-64"))


@pytest.mark.slow
def test_a_version_that_comes_back_has_its_options(
    artifact: Artifact, connection: Connection, root: Path, tmp_path: Path
) -> None:
    """Those it passed its self-test with, whatever the device's table says by then; the application has them, too."""
    newer = make_artifact(
        tmp_path / "newer",
        chain(OPS),
        delegate=artifact.manifest.delegate,
        precision="float32",
        target="x86-64",
        tools={"edgekit": "1"},
    )
    target = load_target("x86-64")
    deploy(artifact, with_options(connection, ops="ADD"), target=target)
    deploy(newer, with_options(connection, ops="MUL"), target=target)

    back = rollback(with_options(connection, ops="RELU"), name="demo")

    assert back.self_test is not None
    assert back.self_test.taken[0].nodes == (0, 4)
    model = load(str(root / "models" / "demo"))._loaded.pipeline.model
    assert walk_back(model.ops(), model.nodes_before).nodes["external"] == [0, 4]


@pytest.mark.parametrize("text", ["95", "101%", "5pt", "many"])
def test_what_is_no_share_of_ops(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"is no share of the ops such as 95%"):
        parse_coverage(None, None, text)  # type: ignore[arg-type]


@pytest.mark.parametrize("texts", [("key",), ("=1",), ("a=1", "a=2")])
def test_what_is_no_option_of_a_delegate(texts: tuple[str, ...]) -> None:
    with pytest.raises(click.BadParameter, match="is no KEY=VALUE, or its key was given before"):
        parse_options(None, None, texts)  # type: ignore[arg-type]


def test_gates_ask_for_coverage() -> None:
    settings = {"min_coverage": 0.9, "require_delegate": False, "coverage": False}
    gates = take_gates(settings)
    assert gates.asked
    assert settings == {"coverage": True}
    assert parse_options(None, None, ("a=1", "b=x=y")) == {"a": "1", "b": "x=y"}  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "share"), [("95%", 0.95), ("100%", 1.0), ("0%", 0.0)])
def test_shares_of_ops(text: str, share: float) -> None:
    assert parse_coverage(None, None, text) == share  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.usefixtures("short", "root")
def test_bench_of_a_delegate(model: Path, elementwise: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgekit.cli.bench import command

    monkeypatch.setattr("edgekit.bench.session.measure_coverage", partial(measure_coverage, secs=0.1))
    quick = ["--num-runs", "3", "--min-secs", "0", "--processes", "1", "--allow-invalid", "--json"]
    runner = CliRunner()
    done = runner.invoke(command, [str(model), "--delegate", str(elementwise), "--delegate-option", "ops=ADD", *quick])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["coverage"]["taken_ops"] == 2
    assert told["coverage"]["delegate_options"] == {"ops": "ADD"}
    assert told["coverage"]["time"]["without"] == "xnnpack"
    assert told["options"]["delegate_options"] == {"ops": "ADD"}
