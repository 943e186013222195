from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from zoo.statistics.intervals import mean_interval, mean_of_shares_interval

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


@given(st.lists(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1))
def test_the_interval_of_a_mean_of_shares_holds_the_mean(shares: list[tuple[int, int]]) -> None:
    hits, totals = zip(*shares, strict=True)
    low, high = mean_of_shares_interval(hits, totals)
    assert 0 <= low < high <= 1
    assert low <= np.mean(np.divide(hits, totals)) + 1e-12
    assert high >= np.mean(np.divide(hits, totals)) - 1e-12


def test_the_interval_of_a_mean_of_shares_covers_it() -> None:
    random = np.random.default_rng(0)
    for truths, totals in (
        ([0.95, 0.9, 0.99, 0.8], [40, 20, 100, 30]),
        ([0.99] * 10, [30] * 10),
        ([0.7] * 9, [36] * 9),
    ):
        covered = 0
        for _ in range(1000):
            hits = [int(random.binomial(total, truth)) for truth, total in zip(truths, totals, strict=True)]
            low, high = mean_of_shares_interval(hits, totals)
            covered += low <= np.mean(truths) <= high
        assert 0.93 < covered / 1000 < 0.98
    assert mean_of_shares_interval([5, 5], [5, 5])[0] < 0.9
