"""What a study found, as tables and as data."""

from __future__ import annotations

import io
import json
import re
import sys

import attrs
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import CHANGES, FRESH, SEEDS, factorial, one_at_a_time, stepwise
from tabulate import tabulate

from zoo.errors import ZooError
from zoo.registry import Registry
from zoo.report.study import tables
from zoo.report.study.tables import frame, parquet, render, runs
from zoo.report.text import column_width, difference, fit, pieces, probability, seed_span
from zoo.statistics.intervals import mean_interval
from zoo.statistics.results import Comparison, Losses
from zoo.study.result import Arrival, StudyResult


@pytest.fixture(scope="module")
def single(registry: Registry) -> StudyResult:
    return one_at_a_time(registry)


@pytest.fixture(scope="module")
def crossed(registry: Registry) -> StudyResult:
    return factorial(registry)


@pytest.fixture(scope="module")
def searched(registry: Registry) -> StudyResult:
    return stepwise(registry)


def with_verdicts(result: StudyResult, *verdicts: str) -> StudyResult:
    """Return the result with the verdicts of its claims replaced."""
    claims = [
        attrs.evolve(claim, comparison=attrs.evolve(claim.comparison, verdict=verdict, more_seeds=None))
        for claim, verdict in zip(result.claims, verdicts, strict=True)
    ]
    return attrs.evolve(result, claims=tuple(claims))


def test_the_answer_says_which_changes_help(single: StudyResult) -> None:
    result = with_verdicts(single, "no practical difference", "helps", "helps", "undecided", "hurts")
    assert tables.answer(result) == (
        "Of 5 changes, 2 help (bn, size=5), 1 hurts (slow), 1 makes no practical difference (leaky) and "
        "1 is undecided (size=7)."
    )
    result = attrs.evolve(single, claims=with_verdicts(single, *["helps"] * 5).claims[:1])
    assert tables.answer(result) == "Of 1 change, 1 helps (leaky)."
    assert tables.answer(attrs.evolve(single, claims=())) == "Nothing was compared."


def test_the_answer_names_the_first_few_of_many(single: StudyResult) -> None:
    claim = next(claim for claim in single.claims if claim.change == "leaky")
    many = attrs.evolve(single, claims=tuple(attrs.evolve(claim, change=f"c{number}") for number in range(52)))
    assert "52 are undecided (c0, c1, c2 and 49 more)" in tables.answer(many), (
        "a headline of 52 names is read by nobody"
    )


def test_the_answer_of_a_factorial_study_is_about_main_effects(crossed: StudyResult) -> None:
    pairs = [effect for effect in crossed.effects if len(effect.levels) == 2]
    clear = [effect for effect in pairs if effect.comparison.verdict in ("helps", "hurts")]
    assert {frozenset(effect.levels) for effect in clear} == {frozenset({"leaky", "bn"})}, "the planted interaction"
    answer = tables.answer(crossed)
    assert answer.startswith("On average over all combinations, of 4 changes, ")
    assert answer.endswith(f" Clear interactions: 1 of {len(pairs)}.")


def test_a_claim_has_all_that_its_verdict_rests_on(single: StudyResult) -> None:
    (table,) = tables.verdicts(single)
    for row, claim in zip(table.rows, single.claims, strict=True):
        c = claim.comparison
        assert {title: cell.text for title, cell in row.items()} == {
            "change": claim.change,
            "against": "",
            "verdict": tables.said(c),
            "difference [corrected]": difference(c.difference, c.low, c.high),
            "p": probability(c.p_adjusted),
            "d": f"{c.effect_size:+.2f}",
            "seeds": str(c.n),
        }
    assert "against" not in table.columns, "all are against the base, which a line says"
    assert table.below[0] == "Each against base."
    assert "corrected over all 5 claims (Holm)" in table.below[1]
    assert "within ±0.005" in table.below[1]


def test_an_undecided_claim_says_what_would_decide_it() -> None:
    open_ = Comparison(
        n=4, difference=0.1, low=-1.0, high=1.2, p=0.5, p_adjusted=1.0, verdict="undecided", more_seeds=4
    )
    assert tables.said(open_) == "undecided (about 4 more seeds)"
    assert tables.said(attrs.evolve(open_, more_seeds=1)) == "undecided (about 1 more seed)"
    assert tables.said(attrs.evolve(open_, more_seeds=None)) == "undecided"
    assert tables.said(attrs.evolve(open_, n=2)) == "undecided (fewer than 3 seeds)"


