from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp
from statsmodels.formula.api import ols
from statsmodels.stats.anova import AnovaRM
from statsmodels.stats.multitest import multipletests

from zoo.statistics.effects import factorial_effects
from zoo.statistics.fractions import Aliases
from zoo.statistics.results import Effect
from zoo.statistics.sequential import Sequential

TWO = {"a": ["x"], "b": ["x"]}
SIZES = {"a": ["x"], "b": ["x", "y", "z"], "c": ["x"]}
close = pytest.approx


def table(
    factors: Mapping[str, Sequence[str]],
    truth: Callable[..., float] = lambda **levels: 0.5,
    *,
    seeds: int = 3,
    deviation: float = 0.004,
    random: int = 0,
) -> pd.DataFrame:
    """Runs of all combinations: what is true of the levels, a block for each seed, and noise."""
    generator = np.random.default_rng(random)
    blocks = generator.normal(0, 0.02, size=seeds)
    cells = [dict(zip(factors, cell, strict=True)) for cell in product(*(["base", *each] for each in factors.values()))]
    rows = [{"seed": seed, "recall": truth(**cell) + blocks[seed], **cell} for cell in cells for seed in range(seeds)]
    found = pd.DataFrame(rows)
    found["recall"] += generator.normal(0, deviation, size=len(found))
    return found


def named(effects: Sequence[Effect]) -> dict[str, Effect]:
    return {effect.name: effect for effect in effects}


def by_seed(runs: pd.DataFrame, formula: str, weights: Mapping[str, float]) -> list[float]:
    """Fit a formula to each seed's runs, and return a combination of its coefficients, by their names."""
    fits = [ols(formula, own).fit() for _, own in runs.groupby("seed")]
    return [sum(weight * fit.params[name] for name, weight in weights.items()) for fit in fits]


def check(effect: Effect, values: Sequence[float]) -> None:
    """Compare with scipy's t test of the seeds' estimates."""
    compared, test = effect.comparison, ttest_1samp(values, 0)
    assert compared.n == len(values)
    assert compared.difference == close(np.mean(values), abs=1e-9)
    assert compared.p == close(test.pvalue, abs=1e-9)
    assert [compared.low, compared.high] == close(list(test.confidence_interval(1 - compared.level)), abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 2))
def test_effects_are_those_of_a_formula_over_seeds(random: int, missing: int) -> None:
    """R style, with treatment coding; some runs are missing, so that the table is not balanced."""
    runs = table(SIZES, random=random, deviation=0.02)
    runs = runs.drop(np.random.default_rng(random).choice(len(runs), size=missing, replace=False)).reset_index()
    effects = named(factorial_effects(runs, SIZES))
    assert list(effects) == [
        *("a=x", "b=x", "b=y", "b=z", "c=x"),
        *("a=x x b=x", "a=x x b=y", "a=x x b=z", "a=x x c=x", "b=x x c=x", "b=y x c=x", "b=z x c=x"),
    ]
    third = {f"a[T.x]:b[T.{level}]": 1 / 4 for level in "xyz"}
    for name, weights in {
        "a=x": {"a[T.x]": 1, **third, "a[T.x]:c[T.x]": 1 / 2},
        "b=y": {"b[T.y]": 1, "a[T.x]:b[T.y]": 1 / 2, "b[T.y]:c[T.x]": 1 / 2},
        "a=x x b=z": {"a[T.x]:b[T.z]": 1},
        "b=y x c=x": {"b[T.y]:c[T.x]": 1},
    }.items():
        check(effects[name], by_seed(runs, "recall ~ (a + b + c)**2", weights))
    p_values = [effect.comparison.p for effect in effects.values()]
    adjusted = [effect.comparison.p_adjusted for effect in effects.values()]
    assert adjusted == close(multipletests(p_values, method="holm")[1], abs=1e-9)


