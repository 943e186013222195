"""The runs of a ledger as one HTML page that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from zoo.errors import ZooError
from zoo.report import details, plots
from zoo.report.cells import Cell, Table
from zoo.report.details import ClassNames, finished, shown_part
from zoo.report.drawing import Plot, file_name, pictures
from zoo.report.methods import of_runs
from zoo.report.page import provenance, rendered
from zoo.report.plots import Cost
from zoo.report.table import COLUMNS, early_lines, headings, labelled, rows, title
from zoo.report.text import counted, difference, probability
from zoo.report.unfinished import table as unfinished_table
from zoo.report.verdict import Judged, about, advice, by_place
from zoo.statistics.intervals import mean_interval
from zoo.statistics.ranking import pareto
from zoo.statistics.results import Losses
from zoo.study.comparable import TIMES, at_once, unlike
from zoo.study.measure import measured, typical_seconds
from zoo.train.run import Run

if TYPE_CHECKING:
    from zoo.ledger.keep import Entry

_MOST_CURVES = len(plots.STYLES)
_MOST_CONFUSIONS = 4
_MOST_NAMED = 8
"""Points of a plot of recall against cost that have their name beside them."""


@attrs.frozen(kw_only=True)
class Report:
    """What a report of stored runs shows.

    Attributes:
        title: of the page.
        runs: ended ones.
        unfinished: attempts under way or cut short, with their epochs.
        judged: each spec against another; empty where nothing is judged.
        is_stale: says of a run that the source of its variants is not what it was.
        class_names: returns those of a run, or None.
        command: that writes the report.
        notes: further lines.
    """

    title: str
    runs: Sequence[Run]
    unfinished: Sequence[tuple[Entry, Run]] = ()
    judged: Sequence[Judged] = ()
    is_stale: Callable[[Run], bool] = lambda run: False
    class_names: ClassNames = lambda run: None
    command: str = ""
    notes: Sequence[str] = ()


def page(report: Report, *, refresh: int = 0) -> str:
    """Return the page: table, verdicts, learning curves, recall by class, costs, failures, provenance.

    Args:
        report: what it shows.
        refresh: after how many seconds a browser reads it again; 0 for never.
    """
    return rendered(
        title=report.title,
        about=_about(report),
        answer=_answer(report),
        verdicts=[verdict_table(own) for own in by_place(report.judged).values()],
        sections=pictures(sections(report)),
        arms=[*_tables(report), *_by_class(report), *_under_way(report)],
        reasons={_title(run): run.reason.strip() for run in report.runs if run.status != "finished"},
        methods=of_runs(report.runs, report.judged),
        provenance=provenance([*report.runs, *(run for _, run in report.unfinished)]),
        notes=report.notes,
        command=report.command,
        refresh=refresh,
    )


def _answer(report: Report) -> str:
    """Say in one sentence how many runs there are, and what became of them."""
    specs = {(run.name, run.key.spec) for run in report.runs}
    lost = {status: sum(run.status == status for run in report.runs) for status in ("diverged", "failed")}
    under_way = sum(entry.owner is not None for entry, _ in report.unfinished)
    told = [f"{number} {status}" for status, number in lost.items() if number]
    told += [f"{under_way} under way"] if under_way else []
    said = f"{counted(len(report.runs), 'run')} of {counted(len(specs), 'spec')}"
    return f"{said}{': ' if told else ''}{', '.join(told)}."


def _about(report: Report) -> list[str]:
    found = [str(heading) for heading in headings(report.runs)]
    if any(run.spec["data"]["validation"] for run in report.runs):
        found.append("Curves, classes and confusions are of the images held out for validation, where there are any.")
    return found


def _title(run: Run) -> str:
    return f"{run.name} seed {run.key.seed} on {run.dataset}: {run.status}"


def _tables(report: Report) -> list[Table]:
    """Return the tables of results, as on a terminal that has room for all columns."""
    found = []
    for heading, own in headings(report.runs).items():
        shown = rows(own, report.is_stale)
        # What is the same for all rows is in the title.
        same = [name for name in ("epochs", "measure") if len({getattr(row, name) for row in shown}) == 1]
        cells = tuple(
            {
                column.title: Cell(column.cell(row), _number(getattr(row, column.number)) if column.number else None)
                for name, column in COLUMNS.items()
                if name not in same
            }
            for row in shown
        )
        above, *below = title(heading, shown)
        below += early_lines(shown)
        differ = unlike(finished(own), TIMES)
        if differ and len(shown) > 1:
            below.append(f"Training times are of runs that differ, and not to be compared: {differ}.")
        if len(shown) > 1 and any(at_once(run) != 1 for run in finished(own)):
            below.append("Training times are of runs that shared the machine: recall is not drawn against them.")
        found.append(Table(title=above, rows=cells, below=tuple(below)))
    return found


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _by_class(report: Report) -> list[Table]:
    try:
        return details.per_class(report.runs, shown_part(report.runs), report.class_names)
    except ZooError:  # no run has ended so that it was evaluated
        return []


def _under_way(report: Report) -> list[Table]:
    return [unfinished_table(report.unfinished)] if report.unfinished else []


def verdict_table(found: Sequence[Judged]) -> Table:
    """Return the verdicts of one place as a table, with what they are about below it."""
    rows_ = tuple(
        {
            "change": Cell(one.spec),
            "against": Cell(one.against),
            "verdict": Cell(", ".join(one.outcomes)),
            "difference": Cell(
                difference(one.comparison.difference, one.comparison.low, one.comparison.high),
                _number(one.comparison.difference),
            ),
            "p": Cell(probability(one.comparison.p_of_all), one.comparison.p_of_all),
            "seeds": Cell(str(one.comparison.n), one.comparison.n),
            "lost": Cell(_lost(one.losses)),
            "training time": Cell(one.time, one.time_ratio),
            "remark": Cell(f"the runs differ in more: {one.unlike}" if one.unlike else ""),
        }
        for one in found
    )
    lost = (
        "Lost: runs that diverged or ended no better than chance, of the change and of what it is against, which "
        "verdicts on recall leave out; p: of Fisher's exact test that as many are lost, corrected."
    )
    below = (f"{about(found)}.", *advice(found), *([lost] if any(one.losses for one in found) else []))
    return Table(title=f"Each against {found[0].against}{found[0].where}", rows=rows_, below=below)


def _lost(losses: Losses | None) -> str:
    """Say how many runs were lost of how many, and of the other."""
    if losses is None:
        return ""
    (ours, runs), (theirs, others) = losses.with_change, losses.without_change
    return f"{ours} of {runs}, {theirs} of {others} (p {probability(losses.p_of_all)})"


def sections(report: Report) -> dict[str, list[Plot]]:
    """Return all plots, by the heading that they stand under; those of each data set, device and precision apart."""
    groups = headings(report.runs)
    found: dict[str, list[Plot]] = {}
    for heading, own in groups.items():
        of = f"-{file_name(str(heading))}" if len(groups) > 1 else ""
        on = f" On {heading}." if len(groups) > 1 else ""
        groups_of = {label: finished(group) for label, group in labelled(own, in_columns=())}
        groups_of = {label: group for label, group in groups_of.items() if group}
        part = shown_part(own)
        recalls = {label: _mean([measured(run, part) for run in group]) for label, group in groups_of.items()}
        recalls = {label: recall for label, recall in recalls.items() if not math.isnan(recall[0])}
        best = sorted(recalls, key=lambda label: -recalls[label][0])
        if not best:
            continue
        found.setdefault("Learning curves", []).append(curve_plot(groups_of, best, part, of, on))
        found.setdefault("Recall by class", []).append(
            _class_plot(groups_of, best[:_MOST_CURVES], part, of, on, report.class_names)
        )
        found.setdefault("Recall against cost", []).extend(
            cost_plots(recalls, _seconds(groups_of) | sizes(groups_of), part, of, on)
        )
        found.setdefault("Confusion", []).extend(
            _confusion(groups_of[label], label, part, of, on, report.class_names) for label in best[:_MOST_CONFUSIONS]
        )
    return found


def _mean(values: Sequence[float]) -> tuple[float, float | None]:
    return mean_interval([value for value in values if not math.isnan(value)])


def curve_plot(groups: Mapping[str, Sequence[Run]], best: Sequence[str], part: str, of: str, on: str) -> Plot:
    """Return the plot of learning curves of some of the groups of runs, whose name ends in `of`."""
    shown = best[:_MOST_CURVES]
    some = f" Shown: the best {len(shown)} of {len(best)}." if len(shown) < len(best) else ""
    return Plot(
        f"learning-curves{of}",
        lambda ax: plots.curves({label: groups[label] for label in shown}, part=part, ax=ax),
        3.2,
        f"{part.capitalize()} recall after each epoch: mean over finished runs, band: 95% interval over seeds."
        f"{some}{on}",
        "; ".join(f"{label}: {_mean([measured(run, part) for run in groups[label]])[0]:.4f}" for label in shown),
    )


def _class_plot(
    groups: Mapping[str, Sequence[Run]], shown: Sequence[str], part: str, of: str, on: str, class_names: ClassNames
) -> Plot:
    recalls = {label: details.recalls_by_class(groups[label], part) for label in shown}
    size = len(recalls[shown[0]])
    names = details.named_classes(groups[shown[0]], size, class_names)
    some = f" Shown: the best {len(shown)} of {len(groups)}." if len(shown) < len(groups) else ""
    few = f" Shown: the {plots.MOST_CLASSES} classes of {size} with the lowest." if size > plots.MOST_CLASSES else ""
    return Plot(
        f"recall-by-class{of}",
        lambda ax: plots.recall_by_class(recalls, names, part=part, ax=ax),
        plots.rows_height(min(size, plots.MOST_CLASSES)),
        f"{part.capitalize()} recall of each class, mean over finished runs, with the 95% interval over seeds."
        f"{some}{few}{on}",
        "; ".join(f"{label}: {lowest(recalls[label], names)}" for label in shown),
    )


def lowest(recalls: Sequence[tuple[float, float | None]], names: Sequence[str]) -> str:
    """Say which class has the lowest recall."""
    mean, name = min((mean, name) for (mean, _), name in zip(recalls, names, strict=True) if not math.isnan(mean))
    return f"lowest {mean:.4f} ({name})"


def sizes(groups: Mapping[str, Sequence[Run]]) -> dict[Cost, dict[str, float]]:
    """Return the parameters and FLOPs of each group of runs."""
    return {
        "parameters": {label: float(runs[0].parameters) for label, runs in groups.items()},
        "flops": {label: float(runs[0].flops) for label, runs in groups.items()},
    }


def _seconds(groups: Mapping[str, Sequence[Run]]) -> dict[Cost, dict[str, float]]:
    """Return the training time of each group of runs; nothing where their times may not be compared."""
    every = [run for runs in groups.values() for run in runs]
    if any(at_once(run) != 1 for run in every) or unlike(every, TIMES):
        return {}
    return {"seconds": {label: typical_seconds(runs) for label, runs in groups.items()}}


def cost_plots(
    recalls: Mapping[str, tuple[float, float | None]],
    costs: Mapping[Cost, Mapping[str, float]],
    part: str,
    of: str,
    on: str,
) -> list[Plot]:
    """Return the plots of recall against what it costs; none of a cost that is the same for all that it is known of."""
    found = []
    for cost, values in costs.items():
        points = {label: (values[label], *recall) for label, recall in recalls.items() if label in values}
        if len({value for value, _, _ in points.values()}) < 2:
            continue
        front = pareto({label: (recall, value) for label, (value, recall, _) in points.items()})
        without = [label for label in recalls if label not in points]
        unknown = f" It was not measured of {', '.join(without)}." if without else ""
        found.append(
            Plot(
                f"recall-against-{cost.replace('_', '-')}{of}",
                lambda ax, points=points, cost=cost, front=front: plots.recall_against_cost(  # type: ignore[misc]
                    points, cost, part=part, front=front, named=front[:_MOST_NAMED], ax=ax
                ),
                3.2,
                f"{part.capitalize()} recall, mean over seeds, against {plots.COSTS[cost]}; the line joins those "
                f"not beaten in both.{_named(len(front))}{unknown}{on}",
                f"Not beaten: {', '.join(front)}.",
            )
        )
    return found


def _named(there_are: int) -> str:
    """Say how many points have their names, where not all on the line have."""
    return f" Named: the {_MOST_NAMED} cheapest of {there_are} on it." if there_are > _MOST_NAMED else ""


def _confusion(runs: Sequence[Run], label: str, part: str, of: str, on: str, class_names: ClassNames) -> Plot:
    counts = details.confusion(runs, part)
    names = details.named_classes(runs, len(counts), class_names)
    return Plot(
        file_name(f"confusion-{label}{of}"),
        lambda ax: plots.confusion_matrix(counts, names, ax),
        4.6,
        f"{label}: predicted classes in percent of each true class, {part} images, all finished runs together.{on}",
        f"{label}: {part} recall {_mean([measured(run, part) for run in runs])[0]:.4f}",
    )
