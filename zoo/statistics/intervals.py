"""Statistics over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit  # Student's t quantile; scipy.stats has the same and takes half a second to import

CONFIDENCE = 0.95


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
