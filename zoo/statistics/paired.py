"""What pairs of runs with equal seeds say about a change."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import partial

import attrs
import numpy as np
import scipy  # its parts are imported where they are asked for
from numpy.typing import NDArray

from zoo.statistics import verdicts
from zoo.statistics.results import Comparison
from zoo.statistics.verdicts import LEAST_SEEDS, LEVEL, MARGIN, POWER, ROUNDING, Estimate, Judge

_FLIPS = 9999


@attrs.frozen
class Rivals:
    """Differences at settings that were not chosen, by what they are called; see `zoo.statistics.verdicts.judge`.

    Attributes:
        controls: the treatment, as chosen, against other settings of the control.
        treatments: other settings of the treatment against the control, as chosen.
    """

    controls: Mapping[str, Sequence[float]] = attrs.field(factory=dict)
    treatments: Mapping[str, Sequence[float]] = attrs.field(factory=dict)


_NO_RIVALS = Rivals()


def estimate(differences: Sequence[float], step: float = 0.0, overlap: float = 0.0) -> Estimate:
    """Estimate the mean of differences, one for each pair of runs with one seed.

    Args:
        differences: recall with the change minus recall without it.
        step: what a single image changes in a recall, below which the standard deviation is not believed: recalls of
            few images agree by rounding. By simulation, less than a whole step does not hold the rates of error.
        overlap: where each seed has a validation part of its own, the number of images in it over that of those trained
            on. Seeds then share training images, so that their differences are not independent draws of what other
            images would show: the variance of their mean is taken to be s^2 (1/n + overlap) in place of s^2 / n (the
            corrected resampled t test: Nadeau and Bengio, 2003). 0 for a claim about these images as they are split.

    Raises:
        ValueError: one of them is not finite.
    """
    values = np.asarray(differences, dtype=float)
    if not np.isfinite(values).all():
        raise ValueError(f"differences must be finite numbers, got {list(differences)}")
    seeds = len(values)
    mean = float(values.mean()) if seeds else math.nan
    if abs(mean) <= ROUNDING:
        mean = 0.0
    if seeds < LEAST_SEEDS:
        return Estimate(seeds=seeds, difference=mean, error=None, freedom=0, overlap=overlap)
    # As scipy.stats.sem, which takes half a millisecond.
    deviation = 0.0 if np.ptp(values) <= ROUNDING else float(values.std(ddof=1))
    return Estimate(
        seeds=seeds,
        difference=mean,
        error=max(deviation, step) * verdicts.error_of_mean(seeds, overlap),
        freedom=seeds - 1,
        overlap=overlap,
    )


def compare(
    differences: Mapping[str, Sequence[float]],
    *,
    margin: float = MARGIN,
    level: float = LEVEL,
    judge: Judge | None = None,
    step: float | Mapping[str, float] = 0.0,
    overlap: float | Mapping[str, float] = 0.0,
    next_level: float | None = None,
    rivals: Mapping[str, Rivals] | None = None,
) -> dict[str, Comparison]:
    """Judge all claims of a table by paired differences; `zoo.statistics.verdicts.judge` says how.

    Args:
        differences: by claim, recall with the change minus recall without it, one for each seed, in order of seeds.
        margin: a difference in recall that makes no practical difference.
        level: the rate of error that is held.
        judge: what judges in place of `verdicts.judge` at this level: the `look` of a `Sequential`. Of a claim that it
            decided earlier, the seeds that it was decided by stand.
        step: what a single image changes in a difference, for all claims or by claim; see `estimate`.
        overlap: of training images, for all claims or by claim; see `estimate`.
        next_level: that further seeds will be judged at; the same when left out.
        rivals: by claim whose sides were tuned, the settings that it has to hold against, too.

    Raises:
        ValueError: a difference is not finite.
    """
    steps, overlaps = (
        each if isinstance(each, Mapping) else dict.fromkeys(differences, each) for each in (step, overlap)
    )
    rivals = rivals or {}
    estimates = [
        _with_rivals(values, rivals.get(name), steps[name], overlaps[name]) for name, values in differences.items()
    ]
    judge = judge or partial(verdicts.judge, margin=margin, level=level)
    compared = {}
    for (name, values), estimated, comparison in zip(differences.items(), estimates, judge(estimates), strict=True):
        hardest, closest, rival = _hardest(values, estimated, rivals.get(name, _NO_RIVALS))
        further = None
        if comparison.verdict == "undecided" and closest.difference * estimated.difference >= 0:
            held = next_level or comparison.held
            further = verdicts.more_seeds(closest, claims=len(estimates), margin=margin, level=held)
        signs = None if overlaps[name] else _p_of_signs(hardest[: comparison.n])  # it asks for independent ones
        compared[name] = attrs.evolve(comparison, p_signs=signs, more_seeds=further, rival=rival)
    return compared


def _with_rivals(values: Sequence[float], rivals: Rivals | None, step: float, overlap: float) -> Estimate:
    found = estimate(values, step, overlap)
    if rivals is None:
        return found
    controls, treatments = (
        tuple(estimate(own, step, overlap) for own in side.values()) for side in (rivals.controls, rivals.treatments)
    )
    return attrs.evolve(found, controls=controls, treatments=treatments)


def _hardest(values: Sequence[float], estimated: Estimate, rivals: Rivals) -> tuple[Sequence[float], Estimate, str]:
    """Return the differences that a claim's p-value is of, the estimate from them, and the rival that they are to."""
    own = attrs.evolve(estimated, controls=(), treatments=())
    sign = 1 if estimated.difference > 0 else -1
    side = rivals.controls if sign > 0 else rivals.treatments
    others = ((side[name], each, name) for name, each in zip(side, estimated.rivals, strict=True))
    return max([(values, own, ""), *others], key=lambda each: verdicts.p_against(each[1], sign))


