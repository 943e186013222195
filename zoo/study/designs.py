"""Which combinations of changes a study trains, and what it compares.

A design asks for combinations and is told their mean recall, once or, where the next depends on what was found,
several times. At its end it says which pairs its claims are about.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from itertools import product

import attrs

from zoo.statistics.fractions import fraction
from zoo.study.definition import Cell, Study, changed


@attrs.frozen
class Pair:
    """A claim to be judged: combination `treatment` against combination `control`, and the change between them."""

    change: str
    treatment: Cell
    control: Cell


@attrs.frozen
class Tried:
    """One step of a search."""

    pair: Pair
    kept: bool


@attrs.frozen
class Outcome:
    """What a design ends with: the pairs to be judged and, of a search, its steps and where it arrived."""

    pairs: tuple[Pair, ...] = ()
    tried: tuple[Tried, ...] = ()
    chosen: Cell | None = None


Search = Generator[list[Cell], Mapping[Cell, float], Outcome]
"""Yields combinations to train; is sent the mean recall of all so far."""


def search(study: Study) -> Search:
    """Begin the search of a study's design."""
    return _DESIGNS[study.design.design](study)


def is_adaptive(study: Study) -> bool:
    """Tell whether what is trained next depends on what was found."""
    return study.design.design in ("stepwise", "forward", "backward")


def is_factorial(study: Study) -> bool:
    """Tell whether the design is analysed by its effects, not by pairs."""
    return study.design.design in ("factorial", "fractional")


def can_lack(study: Study) -> bool:
    """Tell whether the design can do without a combination that cannot be trained: its other claims stand."""
    return study.design.design in ("one-at-a-time", "stepwise", "forward")


def most_cells(study: Study) -> int:
    """Return how many combinations the design trains at most."""
    levels = [len(factor.levels) for factor in study.factors]
    design = study.design.design
    if design in ("one-at-a-time", "stepwise"):
        return 1 + sum(levels)
    if design in ("forward", "backward"):
        # Each round tries what is left: all, then all but the factor with the fewest levels, and so on.
        return 1 + sum(sum(sorted(levels)[left:]) for left in range(len(levels)))
    if design == "factorial":
        return math.prod(count + 1 for count in levels)
    return len(next(search(study)))


def _one_at_a_time(study: Study) -> Search:
    base = study.base_cell
    cells = list(study.single_changes())
    yield [base, *cells]
    return Outcome(tuple(Pair(study.arm_name(cell), cell, base) for cell in cells))


def _leave_one_out(study: Study) -> Search:
    everything = (1,) * len(study.factors)
    pairs = [Pair(f.name, everything, changed(everything, p, 0)) for p, f in enumerate(study.factors)]
    yield [study.base_cell, everything, *(pair.control for pair in pairs)]
    return Outcome(tuple(pairs))


def _stepwise(study: Study) -> Search:
    """Try the factors in the order stated; keep the level that raises recall most, if one does."""
    current = study.base_cell
    tried: list[Tried] = []
    recalls = yield [current]
    for position, factor in enumerate(study.factors):
        levels = [changed(current, position, index + 1) for index in range(len(factor.levels))]
        recalls = yield levels
        current = _advance(study, current, [(position, cell) for cell in levels], recalls, tried)
    return Outcome(tuple(t.pair for t in tried), tuple(tried), current)


def _greedy(start: int) -> Callable[[Study], Search]:
    """Make a search that in each round makes (0) or undoes (1) the one change that raises recall most."""

    def greedy(study: Study) -> Search:
        current = (start,) * len(study.factors)
        tried: list[Tried] = []
        recalls = yield list(dict.fromkeys([study.base_cell, current]))
        while True:
            moves = [
                (position, changed(current, position, index))
                for position, factor in enumerate(study.factors)
                if current[position] == start
                for index in (range(1, len(factor.levels) + 1) if start == 0 else (0,))
            ]
            if not moves:
                break
            recalls = yield [cell for _, cell in moves]
            arrived = _advance(study, current, moves, recalls, tried)
            if arrived == current:
                break
            current = arrived
        return Outcome(tuple(t.pair for t in tried), tuple(tried), current)

    return greedy


def _advance(
    study: Study, current: Cell, moves: list[tuple[int, Cell]], recalls: Mapping[Cell, float], tried: list[Tried]
) -> Cell:
    """Note each move, and return where the best leads, or `current` where none raises recall."""
    best = max((cell for _, cell in moves), key=lambda cell: recalls[cell])
    kept = best if recalls[best] > recalls[current] else current
    for position, cell in moves:
        factor = study.factors[position]
        index = cell[position]
        level = factor.levels[(index or current[position]) - 1].name
        name = factor.name if level == factor.name else f"{factor.name}={level}"
        tried.append(Tried(Pair(name if index else f"without {name}", cell, current), cell == kept))
    return kept


def _factorial(study: Study) -> Search:
    yield list(product(*(range(len(factor.levels) + 1) for factor in study.factors)))
    return Outcome()


def _fractional(study: Study) -> Search:
    yield fraction(len(study.factors), study.design.resolution)
    return Outcome()


_DESIGNS: dict[str, Callable[[Study], Search]] = {
    "one-at-a-time": _one_at_a_time,
    "leave-one-out": _leave_one_out,
    "stepwise": _stepwise,
    "forward": _greedy(0),
    "backward": _greedy(1),
    "factorial": _factorial,
    "fractional": _fractional,
}
