"""A run against its baseline: what passes, what fails, and what is refused because it could not tell."""

import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bench.latency import Result, summarize_processes
from edgekit.bench.plan import BenchOptions, Subject, configurations
from edgekit.bench.report import BenchmarkReport
from edgekit.bench.versus.comparison import Comparison, compare_runs
from edgekit.bench.versus.gate import (
    GateReport,
    check_asked,
    check_baseline,
    decide,
    describe,
    gate_comparisons,
    gate_run,
    require_no_regression,
)
from edgekit.device import Device
from edgekit.entries import FileEntry, FindingEntry
from edgekit.errors import InconclusiveError, MeasurementInvalidError, ProjectError, RegressionError, RunError
from edgekit.project import parse_share
from tests.unit.kept_runs import INVALID, bench_report, comparison_report

pytestmark = pytest.mark.unit


def gate(report: BenchmarkReport, baseline: BenchmarkReport | None = None, limit: float = 0.03) -> GateReport:
    return gate_run(report, baseline or bench_report(), name="latest", max_regression=limit)


def machine(**changes: Any) -> BenchmarkReport:
    report = bench_report()
    return msgspec.structs.replace(report, machine=msgspec.structs.replace(report.machine, **changes))


def test_units() -> None:
    assert parse_share("3%") == 0.03
    assert parse_share("0.5%") == 0.005
    with pytest.raises(ProjectError, match="has no unit") as error:
        parse_share("3")
    assert error.value.hint == "Write a share of the latency, such as 3%.", "points, which others take, are none"
    with pytest.raises(ProjectError, match="a latency has no percentage points") as error:
        parse_share("3pt")
    assert error.value.hint == "Write 3%."


@pytest.mark.parametrize("ms", [0.5, 1.0, 1.02])
def test_no_slower_than_allowed_passes(ms: float) -> None:
    require_no_regression(gate(bench_report(ms)))


def test_a_planted_slow_down_fails_with_its_figures() -> None:
    found = gate(bench_report(1.1, threads=(1, 2)), bench_report(threads=(1, 2)))
    assert found.num_threads == (1, 2)
    with pytest.raises(RegressionError) as error:
        require_no_regression(found, details={"kept": 1})
    assert error.value.exit_code == 3
    assert error.value.message == (
        "Slower than latest by more than 3 %: 1 thread: +10.0 % (88 % interval +9.6 % to +10.4 %); "
        "2 threads: +10.0 % (88 % interval +9.6 % to +10.4 %)."
    )
    assert error.value.details == {"kept": 1}


def test_one_number_of_threads_is_enough_to_fail() -> None:
    slow = bench_report(1.1, threads=(1, 2))
    mixed = msgspec.structs.replace(slow, results=(bench_report().results[0], slow.results[1]))
    with pytest.raises(RegressionError, match=r"3 %: 2 threads: \+10"):
        require_no_regression(gate(mixed, bench_report(threads=(1, 2))))


def test_a_wide_interval_is_inconclusive() -> None:
    found = gate(bench_report(1.04, spread=0.05))
    with pytest.raises(InconclusiveError) as error:
        require_no_regression(found)
    assert error.value.exit_code == 7
    assert error.value.message.startswith("Whether it keeps 3 % against latest cannot be told: 1 thread: +4.0 % (")
    assert "--processes" in error.value.hint


def test_much_faster_with_a_wide_interval_passes() -> None:
    """`compare` calls -8 % to +2 % inconclusive; a limit of 3 % is kept all the same."""
    found = gate(bench_report(0.97, spread=0.05), bench_report(spread=0.001))
    assert found.comparisons[0].verdict == "inconclusive"
    require_no_regression(found)


@given(st.tuples(st.floats(-0.9, 9), st.floats(-0.9, 9)), st.floats(0, 1))
def test_every_interval_is_kept_exceeded_or_open(bounds: tuple[float, float], limit: float) -> None:
    low, high = sorted(bounds)
    item = Comparison(
        baseline="a", candidate="b", verdict="equal", effect=low, interval=(low, high), level=0.9, needed_rounds=None
    )
    expected = {"kept": high <= limit, "exceeded": low > limit, "open": low <= limit < high}
    assert [name for name, holds in expected.items() if holds] == [decide(item, limit)]