def detectable(
    pairs: int,
    *,
    claims: int,
    deviation: float,
    margin: float = 0.0,
    level: float = LEVEL,
    power: float = POWER,
    overlap: float = 0.0,
) -> float:
    """Return the smallest true difference of which so many pairs say, with a given power, that it helps.

    A difference inside the margin that is shown is "no practical difference": so what is found never lies far inside.

    Args:
        pairs: how many seeds each claim has; too few for a claim find nothing, however large (infinity).
        claims: in the table. The level is the one that Holm's correction asks of the first of them.
        deviation: standard deviation of the paired differences.
        margin: a difference that makes no practical difference; 0 where it is not known how it compares.
        level: the rate of error that is held.
        power: how often the difference is found.
        overlap: of training images; see `estimate`.
    """
    if pairs < LEAST_SEEDS:
        return math.inf
    true_error, errors = _errors(pairs, deviation, overlap)
    differs, equals = (scipy.stats.t.isf(level / claims / sides, pairs - 1) * errors for sides in (2, 1))
    least = np.maximum(differs, np.where(margin > equals, margin - equals, 0.0))

    def lacking(difference: float) -> float:
        return float(scipy.stats.norm.cdf((difference - least) / true_error).mean()) - power

    return float(scipy.optimize.brentq(lacking, 0.0, margin + 2 * float(differs.max()) + 9 * true_error))


def pairs_to_find(
    difference: float, *, claims: int, deviation: float, level: float = LEVEL, overlap: float = 0.0, most: int = 10**8
) -> int | None:
    """Return the least number of pairs that find a true difference with a power of 80%; see `detectable`.

    Returns:
        None where `most` do not suffice.
    """
    counts = range(LEAST_SEEDS, most + 1)

    def finds(count: int) -> bool:
        return difference >= detectable(count, claims=claims, deviation=deviation, level=level, overlap=overlap)

    at = bisect_left(counts, True, key=finds)
    return counts[at] if at < len(counts) else None


def power_of_equivalence(
    pairs: int, *, claims: int, deviation: float, margin: float, level: float = LEVEL, overlap: float = 0.0
) -> float:
    """Return how often a change without effect is said to make no practical difference; see `detectable`."""
    if pairs < LEAST_SEEDS:
        return 0.0
    true_error, errors = _errors(pairs, deviation, overlap)
    room = margin - scipy.stats.t.isf(level / claims, pairs - 1) * errors
    return float((2 * scipy.stats.norm.cdf(np.maximum(room, 0.0) / true_error) - 1).mean())


def _errors(pairs: int, deviation: float, overlap: float) -> tuple[float, NDArray[np.float64]]:
    """Return the true standard error of a mean, and 2,000 equally likely estimates of it."""
    true_error = deviation * verdicts.error_of_mean(pairs, overlap)
    quantiles = (np.arange(2000) + 0.5) / 2000
    return true_error, true_error * np.sqrt(scipy.stats.chi2.ppf(quantiles, pairs - 1) / (pairs - 1))


def _p_of_signs(values: Sequence[float]) -> float | None:
    """Return p of the sign-flip test of no difference (Fisher, 1935, The Design of Experiments).

    It asks only that a difference is as likely to be of either sign. All 2^n flips are counted up to 13 seeds; of more,
    9,999 are drawn. None for so few seeds that p cannot be small: fewer than six.
    """
    if 2 * 0.5 ** len(values) > LEVEL:
        return None
    tested = scipy.stats.permutation_test(
        (np.asarray(values),), np.mean, permutation_type="samples", n_resamples=_FLIPS, vectorized=True,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(tested.pvalue)
