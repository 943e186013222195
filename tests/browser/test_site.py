"""The documentation as a site: strict, whole in itself, and readable by everyone, on a desk and on a phone."""

from __future__ import annotations

import re
import runpy
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from opening import DESKTOP, PHONE, SCHEMES, faults, needs_browser
from snippets import ROOT

pytest.importorskip("sphinx", reason="sphinx is not installed: pip install '.[site]'")
Build = Callable[..., int]


@pytest.fixture(scope="module")
def build() -> Build:
    strict: Build = runpy.run_path(str(ROOT / "docs/site.py"))["build"]

    def quiet(*arguments: object, **more: object) -> int:
        with warnings.catch_warnings():  # of what Sphinx's extensions will have to change
            warnings.simplefilter("ignore")
            return strict(*arguments, **more)

    return quiet


@pytest.fixture(scope="module")
def site(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    assert build(folder, gallery=False) == 0, "Sphinx says above what is amiss"
    return folder


def test_it_has_a_page_of_each_document(site: Path) -> None:
    documents = [path.relative_to(ROOT) for ending in ("md", "ipynb") for path in (ROOT / "docs").rglob(f"*.{ending}")]
    listed = "".join(page.read_text() for page in (site / "index.html", *site.glob("docs/*/index.html")))
    for document in documents:
        page = document.with_suffix(".html")
        assert (site / page).exists()
        assert re.search(rf'href="({page}|{page.name})"', listed), f"{page} is not listed"


def test_its_first_page_is_the_readme(site: Path) -> None:
    assert "You have an idea for a layer" in (site / "index.html").read_text()
    assert 'href="../../index.html#try-it"' in (site / "docs/tutorials/author.html").read_text()


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]*)"', text)
        loaded += re.findall(r'<link[^>]* rel="(?:stylesheet|preload|icon)"[^>]* href="([^"]*)"', text)
        assert loaded
        assert [address for address in loaded if re.match(r"(https?:)?//", address)] == []


def test_a_link_that_leads_nowhere_fails(build: Build, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# zoo\n\n[nothing](docs/nothing.md)\n")
    assert build(tmp_path / "site", root=tmp_path, pages=["README.md"], gallery=False) == 1
    assert "cross-reference target not found: 'docs/nothing.md'" in capfd.readouterr().err


@needs_browser
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "page", ["index.html", "search.html", "docs/reference/cli.html", "docs/explanation/speed.html"]
)
def test_there_is_no_fault_of_accessibility(page, scheme, viewport, site, opened):
    shown = opened(site / page, scheme, viewport)
    assert shown.said == []
    assert all(url.startswith(("file:", "data:")) for url in shown.asked)
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert faults(shown.page) == []


@needs_browser
def test_it_can_be_searched_without_a_server(site, opened):
    page = opened(site / "search.html", "light", DESKTOP).page
    page.goto(f"{(site / 'search.html').as_uri()}?q=Bonferroni")
    page.wait_for_selector("ul.search li")
    assert "Verdicts" in " ".join(page.locator("ul.search li a").all_inner_texts())
