from __future__ import annotations

from collections.abc import Iterator

import pytest
from opening import CHROMIUM, FLAGS, Opened, playwright


@pytest.fixture(scope="session")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as driver:
        # Its profile is a fresh folder each time.
        browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: playwright.Browser, request: pytest.FixtureRequest) -> Iterator[type[Opened]]:
    contexts = []

    def open_(*args: object, **more: object) -> Opened:
        page = Opened(browser, *args, **more)
        contexts.append(page.context)
        return page

    yield open_
    for context in contexts:
        context.close()
