"""A real Chromium, driven by Playwright, that may read files and nothing else."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab.machine import LabUnavailable

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> "Iterator[Browser]":
    """The system's browser; raises LabUnavailable where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise LabUnavailable("no Chromium on PATH: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as err:
        raise LabUnavailable("playwright is not installed: pip install -e '.[dev]'") from err
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])  # root has no user namespace
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page that is open, and what it did."""

    page: "Page"
    console: list[str] = field(default_factory=list)
    """Messages and errors, whatever their level."""
    requests: list[str] = field(default_factory=list)
    """Addresses that were asked for beside the file itself."""


@contextmanager
def visit(browser: "Browser", path: Path, *, width: int = 1100, **context: Any) -> Iterator[Visit]:
    """Open a file; every request but the one for it is refused and noted."""
    opened = browser.new_context(viewport={"width": width, "height": 900}, **context)
    seen = Visit(page=opened.new_page())
    address = path.as_uri()

    def decide(route: "Route") -> None:
        if route.request.url.partition("#")[0] == address:
            route.continue_()
        else:
            seen.requests.append(route.request.url)
            route.abort()

    opened.route("**/*", decide)
    seen.page.on("console", lambda message: seen.console.append(f"{message.type}: {message.text}"))
    seen.page.on("pageerror", lambda error: seen.console.append(f"error: {error}"))
    seen.page.goto(address)
    try:
        yield seen
    finally:
        opened.close()
