from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import nct, t

from zoo.statistics.paired import estimate
from zoo.statistics.verdicts import Estimate, interval, judge, more_seeds


def with_t(statistic: float, seeds: int = 10, error: float = 0.01) -> Estimate:
    """An estimate whose t statistic is given."""
    return Estimate(seeds=seeds, difference=statistic * error, error=error, freedom=seeds - 1)


@given(st.lists(st.floats(0.01, 20), min_size=1, max_size=8))
def test_a_claim_is_made_where_holm_in_its_own_words_makes_it(statistics: list[float]) -> None:
    compared = judge([with_t(statistic) for statistic in statistics], margin=1e-6)
    remaining, made = len(statistics), set()
    for position in sorted(range(len(statistics)), key=lambda position: -statistics[position]):
        p = compared[position].p
        assert p is not None
        if p > 0.05 / remaining:
            break
        made.add(position)
        remaining -= 1
    assert {position for position, c in enumerate(compared) if c.verdict == "helps"} == made


def test_the_sign_of_the_difference_says_whether_it_helps() -> None:
    assert [c.verdict for c in judge([with_t(9), with_t(-9), with_t(1)])] == ["helps", "hurts", "undecided"]


def test_a_small_difference_is_none_in_practice_even_if_it_is_certain() -> None:
    (compared,) = judge([with_t(9, error=0.0001)], margin=0.005)
    assert compared.p_adjusted is not None
    assert compared.p_adjusted < 0.001
    assert compared.verdict == "no practical difference"


def test_a_claim_that_cannot_be_tested_counts_among_the_claims() -> None:
    alone = judge([with_t(2.5)])[0]
    beside = judge([with_t(2.5), Estimate(seeds=1, difference=0.1, error=None, freedom=0)])
    assert alone.p == beside[0].p
    assert (alone.verdict, beside[0].verdict) == ("helps", "undecided")
    assert alone.p is not None
    assert beside[0].p_adjusted == pytest.approx(2 * alone.p)
    assert (beside[1].p, beside[1].p_adjusted, beside[1].low, beside[1].verdict) == (None, None, None, "undecided")


def test_no_claims_no_verdicts() -> None:
    assert judge([]) == []


def test_seeds_that_agree_on_zero_show_no_practical_difference() -> None:
    (compared,) = judge([estimate([0.0, 0.0, 0.0])], level=0.0001)
    assert compared.verdict == "no practical difference"
    assert (compared.p, compared.low, compared.high, compared.effect_size) == (1, None, None, None)


@pytest.mark.parametrize(
    ("difference", "seeds", "verdict"),
    [
        (0.01, 5, "undecided"),
        (0.01, 6, "helps"),
        (-0.01, 6, "hurts"),
        (0.001, 4, "undecided"),
        (0.001, 5, "no practical difference"),
    ],
)
def test_seeds_that_agree_on_another_value_are_judged_by_sign(difference: float, seeds: int, verdict: str) -> None:
    """2 * 0.5**6 and 0.5**5 are the first below 0.05."""
    (compared,) = judge([estimate([difference] * seeds)])
    assert compared.verdict == verdict


def test_what_was_decided_stays_and_counts_as_rejected() -> None:
    strong, _ = judge([with_t(9), with_t(2.5)])
    assert strong.verdict == "helps"
    later = judge([with_t(0.1), with_t(2.4)], decided={0: strong})
    assert later[0] is strong
    assert later[1].p_adjusted == later[1].p, "the decided claim was rejected; one is left"
    beyond = judge([with_t(0.1), with_t(2.4)])[1]
    assert beyond.p is not None
    assert beyond.p_adjusted == pytest.approx(2 * beyond.p)


def test_what_was_decided_as_equal_is_never_rejected_as_different() -> None:
    (equal,) = judge([with_t(0.1, error=0.0001)])
    assert equal.verdict == "no practical difference"
    later = judge([with_t(50), with_t(2.4)], decided={0: equal})
    assert later[0] is equal
    assert later[1].p is not None
    assert later[1].p_adjusted == pytest.approx(2 * later[1].p)
    assert later[1].p_equivalent_adjusted == later[1].p_equivalent


@given(
    st.floats(-0.03, 0.03),
    st.floats(0.001, 0.03),
    st.integers(2, 12),
    st.integers(1, 20),
    st.sampled_from([0.05, 0.01]),
)
def test_so_many_more_seeds_have_the_power_and_one_fewer_has_not(
    difference: float, deviation: float, seeds: int, claims: int, level: float
) -> None:
    margin = 0.005
    estimated = Estimate(seeds=seeds, difference=difference, error=deviation / math.sqrt(seeds), freedom=seeds - 1)
    further = more_seeds(estimated, claims=claims, margin=margin, level=level)

    def power(count: int) -> float:
        """By scipy's noncentral t, where it has a figure: it has none for some that are almost 1."""
        root = math.sqrt(count) / deviation
        differs = nct.sf(t.isf(level / claims / 2, count - 1), count - 1, abs(difference) * root)
        critical = t.isf(level / claims, count - 1)
        sides = [nct.sf(critical, count - 1, (margin + side * difference) * root) for side in (-1, 1)]
        return float(max(np.nan_to_num(differs, nan=1), sum(np.nan_to_num(sides, nan=1)) - 1))

    if further is None:
        assert power(seeds + 1000) < 0.8
    else:
        assert 1 <= further <= 1000
        assert power(seeds + further) >= 0.8
        assert further == 1 or power(seeds + further - 1) < 0.8


def test_how_many_more_seeds_is_unknown_where_they_do_not_vary() -> None:
    for values in ([], [0.1], [0.1, 0.1], [0.1, 0.1, 0.1]):
        assert more_seeds(estimate(values), claims=1, margin=0.005, level=0.05) is None


def test_an_interval_that_excludes_the_margins_is_the_test_of_equivalence() -> None:
    """Two one-sided tests at 5% are the 90% interval inside the margins (Schuirmann, 1987)."""
    generator = np.random.default_rng(0)
    for _ in range(200):
        estimated = estimate(generator.normal(0, 0.004, size=6).tolist())
        bounds = interval(estimated, 0.1)
        assert bounds is not None
        inside = bounds[0] > -0.005 and bounds[1] < 0.005
        assert inside == (judge([estimated], margin=0.005)[0].verdict == "no practical difference")


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=8))
def test_an_interval_leaves_out_0_exactly_where_the_difference_is_shown(statistics: list[float]) -> None:
    for compared in judge([with_t(statistic) for statistic in statistics], margin=1e-9):
        assert compared.low is not None
        assert compared.high is not None
        assert compared.level <= 0.05
        shown = compared.verdict in ("helps", "hurts")
        assert shown == (compared.low > 0 or compared.high < 0), compared


@pytest.mark.parametrize("images", [270, 10_000])
@pytest.mark.parametrize("scatter", [0.05, 0.7, 2.0], ids=lambda scatter: f"{scatter} images")
@pytest.mark.parametrize("seeds", [3, 8])
def test_recalls_that_agree_by_rounding_decide_nothing_falsely(images: int, scatter: float, seeds: int) -> None:
    """The true difference is the margin, so that "no practical difference" is false; recalls are shares of images."""
    generator, margin, tables = np.random.default_rng(0), 0.005, 400
    wrong = 0
    for _ in range(tables):
        recalls = generator.normal([[0.9 + margin], [0.9]], scatter / images, size=(2, seeds))
        changed, base = np.round(recalls * images) / images
        (compared,) = judge([estimate((changed - base).tolist(), 1 / images)], margin=margin)
        wrong += compared.verdict == "no practical difference"
    assert wrong / tables <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / tables)
