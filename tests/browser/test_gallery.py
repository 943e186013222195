"""A gallery in a browser: whole in itself, readable by everyone, and its tables sorted and filtered."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from urllib.parse import unquote

import pytest
from opening import DESKTOP, PHONE, SCHEMES, faults, needs_browser
from small_gallery import few, trained

from zoo.gallery.build import Sources, build

pytest.importorskip("sphinx", reason="sphinx is not installed: pip install '.[site]'")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, registry = tmp_path_factory.mktemp("shown"), few()
    with warnings.catch_warnings():  # of what Sphinx's extensions will have to change
        warnings.simplefilter("ignore")
        build(registry, Sources(ledgers=(trained(folder, registry),)), folder / "gallery")
    return folder / "gallery"


def test_every_link_leads_to_something_of_its_own(gallery: Path) -> None:
    links = 0
    for page in gallery.rglob("*.html"):
        text = page.read_text()
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]*)"', text)
        loaded += re.findall(r'<link[^>]* rel="(?:stylesheet|preload|icon)"[^>]* href="([^"]*)"', text)
        assert [address for address in loaded if re.match(r"(https?:)?//", address)] == []
        for target in re.findall(r'<a [^>]*href="([^"#?]+)', text):
            if not re.match(r"https?:|mailto:", target):
                links += 1
                assert (page.parent / unquote(target)).exists(), f"{page}: {target}"
    assert links > 1000


@needs_browser
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("page", ["index.html", "activation/index.html", "activation/mish.html", "published.html"])
def test_there_is_no_fault_of_accessibility(page, scheme, viewport, gallery, opened):
    shown = opened(gallery / page, scheme, viewport)
    assert shown.said == []
    assert all(url.startswith(("file:", "data:")) for url in shown.asked)
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert faults(shown.page) == []


@needs_browser
def test_a_table_is_sorted_by_its_numbers_and_filtered(gallery, opened):
    shown = opened(gallery / "activation/index.html", "light", DESKTOP)
    assert shown.column("variant")[0] == "relu"
    shown.sort("recall").click()
    recalls = [float(text.split()[0]) for text in shown.column("recall")]
    assert recalls == sorted(recalls)
    shown.sort("recall").click()
    assert [float(text.split()[0]) for text in shown.column("recall")] == sorted(recalls, reverse=True)
    every = shown.page.locator("table").last
    shown.page.get_by_label("Only rows with").last.fill("hyperbolic")
    rows = [row.inner_text() for row in every.locator("tbody tr").all() if row.is_visible()]
    assert rows
    assert all("yperbolic" in row for row in rows)


@needs_browser
@pytest.mark.parametrize("scheme", SCHEMES)
def test_plots_have_the_colours_of_the_page(scheme, gallery, opened):
    page = opened(gallery / "activation/mish.html", scheme, DESKTOP).page
    card = page.evaluate(
        "getComputedStyle(document.querySelector('.zoo-plot')).getPropertyValue('--card').trim() !== ''"
    )
    assert card
    assert page.evaluate("getComputedStyle(document.querySelector('.zoo-plot')).color") == page.evaluate(
        "getComputedStyle(document.querySelector('article p')).color"
    )
