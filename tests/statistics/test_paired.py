from __future__ import annotations

import math
from itertools import product

import attrs
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from zoo.statistics.paired import compare, detectable, estimate, power_of_equivalence
from zoo.statistics.sequential import Sequential
from zoo.statistics.verdicts import judge

differences = st.lists(st.integers(-300, 300).map(lambda count: count / 2000), min_size=3, max_size=12)
close = pytest.approx


def table(claims: int, seeds: int, *, effect: float = 0.01, deviation: float = 0.01) -> dict[str, list[float]]:
    generator = np.random.default_rng(0)
    return {f"change {i}": generator.normal(i * effect, deviation, size=seeds).tolist() for i in range(claims)}


@settings(max_examples=30, deadline=None)
@given(differences)
def test_figures_of_a_pair_are_those_of_scipy_and_statsmodels(values: list[float]) -> None:
    assume(np.ptp(values) > 1e-9)
    compared = compare({"a": values})["a"]
    test = stats.ttest_1samp(values, 0)
    assert compared.n == len(values)
    assert compared.difference == close(np.mean(values), abs=1e-12)
    assert compared.p == close(test.pvalue, abs=1e-9)
    assert (compared.low, compared.high) == close(tuple(test.confidence_interval(0.95)), abs=1e-9)
    equivalent = ttost_paired(np.array(values), np.zeros(len(values)), -0.005, 0.005)[0]
    assert compared.p_equivalent == close(equivalent, abs=1e-9)
    assert compared.effect_size == close(np.mean(values) / np.std(values, ddof=1), abs=1e-9)


def test_seeds_that_share_training_images_are_judged_by_the_corrected_t_test() -> None:
    values = table(1, 6, deviation=0.02)["change 0"]
    compared = compare({"a": values}, overlap=0.25)["a"]
    error = np.std(values, ddof=1) * math.sqrt(1 / 6 + 0.25)
    assert compared.p == close(2 * stats.t.sf(abs(np.mean(values)) / error, 5))
    reach = stats.t.isf(0.025, 5) * error
    assert (compared.low, compared.high) == close((np.mean(values) - reach, np.mean(values) + reach))
    plain = compare({"a": values})["a"]
    assert compared.effect_size == close(plain.effect_size), "of the differences, and not of their mean"
    assert plain.p_signs is not None
    assert compared.p_signs is None, "the test of signs takes them for independent"
    assert estimate([0.01] * 4, 0.002, 0.25).error == close(0.002 * math.sqrt(0.5))


def test_more_seeds_of_the_same_images_say_no_more_about_others_than_these_images_do() -> None:
    for deviation, overlap in ((0.01, 0.0), (0.01, 0.25)):
        found = detectable(10, claims=1, deviation=deviation, overlap=overlap)
        least = math.sqrt(1 / 10 + overlap) * deviation
        assert 2.5 * least < found < 4 * least
    few, many = (detectable(seeds, claims=1, deviation=0.01, overlap=0.25) for seeds in (10, 1000))
    assert many > 0.01 * math.sqrt(0.25) * 2.8 > 0.7 * few
    judged = compare({"a": [0.004, 0.010, -0.002, 0.006, 0.003]}, overlap=1 / 3)["a"]
    assert judged.verdict == "undecided"
    assert judged.more_seeds is None
    assert compare({"a": [0.004, 0.010, -0.002, 0.006, 0.003]})["a"].more_seeds
    assert power_of_equivalence(50, claims=1, deviation=0.01, margin=0.005, overlap=0.25) == 0.0


def test_a_table_is_that_of_paired_t_tests_and_holm() -> None:
    base = np.random.default_rng(1).normal(0.6, 0.01, size=6)
    arms = {name: base + values for name, values in table(5, 6).items()}
    compared = compare({name: (arm - base).tolist() for name, arm in arms.items()})
    p_values = [stats.ttest_rel(arm, base).pvalue for arm in arms.values()]
    equivalent = [ttost_paired(arm, base, -0.005, 0.005)[0] for arm in arms.values()]
    assert [c.p for c in compared.values()] == close(p_values, abs=1e-9)
    assert [c.p_adjusted for c in compared.values()] == close(multipletests(p_values, method="holm")[1], abs=1e-9)
    adjusted = [c.p_equivalent_adjusted for c in compared.values()]
    assert adjusted == close(multipletests(equivalent, method="holm")[1], abs=1e-9)


def test_a_pair_is_a_linear_model_with_seeds_as_blocks() -> None:
    generator = np.random.default_rng(2)
    base, changed = generator.normal(0.6, 0.02, size=(2, 7))
    rows = [(seed, "base", r) for seed, r in enumerate(base)] + [(seed, "new", r) for seed, r in enumerate(changed)]
    fitted = ols("recall ~ C(seed) + arm", pd.DataFrame(rows, columns=["seed", "arm", "recall"])).fit()
    compared = compare({"new": (changed - base).tolist()})["new"]
    assert compared.difference == close(fitted.params["arm[T.new]"], abs=1e-9)
    assert compared.p == close(fitted.pvalues["arm[T.new]"], abs=1e-9)
    assert [compared.low, compared.high] == close(fitted.conf_int().loc["arm[T.new]"].tolist(), abs=1e-9)


