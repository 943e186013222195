"""A study's page: it is whole in itself, says all, and takes nothing for markup that is a name."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from html.parser import HTMLParser
from xml.etree import ElementTree

import attrs
import pytest
from made_results import CHANGES, factorial, one_at_a_time, stepwise

from zoo.registry import Registry
from zoo.report.study import tables
from zoo.report.study.page import page, provenance
from zoo.study.result import StudyResult

ATTACK = "<script>alert(1)</script>"


class Read(HTMLParser):
    """A page as its elements, ids and headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self._in_heading = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_heading = tag in ("h1", "h2")

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self.headings.append(data)
            self._in_heading = False

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def crossed(registry: Registry) -> StudyResult:
    return factorial(registry)


@pytest.fixture(scope="module")
def text(crossed: StudyResult) -> str:
    return page(crossed)


def test_it_begins_with_the_answer_and_goes_from_verdicts_to_provenance(text: str, crossed: StudyResult) -> None:
    read = Read(text)
    assert read.headings == [
        "Study made-up: what helps on digits",
        "Verdicts",
        "What each change does",
        "Interactions",
        "Learning curves",
        "Recall against cost",
        "Recall by class",
        "Confusion on test",
        "All that was trained",
        "Beside what was published",
        "What each change did",
        "Methods, for a paper",
        "Provenance",
        "Notes",
        "To repeat it",
    ]
    assert text.index(tables.answer(crossed)) < text.index("<h2")
    for expected in ("+ BatchNorm2d(24) after features.0.filter", "A Processor", "zoo study run made-up --seeds 5"):
        assert expected in text


def test_nothing_comes_from_elsewhere(text: str) -> None:
    read = Read(text)
    for _, attributes in read.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith("#") or value == "data:,", (name, value)
    assert not re.findall(r"url\((?!#)|@import|@font-face", text)
    assert "<image" not in text, "plots are shapes"
    assert set(re.findall(r"https?://[^\"' <]*", text)) == {"http://www.w3.org/2000/svg"}
    (policy,) = [meta["content"] for meta in read.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none';")


def test_the_policy_allows_the_page_s_own_script_only(text: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in text


def test_ids_are_unique_and_what_is_referred_to_is_there(text: str) -> None:
    read = Read(text)
    ids = Counter(attributes["id"] for _, attributes in read.tags if "id" in attributes)
    assert [name for name, count in ids.items() if count > 1] == []
    referred = set(re.findall(r"url\(#([^)]*)\)", text)) | {a["href"][1:] for a in read.all("use") if a["href"]}
    for _, attributes in read.tags:
        referred |= set((attributes.get("aria-labelledby") or "").split())
    assert referred
    assert referred <= set(ids)


def test_plots_are_told_to_those_who_do_not_see_them(text: str) -> None:
    drawn = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawn) >= 10
    for svg in map(ElementTree.fromstring, drawn):
        title, description = svg[0], svg[1]
        assert title.tag.endswith("}title")
        assert title.text
        assert description.tag.endswith("}desc")
        assert description.text
        assert svg.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
        assert svg.findall(".//{*}text"), "text is text, not shapes"


def test_plots_have_the_page_s_colours(text: str) -> None:
    assert "currentColor" in text
    assert "var(--blue)" in text
    for color in ("#010203", "#fcfdfe"):
        assert color not in text


def test_names_are_never_markup(registry: Registry) -> None:
    changes = {ATTACK: CHANGES["bn"], "plain": {"levels": {ATTACK: CHANGES["slow"]}}}
    result = one_at_a_time(registry, (0, 1), changes=changes, description=ATTACK)
    result = attrs.evolve(
        result,
        notes=(ATTACK,),
        command=f"zoo {ATTACK}",
        classes=(ATTACK, *result.classes[1:]),
        proofs={ATTACK: (ATTACK,)},
    )
    text = page(result)
    assert len(Read(text).all("script")) == 1
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 10


def test_tables_have_rows_columns_and_numbers_to_sort_by(text: str, crossed: StudyResult) -> None:
    read = Read(text)
    assert len(read.all("table")) == 5
    assert {head["scope"] for head in read.all("th")} == {"col", "row"}
    orders = {cell["data-order"] for cell in read.all("td") if cell.get("data-order")}
    assert str(crossed.effects[0].comparison.difference) in orders
    assert "<button" not in text, "without its script a table has no buttons that do nothing"


def test_a_search_has_its_steps_and_no_interactions(registry: Registry) -> None:
    text = page(stepwise(registry, (0, 1)))
    assert "Steps of the search" in text
    assert "Interactions" not in Read(text).headings


def test_what_there_is_not_has_no_section(registry: Registry) -> None:
    result = one_at_a_time(registry, (0,))
    base = attrs.evolve(result.arms[0], spec=attrs.evolve(result.arms[0].spec, reference=None))
    bare = attrs.evolve(
        result, arms=(base,), claims=(), ranks=(), pareto={}, per_class={}, chosen="base", confirmation=None,
        proofs={}, notes=(), command="",
    )  # fmt: skip
    assert Read(page(bare)).headings[1:] == [
        "Learning curves",
        "Confusion on test",
        "All that was trained",
        "Methods, for a paper",
        "Provenance",
    ]


def test_provenance_has_each_value_once(crossed: StudyResult) -> None:
    found = provenance(crossed)
    assert found["torch"] == "2.9.0"
    assert found["digest of the data"] == "5f1e0d" * 10
    assert found["held out for validation"] == "25% of the training set"
    assert found["seeds"] == "0 to 4"
    assert found["precision"] == "fp32"
    assert found["trained from"] == "2026-01-01T10:00:00+0000 to 2026-01-01T10:04:00+0000"


def test_the_same_result_gives_the_same_page(text: str, crossed: StudyResult) -> None:
    assert page(crossed) == text


def test_captions_say_how_many_of_how_many(registry: Registry) -> None:
    result = one_at_a_time(registry)
    text = page(result)
    arms = len(result.arms)
    assert f"Shown: 5 of {arms} arms, the base, what was chosen, and the best of the others." in text
