"""Which combinations each design trains, with recalls that are made up."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.registry import default_registry
from zoo.spec.resolve import resolve
from zoo.study.definition import Cell, Design, Factor, Level, Study
from zoo.study.designs import Outcome, is_adaptive, most_cells, search

DESIGNS = ("one-at-a-time", "leave-one-out", "stepwise", "forward", "backward", "factorial", "fractional")


def study(design: Any, *levels: int, resolution: int = 4) -> Study:
    factors = tuple(
        Factor(name, tuple(Level(name if count == 1 else str(i), {}) for i in range(1, count + 1)))
        for name, count in zip("abcdefghi", levels, strict=False)
    )
    base = resolve("starter/default", registry=default_registry())
    return Study(name="s", base=base, factors=factors, design=Design(design=design, resolution=resolution))


def carry_out(asked: Study, recall: Mapping[Cell, float]) -> tuple[list[list[Cell]], Outcome]:
    """Return what a design asked for, round by round, and what it ended with."""
    found = search(asked)
    rounds = [next(found)]
    while True:
        try:
            rounds.append(found.send({cell: recall[cell] for cells in rounds for cell in cells}))
        except StopIteration as stop:
            return rounds, stop.value


def additive(count: int, *gains: float) -> dict[Cell, float]:
    return {cell: sum(g for g, on in zip(gains, cell, strict=True) if on) for cell in product((0, 1), repeat=count)}


def test_one_at_a_time() -> None:
    rounds, outcome = carry_out(study("one-at-a-time", 1, 2), dict.fromkeys(product((0, 1), (0, 1, 2)), 0.0))
    assert rounds == [[(0, 0), (1, 0), (0, 1), (0, 2)]]
    assert [(p.change, p.treatment, p.control) for p in outcome.pairs] == [
        ("a", (1, 0), (0, 0)),
        ("b=1", (0, 1), (0, 0)),
        ("b=2", (0, 2), (0, 0)),
    ]


def test_leave_one_out() -> None:
    rounds, outcome = carry_out(study("leave-one-out", 1, 1, 1), additive(3, 1, 2, 3))
    assert rounds == [[(0, 0, 0), (1, 1, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0)]]
    assert [(p.change, p.treatment, p.control) for p in outcome.pairs] == [
        ("a", (1, 1, 1), (0, 1, 1)),
        ("b", (1, 1, 1), (1, 0, 1)),
        ("c", (1, 1, 1), (1, 1, 0)),
    ]


def test_stepwise_keeps_what_helps() -> None:
    rounds, outcome = carry_out(study("stepwise", 1, 1, 1), additive(3, 1, -2, 3))
    assert rounds == [[(0, 0, 0)], [(1, 0, 0)], [(1, 1, 0)], [(1, 0, 1)]]
    assert [(t.pair.change, t.kept) for t in outcome.tried] == [("a", True), ("b", False), ("c", True)]
    assert outcome.chosen == (1, 0, 1)


def test_stepwise_depends_on_the_order() -> None:
    """b helps only without a, and more than a: who tries a first does not find it."""
    recall = {(0, 0): 0.0, (1, 0): 1.0, (0, 1): 2.0, (1, 1): 0.5}
    assert carry_out(study("stepwise", 1, 1), recall)[1].chosen == (1, 0)
    assert carry_out(study("forward", 1, 1), recall)[1].chosen == (0, 1)


def test_forward_takes_the_best_first() -> None:
    rounds, outcome = carry_out(study("forward", 1, 1, 1), additive(3, 1, -2, 3))
    assert rounds[1] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert rounds[2] == [(1, 0, 1), (0, 1, 1)]
    assert rounds[3] == [(1, 1, 1)]
    assert outcome.chosen == (1, 0, 1)
    assert [t.pair.change for t in outcome.tried if t.kept] == ["c", "a"]


def test_backward_undoes_what_hurts() -> None:
    rounds, outcome = carry_out(study("backward", 1, 1, 1), additive(3, 1, -2, 3))
    assert rounds[0] == [(0, 0, 0), (1, 1, 1)]
    assert outcome.chosen == (1, 0, 1)
    assert [t.pair.change for t in outcome.tried if t.kept] == ["without b"]


def test_a_choice_among_levels_is_one_step() -> None:
    recall = {(0,): 0.0, (1,): 1.0, (2,): 3.0, (3,): 2.0}
    rounds, outcome = carry_out(study("stepwise", 3), recall)
    assert rounds == [[(0,)], [(1,), (2,), (3,)]]
    assert outcome.chosen == (2,)
    assert [(t.pair.change, t.kept) for t in outcome.tried] == [("a=1", False), ("a=2", True), ("a=3", False)]


def test_a_combination_without_a_run_is_never_kept() -> None:
    recall = {(0, 0): 0.0, (1, 0): -np.inf, (0, 1): 1.0, (1, 1): 2.0}
    assert carry_out(study("stepwise", 1, 1), recall)[1].chosen == (0, 1)


def test_factorial_has_all_combinations() -> None:
    rounds, _ = carry_out(study("factorial", 1, 2), dict.fromkeys(product((0, 1), (0, 1, 2)), 0.0))
    assert sorted(rounds[0]) == sorted(product((0, 1), (0, 1, 2)))


@given(st.lists(st.floats(-1, 1), min_size=8, max_size=8), st.sampled_from(DESIGNS))
@settings(deadline=None)
def test_a_design_asks_for_each_combination_once_and_no_more_than_it_says(values: list[float], design: str) -> None:
    asked = study(design, 1, 1, 1, resolution=3)
    rounds, outcome = carry_out(asked, dict(zip(product((0, 1), repeat=3), values, strict=True)))
    cells = [cell for cells in rounds for cell in cells]
    assert cells[0] == asked.base_cell
    assert len(set(cells)) <= most_cells(asked)
    assert (outcome.chosen is not None) == is_adaptive(asked)
    assert all(pair.treatment in cells and pair.control in cells for pair in outcome.pairs)


def test_a_fraction_has_the_base_and_the_resolution_asked_for() -> None:
    for resolution, runs in ((3, 4), (4, 8)):
        (cells,), _ = carry_out(study("fractional", 1, 1, 1, resolution=resolution), additive(3, 1, 2, 3))
        assert len(set(cells)) == runs
        assert cells[0] == (0, 0, 0)
