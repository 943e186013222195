"""Fractions are of least size and least aberration, and what they cannot tell apart is named, with sign and weight."""

from __future__ import annotations

import time
from itertools import chain, combinations, product
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from zoo.statistics.effects import factorial_effects
from zoo.statistics.fractions import aliases, fraction, most_changes

Signs = NDArray[np.int64]


def word_lengths(weights: Signs, changes: int) -> Signs:
    """Return how many words of length 3 to 8 designs have, from how many changes each run makes: (designs, runs).

    By the MacWilliams identity; a design's runs are the code that is dual to its words.
    """
    lengths = range(3, min(changes, 8) + 1)
    krawtchouk = np.array(
        [
            [
                sum((-1) ** s * comb(w, s) * comb(changes - w, length - s) for s in range(length + 1))
                for length in lengths
            ]
            for w in range(changes + 1)
        ]
    )
    counted = np.stack([(weights == w).sum(axis=1) for w in range(changes + 1)], axis=1)
    return counted @ krawtchouk // weights.shape[1]


def of(changes: int, resolution: int) -> tuple[int, ...]:
    return tuple(word_lengths(np.array(fraction(changes, resolution)).sum(axis=1)[None], changes)[0].tolist())


@pytest.mark.parametrize("resolution", [3, 4, 5])
def test_a_fraction_is_balanced_has_its_resolution_and_begins_with_the_base(resolution: int) -> None:
    for changes in range(2, most_changes(resolution) + 1):
        runs = fraction(changes, resolution)
        assert runs[0] == (0,) * changes
        assert len(set(runs)) == len(runs)
        assert (np.array(runs).sum(axis=0) * 2 == len(runs)).all(), "each change is made in half of the runs"
        assert not any(of(changes, resolution)[: resolution - 3])


def test_fractions_are_of_least_size() -> None:
    """Bounds: Chen, Sun and Wu (1993); for resolution 5 the longest codes of distance 5 (Brouwer's tables)."""
    longest = {3: {m: 2**m - 1 for m in range(2, 6)}, 4: {m: 2 ** (m - 1) for m in range(3, 7)},
               5: {4: 5, 5: 6, 6: 8, 7: 11, 8: 17}}  # fmt: skip
    for resolution, most in longest.items():
        for changes in range(2, max(most.values()) + 1):
            basic = min(m for m in most if most[m] >= changes)
            assert len(fraction(changes, resolution)) == min(2**basic, 2**changes)
    assert [len(fraction(9, 4)), len(fraction(7, 3))] == [32, 8]


@pytest.mark.parametrize(
    ("changes", "resolution"),
    [(3, 3), (5, 3), (6, 3), (7, 3), (6, 4), (7, 4), *((n, 3) for n in range(8, 16)), (9, 4), (7, 5), (8, 5), (9, 5),
     *((n, 3) for n in range(28, 32))],
)  # fmt: skip
def test_no_other_fraction_has_less_aberration(changes: int, resolution: int) -> None:
    """All choices of the further changes are tried: there are at most 150,000."""
    runs = len(fraction(changes, resolution))
    basic = runs.bit_length() - 1
    parity = np.array(
        [[(row & column).bit_count() % 2 for row in range(runs)] for column in range(runs)], dtype=np.int8
    )
    further = [column for column in range(runs) if column.bit_count() > 1]
    chosen = np.array(list(combinations(further, changes - basic)))
    weights = parity[[1 << position for position in range(basic)]].sum(axis=0) + sum(
        parity[chosen[:, position]].astype(np.int64) for position in range(changes - basic)
    )
    assert of(changes, resolution) == min(map(tuple, np.unique(word_lengths(weights, changes), axis=0).tolist()))


@pytest.mark.parametrize(
    ("changes", "resolution", "published"),
    [
        (9, 4, (0, 6, 8)), (10, 4, (0, 10, 16)), (11, 4, (0, 25, 0, 27)), (12, 4, (0, 38, 0, 52)),
        (13, 4, (0, 55, 0, 96)), (14, 4, (0, 77, 0, 168)), (15, 4, (0, 105, 0, 280)), (16, 4, (0, 140, 0, 448)),
        (17, 4, (0, 59, 108)), (18, 4, (0, 78, 144)), (19, 4, (0, 100, 192)), (20, 4, (0, 125, 256)),
        (32, 4, (0, 1240, 0, 27776)), (10, 5, (0, 0, 3, 3, 1)), (11, 5, (0, 0, 6, 6, 2, 1)),
        (17, 5, (0, 0, 34, 68, 68, 85)),
    ],
)  # fmt: skip
def test_word_lengths_are_those_published(changes: int, resolution: int, published: tuple[int, ...]) -> None:
    """Chen, Sun and Wu (1993) for up to 64 runs, Xu (2009) for more; with 17 changes the quadratic residue code."""
    assert of(changes, resolution)[: len(published)] == published


