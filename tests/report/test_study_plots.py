"""Plots of a study: what they draw is what was measured."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import attrs
import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import CHANGES, factorial, one_at_a_time
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zoo.errors import UnknownNameError
from zoo.registry import Registry
from zoo.report.plots import name_rows, spread
from zoo.report.study import plots, tables
from zoo.report.study.tables import runs
from zoo.study.measure import measured
from zoo.study.result import StudyResult


@pytest.fixture(scope="module")
def single(registry: Registry) -> StudyResult:
    return one_at_a_time(registry)


@pytest.fixture(scope="module")
def crossed(registry: Registry) -> StudyResult:
    return factorial(registry)


def axes() -> Axes:
    return Figure().add_subplot()


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def ticks(labels: list[matplotlib.text.Text]) -> list[str]:
    return [label.get_text() for label in labels]


def test_the_effect_plot_shows_each_claim_with_its_interval(single: StudyResult) -> None:
    ax = axes()
    assert plots.effect_plot(single, ax) is ax
    assert ticks(ax.get_yticklabels()) == [claim.change for claim in single.claims]
    points = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
    assert points == [claim.comparison.difference for claim in single.claims]
    spans = [tuple(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2][
        1:
    ]  # the first is the zero line
    assert spans == [(claim.comparison.low, claim.comparison.high) for claim in single.claims]
    assert texts(ax) == [claim.comparison.verdict for claim in single.claims], (
        "colours are never all that tells them apart"
    )


def test_two_changes_do_more_or_less_together(crossed: StudyResult) -> None:
    ax = plots.effect_plot(crossed, axes())
    said = dict(zip(ticks(ax.get_yticklabels()), texts(ax), strict=True))
    assert said["leaky x bn"] == "less together"
    assert said["bn"] == "helps"


def test_of_many_effects_the_largest_are_shown(single: StudyResult) -> None:
    small = attrs.evolve(single.claims[0].comparison, difference=1e-6)
    claims = [attrs.evolve(single.claims[0], change=f"c{i}", comparison=small) for i in range(plots.MOST_EFFECTS)]
    ax = plots.effect_plot(attrs.evolve(single, claims=(*claims, *single.claims[1:])), axes())
    shown = ticks(ax.get_yticklabels())
    assert len(shown) == plots.MOST_EFFECTS
    assert shown[-4:] == [claim.change for claim in single.claims[1:]]


def test_learning_curves_are_means_over_finished_runs(single: StudyResult) -> None:
    ax = plots.learning_curves(single, ["base", "slow"], part="train", ax=axes())
    for line, name in zip(ax.lines, ("base", "slow"), strict=True):
        finished = [run for run in single.arm(name).runs if run.status == "finished"]
        assert line.get_ydata()[-1] == pytest.approx(np.mean([measured(run, "train") for run in finished]))
        assert list(line.get_xdata()) == list(range(1, 11))
    assert len({line.get_linestyle() for line in ax.lines}) == 2, "they can be told apart in grey"
    assert texts(ax) == ["base", "slow"]
    assert ax.get_ylabel() == "train recall"


def test_learning_curves_show_base_chosen_and_best(single: StudyResult) -> None:
    ax = plots.learning_curves(single, ax=axes())
    assert texts(ax)[:2] == ["base", single.chosen]
    assert len(ax.lines) == 5


def test_the_interaction_matrix_is_symmetric_and_has_all_effects(crossed: StudyResult) -> None:
    ax = plots.interaction_matrix(crossed, axes())
    values = ax.collections[0].get_array()
    assert np.ma.allequal(values, values.T)
    names = ["leaky", "bn", "size=5", "size=7"]
    assert ticks(ax.get_yticklabels()) == names
    for effect in crossed.effects:
        first, *others = [names.index(part) for part in effect.name.split(" x ")]
        assert values[first, others[0] if others else first] == effect.comparison.difference
    assert values.mask[2, 3], "two levels of one factor have no interaction"
    bold = {text.get_text() for text in ax.texts if text.get_fontweight() == "bold"}
    clear = {f"{e.comparison.difference:+.3f}" for e in crossed.effects if e.comparison.verdict in ("helps", "hurts")}
    assert bold == clear


def test_an_interaction_plot_shows_means_over_the_other_factors(crossed: StudyResult) -> None:
    ax = plots.interaction_plot(crossed, "leaky", "size", axes())
    table = runs(crossed, {})
    means = table[table["use"] == "selection"].groupby(["change.size", "change.leaky"])["validation_recall"].mean()
    for container, level in zip(ax.containers, ("base", "5", "7"), strict=True):
        drawn = container.lines[0].get_ydata()
        assert drawn == pytest.approx([means[level, "base"], means[level, "leaky"]])
    assert texts(ax) == ["without size", "size=5", "size=7"]
    assert ticks(ax.get_xticklabels()) == ["without leaky", "leaky"]


@pytest.mark.parametrize("cost", ["seconds", "parameters", "flops"])
def test_recall_against_cost_joins_the_pareto_front(cost: plots.Cost, single: StudyResult) -> None:
    ax = plots.recall_against(single, cost, axes())
    step = ax.lines[-1]
    assert len(step.get_xdata()) == len(single.pareto[cost])
    assert set(texts(ax)) == {*single.pareto[cost], "base", single.chosen}
    assert list(step.get_xdata()) == sorted(step.get_xdata())


def test_costs_that_are_close_are_written_in_full(single: StudyResult) -> None:
    base, other = single.arms[:2]
    runs_of = {
        arm.name: [attrs.evolve(run, parameters=size) for run in arm.runs]
        for arm, size in ((base, 107_500), (other, 107_900))
    }
    close = tuple(attrs.evolve(arm, runs=tuple(runs_of[arm.name])) for arm in (base, other))
    ax = plots.recall_against(attrs.evolve(single, arms=close, chosen="base", pareto={}), "parameters", axes())
    labels = ax.xaxis.get_major_formatter().format_ticks(ax.get_xticks())
    assert len(set(labels)) == len(labels), f"labels that cannot be told apart: {labels}"


def test_no_more_is_shown_than_a_recall_can_be(single: StudyResult) -> None:
    wide = attrs.evolve(single.arms[0], recalls={"validation": {0: 0.0, 1: 1.0}})
    ax = plots.recall_against(attrs.evolve(single, arms=(wide,), chosen="base"), "parameters", axes())
    assert ax.get_ylim() == (-0.02, 1.02)


def test_times_of_runs_that_shared_the_machine_have_no_front(single: StudyResult) -> None:
    ax = plots.recall_against(attrs.evolve(single, pareto={}), "seconds", axes())
    assert ax.get_xlabel() == "training time, of runs that shared the machine"
    assert len(ax.lines[-1].get_xdata()) == 0


def test_class_recall_shows_each_class(single: StudyResult) -> None:
    ax = plots.class_recall(single, ax=axes())
    assert ticks(ax.get_yticklabels()) == list(single.classes)
    assert list(ax.lines[-1].get_xdata()) == list(single.per_class[single.chosen])
    assert ax.get_xlabel() == "validation recall of bn less that of base"
    ax = plots.class_recall(single, ["bn", "slow"], axes())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["bn", "slow"]


def test_of_many_classes_those_that_differ_most_are_shown(single: StudyResult) -> None:
    figures = tuple(0.001 * i for i in range(50))
    many = attrs.evolve(single, classes=tuple(f"class {i}" for i in range(50)), per_class={"bn": figures})
    ax = plots.class_recall(many, ax=axes())
    assert ticks(ax.get_yticklabels()) == [f"class {i}" for i in range(20, 50)]


def test_a_class_that_never_occurs_has_no_point(single: StudyResult) -> None:
    figures = (math.nan, *single.per_class["bn"][1:])
    ax = plots.class_recall(attrs.evolve(single, per_class={"bn": figures}), ax=axes())
    assert math.isnan(ax.lines[-1].get_xdata()[0])


def test_confusion_is_in_percent_of_the_true_class(single: StudyResult) -> None:
    ax = plots.confusion(single, "bn", part="test", ax=axes())
    share = np.asarray(ax.collections[0].get_array())
    assert share.sum(axis=1) == pytest.approx([100] * 10)
    recalls = [measured(run, "test") for run in single.arm("bn").fresh]
    assert share.diagonal().mean() == pytest.approx(100 * np.mean(recalls))
    assert f"{share[0, 0]:.0f}" in texts(ax)


def test_confusion_without_a_finished_run_is_empty(single: StudyResult) -> None:
    arm = single.arm("slow")
    failed = attrs.evolve(arm, runs=tuple(run for run in arm.runs if run.status == "failed"))
    ax = plots.confusion(attrs.evolve(single, arms=(*single.arms[:-1], failed)), "slow", ax=axes())
    assert np.ma.getmaskarray(ax.collections[0].get_array()).all()


def test_names_are_shown_as_they_are(registry: Registry) -> None:
    changes = {"$a$ & b_c": CHANGES["bn"], "plain": CHANGES["slow"]}
    result = one_at_a_time(registry, (0, 1), changes=changes)
    figure = Figure()
    ax = plots.effect_plot(result, figure.add_subplot())
    figure.canvas.draw()
    shown = ax.get_yticklabels()[0]
    assert shown._preprocess_math(shown.get_text()) == ("$a$ & b_c", False)


def test_one_seed_and_no_figures_can_be_drawn(registry: Registry) -> None:
    result = one_at_a_time(registry, (1,))
    for draw in (plots.effect_plot, plots.learning_curves, plots.recall_against, plots.class_recall):
        figure = Figure()
        draw(result, ax=figure.add_subplot())
        figure.canvas.draw()


def test_unknown_names_are_refused(single: StudyResult, crossed: StudyResult) -> None:
    with pytest.raises(UnknownNameError, match=r"the study has no arm 'leeky'; did you mean leaky\?"):
        plots.learning_curves(single, ["leeky"], ax=axes())
    with pytest.raises(UnknownNameError, match="the study has no arm 'other'"):
        plots.confusion(single, "other", ax=axes())
    with pytest.raises(UnknownNameError, match=r"the study has no factor 'sise'; did you mean size\?"):
        plots.interaction_plot(crossed, "leaky", "sise", axes())


def test_without_axes_a_figure_is_made(single: StudyResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    from matplotlib import pyplot

    ax = plots.effect_plot(single)
    assert ax.get_figure() is pyplot.gcf()
    pyplot.close("all")


def test_nothing_is_imported_before_it_is_drawn() -> None:
    code = (
        "import sys, zoo.report.study.plots, zoo.report.study.page; print({'matplotlib', 'torch'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0.05, 0.1, 0.15])), min_size=1, max_size=12))
def test_labels_stay_in_order_and_never_lie_over_each_other(labels: list[tuple[float, float]]) -> None:
    wanted, heights = zip(*labels, strict=True)
    places = spread(wanted, heights)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    for below, above in itertools.pairwise(order):
        assert places[above] - places[below] >= (heights[below] + heights[above]) / 2 - 1e-9
    assert max(places) <= 1
    if sum(heights) <= 1:
        assert min(places) >= -1e-9


def test_arms_that_cost_the_same_stand_side_by_side(single: StudyResult) -> None:
    alike = attrs.evolve(
        single,
        arms=tuple(
            attrs.evolve(arm, runs=tuple(attrs.evolve(run, flops=5000) for run in arm.runs)) for arm in single.arms
        ),
    )
    ax = plots.recall_against(alike, "flops", axes())
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if line.get_marker() in ("o", "D")]
    assert sorted(x for x, _ in points) == list(range(len(points)))
    assert [y for _, y in sorted(points)] == sorted(y for _, y in points)
    assert ax.get_xlabel() == "FLOPs: 5k for all"
    assert not ax.get_xticks().size
    assert set(texts(ax)) == {"base", single.chosen}
    assert "All arms have 5k FLOPs." in tables.fronts(alike)
    assert not any("recall and FLOPs" in line for line in tables.fronts(alike))


def test_where_not_all_is_drawn_it_is_said_how_many_of_how_many(single: StudyResult) -> None:
    assert len(single.arms) > 5
    assert plots.learning_curves(single, ax=axes()).get_xlabel() == f"epoch (5 of {len(single.arms)} arms)"
    few = [arm.name for arm in single.arms[:2]]
    assert plots.learning_curves(single, few, ax=axes()).get_xlabel() == f"epoch (2 of {len(single.arms)} arms)"
    every = [arm.name for arm in single.arms]
    assert plots.learning_curves(single, every, ax=axes()).get_xlabel() == "epoch"
    small = attrs.evolve(single.claims[0].comparison, difference=1e-6)
    many = [attrs.evolve(single.claims[0], change=f"c{i}", comparison=small) for i in range(plots.MOST_EFFECTS + 3)]
    ax = plots.effect_plot(attrs.evolve(single, claims=tuple(many)), axes())
    assert ax.get_xlabel().endswith(f"({plots.MOST_EFFECTS} of {len(many)})")


def test_ticks_of_a_narrow_plot_do_not_run_into_each_other() -> None:
    """Long names and remarks leave little room: of a wide range, "-1.0-0.50.0" was one text."""
    figure = Figure(figsize=(1.6, 3), layout="constrained")
    ax = figure.add_subplot()
    ax.plot([-1.33, 0.52], [0, 1])
    name_rows(ax, ["adahessian=three times", "base"])
    figure.canvas.draw()
    low, high = ax.get_xlim()
    boxes = [
        label.get_window_extent()
        for place, label in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
        if low <= place <= high
    ]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes)), boxes
