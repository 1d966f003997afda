"""``edgekit runs``: what it lists, shows and exports; the texts of the exports are files beside this one."""

import errno
import io
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from edgekit.bench.power.energy import EnergyReport
from edgekit.bench.recording import Channel, Gauge
from edgekit.cli import cli
from edgekit.cli.failures import guarded
from edgekit.entries import FindingEntry
from edgekit.history import RunRecord, find_run, read_run
from edgekit.history.export import to_csv, to_json, to_markdown
from edgekit.history.record import make_record
from tests.unit.kept_runs import INVALID, bench_report, comparison_report

pytestmark = pytest.mark.unit
GOLDEN = Path(__file__).parent / "data" / "runs"
GAUGE = Gauge(
    name="ina226", sensor="hwmon", covers="the 5 V input", whole_device=True, interval_s=0.1,
    channels={"power_w": Channel(resolution=0.025, wraps_at=None)},
)  # fmt: skip
ENERGY = EnergyReport(
    gauge=GAUGE, method="power", processes=6, lag_s=0.0, resolution_w=0.025, systematic_mj=0.01,
    energy_per_inference_mj=1.25, interval_mj=(1.2, 1.3), level=0.9, idle_power_w=2.0,
    load_power_w=3.25, inferences=10_000, blocks=12, update_interval_s=0.1, resolvable_mj=0.01, needed_secs=None,
)  # fmt: skip
NOISY = FindingEntry(
    name="noise", severity="warning", message="Medians differ | by <b>a lot</b>, @user _so_ a_b.", fix="Wait."
)


def made(report: object, minutes: int, note: str | None = None) -> RunRecord:
    return make_record(
        report,  # type: ignore[arg-type]
        created=datetime(2026, 11, 21, 8, 15, 30, tzinfo=UTC) + timedelta(minutes=minutes),
        edgekit_version="0.1.0",
        project_commit="26dc5be0a1b2",
        note=note,
    )


