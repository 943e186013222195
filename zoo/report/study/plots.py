"""Plots of a study on matplotlib axes.

Every function draws on the axes that it is given, or on new ones of pyplot's, and returns them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from zoo.errors import UnknownNameError, ZooError, near_misses
from zoo.report.plots import (
    BLUE,
    GREY,
    LABEL,
    MOST_CLASSES,
    STYLES,
    VERMILION,
    Cost,
    confusion_matrix,
    curves,
    draw_matrix,
    given_or_new,
    ink,
    label_right,
    name_both,
    name_rows,
    plain,
    recall_against_cost,
    recall_axis,
    rows_height,
    styles,
)
from zoo.report.study import arms, tables
from zoo.report.study.said import said
from zoo.report.text import folded
from zoo.statistics.intervals import mean_interval
from zoo.statistics.results import Comparison
from zoo.study.definition import Part
from zoo.study.pooled import PooledResult
from zoo.study.result import Arm, StudyResult
from zoo.study.settings import Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERDICTS = {
    "helps": (BLUE, "o"),
    "hurts": (VERMILION, "s"),
    "no practical difference": (GREY, "D"),
    "undecided": (GREY, "o"),
}
"""Colour and marker; those of a claim that helps or hurts are filled."""

MOST_EFFECTS = 40
_WORDS = 16
"""Characters of a verdict in a line."""
_WIDE = 8
"""How many times the smallest setting the largest is where their axis is logarithmic."""


def effect_plot(result: StudyResult, ax: Axes | None = None) -> Axes:
    """Draw the difference in recall that each change makes, with its interval; the band is the margin.

    Of a factorial design these are the main effects, then the interactions; the largest 40 of more.
    """
    judged: list[tuple[str, Comparison, bool]] = [(claim.change, claim.comparison, False) for claim in result.claims]
    judged += [(effect.name, effect.comparison, len(effect.levels) > 1) for effect in result.effects]
    there_are = len(judged)
    if len(judged) > MOST_EFFECTS:
        kept = sorted(range(len(judged)), key=lambda i: -abs(judged[i][1].difference))[:MOST_EFFECTS]
        judged = [judged[i] for i in sorted(kept)]
    ax = given_or_new(ax, rows_height(len(judged)))
    margin = result.study.design.margin
    ax.axvspan(-margin, margin, color=GREY, alpha=0.2, linewidth=0)
    ax.axvline(0, color=ink(), linewidth=0.8)
    for row, (_, c, is_interaction) in enumerate(judged):
        color, marker = VERDICTS[c.verdict]
        low, high = (c.difference if end is None else end for end in (c.low, c.high))
        ax.plot([low, high], [row, row], color=color, linewidth=1.6)
        fill = color if c.verdict in ("helps", "hurts") else ax.get_facecolor()
        ax.plot([c.difference], [row], marker, color=color, markerfacecolor=fill, markersize=6)
        words = said(attrs.evolve(c, more_seeds=None), is_interaction=is_interaction)
        # Folded, as a long one takes its room from the axes.
        ax.annotate(
            folded(words, _WORDS), (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize="small"
        )
    name_rows(ax, [name for name, _, _ in judged])
    shown = f" ({len(judged)} of {there_are})" if len(judged) < there_are else ""
    ax.set_xlabel(f"difference in {result.study.design.select} recall, {tables.interval(result)}{shown}")
    return ax


def learning_curves(
    result: StudyResult, names: Sequence[str] | None = None, *, part: Part | None = None, ax: Axes | None = None
) -> Axes:
    """Draw macro recall after each epoch: the mean over the finished runs, and the band of its 95% interval.

    Args:
        result: what a study found.
        names: of the arms; the base, the chosen one and the best others, five in all, when left out.
        part: of the data; the one that the study selects on when left out.
        ax: where to draw.

    Raises:
        UnknownNameError: there is no such arm.
    """
    shown = _arms(result, names)
    ax = curves({arm.name: arms.finished(arm) for arm in shown}, part=part or result.study.design.select, ax=ax)
    if len(shown) < len(result.arms):
        ax.set_xlabel(f"epoch ({len(shown)} of {len(result.arms)} arms)")
    return ax


def sensitivity_plot(result: StudyResult, ax: Axes | None = None) -> Axes:
    """Draw mean recall at each setting with its 95% interval, a line for each arm; what was chosen is filled.

    Arms are those of `learning_curves`.

    Raises:
        ZooError: the study does not tune.
    """
    tuned = result.tuned
    if tuned is None:
        raise ZooError(f"study {result.study.name!r} tunes nothing: there are no settings to draw")
    ax = given_or_new(ax, 3.2)
    names = [arm.name for arm in arms.featured(result) if arm.name in tuned.arms]
    settings = [trial.setting for trial in tuned.of(tuned.arms[0])]
    stands = _stands(ax, settings)
    labels = []
    for number, ((color, line, marker), name) in enumerate(zip(STYLES, names, strict=False)):
        # Beside each other, so that intervals of equal means can be told apart.
        places = _beside(ax, stands, number - (len(names) - 1) / 2)
        trials = tuned.of(name)
        points = [mean_interval(list(trial.recalls.values())) for trial in trials]
        order = sorted(range(len(trials)), key=lambda i: places[i])
        ax.errorbar(
            [places[i] for i in order],
            [points[i][0] for i in order],
            [points[i][1] or 0.0 for i in order],
            color=color, linestyle=line, marker=marker, markerfacecolor=ax.get_facecolor(), markersize=5, capsize=3,
        )  # fmt: skip
        for place, (mean, _), trial in zip(places, points, trials, strict=True):
            if trial.chosen:
                ax.plot([place], [mean], marker, color=color, markersize=7, zorder=4)
        last = order[-1]
        if not math.isnan(points[last][0]):
            labels.append((places[last], points[last][0], name, color))
    recall_axis(ax, result.study.design.select)
    label_right(ax, labels)
    return ax


def interaction_matrix(result: StudyResult, ax: Axes | None = None) -> Axes:
    """Draw main effects on the diagonal, and how two changes alter each other's effect off it; bold where clear.

    A cell without a figure is one that the design does not tell from another.
    """
    levels = [(f.name, level.name) for f in result.study.factors for level in f.levels]
    places = {level: place for place, level in enumerate(levels)}
    ax = given_or_new(ax, 1.4 + 0.45 * len(levels))
    values = np.full((len(levels), len(levels)), np.nan)
    clear = np.zeros_like(values, dtype=bool)
    for effect in result.effects:
        found = [places[item] for item in effect.levels.items() if item in places]
        if len(found) == len(effect.levels):
            for at in ((found[0], found[-1]), (found[-1], found[0])):
                values[at] = effect.comparison.difference
                clear[at] = effect.comparison.verdict in ("helps", "hurts")
    bound = max((abs(v) for v in values[~np.isnan(values)]), default=0.0) or 1.0
    draw_matrix(ax, values, "PuOr_r", -bound, bound, lambda v: f"{v:+.3f}", bold=clear)
    names = [factor if factor == level else f"{factor}={level}" for factor, level in levels]
    name_both(ax, names)
    return ax


def interaction_plot(result: StudyResult, first: str, second: str, ax: Axes | None = None) -> Axes:
    """Draw mean recall for each level of one factor, a line for each level of another; parallel lines do not interact.

    Each point is the mean over all combinations of the other factors, with the 95% interval over seeds.

    Args:
        result: what a study with a factorial design found.
        first: name of the factor along the axis.
        second: name of the factor that has the lines.
        ax: where to draw.

    Raises:
        UnknownNameError: there is no such factor.
    """
    factors = {factor.name: factor for factor in result.study.factors}
    for name in (first, second):
        if name not in factors:
            raise UnknownNameError(f"the study has no factor {name!r}{near_misses(name, factors)}")
    ax = given_or_new(ax, 3.2)
    select = result.study.design.select
    along = ["base", *(level.name for level in factors[first].levels)]
    lines = ["base", *(level.name for level in factors[second].levels)]
    labels = []
    for number, ((color, style, marker), line) in enumerate(zip(styles(), lines, strict=False)):
        points = []
        for level in along:
            cells = [
                arm
                for arm in result.arms
                if arm.cell is not None
                and arm.changes.get(first, "base") == level
                and arm.changes.get(second, "base") == line
            ]
            points.append(_mean_over_cells([arm.recalls.get(select, {}) for arm in cells]))
        # Beside each other, so that intervals of equal means can be told apart.
        places = np.arange(len(along)) + 0.03 * (number - (len(lines) - 1) / 2)
        means = [mean for mean, _ in points]
        halves = [half or 0.0 for _, half in points]
        ax.errorbar(places, means, halves, color=color, linestyle=style, marker=marker, markersize=5, capsize=3)
        if not math.isnan(means[-1]):
            labels.append((float(places[-1]), means[-1], _level(second, line), color))
    ax.set_xticks(range(len(along)), [folded(plain(_level(first, level)), LABEL) for level in along])
    ax.set_xlim(-0.3, len(along) - 0.7)
    recall_axis(ax, select)
    label_right(ax, labels)
    return ax


def recall_against(result: StudyResult, cost: Cost = "seconds", ax: Axes | None = None) -> Axes:
    """Draw mean recall against training time, parameters or FLOPs; the line joins the arms that none beats in both.

    There is no line of times that were measured while runs shared the machine: they are not compared. Where all arms
    cost the same, they stand side by side by their recall.
    """
    select = result.study.design.select
    measure = {"seconds": arms.seconds, "parameters": arms.parameters, "flops": arms.flops}[cost]
    front = result.pareto.get(cost, ())
    return recall_against_cost(
        {arm.name: (measure(arm), *arms.recall(arm, select)) for arm in result.arms},
        cost,
        part=select,
        front=front,
        named={*front, result.chosen or "", result.arms[0].name},
        remark="" if cost in result.pareto else ", of runs that shared the machine",
        ax=ax,
    )


def class_recall(result: StudyResult, names: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Draw each class's mean recall difference to the base; the 30 classes that differ most of more.

    Args:
        result: what a study found.
        names: of the arms; the chosen one, or the best besides the base, when left out.
        ax: where to draw.

    Raises:
        UnknownNameError: there is no such arm.
    """
    if names is None:
        base = result.arms[0].name
        names = [
            n
            for n in (result.chosen or base, *(rank.arm for rank in result.ranks))
            if n != base and n in result.per_class
        ][:1]
    found = [(arm.name, result.per_class[arm.name]) for arm in _arms(result, names) if arm.name in result.per_class]
    most = [
        max((abs(figures[i]) for _, figures in found if not math.isnan(figures[i])), default=0.0)
        for i in range(len(result.classes))
    ]
    kept = sorted(sorted(range(len(most)), key=lambda i: -most[i])[:MOST_CLASSES])
    ax = given_or_new(ax, rows_height(len(kept)))
    ax.axvline(0, color=ink(), linewidth=0.8)
    for (color, _, marker), (name, figures) in zip(styles(), found, strict=False):
        values = [figures[i] for i in kept]
        ax.hlines(range(len(kept)), 0, values, color=color, linewidth=1)
        ax.plot(values, range(len(kept)), marker, color=color, markersize=5, label=plain(name))
    name_rows(ax, [result.classes[i] for i in kept])
    against = f"of {found[0][0]} " if len(found) == 1 else ""
    shown = f" ({len(kept)} of {len(result.classes)} classes)" if len(kept) < len(result.classes) else ""
    ax.set_xlabel(plain(f"{result.study.design.select} recall {against}less that of {result.arms[0].name}{shown}"))
    if len(found) > 1:
        ax.legend()
    return ax


