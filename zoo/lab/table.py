"""What a benchmark came to: the table, and everything that it is made from as frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from zoo.errors import UnknownNameError, ZooError, near_misses, variations_of
from zoo.lab import arguments
from zoo.lab.named import importing_whole, told_misspelt
from zoo.train.run import Run, RunKey, Status

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from zoo.ledger.keep import Entry
    from zoo.report.cells import Table as ShownTable
    from zoo.report.runs_page import Report
    from zoo.report.verdict import Judged


Detail = Literal["epochs", "per class", "confusion"]


@attrs.frozen
class Details:
    """What stands behind a table: tables for people, and the frame of all that they are made of."""

    tables: list[ShownTable]
    frame: Callable[[], pd.DataFrame]

    def render(self, format_: str = "simple", *, width: int | None = None) -> str:
        """Return the tables in one of tabulate's formats, or the frame as "csv" or "json"."""
        from zoo.report.writing import as_data, joined

        if format_ in ("csv", "json"):
            return as_data(self.frame(), format_)
        return joined(self.tables, "", format_, width if format_ == "simple" else None)


@told_misspelt
@importing_whole
class Table:
    """Ended runs, shown as the table that the command line prints.

    Attributes:
        all: the runs, in the order asked for.
        families: names of specs that differ in what was varied; the others are judged against the first.
        against: the spec that all others are judged against, where the runs were not trained for it; else None.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        *,
        families: Sequence[Sequence[str]] = (),
        numbers: Mapping[RunKey, int] | None = None,
        is_stale: Callable[[Run], bool] = lambda run: False,
        class_names: Callable[[Run], Sequence[str] | None] = lambda run: None,
        drawn: Status = "finished",
        against: str | None = None,
        unfinished: Sequence[tuple[Entry, Run]] = (),
    ) -> None:
        self.all, self.families = tuple(runs), tuple(map(tuple, families))
        self._is_stale, self._class_names = is_stale, class_names
        self._numbers = dict(numbers or {})
        self._drawn = drawn
        self.against = against
        self._under_way = tuple(unfinished)

    def render(self, format_: str = "simple", *, sort: str | None = None, width: int | None = None) -> str:
        """Return the table as text, as `zoo benchmark --format` does.

        Raises:
            ZooError: there is no such format or column.
        """
        from zoo.report.table import render

        return render(self.all, format_=format_, sort=sort, width=width, is_stale=self._is_stale)

    def __str__(self) -> str:
        return "\n".join([self.render(), *(["", *self.verdict_lines()] if self.is_judged else [])])

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return self.render(format_="github")

    def _repr_html_(self) -> str:
        from zoo.report.table import html

        return html(self.all, self.verdict_lines(), is_stale=self._is_stale)

    def frame(self) -> pd.DataFrame:
        """Return a row for each spec, with means and intervals over seeds."""
        from zoo.report.frames import rows_frame

        return rows_frame(self.all, self._is_stale)

    def runs(self) -> pd.DataFrame:
        """Return a row for each run: its number in the ledger, spec, seed, recalls, times, and what it depends on."""
        from zoo.report.frames import runs_frame

        return runs_frame(self.all, self._numbers)

    def epochs(self) -> pd.DataFrame:
        """Return a row for each epoch of each run."""
        from zoo.report.frames import epochs_frame

        return epochs_frame(self.all, self._numbers)

    def confusion(self, spec: str, *, part: str = "test", seed: int | None = None) -> pd.DataFrame:
        """Return counts of images by true class (row) and predicted class (column), after the last epoch.

        Args:
            spec: whose runs: its name in the table, or what stands before the bracket where only one spec has that.
            part: "test", "train" or "validation".
            seed: of one run; the sum over all seeds when left out.

        Raises:
            ZooError: there is no such spec or seed here, or none of its runs was evaluated on that part.
        """
        from zoo.report.frames import confusion_frame

        runs = [run for run in self._of(spec) if seed is None or run.key.seed == seed]
        if not runs:
            raise UnknownNameError(f"{spec} has no run with seed {seed}")
        return confusion_frame(runs, part, self._class_names(runs[0]))

    @property
    def is_judged(self) -> bool:
        """Whether there are verdicts: something was varied, or a spec is named that the others are held against."""
        return bool(self.families) or self.against is not None

    def per_class(self, *, part: str | None = None) -> pd.DataFrame:
        """Return the recall of each class, a row for each finished run and class, after the last epoch.

        Args:
            part: of the data; the validation part where all runs have one, else the test part, when left out.
        """
        from zoo.report.details import per_class_frame, shown_part

        return per_class_frame(self.all, part or shown_part(self.all), self._class_names)

    def detailed(self, what: Detail, *, spec: str | None = None, part: str | None = None) -> Details:
        """Return what stands behind the table: "epochs", "per class", or the "confusion" of one spec.

        Args:
            what: which.
            spec: whose confusion.
            part: of the data; the validation part where all runs have one, else the test part, when left out.

        Raises:
            ZooError: no finished run was evaluated on that part.
        """
        from zoo.report import details

        part = part or details.shown_part(self.all)
        if what == "epochs":
            return Details(details.epochs(self.all), self.epochs)
        if what == "per class":
            return Details(details.per_class(self.all, part, self._class_names), lambda: self.per_class(part=part))
        runs = self._of(str(spec))
        return Details(
            [details.confusion_table(runs, part, self._class_names)],
            lambda: self.confusion(str(spec), part=part).reset_index(),
        )

    def judged(self) -> list[Judged]:
        """Return each variation against the first, seed by seed.

        Raises:
            ZooError: there is no run of the spec to judge against, or of several.
        """
        from zoo.report.verdict import judged, judged_stored

        if self.against is not None:
            return judged_stored(self.all, self.against)
        return judged(self.all, self.families)

    def verdict_lines(self) -> list[str]:
        """Return the verdicts in words, as the command line prints them."""
        from zoo.report.verdict import verdicts

        return verdicts(self.judged())

    def verdicts(self) -> pd.DataFrame:
        """Return a row for each variation: its difference to the first, seed by seed, and the verdict.

        Raises:
            ZooError: nothing was varied for this table.
        """
        from zoo.report.frames import verdicts_frame

        if not self.is_judged:
            raise ZooError(
                "there is nothing to judge here: verdicts are of what was varied for the table, as in "
                "benchmark(..., vary={'activation': ['relu', 'mish']}), or against a spec, as in results(against=NAME)"
            )
        return verdicts_frame(self.judged())

    def curves(self, *specs: str, part: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw recall against epochs, with bands over seeds.

        Args:
            specs: whose curves; all when left out.
            part: of the data; the validation part where all runs have one, else the test part, when left out. The
                training part has one point, unless specs say `evaluation.train = "every"`.
            ax: where to draw; new axes when left out.

        Raises:
            UnknownNameError: a spec is not here.
            ZooError: none of the runs was evaluated on that part.
        """
        from zoo.report.plots import curves

        arguments.axes(ax)
        names = specs or tuple(dict.fromkeys(run.name for run in self.all))
        held_out = all(run.spec["data"]["validation"] for run in self.all)
        runs = {name: [run for run in self._of(name) if run.status == self._drawn] for name in names}
        if self._drawn == "running":  # they came to unlike numbers of epochs, which have no mean
            runs = {f"{name} seed {run.key.seed}": [run] for name, own in runs.items() for run in own}
        part = part or ("validation" if held_out else "test")
        known = {
            name: None for own in runs.values() for run in own for epoch in run.epochs for name in epoch.evaluations
        }
        if part not in known:
            raise ZooError(
                f"part {part!r}: no finished run was evaluated on it; they were on {', '.join(known) or 'nothing'}"
            )
        return curves(runs, part=part, ax=ax)

    def page(self, *, title: str = "Runs", command: str = "", refresh: int = 0) -> str:
        """Return a report of the runs as one HTML page that needs nothing else.

        Args:
            title: of the page.
            command: that repeats it, shown at its end.
            refresh: after how many seconds a browser reads it again; 0 for never.
        """
        from zoo.report.runs_page import page

        return page(self._report(title, command), refresh=refresh)

    def save_plots(self, folder: str | PathLike[str], *, formats: Sequence[str] = ("svg", "png", "pdf")) -> list[Path]:
        """Write every plot of the page to files in a folder, which is made; return them.

        Raises:
            ZooError: there is no such format, or they cannot be written.
        """
        from zoo.report import drawing
        from zoo.report.runs_page import sections

        return drawing.write(sections(self._report("", "")), Path(folder), formats)

    @property
    def is_under_way(self) -> bool:
        """Whether somebody trained a run when the table was made; known only to `Lab.report`."""
        return any(entry.owner is not None for entry, _ in self._under_way)

    def _report(self, title: str, command: str) -> Report:
        from zoo.report.runs_page import Report

        judged: Sequence[Judged] = ()
        notes = []
        try:
            judged = self.judged() if self.is_judged else ()
        except ZooError as error:
            if not self.is_under_way:
                raise
            notes.append(f"Nothing is judged yet: {error}.")
        return Report(
            title=title,
            runs=self.all,
            unfinished=self._under_way,
            judged=judged,
            notes=notes,
            is_stale=self._is_stale,
            class_names=self._class_names,
            command=command,
        )

    def _of(self, spec: str) -> list[Run]:
        names = list(dict.fromkeys(run.name for run in self.all))
        variations = variations_of(spec, names)
        if spec not in names and len(variations) == 1:
            (spec,) = variations
        runs = [run for run in self.all if run.name == spec]
        if not runs:
            raise UnknownNameError(f"there is no run of {spec!r} here{near_misses(spec, names)}")
        return runs