def runs() -> list[RunRecord]:
    return [
        made(bench_report(threads=(1, 2), energy=ENERGY), 0, '=HYPERLINK("x")'),
        made(bench_report(1.1, threads=(1, 2), digest="6" * 64, findings=(NOISY,)), 1, "with, a comma"),
        made(bench_report(1.0, digest="7" * 64, findings=(INVALID,)), 2),
        made(comparison_report(), 3),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [("runs.csv", to_csv(runs())), ("runs.md", to_markdown(runs(), max_regression=0.03))],
    ids=["csv", "md"],
)
def test_exports_are_as_published(name: str, text: str) -> None:
    """Write them anew with EDGEKIT_GOLDEN=1 and look at the difference."""
    if os.environ.get("EDGEKIT_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text()


def test_the_first_published_record_is_read_for_ever() -> None:
    """A later edgekit may add fields with a default; what version 1 wrote stays readable."""
    path = GOLDEN / "run.json"
    if os.environ.get("EDGEKIT_GOLDEN") and not path.exists():
        path.write_text(to_json(runs()[1:2]))
    assert read_run(path) == runs()[1]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids, oldest first; the working directory is empty."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "kept"
    folder.mkdir()
    monkeypatch.setenv("EDGEKIT_RUNS_DIR", str(folder))
    for run in runs():
        (folder / f"{run.id}.json").write_bytes(msgspec.json.encode(run))
    return [run.id for run in runs()]


def call(*arguments: str) -> int:
    return guarded(cli, ["runs", *arguments])


def listed(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> dict[str, list[dict[str, object]]]:
    assert call("list", "--json", *arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    return {name: document[name] for name in ("runs", "damaged")}


def test_list(kept: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(" 2026")] == [
        *kept[:1:-1],
        kept[1],
        kept[1],
        kept[0],
        kept[0],
    ]
    text = "\n".join(lines)
    for expected in ("new against old", "slower +5.0 %", "+4.0 % to +6.0 %", "1.25", "invalid", "0.9980 to 1.002 ms"):
        assert expected in text
    assert call("list", "--limit", "1") == 0
    assert "energy" not in capsys.readouterr().out, "a column of nothing"


def test_a_narrow_terminal_has_every_column(kept: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = Console(file=io.StringIO(), width=100)
    monkeypatch.setattr("edgekit.cli.runs.output", lambda: narrow)
    assert call("list") == 0
    assert isinstance(narrow.file, io.StringIO)
    words = narrow.file.getvalue().split()
    assert {"model", "device", "result", "garage", "slower", "+5.0", *kept} <= set(words)
    assert "…" not in narrow.file.getvalue()


def test_list_as_json_has_no_samples(kept: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys, [])["runs"]
    assert [run["id"] for run in found] == kept[::-1]
    assert found[3]["energy_per_inference_mj"] == 1.25
    assert found[0]["comparisons"]
    assert not any("samples_ns" in json.dumps(run) for run in found)


def test_list_chooses(kept: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert [run["id"] for run in listed(capsys, ["--model", "kws", "--limit", "2"])["runs"]] == kept[2:0:-1]
    assert listed(capsys, ["--device", "attic"]) == {"runs": [], "damaged": []}


def test_a_damaged_file_is_listed(kept: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kept" / f"{kept[0]}.json").write_bytes(b'{"schema_version": 1, "id')
    assert call("list") == 0
    shown = capsys.readouterr()
    assert f"damaged: {kept[0]}: " in shown.err
    assert kept[1] in shown.out
    (damaged,) = listed(capsys, [])["damaged"]
    assert damaged["id"] == kept[0]


def test_nothing_kept_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("EDGEKIT_RUNS_DIR", str(tmp_path / "none"))
    assert call("list") == 0
    assert "`edgekit bench` keeps each" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_show(kept: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", kept[1]) == 0
    shown = capsys.readouterr()
    for expected in ("kws on garage", "median, ms", "1 thread", "2 threads"):
        assert expected in shown.out
    for expected in ("edgekit 0.1.0, project at 26dc5be0a1b2", "note: with, a comma", "warning noise"):
        assert expected in shown.err


def test_show_a_comparison(kept: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", "latest") == 0
    shown = capsys.readouterr().out
    for expected in ("old", "new", "slower", "+5.0"):
        assert expected in shown


def test_show_as_json_is_the_record(kept: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", "latest:kws~2", "--json") == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=RunRecord) == runs()[0]


def test_show_what_is_not_there(kept: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", "20261122") == 1
    assert "There is no run '20261122'" in capsys.readouterr().err


def test_export(kept: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("export", *kept) == 0
    assert capsys.readouterr().out == (GOLDEN / "runs.md").read_text()
    assert call("export", *kept, "--format", "csv", "--output", "new/runs.csv") == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "4 runs -> new/runs.csv\n")
    assert (tmp_path / "new" / "runs.csv").read_text() == (GOLDEN / "runs.csv").read_text()


def test_an_export_is_whole_or_not_there(
    kept: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, text: str, **_settings: str) -> int:
        path.write_bytes(text.encode()[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    (tmp_path / "runs.csv").write_bytes(b"before")
    assert call("export", kept[0], "--format", "csv", "--output", str(tmp_path / "runs.csv")) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert (tmp_path / "runs.csv").read_bytes() == b"before"
    assert not list(tmp_path.glob(".*.part"))


def test_an_export_into_a_link_writes_what_it_names(kept: list[str], tmp_path: Path) -> None:
    (tmp_path / "stdout").symlink_to(tmp_path / "runs.md")
    assert call("export", *kept, "--output", "stdout") == 0
    assert (tmp_path / "stdout").is_symlink()
    assert (tmp_path / "runs.md").read_text() == (GOLDEN / "runs.md").read_text()


def test_an_exported_run_is_a_reference(kept: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("export", kept[0], "--format", "json", "--output", "baseline.json") == 0
    assert find_run("baseline.json") == runs()[0]
    assert call("export", "baseline.json", "--json") == 0
    out = capsys.readouterr().out
    assert out == (tmp_path / "baseline.json").read_text()
    assert [run["id"] for run in json.loads(out)["runs"]] == kept[:1]


def test_a_limit_needs_its_unit(kept: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("export", "latest", "--max-regression", "3") == 2
    assert "has no unit" in capsys.readouterr().err