def test_lost_runs_have_a_verdict_of_their_own(single: StudyResult) -> None:
    lost = Losses(with_change=(5, 5), without_change=(0, 5), p=0.008, p_adjusted=0.04, verdict="loses more runs")
    result = attrs.evolve(single, losses={"slow": lost})
    table = tables.verdicts(result)[-1]
    assert [cell.text for cell in table.rows[0].values()] == ["slow", "loses more runs", "5 of 5", "0 of 5", "0.0400"]
    assert tables.answer(result).endswith(". slow loses more runs.")


def test_a_verdict_that_signs_do_not_bear_out_is_said(single: StudyResult) -> None:
    first = single.claims[0]
    odd = attrs.evolve(first.comparison, n=10, p=0.2, p_signs=0.001, level=0.05)
    result = attrs.evolve(single, claims=(attrs.evolve(first, comparison=odd),))
    assert tables.verdicts(result)[0].below[-1] == (
        "leaky: a test of signs tells otherwise whether there is a difference (p 0.0010, t test 0.2000, neither "
        "corrected). Its differences are far from normal: take more seeds."
    )


def test_claims_without_pairs_have_empty_cells(single: StudyResult) -> None:
    nothing = Comparison(
        n=0, difference=float("nan"), low=None, high=None, p=None, p_adjusted=None, verdict="undecided"
    )
    claim = attrs.evolve(single.claims[0], comparison=nothing)
    (table,) = tables.verdicts(attrs.evolve(single, claims=(claim,)))
    assert [cell.text for cell in table.rows[0].values()] == [
        "leaky",
        "",
        "undecided (fewer than 3 seeds)",
        "",
        "",
        "",
        "0",
    ]


def test_an_interval_of_one_claim_is_called_95_and_those_of_several_corrected(single: StudyResult) -> None:
    """Else an interval that leaves out 0 would stand beside "undecided"."""
    first = single.claims[0]
    alone = attrs.evolve(first, comparison=attrs.evolve(first.comparison, level=0.05))
    text = render(attrs.evolve(single, claims=(alone,)))
    assert "difference [95% interval]" in text
    assert "corrected as p is" not in text
    assert "it leaves out 0 where the difference is shown, and else not" in render(single)


def test_searches_show_what_each_change_was_tried_upon(searched: StudyResult) -> None:
    (table,) = tables.verdicts(searched)
    assert "against" in table.columns
    text = render(searched, format_="tsv")
    steps = text.partition("Steps of the search")[2].split("\n\n")[1].splitlines()
    assert [[cell.strip() for cell in line.split("\t")][1:] for line in steps[1:]] == [
        [step.tried, step.upon, f"{step.difference:+.4f}", "yes" if step.kept else "no"] for step in searched.steps
    ]
    assert {step.kept for step in searched.steps} == {True, False}


def test_interactions_are_said_in_words_and_figures(crossed: StudyResult) -> None:
    main, pairs = tables.verdicts(crossed)
    assert [row["change"].text for row in main.rows] == ["leaky", "bn", "size=5", "size=7"]
    interaction = next(row for row in pairs.rows if row["changes"].text == "leaky x bn")
    assert interaction["verdict"].text == "less together"
    (sentence,) = tables.sentences(crossed)
    assert sentence == next(effect.sentence for effect in crossed.effects if effect.name == "leaky x bn")
    assert " ".join(sentence.split()) in " ".join(render(crossed, width=80).split())
    assert tables.strongest(crossed)[0].name == "leaky x bn"


def test_aliases_have_a_column_where_there_are_any(crossed: StudyResult) -> None:
    first, *others = crossed.effects
    aliased = attrs.evolve(crossed, effects=(attrs.evolve(first, aliases=("-1/2 bn x size",)), *others))
    text = render(aliased, format_="tsv")
    assert "also holds: what this design cannot tell from the effect, of up to three changes, and how much of" in text
    assert re.search(r"^leaky\s.*\t-1/2 bn x size", text, re.MULTILINE)
    assert "also holds" not in render(crossed)


def test_test_recall_is_shown_of_the_base_and_the_chosen_only(single: StudyResult) -> None:
    rows = tables.arms_table(single).rows
    shown = {row["arm"].text for row in rows if row["test recall"].text}
    assert shown == {"base", f"{single.chosen} (chosen)"}
    shown = runs(single, {}).groupby("arm")["test_recall"].count()
    assert {arm for arm, count in shown.items() if count} == {"base", single.chosen}


