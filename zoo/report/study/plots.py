"""Plots of a study on matplotlib axes.

Every function draws on the axes that it is given, or on new ones of pyplot's, and returns them. Colours are those of
Okabe and Ito (2008, Color Universal Design), which colour-blind people can tell apart; line styles and markers say the
same in grey.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs
import numpy as np

from zoo.errors import UnknownNameError, ZooError, near_misses
from zoo.report.study import arms, tables
from zoo.report.study.said import said
from zoo.report.text import duration, folded, quantity
from zoo.statistics.intervals import mean_interval
from zoo.statistics.results import Comparison
from zoo.study.definition import Part
from zoo.study.measure import epoch_recall
from zoo.study.pooled import PooledResult
from zoo.study.result import Arm, StudyResult
from zoo.study.settings import Setting
from zoo.train.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Cost = Literal["seconds", "parameters", "flops"]

BLUE, VERMILION, GREEN, ORANGE, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#7f7f7f"
STYLES: tuple[tuple[str, Any, str], ...] = (
    (BLUE, "-", "o"),
    (VERMILION, "--", "s"),
    (GREEN, "-.", "^"),
    (ORANGE, ":", "D"),
    (PURPLE, (0, (5, 1, 1, 1)), "v"),
)
VERDICTS = {
    "helps": (BLUE, "o"),
    "hurts": (VERMILION, "s"),
    "no practical difference": (GREY, "D"),
    "undecided": (GREY, "o"),
}
"""Colour and marker; those of a claim that helps or hurts are filled."""

LABEL = 22
"""Characters of a name in a line."""
MOST_EFFECTS = 40
MOST_CLASSES = 30
_ANNOTATED_CLASSES = 12
_TICKED_CLASSES = 30
_WIDE = 8
"""How many times the smallest setting the largest is where their axis is logarithmic."""


def rows_height(rows: int) -> float:
    """Return the height in inches of a plot with a row for each of so many things."""
    return 0.9 + 0.34 * rows


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
    ax = _axes(ax, rows_height(len(judged)))
    margin = result.study.design.margin
    ax.axvspan(-margin, margin, color=GREY, alpha=0.2, linewidth=0)
    ax.axvline(0, color=_ink(), linewidth=0.8)
    for row, (_, c, is_interaction) in enumerate(judged):
        color, marker = VERDICTS[c.verdict]
        low, high = (c.difference if end is None else end for end in (c.low, c.high))
        ax.plot([low, high], [row, row], color=color, linewidth=1.6)
        fill = color if c.verdict in ("helps", "hurts") else ax.get_facecolor()
        ax.plot([c.difference], [row], marker, color=color, markerfacecolor=fill, markersize=6)
        words = said(attrs.evolve(c, more_seeds=None), is_interaction=is_interaction)
        ax.annotate(words, (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize="small")
    _rows(ax, [name for name, _, _ in judged])
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


def curves(runs: Mapping[str, Sequence[Run]], *, part: str, ax: Axes | None = None) -> Axes:
    """Draw macro recall after each epoch: the mean over runs, and the band of its 95% interval.

    Args:
        runs: finished ones, by the name of the line.
        part: of the data.
        ax: where to draw.
    """
    from matplotlib.ticker import MaxNLocator

    ax = _axes(ax, 3.2)
    labels = []
    for (color, line, _), (name, own) in zip(_styles(), runs.items(), strict=False):
        by_epoch: dict[int, list[float]] = {}
        for run in own:
            for epoch in run.epochs:
                recall = epoch_recall(epoch, part)
                if not math.isnan(recall):
                    by_epoch.setdefault(epoch.epoch, []).append(recall)
        if not by_epoch:
            continue
        epochs = sorted(by_epoch)
        points = [mean_interval(by_epoch[epoch]) for epoch in epochs]
        means = np.array([mean for mean, _ in points])
        halves = np.array([half or 0.0 for _, half in points])
        ax.plot(epochs, means, color=color, linestyle=line, marker="." if len(epochs) == 1 else None)
        ax.fill_between(epochs, means - halves, means + halves, color=color, alpha=0.18, linewidth=0)
        labels.append((float(epochs[-1]), float(means[-1]), name, color))
    ax.set_xlabel("epoch")
    _recall_axis(ax, part)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    _label_right(ax, labels)
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
    ax = _axes(ax, 3.2)
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
    _recall_axis(ax, result.study.design.select)
    _label_right(ax, labels)
    return ax


def interaction_matrix(result: StudyResult, ax: Axes | None = None) -> Axes:
    """Draw main effects on the diagonal, and how two changes alter each other's effect off it; bold where clear.

    A cell without a figure is one that the design does not tell from another.
    """
    levels = [(f.name, level.name) for f in result.study.factors for level in f.levels]
    places = {level: place for place, level in enumerate(levels)}
    ax = _axes(ax, 1.4 + 0.45 * len(levels))
    values = np.full((len(levels), len(levels)), np.nan)
    clear = np.zeros_like(values, dtype=bool)
    for effect in result.effects:
        found = [places[item] for item in effect.levels.items() if item in places]
        if len(found) == len(effect.levels):
            for at in ((found[0], found[-1]), (found[-1], found[0])):
                values[at] = effect.comparison.difference
                clear[at] = effect.comparison.verdict in ("helps", "hurts")
    bound = max((abs(v) for v in values[~np.isnan(values)]), default=0.0) or 1.0
    _cells(ax, values, "PuOr_r", -bound, bound, lambda v: f"{v:+.3f}", bold=clear)
    names = [factor if factor == level else f"{factor}={level}" for factor, level in levels]
    _both_ticks(ax, names)
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
    ax = _axes(ax, 3.2)
    select = result.study.design.select
    along = ["base", *(level.name for level in factors[first].levels)]
    lines = ["base", *(level.name for level in factors[second].levels)]
    labels = []
    for number, ((color, style, marker), line) in enumerate(zip(_styles(), lines, strict=False)):
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
    ax.set_xticks(range(len(along)), [folded(_plain(_level(first, level)), LABEL) for level in along])
    ax.set_xlim(-0.3, len(along) - 0.7)
    _recall_axis(ax, select)
    _label_right(ax, labels)
    return ax


def recall_against(result: StudyResult, cost: Cost = "seconds", ax: Axes | None = None) -> Axes:
    """Draw mean recall against training time, parameters or FLOPs; the line joins the arms that none beats in both.

    There is no line of times that were measured while runs shared the machine: they are not compared. Where all arms
    cost the same, they stand side by side by their recall.
    """
    ax = _axes(ax, 3.2)
    select = result.study.design.select
    measure = {"seconds": arms.seconds, "parameters": arms.parameters, "flops": arms.flops}[cost]
    front = result.pareto.get(cost, ())
    told = {*front, result.chosen or "", result.arms[0].name}
    points = {arm.name: (measure(arm), *arms.recall(arm, select)) for arm in result.arms}
    points = {name: point for name, point in points.items() if not any(map(math.isnan, point[:2]))}
    shared = arms.shared_cost(result, cost)
    if shared is not None:
        in_order = sorted(points, key=lambda name: points[name][1])
        points = {name: (float(place), *points[name][1:]) for place, name in enumerate(in_order)}
        front = ()
    labels = []
    for name, (x, y, half) in points.items():
        color, fill = (BLUE, BLUE) if name in front else (GREY, ax.get_facecolor())
        ax.errorbar([x], [y], [half or 0.0], color=color, linewidth=0.8)
        ax.plot([x], [y], "o" if name in front else "D", color=color, markerfacecolor=fill, markersize=5)
        if name in told:
            labels.append((x, y, name, GREY))
    on_front = sorted(points[name][:2] for name in front if name in points)
    ax.step([x for x, _ in on_front], [y for _, y in on_front], where="post", color=BLUE, linewidth=1)
    if shared is not None:
        ax.set_xticks([])
        ax.set_xlabel(f"{tables.COSTS[cost]}: {quantity(shared)} for all")
        _recall_axis(ax, select)
        _label_right(ax, labels)
        return ax
    costs = [x for x, _, _ in points.values()]
    if costs and min(costs) > 0 and max(costs) > 5 * min(costs):
        ax.set_xscale("log")
    are_close = bool(costs) and max(costs) < 1.05 * min(costs)
    write: Callable[[float], str] = duration
    if cost != "seconds":
        write = (lambda x: f"{x:,.0f}") if are_close else quantity
    ax.xaxis.set_major_formatter(lambda x, _: write(x))
    ax.xaxis.set_minor_formatter(lambda x, _: "")
    if ax.get_xscale() == "linear":
        ax.locator_params(axis="x", nbins=4)
    ax.set_xlabel(tables.COSTS[cost] + ("" if cost in result.pareto else ", of runs that shared the machine"))
    _recall_axis(ax, select)
    _label_right(ax, labels)
    return ax


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
    ax = _axes(ax, rows_height(len(kept)))
    ax.axvline(0, color=_ink(), linewidth=0.8)
    for (color, _, marker), (name, figures) in zip(_styles(), found, strict=False):
        values = [figures[i] for i in kept]
        ax.hlines(range(len(kept)), 0, values, color=color, linewidth=1)
        ax.plot(values, range(len(kept)), marker, color=color, markersize=5, label=_plain(name))
    _rows(ax, [result.classes[i] for i in kept])
    against = f"of {found[0][0]} " if len(found) == 1 else ""
    shown = f" ({len(kept)} of {len(result.classes)} classes)" if len(kept) < len(result.classes) else ""
    ax.set_xlabel(_plain(f"{result.study.design.select} recall {against}less that of {result.arms[0].name}{shown}"))
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
    ax = _axes(ax, 1.5 + 0.33 * min(size, _ANNOTATED_CLASSES))
    if counts is None:
        counts = np.zeros((size, size), dtype=np.int64)
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(100 * counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    write = (lambda v: f"{v:.0f}" if v >= 0.5 else "") if size <= _ANNOTATED_CLASSES else None
    _cells(ax, share, "Blues", 0, 100, write)
    _both_ticks(ax, result.classes)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    return ax


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
    ax = _axes(ax, rows_height(len(rows) + 1))
    ax.axvspan(-margin, margin, color=GREY, alpha=0.2, linewidth=0)
    ax.axvline(0, color=_ink(), linewidth=0.8)
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
    _rows(ax, names)
    ax.axhline(len(rows) - 1.5, color=GREY, linewidth=0.6, linestyle=":")
    ax.set_xlabel(f"difference in {result.study.design.select} recall, corrected intervals")
    return ax


def win_matrix(result: PooledResult, ax: Axes | None = None) -> Axes:
    """Draw how often the arm of a row is better than that of a column, in percent; bold where it is not 50."""
    names = list(dict.fromkeys(each.arm for each in result.wins))
    ax = _axes(ax, 1.4 + 0.45 * len(names))
    values = np.full((len(names), len(names)), np.nan)
    clear = np.zeros_like(values, dtype=bool)
    for each in result.wins:
        at = names.index(each.arm), names.index(each.other)
        values[at], clear[at] = 100 * each.rate, each.low > 0.5 or each.high < 0.5
    _cells(ax, values, "PuOr_r", 0, 100, lambda v: f"{v:.0f}", bold=clear)
    _both_ticks(ax, names)
    return ax


def _axes(ax: Axes | None, height: float) -> Axes:
    """Return the axes to draw on: those given, or new ones of pyplot's."""
    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(figsize=(6.4, height), layout="constrained")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
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
        ax.set_xticks(range(len(settings)), [folded(_plain(setting.label), LABEL) for setting in settings])
        ax.tick_params(axis="x", rotation=30)
        return [float(position) for position in range(len(settings))]
    if min(numbers) > 0 and max(numbers) >= _WIDE * min(numbers):
        ax.set_xscale("log")
        ax.minorticks_off()
    ax.set_xticks(numbers, [f"{number:g}" for number in numbers])
    ax.set_xlabel(_plain(path))
    return numbers


