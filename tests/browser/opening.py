"""Pages in a browser."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[test]'")
CHROMIUM = shutil.which("chromium")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
SCHEMES = ("light", "dark")


class Opened:
    """A page that was opened, with all that its console and its network said."""

    def __init__(
        self, browser: playwright.Browser, path: Path, scheme: str, viewport: dict[str, int], **more: object
    ) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.context = browser.new_context(color_scheme=scheme, viewport=viewport, **more)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def column(self, title: str) -> list[str]:
        """Return the cells of a column of the first table, from the top."""
        table = self.page.locator("table").first
        titles = table.locator("thead th").all_inner_texts()
        place = next(i for i, text in enumerate(titles) if text.startswith(title))
        return [row.locator("th, td").nth(place).inner_text() for row in table.locator("tbody tr").all()]

    def sort(self, title: str) -> playwright.Locator:
        return self.page.locator("table").first.get_by_role("button", name=title)


def faults(page: playwright.Page) -> list[tuple[str, str, list[str]]]:
    """Return all faults of accessibility that axe-core finds, minor ones too."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    found = axe.Axe().run(page).response
    assert found["passes"], "it looked at something"
    return [
        (fault["id"], fault["help"], [node["html"][:120] for node in fault["nodes"]]) for fault in found["violations"]
    ]
