"""Claims about two tuned sides: each has to hold beside every setting of the other."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.statistics.paired import Rivals, compare, estimate
from zoo.statistics.verdicts import judge, p_values

GENERATOR = np.random.default_rng(0)


def drawn(mean: float, seeds: int = 8) -> list[float]:
    values = GENERATOR.normal(0, 0.004, seeds)
    return list(values - values.mean() + mean)


def test_a_claim_holds_only_beside_each_setting_of_the_other_side() -> None:
    differences = {"bn": drawn(0.02)}
    alone = compare(differences)["bn"]
    worse = compare(differences, rivals={"bn": Rivals(controls={"a": drawn(0.05), "b": drawn(0.015)})})["bn"]
    equal = compare(differences, rivals={"bn": Rivals(controls={"a": drawn(0.05), "b": drawn(0.001)})})["bn"]
    other_way = compare(differences, rivals={"bn": Rivals(controls={"a": drawn(-0.05)})})["bn"]
    assert [c.verdict for c in (alone, worse, equal, other_way)] == ["helps", "helps", "undecided", "undecided"]
    assert [c.rival for c in (alone, worse, equal, other_way)] == ["", "b", "b", "a"]
    assert alone.p is not None
    assert worse.p is not None
    assert alone.p < worse.p
    assert other_way.p == 1
    assert (other_way.more_seeds, equal.more_seeds is None) == (None, False), "more seeds show no wrong sign"
    assert {c.difference for c in (alone, worse, equal)} == {alone.difference}, "shown is what was chosen"


def test_settings_of_the_treatment_do_not_weaken_a_claim_that_it_helps() -> None:
    differences = {"bn": drawn(0.02)}
    alone = compare(differences)["bn"]
    with_others = compare(differences, rivals={"bn": Rivals(treatments={"a": drawn(-0.05), "b": drawn(0.06)})})["bn"]
    assert (with_others.verdict, with_others.p) == ("helps", alone.p)
    assert with_others.low == alone.low
    assert with_others.high is not None
    assert with_others.high > 0.06, "at its best it may do more"


def test_a_claim_that_it_hurts_holds_beside_each_setting_of_the_treatment() -> None:
    rivals = {"bn": Rivals(controls={"a": drawn(0.0)}, treatments={"b": drawn(-0.001)})}
    assert compare({"bn": drawn(-0.02)})["bn"].verdict == "hurts"
    assert compare({"bn": drawn(-0.02)}, rivals=rivals)["bn"].verdict == "undecided"


@pytest.mark.parametrize(
    ("controls", "treatments", "verdict"),
    [
        ({}, {}, "no practical difference"),
        ({"a": drawn(0.05)}, {"b": drawn(-0.05)}, "no practical difference"),
        ({"a": drawn(-0.01)}, {}, "undecided"),
        ({}, {"b": drawn(0.01)}, "undecided"),
    ],
)
def test_no_practical_difference_holds_for_all_settings_that_could_be_better(
    controls: dict[str, list[float]], treatments: dict[str, list[float]], verdict: str
) -> None:
    found = compare({"bn": drawn(0.0)}, margin=0.01, rivals={"bn": Rivals(controls, treatments)})["bn"]
    assert found.verdict == verdict


def test_an_interval_leaves_out_0_exactly_where_a_difference_is_shown() -> None:
    generator = np.random.default_rng(1)
    for _ in range(300):
        chosen, *others = generator.normal(generator.normal(0, 0.01, (4, 1)), 0.008, (4, 6)).tolist()
        rivals = {"bn": Rivals({"a": others[0], "b": others[1]}, {"c": others[2]})}
        found = compare({"bn": chosen}, margin=1e-9, rivals=rivals)["bn"]
        assert found.low is not None
        assert found.high is not None
        assert (found.verdict == "undecided") == (found.low <= 0 <= found.high)


def test_of_too_few_seeds_beside_another_setting_nothing_is_claimed() -> None:
    few = Rivals(controls={"a": [0.02, 0.02]}, treatments={"b": [0.0]})
    for mean in (0.02, -0.02, 0.0):
        found = compare({"bn": drawn(mean)}, margin=0.01, rivals={"bn": few})["bn"]
        assert (found.verdict, found.low, found.high) == ("undecided", None, None)


def test_seeds_that_agree_are_tested_by_signs() -> None:
    alike = estimate([0.02] * 8)
    assert alike.error == 0
    rivals = estimate([0.01] * 8)
    own = p_values(alike, 0.05)
    with_rival = p_values(type(alike)(seeds=8, difference=0.02, error=0, freedom=7, controls=(rivals,)), 0.05)
    assert with_rival == own


def test_a_claim_that_another_setting_forbids_leaves_the_level_to_no_other() -> None:
    """Of many claims, each forbidden by another setting, the last one is held against the level of the first."""
    generator = np.random.default_rng(2)
    tables = 0
    for _ in range(400):
        estimates = []
        for _ in range(5):
            chosen, rival = generator.normal(0.05, 0.004, 6), generator.normal(0.0, 0.004, 6)
            found = estimate(chosen.tolist())
            estimates.append(
                type(found)(seeds=6, difference=found.difference, error=found.error, freedom=5,
                            controls=(estimate(rival.tolist()),))
            )  # fmt: skip
        tables += any(comparison.verdict != "undecided" for comparison in judge(estimates, margin=1e-9))
    assert tables / 400 < 0.05