@pytest.mark.parametrize(
    ("baseline", "difference"),
    [
        (bench_report(model="vww"), "its model is vww, here kws"),
        (bench_report(device="attic"), "its device is attic, here garage"),
        (bench_report(delegate="none"), "its delegate is none, here xnnpack"),
        (machine(board="Raspberry Pi 4"), "its board is Raspberry Pi 4, here "),
        (machine(cpu="Cortex-A72"), "its CPU is Cortex-A72, here "),
        (machine(cores=64), "its number of cores is 64, here "),
        (bench_report(options=BenchOptions(cpus=(2, 3))), "its choice of CPUs is 2, 3, here the scheduler's"),
        (
            bench_report(options=BenchOptions(governor="performance")),
            "its governor asked for is performance, here none",
        ),
    ],
    ids=lambda value: value.split(" is ")[0] if isinstance(value, str) else "",
)
def test_what_differs_in_more_than_the_model_is_refused(baseline: BenchmarkReport, difference: str) -> None:
    with pytest.raises(RunError) as error:
        gate(bench_report(), baseline)
    assert error.value.message.startswith(f"latest is no baseline for this run: {difference}")
    assert error.value.exit_code == 1


def test_other_numbers_of_threads() -> None:
    with pytest.raises(RunError, match="latest has other numbers of threads: 2,4, not 1") as error:
        gate(bench_report(), bench_report(threads=(2, 4)))
    assert error.value.hint == "Use --num-threads 2,4."
    found = gate(bench_report(threads=(1, 2)), bench_report(threads=(1, 4)))
    assert found.num_threads == (1,)
    assert [finding.name for finding in found.findings if finding.severity == "warning"] == ["baseline-threads"]
    assert "did not measure 2 threads" in found.findings[0].message


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vww", BenchOptions(), "latest is no baseline for this run: its model is kws, here vww."),
        ("kws", BenchOptions(processes=4), "This run has 4 processes"),
        ("kws", BenchOptions(delegate="none"), "its delegate is xnnpack, here none"),
        ("kws", BenchOptions(cpus=(1,)), "its choice of CPUs is the scheduler's, here 1"),
        ("kws", BenchOptions(governor="performance"), "its governor asked for is none, here performance"),
        ("kws", BenchOptions(num_threads=(2,)), "latest has other numbers of threads: 1, not 2."),
    ],
)
def test_what_is_known_before_measuring_is_refused_then(name: str, options: BenchOptions, message: str) -> None:
    def check(baseline: BenchmarkReport, name: str, options: BenchOptions, device: str = "garage") -> None:
        entry = FileEntry(sha256="6" * 64, bytes=8)
        found = Subject(
            name=name, model=Path("m.tflite"), entry=entry, inputs={}, artifact_digest=None, delegate="xnnpack"
        )
        asked = configurations(found, options, Device(name=device, transport="local"))
        check_asked(asked, options, device=device, baseline=baseline, name="latest")

    check(bench_report(), "kws", BenchOptions())
    check(bench_report(threads=(1, 4)), "kws", BenchOptions(num_threads=(1, 2)))
    with pytest.raises(RunError, match=re.escape(message)):
        check(bench_report(), name, options)
    with pytest.raises(RunError, match="its device is garage, here attic"):
        check(bench_report(), "kws", BenchOptions(), device="attic")


def test_other_versions_are_said() -> None:
    baseline = machine(kernel="5.10.0")
    baseline = msgspec.structs.replace(
        baseline, runtime=msgspec.structs.replace(baseline.runtime, version="2.0.0"), model_sha256="6" * 64
    )
    (finding,) = gate(bench_report(), baseline).findings
    assert (finding.name, finding.severity) == ("baseline-differs", "warning")
    assert "its runtime's version is 2.0.0, here" in finding.message
    assert "its kernel is 5.10.0, here 6.6.31" in finding.message


def test_the_same_file_is_said() -> None:
    assert [finding.name for finding in gate(bench_report()).findings] == ["baseline-same-file"]
    assert gate(bench_report(digest="6" * 64)).findings == ()


