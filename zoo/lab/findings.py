"""What a study found, with its tables and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from zoo.lab import arguments
from zoo.lab.named import importing_whole
from zoo.study.result import StudyResult
from zoo.train.run import RunKey

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@importing_whole
@attrs.frozen(repr=False)
class Findings:
    """What a study found, with its tables and plots. `result` holds all of it as plain values.

    `numbers` are those of its runs in the ledger.
    """

    result: StudyResult
    numbers: Mapping[RunKey, int] = attrs.field(factory=dict)

    def __str__(self) -> str:
        """Return the tables that the command line prints."""
        from zoo.report.study.tables import render

        return render(self.result)

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        from zoo.report.study.tables import render

        return render(self.result, format_="markdown")

    def _repr_html_(self) -> str:
        from zoo.report.study.tables import render

        return render(self.result, format_="html")

    def frame(self) -> pd.DataFrame:
        """Return the claims and effects, one row each."""
        from zoo.report.study.tables import frame

        return frame(self.result)

    def runs(self) -> pd.DataFrame:
        """Return the runs, one row each."""
        from zoo.report.study.tables import runs

        return runs(self.result, self.numbers)

    def page(self) -> str:
        """Return the report as one HTML page."""
        from zoo.report.study.page import page

        return page(self.result)

    def save_plots(self, folder: str | PathLike[str], *, formats: Sequence[str] = ("svg", "png", "pdf")) -> list[Path]:
        """Write every plot of the page to files in a folder, which is made; return them.

        Raises:
            ZooError: there is no such format, or they cannot be written.
        """
        from zoo.report import drawing
        from zoo.report.study.page import sections

        return drawing.write(sections(self.result), Path(folder), formats)

    def methods(self) -> str:
        """Return how the study was made, as a paragraph for a paper; "" while runs are missing."""
        from zoo.report.methods import of_study

        return of_study(self.result)

    def effect_plot(self, ax: Axes | None = None) -> Axes:
        """Draw each claim's difference with its interval."""
        from zoo.report.study import plots

        arguments.axes(ax)
        return plots.effect_plot(self.result, ax)

    def sensitivity_plot(self, ax: Axes | None = None) -> Axes:
        """Draw recall at each setting that a study tuned over, a line for each arm."""
        from zoo.report.study import plots

        return plots.sensitivity_plot(self.result, ax)

    def learning_curves(self, ax: Axes | None = None) -> Axes:
        """Draw recall against epochs, with bands over seeds."""
        from zoo.report.study import plots

        arguments.axes(ax)
        return plots.learning_curves(self.result, ax=ax)

    def interaction_matrix(self, ax: Axes | None = None) -> Axes:
        """Draw all two-way interactions of a factorial design."""
        from zoo.report.study import plots

        arguments.axes(ax)
        return plots.interaction_matrix(self.result, ax)

    def recall_against(self, cost: Literal["seconds", "parameters", "flops"], ax: Axes | None = None) -> Axes:
        """Draw recall against a cost, with the Pareto front."""
        from zoo.report.study import plots

        arguments.axes(ax)
        return plots.recall_against(self.result, cost, ax)
