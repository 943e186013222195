"""Runs that the ledger holds, chosen by the names of their specs."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from zoo.data.names import digests_of
from zoo.errors import DataError, LedgerError, option
from zoo.lab.networks import form
from zoo.ledger import Ledger
from zoo.ledger.keep import matches
from zoo.registry import Registry
from zoo.spec import Spec
from zoo.study.images import Unseen
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
    if not runs:
        what = f"of {' '.join(patterns)!r}" if patterns else "that has ended"
        on = f" on {data}" if data else ""
        raise LedgerError(f"there is no run {what}{on} in {ledger.path}; it holds runs of {len(known)} specs")
    return _under_one_name(runs, patterns)


def _under_one_name(runs: Sequence[Run], patterns: Sequence[str]) -> list[Run]:
    """Give runs of one spec, which may have been stored under several names, the shortest that was asked for."""
    names: dict[str, str] = {}
    for run in runs:
        if not patterns or any(matches(run.name, pattern) for pattern in patterns):
            names[run.key.spec] = min(names.get(run.key.spec, run.name), run.name, key=len)
    return [attrs.evolve(run, name=names[run.key.spec]) for run in runs]


def unseen(base: Spec, reason: str, ledger: Ledger, registry: Registry) -> Unseen | None:
    """Return what the runs of a spec say of its images, which are not at hand; None where there is no such run.

    Raises:
        DataError: they are of several data sets of that name.
    """
    name = base.data.dataset
    names = ledger.names(identity=base.identity)
    runs = [run for run in ledger.runs(names=names) if run.key.spec == base.identity and run.epochs]
    digests = digests_of(name, [(run.key.dataset, run.dataset) for run in runs])
    if len(digests) > 1:
        raise DataError(
            f"{name} is not at hand ({reason}), and {ledger.path} holds runs of {base.name} on {len(digests)} data "
            f"sets of that name: bring back the images that are meant, or name them otherwise by {option('data')}"
        )
    own = [run for run in runs if run.key.dataset in digests]
    if not own:
        return None
    (first, *_) = (list(epoch.evaluations.values()) for epoch in own[0].epochs)
    counted = len(first[0].confusion) if first else 0
    known = form(base, registry)
    classes = known.classes or tuple(map(str, range(counted)))
    return Unseen(name=name, reason=reason, shape=known.shape, classes=classes, digest=own[0].key.dataset)
