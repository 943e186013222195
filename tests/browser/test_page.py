"""A study's page in a browser: it opens, sorts, fits a phone, and can be read in light and dark and by everyone."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from made_results import CHANGES, factorial, one_at_a_time, pooled
from made_tuning import FLAT, Trainer, tuned_study
from opening import DESKTOP, PHONE, SCHEMES, faults, needs_browser

from zoo.registry import Registry
from zoo.report.runs_page import Report
from zoo.report.runs_page import page as runs_page
from zoo.report.study.page import page as study_page
from zoo.report.study.pooled_page import page as pooled_page
from zoo.study.tuning import conduct_tuned
from zoo.train.execute import dataset

pytestmark = needs_browser
LONG = "a name that is long, and has many words in it, as no name should"


@pytest.fixture(scope="module")
def files(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return pages of studies, and of runs."""
    folder = tmp_path_factory.mktemp("pages")
    changes = {
        **CHANGES,
        LONG.replace(",", ""): {"network.classifier.0.dropout": "dropout"},
        "<b>": {"training.shuffle": True},
    }
    study = tuned_study(registry, name="made-up")
    images = dataset(study.base, registry, "cpu")
    tuned = conduct_tuned(study, range(4), Trainer(FLAT), dataset=images, registry=registry)
    results = {"factorial": factorial(registry), "single": one_at_a_time(registry, changes=changes), "tuned": tuned}
    paths = {name: folder / f"{name}.html" for name in results}
    for name, result in results.items():
        paths[name].write_text(study_page(result), encoding="utf-8")
    runs = [run for arm in results["single"].arms for run in arm.runs]
    failed = attrs.evolve(runs[-1], status="failed", reason="plugin <b> raised ValueError: " + LONG)
    report = Report(title="All runs", runs=[*runs[:-1], failed], class_names=lambda run: None, command="zoo report")
    paths["runs"] = folder / "runs.html"
    paths["runs"].write_text(runs_page(report), encoding="utf-8")
    paths["pooled"] = folder / "pooled.html"
    paths["pooled"].write_text(pooled_page(pooled(registry, changes=changes)), encoding="utf-8")
    return paths


each_scheme = pytest.mark.parametrize("scheme", SCHEMES)
each_study = pytest.mark.parametrize("study", ["factorial", "single", "tuned", "pooled", "runs"])


@each_scheme
@each_study
def test_it_opens_without_an_error_and_asks_for_nothing_else(study, scheme, files, opened):
    page = opened(files[study], scheme, DESKTOP)
    assert page.said == []
    assert [url for url in page.asked if not url.startswith("data:")] == [files[study].as_uri()]
    assert page.page.locator("h1").inner_text().startswith("All runs" if study == "runs" else "Study made-up")
    assert page.page.locator("svg").count() >= 3


@each_study
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_page_never_scrolls_sideways(study, viewport, files, opened):
    page = opened(files[study], "light", viewport).page
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    wide = page.evaluate("[...document.querySelectorAll('.scroll')].some(e => e.scrollWidth > e.clientWidth)")
    # A table of classes has a column for each spec.
    assert wide is (viewport is PHONE or study == "runs"), "on a phone tables scroll in their own container"


@pytest.mark.parametrize("study", ["single", "runs"])
def test_names_in_tables_are_not_broken_within_a_word(study, files, opened):
    page = opened(files[study], "light", PHONE).page
    broken = page.evaluate(
        """[...document.querySelectorAll('tbody th')].flatMap(cell => {
            const text = cell.firstChild, range = document.createRange();
            return [...text.data.matchAll(/[a-z]+/g)].filter(word => {
                range.setStart(text, word.index);
                range.setEnd(text, word.index + word[0].length);
                return range.getClientRects().length > 1;
            }).map(word => word[0]);
        })"""
    )
    assert broken == []


def test_text_in_plots_can_be_read_on_a_phone(files, opened):
    page = opened(files["single"], "light", PHONE).page
    smallest = page.evaluate(
        """Math.min(...[...document.querySelectorAll('svg text')].map(
            e => Math.hypot(e.getScreenCTM().c, e.getScreenCTM().d) * parseFloat(getComputedStyle(e).fontSize)))"""
    )
    assert smallest > 7


@each_study
def test_no_text_of_a_plot_is_cut_off(study, files, opened):
    page = opened(files[study], "light", DESKTOP).page
    cut = page.evaluate(
        """[...document.querySelectorAll('svg text')].filter(e => {
            const t = e.getBoundingClientRect(), s = e.ownerSVGElement.getBoundingClientRect();
            return t.left < s.left - 2 || t.right > s.right + 2 || t.top < s.top - 2 || t.bottom > s.bottom + 2;
        }).map(e => e.textContent)"""
    )
    assert cut == []


def test_a_click_sorts_by_number_and_a_second_turns_it_round(files, opened):
    page = opened(files["single"], "light", DESKTOP)
    first = page.column("difference")
    numbers = [float(text.split()[0]) for text in first]
    assert numbers != sorted(numbers), "or else sorting would change nothing"
    page.sort("difference").click()
    assert [float(text.split()[0]) for text in page.column("difference")] == sorted(numbers)
    head = page.page.locator("table").first.locator("th[aria-sort]")
    assert head.get_attribute("aria-sort") == "ascending"
    page.sort("difference").click()
    assert [float(text.split()[0]) for text in page.column("difference")] == sorted(numbers, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    assert head.count() == 1


@pytest.mark.parametrize("key", ["Enter", " "])
def test_the_keyboard_sorts_texts(key, files, opened):
    page = opened(files["single"], "light", DESKTOP)
    names = page.column("change")
    for _ in range(20):
        page.page.keyboard.press("Tab")
        if page.page.evaluate("document.activeElement.tagName") == "BUTTON":
            break
    page.page.keyboard.press(key)
    expected = page.page.evaluate(
        "names => names.sort((a, b) => a.localeCompare(b, undefined, {numeric: true}))", names
    )
    assert page.column("change") == expected
    assert names != expected


def test_without_its_script_a_table_is_a_table(files, opened):
    page = opened(files["single"], "light", DESKTOP, java_script_enabled=False).page
    assert page.locator("button").count() == 0
    assert page.locator("table").first.locator("tbody tr").count() == 7


@each_scheme
def test_text_and_background_follow_the_scheme(scheme, files, opened):
    page = opened(files["single"], scheme, DESKTOP).page

    def brightness(color: str) -> float:
        return sum(map(int, color[4:-1].split(",")))

    text, ground, tick = page.evaluate(
        """[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor,
            getComputedStyle(document.querySelector('svg text')).fill]"""
    )
    assert (brightness(text) > brightness(ground)) is (scheme == "dark")
    assert tick == text, "a plot's text is the page's"


@each_scheme
@each_study
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_there_is_no_fault_of_accessibility(study, scheme, viewport, files, opened):
    assert faults(opened(files[study], scheme, viewport).page) == []


def test_it_can_be_printed(files, opened):
    page = opened(files["factorial"], "dark", DESKTOP).page
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)", "dark ink also of a dark screen"
    assert page.pdf()[:4] == b"%PDF"
