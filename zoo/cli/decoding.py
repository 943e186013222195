"""The bar that shows how far the decoding of files is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zoo.report import layout

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SHOWN_AFTER = 1.0
"""Seconds of decoding that need no bar."""


class _Bar:
    """Shown on a terminal while files are decoded, if that takes a while."""

    def __init__(self) -> None:
        self._begun: float | None = None
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def report(self, done: int, count: int) -> None:
        now = time.monotonic()
        self._begun = now if self._begun is None else self._begun
        if self._progress is None and now - self._begun > _SHOWN_AFTER:
            self._start(count)
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done)
        if done == count:
            self.end()

    def _start(self, count: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = layout.progress_console()
        columns = (TextColumn("images decoded"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("", total=count)
        self._progress.start()

    def end(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._begun, self._progress = None, None


@contextmanager
def decoding_shown() -> Iterator[None]:
    """Show meanwhile how far the decoding of files is, each time that files are decoded."""
    from zoo.data import decoding_told

    bar = _Bar()
    try:
        with decoding_told(bar.report):
            yield
    finally:
        bar.end()
