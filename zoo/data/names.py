"""Names of data sets and of classes, which may be spelled in several ways.

A data set may go by several names (`folder:d`, `folder:./d/`), and what decides is its digest.
"""

from __future__ import annotations

import os
import unicodedata
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


def one_spelling(names: Iterable[str]) -> dict[str, str]:
    """Return, for each name that is spelled in several ways of Unicode, the composed one (NFC).

    One letter with an accent may be one character or two, and looks the same: which it is depends on the system that a
    folder was made on. A name that is spelled in one way only stays as it is, so that data sets keep their digests.
    """
    by_looks: dict[str, set[str]] = {}
    for name in names:
        by_looks.setdefault(unicodedata.normalize("NFC", name), set()).add(name)
    return {name: looks for looks, spelled in by_looks.items() if len(spelled) > 1 for name in spelled}


def spelling_notes(spelled: Iterable[str]) -> list[str]:
    """Say which classes were spelled in several ways, given their one spelling."""
    return [f"the class {name!r} is spelled in several ways of Unicode, taken for one" for name in sorted(set(spelled))]
