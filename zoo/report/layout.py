"""How what commands print is laid out: fitted to a terminal, and whole where it goes to a file or another program."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any, cast

from tabulate import tabulate

from zoo.report.text import GAP, column_width, folded

if TYPE_CHECKING:
    from rich.console import Console

_NARROWEST = 20


def progress_console() -> Console:
    """Return the console that progress is shown on: standard error, so that the output can be redirected.

    It moves the cursor by escape sequences, which the commands' standard error keeps back. So what it is given to show
    must be without them (`zoo.characters.without_controls`).
    """
    from rich.console import Console

    if not hasattr(sys.stderr, "draw"):
        return Console(stderr=True)
    return Console(file=cast("IO[str]", _Drawn(sys.stderr)))


class _Drawn:
    """A standard stream of the commands, to draw on."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.write = stream.draw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def terminal_width() -> int | None:
    """Return how many characters fit on a line of the terminal; None where standard output is none."""
    return shutil.get_terminal_size().columns if sys.stdout and sys.stdout.isatty() else None


def table(
    rows: Sequence[Sequence[str]],
    *,
    headers: Sequence[str] = (),
    align: Sequence[str] | None = None,
    wrap: int = -1,
    indent: int = 0,
) -> str:
    """Return rows as a table, whose column `wrap` is folded to what the others leave of the terminal."""
    width = terminal_width()
    columns = [list(column) for column in zip(*rows, strict=True)]
    if width is not None and columns:
        needed = [column_width(*column) for column in zip(headers or [""] * len(columns), columns, strict=True)]
        room = width - indent - sum(needed) - GAP * (len(columns) - 1) + needed[wrap]
        if room < _NARROWEST:  # the first column is wide too: by lists of options, or by the paths of layers
            first = min(width // 2, needed[0] - (_NARROWEST - room))
            columns[0] = [folded(cell, first) for cell in columns[0]]
            room += needed[0] - first
        columns[wrap] = [folded(cell, max(room, _NARROWEST)) for cell in columns[wrap]]
    text = tabulate(
        list(zip(*columns, strict=True)),
        headers=headers,
        tablefmt="simple" if headers else "plain",
        colalign=align if rows else None,
        disable_numparse=True,
    )
    return textwrap.indent(text, " " * indent)


def paragraph(text: str) -> str:
    """Return text broken into lines of the terminal."""
    width = terminal_width()
    return text if width is None else wrapped(text, width)


def wrapped(text: str, width: int) -> str:
    """Return text broken into lines at spaces only: a word, an option, a path stays whole; an indent is kept."""
    indent = text[: len(text) - len(text.lstrip(" "))]
    return textwrap.fill(
        text.lstrip(" "),
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  " if indent else "",
        break_long_words=False,
        break_on_hyphens=False,
    )
