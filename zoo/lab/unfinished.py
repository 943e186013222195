"""The table of runs that have not ended: each with the epochs that it came to so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zoo.lab.named import told_misspelt
from zoo.lab.table import Table
from zoo.ledger.keep import Entry
from zoo.train.run import Run

if TYPE_CHECKING:
    import pandas as pd


@told_misspelt
class Unfinished(Table):
    """Runs under way or cut short, shown as the table that `zoo results --partial` prints: one row for each run."""

    def __init__(
        self, found: Sequence[tuple[Entry, Run]], *, class_names: Callable[[Run], Sequence[str] | None]
    ) -> None:
        super().__init__(
            [run for _, run in found],
            numbers={run.key: entry.id for entry, run in found},
            class_names=class_names,
            drawn="running",
        )
        self._found = tuple(found)

    def render(self, format_: str = "simple", *, sort: str | None = None, width: int | None = None) -> str:
        """Return the table as text, as `zoo results --partial --format` does.

        Raises:
            ZooError: there is no such format or column.
        """
        from zoo.report.unfinished import render

        return render(self._found, format_=format_, sort=sort, width=width)

    def _repr_html_(self) -> str:
        return self.render("html")

    def frame(self) -> pd.DataFrame:
        """Return a row for each run, with what is known of it after its last epoch."""
        return self.runs()
