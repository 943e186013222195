"""The plot of recall over the settings that a study tuned over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.errors import ZooError
from zoo.report.study import arms, plots
from zoo.report.text import folded
from zoo.statistics.intervals import mean_interval
from zoo.study.result import StudyResult
from zoo.study.settings import Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE = 8
"""How many times the smallest value the largest is where the axis is logarithmic."""


def sensitivity_plot(result: StudyResult, ax: Axes | None = None) -> Axes:
    """Draw mean recall at each setting with its 95% interval, a line for each arm; what was chosen is filled.

    Arms are those of `zoo.report.study.plots.learning_curves`.

    Raises:
        ZooError: the study does not tune.
    """
    tuned = result.tuned
    if tuned is None:
        raise ZooError(f"study {result.study.name!r} tunes nothing: there are no settings to draw")
    ax = plots.axes(ax, 3.2)
    names = [arm.name for arm in arms.featured(result) if arm.name in tuned.arms]
    settings = [trial.setting for trial in tuned.of(tuned.arms[0])]
    stands = _stands(ax, settings)
    labels = []
    for number, ((color, line, marker), name) in enumerate(zip(plots.STYLES, names, strict=False)):
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
    plots.recall_axis(ax, result.study.design.select)
    plots.label_right(ax, labels)
    return ax


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
        ax.set_xticks(range(len(settings)), [folded(plots.plain(setting.label), plots.LABEL) for setting in settings])
        ax.tick_params(axis="x", rotation=30)
        return [float(position) for position in range(len(settings))]
    if min(numbers) > 0 and max(numbers) >= _WIDE * min(numbers):
        ax.set_xscale("log")
        ax.minorticks_off()
    ax.set_xticks(numbers, [f"{number:g}" for number in numbers])
    ax.set_xlabel(plots.plain(path))
    return numbers