def test_runs_that_mean_nothing() -> None:
    with pytest.raises(RunError, match="latest is no baseline: its measurement is invalid"):
        gate(bench_report(), bench_report(findings=(INVALID,)))
    with pytest.raises(MeasurementInvalidError, match="Its clock was set"):
        gate(bench_report(findings=(INVALID,)))
    with pytest.raises(MeasurementInvalidError, match="garage has an emulated CPU"):
        gate(machine(emulated="qemu-aarch64"))
    with pytest.raises(RunError, match="latest was measured on an emulated CPU"):
        check_baseline(machine(emulated="qemu-aarch64"), name="latest")
    with pytest.raises(RunError, match="This run has 4 processes for a number of threads; a comparison needs 5"):
        gate(bench_report(processes=4))
    with pytest.raises(RunError, match="latest has a latency of 0 ms"):
        gate(bench_report(), bench_report(0.0))


def test_equal_bytes_in_turns_fail_no_job() -> None:
    """Whatever is found between them, on a loaded machine, is what the machine makes up."""
    report = comparison_report()
    twins = tuple(msgspec.structs.replace(model, model_sha256="7" * 64) for model in report.models)
    found = gate_comparisons([msgspec.structs.replace(report, models=twins)], max_regression=0.03)
    assert found.same_file
    require_no_regression(found)


def test_measured_in_turns() -> None:
    found = gate_comparisons([comparison_report()], max_regression=0.03)
    assert (found.baseline, found.num_threads) == ("old", (1,))
    assert describe(found) == ("1 thread: +5.0 % (95 % interval +4.0 % to +6.0 %)",)
    with pytest.raises(RegressionError, match=r"Slower than old by more than 3 %"):
        require_no_regression(found)
    require_no_regression(gate_comparisons([comparison_report()], max_regression=0.07))
    with pytest.raises(InconclusiveError) as error:
        require_no_regression(gate_comparisons([comparison_report()], max_regression=0.05))
    assert "--max-secs 60" in error.value.hint, "they took turns already, and --processes counts for nothing in it"
    noisy = FindingEntry(name="delegates-differ", severity="warning", message="Said.", fix="Do.")
    known = FindingEntry(name="frequency-unknown", severity="info", message="Said.", fix="Do.")
    (said,) = gate_comparisons([comparison_report(findings=(noisy, known))] * 2, max_regression=0.07).findings
    assert (said.name, said.message) == ("delegates-differ", "In turns with the baseline: Said.")
    with pytest.raises(MeasurementInvalidError):
        gate_comparisons([comparison_report(findings=(INVALID,))], max_regression=0.03)


LIKE = bench_report()


def simulated(random: np.random.Generator, ms: float, *, process: float, block: float) -> Result:
    """Five processes, each with a bias of its own, and what moves from block to block within them."""
    blocks = ms * np.exp(random.normal(0, process, (5, 1)) + random.normal(0, block, (5, 10)))
    samples = np.rint(1e6 * np.repeat(blocks, 2, axis=1)).astype(int).tolist()
    like = LIKE.results[0].processes
    return summarize_processes(
        [msgspec.structs.replace(item, samples_ns=tuple(own)) for item, own in zip(like, samples, strict=True)]
    )


@pytest.mark.parametrize(
    ("process", "block", "change", "exceeded", "kept"),
    [
        (0.003, 0.002, 0.0, (0, 0), (95, 100)),
        (0.003, 0.002, 0.05, (85, 100), (0, 0)),
        (0.01, 0.005, 0.0, (0, 0), (0, 40)),
        (0.01, 0.005, 0.1, (90, 100), (0, 0)),
        (0.05, 0.02, 0.0, (0, 0), (0, 5)),
    ],
    ids=["quiet, equal", "quiet, +5 %", "restless, equal", "restless, +10 %", "noisy, equal"],
)
def test_what_a_limit_of_3_percent_can_tell(
    process: float, block: float, change: float, exceeded: tuple[int, int], kept: tuple[int, int]
) -> None:
    """What docs/ci.md says of recorded runs: no false alarm at any noise; what a noisy machine cannot tell is open."""
    random = np.random.default_rng(20261121)
    decisions = [
        decide(
            compare_runs(
                simulated(random, 1.0, process=process, block=block),
                simulated(random, 1.0 + change, process=process, block=block),
            ),
            0.03,
        )
        for _ in range(100)
    ]
    assert exceeded[0] <= decisions.count("exceeded") <= exceeded[1]
    assert kept[0] <= decisions.count("kept") <= kept[1]
