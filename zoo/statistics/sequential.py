"""Looking at the claims again and again as seeds are added, with the rate of error held.

A test at 0.05 after each batch of seeds would err more often than in 5% of tables: every look is one more chance to be
wrong. So the level is spent: each look has a share of it. That a false claim is made at any look is then at most as
likely as the sum of the shares (Bonferroni), whatever the number of seeds and however the looks depend on each other.
See Slud and Wei (1982) and Lan and DeMets (1983) for spending.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr  # Student's t distribution function

from zoo.statistics import verdicts
from zoo.statistics.results import Comparison
from zoo.statistics.verdicts import LEVEL, MARGIN, POWER, Estimate

_MADE_UP = 2000


def looks(first: int, batch: int, most: int) -> list[int]:
    """Return how many seeds each look has: `first`, then a batch more each time, at last `most`.

    Raises:
        ValueError: one of them is not positive.
    """
    if min(first, batch, most) < 1:
        raise ValueError(f"expected positive numbers of seeds, got first={first}, batch={batch}, most={most}")
    return [*range(first, most, batch), most]


def levels(count: int, level: float = LEVEL) -> list[float]:
    """Return the level of each look; their sum is `level`.

    The share of a look is proportional to its number, counted from 1.

    Raises:
        ValueError: there is no look.
    """
    if count < 1:
        raise ValueError(f"expected at least one look, got {count}")
    return [level * look / (count * (count + 1) / 2) for look in range(1, count + 1)]


def share(look: int, level: float = LEVEL) -> float:
    """Return the level of a look, counted from 1, where nobody knows how many there will be.

    The first has four fifths of the whole, each further one half of what is left; so their sum is at most the whole.
    """
    return level * (0.8 if look == 1 else 0.2 * 0.5 ** (look - 1))


def added_seeds_to_find(
    difference: float,
    *,
    claims: int,
    deviation: float,
    first: int,
    batch: int,
    most: int,
    level: float = LEVEL,
    overlap: float = 0.0,
) -> tuple[float, int] | None:
    """Return how many seeds find a true difference with a power of 80%, where they are added until it is found.

    It is simulated, with 2,000 tables that are the same each time.

    Args:
        difference: the true one.
        claims: in the table. The level is the one that Holm's correction asks of the first of them.
        deviation: standard deviation of the paired differences.
        first: seeds of the first look.
        batch: how many more each further look has.
        most: seeds that are tried.
        level: of all looks together.
        overlap: of training images; see `zoo.statistics.paired.estimate`.

    Returns:
        How many are taken on average, and how many there have to be at most; None where `most` do not suffice.
    """
    counts = np.array([count for count in looks(first, batch, most) if count >= verdicts.LEAST_SEEDS])
    drawn = np.random.default_rng(0).normal(difference / deviation, 1, size=(_MADE_UP, most))
    means = np.cumsum(drawn, axis=1)[:, counts - 1] / counts
    squares = np.cumsum(drawn**2, axis=1)[:, counts - 1] / counts
    errors = np.sqrt((squares - means**2) * counts / (counts - 1)) * np.sqrt(1 / counts + overlap)
    p = stdtr(counts - 1, -means / errors)

    def found(number: int) -> np.ndarray:
        return np.asarray(p[:, :number] <= np.array(levels(number, level)) / claims / 2)

    numbers = range(1, len(counts) + 1)
    at = bisect_left(numbers, POWER, key=lambda number: float(found(number).any(axis=1).mean()))
    if at == len(counts):
        return None
    hits = found(numbers[at])
    taken = np.where(hits.any(axis=1), counts[hits.argmax(axis=1)], counts[at])
    return float(taken.mean()), int(counts[at])


class Sequential:
    """The judge of claims that are looked at several times.

    At each look all claims are judged together at the level of the look, and intervals are of that level. A claim that
    was decided stays as it was decided, and counts in the correction of later looks.

    Args:
        looks: how many there are, or the level of each.
        margin: a difference in recall that makes no practical difference.
        level: of all looks together, where their number is given.
    """

    def __init__(self, looks: int | Sequence[float], *, margin: float = MARGIN, level: float = LEVEL) -> None:
        self._levels = levels(looks, level) if isinstance(looks, int) else list(looks)
        self._margin = margin
        self._look = 0
        self._claims: int | None = None
        self._decided: dict[int, Comparison] = {}

    @property
    def level(self) -> float:
        """The level of the latest look; before the first, of the first."""
        return self._levels[max(self._look - 1, 0)]

    def look(self, estimates: Sequence[Estimate]) -> list[Comparison]:
        """Judge all claims once more.

        Args:
            estimates: of all claims, in the same order at each look; those of claims decided earlier are not used.

        Raises:
            ValueError: there are more looks, or not the same claims, as the levels were made for.
        """
        if self._look == len(self._levels):
            raise ValueError(f"all {self._look} looks were taken; another would raise the rate of error")
        if self._claims not in (None, len(estimates)):
            raise ValueError(f"expected the {self._claims} claims of the first look, got {len(estimates)}")
        self._claims = len(estimates)
        compared = verdicts.judge(estimates, margin=self._margin, level=self._levels[self._look], decided=self._decided)
        self._look += 1
        self._decided = {
            position: comparison for position, comparison in enumerate(compared) if comparison.verdict != "undecided"
        }
        return compared