def test_an_arm_s_recall_is_the_mean_over_the_seeds_that_count(single: StudyResult) -> None:
    row = next(row for row in tables.arms_table(single).rows if row["arm"].text == "slow")
    recalls = single.arm("slow").recalls["validation"]
    assert recalls[1] == 0.1, "a run that diverged counts with the recall of chance"
    mean, half = mean_interval(list(recalls.values()))
    assert row["validation recall"].text == f"{mean:.4f} ± {half:.4f}"
    assert [row[column].text for column in ("runs", "diverged", "failed")] == ["3", "1", "1"]


def test_what_was_chosen_is_confirmed_on_test(single: StudyResult) -> None:
    assert single.chosen == "bn"
    assert single.confirmation is not None
    chosen, confirmed = tables.selection(single)
    assert chosen == "Chosen by validation recall: bn."
    mean, half = mean_interval(list(single.arm("bn").recalls["test"].values()))
    assert confirmed.startswith(f"On test, with fresh seeds (1000 to 1004): {mean:.4f} ± {half:.4f} against ")
    assert confirmed.endswith(": helps.")
    (nothing,) = tables.selection(attrs.evolve(single, chosen="base", confirmation=None))
    assert nothing == "Chosen by validation recall: base, without a change."
    _, open_ = tables.selection(attrs.evolve(single, confirmation=None, unconfirmed=10))
    assert open_ == (
        "Not confirmed: 10 runs with fresh seeds (1000 to 1004) are missing. `zoo study run` trains them, with the "
        "same options; the test images are looked at then."
    )


def test_where_simpler_designs_would_have_arrived_is_said_with_an_interval(crossed: StudyResult) -> None:
    assert tables.arrivals(crossed) == ["Greedy, the best first: would have arrived there, too."]
    other = Arrival(design="Stepwise", arm="leaky")
    assert tables.arrivals(attrs.evolve(crossed, found_by=(other,))) == ["Stepwise: would have arrived at leaky."]
    compared = Comparison(
        n=5, difference=-0.001, low=-0.004, high=0.002, p=0.5, p_adjusted=1.0, verdict="undecided", more_seeds=4
    )
    result = attrs.evolve(crossed, found_by=(attrs.evolve(other, comparison=compared),))
    assert tables.arrivals(result) == [
        "Stepwise: would have arrived at leaky, with fresh seeds -0.0010 [-0.0040, +0.0020] in validation recall to "
        "what was chosen: not distinguishable."
    ]
    row = frame(result).iloc[-1]
    assert (row["kind"], row["name"], row["treatment"], row["control"]) == (
        "arrival", "Stepwise", "leaky", crossed.chosen,
    )  # fmt: skip


def test_a_study_that_selects_on_test_shows_it_of_all(registry: Registry) -> None:
    result = one_at_a_time(registry, select="test")
    assert "difference: in test recall" in render(result)
    assert tables.selection(result)[0].startswith("Chosen by test recall: ")
    assert all(row["test recall"].text for row in tables.arms_table(result).rows)


def test_reference_figures_stand_beside_the_measured(single: StudyResult) -> None:
    (table,) = tables.references(single)
    (row,) = table.rows
    mean, half = mean_interval(list(single.arms[0].recalls["test"].values()))
    texts = {title: cell.text for title, cell in row.items()}
    assert texts["test reported"] == "0.9000"
    assert texts["test measured"] == f"{mean:.4f} ± {half:.4f}"
    assert (texts["time reported"], texts["source"], texts["note"]) == ("3h10min", "a report, 2021", "one seed")


def test_reference_figures_of_other_epochs_or_data_are_marked(single: StudyResult) -> None:
    (table,) = tables.references(single)
    assert "reported for" not in table.rows[0]
    base = single.arms[0]
    reference = attrs.evolve(base.spec.reference, epochs=300, dataset="cifar10")
    arm = attrs.evolve(base, spec=attrs.evolve(base.spec, reference=reference))
    (table,) = tables.references(attrs.evolve(single, arms=(arm, *single.arms[1:])))
    assert table.rows[0]["reported for"].text == "300 epochs on cifar10, not for what was measured"