@pytest.mark.parametrize("random", range(5))
def test_of_two_levels_p_values_are_those_of_repeated_measures(random: int) -> None:
    """An analysis of variance with an error stratum for each effect, as R's aov with Error(seed/(a*b))."""
    runs = table(TWO, lambda a, b: 0.5 + 0.01 * (a == "x"), random=random)
    reference = AnovaRM(runs, "recall", "seed", within=["a", "b"]).fit().anova_table
    effects = named(factorial_effects(runs, TWO))
    for name, term in {"a=x": "a", "b=x": "b", "a=x x b=x": "a:b"}.items():
        assert effects[name].comparison.p == close(reference.loc[term, "Pr > F"], abs=1e-9)


def test_a_seed_counts_for_the_effects_that_its_runs_suffice_for() -> None:
    runs = table(TWO, seeds=4)
    both = (runs.a == "x") & (runs.b == "x")
    assert {effect.comparison.n for effect in factorial_effects(runs[~both], TWO)} == {0}
    three = runs[~(both & (runs.seed == 2))]
    assert {effect.comparison.n for effect in factorial_effects(three, TWO)} == {3}
    factors = {name: [name] for name in "ABC"}
    eight = table(factors, seeds=4)
    seven = eight[~((eight.A == "A") & (eight.B == "B") & (eight.C == "C") & (eight.seed == 2))]
    assert {effect.comparison.n for effect in factorial_effects(seven, factors)} == {4}


@pytest.mark.parametrize("ratio", [0.0, 1.0, 6.0], ids=lambda ratio: f"change x seed {ratio:g} times the residual")
def test_without_effects_false_claims_are_few_however_the_change_varies(ratio: float) -> None:
    """Variances as of real runs: what a change does varies from seed to seed by 0 to 6 times the residual's."""
    factors = {name: [name] for name in "ABC"}
    generator = np.random.default_rng(7)
    cells = list(product((0, 1), repeat=3))
    wrong, tables = 0, 150
    for _ in range(tables):
        rows = []
        for seed in range(6):
            slopes = generator.normal(0, 0.004 * math.sqrt(ratio), size=3)
            rows += [
                {"seed": seed, "recall": 0.9 + np.dot(slopes, cell) + generator.normal(0, 0.004),
                 **{name: name if on else "base" for name, on in zip("ABC", cell, strict=True)}}
                for cell in cells
            ]  # fmt: skip
        effects = factorial_effects(pd.DataFrame(rows), factors, margin=1e-6)
        wrong += any(effect.comparison.verdict in ("helps", "hurts") for effect in effects)
    assert wrong / tables <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / tables)


def test_in_a_full_table_effects_are_differences_of_means() -> None:
    runs = table(SIZES, random=4)
    means = runs.groupby(list(SIZES))["recall"].mean()
    effects = named(factorial_effects(runs, SIZES))
    of_a = means.xs("x", level="a").mean() - means.xs("base", level="a").mean()
    assert effects["a=x"].comparison.difference == close(of_a, abs=1e-12)

    def simple(b: str) -> float:
        at = means.xs(b, level="b")
        return float(at.xs("x", level="a").mean() - at.xs("base", level="a").mean())

    assert effects["a=x x b=y"].comparison.difference == close(simple("y") - simple("base"), abs=1e-12)


def test_names_need_not_be_identifiers() -> None:
    factors = {"4c": ["4c"], "filter size": ["5 x 5", "C(7)"]}
    assert [effect.name for effect in factorial_effects(table(factors), factors)] == [
        *("4c", "filter size=5 x 5", "filter size=C(7)"),
        *("4c x filter size=5 x 5", "4c x filter size=C(7)"),
    ]


def test_effect_size_is_per_seed() -> None:
    """As for pairs: the effect over the standard deviation that one seed's estimate has."""
    few, many = (
        named(factorial_effects(table(TWO, lambda a, b: 0.5 + 0.01 * (a == "x"), seeds=n), TWO))["a=x"].comparison
        for n in (20, 400)
    )
    assert few.effect_size == close(0.01 / 0.004, rel=0.35)
    assert many.effect_size == close(0.01 / 0.004, rel=0.1)


