"""Simulated tables of recalls: effects, agreement, choices, ranks, lost runs, skew and advice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

import numpy as np
import pandas as pd
import scipy
from _made_up import OWN, Recalls, Row, by_seed, drawn
from numpy.typing import NDArray

from zoo.statistics.effects import factorial_effects
from zoo.statistics.losses import compare_losses
from zoo.statistics.paired import compare, estimate
from zoo.statistics.ranking import blocked_means, ranks
from zoo.statistics.sequential import Sequential, share
from zoo.statistics.verdicts import LEVEL, more_seeds


def effects(tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """Three changes without effect on average, in all combinations; what each does varies from seed to seed."""
    factors, seeds, residual = {name: [name] for name in "abc"}, 6, 0.004
    cells = pd.DataFrame([dict(zip("abc", cell, strict=True)) for cell in product((0, 1), repeat=3)])
    table = pd.concat([cells.assign(seed=seed) for seed in range(seeds)], ignore_index=True)
    named = table[["seed"]].assign(**{name: np.where(table[name], name, "base") for name in "abc"})
    halves = table[["a", "b", "c"]].to_numpy() - 0.5
    pairs = [halves[:, first] * halves[:, second] for first, second in combinations(range(3), 2)]
    columns = np.column_stack([halves, *pairs, np.eye(seeds)[table.seed]])
    for ratio in (0, 1, 6):
        claimed = pooled = held = 0
        for _ in range(tables):
            slopes = generator.normal(0, residual * np.sqrt(ratio), size=(seeds, 3))
            recalls = 0.9 + (slopes[table.seed] * table[["a", "b", "c"]].to_numpy()).sum(axis=1)
            recalls += generator.normal(0, residual, size=len(table))
            found = [each.comparison for each in factorial_effects(named.assign(recall=recalls), factors, margin=1e-9)]
            claimed += any(each.verdict in ("helps", "hurts") for each in found)
            held += sum(each.low is not None and each.high is not None and each.low <= 0 <= each.high for each in found)
            pooled += _of_one_variance(columns, recalls) < LEVEL
        about = f"3 changes without effect, factorial, 6 seeds, change by seed {ratio} times the residual"
        yield Row(about=about, figure='any "helps" or "hurts"', wanted="at most 0.05", otherwise=pooled / tables,
                  zoo=claimed / tables)  # fmt: skip
        yield Row(about=about, figure="an interval holds the effect", wanted="at least 0.95", otherwise=None,
                  zoo=held / tables / 6)  # fmt: skip


def _of_one_variance(columns: NDArray[np.float64], recalls: NDArray[np.float64]) -> float:
    """Return the least p, times six, of six effects by a model of all runs with a mean for each seed."""
    inverse = np.linalg.pinv(columns)
    estimates = inverse @ recalls
    freedom = len(recalls) - columns.shape[1]
    variance = float(((recalls - columns @ estimates) ** 2).sum()) / freedom
    ratios = np.abs(estimates[:6]) / np.sqrt(variance * (inverse[:6] ** 2).sum(axis=1))
    return float(6 * 2 * scipy.stats.t.sf(ratios.max(), freedom))


def agreement(tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """Recalls of few images, which agree by rounding, where the true difference is the margin."""
    margin, images = 0.005, 300
    for seeds, scatter in product((2, 3, 5), (0.1, 0.4, 1.0)):
        said = said_otherwise = 0
        for _ in range(tables):
            true = np.array([[0.9], [0.9 + margin]]) * images + generator.uniform()
            right = np.round(true + generator.normal(0, scatter, size=(2, seeds)))
            differences = ((right[1] - right[0]) / images).tolist()
            said += compare({"": differences}, margin=margin, step=1 / images)[""].verdict == _SAME
            said_otherwise += _without_a_floor(differences, margin) < LEVEL
        yield Row(about=f"recalls of {images} images that scatter by {scatter:g} of them, a difference of the margin, "
                  f"{seeds} seeds", figure=f'"{_SAME}"', wanted="at most 0.05", otherwise=said_otherwise / tables,
                  zoo=said / tables)  # fmt: skip


_SAME = "no practical difference"


def _without_a_floor(differences: list[float], margin: float) -> float:
    """Return the larger p of two one-sided t tests; 0 for differences that agree within the margin."""
    mean, error = float(np.mean(differences)), float(scipy.stats.sem(differences))
    if error < 1e-12:
        return float(abs(mean) > margin - 1e-12)
    distances = np.array([mean + margin, margin - mean]) / error
    return float(scipy.stats.t.sf(distances, len(differences) - 1).max())


def choices(tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """Arms of which some were decided early, and have fewer seeds: which is chosen."""
    for gap in (0.002, 0.004):
        truth, counts = [0.0, 0.0, 0.01, 0.01 - gap, 0.0], [15, 15, 3, 15, 7]
        plain = blocked = 0
        for table in drawn(generator, tables, truth, max(counts), own=OWN / 2):
            arms = {str(arm): by_seed(table[arm, :count]) for arm, count in enumerate(counts)}
            means = {arm: float(np.mean(list(own.values()))) for arm, own in arms.items()}
            adjusted = blocked_means(arms)
            plain += max(means, key=lambda arm: means[arm]) == "2"
            blocked += max(adjusted, key=lambda arm: adjusted[arm]) == "2"
        yield Row(
            about=f"choice among arms of 3 to 15 seeds, the best ahead by {gap:g}",
            figure="the best is chosen",
            wanted="often",
            otherwise=plain / tables,
            zoo=blocked / tables,
        )


def rank_intervals(tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """Intervals of ranks: whether those of all arms hold the ranks by true means."""
    for name, truth in (("all equal", [0.0] * 6), ("0.003 apart", [0.003 * arm for arm in range(6)])):
        for seeds in (3, 10):
            held = drawn_held = 0
            for table in drawn(generator, tables, truth, seeds):
                found = ranks({str(arm): by_seed(own) for arm, own in enumerate(table)})
                held += all(_holds_rank(truth, int(rank.arm), rank.low, rank.high) for rank in found)
                drawn_held += all(
                    _holds_rank(truth, arm, low, high) for arm, (low, high) in enumerate(_bootstrapped(table))
                )
            yield Row(
                about=f"ranks of 6 arms, {name}, {seeds} seeds",
                figure="the intervals hold all ranks",
                wanted="at least 0.95",
                otherwise=drawn_held / tables,
                zoo=held / tables,
            )


def _holds_rank(truth: list[float], arm: int, low: float | None, high: float | None) -> bool:
    """Tell whether an interval holds all ranks that an arm may have; equal arms may have each rank among theirs."""
    better, worse = (sum(sign * mean > sign * truth[arm] for mean in truth) for sign in (1, -1))
    return low is not None and high is not None and low <= 1 + better and high >= len(truth) - worse


def _bootstrapped(table: Recalls) -> list[tuple[float, float]]:
    """Return percentile intervals of ranks, seeds drawn anew."""
    seeds = table.shape[1]
    drawn_seeds = np.random.default_rng(0).integers(seeds, size=(200, seeds))
    means = table[:, drawn_seeds].mean(axis=-1)
    found = scipy.stats.rankdata(-means, axis=0)
    low, high = np.quantile(found, (0.025, 0.975), axis=1, method="inverted_cdf")
    return list(zip(low.tolist(), high.tolist(), strict=True))


def losses(tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """Runs of which some are lost: verdicts on recall among those that learned, and on the losses themselves."""
    for seeds in (5, 10):
        held = held_otherwise = claimed = claimed_otherwise = found = 0
        for table in drawn(generator, tables, [0.01, 0.0], seeds):
            lost = generator.random((2, seeds)) < [[0.1], [0.1]]
            pairs = (table[0] - table[1])[~lost.any(axis=0)]
            both = np.where(lost, 0.1, table)
            ours, theirs = (compare({"": values.tolist()})[""] for values in (pairs, both[0] - both[1]))
            held += ours.low is None or ours.high is None or ours.low <= 0.01 <= ours.high
            held_otherwise += theirs.low is not None and theirs.high is not None and theirs.low <= 0.01 <= theirs.high
            claimed += ours.verdict == "helps"
            claimed_otherwise += theirs.verdict == "helps"
            counts = {"": ((int(lost[0].sum()), seeds), (int(lost[1].sum()), seeds))}
            found += compare_losses(counts)[""].verdict != "undecided"
        about = f"1 run in 10 lost, with the change and without, {seeds} seeds"
        yield Row(about=about, figure="the interval holds the difference", wanted="at least 0.95",
                  otherwise=held_otherwise / tables, zoo=held / tables)  # fmt: skip
        yield Row(about=about, figure="a difference of 0.01 is found", wanted="often",
                  otherwise=claimed_otherwise / tables, zoo=claimed / tables)  # fmt: skip
        yield Row(about=about, figure="said to lose more, or fewer", wanted="at most 0.05", otherwise=None,
                  zoo=found / tables)  # fmt: skip


def skewed(tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """Differences without a mean whose distribution is skewed: false claims, and how many of them are warned of."""
    for seeds in (3, 5, 10):
        false = warned = 0
        for values in (0.01 * (1 - generator.exponential(size=(tables, seeds)))).tolist():
            compared = compare({"": values}, margin=1e-9)[""]
            false += compared.verdict != "undecided"
            warned += compared.verdict != "undecided" and not compared.is_doubtful
        yield Row(about=f"exponential differences, mean 0, {seeds} seeds", figure="false claims (zoo: not warned of)",
                  wanted="near 0.05", otherwise=false / tables, zoo=warned / tables)  # fmt: skip


def advice(tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """Changes without effect, and the advice "about N more seeds" followed up to five times."""
    for claims, first in ((1, 5), (3, 5), (6, 3)):
        recalls = drawn(generator, tables, [0.0] * (claims + 1), _MOST)
        erred, erred_otherwise = (
            sum(_errs([(row - table[0]).tolist() for row in table[1:]], first, spend=spend) for table in recalls)
            for spend in (True, False)
        )
        yield Row(about=f"{claims} changes without effect, {first} seeds, then 5 times what is advised",
                  figure='any "helps" or "hurts"', wanted="at most 0.05", otherwise=erred_otherwise / tables,
                  zoo=erred / tables)  # fmt: skip


_MOST = 100


def _errs(differences: list[list[float]], first: int, *, spend: bool) -> bool:
    """Tell whether a claim is made at any look; each of them at 5% where nothing is spent."""
    levels = [share(look) if spend else LEVEL for look in range(1, 8)]
    sequential, count = Sequential(levels, margin=1e-9), first
    for look in range(6):
        estimates = [estimate(values[:count]) for values in differences]
        if any(found.verdict in ("helps", "hurts") for found in sequential.look(estimates)):
            return True
        more = [more_seeds(each, claims=len(estimates), margin=1e-9, level=levels[look + 1]) for each in estimates]
        count = min(count + min((number for number in more if number), default=_MOST), _MOST)
    return False
