"""The report as a page, in a real Chromium: silent, self-contained, readable, operable."""

import hashlib
import io
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from edgekit.entries import FindingEntry
from edgekit.report.html import write_html
from tests.lab.browser import Visit, chromium, visit
from tests.lab.machine import LabUnavailable
from tests.reports import EMULATED, ENERGY, GAUGE, bench_report, comparison_report, facts, full_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.lab

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
AXE = "axe-core@4.14.1"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
"""Of the package's axe.min.js."""
PHONE = 375


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    try:
        with chromium() as opened:
            yield opened
    except LabUnavailable as err:
        pytest.skip(str(err))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every kind of page, by name."""
    folder = tmp_path_factory.mktemp("pages")
    full = full_report(secs=300)
    hostile = FindingEntry(name=HOSTILE, severity="error", message=HOSTILE, fix=HOSTILE)
    kinds: dict[str, list[Any]] = {
        "full": [full],
        "bare": [bench_report(num_threads=(1,))],
        "compare": [comparison_report()],
        "several": [full, full_report(seed=2, secs=300), bench_report(scale=0.5), comparison_report()],
        "emulated": [bench_report(machine=facts(emulated=EMULATED))],
        "hostile": [
            bench_report(
                model=HOSTILE, device=HOSTILE, machine=facts(board=HOSTILE), findings=(hostile,),
                energy=replace(ENERGY, gauge=replace(GAUGE, name=HOSTILE, covers=HOSTILE)),
            )
        ],
    }  # fmt: skip
    for name, reports in kinds.items():
        write_html(reports, folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in kinds}


KINDS = ("full", "bare", "compare", "several", "emulated", "hostile")


def quiet(seen: Visit) -> None:
    assert seen.console == []
    assert seen.requests == []


def overflow(seen: Visit) -> int:
    return int(seen.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_silent_and_fits_a_phone(browser: "Browser", pages: dict[str, Path], kind: str, scheme: Any) -> None:
    with visit(browser, pages[kind], width=PHONE, color_scheme=scheme, has_touch=True) as seen:
        assert overflow(seen) == 0
        plots = seen.page.locator(".plots")
        assert plots.count() > 0
        assert seen.page.locator(".uplot canvas").count() >= plots.count()
        seen.page.set_viewport_size({"width": 1100, "height": 900})
        seen.page.wait_for_timeout(100)
        widths = seen.page.evaluate("[...document.querySelectorAll('.uplot')].map(u => u.clientWidth)")
        assert min(widths) > 900, "plots grow with the window"
        quiet(seen)


def test_hostile_names_do_not_run(browser: "Browser", pages: dict[str, Path]) -> None:
    with visit(browser, pages["hostile"]) as seen:
        seen.page.wait_for_timeout(200)
        assert seen.page.title() != "owned"
        assert HOSTILE in seen.page.inner_text("h1")
        assert seen.page.locator("img").count() == 0
        quiet(seen)


def test_what_gets_in_all_the_same_is_stopped_by_the_policy(browser: "Browser", pages: dict[str, Path]) -> None:
    with visit(browser, pages["bare"]) as seen:
        seen.page.evaluate("""() => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'owned'";
            document.body.append(script);
            const image = document.createElement("img");
            image.src = "https://example.org/leak.png";
            document.body.append(image);
        }""")
        seen.page.wait_for_timeout(200)
        assert seen.page.title() != "owned"
        assert seen.requests == []
        assert any("Content Security Policy" in line for line in seen.console)


def test_without_javascript_every_number_is_there(browser: "Browser", pages: dict[str, Path]) -> None:
    with visit(browser, pages["full"], width=PHONE, java_script_enabled=False) as seen:
        text = seen.page.inner_text("body")
        assert "Without JavaScript the plots stay empty" in text
        assert "27.60 mJ" in text
        summary = seen.page.locator("figure summary").first
        summary.click()
        assert seen.page.locator("figure details[open] table").first.is_visible()
        quiet(seen)


def shown(seen: Visit, figure: str) -> list[float]:
    """The x that the first panel of a figure shows, as its axis does: read off the cursor at both edges."""
    over = seen.page.locator("figure", has_text=figure).locator(".u-over").first
    box = over.bounding_box()
    assert box is not None
    edges: list[float] = []
    for x in (1, box["width"] - 2):
        over.hover(position={"x": x, "y": 20})
        text = seen.page.locator("figure", has_text=figure).locator(".u-series .u-value").first.inner_text()
        minutes, seconds = text.split(":")
        edges.append(60 * int(minutes) + int(seconds))
    return edges


def test_a_timeline_is_zoomed_with_mouse_buttons_and_keys(browser: "Browser", pages: dict[str, Path]) -> None:
    title = "Latency, temperature and frequency over time"
    with visit(browser, pages["full"]) as seen:
        figure = seen.page.locator("figure", has_text=title)
        over = figure.locator(".u-over").first
        over.scroll_into_view_if_needed()
        assert shown(seen, title) == pytest.approx([0, 300], abs=4)
        box = over.bounding_box()
        assert box is not None
        mouse = seen.page.mouse
        mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 30)
        mouse.down()
        mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60, steps=5)
        mouse.up()
        assert shown(seen, title) == pytest.approx([75, 150], abs=4)
        figure.get_by_role("button", name="First minute").click()
        assert shown(seen, title) == pytest.approx([0, 60], abs=3)
        over.focus()
        seen.page.keyboard.press("0")
        assert shown(seen, title) == pytest.approx([0, 300], abs=4)
        seen.page.keyboard.press("+")
        low, high = shown(seen, title)
        assert 100 < high - low < 200
        quiet(seen)


def test_values_are_read_with_keys_and_series_are_toggled(browser: "Browser", pages: dict[str, Path]) -> None:
    with visit(browser, pages["full"]) as seen:
        figure = seen.page.locator("figure", has_text="Latency, temperature")
        figure.locator(".u-over").first.focus()
        for _ in range(3):
            seen.page.keyboard.press("ArrowRight")
        assert re.search(r"median: \d+\.\d+, 99th percentile", figure.locator("[aria-live]").inner_text())
        toggle = figure.get_by_role("button", name="99th percentile")
        assert toggle.get_attribute("aria-pressed") == "true"
        toggle.focus()
        seen.page.keyboard.press("Enter")
        seen.page.wait_for_timeout(50)
        assert toggle.get_attribute("aria-pressed") == "false"
        quiet(seen)


def test_colours_follow_the_scheme_and_the_printer(browser: "Browser", pages: dict[str, Path]) -> None:
    read = "getComputedStyle(document.documentElement).getPropertyValue('--card').trim()"
    with visit(browser, pages["full"], color_scheme="light") as seen:
        assert seen.page.evaluate(read) == "#ffffff"
        seen.page.emulate_media(color_scheme="dark")
        seen.page.wait_for_timeout(100)
        assert seen.page.evaluate(read) == "#191d22"
        assert seen.page.locator(".uplot canvas").count() > 5, "drawn again"
        assert len(seen.page.pdf()) > 20_000
        assert seen.page.evaluate(read) == "#191d22"
        quiet(seen)


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core by npm, which knows its registry."""
    folder = tmp_path_factory.mktemp("axe")
    try:
        subprocess.run(["npm", "pack", "--silent", AXE], cwd=folder, check=True, capture_output=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as err:
        pytest.skip(f"npm cannot fetch {AXE}: {err}")
    with tarfile.open(fileobj=io.BytesIO(next(folder.glob("*.tgz")).read_bytes())) as packed:
        stream = packed.extractfile("package/axe.min.js")
        assert stream is not None
        data = stream.read()
    assert hashlib.sha256(data).hexdigest() == AXE_SHA256
    return data.decode()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: "Browser", pages: dict[str, Path], axe: str, kind: str, scheme: Any) -> None:
    with visit(browser, pages[kind], color_scheme=scheme, bypass_csp=True) as seen:
        seen.page.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
        seen.page.evaluate(axe)
        found = seen.page.evaluate("async () => (await axe.run(document)).violations")
        assert [(item["id"], item["nodes"][0]["html"][:200]) for item in found] == []