def test_without_degrees_of_freedom_nothing_is_decided() -> None:
    for effect in factorial_effects(table(TWO, seeds=1), TWO):
        compared = effect.comparison
        assert (compared.verdict, compared.p, compared.low, compared.more_seeds) == ("undecided", None, None, None)
        assert math.isfinite(compared.difference)


def test_runs_that_do_not_scatter_have_no_interval() -> None:
    runs = table(TWO, lambda a, b: 0.5 + 0.01 * (a == "x"), deviation=0)
    effects = named(factorial_effects(runs, TWO))
    assert effects["a=x"].comparison.low is None
    assert effects["a=x"].comparison.verdict == "undecided", "three seeds of one sign do not decide"
    assert effects["b=x"].comparison.verdict == "no practical difference"


def test_combinations_that_are_missing_make_effects_inestimable() -> None:
    runs = table(TWO)
    runs = runs[(runs.a == "base") | (runs.b == "base")]
    for effect in factorial_effects(runs, TWO):
        assert (effect.comparison.n, effect.comparison.verdict, effect.comparison.low) == (0, "undecided", None)


def test_recalls_must_be_finite() -> None:
    runs = table(TWO)
    runs.loc[0, "recall"] = math.nan
    with pytest.raises(ValueError, match=r"recalls must be finite numbers, got \[nan"):
        factorial_effects(runs, TWO)


def test_levels_must_be_known() -> None:
    with pytest.raises(ValueError, match="factor 'a' has no level 'x'; it has base, y"):
        factorial_effects(table(TWO), {**TWO, "a": ["y"]})


def half_fraction(
    random: int = 0,
) -> tuple[pd.DataFrame, dict[str, list[str]], Aliases]:
    """2^(4-1) of resolution IV, S = PQR: main effects are clear, and interactions aliased in pairs."""
    factors = {name: [name] for name in "PQRS"}
    runs = table(factors, random=random)
    signs = {name: np.where(runs[name] == name, 1, -1) for name in factors}
    runs = runs[signs["S"] == signs["P"] * signs["Q"] * signs["R"]].reset_index(drop=True)
    triples: Aliases = {(f,): {tuple(g for g in range(4) if g != f): 0.25} for f in range(4)}
    pairs: Aliases = {(0, 1): {(2, 3): 1.0}, (0, 2): {(1, 3): 1.0}, (0, 3): {(1, 2): 1.0}}
    return runs, factors, {**triples, **pairs}


def test_a_fraction_has_one_effect_for_each_group_of_aliases() -> None:
    runs, factors, groups = half_fraction()
    effects = named(factorial_effects(runs, factors, groups=groups))
    assert list(effects) == ["P", "Q", "R", "S", "P x Q", "P x R", "P x S"]
    assert effects["P"].aliases == ("+1/4 Q x R x S",)
    assert effects["P x Q"].aliases == ("+ R x S",)
    mean = runs.groupby("S")["recall"].mean()
    assert effects["S"].comparison.difference == close(mean["S"] - mean["base"], abs=1e-12)
    codes = runs.assign(**{name: np.where(runs[name] == name, 0.5, -0.5) for name in factors})
    formula = "recall ~ P + Q + R + S + P:Q + P:R + P:S"
    check(effects["S"], by_seed(codes, formula, {"S": 1}))
    check(effects["P x R"], by_seed(codes, formula, {"P:R": 1}))


def test_without_its_groups_a_fraction_cannot_be_estimated() -> None:
    runs, factors, _ = half_fraction()
    assert 0 in {effect.comparison.n for effect in factorial_effects(runs, factors)}


