"""Names of data sets: one data set may go by several (`folder:d`, `folder:./d/`), and what decides is its digest."""

from __future__ import annotations

import os
from collections.abc import Iterable

Known = Iterable[tuple[str, str]]
"""Pairs of a digest and a name that the data set of that digest was given."""


def shown_names(known: Known) -> dict[str, str]:
    """Return for each digest the name that people are shown: the shortest."""
    names: dict[str, str] = {}
    for digest, name in known:
        names[digest] = min(names.get(digest, name), name, key=lambda one: (len(one), one))
    return names


def digests_of(name: str, known: Known) -> set[str]:
    """Return the digests of the data sets that were given this name, or another spelling of its path."""
    wanted = _unspelled(name)
    return {digest for digest, other in known if other == name or _unspelled(other) == wanted}


def _unspelled(name: str) -> str:
    """Return a name with its path, if it has one, written in the only way that leads there from here."""
    variant, colon, path = name.partition(":")
    return f"{variant}:{os.path.realpath(os.path.expanduser(path))}" if colon else name
