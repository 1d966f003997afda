"""Runs are kept whole, never at the cost of a result, and found again; what else lies in their folder is untrusted."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.bench.report import BenchmarkReport
from edgekit.bench.versus.comparison import ComparisonReport
from edgekit.errors import RunError
from edgekit.history import DamagedRun, RunRecord, find, find_baseline, find_run, keep, list_runs, read_run, store
from edgekit.history.record import TICK, make_record
from tests.reports import full_report
from tests.unit.document_values import values
from tests.unit.kept_runs import INVALID, bench_report, comparison_report
from tools.write_schema import schema

pytestmark = pytest.mark.unit
MOMENT = datetime(2026, 11, 21, 8, 15, 30, 104_000, tzinfo=UTC)


def record(report: BenchmarkReport | ComparisonReport | None = None, *, moment: datetime = MOMENT) -> RunRecord:
    return make_record(
        report or bench_report(), created=moment, edgekit_version="0.1.0", project_commit=None, note=None
    )


def put(folder: Path, run: RunRecord) -> str:
    folder.mkdir(exist_ok=True)
    (folder / f"{run.id}.json").write_bytes(msgspec.json.encode(run))
    return run.id


def test_ids_say_when_what_and_where_and_follow_time() -> None:
    first = record(bench_report(model="KWS int8/ü", device="pi@garage"))
    assert first.id == "20261121T081530-kws-int8-pi-garage-1a9f"
    assert record(moment=MOMENT + TICK).id > record().id
    assert record(comparison_report()).id == "20261121T081530-old-vs-new-garage-1a9f"
    assert record(bench_report(model="../..", device="")).id == "20261121T081530-unnamed-unnamed-1a9f"
    assert len(record(bench_report(model="m" * 500)).id) < 100


@given(values(BenchmarkReport) | values(ComparisonReport))
@settings(max_examples=10, suppress_health_check=list(HealthCheck))
def test_any_run_comes_back_as_it_was(report: BenchmarkReport | ComparisonReport) -> None:
    made = record(report)
    assert msgspec.json.decode(msgspec.json.encode(made), type=RunRecord) == made


def test_a_kept_run_is_found_and_satisfies_the_published_schema(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "runs"
    kept = keep(bench_report(), note="before the fan", folder=folder)
    assert kept.path is not None
    assert kept.findings == ()
    assert find_run("latest", folder=folder) == kept.record == read_run(kept.path)
    assert (kept.record.kind, kept.record.note, kept.record.edgekit_version) == (
        "bench", "before the fan", version("edgekit"),
    )  # fmt: skip
    jsonschema.validate(json.loads(kept.path.read_bytes()), json.loads(schema("run")))
    assert {path.name for path in folder.iterdir()} == {kept.path.name, ".gitignore"}
    assert kept.path.read_bytes().count(b"\n") == 0, "samples are many: no line for each"


def test_it_tells_nothing_of_who_ran_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGEKIT_RUNS_DIR")
    kept = keep(bench_report())
    assert kept.path == Path(".edgekit/runs") / f"{kept.record.id}.json"
    text = kept.path.read_text()
    assert str(tmp_path) not in text
    assert os.uname().nodename not in text
    assert kept.record.project_commit is None


def test_the_commit_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGEKIT_RUNS_DIR")
    git = ("git", "-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main")
    for command in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "first")):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    assert keep(bench_report()).record.project_commit == commit[:12]
    assert not subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True).stdout


def test_no_git_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert keep(bench_report(), folder=tmp_path / "runs").record.project_commit is None


def test_many_at_once_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "datetime", SimpleNamespace(now=lambda _zone: MOMENT))
    monkeypatch.setattr(store, "_commit", lambda: None)
    reports = [bench_report(model=f"m{number % 2}") for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda report: keep(report, folder=tmp_path), reports))
    assert len({item.path for item in kept}) == 24
    assert sorted(run.id for run in list_runs(tmp_path)) == sorted(item.record.id for item in kept)
    assert not list(tmp_path.glob(".*.part"))


def not_kept(folder: Path, report: BenchmarkReport | None = None) -> str:
    kept = keep(report or bench_report(), folder=folder)
    (finding,) = kept.findings
    assert (kept.path, finding.name, finding.severity) == (None, "run-not-kept", "warning")
    assert "EDGEKIT_RUNS_DIR" in finding.fix
    return finding.message


def test_a_folder_that_cannot_be_made_costs_no_result(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not_kept(tmp_path / "file" / "runs") == (
        f"The run is not in the history: {tmp_path / 'file' / 'runs'} cannot be written: Not a directory."
    )


def test_a_full_disk_costs_no_result_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert "No space left on device" in not_kept(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".gitignore"]


def test_a_run_that_would_not_be_read_back_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_BYTES", 1000)
    assert "no more than 1000 are read back" in not_kept(tmp_path)


def test_a_name_that_is_no_text_costs_no_result(tmp_path: Path) -> None:
    assert "no text that JSON can hold" in not_kept(tmp_path, bench_report(model="bad\udcff"))


def test_references(tmp_path: Path) -> None:
    ids = [
        put(tmp_path, record(bench_report(model=model, device=device), moment=MOMENT + number * TICK))
        for number, (model, device) in enumerate(
            [("kws", "garage"), ("vww", "garage"), ("kws", "attic"), ("kws", "garage")]
        )
    ]
    compared = put(tmp_path, record(comparison_report(), moment=MOMENT + 9 * TICK))

    def found(ref: str) -> str:
        return find_run(ref, folder=tmp_path).id

    assert found("latest") == compared
    assert [found(f"latest~{back}") for back in range(1, 5)] == ids[::-1]
    assert found("latest:vww") == ids[1]
    assert found("latest:kws@garage~1") == ids[0]
    assert found("latest@attic") == ids[2]
    assert found("latest:new") == compared, "each model of a comparison"
    assert found(ids[0]) == ids[0]
    assert found(ids[1][:19]) == ids[1]
    assert found(str(tmp_path / f"{ids[0]}.json")) == ids[0]
    assert find_run("latest", kind="bench", folder=tmp_path).id == ids[3]


def test_ids_of_one_second_follow_the_fraction_and_not_the_model(tmp_path: Path) -> None:
    first = put(tmp_path, record(bench_report(model="zebra")))
    second = put(tmp_path, record(bench_report(model="ant"), moment=MOMENT + 100 * TICK))
    assert [run.id for run in list_runs(tmp_path)] == [second, first]


def refused(ref: str, folder: Path, **settings: object) -> tuple[str, str]:
    with pytest.raises(RunError) as error:
        find_run(ref, folder=folder, **settings)  # type: ignore[arg-type]
    assert error.value.exit_code == 1
    return error.value.message, error.value.hint


def test_references_to_nothing_name_what_is_close(tmp_path: Path) -> None:
    assert refused("latest", tmp_path)[0] == f"There is no latest: {tmp_path} has not so many runs that fit."
    ids = [put(tmp_path, record(moment=MOMENT + number * TICK)) for number in range(2)]
    assert refused("20261121T081530", tmp_path)[0] == f"'20261121T081530' begins 2 runs: {ids[1]}, {ids[0]}."
    more = [put(tmp_path, record(moment=MOMENT + number * TICK)) for number in range(2, 5)]
    assert refused("20261121T081530", tmp_path)[0].endswith(
        f"begins 5 runs: {more[2]}, {more[1]}, {more[0]} and 2 more."
    )
    for name in more:
        (tmp_path / f"{name}.json").unlink()
    assert f"Close: {ids[1]}" in refused("20261121T081531-kws-garage", tmp_path)[0]
    assert f"Close: {ids[1]}" in refused("garage", tmp_path)[0]
    assert refused("", tmp_path)[0] == f"There is no run '' in {tmp_path}."
    assert "not so many `edgekit compare` runs" in refused("latest", tmp_path, kind="compare")[0]
    assert refused("gone/run.json", tmp_path)[0] == "gone/run.json cannot be read: No such file or directory."
    message, hint = refused(ids[0], tmp_path, kind="compare")
    assert message == f"{ids[0]} is a run of `edgekit bench`, not of `edgekit compare`."
    assert "runs list" in hint


DAMAGE = {
    "empty": (b"", "is no run of edgekit"),
    "truncated": (msgspec.json.encode(record())[:900], "is no run of edgekit: Input data was truncated."),
    "no JSON": (b"\xff\xfe", "is no run of edgekit"),
    "nested": (b'{"schema_version": 1, "x": ' + b"[" * 5000, "is no run of edgekit"),
    "a list": (b"[1]", "is no run of edgekit: Expected `object`, got `array`."),
    "later": (b'{"schema_version": 2}', "has schema_version 2; edgekit"),
    "no version": (b"{}", "is no run of edgekit: Object missing required field `schema_version`."),
    "nothing": (b'{"schema_version": 1}', "is no run of edgekit: Object missing required field `id`."),
    "several": (b'{"schema_version": 1, "runs": [1, 2]}', "holds 2 runs."),
    "an extra field": (
        msgspec.json.encode(record()).replace(b'"note"', b'"memo"'),
        "is no run of edgekit: Object contains unknown field `memo`.",
    ),
    "another kind": (
        msgspec.json.encode(record()).replace(b'"kind":"bench"', b'"kind":"compare"'),
        "Expected exactly the report of kind 'compare'.",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_one_sentence_and_hides_no_other(name: str, tmp_path: Path) -> None:
    data, message = DAMAGE[name]
    good = put(tmp_path, record(moment=MOMENT - TICK))
    bad = tmp_path / f"{record().id}.json"
    bad.write_bytes(data)
    damaged, kept = list_runs(tmp_path)
    assert isinstance(damaged, DamagedRun)
    assert damaged.id == record().id
    assert message in damaged.message
    assert damaged.message.startswith(str(bad))
    assert kept.id == good
    assert find_run("latest", folder=tmp_path).id == good
    assert message in refused(record().id, tmp_path)[0]


def test_parts_that_do_not_fit_each_other_are_one_sentence(tmp_path: Path) -> None:
    whole = full_report()
    lasting = whole.recordings["sustained"]
    cut = msgspec.structs.replace(lasting, schedule=())
    comparison = msgspec.structs.replace(comparison_report(), comparisons=())
    broken: dict[str, BenchmarkReport | ComparisonReport] = {
        "2 models and 0 comparisons": comparison,
        "no results": msgspec.structs.replace(whole, results=()),
        "segments that are not in its schedule": msgspec.structs.replace(whole, recordings={"sustained": cut}),
    }
    for why, report in broken.items():
        path = tmp_path / "run.json"
        path.write_bytes(msgspec.json.encode(record(report)))
        with pytest.raises(RunError) as error:
            read_run(path)
        assert error.value.message == f"{path} is no run of edgekit: it has {why}."


@given(st.binary(max_size=200))
@settings(max_examples=50)
def test_no_bytes_are_a_crash(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(b'{"schema_version":1,' + data)
    with pytest.raises(RunError):
        read_run(path)


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "large.json").write_bytes(b" " * 2000)
    monkeypatch.setattr(find, "MAX_BYTES", 1000)
    messages = {run.id: run.message for run in list_runs(tmp_path) if isinstance(run, DamagedRun)}
    assert messages["pipe"] == f"{tmp_path / 'pipe.json'} is no file."
    assert messages["folder"] == f"{tmp_path / 'folder.json'} is no file."
    assert messages["large"] == f"{tmp_path / 'large.json'} is larger than 1000 bytes."


def test_a_renamed_run_is_not_another(tmp_path: Path) -> None:
    path = tmp_path / f"{put(tmp_path, record())}.json"
    path.rename(tmp_path / "mine.json")
    (damaged,) = list_runs(tmp_path)
    assert isinstance(damaged, DamagedRun)
    assert damaged.message.endswith("the file was renamed.")
    assert read_run(tmp_path / "mine.json") == record(), "by its path it is what it says"


def test_a_run_of_another_edgekit_says_so(tmp_path: Path) -> None:
    run = msgspec.json.encode(record()).replace(b'"note"', b'"memo"').replace(b'"0.1.0"', b'"9.0"')
    (tmp_path / "new.json").write_bytes(run)
    with pytest.raises(RunError) as error:
        read_run(tmp_path / "new.json")
    assert error.value.hint == "It was written by edgekit '9.0': use that one, or a newer one."


def test_what_a_baseline_names(tmp_path: Path) -> None:
    run = put(tmp_path, record())
    assert find_baseline("latest", folder=tmp_path) == record()
    assert find_baseline(str(tmp_path), folder=tmp_path) == tmp_path, "an artifact, or what read_subject refuses"
    assert find_baseline("old.tflite", folder=tmp_path) == Path("old.tflite")
    assert find_baseline(run[:20], folder=tmp_path) == record()


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (bench_report(findings=(INVALID,)), "is no baseline: its measurement is invalid. Its clock was set."),
        (bench_report(processes=2), "has 2 processes for a number of threads; a comparison needs 5"),
        (comparison_report(), "is a run of `edgekit compare`, not of `edgekit bench`."),
    ],
    ids=["invalid", "few processes", "comparison"],
)
def test_a_baseline_is_refused_before_anything_is_measured(
    report: BenchmarkReport | ComparisonReport, message: str, tmp_path: Path
) -> None:
    run = put(tmp_path, record(report))
    with pytest.raises(RunError) as error:
        find_baseline(run, folder=tmp_path)
    assert message in error.value.message
