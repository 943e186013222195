"""Plots on matplotlib axes that know runs and numbers only, and what all plots have in common.

Every function draws on the axes that it is given, or on new ones of pyplot's, and returns them. Colours are those of
Okabe and Ito (2008, Color Universal Design), which colour-blind people can tell apart; line styles and markers say the
same in grey.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from zoo.report.text import duration, folded, quantity
from zoo.statistics.intervals import mean_interval
from zoo.study.measure import epoch_recall
from zoo.train.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Cost = Literal["seconds", "time_ratio", "parameters", "flops"]
COSTS: Mapping[str, str] = {
    "seconds": "training time",
    "time_ratio": "training time relative to the usual one",
    "parameters": "parameters",
    "flops": "FLOPs",
}
_MEASURED = ("seconds", "time_ratio")
"""Costs that differ a little where they are the same."""

BLUE, VERMILION, GREEN, ORANGE, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#7f7f7f"
STYLES: tuple[tuple[str, Any, str], ...] = (
    (BLUE, "-", "o"),
    (VERMILION, "--", "s"),
    (GREEN, "-.", "^"),
    (ORANGE, ":", "D"),
    (PURPLE, (0, (5, 1, 1, 1)), "v"),
)
LABEL = 22
"""Characters of a name in a line."""
MOST_CLASSES = 30
"""Classes that a plot has a row for."""
_ANNOTATED_CLASSES = 12
_TICKED_CLASSES = 30


def rows_height(rows: int) -> float:
    """Return the height in inches of a plot with a row for each of so many things."""
    return 0.9 + 0.34 * rows


def curves(runs: Mapping[str, Sequence[Run]], *, part: str, ax: Axes | None = None) -> Axes:
    """Draw macro recall after each epoch: the mean over runs, and the band of its 95% interval.

    Args:
        runs: finished ones, by the name of the line.
        part: of the data.
        ax: where to draw.
    """
    from matplotlib.ticker import MaxNLocator

    ax = given_or_new(ax, 3.2)
    labels = []
    for (color, line, _), (name, own) in zip(styles(), runs.items(), strict=False):
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
    recall_axis(ax, part)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    label_right(ax, labels)
    return ax


def confusion_matrix(counts: NDArray[np.int64], classes: Sequence[str], ax: Axes | None = None) -> Axes:
    """Draw which classes are taken for which, in percent of the true class.

    Args:
        counts: (classes, classes), of images by true class (row) and predicted class (column).
        classes: their names.
        ax: where to draw.
    """
    ax = given_or_new(ax, matrix_height(len(classes)))
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(100 * counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    write = (lambda v: f"{v:.0f}" if v >= 0.5 else "") if len(classes) <= _ANNOTATED_CLASSES else None
    draw_matrix(ax, share, "Blues", 0, 100, write)
    name_both(ax, classes)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    return ax


def recall_by_class(
    recalls: Mapping[str, Sequence[tuple[float, float | None]]],
    classes: Sequence[str],
    *,
    part: str,
    ax: Axes | None = None,
) -> Axes:
    """Draw the recall of each class as a row, with a point and its interval for each name; of many, the 30 lowest.

    Args:
        recalls: by name, for each class the mean and half its interval's width.
        classes: their names.
        part: of the data.
        ax: where to draw.
    """
    kept = _lowest([[mean for mean, _ in own] for own in recalls.values()])
    ax = given_or_new(ax, rows_height(len(kept)))
    for number, ((color, _, marker), (name, own)) in enumerate(zip(styles(), recalls.items(), strict=False)):
        rows = np.arange(len(kept)) + 0.6 * ((number + 0.5) / len(recalls) - 0.5)
        means, halves = zip(*(own[i] for i in kept), strict=True)
        ax.errorbar(means, rows, xerr=[half or 0.0 for half in halves], fmt="none", ecolor=color, elinewidth=0.8)
        ax.plot(means, rows, marker, color=color, markersize=4, label=folded(plain(name), LABEL))
    name_rows(ax, [classes[i] for i in kept])
    low, high = ax.get_xlim()
    ax.set_xlim(max(low, -0.02), min(high, 1.02))
    shown = f" ({len(kept)} of {len(classes)} classes)" if len(kept) < len(classes) else ""
    ax.set_xlabel(f"{part} recall{shown}")
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize="small")
    return ax


def _lowest(means: Sequence[Sequence[float]]) -> list[int]:
    """Return the numbers of the classes with the lowest recall on average, in order; an empty class is no low one."""
    found = np.mean(np.nan_to_num(means, nan=1.0), axis=0)
    return sorted(np.argsort(found, kind="stable")[:MOST_CLASSES].tolist())


def matrix_height(classes: int) -> float:
    """Return the height in inches of a matrix of so many classes."""
    return 1.5 + 0.33 * min(classes, _ANNOTATED_CLASSES)


def recall_against_cost(
    points: Mapping[str, tuple[float, float, float | None]],
    cost: Cost,
    *,
    part: str,
    front: Collection[str],
    named: Collection[str],
    remark: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw recall against a cost; the line joins those on the front. Where all cost the same, they stand by recall.

    Args:
        points: by name the cost, the mean recall and half its interval's width; those with a NaN are left out.
        cost: which.
        part: of the data.
        front: names of those that no other beats in both.
        named: names to write beside their points.
        remark: follows the name of the cost on its axis.
        ax: where to draw.
    """
    ax = given_or_new(ax, 3.2)
    points = {name: point for name, point in points.items() if not any(map(math.isnan, point[:2]))}
    costs = [x for x, _, _ in points.values()]
    shared = costs[0] if cost not in _MEASURED and len(costs) > 1 and len(set(costs)) == 1 else None
    if shared is not None:
        in_order = sorted(points, key=lambda name: points[name][1])
        points = {name: (float(place), *points[name][1:]) for place, name in enumerate(in_order)}
        front = ()
    labels = []
    for name, (x, y, half) in points.items():
        color, fill = (BLUE, BLUE) if name in front else (GREY, ax.get_facecolor())
        ax.errorbar([x], [y], [half or 0.0], color=color, linewidth=0.8)
        ax.plot([x], [y], "o" if name in front else "D", color=color, markerfacecolor=fill, markersize=5)
        if name in named:
            labels.append((x, y, name, GREY))
    on_front = sorted(points[name][:2] for name in front if name in points)
    ax.step([x for x, _ in on_front], [y for _, y in on_front], where="post", color=BLUE, linewidth=1)
    if shared is not None:
        ax.set_xticks([])
        ax.set_xlabel(f"{COSTS[cost]}: {quantity(shared)} for all")
    else:
        _cost_axis(ax, cost, costs, remark)
    recall_axis(ax, part)
    label_right(ax, labels)
    return ax


