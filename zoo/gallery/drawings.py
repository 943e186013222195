"""The gallery's plots: differences with their intervals, recall against what it costs, and learning curves."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.gallery.effects import Arm, Field
from zoo.report import plots
from zoo.report.details import finished
from zoo.report.drawing import Plot, file_name
from zoo.report.plots import Cost
from zoo.report.runs_page import cost_plots, curve_plot, sizes
from zoo.report.text import difference
from zoo.statistics.intervals import mean_interval
from zoo.statistics.results import Comparison
from zoo.study.measure import measured

_BEYOND = 4
"""Times the usual end of an interval, from where on differences are beyond the edge of a plot."""
_MOST_CURVES = 2


def differences(field: Field, number: int) -> list[Plot]:
    """Return the plot of all differences of a table with their intervals; none where there is no pair of runs."""
    lost = {arm.label: f"{lost} of {len(arm.runs)} lost" for arm in field.arms if (lost := field.lost(arm))}
    pairs = [
        (arm.label, found.comparison)
        for arm, found in zip(field.arms, field.verdicts, strict=True)
        if math.isfinite(found.comparison.difference)
    ]
    drawn = {label for label, _ in pairs}
    without = ", ".join(_with(arm.label, lost) for arm in field.arms if arm.label not in drawn)
    pairs.sort(key=lambda pair: -pair[1].difference)
    edge = _edge([comparison for _, comparison in pairs])
    beyond = [(label, comparison) for label, comparison in pairs if abs(comparison.difference) > edge]

    def draw(ax: Any) -> Any:
        ax = plots.given_or_new(ax, plots.rows_height(len(pairs)))
        for row, (label, comparison) in enumerate(pairs):
            if label in lost:
                ax.text(1.02, row, lost[label], transform=ax.get_yaxis_transform(), va="center", fontsize="small")
            shown = comparison.verdict in ("helps", "hurts")
            color = plots.BLUE if comparison.verdict == "helps" else plots.VERMILION if shown else plots.GREY
            if comparison.low is not None and comparison.high is not None:
                ax.plot([comparison.low, comparison.high], [row, row], color=color, linewidth=1.5)
            place = min(max(comparison.difference, -edge), edge)
            inside = place == comparison.difference
            marker = ("o" if shown else "D") if inside else (">" if place > 0 else "<")
            ax.plot([place], [row], marker, color=color, markersize=4 if inside else 7)
        if math.isfinite(edge):
            ax.set_xlim(-1.05 * edge, 1.05 * edge)
        ax.axvline(0, color=plots.GREY, linewidth=0.8)
        ax.set_xlabel(f"difference in {field.part} recall to {plots.plain(field.base.label)}")
        plots.name_rows(ax, [label for label, _ in pairs])
        ax.locator_params(axis="x", nbins=5)
        return ax

    height = plots.rows_height(len(pairs))
    words = "; ".join(f"{_with(label, lost)}: {difference(one.difference, one.low, one.high)}" for label, one in pairs)
    far = "; ".join(f"{label}: {comparison.difference:+.4f}" for label, comparison in beyond)
    caption = (
        "Differences with their corrected intervals."
        + (" What reaches the edge goes on beyond it." if math.isfinite(edge) else "")
        + (f" Arrows: {far}." if far else "")
        + (f" Without any pair of runs: {without}." if without else "")
    )
    plot = Plot(f"differences-{number}", draw, height, caption, words)
    return [plot] if pairs else []


def _with(label: str, lost: Mapping[str, str]) -> str:
    return f"{label}, {lost[label]}" if label in lost else label


def _edge(found: Sequence[Comparison]) -> float:
    """Return the largest difference that a plot shows; infinity where a few large ones do not make all others small."""
    ends = sorted(max(abs(one.difference), abs(one.low or 0.0), abs(one.high or 0.0)) for one in found)
    usual = _BEYOND * statistics.median(ends) if ends else 0.0
    return usual if ends and ends[-1] > 2 * usual else math.inf


def costs(field: Field, number: int) -> list[Plot]:
    """Return the plots of recall against the ratio of training times, parameters and FLOPs; none of what all share."""
    groups = {arm.label: done for arm in field.every if (done := finished(arm.runs))}
    recalls = {label: mean_interval([measured(run, field.part) for run in runs]) for label, runs in groups.items()}
    recalls = {label: recall for label, recall in recalls.items() if not math.isnan(recall[0])}
    ratios = {
        arm.label: found.time_ratio
        for arm, found in zip(field.arms, field.verdicts, strict=True)
        if found.time_ratio is not None
    }
    times: dict[Cost, dict[str, float]] = {"time_ratio": {field.base.label: 1.0, **ratios}}
    return cost_plots(recalls, times | sizes(groups), field.part, f"-{number}", "")


def curves(field: Field, variant: str) -> Plot:
    """Return the learning curves of the base and of the best arms of a variant."""
    arms = [arm for arm, _ in field.of(variant)]
    best = sorted(arms, key=lambda arm: -_mean_recall(field, arm))[:_MOST_CURVES]
    groups = {arm.label: finished(arm.runs) for arm in (field.base, *best)}
    groups = {label: runs for label, runs in groups.items() if runs}
    some = f" Shown: the best {len(best)} of {len(arms)} settings." if len(best) < len(arms) else ""
    return curve_plot(groups, list(groups), field.part, f"-{file_name(field.base.name)}", some)


def _mean_recall(field: Field, arm: Arm) -> float:
    done = finished(arm.runs)
    return sum(measured(run, field.part) for run in done) / len(done) if done else -math.inf
