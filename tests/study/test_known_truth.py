"""Simulated recalls whose truth is known: how often intervals hold it, and how often false claims are made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from zoo.statistics.effects import effects_by_seed, factorial_effects
from zoo.statistics.paired import estimate
from zoo.statistics.results import Comparison
from zoo.statistics.sequential import Sequential, looks
from zoo.statistics.verdicts import judge

DRAWS = 1000
MARGIN = 0.005


def at_most_five_percent(count: int, of: int = DRAWS) -> bool:
    """Tell whether a count may come of a rate of at most 5% (one in a hundred does not).

    Holm's method leaves little of its 5% unused: over 10,000 draws of pairs, 4.7% and 4.8% were counted.
    """
    return bool(binomtest(count, of, 0.05, alternative="greater").pvalue > 0.01)


def differences(effects: list[float], seeds: int, *, deviation: float = 0.01, random: int = 0) -> NDArray[np.float64]:
    """Draw paired differences, (draws, claims, seeds), of arms that share one base, as those of a study do."""
    generator = np.random.default_rng(random)
    arms = generator.normal(0.6, deviation, size=(DRAWS, len(effects) + 1, seeds)) + np.array([0, *effects])[:, None]
    blocks = generator.normal(0, 0.03, size=(DRAWS, 1, seeds))
    recalls = arms + blocks
    drawn: NDArray[np.float64] = recalls[:, 1:] - recalls[:, :1]
    return drawn


def verdicts_of(drawn: NDArray[np.float64]) -> list[list[Comparison]]:
    return [judge([estimate(claim) for claim in table], margin=MARGIN) for table in drawn.tolist()]


def tables_with(tables: list[list[Comparison]], *verdicts: str) -> int:
    """Return in how many tables one of the verdicts is passed."""
    return sum(any(c.verdict in verdicts for c in table) for table in tables)


def holds(comparison: Comparison, truth: float) -> bool:
    assert comparison.low is not None
    assert comparison.high is not None
    return comparison.low <= truth <= comparison.high


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_of_pairs_cover_the_truth(seeds: int) -> None:
    effects = [0.0, 0.02, -0.01, 0.005]
    tables = verdicts_of(differences(effects, seeds))
    covered = [holds(c, effect) for table in tables for c, effect in zip(table, effects, strict=True)]
    assert np.mean(covered) >= 0.93, "an interval that is corrected for four claims holds more"
    alone = verdicts_of(differences([0.02], seeds))
    assert 0.93 <= np.mean([holds(table[0], 0.02) for table in alone]) <= 0.97


@pytest.mark.parametrize("claims", [1, 5, 15])
def test_of_changes_without_effect_few_are_claimed_to_have_one(claims: int) -> None:
    tables = verdicts_of(differences([0.0] * claims, 5, random=claims))
    assert at_most_five_percent(tables_with(tables, "helps", "hurts"))


def test_differences_of_the_margin_are_seldom_claimed_to_be_none() -> None:
    tables = verdicts_of(differences([MARGIN, -MARGIN, MARGIN], 8, deviation=0.003))
    assert at_most_five_percent(tables_with(tables, "no practical difference"))


def test_beside_changes_that_help_few_others_are_claimed_to() -> None:
    effects = [0.04, -0.04, 0.0, 0.0, 0.0]
    tables = verdicts_of(differences(effects, 8))
    assert at_most_five_percent(tables_with([table[2:] for table in tables], "helps", "hurts"))
    assert np.mean([table[0].verdict == "helps" and table[1].verdict == "hurts" for table in tables]) > 0.9


def sequence(drawn: NDArray[np.float64], counts: list[int]) -> list[list[Comparison]]:
    """Judge each table at each look, until no claim is undecided."""
    tables = []
    for table in drawn.tolist():
        judged = Sequential(len(counts), margin=MARGIN)
        for count in counts:
            compared = judged.look([estimate(claim[:count]) for claim in table])
            if all(c.verdict != "undecided" for c in compared):
                break
        tables.append(compared)
    return tables


SCHEDULE = looks(first=3, batch=3, most=15)


def test_adding_seeds_makes_few_false_claims() -> None:
    tables = sequence(differences([0.0] * 4, SCHEDULE[-1], deviation=0.02), SCHEDULE)
    assert at_most_five_percent(tables_with(tables, "helps", "hurts"))


def test_adding_seeds_makes_few_false_claims_of_no_difference() -> None:
    tables = sequence(differences([MARGIN, -MARGIN, MARGIN], SCHEDULE[-1], deviation=0.003), SCHEDULE)
    assert at_most_five_percent(tables_with(tables, "no practical difference"))


def test_adding_seeds_makes_few_false_claims_beside_true_ones() -> None:
    tables = sequence(differences([0.04, 0.0, 0.0], SCHEDULE[-1]), SCHEDULE)
    assert at_most_five_percent(tables_with([table[1:] for table in tables], "helps", "hurts"))
    assert np.mean([table[0].verdict == "helps" for table in tables]) > 0.95
    assert np.mean([table[0].n for table in tables]) < 9, "what is clear takes few seeds"


FACTORS = {"a": ["a"], "b": ["b"], "c": ["c"]}
CELLS = list(product((0, 1), repeat=3))


def factorial(truth: NDArray[np.float64], *, seeds: int, deviation: float, draws: int) -> Iterator[pd.DataFrame]:
    """Yield tables of all combinations, whose true recalls are given for each."""
    generator = np.random.default_rng(0)
    names = [["base" if not on else name for name, on in zip(FACTORS, cell, strict=True)] for cell in CELLS]
    frame = pd.DataFrame([[*cell, seed] for cell in names for seed in range(seeds)], columns=[*FACTORS, "seed"])
    for _ in range(draws):
        blocks = generator.normal(0, 0.03, size=seeds)
        recalls = truth[:, None] + blocks + generator.normal(0, deviation, size=(len(CELLS), seeds))
        yield frame.assign(recall=recalls.ravel())


def test_a_planted_interaction_is_found_and_intervals_of_effects_cover_the_truth() -> None:
    """a adds 0.02, but nothing with b; c takes 0.01."""
    truth = np.array([0.6 + 0.02 * (a and not b) - 0.01 * c for a, b, c in CELLS])
    true_effects = {"a": 0.01, "b": -0.01, "c": -0.01, "a x b": -0.02, "a x c": 0.0, "b x c": 0.0}
    covered: Counter[str] = Counter()
    found = said = false = 0
    for runs in factorial(truth, seeds=10, deviation=0.006, draws=DRAWS):
        effects = {effect.name: effect for effect in factorial_effects(runs, FACTORS, margin=MARGIN)}
        covered.update(name for name, effect in true_effects.items() if holds(effects[name].comparison, effect))
        found += effects["a x b"].comparison.verdict == "hurts"
        said += effects["a x b"].sentence.startswith("a helps only without b (")
        false += any(effects[name].comparison.verdict in ("helps", "hurts") for name in ("a x c", "b x c"))
    for name in true_effects:
        assert covered[name] / DRAWS >= 0.93, name
    assert found / DRAWS > 0.9
    assert said / found > 0.9
    assert at_most_five_percent(false)


def test_of_factors_without_effect_few_are_claimed_to_have_one() -> None:
    tables = [
        judge([estimate(values) for values, _ in effects_by_seed(runs, FACTORS)], margin=MARGIN)
        for runs in factorial(np.full(len(CELLS), 0.6), seeds=3, deviation=0.02, draws=DRAWS)
    ]
    assert at_most_five_percent(tables_with(tables, "helps", "hurts"))
