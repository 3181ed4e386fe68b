"""One browser for all tests of the page."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from gpuslice.report.page import page
from gpuslice.report.subject import Subject
from tests.report.browsers import chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        # Chromium's sandbox can't be set up by root or in most containers; the pages are our own.
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@dataclass
class Opened:
    """A page in the browser, and what it complained about or asked the network for."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a report, from a file and without a network, as a person does; its console must stay silent."""
    pages: list[Opened] = []

    def open_(subject: Subject, *, width: int = 1440, scheme: str = "light", script: bool = True) -> Opened:
        path: Path = tmp_path / f"report-{len(pages)}.html"
        path.write_text(page(subject), encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            offline=True,
            java_script_enabled=script,
            reduced_motion="reduce",
        )
        found = Opened(context.new_page())
        found.page.on("console", lambda message: found.said.append(message.text))
        found.page.on("pageerror", lambda error: found.said.append(str(error)))
        found.page.on("dialog", lambda dialog: found.said.append(f"dialog: {dialog.message}"))
        found.page.on("request", lambda request: found.asked.append(request.url))
        found.page.goto(path.as_uri())
        pages.append(found)
        return found

    yield open_
    for each in pages:
        assert each.said == []
        assert [url for url in each.asked if not url.startswith("file:")] == []
        each.page.context.close()
