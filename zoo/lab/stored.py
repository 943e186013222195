"""Runs that the ledger holds, chosen by the names of their specs."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from zoo.errors import LedgerError, near_misses
from zoo.ledger import Ledger
from zoo.ledger.keep import matches
from zoo.report.text import counted
from zoo.train.run import Run


def stored(ledger: Ledger, patterns: Sequence[str], data: str | None) -> list[Run]:
    """Return the runs that came to an end, those of one spec under one name.

    Args:
        ledger: that holds them.
        patterns: names of specs, shell patterns or TOML files; all when empty.
        data: only runs on the data set of this name.

    Raises:
        LedgerError: there is none.
    """
    known = ledger.names()
    runs = ledger.runs(dataset=data)
    if patterns:
        # A spec may have been trained under several names, and what one of them stands for is all of its runs.
        meant = {run.key.spec for run in runs if any(matches(run.name, pattern) for pattern in patterns)}
        runs = [run for run in runs if run.key.spec in meant]
    if not runs and known and not patterns and data is None:
        raise LedgerError(f"there is no run that has ended in {ledger.path}: `zoo results --partial` shows those begun")
    if not runs:
        what = f"of {' '.join(patterns)!r}" if patterns else "that has ended"
        on = f" on {data}" if data else ""
        near = near_misses(patterns[0], known) if len(patterns) == 1 else "."
        but = f"{near} It" if near != "." else "; it"
        raise LedgerError(
            f"there is no run {what}{on} in {ledger.path}{but} holds runs of {counted(len(known), 'spec')}"
        )
    return _under_one_name(runs, patterns)


def _under_one_name(runs: Sequence[Run], patterns: Sequence[str]) -> list[Run]:
    """Give runs of one spec, which may have been stored under several names, the shortest that was asked for."""
    names: dict[str, str] = {}
    for run in runs:
        if not patterns or any(matches(run.name, pattern) for pattern in patterns):
            names[run.key.spec] = min(names.get(run.key.spec, run.name), run.name, key=len)
    return [attrs.evolve(run, name=names[run.key.spec]) for run in runs]