@pytest.mark.parametrize(
    ("without", "with_b", "sentence"),
    [
        (0.03, 0.0, "a=x helps only without b=x (without: +0.0"),
        (0.0, 0.03, "a=x helps only with b=x (without: "),
        (-0.03, 0.0, "a=x hurts only without b=x ("),
        (0.0, -0.03, "a=x hurts only with b=x ("),
        (0.03, 0.06, "a=x helps more with b=x ("),
        (0.06, 0.03, "a=x helps less with b=x ("),
        (-0.03, -0.06, "a=x hurts more with b=x ("),
        (-0.06, -0.03, "a=x hurts less with b=x ("),
        (0.03, -0.03, "a=x helps without b=x and hurts with it ("),
        (-0.03, 0.03, "a=x hurts without b=x and helps with it ("),
        (0.03, 0.03, ""),
    ],
)
def test_an_interaction_in_words(without: float, with_b: float, sentence: str) -> None:
    def truth(a: str, b: str) -> float:
        return 0.5 + (a == "x") * (with_b if b == "x" else without)

    interaction = named(factorial_effects(table(TWO, truth, seeds=6), TWO))["a=x x b=x"]
    assert interaction.sentence.startswith(sentence)
    assert bool(interaction.sentence) == bool(sentence)


def test_an_interaction_of_two_unclear_effects_in_words() -> None:
    """The two effects are each half of the interaction; its interval is wider by no more than the root of two."""

    def truth(a: str, b: str) -> float:
        return 0.5 + (a == "x") * (0.003 if b == "x" else -0.003)

    sentences = set()
    for random in range(40):
        interaction = named(factorial_effects(table(TWO, truth, seeds=6, random=random), TWO, margin=1e-4))["a=x x b=x"]
        sentences.add(interaction.sentence.partition(" (")[0])
    assert "a=x is better with b=x than without, though neither effect is clear" in sentences


def test_the_figures_of_a_sentence_are_the_effects_within_each_level() -> None:
    runs = table(TWO, lambda a, b: 0.5 + 0.03 * (a == "x" and b == "base"), seeds=6)
    means = runs.groupby(["a", "b"])["recall"].mean()
    effect = named(factorial_effects(runs, TWO))["a=x x b=x"]
    test = ttest_1samp(by_seed(runs, "recall ~ a * b", {"a[T.x]": 1}), 0)
    low, high = test.confidence_interval(1 - effect.comparison.level)
    sentence = effect.sentence
    without = means["x", "base"] - means["base", "base"]
    with_b = means["x", "x"] - means["base", "x"]
    assert f"(without: {without:+.4f} [{low:+.4f}, {high:+.4f}]; with: {with_b:+.4f} [" in sentence


def test_a_main_effect_in_words() -> None:
    effects = named(factorial_effects(table(TWO, lambda a, b: 0.5 - 0.03 * (a == "x"), seeds=6), TWO))
    difference = effects["a=x"].comparison.difference
    assert effects["a=x"].sentence == f"hurts: {difference:+.4f} on average over all combinations"


def test_undecided_effects_say_how_many_more_seeds_they_take() -> None:
    effects = factorial_effects(table(TWO, lambda a, b: 0.5 + 0.006 * (a == "x"), seeds=3), TWO)
    compared = named(effects)["a=x"].comparison
    assert compared.verdict == "undecided"
    assert compared.more_seeds is not None


def test_a_sequential_judge_keeps_what_was_decided() -> None:
    judge = Sequential(2).look
    first = named(factorial_effects(table(TWO, lambda a, b: 0.5 + 0.05 * (a == "x"), seeds=4), TWO, judge=judge))
    assert first["a=x"].comparison.verdict == "helps"
    second = named(factorial_effects(table(TWO, seeds=8), TWO, judge=judge))
    assert second["a=x"].comparison == first["a=x"].comparison
    assert second["b=x"].comparison.n in (4, 8)


def test_all_main_effects_come_before_all_interactions() -> None:
    factors = {name: [name] for name in "ABC"}
    names = [effect.name for effect in factorial_effects(table(factors), factors)]
    assert names == [*"ABC", *(" x ".join(pair) for pair in combinations("ABC", 2))]
