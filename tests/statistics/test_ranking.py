from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from statsmodels.formula.api import ols

from zoo.statistics.ranking import blocked_means, pareto, ranks

recall = st.integers(0, 20).map(lambda count: count / 20)
few_tables = st.integers(1, 5).flatmap(
    lambda seeds: st.lists(st.lists(recall, min_size=seeds, max_size=seeds), min_size=1, max_size=5)
)
points = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.tuples(recall, recall), max_size=8)


def by_seed(values: list[float]) -> dict[int, float]:
    return dict(enumerate(values))


@settings(max_examples=30, deadline=None)
@given(few_tables)
def test_ranks_are_those_of_the_means(table: list[list[float]]) -> None:
    found = {rank.arm: rank for rank in ranks({str(i): by_seed(v) for i, v in enumerate(table)})}
    expected = rankdata([-round(math.fsum(values) / len(values), 9) for values in table])
    assert [found[str(i)].rank for i in range(len(table))] == expected.tolist()
    assert [rank.rank for rank in found.values()] == sorted(expected)
    for rank in found.values():
        if rank.low is not None:
            assert rank.high is not None
            assert 1 <= rank.low <= rank.rank <= rank.high <= len(table)
        for other in rank.tied:
            assert rank.arm in found[other].tied


def test_arms_far_apart_have_certain_ranks_and_no_ties() -> None:
    noise = np.random.default_rng(0).normal(0, 0.001, size=(3, 6))
    found = ranks(
        {name: by_seed((level + e).tolist()) for name, level, e in zip("abc", (0.5, 0.7, 0.6), noise, strict=True)}
    )
    assert [(r.arm, r.rank, r.low, r.high, r.tied) for r in found] == [
        ("b", 1, 1, 1, ()),
        ("c", 2, 2, 2, ()),
        ("a", 3, 3, 3, ()),
    ]


def test_arms_alike_are_tied_and_their_ranks_uncertain() -> None:
    noise = np.random.default_rng(1).normal(0, 0.01, size=(2, 6))
    first, second, third = ranks(
        {"a": by_seed((0.6 + noise[0]).tolist()), "b": by_seed((0.6 + noise[1]).tolist()), "c": by_seed([0.1] * 6)}
    )
    assert (first.low, first.high) == (second.low, second.high) == (1, 2)
    assert first.tied == (second.arm,)
    assert second.tied == (first.arm,)
    assert (third.low, third.high, third.tied) == (3, 3, ())


def test_equal_arms_share_their_rank() -> None:
    found = ranks({"a": by_seed([0.5, 0.6]), "b": by_seed([0.6, 0.5]), "c": by_seed([0.1, 0.1])})
    assert [(r.arm, r.rank) for r in found] == [("a", 1.5), ("b", 1.5), ("c", 3)]


def test_seeds_are_paired() -> None:
    """One seed is far better than the others for all arms; unpaired, it would hide what tells close arms apart."""
    base = np.array([0.2, 0.3, 0.9, 0.4, 0.6])
    better = base + 0.01 + np.array([0.001, -0.001, 0, 0, 0])
    found = ranks({"a": by_seed(better.tolist()), "b": by_seed(base.tolist())})
    assert [(r.arm, r.low, r.high) for r in found] == [("a", 1, 1), ("b", 2, 2)]


def test_one_seed_says_nothing_about_a_rank() -> None:
    assert [(r.arm, r.low, r.high, r.tied) for r in ranks({"a": {0: 0.5}, "b": {0: 0.9}})] == [
        ("b", None, None, ("a",)),
        ("a", None, None, ("b",)),
    ]


def test_recalls_that_agree_by_rounding_do_not_tell_arms_apart() -> None:
    arms = {"a": by_seed([0.501, 0.502, 0.503]), "b": by_seed([0.5, 0.501, 0.502])}
    assert ranks(arms, step=0.01)[0].tied == ("b",)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_means_over_unlike_seeds_are_least_squares_means(number: int) -> None:
    """As statsmodels fits arms and seeds: what is predicted for an arm, on average over all seeds."""
    generator = np.random.default_rng(number)
    recalls = generator.uniform(0.5, 0.9, size=(4, 5))
    present = np.ones((4, 5), dtype=bool)
    present[1:, 1:] = generator.random((3, 4)) < 0.6
    rows = [(f"arm{a}", s, recalls[a, s]) for a, s in zip(*np.nonzero(present), strict=True)]
    frame = pd.DataFrame(rows, columns=["arm", "seed", "recall"])
    fitted = ols("recall ~ arm + C(seed)", frame).fit()
    found = blocked_means({arm: dict(zip(own.seed, own.recall, strict=True)) for arm, own in frame.groupby("arm")})
    for arm, mean in found.items():
        grid = pd.DataFrame({"arm": arm, "seed": sorted(set(frame.seed))})
        assert mean == pytest.approx(fitted.predict(grid).mean(), abs=1e-9)


def test_a_seed_that_is_easy_for_all_makes_no_arm_better() -> None:
    found = blocked_means({"base": {0: 0.9, 1: 0.5}, "easy only": {0: 0.89}, "both": {0: 0.92, 1: 0.52}, "none": {}})
    assert found == pytest.approx({"base": 0.7, "easy only": 0.69, "both": 0.72, "none": -math.inf})


def test_arms_may_have_different_seeds() -> None:
    found = ranks({"a": {0: 0.5, 1: 0.51, 2: 0.52}, "b": {0: 0.6}, "c": {7: 0.7, 8: 0.71}})
    assert [r.arm for r in found] == ["c", "b", "a"]
    assert found[0].tied == ("b", "a"), "what has no two seeds in common cannot be told apart"


def test_one_arm_is_the_first_and_none_has_no_ranks() -> None:
    (only,) = ranks({"a": {0: 0.5}})
    assert (only.rank, only.low, only.high, only.tied) == (1, None, None, ())
    assert ranks({}) == []


@pytest.mark.parametrize("wrong", [{}, {0: math.nan}])
def test_an_arm_needs_finite_recalls(wrong: dict[int, float]) -> None:
    with pytest.raises(ValueError, match=r"expected finite recalls of arm 'a', got \{"):
        ranks({"a": wrong})


@given(points)
def test_an_arm_is_on_the_front_unless_another_is_preferable(arms: dict[str, tuple[float, float]]) -> None:
    front = pareto(arms)

    def preferable(one: str, other: str) -> bool:
        (recall, cost), (its_recall, its_cost) = arms[one], arms[other]
        at_least = recall >= its_recall and cost <= its_cost
        return at_least and (recall > its_recall or cost < its_cost)

    assert set(front) == {arm for arm in arms if not any(preferable(other, arm) for other in arms)}
    assert [arms[arm][1] for arm in front] == sorted(arms[arm][1] for arm in front)


def test_equal_arms_all_stay_on_the_front() -> None:
    arms = {"dear": (0.6, 3.0), "a": (0.5, 1.0), "b": (0.5, 1.0), "beaten": (0.5, 2.0)}
    assert pareto(arms) == ("a", "b", "dear")


def test_a_front_needs_numbers() -> None:
    with pytest.raises(ValueError, match=r"expected a recall and a cost of arm 'a', got \(0\.5, nan\)"):
        pareto({"a": (0.5, math.nan)})