def test_p_of_signs_counts_all_flips() -> None:
    values = [0.01, 0.02, 0.015, 0.03, -0.01, 0.012]
    flips = np.array(list(product((1, -1), repeat=6))) @ np.array(values)
    expected = np.mean(np.abs(flips) >= abs(sum(values)) - 1e-12)
    assert compare({"a": values})["a"].p_signs == close(expected)


def test_one_outlier_makes_a_verdict_doubtful() -> None:
    """Seven seeds agree on a gain and one is far below: all signs but one are alike, and t sees only the scatter."""
    values = [0.02, 0.021, 0.019, 0.022, 0.018, 0.02, 0.023, 0.02, 0.021, 0.019, 0.02, -0.15]
    outlying = compare({"a": values})["a"]
    assert outlying.verdict == "undecided"
    assert compare({"a": [0.1, 0.11, 0.12, 0.1]})["a"].is_doubtful is False, "four seeds are too few for the signs"
    sure = compare({"a": values[:-1]})["a"]
    assert (sure.verdict, sure.is_doubtful) == ("helps", False)
    apart = attrs.evolve(sure, p_signs=0.2)
    assert apart.is_doubtful


@pytest.mark.parametrize("values", [[], [0.1], [0.1, 0.12]])
def test_fewer_than_three_pairs_decide_nothing(values: list[float]) -> None:
    compared = compare({"a": values})["a"]
    assert compared.verdict == "undecided"
    assert compared.n == len(values)
    assert compared.difference == close(np.mean(values)) if values else math.isnan(compared.difference)
    nothing = (compared.low, compared.p_signs, compared.p, compared.p_equivalent, compared.effect_size)
    assert nothing == (None,) * 5
    assert compared.more_seeds is None


def test_differences_that_agree_but_for_rounding_have_no_variance() -> None:
    values = [0.75 - 0.5, 0.85 - 0.6, 0.35 - 0.1]
    assert len(set(values)) > 1
    assert estimate(values).error == 0
    assert compare({"a": values})["a"].verdict == "undecided"
    assert estimate([0.3 - 0.2 - 0.1, 0.0]).difference == 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_differences_must_be_finite(value: float) -> None:
    with pytest.raises(ValueError, match=r"differences must be finite numbers, got \[0\.1, (nan|inf)\]"):
        compare({"a": [0.1, value]})


def test_an_undecided_claim_says_how_many_more_seeds_it_takes() -> None:
    compared = compare({"a": [0.01, 0.03, -0.005], "b": [0.3, 0.31, 0.32]})
    assert compared["a"].verdict == "undecided"
    assert compared["a"].more_seeds is not None
    assert compared["a"].more_seeds > 0
    assert compared["b"].verdict == "helps"
    assert compared["b"].more_seeds is None


def test_a_sequential_judge_decides_in_place_of_the_level() -> None:
    judge = Sequential(2).look
    first = compare({"a": [0.30, 0.31, 0.32], "b": [0.01, 0.03, -0.005]}, judge=judge)
    assert (first["a"].verdict, first["b"].verdict) == ("helps", "undecided")
    second = compare({"a": [0.30, 0.31, 0.32, -0.9], "b": [0.01, 0.03, -0.005, 0.02]}, judge=judge)
    assert second["a"] == first["a"], "decided by three seeds; a fourth does not count, for the signs either"
    assert (second["b"].n, first["b"].n) == (4, 3)
    assert second["b"].level > first["b"].level


@pytest.mark.parametrize("pairs", [3, 5, 10, 30])
@pytest.mark.parametrize("claims", [1, 6, 60])
def test_what_is_detectable_is_detected_with_that_power(pairs: int, claims: int) -> None:
    difference = detectable(pairs, claims=claims, deviation=0.01, power=0.8)
    critical = stats.t.isf(0.05 / claims / 2, pairs - 1)
    assert stats.nct.sf(critical, pairs - 1, difference / 0.01 * math.sqrt(pairs)) == close(0.8, abs=2e-3)


@pytest.mark.parametrize(("pairs", "deviation"), [(4, 0.01), (5, 0.001), (8, 0.002), (10, 0.004)])
def test_verdicts_are_as_likely_as_is_said(pairs: int, deviation: float) -> None:
    """Also where the difference that t detects lies inside the margin, which no verdict calls a help."""
    found = detectable(pairs, claims=1, deviation=deviation, margin=0.005)
    generator = np.random.default_rng(0)
    for truth, verdict, expected in (
        (found, "helps", 0.8),
        (0.0, "no practical difference", power_of_equivalence(pairs, claims=1, deviation=deviation, margin=0.005)),
    ):
        tables = generator.normal(truth, deviation, size=(800, pairs)).tolist()
        share = np.mean([judge([estimate(values)], margin=0.005)[0].verdict == verdict for values in tables])
        assert share == close(expected, abs=0.05), verdict


def test_two_pairs_detect_nothing() -> None:
    assert power_of_equivalence(2, claims=1, deviation=0.01, margin=0.005) == 0
    assert detectable(2, claims=1, deviation=0.01) == math.inf


def test_more_pairs_detect_less_and_more_claims_more() -> None:
    assert detectable(10, claims=3, deviation=0.01) < detectable(5, claims=3, deviation=0.01)
    assert detectable(5, claims=6, deviation=0.01) > detectable(5, claims=3, deviation=0.01)
