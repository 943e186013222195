"""What a table of a study is made of."""

from __future__ import annotations

import attrs


@attrs.frozen
class Cell:
    """What a cell shows, and the number that its column is sorted by; None for a text."""

    text: str
    order: float | None = None


@attrs.frozen(kw_only=True)
class Table:
    """A table for people.

    Attributes:
        title: above it.
        rows: cells by the title of their column; all rows have the same.
        below: lines that explain it.
        left_out_first: columns that a narrow terminal does without, the least important first.
    """

    title: str
    rows: tuple[dict[str, Cell], ...]
    below: tuple[str, ...] = ()
    left_out_first: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Titles of the columns that are not empty."""
        return [title for title in self.rows[0] if any(row[title].text for row in self.rows)] if self.rows else []

    def is_text(self, column: str) -> bool:
        """Tell whether a column holds no numbers."""
        return all(row[column].order is None for row in self.rows)
