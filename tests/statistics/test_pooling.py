"""What changes do in general: agreement with statsmodels, and simulations whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.anova import AnovaRM
from statsmodels.stats.meta_analysis import combine_effects

from zoo.statistics.pooling import Place, Pooled, pool, win_rates
from zoo.statistics.verdicts import interval, judge

DRAWS = 800


def may_be_at_most(rate: float, count: int) -> bool:
    """Tell whether a count may come of a rate of at most so much; one in a hundred does not."""
    return bool(stats.binomtest(count, DRAWS, rate, alternative="greater").pvalue > 0.01)


def placed(values: NDArray[np.float64]) -> dict[Place, list[float]]:
    """Return differences (bases, data sets, seeds) by place."""
    return {(f"b{b}", f"d{d}"): values[b, d].tolist() for b, d in np.ndindex(*values.shape[:2])}


def bases(values: NDArray[np.float64]) -> Pooled:
    """Pool differences (bases, seeds) on one data set."""
    return pool(placed(values[:, None, :]))


def test_it_is_the_random_effects_summary_where_all_variances_are_equal() -> None:
    """With equal variances the usual weights are equal, too."""
    generator = np.random.default_rng(0)
    pattern = np.array([-1.0, 0.5, 0.5, -0.5, 0.5]) * 0.01
    values = generator.normal(0.01, 0.02, size=(4, 1)) + pattern
    found = bases(values)
    variance = np.full(4, values.var(axis=1, ddof=1)[0] / 5)
    summary = combine_effects(values.mean(axis=1), variance, method_re="chi2", row_names=list("abcd"))
    assert found.estimate.difference == pytest.approx(summary.mean_effect_re)
    assert found.estimate.error == pytest.approx(summary.sd_eff_w_re_hksj)
    assert found.estimate.freedom == summary.df_resid
    assert found.heterogeneity == pytest.approx(np.sqrt(summary.tau2))
    assert found.share == pytest.approx(summary.i2)


def test_the_mean_over_units_is_scipys_t_interval() -> None:
    values = np.random.default_rng(1).normal(0.01, 0.02, size=(5, 3))
    found = bases(values)
    expected = stats.ttest_1samp(values.mean(axis=1), 0)
    low, high = interval(found.estimate, 0.05) or (0, 0)
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval()))
    assert judge([found.estimate])[0].p == pytest.approx(expected.pvalue)


def test_with_both_sampled_the_variance_is_that_of_a_crossed_design() -> None:
    """Where each alone explains less than both together, the parts are those of an analysis of variance."""
    import pandas as pd

    generator = np.random.default_rng(4)
    values = generator.normal(0, 0.03, (4, 1, 1)) + generator.normal(0, 0.03, (1, 3, 1)) + np.zeros((4, 3, 2))
    values += generator.normal(0, 0.001, (4, 3, 1))
    found = pool(placed(values))
    assert found.over == ("bases", "data sets")
    means = values.mean(axis=2)
    table = pd.DataFrame([(b, d, means[b, d]) for b, d in np.ndindex(4, 3)], columns=["base", "data", "y"])
    f = AnovaRM(table, "y", "base", within=["data"]).fit().anova_table["F Value"].iloc[0]
    of_bases, of_data = means.mean(axis=1).var(ddof=1) / 4, means.mean(axis=0).var(ddof=1) / 3
    both = of_data / f
    assert found.estimate.error == pytest.approx(np.sqrt(of_bases + of_data - both))
    assert found.estimate.freedom == 2


def test_two_bases_are_no_sample_of_bases() -> None:
    found = bases(np.array([[0.01, 0.02, 0.03], [0.02, 0.03, 0.04]]))
    assert found.over == ()
    assert found.estimate.difference == pytest.approx(0.025)
    assert judge([found.estimate])[0].verdict == "undecided"


def test_data_sets_that_are_no_sample_are_taken_as_they_are() -> None:
    values = np.random.default_rng(2).normal(size=(3, 2, 4))
    found = pool(placed(values))
    assert found.over == ("bases",)
    assert found.estimate.difference == pytest.approx(values.mean())
    assert found.estimate.error == pytest.approx(stats.sem(values.mean(axis=(1, 2))))
    turned = pool(placed(values.swapaxes(0, 1)))
    assert turned.over == ("data sets",)
    assert turned.estimate.error == pytest.approx(found.estimate.error)


def test_a_base_that_lacks_a_place_does_not_count() -> None:
    values = placed(np.random.default_rng(3).normal(size=(4, 2, 3)))
    del values["b1", "d0"]
    values["b2", "d1"] = []
    found = pool(values)
    assert found.bases == ("b0", "b3")
    assert found.over == ()
    assert pool({}).bases == ()


def test_what_one_image_changes_is_the_least_scatter_that_is_believed() -> None:
    found = pool(placed(np.full((3, 1, 4), 0.01)), dict.fromkeys([(f"b{b}", "d0") for b in range(3)], 0.02))
    assert found.estimate.error == pytest.approx(0.02 / np.sqrt(4) / np.sqrt(3))


def drawn(places: int, seeds: int, *, between: float, own: NDArray[np.float64], random: int) -> NDArray[np.float64]:
    """Draw differences (draws, places, seeds) of a change without effect on average."""
    generator = np.random.default_rng(random)
    effects = generator.normal(0, between, size=(DRAWS, places, 1))
    found: NDArray[np.float64] = effects + generator.normal(size=(DRAWS, places, seeds)) * own[:, None]
    return found


@pytest.mark.parametrize("places", [3, 5])
@pytest.mark.parametrize("between", [0.0, 0.01])
@pytest.mark.parametrize("unlike", [False, True])
def test_of_changes_without_effect_in_general_few_are_claimed_to_have_one(
    places: int, between: float, unlike: bool
) -> None:
    own = np.full(places, 0.01)
    own[-1] *= 5 if unlike else 1
    tables = [bases(table) for table in drawn(places, 3, between=between, own=own, random=places)]
    covered = [low <= 0 <= high for low, high in (interval(found.estimate, 0.05) or (0, 0) for found in tables)]
    assert may_be_at_most(0.05, len(covered) - sum(covered))
    false = sum(judge([found.estimate], margin=1e-9)[0].verdict in ("helps", "hurts") for found in tables)
    assert may_be_at_most(0.05, false)
    if not unlike:
        assert np.mean(covered) <= 0.97


def test_another_base_lies_where_it_is_said_to() -> None:
    held = []
    for table in drawn(5, 4, between=0.01, own=np.full(5, 0.01), random=9):
        found = bases(table[:4])
        assert found.low is not None
        assert found.high is not None
        held.append(found.low <= table[4].mean() <= found.high)
    assert may_be_at_most(0.05, len(held) - sum(held))
    assert np.mean(held) <= 0.97


def test_effects_that_bases_and_data_sets_share_make_few_false_claims() -> None:
    generator = np.random.default_rng(11)
    false = 0
    for _ in range(DRAWS):
        values = generator.normal(0, 0.01, (4, 1, 1)) + generator.normal(0, 0.02, (1, 3, 1))
        found = pool(placed(values + generator.normal(0, 0.01, (4, 3, 3))))
        false += judge([found.estimate], margin=1e-9)[0].verdict in ("helps", "hurts")
    assert may_be_at_most(0.05, false)


def test_win_rates_are_counted_over_seeds_and_meaned_over_places() -> None:
    here, there = ("b0", "d"), ("b1", "d")
    found = win_rates(
        {
            "a": {here: {0: 0.9, 1: 0.8}, there: {7: 0.5, 8: 0.5, 9: 0.5}},
            "b": {here: {0: 0.8, 1: 0.8}, there: {7: 0.6, 8: 0.4}},
            "c": {("b2", "d"): {3: 0.1}},
        }
    )
    rates = {(each.arm, each.other): each for each in found}
    assert set(rates) == {("a", "b"), ("b", "a")}, "arms without a common seed are not compared"
    assert rates["a", "b"].rate == pytest.approx((0.75 + 0.5) / 2)
    assert rates["b", "a"].rate == pytest.approx(1 - 0.625)
    assert rates["a", "b"].low == pytest.approx(1 - rates["b", "a"].high)
    assert rates["a", "b"].low < 0.625 < rates["a", "b"].high
