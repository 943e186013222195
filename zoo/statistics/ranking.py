"""Which arms of a study are best, how sure that is, and which are worth their cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import scipy  # its stats are imported where they are asked for

from zoo.statistics import verdicts
from zoo.statistics.paired import estimate
from zoo.statistics.results import Rank
from zoo.statistics.verdicts import LEVEL

_DIGITS = 12  # of means that are told apart; what differs less is rounding


def blocked_means(recalls: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    """Return each arm's mean recall as if it had all seeds that any arm has.

    Where arms have different seeds, plain means compare seeds as well as arms: one that was trained with easy seeds
    only looks better than it is. So a recall is taken for the sum of an arm's part and a seed's, fitted by least
    squares (an unbalanced block design), and an arm's mean is its part and the mean over all seeds' parts. Two arms
    that no chain of common seeds joins are compared as they are.

    Args:
        recalls: by arm and seed; an arm without any has the mean -inf.
    """
    held = {arm: by_seed for arm, by_seed in recalls.items() if by_seed}
    none = dict.fromkeys(recalls, -math.inf)
    if len({frozenset(by_seed) for by_seed in held.values()}) < 2:
        return none | {arm: math.fsum(by_seed.values()) / len(by_seed) for arm, by_seed in held.items()}
    seeds = sorted({seed for by_seed in held.values() for seed in by_seed})
    cells = [(a, seeds.index(seed), recall) for a, own in enumerate(held.values()) for seed, recall in own.items()]
    arm, seed, recall = (np.array(column) for column in zip(*cells, strict=True))
    columns = np.column_stack([np.equal.outer(arm, range(len(held))), np.equal.outer(seed, range(len(seeds)))])
    parts = np.linalg.lstsq(columns.astype(float), recall - recall.mean(), rcond=None)[0]
    means = recall.mean() + parts[: len(held)] + parts[len(held) :].mean()
    return none | dict(zip(held, means.round(_DIGITS).tolist(), strict=True))


def ranks(
    recalls: Mapping[str, Mapping[int, float]], *, step: float = 0.0, overlap: float = 0.0, level: float = LEVEL
) -> list[Rank]:
    """Rank arms by their mean recall (`blocked_means`), the best first; arms of equal mean share their mean rank.

    Two arms are tied where a paired t test over the seeds that both have does not tell them apart, with p corrected
    over all pairs of arms (Holm). An arm's rank lies between those that it would have if all tied arms were worse, and
    if all were better (Mogstad, Romano, Shaikh and Wilhelm, 2024): so that, in at least 1 - level of the studies, the
    intervals of all arms hold their ranks by true means.

    Args:
        recalls: by arm and seed.
        step: what a single image changes in a recall; see `zoo.statistics.paired.estimate`.
        overlap: of training images; see the same.
        level: of all intervals together.

    Raises:
        ValueError: an arm has no recall, or one that is not finite.
    """
    for arm, by_seed in recalls.items():
        if not by_seed or not all(map(math.isfinite, by_seed.values())):
            raise ValueError(f"expected finite recalls of arm {arm!r}, got {dict(by_seed)}")
    if not recalls:
        return []
    means = blocked_means(recalls)
    arms = list(recalls)
    places = dict(zip(arms, scipy.stats.rankdata([-round(means[arm], _DIGITS) for arm in arms]).tolist(), strict=True))
    beaten_by, tested = _told_apart(recalls, step, overlap, level)
    order = sorted(arms, key=lambda arm: places[arm])
    found = []
    for arm in order:
        better, worse = beaten_by[arm], [other for other in arms if arm in beaten_by[other]]
        found.append(
            Rank(
                arm=arm,
                rank=places[arm],
                low=1 + len(better) if arm in tested else None,
                high=len(arms) - len(worse) if arm in tested else None,
                tied=tuple(other for other in order if other not in (arm, *better, *worse)),
            )
        )
    return found


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


def _told_apart(
    recalls: Mapping[str, Mapping[int, float]], step: float, overlap: float, level: float
) -> tuple[dict[str, set[str]], set[str]]:
    """Return, for each arm, those that are shown to be better, and the arms of which a difference could be tested."""
    pairs = list(combinations(recalls, 2))
    estimates = [
        estimate([recalls[a][seed] - recalls[b][seed] for seed in sorted(common)], step, overlap)
        for a, b in pairs
        for common in [recalls[a].keys() & recalls[b].keys()]
    ]
    beaten_by: dict[str, set[str]] = {arm: set() for arm in recalls}
    tested: set[str] = set()
    for (a, b), comparison in zip(pairs, verdicts.judge(estimates, level=level), strict=True):
        if comparison.p_adjusted is None:
            continue
        tested |= {a, b}
        if comparison.p_adjusted <= level:
            better, worse = (a, b) if comparison.difference > 0 else (b, a)
            beaten_by[worse].add(better)
    return beaten_by, tested
