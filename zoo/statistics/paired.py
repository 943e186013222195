"""What pairs of runs with equal seeds say about a change."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from functools import partial

import attrs
import numpy as np
from scipy import stats
from statsmodels.stats.power import TTestPower

from zoo.statistics import verdicts
from zoo.statistics.results import Comparison
from zoo.statistics.verdicts import LEVEL, MARGIN, POWER, ROUNDING, Estimate, Judge

_RESAMPLES = 9999


def estimate(differences: Sequence[float], step: float = 0.0) -> Estimate:
    """Estimate the mean of differences, one for each pair of runs with one seed.

    Args:
        differences: recall with the change minus recall without it.
        step: what a single image changes in a recall, below which the standard deviation is not believed: recalls of
            few images agree by rounding. By simulation, less than a whole step does not hold the rates of error.

    Raises:
        ValueError: one of them is not finite.
    """
    values = np.asarray(differences, dtype=float)
    if not np.isfinite(values).all():
        raise ValueError(f"differences must be finite numbers, got {list(differences)}")
    seeds = len(values)
    if seeds < 2:
        return Estimate(seeds=seeds, difference=float(values[0]) if seeds else math.nan, error=None, freedom=0)
    mean = float(values.mean())
    error = 0.0 if np.ptp(values) <= ROUNDING else float(stats.sem(values))
    return Estimate(
        seeds=seeds,
        difference=0.0 if abs(mean) <= ROUNDING else mean,
        error=max(error, step / math.sqrt(seeds)),
        freedom=seeds - 1,
    )


def compare(
    differences: Mapping[str, Sequence[float]],
    *,
    margin: float = MARGIN,
    level: float = LEVEL,
    judge: Judge | None = None,
    step: float | Mapping[str, float] = 0.0,
    bootstrap: bool = True,
) -> dict[str, Comparison]:
    """Judge all claims of a table by paired differences; `zoo.statistics.verdicts.judge` says how.

    Args:
        differences: by claim, recall with the change minus recall without it, one for each seed, in order of seeds.
        margin: a difference in recall that makes no practical difference.
        level: the rate of error that is held.
        judge: what judges in place of `verdicts.judge` at this level: the `look` of a `Sequential`. Of a claim that it
            decided earlier, the seeds that it was decided by stand.
        step: what a single image changes in a difference, for all claims or by claim; see `estimate`.
        bootstrap: add the bootstrap interval, which is drawn 9,999 times.

    Raises:
        ValueError: a difference is not finite.
    """
    steps = step if isinstance(step, Mapping) else dict.fromkeys(differences, step)
    estimates = [estimate(values, steps[name]) for name, values in differences.items()]
    judge = judge or partial(verdicts.judge, margin=margin, level=level)
    compared = {}
    for (name, values), estimated, comparison in zip(differences.items(), estimates, judge(estimates), strict=True):
        low, high = _bca(values[: comparison.n], comparison.level) if bootstrap else (None, None)
        further = None
        if comparison.verdict == "undecided":
            held = comparison.held
            further = verdicts.more_seeds(estimated, claims=len(estimates), margin=margin, level=held)
        compared[name] = attrs.evolve(comparison, bca_low=low, bca_high=high, more_seeds=further)
    return compared


def detectable(pairs: int, *, claims: int, deviation: float, level: float = LEVEL, power: float = POWER) -> float:
    """Return the smallest true difference that so many pairs show not to be 0, with a given power.

    Args:
        pairs: how many seeds each claim has; fewer than two detect nothing, however large (infinity).
        claims: in the table. The level is the one that Holm's correction asks of the first of them.
        deviation: standard deviation of the paired differences.
        level: the rate of error that is held.
        power: how often the difference is detected.
    """
    if pairs < 2:
        return math.inf
    # To find a difference of the wrong sign does not count; for few pairs, the two-sided power would also be NaN.
    one_sided = level / claims / 2
    effect_size = TTestPower().solve_power(nobs=pairs, alpha=one_sided, power=power, alternative="larger")
    return deviation * float(np.squeeze(effect_size))


def _bca(values: Sequence[float], level: float) -> tuple[float, float] | tuple[None, None]:
    """Return the bias-corrected and accelerated bootstrap interval of the mean (Efron, 1987)."""
    if len(values) < 2 or np.ptp(values) <= ROUNDING:
        return None, None
    with warnings.catch_warnings():
        # Where resamples degenerate scipy warns and returns NaN, which is seen below.
        warnings.simplefilter("ignore")
        low, high = stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=_RESAMPLES,
            confidence_level=1 - level,
            method="BCa",
            rng=np.random.default_rng(0),
        ).confidence_interval
    return (float(low), float(high)) if math.isfinite(low) and math.isfinite(high) else (None, None)
