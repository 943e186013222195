"""What a study over several bases and data sets shows: lines, tables, plots, data and a page."""

from __future__ import annotations

import json
import re

import attrs
import pytest
from made_results import BASES, pooled
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from zoo.errors import UnknownNameError, ZooError
from zoo.registry import Registry
from zoo.report.study import plots
from zoo.report.study.pooled import answer, by_place, claim_lines, frame, in_general, notes, parquet, render
from zoo.report.study.pooled_page import page
from zoo.study.pooled import PooledResult


@pytest.fixture(scope="module")
def result(registry: Registry) -> PooledResult:
    return pooled(registry)


def test_a_line_says_where_a_change_helps_and_what_it_does_in_general(result: PooledResult) -> None:
    lines = {text.partition(":")[0]: text for text in claim_lines(result)}
    assert re.fullmatch(
        r"bn: helps in 3 of 3, hurts in none; pooled \+0\.0\d{3} \[\+0\.0\d{3}, \+0\.0\d{3}\], p = 0\.00\d{2}: helps\.",
        lines["bn"],
    )
    assert re.search(r"hurts in none; .*: undecided \(about \d+ more bases would decide\)\.$", lines["leaky"])
    assert lines["slow"].startswith("slow: helps in none of 3, hurts in 3; pooled -0.05")
    assert claim_lines(result)[-1] == f"About bases like {', '.join(BASES)}; on digits, this split of it."
    assert answer(result).startswith("In general, of 5 changes, 1 helps (bn), 1 hurts (slow) and 3 are undecided")


def test_few_bases_are_no_sample_of_others(registry: Registry) -> None:
    result = pooled(registry, BASES[:2])
    assert answer(result) == (
        "No claim about other bases or data sets is made: it takes 3 of either. What follows is about these."
    )
    assert all(text.endswith(", of these places only.") for text in claim_lines(result)[:-1])
    about = f"About {BASES[0]}, {BASES[1]} and no other base; on digits, this split of it."
    assert claim_lines(result)[-1] == about
    assert in_general(result) == []


def test_claims_about_splits_say_so(registry: Registry) -> None:
    result = pooled(registry, resplit=True)
    assert claim_lines(result)[-1].endswith("; on digits, splits of it.")
    assert "images like these, of which 25% are held out anew with each seed" in by_place(result)[0].below[-1]
    assert "split anew with each seed, 25% of training held out" in render(result)


def test_while_runs_are_missing_nothing_is_judged(result: PooledResult) -> None:
    open_ = attrs.evolve(result, claims=(), wins=(), missing=7)
    text = render(open_)
    assert "Not finished: 7 runs are missing." in text
    assert "helps in" not in text


def test_what_could_not_be_had_is_in_the_report(result: PooledResult) -> None:
    lacking = attrs.evolve(result, refused=("starter/4d: change 'bn': it has no place for it",))
    assert notes(lacking)[0] == "Not done: starter/4d: change 'bn': it has no place for it"
    assert "Not done: starter/4d" in render(lacking)


@pytest.mark.parametrize("format_", ["simple", "markdown", "latex", "html", "github"])
def test_every_format_holds_all_tables(result: PooledResult, format_: str) -> None:
    text = render(result, format_=format_)
    for title in ("In general", "In each place", "Who is better how often", "Places"):
        assert title in text
    with pytest.raises(ZooError, match="parquet is no text"):
        render(result, format_="parquet")


def test_the_figures_are_data(result: PooledResult) -> None:
    found = frame(result)
    assert found["kind"].value_counts().to_dict() == {"win rate": 30, "place": 15, "pooled": 5}
    of_all = found[found["kind"] == "pooled"].set_index("name")
    assert of_all.loc["bn", "verdict"] == "helps"
    assert of_all.loc["bn", "over"] == "bases"
    assert of_all.loc["bn", ["n", "places"]].tolist() == [3, 3]
    means = found[found["kind"] == "place"].groupby("name")["difference"].mean()
    assert means["bn"] == pytest.approx(of_all.loc["bn", "difference"])
    assert of_all.loc["bn", "prediction_low"] < of_all.loc["bn", "difference"] < of_all.loc["bn", "prediction_high"]
    records = json.loads(render(result, format_="json"))
    assert len(records) == len(found)
    assert render(result, format_="csv").count("\n") == len(found)
    assert parquet(result)[:4] == b"PAR1"


def test_a_forest_has_a_row_for_each_place_and_the_pooled_one(result: PooledResult) -> None:
    ax = plots.forest_plot(result, "bn", Figure().add_subplot())
    assert [label.get_text() for label in ax.get_yticklabels()] == [*BASES, "pooled", "elsewhere (95%)"]
    assert [text.get_text() for text in ax.texts] == ["helps"] * 4
    diamond = next(patch for patch in ax.patches if isinstance(patch, Polygon))
    comparison = next(claim.comparison for claim in result.claims if claim.change == "bn")
    xs = diamond.get_path().vertices[:, 0]
    assert (min(xs), max(xs)) == pytest.approx((comparison.low, comparison.high))
    with pytest.raises(UnknownNameError, match="the study has no change 'leeky'; did you mean leaky"):
        plots.forest_plot(result, "leeky")


def test_a_matrix_shows_who_wins(result: PooledResult) -> None:
    ax = plots.win_matrix(result, Figure().add_subplot())
    shown = {text.get_text() for text in ax.texts}
    assert "100" in shown
    assert len(ax.texts) == 30


def test_the_page_holds_a_plot_for_each_change(result: PooledResult) -> None:
    text = page(result)
    assert text.count("<figure>") == 6
    assert "What each change does, place by place" in text
    assert claim_lines(result)[1] in text
    assert "10000 to 10004" in text