def _styles() -> list[tuple[str, Any, str]]:
    """Return colour, line style and marker of one line after another; they begin again where there are many."""
    return [*STYLES] * 20


def _level(factor: str, level: str) -> str:
    if level == "base":
        return f"without {factor}"
    return level if level == factor else f"{factor}={level}"


def _mean_over_cells(recalls: Sequence[Mapping[int, float]]) -> tuple[float, float | None]:
    """Return the mean over combinations, and its interval over the seeds that all of them have."""
    seeds = sorted(set.intersection(*(set(r) for r in recalls))) if recalls else []
    return mean_interval([float(np.mean([r[seed] for r in recalls])) for seed in seeds])


def _plain(text: str) -> str:
    """Return a text that matplotlib shows as it is, without taking dollar signs for formulas."""
    return text.replace("$", r"\$")


def _recall_axis(ax: Axes, part: str) -> None:
    """Name the axis, and show no more of a wide interval than a recall can be."""
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -0.02), min(high, 1.02))
    ax.set_ylabel(f"{part} recall")


def _ink() -> Any:
    from matplotlib import rcParams

    return rcParams["text.color"]


def _rows(ax: Axes, names: Sequence[str]) -> None:
    """Name rows from the top."""
    ax.set_yticks(range(len(names)), [folded(_plain(name), LABEL) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.locator_params(axis="x", nbins=5)


def _both_ticks(ax: Axes, names: Sequence[str]) -> None:
    """Name the columns and rows of a matrix; every n-th where there are many."""
    every = 1 + (len(names) - 1) // _TICKED_CLASSES
    places = range(0, len(names), every)
    shown = [folded(_plain(names[place]), LABEL) for place in places]
    long = max(map(len, shown), default=0) > 3
    middles = [place + 0.5 for place in places]
    ax.set_xticks(middles, shown, rotation=45 if long else 0, ha="right" if long else "center", rotation_mode="anchor")
    ax.set_yticks(middles, shown)


def _cells(
    ax: Axes,
    values: Any,
    colors: str,
    low: float,
    high: float,
    write: Callable[[float], str] | None,
    *,
    bold: Any = None,
) -> None:
    """Draw a matrix, its first row on top, as shapes and not as an image, with the values written in."""
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    ax.pcolormesh(np.ma.masked_invalid(values), cmap=colors, norm=Normalize(low, high), edgecolors=GREY, linewidth=0.3)
    ax.invert_yaxis()
    ax.set_aspect("equal")
    rows, columns = values.shape
    for row in range(rows):
        for column in range(columns):
            value = values[row, column]
            if write is None or np.isnan(value):
                continue
            red, green, blue, _ = colormaps[colors]((value - low) / (high - low))
            is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
            ax.text(
                column + 0.5,
                row + 0.5,
                write(float(value)),
                ha="center",
                va="center",
                fontsize="small",
                color="#ffffff" if is_dark else "#000000",
                fontweight="bold" if bold is not None and bold[row, column] else "normal",
            )


def _label_right(ax: Axes, labels: Sequence[tuple[float, float, str, str]]) -> None:
    """Name points at the right of the axes, each joined to its name by a thin line, none over another.

    Args:
        ax: whose points, with all else drawn.
        labels: x, y, name and colour of each point.
    """
    if not labels:
        return
    ax.set_xlim(ax.get_xlim())
    ax.set_ylim(ax.get_ylim())
    texts = [folded(_plain(name), LABEL) for _, _, name, _ in labels]
    to_axes = ax.transData + ax.transAxes.inverted()
    wanted = [float(to_axes.transform((x, y))[1]) for x, y, _, _ in labels]
    figure = ax.get_figure(root=True)
    assert figure is not None
    line = 12 / (72 * ax.get_position().height * figure.get_figheight())  # a line of text is about 12 points high
    heights = [line * (1 + text.count("\n")) for text in texts]
    for place, text, (x, y, _, color) in zip(_spread(wanted, heights), texts, labels, strict=True):
        ax.annotate(
            text,
            (x, y),
            xytext=(1.04, place),
            textcoords="axes fraction",
            va="center",
            fontsize="small",
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "linewidth": 0.8,
                "linestyle": ":",
                "shrinkA": 1,
                "shrinkB": 3,
            },
        )


def _spread(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Return places near the wanted ones, as far apart as the heights ask for, within 0 and 1 where there is room."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    places = list(wanted)
    for below, above in itertools.pairwise(order):
        places[above] = max(places[above], places[below] + (heights[below] + heights[above]) / 2)
    places[order[-1]] = min(places[order[-1]], 1.0)
    for above, below in zip(order[::-1], order[-2::-1], strict=False):
        places[below] = min(places[below], places[above] - (heights[below] + heights[above]) / 2)
    return places