def test_a_description_of_several_lines_is_one_line_of_the_heading(single: StudyResult) -> None:
    design = attrs.evolve(single.study.design, description="a\n\\input{b}")
    result = attrs.evolve(single, study=attrs.evolve(single.study, design=design))
    assert ": a \\input{b}" in tables.heading(result)[0] + tables.heading(result)[1]
    assert not any(line.startswith("\\input") for line in render(result, format_="latex").splitlines())


def test_ranks_and_the_pareto_front_are_shown(single: StudyResult) -> None:
    (table,) = tables.ranks(single)
    assert [row["arm"].text for row in table.rows] == [rank.arm for rank in single.ranks]
    for cost, words in (("seconds", "training time"), ("parameters", "parameters")):
        line = f"Not beaten in both recall and {words}: {', '.join(single.pareto[cost])}."
        assert line in tables.fronts(single)
    assert "training" in tables.arms_table(single).columns
    shared = attrs.evolve(single, pareto={"parameters": single.pareto["parameters"]})
    assert "training (not compared)" in tables.arms_table(shared).columns, (
        "times of runs that shared the machine say so"
    )
    assert "training time" not in " ".join(tables.fronts(shared))
    many = attrs.evolve(single.ranks[0], tied=("a", "b", "c", "d", "e"))
    (table,) = tables.ranks(attrs.evolve(single, ranks=(many,)))
    assert table.rows[0]["tied with"].text == "a, b, c and 2 more"


def test_a_widened_base_says_what_it_is_for(single: StudyResult) -> None:
    matched = attrs.evolve(single, matched={"base, as many parameters as bn": "bn"})
    assert "base, as many parameters as bn: for comparison with bn." in render(matched)


@pytest.mark.parametrize("format_", [f for f in tables.FORMATS if f not in ("csv", "json", "parquet")])
def test_every_format_holds_verdicts_arms_notes_and_the_command(format_: str, single: StudyResult) -> None:
    text = render(single, format_=format_).replace("\\", "")
    for expected in ("Verdicts", "size=5", "undecided" if "undecided" in tables.answer(single) else "helps", "3h10min"):
        assert expected in text
    assert f"{single.claims[1].comparison.difference:+.4f}" in text
    assert "zoo study run made-up --seeds 5" in text
    assert "activation nan is left out" in text


def test_markdown_is_a_document(single: StudyResult) -> None:
    odd = attrs.evolve(single.claims[0], change="a|b")
    text = render(attrs.evolve(single, claims=(odd,)), format_="markdown")
    assert "### Verdicts\n\n| change" in text
    assert "a\\|b" in text


def test_html_lines_are_escaped_and_latex_lines_are_comments(single: StudyResult) -> None:
    odd = attrs.evolve(single, notes=("<b>",), claims=())
    assert "<p>&lt;b&gt;</p>" in render(odd, format_="html")
    assert "% <b>" in render(odd, format_="latex")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_tables_fit_the_terminal(width: int, single: StudyResult, crossed: StudyResult, searched: StudyResult) -> None:
    for result in (single, crossed, searched):
        text = render(result, width=width)
        longest = max(text.splitlines(), key=len)
        assert len(longest) <= width, f"a line of {len(longest)} characters: {longest}"
        assert "difference [corrected]" in text
        if width >= 120:
            assert "No room for" not in text


def test_csv_json_and_parquet_are_the_frame(single: StudyResult, crossed: StudyResult) -> None:
    for result in (single, crossed):
        expected = frame(result)
        read = [
            pd.read_csv(io.StringIO(render(result, format_="csv"))),
            pd.DataFrame(json.loads(render(result, format_="json"))),
            pd.read_parquet(io.BytesIO(parquet(result))),
        ]
        for found in read:
            assert list(found.columns) == list(expected.columns)
            assert list(found["name"]) == list(expected["name"])
            assert found["difference"].to_list() == pytest.approx(expected["difference"].to_list(), abs=1e-12)
            assert found["p_adjusted"].to_list() == pytest.approx(expected["p_adjusted"].to_list(), abs=1e-12)


def test_the_frame_has_a_row_for_each_claim_or_effect_and_the_confirmation(
    single: StudyResult, crossed: StudyResult
) -> None:
    claims = frame(single)
    assert list(claims["kind"]) == ["claim"] * 5 + ["confirmation"]
    assert list(claims["part"]) == ["validation"] * 5 + ["test"]
    assert list(claims["verdict"][:5]) == [claim.comparison.verdict for claim in single.claims]
    assert set(claims["study"]) == {"made-up"}
    kinds = frame(crossed).groupby("kind").size().to_dict()
    assert kinds == {"main effect": 4, "interaction": 5, "confirmation": 1}
    assert len(frame(attrs.evolve(single, claims=(), confirmation=None))) == 0


