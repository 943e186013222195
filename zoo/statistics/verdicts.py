"""How a verdict comes about: a difference is tested, corrected for how many claims there are, and put into words.

Used alike for pairs (`zoo.statistics.paired`) and for the effects of factorial designs (`zoo.statistics.effects`).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

import attrs
import numpy as np
import scipy  # its stats are imported where they are asked for: that takes half a second
from scipy.special import stdtr, stdtrit  # Student's t: distribution function and quantile

from zoo.statistics.results import Comparison, Verdict

MARGIN = 0.005
LEVEL = 0.05
LEAST_SEEDS = 3
"""No claim is made from fewer: two differences may agree by chance, whatever they scatter like."""
POWER = 0.8
ROUNDING = 1e-12
"""Recalls that differ by less are the same: a recall is a mean of shares of whole images."""

_MOST_FURTHER_SEEDS = 1000


@attrs.frozen(kw_only=True)
class Estimate:
    """A difference in recall as it was estimated, before it is judged.

    Attributes:
        seeds: how many it was estimated from.
        difference: the estimate; NaN for no seeds.
        error: its standard error; 0 where all seeds agree, None where it cannot be had.
        freedom: the standard error's degrees of freedom.
        overlap: by how much the variance of the mean is larger than that of independent differences, as a share of the
            variance of one; see `zoo.statistics.paired.estimate`.
        controls: of the same treatment against other settings of its control, any of which may be the control's best.
        treatments: of other settings of the treatment against the same control.
    """

    seeds: int
    difference: float
    error: float | None
    freedom: int
    overlap: float = 0.0
    controls: tuple[Estimate, ...] = ()
    treatments: tuple[Estimate, ...] = ()

    @property
    def deviation(self) -> float:
        """The standard deviation of a difference."""
        assert self.error is not None
        return self.error / error_of_mean(self.seeds, self.overlap)

    @property
    def rivals(self) -> tuple[Estimate, ...]:
        """Those that a claim in the direction of the difference has to hold against, too."""
        return self.controls if self.difference > 0 else self.treatments


def error_of_mean(seeds: int, overlap: float) -> float:
    """Return the standard error of a mean of differences of standard deviation 1."""
    return math.sqrt(1 / seeds + overlap)


Judge = Callable[[Sequence[Estimate]], Sequence[Comparison]]
"""Judges all claims of a table together: `judge`, or the `look` of a `zoo.statistics.sequential.Sequential`."""


def judge(
    estimates: Sequence[Estimate],
    *,
    margin: float = MARGIN,
    level: float = LEVEL,
    decided: Mapping[int, Comparison] | None = None,
) -> list[Comparison]:
    """Return a verdict for each claim of a table.

    Two hypotheses are tested for each claim: that there is no difference (Student's t test, two-sided), and that the
    difference is the margin or more (two one-sided t tests: Schuirmann, 1987). Each of the two families of p-values is
    corrected over all claims (Holm, 1979). A claim that cannot be tested counts among them.

    A difference shown to be inside the margin is "no practical difference", even if it is also shown not to be 0. Any
    other that is shown not to be 0 "helps" or "hurts".

    An interval holds at least 1 - level, and more where there are several claims: it has the level that Holm's
    procedure asks of its claim, so that it leaves out 0 exactly where the difference is shown not to be 0.

    Where all seeds agree, and no step of one image is known (`zoo.statistics.paired.estimate`), there is no variance
    for a t test. If they agree on exactly 0, the change makes no practical difference. On any other value the sign test
    decides, which asks only that all have one sign: at 0.05 and for one claim it takes six seeds.

    Where each side was tuned, a claim is about each side at its best setting, which nobody knows. What was chosen is
    at most as good as the best; so a treatment that, at its chosen setting, is better than the control at every setting
    is better at its best. That is an intersection-union test (Berger, 1982): the largest of the p-values counts, and
    needs no correction for how many settings there are. Likewise for the other side, and for no practical difference
    with the settings of both. The interval reaches from the lowest to the highest end.

    Args:
        estimates: of all claims of the table.
        margin: a difference in recall that makes no practical difference.
        level: the rate of error, of each family, that is held.
        decided: by position, claims that were decided before, at another level. They count in the correction as
            rejected in the family that decided them, and as never to be rejected in the other.
    """
    decided = decided or {}
    tests = [p_values(estimate, margin) for estimate in estimates]
    for position, comparison in decided.items():
        is_equivalent = comparison.verdict == "no practical difference"
        tests[position] = (1.0, 0.0) if is_equivalent else (0.0, 1.0)
    adjusted = holm([p for p, _ in tests])
    own_levels = _levels([p for p, _ in tests], level)
    equivalent_adjusted = holm([p for _, p in tests])
    return [
        decided[position]
        if position in decided
        else _comparison(
            estimate, test, (adjusted[position], equivalent_adjusted[position]), own_levels[position], level
        )
        for position, (estimate, test) in enumerate(zip(estimates, tests, strict=True))
    ]


def interval(estimate: Estimate, level: float) -> tuple[float, float] | None:
    """Return Student's t interval of a difference, which holds 1 - level; None where the seeds do not vary.

    With other settings it holds the difference between both sides at their best: it reaches as low as the interval
    against any setting of the control, and as high as that of any setting of the treatment.
    """
    if not estimate.error:
        return None
    half = float(stdtrit(estimate.freedom, 1 - level / 2)) * estimate.error
    lows, highs = [estimate.difference - half], [estimate.difference + half]
    for rivals, ends, position in ((estimate.controls, lows, 0), (estimate.treatments, highs, 1)):
        for rival in rivals:
            if (own := interval(rival, level)) is None:
                return None
            ends.append(own[position])
    return min(lows), max(highs)


def more_seeds(estimate: Estimate, *, claims: int, margin: float, level: float) -> int | None:
    """Return how many further seeds would likely decide an undecided claim; None for over 1,000, or if unknown.

    "Likely" is with a power of 80%, if the estimated difference and its standard deviation are the true ones, at the
    level that Holm's correction asks of the first of all claims. The power of the two one-sided tests is bounded from
    below by the sum of their powers less 1. To find a difference of the wrong sign does not count as power.
    """
    if not estimate.error:
        return None
    from statsmodels.stats.power import TTestPower  # half a second, which the tables of most commands do without

    difference = abs(estimate.difference)
    deviation = estimate.deviation

    def power(distance: float, seeds: int, level: float) -> float:
        freedom = estimate.freedom + seeds - estimate.seeds
        distance /= deviation * error_of_mean(seeds, estimate.overlap) * math.sqrt(seeds)
        found = float(TTestPower().power(distance, seeds, level, freedom, alternative="larger"))
        return 1.0 if math.isnan(found) else found  # the noncentral t fails where it is almost 1

    def decides(seeds: int) -> float:
        differs = power(difference, seeds, level / claims / 2)
        if difference >= margin or differs >= POWER:
            return differs
        below, above = (power(margin + side * difference, seeds, level / claims) for side in (-1, 1))
        return max(differs, below + above - 1)

    counts = range(estimate.seeds + 1, estimate.seeds + _MOST_FURTHER_SEEDS + 1)
    found = bisect_left(counts, POWER, key=decides)
    return counts[found] - estimate.seeds if found < len(counts) else None


def p_values(estimate: Estimate, margin: float) -> tuple[float, float] | tuple[None, None]:
    """Return p of no difference, and p of a difference of the margin or more."""
    differs, equivalent = _own_p_values(estimate, margin)
    if differs is None or equivalent is None:
        return None, None
    sign = 1 if estimate.difference > 0 else -1
    differs = max([differs, *(p_against(rival, sign) for rival in estimate.rivals)])
    equivalent = max(
        [
            equivalent,
            *(_p_above(rival.difference + margin, rival) for rival in estimate.controls),
            *(_p_above(margin - rival.difference, rival) for rival in estimate.treatments),
        ]
    )
    return differs, equivalent


def p_against(rival: Estimate, sign: int) -> float:
    """Return p of no difference against another setting, 1 where the difference is not of this sign."""
    differs, _ = _own_p_values(rival, MARGIN)
    return 1.0 if differs is None or rival.difference * sign <= 0 else differs


def _p_above(distance: float, rival: Estimate) -> float:
    """Return p of a bound that the estimate keeps by this distance, and that the difference does not; one-sided."""
    if rival.error is None or distance <= 0:
        return 1.0
    if rival.error == 0:
        return float(scipy.stats.binomtest(rival.seeds, rival.seeds, alternative="greater").pvalue)
    return float(stdtr(rival.freedom, -distance / rival.error))


def _own_p_values(estimate: Estimate, margin: float) -> tuple[float, float] | tuple[None, None]:
    """Return the same without other settings."""
    if estimate.error is None:
        return None, None
    size = abs(estimate.difference)
    if estimate.error == 0:
        if size == 0:
            return 1.0, 0.0
        alike = estimate.seeds
        inside = float(scipy.stats.binomtest(alike, alike, alternative="greater").pvalue) if size < margin else 1.0
        return float(scipy.stats.binomtest(alike, alike).pvalue), inside
    differs = 2 * stdtr(estimate.freedom, -size / estimate.error)
    return float(differs), float(stdtr(estimate.freedom, (size - margin) / estimate.error))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return adjusted p-values; as statsmodels' `multipletests`, which collects garbage at each call, for 50 ms."""
    sure = np.array([1.0 if p is None else p for p in p_values])
    order = np.argsort(sure, kind="stable")
    adjusted = np.empty_like(sure)
    adjusted[order] = np.maximum.accumulate(sure[order] * np.arange(len(sure), 0, -1)).clip(max=1.0)
    return [None if p is None else float(corrected) for p, corrected in zip(p_values, adjusted, strict=True)]


def _levels(p_values: Sequence[float | None], level: float) -> list[float]:
    """Return the level that Holm's procedure holds each p-value against, from the least on; it ends at the first above.

    The later ones are held against the level that it ended at.
    """
    levels = [level] * len(p_values)
    sure = [1.0 if p is None else p for p in p_values]
    left, ended = len(sure), False
    for position in sorted(range(len(sure)), key=lambda position: sure[position]):
        levels[position] = level / left
        ended = ended or sure[position] > levels[position]
        left -= not ended
    return levels


def _comparison(
    estimate: Estimate,
    test: tuple[float | None, float | None],
    adjusted: tuple[float | None, float | None],
    level: float,
    held: float,
) -> Comparison:
    low, high = interval(estimate, level) or (None, None)
    return Comparison(
        n=estimate.seeds,
        difference=estimate.difference,
        low=low,
        high=high,
        level=level,
        held=held,
        p=test[0],
        p_adjusted=adjusted[0],
        p_equivalent=test[1],
        p_equivalent_adjusted=adjusted[1],
        effect_size=estimate.difference / estimate.deviation if estimate.error else None,
        verdict=_verdict(estimate.difference, *adjusted, held),
    )


def _verdict(difference: float, adjusted: float | None, equivalent_adjusted: float | None, level: float) -> Verdict:
    if equivalent_adjusted is not None and equivalent_adjusted <= level:
        return "no practical difference"
    if adjusted is not None and adjusted <= level:
        return "helps" if difference > 0 else "hurts"
    return "undecided"
