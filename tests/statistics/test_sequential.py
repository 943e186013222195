from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.statistics.paired import estimate
from zoo.statistics.sequential import Sequential, added_seeds_to_find, levels, looks
from zoo.statistics.verdicts import Estimate, judge

numbers = st.integers(1, 40)
CERTAIN = estimate([0.3, 0.31, 0.32])
OPEN = estimate([0.01, -0.03, 0.02])


@given(numbers, numbers, numbers)
def test_looks_go_from_the_first_to_the_most_in_batches(first: int, batch: int, most: int) -> None:
    found = looks(first, batch, most)
    assert found[0] == min(first, most)
    assert found[-1] == most
    steps = np.diff(found)
    assert (steps[:-1] == batch).all()
    assert (steps > 0).all()
    assert (steps <= batch).all()


@pytest.mark.parametrize("wrong", [(0, 1, 1), (1, 0, 1), (1, 1, -2)])
def test_numbers_of_seeds_are_positive(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="expected positive numbers of seeds, got first="):
        looks(*wrong)


@given(st.integers(1, 50), st.sampled_from([0.05, 0.01]))
def test_levels_add_up_to_the_whole_and_grow(count: int, level: float) -> None:
    found = levels(count, level)
    assert len(found) == count
    assert sum(found) == pytest.approx(level)
    assert found == sorted(found)
    assert found[0] > 0


def test_no_look_has_no_level() -> None:
    with pytest.raises(ValueError, match="expected at least one look, got 0"):
        levels(0)


def test_one_look_is_no_sequence() -> None:
    estimates = [CERTAIN, OPEN]
    assert Sequential(1).look(estimates) == judge(estimates)


def test_intervals_and_verdicts_are_of_the_level_of_the_look() -> None:
    sequence = Sequential(3)
    for level in levels(3):
        (compared,) = sequence.look([OPEN])
        assert sequence.level == level
        assert compared == judge([OPEN], level=level)[0]


def test_a_decided_claim_stays_decided() -> None:
    sequence = Sequential(2)
    first = sequence.look([CERTAIN, OPEN])
    assert [c.verdict for c in first] == ["helps", "undecided"]
    second = sequence.look([OPEN, CERTAIN])
    assert second[0] == first[0]
    assert second[1].verdict == "helps"


def test_no_look_beyond_the_last() -> None:
    sequence = Sequential(1)
    sequence.look([OPEN])
    with pytest.raises(ValueError, match=r"all 1 looks were taken; another would raise the rate of error"):
        sequence.look([OPEN])


def test_claims_must_not_change_between_looks() -> None:
    sequence = Sequential(2)
    sequence.look([OPEN])
    with pytest.raises(ValueError, match="expected the 1 claims of the first look, got 2"):
        sequence.look([OPEN, CERTAIN])


def test_repeated_looks_at_one_level_would_err_too_often() -> None:
    """The reason for the whole module: each look at 0.05 makes a false claim in far more than 5% of tables."""
    generator = np.random.default_rng(3)
    erred = 0
    for _ in range(400):
        values = generator.normal(0, 1, size=15).tolist()
        erred += any(
            judge([_scaled(values[:count])], margin=1e-6)[0].verdict in ("helps", "hurts")
            for count in (3, 6, 9, 12, 15)
        )
    assert erred / 400 > 0.08


def _scaled(values: list[float]) -> Estimate:
    return estimate([0.01 * value for value in values])


def test_seeds_that_are_added_find_what_is_said_in_four_of_five_tables() -> None:
    stated = {"claims": 3, "deviation": 0.01, "first": 3, "batch": 2, "level": 0.04}
    found = added_seeds_to_find(0.012, most=100, **stated)  # type: ignore[arg-type]
    assert found is not None
    mean, most = found
    generator, taken, hits, tables = np.random.default_rng(1), [], 0, 300
    for values in generator.normal(0.012, 0.01, size=(tables, most)).tolist():
        sequential = Sequential(levels(len(looks(3, 2, most)), 0.04), margin=1e-9)
        for count in looks(3, 2, most):
            # The others are never rejected: of three claims, Holm holds the least p against a third of the level.
            others = Estimate(seeds=count, difference=0.0, error=1.0, freedom=count - 1)
            claims = [estimate(values[:count]), others, others]
            is_found = sequential.look(claims)[0].verdict == "helps"
            if is_found:
                break
        taken.append(count)
        hits += is_found
    assert hits / tables == pytest.approx(0.8, abs=0.08)
    assert np.mean(taken) == pytest.approx(mean, rel=0.06)
    assert added_seeds_to_find(0.012, most=most - 2, **stated) is None  # type: ignore[arg-type]
