"""The forms of MyST Markdown that the gallery's pages are made of."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from zoo.report.markup import markdown

SORTABLE, FIGURES, MATRIX = "zoo-sortable", "zoo-figures", "zoo-matrix"
"""Classes of tables: one that can be sorted and filtered; one of figures, that stay in one line; one that is square."""


def figures(shown: Iterable[Any]) -> list[str]:
    """Return plots, each with its caption."""
    return [
        fence(
            "{raw} html",
            f'<figure class="zoo-plot">\n{_one_block(picture.svg)}\n'
            f"<figcaption>{escape(picture.caption)}</figcaption>\n</figure>",
        )
        for picture in shown
    ]


def _one_block(svg: str) -> str:
    return re.sub(r"\n\s*\n", "\n", svg)


def fence(language: str, content: str) -> str:
    """Return a fenced block."""
    return f"````{language}\n{content}\n````"


def link(text: str, page: str) -> str:
    """Return a link to another page."""
    return f"[{markdown(text)}]({page}.md)"


def table(rows: Sequence[Mapping[str, str]], title: str, *classes: str) -> str:
    """Return a table; its classes say whether it can be sorted and filtered, and whether it holds mostly figures."""
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    lines = [columns, ["---"] * len(columns), *([row[name] for name in columns] for row in rows)]
    text = "\n".join("| " + " | ".join(cell.replace("\n", " ") for cell in line) + " |" for line in lines)
    option = f":class: {' '.join(classes)}\n" if classes else ""
    return f"```{{table}} {markdown(title)}\n{option}\n{text}\n```"


def contents(names: Iterable[str]) -> str:
    """Return the table of contents that makes pages known to Sphinx."""
    return "\n".join(["```{toctree}", ":hidden:", "", *names, "```"])


def csv_text(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records as CSV, with nothing for None."""
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(records[0]) if records else ["arm"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: "" if value is None else value for key, value in record.items()} for record in records)
    return file.getvalue()


def joined(lines: Iterable[str]) -> str:
    """Return paragraphs as a text, without the empty ones."""
    return "\n\n".join(line for line in lines if line) + "\n"