def test_runs_have_a_row_for_each_arm_and_seed(single: StudyResult) -> None:
    numbers = {run.key: number for number, run in enumerate(single.arms[1].runs)}
    whole = runs(single, numbers)
    assert whole.groupby("use").size().to_dict() == {
        "selection": len(single.arms) * len(SEEDS),
        "confirmation": len(single.arms) * len(FRESH),
    }
    table = whole[whole["use"] == "selection"]
    assert table["run"].dropna().tolist() == list(numbers.values())
    assert len(table) == len(single.arms) * len(SEEDS)
    assert set(table.columns) >= {f"change.{name}" for name in CHANGES}
    means = table.groupby("arm")["validation_recall"].mean()
    for arm in single.arms:
        assert means[arm.name] == pytest.approx(mean_interval(list(arm.recalls["validation"].values()))[0])
    slow = table[table["arm"] == "slow"]
    assert list(slow["status"]) == ["finished", "diverged", "failed", "finished", "finished"]
    assert set(slow["change.slow"]) == {"slow"}
    assert set(slow["change.bn"]) == {"base"}
    assert slow["test_recall"].isna().all()
    fresh = whole[(whole["use"] == "confirmation") & (whole["arm"] == "base")]
    assert dict(zip(fresh["seed"], fresh["test_recall"], strict=True)) == single.arms[0].recalls["test"]


@pytest.mark.parametrize(
    ("format_", "message"),
    [
        ("markdwon", "no format of a study is called 'markdwon'; did you mean markdown?"),
        ("parquet", "parquet is no text; give a file to write it to, such as -o study.parquet"),
    ],
)
def test_a_format_that_cannot_be_printed_is_refused(format_: str, message: str, single: StudyResult) -> None:
    with pytest.raises(ZooError, match=re.escape(message)):
        render(single, format_=format_)


def test_parquet_without_pyarrow_says_what_to_install(single: StudyResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ZooError, match="parquet needs pyarrow: pip install pyarrow; or take format_='csv'"):
        parquet(single)


WORDS = st.text(alphabet="ab /[", min_size=1, max_size=25).map(str.strip).filter(bool)


@given(
    st.lists(st.tuples(WORDS, WORDS, st.integers(0, 10**6).map(str)), min_size=1, max_size=4),
    st.integers(20, 90),
)
def test_a_table_is_as_wide_as_allowed_or_has_nothing_left_to_fold(
    rows: list[tuple[str, str, str]], width: int
) -> None:
    texts = dict(zip(("first", "second", "number"), map(list, zip(*rows, strict=True)), strict=True))
    cells = {title: list(column) for title, column in texts.items()}
    left_out = fit(cells, width, folding=("first", "second"), left_out_first=("number",))
    drawn = tabulate(
        list(zip(*cells.values(), strict=True)), headers=list(cells), tablefmt="simple", disable_numparse=True
    )
    longest = max(map(len, drawn.splitlines()))
    narrowest = sum(column_width(t, [p.rstrip() for c in texts[t] for p in pieces(c)]) for t in ("first", "second")) + 2
    assert longest <= max(width, narrowest)
    assert left_out == (["number"] if narrowest + 2 + column_width("number", texts["number"]) > width else [])
    for title, column in cells.items():
        assert ["".join(cell.split()) for cell in column] == ["".join(cell.split()) for cell in texts[title]]


def test_differences_probabilities_and_seeds_are_written_for_people() -> None:
    assert difference(0.01234, 0.0045, 0.0201) == "+0.0123 [+0.0045, +0.0201]"
    assert difference(-0.5, None, None) == "-0.5000"
    assert difference(float("nan"), None, None) == ""
    assert probability(0.03123) == "0.0312"
    assert probability(0.00001) == "<0.0001"
    assert probability(None) == ""
    assert seed_span([0, 1, 2]) == "0 to 2"
    assert seed_span([0, 2, 7]) == "0, 2, 7"
    assert seed_span([0, 1, 4, 5, 6, 1000]) == "0, 1, 4 to 6, 1000"