def confusion(result: StudyResult, name: str, *, part: Part | None = None, ax: Axes | None = None) -> Axes:
    """Draw which classes an arm takes for which, in percent of the true class, all finished runs together.

    Args:
        result: what a study found.
        name: of the arm.
        part: of the data; the one that the study selects on when left out.
        ax: where to draw.

    Raises:
        UnknownNameError: there is no such arm.
    """
    (arm,) = _arms(result, [name])
    counts = arms.confusion(arm, part or result.study.design.select)
    size = len(result.classes)
    return confusion_matrix(np.zeros((size, size), dtype=np.int64) if counts is None else counts, result.classes, ax)


def forest_plot(result: PooledResult, change: str, ax: Axes | None = None) -> Axes:
    """Draw what a change does in each place and, as a diamond, in general; the band is the margin.

    The thin line below the diamond is where the difference lies that as many seeds would find elsewhere.

    Args:
        result: what a study over several places found.
        change: which.
        ax: where to draw.

    Raises:
        UnknownNameError: there is no such change.
    """
    claims = {claim.change: claim for claim in result.claims}
    if change not in claims:
        raise UnknownNameError(f"the study has no change {change!r}{near_misses(change, claims)}")
    claim, margin = claims[change], result.study.design.margin
    rows = [*claim.by_place.items(), ("pooled", claim.comparison)]
    ax = given_or_new(ax, rows_height(len(rows) + 1))
    ax.axvspan(-margin, margin, color=GREY, alpha=0.2, linewidth=0)
    ax.axvline(0, color=ink(), linewidth=0.8)
    for row, (_, c) in enumerate(rows):
        color, marker = VERDICTS[c.verdict]
        is_pooled = row == len(rows) - 1
        if math.isnan(c.difference):
            continue
        low, high = (c.difference if end is None else end for end in (c.low, c.high))
        fill = color if c.verdict in ("helps", "hurts") else ax.get_facecolor()
        if is_pooled:
            ax.fill([low, c.difference, high, c.difference], [row, row - 0.25, row, row + 0.25], edgecolor=color,
                    facecolor=fill, linewidth=1.6)  # fmt: skip
        else:
            ax.plot([low, high], [row, row], color=color, linewidth=1.6)
            ax.plot([c.difference], [row], marker, color=color, markerfacecolor=fill, markersize=6)
        words = c.verdict if not is_pooled or claim.pooled.over else "of these only"
        ax.annotate(words, (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize="small")
    names = [name for name, _ in rows]
    if claim.pooled.low is not None and claim.pooled.high is not None:
        ax.plot([claim.pooled.low, claim.pooled.high], [len(rows)] * 2, color=GREY, linewidth=0.9)
        names.append("elsewhere (95%)")
    name_rows(ax, names)
    ax.axhline(len(rows) - 1.5, color=GREY, linewidth=0.6, linestyle=":")
    ax.set_xlabel(f"difference in {result.study.design.select} recall, corrected intervals")
    return ax


def win_matrix(result: PooledResult, ax: Axes | None = None) -> Axes:
    """Draw how often the arm of a row is better than that of a column, in percent; bold where it is not 50."""
    names = list(dict.fromkeys(each.arm for each in result.wins))
    ax = given_or_new(ax, 1.4 + 0.45 * len(names))
    values = np.full((len(names), len(names)), np.nan)
    clear = np.zeros_like(values, dtype=bool)
    for each in result.wins:
        at = names.index(each.arm), names.index(each.other)
        values[at], clear[at] = 100 * each.rate, each.low > 0.5 or each.high < 0.5
    draw_matrix(ax, values, "PuOr_r", 0, 100, lambda v: f"{v:.0f}", bold=clear)
    name_both(ax, names)
    return ax


def _arms(result: StudyResult, names: Sequence[str] | None) -> list[Arm]:
    if names is None:
        return arms.featured(result, most=len(STYLES))
    known = {arm.name: arm for arm in result.arms}
    for name in names:
        if name not in known:
            raise UnknownNameError(f"the study has no arm {name!r}{near_misses(name, known)}")
    return [known[name] for name in names]


def _beside(ax: Axes, places: Sequence[float], steps: float) -> list[float]:
    """Return places moved by so many steps, each a hundredth of the axis."""
    low, high = min(places), max(places)
    if ax.get_xscale() == "log":
        return [place * (high / low) ** (steps / 100) for place in places]
    return [place + (high - low) * steps / 100 for place in places]


def _stands(ax: Axes, settings: Sequence[Setting]) -> list[float]:
    """Prepare the axis of settings, and return where each stands: at its value, or one beside the other."""
    values = [list(setting.values.items()) for setting in settings]
    (path, _), *others = values[0]
    numbers = [float(own[0][1]) for own in values if type(own[0][1]) in (int, float)]
    if others or len(numbers) < len(values):
        ax.set_xticks(range(len(settings)), [folded(plain(setting.label), LABEL) for setting in settings])
        ax.tick_params(axis="x", rotation=30)
        return [float(position) for position in range(len(settings))]
    if min(numbers) > 0 and max(numbers) >= _WIDE * min(numbers):
        ax.set_xscale("log")
        ax.minorticks_off()
    ax.set_xticks(numbers, [f"{number:g}" for number in numbers])
    ax.set_xlabel(plain(path))
    return numbers


def _level(factor: str, level: str) -> str:
    if level == "base":
        return f"without {factor}"
    return level if level == factor else f"{factor}={level}"


def _mean_over_cells(recalls: Sequence[Mapping[int, float]]) -> tuple[float, float | None]:
    """Return the mean over combinations, and its interval over the seeds that all of them have."""
    seeds = sorted(set.intersection(*(set(r) for r in recalls))) if recalls else []
    return mean_interval([float(np.mean([r[seed] for r in recalls])) for seed in seeds])
