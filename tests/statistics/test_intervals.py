from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from zoo.statistics.intervals import mean_interval

recalls = st.floats(0, 1)


@given(st.lists(recalls, min_size=2, max_size=20))
def test_interval_is_the_one_of_scipy(values: list[float]) -> None:
    mean, half = mean_interval(values)
    assert mean == pytest.approx(np.mean(values), abs=1e-12)
    assert half is not None
    error = stats.sem(values)
    if error == 0:
        assert half == 0
    else:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=error)
        assert (mean - half, mean + half) == pytest.approx((low, high), abs=1e-9)


@given(recalls)
def test_one_value_has_no_interval(value: float) -> None:
    assert mean_interval([value]) == (value, None)


def test_no_value_has_no_mean() -> None:
    mean, half = mean_interval([])
    assert math.isnan(mean)
    assert half is None


def test_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    samples = np.random.default_rng(0).normal(0.5, 0.02, size=(2000, 5))
    covered = sum(abs(mean - 0.5) <= half for mean, half in map(mean_interval, samples.tolist()) if half is not None)
    # Within four standard errors of 95% of 2,000.
    assert abs(covered / 2000 - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000)
