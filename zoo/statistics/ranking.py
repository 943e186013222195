"""Which arms of a study are best, how sure that is, and which are worth their cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from zoo.statistics import verdicts
from zoo.statistics.paired import estimate
from zoo.statistics.results import Rank
from zoo.statistics.verdicts import LEVEL

_DIGITS = 12  # of means that are told apart; what differs less is rounding


def ranks(recalls: Mapping[str, Mapping[int, float]], *, level: float = LEVEL, draws: int = 2000) -> list[Rank]:
    """Rank arms by their mean recall, the best first; arms of equal mean share the mean of their ranks.

    The interval of a rank is a percentile bootstrap over seeds (Efron and Tibshirani, 1993): seeds are drawn with
    replacement, the same for all arms, and the arms are ranked anew. With few seeds it is too narrow. An arm that has
    none of the seeds drawn keeps its mean.

    Two arms are tied where a paired t test over the seeds that both have does not tell them apart, with p corrected
    over all pairs of arms (Holm).

    Args:
        recalls: by arm and seed.
        level: of the intervals and of the tests.
        draws: how many times seeds are drawn.

    Raises:
        ValueError: an arm has no recall, or one that is not finite.
    """
    for arm, by_seed in recalls.items():
        if not by_seed or not all(map(math.isfinite, by_seed.values())):
            raise ValueError(f"expected finite recalls of arm {arm!r}, got {dict(by_seed)}")
    if not recalls:
        return []
    arms = list(recalls)
    seeds = sorted({seed for by_seed in recalls.values() for seed in by_seed})
    values = np.array([[recalls[arm].get(seed, 0.0) for seed in seeds] for arm in arms])
    present = np.array([[seed in recalls[arm] for seed in seeds] for arm in arms], dtype=float)
    means = values.sum(axis=1) / present.sum(axis=1)
    weights = np.random.default_rng(0).multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=draws)
    counts = weights @ present.T
    drawn = np.where(counts > 0, weights @ values.T / np.maximum(counts, 1), means)
    low, high = np.quantile(_ranked(drawn), (level / 2, 1 - level / 2), axis=0, method="inverted_cdf")
    place = _ranked(means)
    tied = _ties(recalls, level)
    order = sorted(range(len(arms)), key=lambda position: place[position])
    return [
        Rank(
            arm=arms[position],
            rank=float(place[position]),
            low=float(low[position]),
            high=float(high[position]),
            tied=tuple(arms[other] for other in order if frozenset((arms[position], arms[other])) in tied),
        )
        for position in order
    ]


def pareto(points: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """Return the arms on the Pareto front, the cheapest first.

    Args:
        points: by arm, its recall and its cost.

    Returns:
        Those to which no other arm is preferable. One is preferable that has no less recall at no more cost, and is
        better in one of the two; so arms that are equal in both all stay.

    Raises:
        ValueError: a recall or a cost is NaN.
    """
    for arm, point in points.items():
        if any(map(math.isnan, point)):
            raise ValueError(f"expected a recall and a cost of arm {arm!r}, got {point}")

    def is_dominated(recall: float, cost: float) -> bool:
        return any(r >= recall and c <= cost and (r, c) != (recall, cost) for r, c in points.values())

    front = [arm for arm, point in points.items() if not is_dominated(*point)]
    return tuple(sorted(front, key=lambda arm: points[arm][1]))


def _ranked(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks along the last axis; the highest mean has rank 1."""
    ranked: NDArray[np.float64] = rankdata(-means.round(_DIGITS), axis=-1)
    return ranked


def _ties(recalls: Mapping[str, Mapping[int, float]], level: float) -> set[frozenset[str]]:
    pairs = list(combinations(recalls, 2))
    estimates = [
        estimate([recalls[a][seed] - recalls[b][seed] for seed in sorted(recalls[a].keys() & recalls[b].keys())])
        for a, b in pairs
    ]
    compared = verdicts.judge(estimates, level=level)
    return {
        frozenset(pair)
        for pair, comparison in zip(pairs, compared, strict=True)
        if comparison.p_adjusted is None or comparison.p_adjusted > level
    }
