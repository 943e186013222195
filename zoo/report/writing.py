"""Tables and lines of text in the formats that people ask for."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tabulate import tabulate

from zoo.errors import ZooError, option
from zoo.report import layout, markup
from zoo.report.cells import Table
from zoo.report.text import fit

if TYPE_CHECKING:
    import pandas as pd


def joined(shown: Iterable[Table | Sequence[str]], command: str, format_: str, width: int | None) -> str:
    """Write tables and lines of text one below the other, and the command that repeats it."""
    blocks = [
        _table(each, format_, width) if isinstance(each, Table) else _text(each, format_, width) for each in shown
    ]
    return "\n\n".join(block for block in [*blocks, _repeat(command, format_, width)] if block)


def as_data(rows: pd.DataFrame, format_: str) -> str:
    """Write rows as CSV or JSON.

    Raises:
        ZooError: the format is no text.
    """
    if format_ == "parquet":
        raise ZooError("parquet is no text; give a file to write it to, such as -o study.parquet")
    if format_ == "csv":
        text: str = rows.to_csv(index=False, lineterminator="\n")
        return text.rstrip("\n")
    text = rows.to_json(orient="records", indent=2, double_precision=15, force_ascii=False)
    return text


def as_parquet(rows: pd.DataFrame) -> bytes:
    """Return rows as a Parquet file.

    Raises:
        ZooError: pyarrow is not installed.
    """
    try:
        import pyarrow  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: F401
    except ImportError:
        raise ZooError(f"parquet needs pyarrow: pip install pyarrow; or take {option('format', 'csv')}") from None
    file = io.BytesIO()
    rows.to_parquet(file, engine="pyarrow", index=False)
    return file.getvalue()


def _text(lines: Iterable[str], format_: str, width: int | None) -> str:
    """Write lines of text in a format."""
    lines = list(lines)
    if not lines:
        return ""
    if width is not None:
        return "\n".join(layout.wrapped(line, width) for line in lines)
    return ("\n\n" if format_ in markup.MARKDOWN else "\n").join(markup.lines(lines, format_))


def _repeat(command: str, format_: str, width: int | None) -> str:
    if command and format_ in markup.MARKDOWN:
        return f"Repeat: {markup.code(command)}"
    return _text([f"Repeat: {command}"] if command else [], format_, width)


def _table(shown: Table, format_: str, width: int | None) -> str:
    columns = shown.columns
    cells = markup.cells({title: [row[title].text for row in shown.rows] for title in columns}, format_)
    below = list(shown.below)
    if width is not None:
        left_out = fit(
            cells,
            width,
            folding=[title for title in columns if shown.is_text(title)],
            left_out_first=shown.left_out_first,
        )
        if left_out:
            below.append(f"No room for: {', '.join(left_out)}.")
    drawn = tabulate(
        list(zip(*cells.values(), strict=True)),
        headers=list(cells),
        tablefmt="github" if format_ == "markdown" else format_,
        colalign=["left" if shown.is_text(title) else "right" for title in cells],
        disable_numparse=True,
    )
    title = f"### {shown.title}" if format_ in markup.MARKDOWN else _text([shown.title], format_, width)
    blocks = [title, drawn, _text(below, format_, width)]
    return "\n\n".join(block for block in blocks if block)
