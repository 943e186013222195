"""Statistics over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import (
    ndtri,
    stdtrit,
)  # Student's t quantile; scipy.stats has the same and takes half a second to import

CONFIDENCE = 0.95


def mean_of_shares_interval(hits: Sequence[float], totals: Sequence[int]) -> tuple[float, float]:
    """Return the ends of the 95% confidence interval of the mean of independent shares, such as recalls of classes.

    Each of m shares is taken as if 2/m hits and 2/m misses had been counted besides, and then the normal interval is
    that of the mean (Price and Bonett, 2004, An improved confidence interval for a linear function of binomial
    proportions). So it has a width where all shares are 1.
    """
    count, total = np.array(hits, float), np.array(totals, float)
    among = len(count)
    share = (count + 2 / among) / (total + 4 / among)
    error = math.sqrt((share * (1 - share) / (total + 4 / among)).sum()) / among
    half = float(ndtri((1 + CONFIDENCE) / 2)) * error
    return max(0.0, float(share.mean()) - half), min(1.0, float(share.mean()) + half)


def mean_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean of independent values and half the width of its 95% confidence interval.

    The interval is Student's t interval (Student, 1908, The probable error of a mean); there is none (None) for
    fewer than two values. The mean of no values is NaN.
    """
    if not values:
        return math.nan, None
    if len(values) < 2:
        return float(values[0]), None
    standard_error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return float(np.mean(values)), float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * standard_error
