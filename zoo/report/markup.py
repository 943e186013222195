"""Names, descriptions and other text in Markdown, LaTeX and HTML: shown as it is, whatever it holds."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence

from tabulate import tabulate

from zoo.characters import without_controls

MARKDOWN = ("markdown", "github", "pipe")
"""Formats of tables that are Markdown."""

_CODE = re.compile(r"(`[^`<&\n]+`)")
_SPECIAL = re.compile(r"[\\`*<|]|&(?=#?\w+;)|~(?=~)|\](?=\()|(?<!\w)_|_(?!\w)")
"""What Markdown takes for markup within a line; a _ within a word is none."""
_AT_THE_BEGINNING = re.compile(r"^(?=>|#+(\s|$)|[+=-]+(\s|$)|\[.*\]:)|(?<=^\d)(?=[.)](\s|$))")
"""Where a line would become a heading, a list, a quotation or the address of a link."""
_ENTITIES = {"<": "&lt;", "&": "&amp;"}


def markdown(text: str) -> str:
    """Return a line of text that Markdown shows as it is; what stands between two ` is code."""
    return _AT_THE_BEGINNING.sub(r"\\", _within_a_line(text))


def _within_a_line(text: str) -> str:
    parts = _CODE.split(without_controls(" ".join(text.split())))
    parts[::2] = [_SPECIAL.sub(_escape, part) for part in parts[::2]]
    parts[1::2] = [part.replace("|", "\\|") for part in parts[1::2]]
    return "".join(parts)


def _escape(found: re.Match[str]) -> str:
    return _ENTITIES.get(found.group(), f"\\{found.group()}")


def code(text: str) -> str:
    """Return text as code in a line of Markdown, whatever it holds."""
    text = without_controls(" ".join(text.split()))
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{room}{text}{room}{fence}"


def cells(columns: Mapping[str, Iterable[str]], format_: str) -> dict[str, list[str]]:
    """Return the cells of a table, by the title of their column, for a format; tabulate escapes HTML and LaTeX."""
    escaped = _within_a_line if format_ in MARKDOWN else str
    return {title: [escaped(text) for text in column] for title, column in columns.items()}


def table(rows: Sequence[Sequence[str]], headers: Sequence[str], align: Sequence[str], format_: str) -> str:
    """Return a table in a format of tabulate's."""
    escaped = _within_a_line if format_ in MARKDOWN else str
    shown = [list(map(escaped, row)) for row in rows]
    return tabulate(shown, headers=headers, tablefmt=format_, colalign=align, disable_numparse=True)


def lines(texts: Iterable[str], format_: str) -> list[str]:
    """Return lines of text for a format: escaped in Markdown, paragraphs in HTML, comments in LaTeX."""
    if format_ in MARKDOWN:
        return [markdown(text) for text in texts]
    if format_.startswith("latex"):
        return ["% " + " ".join(text.split()) for text in texts]
    if format_ in ("html", "unsafehtml"):
        return [f"<p>{html.escape(text)}</p>" for text in texts]
    return list(texts)
