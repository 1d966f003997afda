"""The report as a page: what it says, what it lets in, and that it is one file."""

import html.parser
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edgekit.cli.report import command
from edgekit.entries import FindingEntry
from edgekit.errors import PlotError
from edgekit.report.html import check_html, write_html
from edgekit.report.html.page import SCRIPTS, asset, render
from edgekit.report.html.power import watts
from edgekit.report.html.reduce import buckets, choose_bins, choose_points, shares
from edgekit.report.html.words import duration, number, percent, span
from tests.reports import (
    EMULATED,
    ENERGY,
    GAUGE,
    S,
    bench_report,
    comparison_report,
    energy_recording,
    facts,
    full_report,
    sustained_run,
)
from tools.fetch_uplot import ASSETS, FetchError, changed, unpack

pytestmark = pytest.mark.unit
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}"


class Reader(html.parser.HTMLParser):
    """Text by element, headings in order, and every address."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.headings: list[int] = []
        self.scripts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))

    def handle_data(self, data: str) -> None:
        (self.scripts if self._open in {"script", "style"} else self.text).append(data)

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


@pytest.fixture(scope="module")
def full() -> str:
    return render([full_report()])


def test_the_same_reports_give_the_same_bytes(full: str) -> None:
    assert render([full_report()]) == full
    assert len(full.encode()) < 1_000_000


def test_findings_come_before_figures_and_numbers(full: str) -> None:
    words = Reader(full).words
    places = [
        words.index(text) for text in ("Valid, with 2 warnings", "Findings", "Key figures", "How long an inference")
    ]
    assert places == sorted(places)
    assert words.index("The CPU governor is ondemand") < words.index("throttled at some time")  # warnings before infos


def test_every_part_is_there(full: str) -> None:
    words = Reader(full).words
    for text in (
        "27.60 mJ", "26.90 to 28.40 mJ", "2.78 h", "ina3221 VDD_IN", "Latency, temperature and frequency over time",
        "Power over time", "Level of the battery", "Where the time of one sample goes", "4 streams of 1 thread",
        "Raspberry Pi 4 Model B Rev 1.4", "6.12.25+rpt-rpi-v8", "ondemand", "5" * 64, "ab" * 32, "UTC",
    ):  # fmt: skip
        assert text in words, text


def test_the_shares_of_the_whole_way_are_the_same_everywhere() -> None:
    report = full_report(secs=60)
    assert report.stages is not None
    words = Reader(render([report])).words
    for stage in report.stages.stages[:-1]:
        assert words.count(percent(stage.share)) >= 2, "beside the bar and in the table"


def test_headings_are_in_order_and_landmarks_there(full: str) -> None:
    page = Reader(full)
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in zip(page.headings, page.headings[1:], strict=False))
    assert {"header", "main", "footer", "article"} <= {tag for tag, _ in page.tags}
    assert ("html", {"lang": "en"}) in page.tags


def test_nothing_is_loaded_from_anywhere(full: str) -> None:
    own = [attributes for _, attributes in Reader(full).tags]
    addresses = [value for attributes in own for name, value in attributes.items() if name in {"src", "href", "action"}]
    assert all(str(value).startswith(("#", "data:,")) for value in addresses)
    policy = next(item["content"] for item in own if item.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not any("style" in attributes for attributes in own), "the policy would block it"


def test_hostile_names_stay_text() -> None:
    finding = FindingEntry(name=HOSTILE, severity="warning", message=HOSTILE, fix=HOSTILE)
    report = full_report(
        secs=60, model=HOSTILE, device=HOSTILE, machine=facts(board=HOSTILE, cpu=HOSTILE), findings=(finding,),
        energy=replace(ENERGY, gauge=replace(GAUGE, name=HOSTILE)),
    )  # fmt: skip
    page = Reader(render([report, report], title=HOSTILE))
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in page.tags)
    assert len([tag for tag, _ in page.tags if tag == "script"]) == len(SCRIPTS) + _figures(page)
    assert "{{7*7}}" in page.words
    assert f"{HOSTILE} on {HOSTILE}" in page.words


def _figures(page: Reader) -> int:
    blocks = [attributes for tag, attributes in page.tags if tag == "script" and attributes]
    assert all(attributes == {"type": "application/json"} for attributes in blocks)
    return len(blocks)


def test_emulated_latency_is_never_a_devices() -> None:
    report = full_report(secs=60, machine=facts(emulated=EMULATED), findings=())
    words = Reader(render([report])).words
    assert f"Emulated. No latency, energy or throughput below is a device's: {EMULATED}." in words
    assert "Median latency, 4 threads (emulated)" in words
    assert "Sustained load (emulated)" in words
    assert "Device and options (emulated)" not in words


def test_an_invalid_run_says_so_first() -> None:
    finding = FindingEntry(name="throttled", severity="error", message="It throttled.", fix="Cool it.")
    assert (
        "Invalid. These numbers mean nothing: throttled." in Reader(render([bench_report(findings=(finding,))])).words
    )


def test_a_clean_run_has_no_findings_and_no_empty_sections() -> None:
    words = Reader(render([bench_report()])).words
    assert "Valid. One inference takes" in words
    assert "None: the clocks held still" in words
    for title in ("Energy", "Battery", "Sustained", "The whole way", "Streams"):
        assert title not in words


def test_energy_below_the_gauge_says_what_would_do() -> None:
    energy = replace(ENERGY, energy_per_inference_mj=None, interval_mj=None, resolvable_mj=3.25, needed_secs=600.0)
    words = Reader(render([bench_report(energy=energy)])).words
    assert "below the gauge" in words
    assert "resolves 3.250 mJ here. A run of 10 min would." in words


def test_a_comparison_shows_each_verdict() -> None:
    words = Reader(render([comparison_report()])).words
    assert "Of 4 models against vww-int8: 1 faster, 1 slower, 1 equal, 1 inconclusive." in words
    assert "8.20 % faster" in words
    assert "About 35 more rounds would probably decide." in words
    one = Reader(render([comparison_report(effects=(0.05,))])).words
    assert "vww-int8-per-tensor is 5.00 % slower than vww-int8 (+4.40 % to +5.65 %, 95 % interval)." in one


def test_how_a_comparison_was_measured_is_not_how_a_benchmark_is() -> None:
    turns, alone = render([comparison_report()]), render([bench_report(num_threads=(1,))])
    assert "the same for all models of a round" in turns, "it binds every process, whoever chose the CPUs"
    assert "the scheduler&#39;s choice" in alone
    assert ("timed seconds a process" in turns, "timed seconds a process" in alone) == (False, True)


def test_several_runs_have_their_changes_against_the_first() -> None:
    first, other = full_report(secs=60), full_report(secs=60, seed=2)
    emulated = bench_report(machine=facts(emulated=EMULATED), num_threads=(1,))
    faster = bench_report(scale=0.5)
    words = Reader(render([first, other, faster, emulated, bench_report(num_threads=(2,))])).words
    assert "Side by side" in words
    assert "vww-rpi4-int8 on garage and 4 more" in words
    assert re.search(r"-\d\d\.\d % \(-\d\d\.\d % to -\d\d\.\d %\): faster", words)
    assert "none: emulated: not a device's against valid" in words
    assert "none: other thread counts" in words
    assert "Median latency under sustained load" in words


def test_latencies_of_zero_are_shown_and_not_compared() -> None:
    """A clock may be coarser than a small model is fast."""
    instant = bench_report(scale=0.0, num_threads=(1,))
    words = Reader(render([bench_report(num_threads=(1,)), instant])).words
    assert "none: too short for the device's clock" in words


def test_the_figures_data_is_whole(full: str) -> None:
    blocks = [json.loads(text) for text in Reader(full).scripts if text.startswith("{")]
    for figure in blocks:
        for panel in figure["panels"]:
            for series in panel["series"]:
                assert len(series["values"]) == len(panel["x"])
                assert len(series["low"]) in {0, len(panel["x"])}
            assert panel["x"] == sorted(panel["x"])
    timeline = next(figure for figure in blocks if figure["title"].startswith("Latency, temperature"))
    assert [zoom["label"] for zoom in timeline["zooms"]] == ["First minute", "Plateau"]
    assert [span["kind"] for span in timeline["panels"][0]["spans"]] == ["phase", "phase", "bad"]
    power = next(figure for figure in blocks if figure["title"].startswith("Power"))
    assert [span["kind"] for span in power["panels"][0]["spans"]].count("load") == 6
    assert "of 3000 readings are drawn" in power["summary"]


def test_a_device_that_tells_nothing_gets_no_empty_panels() -> None:
    run = sustained_run(secs=60)
    states = tuple(
        replace(item, temperatures_c={}, policies=(), firmware_throttle=None) for item in run.recording.states
    )
    report = full_report(
        secs=60, recordings={"sustained": replace(run.recording, states=states)},
        sustained=replace(run.report, zone=None, throttled_s=None, throttling=()),
    )  # fmt: skip
    page = render([report])
    assert "temperature, °C" not in page
    assert "Nothing on the device tells whether it throttled." in page


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"power_w": (1.0, None, 3.0)}, [1.0, None, 3.0]),
        ({"energy_j": (5.0, 7.0, 6.0)}, [None, 2.0, None]),
        ({"voltage_v": (5.0, 5.0, None), "current_a": (-1.0, 2.0, 1.0)}, [5.0, 10.0, None]),
        ({"capacity_percent": (5.0, 5.0, 5.0)}, []),
    ],
)
def test_power_is_what_the_gauge_tells(values: Any, expected: list[float | None]) -> None:
    [trace] = energy_recording(readings_per_s=2).traces
    assert watts(replace(trace, monotonic_ns=(0, S, 2 * S), values=values)) == expected


@settings(max_examples=30)
@given(st.lists(st.none() | st.floats(-1e9, 1e9), min_size=1, max_size=400), st.integers(8, 50))
def test_decimation_keeps_the_extremes(values: list[float | None], most: int) -> None:
    kept = choose_points([values], most=most)
    assert kept == sorted(set(kept))
    assert len(kept) <= max(most, min(len(values), most))
    known = [value for value in values if value is not None]
    if known:
        drawn = [values[place] for place in kept]
        assert {min(known), max(known)} <= set(drawn)


@settings(max_examples=30)
@given(st.integers(0, 500), st.integers(1, 60))
def test_buckets_cover_everything_once(count: int, most: int) -> None:
    parts = buckets(count, most)
    assert [place for start, end in parts for place in range(start, end)] == list(range(count))
    assert len(parts) <= most


@settings(max_examples=30)
@given(st.lists(st.lists(st.floats(1e-4, 1e5), min_size=1, max_size=60), min_size=1, max_size=4))
def test_every_inference_is_in_a_bin(groups: list[list[float]]) -> None:
    bins = choose_bins(groups)
    assert list(bins.edges) == sorted(bins.edges)
    for group in groups:
        assert sum(shares(group, bins)) == pytest.approx(100)


def test_words() -> None:
    assert (number(None), number(0.5, "W"), number(1234.5)) == ("unknown", "0.5000 W", "1234")
    assert (span((1.0, 1.0), "s"), span(None, "s")) == ("1.000 s", "unknown")
    assert (percent(0.0312), percent(-0.25, sign=True)) == ("3.12 %", "-25.0 %")
    assert [duration(value) for value in (30, 600, 630, 9000)] == ["30 s", "10 min", "10 min 30 s", "2.5 h"]


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    write_html([bench_report()], tmp_path / "a.html", title="Mine")
    assert "<title>Mine</title>" in (tmp_path / "a.html").read_text()
    (tmp_path / "b.html").mkdir()
    with pytest.raises(PlotError, match="cannot be written"):
        write_html([bench_report()], tmp_path / "b.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_what_cannot_be_written_is_refused_early(tmp_path: Path) -> None:
    check_html(tmp_path / "a.html")
    with pytest.raises(PlotError, match="no name of a page") as caught:
        check_html(tmp_path / "a.pdf")
    assert ".html" in caught.value.hint
    with pytest.raises(PlotError, match="does not exist"):
        check_html(tmp_path / "no" / "a.html")
    with pytest.raises(PlotError, match="no run to show"):
        render([])


def test_the_command_writes_kept_runs_as_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgekit.history import keep

    monkeypatch.chdir(tmp_path)
    for report in (bench_report(), bench_report(scale=0.5), comparison_report()):
        keep(report)
    done = CliRunner().invoke(command, ["latest~2", "latest~1", "latest", "--html", "page.html"])
    assert done.exit_code == 0, done.output
    assert "written: page.html" in done.stderr
    assert "Side by side" in Path("page.html").read_text()
    shown = CliRunner().invoke(command, ["latest~2", "latest~1"])
    assert ": faster" in shown.stdout
    assert "1. vww-rpi4-int8 on garage" in shown.stdout
    found = json.loads(CliRunner().invoke(command, ["latest~2", "latest", "--json"]).stdout)
    assert [run["valid"] for run in found["runs"]] == [True, True]


def test_uplot_is_the_pinned_one() -> None:
    assert changed(ASSETS) == []
    assert "1.6.32" in asset("uPlot.iife.min.js")[:80]
    with pytest.raises(FetchError, match="not the one that is pinned"):
        unpack(b"another")