def _cost_axis(ax: Axes, cost: Cost, costs: Sequence[float], remark: str) -> None:
    """Name the axis of costs, whose ticks are written as tables write them."""
    if costs and min(costs) > 0 and max(costs) > 5 * min(costs):
        ax.set_xscale("log")
    are_close = bool(costs) and max(costs) < 1.05 * min(costs)
    write: Callable[[float], str] = (lambda x: f"{x:,.0f}") if are_close else quantity
    if cost in _MEASURED:
        write = duration if cost == "seconds" else lambda x: f"{x:.3g}x"
    ax.xaxis.set_major_formatter(lambda x, _: write(x))
    ax.xaxis.set_minor_formatter(lambda x, _: "")
    if ax.get_xscale() == "linear":
        ax.locator_params(axis="x", nbins=4)
    ax.set_xlabel(COSTS[cost] + remark)


def given_or_new(ax: Axes | None, height: float) -> Axes:
    """Return the axes to draw on: those given, or new ones of pyplot's."""
    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(figsize=(6.4, height), layout="constrained")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax


def styles() -> list[tuple[str, Any, str]]:
    """Return colour, line style and marker of one line after another; they begin again where there are many."""
    return [*STYLES] * 20


def plain(text: str) -> str:
    """Return a text that matplotlib shows as it is, without taking dollar signs for formulas."""
    return text.replace("$", r"\$")


def recall_axis(ax: Axes, part: str) -> None:
    """Name the axis, and show no more of a wide interval than a recall can be."""
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -0.02), min(high, 1.02))
    ax.set_ylabel(f"{part} recall")


def ink() -> Any:
    """Return matplotlib's colour of text."""
    from matplotlib import rcParams

    return rcParams["text.color"]


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Name rows from the top."""
    from matplotlib.ticker import AutoLocator

    ax.set_yticks(range(len(names)), [folded(plain(name), LABEL) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(AutoLocator())  # as many ticks as there is room for beside the names


def name_both(ax: Axes, names: Sequence[str]) -> None:
    """Name the columns and rows of a matrix; every n-th where there are many."""
    every = 1 + (len(names) - 1) // _TICKED_CLASSES
    places = range(0, len(names), every)
    shown = [folded(plain(names[place]), LABEL) for place in places]
    long = max(map(len, shown), default=0) > 3
    middles = [place + 0.5 for place in places]
    ax.set_xticks(middles, shown, rotation=45 if long else 0, ha="right" if long else "center", rotation_mode="anchor")
    ax.set_yticks(middles, shown)


def draw_matrix(
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


def label_right(ax: Axes, labels: Sequence[tuple[float, float, str, str]]) -> None:
    """Name points at the right of the axes, each joined to its name by a thin line, none over another.

    Args:
        ax: whose points, with all else drawn.
        labels: x, y, name and colour of each point.
    """
    if not labels:
        return
    ax.set_xlim(ax.get_xlim())
    ax.set_ylim(ax.get_ylim())
    texts = [folded(plain(name), LABEL) for _, _, name, _ in labels]
    to_axes = ax.transData + ax.transAxes.inverted()
    wanted = [float(to_axes.transform((x, y))[1]) for x, y, _, _ in labels]
    figure = ax.get_figure(root=True)
    assert figure is not None
    line = 12 / (72 * ax.get_position().height * figure.get_figheight())  # a line of text is about 12 points high
    heights = [line * (1 + text.count("\n")) for text in texts]
    for place, text, (x, y, _, color) in zip(spread(wanted, heights), texts, labels, strict=True):
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


def spread(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Return places near the wanted ones, as far apart as the heights ask for, within 0 and 1 where there is room."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    places = list(wanted)
    for below, above in itertools.pairwise(order):
        places[above] = max(places[above], places[below] + (heights[below] + heights[above]) / 2)
    places[order[-1]] = min(places[order[-1]], 1.0)
    for above, below in zip(order[::-1], order[-2::-1], strict=False):
        places[below] = min(places[below], places[above] - (heights[below] + heights[above]) / 2)
    return places
