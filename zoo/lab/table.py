"""What a benchmark came to: the table, and everything that it is made from as frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from zoo.errors import UnknownNameError, ZooError, near_misses, variations_of
from zoo.lab import arguments
from zoo.lab.named import importing_whole, told_misspelt
from zoo.train.run import Run, RunKey, Status

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from zoo.report.verdict import Judged


@told_misspelt
@importing_whole
class Table:
    """Ended runs, shown as the table that the command line prints.

    Attributes:
        all: the runs, in the order asked for.
        families: names of specs that differ in what was varied; the others are judged against the first.
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
    ) -> None:
        self.all, self.families = tuple(runs), tuple(map(tuple, families))
        self._is_stale, self._class_names = is_stale, class_names
        self._numbers = dict(numbers or {})
        self._drawn = drawn

    def render(self, format_: str = "simple", *, sort: str | None = None, width: int | None = None) -> str:
        """Return the table as text, as `zoo benchmark --format` does.

        Raises:
            ZooError: there is no such format or column.
        """
        from zoo.report.table import render

        return render(self.all, format_=format_, sort=sort, width=width, is_stale=self._is_stale)

    def __str__(self) -> str:
        return "\n".join([self.render(), *(["", *self.verdict_lines()] if self.families else [])])

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

    def judged(self) -> list[Judged]:
        """Return each variation against the first, seed by seed."""
        from zoo.report.verdict import judged

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

        if not self.families:
            raise ZooError(
                "there is nothing to judge here: verdicts are of what was varied for the table, as in "
                "benchmark(..., vary={'activation': ['relu', 'mish']})"
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
        from zoo.report.study.plots import curves

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

    def _of(self, spec: str) -> list[Run]:
        names = list(dict.fromkeys(run.name for run in self.all))
        variations = variations_of(spec, names)
        if spec not in names and len(variations) == 1:
            (spec,) = variations
        runs = [run for run in self.all if run.name == spec]
        if not runs:
            raise UnknownNameError(f"there is no run of {spec!r} here{near_misses(spec, names)}")
        return runs
