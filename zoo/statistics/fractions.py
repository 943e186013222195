"""Fractions of two-level factorial designs, and which effects each cannot tell apart.

A fraction of 2^m runs has m basic changes, in all combinations; each further change is made where an odd (or even)
number of some basic ones is. Such a change is written as the number whose binary digits say which: 7 is the first
three. What is multiplied to a constant, the *words*, decides all: three changes that do make a word of length 3.

Papers: Box and Hunter (1961), The 2^(k-p) fractional factorial designs; Fries and Hunter (1980), Minimum aberration
2^(k-p) designs; Chen, Sun and Wu (1993), A catalogue of two-level and three-level fractional factorial designs with
small runs; Xu (2009), Algorithmic construction of efficient fractional factorial designs with large run sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import combinations, product
from operator import xor

Term = tuple[int, ...]
"""Positions of changes: one for a main effect, several for an interaction."""
Aliases = Mapping[Term, Mapping[Term, float]]
"""Effects that a design can tell from each other, each with those that it cannot tell from it and their weight."""

_CATALOGUE = (
    (2, 3, 3, "3"),
    (3, 4, 7, "7 3 5 6"),
    (4, 5, 5, "15"),
    (4, 6, 15, "7 11 13 14 3 5 9 15 6 10 12"),
    (5, 6, 6, "31"),
    (5, 9, 10, "15 19 21 25 30"),
    (5, 11, 20, "7 11 13 21 25 31 14 19 22 26 28 3 5 9 17"),
    (5, 21, 21, "3 5 7 9 11 13 14 17 19 21 22 25 26 28 30 31"),
    (5, 22, 31, "7 11 13 21 25 31 14 19 22 26 28 3 5 9 17 15 23 27 29 6 10 18 30 12 20 24"),
    (6, 7, 7, "63"),
    (6, 8, 8, "31 39"),
    (6, 17, 20, "31 39 41 51 21 11 13 52 58 22 25 28 46 61"),
    (6, 21, 32, "7 11 13 14 19 21 25 31 35 37 44 52 55 61 62 49 22 41 38 26 28 42 47 50 56 59"),
    (7, 9, 11, "31 103 43 85"),
    (8, 12, 15, "127 143 179 213 105 27 46"),
    (8, 16, 17, "75 85 108 127 143 150 179 189 229"),
)
"""Designs of least aberration: m, the fewest and the most changes, and the further changes, of which as many are taken
as it needs. For each number of changes and resolution the smallest is here.

They were found by a search that adds one change after another to the best hundreds of designs. The tests hold them to
all designs where these can be counted out, and to the published word lengths where not.
"""


def most_changes(resolution: int) -> int:
    """Return how many changes a fraction of this resolution is known for."""
    return max(
        changes
        for basic, fewest, most, _ in _CATALOGUE
        for changes in range(fewest, most + 1)
        if _resolution(_columns(basic, changes)) >= resolution
    )


def fraction(changes: int, resolution: int) -> list[tuple[int, ...]]:
    """Return the combinations of the smallest fraction of at least this resolution, the one with no change first.

    Args:
        changes: how many there are, each made (1) or not (0).
        resolution: 3 keeps main effects apart from each other, 4 from two-way interactions too, 5 all of these.

    Returns:
        The fraction of least aberration; all combinations where no fraction has the resolution.

    Raises:
        ValueError: none is known for so many changes.
    """
    for basic, fewest, most, _ in _CATALOGUE:
        if fewest <= changes <= most:
            columns = _columns(basic, changes)
            if _resolution(columns) >= resolution:
                return [tuple((row & column).bit_count() % 2 for column in columns) for row in range(2**basic)]
    if changes > most_changes(resolution):
        raise ValueError(f"no fraction of resolution {resolution} is known for {changes} changes")
    return list(product((0, 1), repeat=changes))


def _columns(basic: int, changes: int) -> list[int]:
    """Return each change of a design of the catalogue as the basic changes that it goes with."""
    further = next(text for m, fewest, most, text in _CATALOGUE if m == basic and fewest <= changes <= most)
    return [*(1 << position for position in range(basic)), *map(int, further.split()[: changes - basic])]


def _resolution(columns: Sequence[int]) -> int:
    """Return the length of the shortest word, 5 where it is longer."""
    pairs = [first ^ second for first, second in combinations(columns, 2)]
    if set(pairs) & set(columns):
        return 3
    return 4 if len(set(pairs)) < len(pairs) else 5


def aliases(runs: Sequence[Sequence[int]]) -> dict[Term, dict[Term, float]]:
    """Return which effects of up to three changes a two-level design cannot tell from each other.

    Args:
        runs: the combinations of the design, each change made (1) or not (0).

    Returns:
        By main effect or two-way interaction, the first of those that are alike, the others with their weight: what is
        estimated is the effect plus the sum of weight times other. Each interaction is how much larger a smaller one is
        with the further change than without it; hence the powers of two in the weights. Three-way interactions that are
        alike with no smaller effect are left out.
    """
    # A column of signs is a number, a digit for each run: 1 is minus. So a product of columns is their exclusive or.
    columns = [sum((not row[p]) << run for run, row in enumerate(runs)) for p in range(len(runs[0]))]
    groups: dict[int, tuple[Term, float]] = {}
    found: dict[Term, dict[Term, float]] = {}
    for size in (1, 2, 3):
        for term in combinations(range(len(columns)), size):
            column = reduce(xor, (columns[position] for position in term))
            sign = -1.0 if column & 1 else 1.0
            key = column if sign > 0 else column ^ (2 ** len(runs) - 1)
            if key in groups:
                first, its_sign = groups[key]
                found[first][term] = sign * its_sign * 2.0 ** (len(first) - size)
            elif size < 3:
                groups[key] = (term, sign)
                found[term] = {}
    return found