@given(st.data())
@settings(deadline=None, max_examples=30)
def test_aliases_are_what_the_effects_of_a_fraction_hold_besides(data: st.DataObject) -> None:
    """With any recalls of all combinations, without interactions of more than three changes, and without scatter."""
    resolution = data.draw(st.integers(3, 5))
    changes = data.draw(st.integers(2, 7))
    names = [f"c{position}" for position in range(changes)]
    signs = 2 * np.array(list(product((0, 1), repeat=changes))) - 1
    terms = list(chain.from_iterable(combinations(range(changes), size) for size in (1, 2, 3)))
    truth = dict(
        zip(terms, data.draw(st.lists(st.integers(-9, 9), min_size=len(terms), max_size=len(terms))), strict=True)
    )
    recalls = sum(truth[term] * signs[:, term].prod(axis=1) for term in terms) / 1000 + 0.5

    def effect(term: tuple[int, ...]) -> float:
        """The difference that a change makes, of that the difference that the next makes, and so on, over all runs."""
        return float((signs[:, term].prod(axis=1) * recalls).mean()) * 2 ** len(term)

    runs = fraction(changes, resolution)
    at = {tuple(row): recall for row, recall in zip(((signs + 1) // 2).tolist(), recalls, strict=True)}
    rows = [
        {**{n: n if made else "base" for n, made in zip(names, run, strict=True)}, "seed": seed, "recall": at[run]}
        for run in runs
        for seed in range(2)
    ]
    groups = aliases(runs)
    found = factorial_effects(pd.DataFrame(rows), {name: [name] for name in names}, groups=groups)
    assert len(found) == len(groups)
    for (term, others), estimated in zip(groups.items(), found, strict=True):
        expected = effect(term) + sum(weight * effect(other) for other, weight in others.items())
        assert estimated.comparison.difference == pytest.approx(expected, abs=1e-9)


@given(st.integers(3, 5), st.integers(2, 9))
@settings(deadline=None)
def test_aliases_are_those_of_the_design_s_columns(resolution: int, changes: int) -> None:
    """Every effect of up to two changes is named once, and every one of three that a column is equal or opposite to."""
    runs = fraction(changes, resolution)
    signs = 2 * np.array(runs) - 1
    groups = aliases(runs)
    for first, others in groups.items():
        column = signs[:, first].prod(axis=1)
        alike = {
            term: int(np.sign(signs[:, term].prod(axis=1) @ column)) * 2.0 ** (len(first) - len(term))
            for size in (1, 2, 3)
            for term in combinations(range(changes), size)
            if term != first and abs(signs[:, term].prod(axis=1) @ column) == len(runs)
        }
        assert others == alike
    small = [term for first, others in groups.items() for term in (first, *others) if len(term) < 3]
    assert sorted(small) == sorted(chain.from_iterable(combinations(range(changes), size) for size in (1, 2)))


def test_a_word_of_odd_length_has_a_minus_sign_and_half_the_scale() -> None:
    """The base is in the design, so that the third change of 2^(3-1) is made where one of the others is."""
    assert fraction(3, 3) == [(0, 0, 0), (1, 0, 1), (0, 1, 1), (1, 1, 0)]
    assert aliases(fraction(3, 3)) == {(0,): {(1, 2): -0.5}, (1,): {(0, 2): -0.5}, (2,): {(0, 1): -0.5}}


def test_without_a_smaller_fraction_all_combinations_are_taken() -> None:
    assert sorted(fraction(4, 5)) == sorted(product((0, 1), repeat=4))


def test_planning_is_instant() -> None:
    start = time.process_time()
    for resolution in (3, 4, 5):
        for changes in range(2, most_changes(resolution) + 1):
            aliases(fraction(changes, resolution))
    assert time.process_time() - start < 5


def test_what_is_not_in_the_catalogue_is_refused() -> None:
    assert [most_changes(resolution) for resolution in (3, 4, 5)] == [32, 32, 17]
    with pytest.raises(ValueError, match="no fraction of resolution 5 is known for 18 changes"):
        fraction(18, 5)
