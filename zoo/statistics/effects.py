"""Main effects and two-way interactions of a factorial design, estimated within each seed and judged over seeds.

What a change does varies from seed to seed by more than runs scatter, and all runs of a seed share that. A model of all
runs with one residual variance takes them for independent: by simulation, it made false claims in 20% of tables.
So each seed gives one estimate of each effect, and the t test is over seeds, as for pairs. In a full table this is the
analysis with an error stratum for each effect, `aov(recall ~ a*b + Error(seed/(a*b)))` in R.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import combinations, product
from typing import TYPE_CHECKING

import attrs
import numpy as np
from numpy.typing import NDArray

from zoo.statistics import verdicts
from zoo.statistics.fractions import Aliases
from zoo.statistics.paired import compare, estimate
from zoo.statistics.results import Comparison, Effect
from zoo.statistics.verdicts import LEVEL, MARGIN, Estimate, Judge

if TYPE_CHECKING:
    import pandas as pd


Term = Mapping[int, int]
"""Levels by factor, both as positions; level 0 is the base's."""
Matrix = NDArray[np.float64]


def factorial_effects(
    table: pd.DataFrame,
    factors: Mapping[str, Sequence[str]],
    *,
    margin: float = MARGIN,
    level: float = LEVEL,
    groups: Aliases | None = None,
    judge: Judge | None = None,
    step: float = 0.0,
    overlap: float = 0.0,
    next_level: float | None = None,
) -> list[Effect]:
    """Estimate and judge all main effects and two-way interactions.

    In each seed's runs the model `recall ~ (a + b + ...)**2` is fitted by ordinary least squares; the seeds' estimates
    of an effect are judged as differences of pairs are (`zoo.statistics.paired.compare`). A seed of which runs are
    missing counts for those effects that the others suffice for.

    The main effect of a level is the mean recall with it minus that with the base's level, over all combinations of the
    other factors with equal weight (marginal means: Searle, Speed and Milliken, 1980), whether or not all combinations
    have all seeds. An interaction is the first factor's effect with the second factor's level minus that without it.

    Args:
        table: one row for each run: "seed", "recall", and a column for each factor that holds the name of its level,
            or "base".
        factors: by name, the levels other than the base's.
        margin: a difference in recall that makes no practical difference.
        level: the rate of error that is held over all effects.
        groups: of a fractional design, the terms that it can tell from each other, each with those that it cannot tell
            from it (`zoo.statistics.fractions.aliases`).
        judge: what judges in place of `verdicts.judge` at this level: the `look` of a `Sequential`.
        step: what a single image changes in a recall; see `zoo.statistics.paired.estimate`.
        overlap: of training images; see the same.
        next_level: that further seeds will be judged at; the same when left out.

    Returns:
        Main effects in the order of the factors and their levels, then interactions. Their `n` is the number of seeds:
        0, and the difference NaN, where no seed's runs suffice.

    Raises:
        ValueError: a recall is not finite, or a level is unknown.
    """
    model = _read(table, factors, groups)
    found = dict(enumerate(_by_seed(model, step)))
    estimated = {str(position): values for position, (values, _) in found.items()}
    steps = {str(position): own for position, (_, own) in found.items()}
    compared = compare(
        estimated, margin=margin, level=level, judge=judge, step=steps, overlap=overlap, next_level=next_level
    )
    return [
        Effect(
            levels={model.names[factor]: model.level(factor, index) for factor, index in term.items()},
            comparison=comparison,
            aliases=tuple(
                f"{_weight(weight)} {' x '.join(model.label(f, 1) for f in alias)}"
                for alias, weight in (groups or {}).get(tuple(term), {}).items()
            ),
            sentence=_main(comparison) if len(term) == 1 else _interaction(model, term, comparison, step, overlap),
        )
        for term, comparison in zip(model.terms, compared.values(), strict=True)
    ]


def effects_by_seed(
    table: pd.DataFrame, factors: Mapping[str, Sequence[str]], *, groups: Aliases | None = None, step: float = 0.0
) -> list[tuple[list[float], float]]:
    """Return what `factorial_effects` judges, in its order: each seed's estimate, and what an image changes in it."""
    return _by_seed(_read(table, factors, groups), step)


def _by_seed(model: _Model, step: float) -> list[tuple[list[float], float]]:
    contrasts = [model.effect(term) for term in model.terms]
    return [(model.estimates(contrast), step * model.share_of_image(contrast)) for contrast in contrasts]


@attrs.frozen(kw_only=True, eq=False)
class _Model:
    """A linear model of each seed's runs.

    Attributes:
        factors: by name, the levels other than the base's.
        terms: one for each column; the last column is the constant.
        designs: the distinct columns (runs, columns) that seeds have, each with their pseudo-inverse.
        by_seed: of each seed which of the designs its runs are, and their recalls (runs).
    """

    factors: Mapping[str, Sequence[str]]
    terms: tuple[Term, ...]
    designs: tuple[tuple[Matrix, Matrix], ...]
    by_seed: tuple[tuple[int, Matrix], ...]

    @property
    def names(self) -> list[str]:
        return list(self.factors)

    def level(self, factor: int, index: int) -> str:
        return self.factors[self.names[factor]][index - 1]

    def label(self, factor: int, index: int) -> str:
        name, level = self.names[factor], self.level(factor, index)
        return name if name == level else f"{name}={level}"

    def effect(self, term: Term) -> Matrix:
        """Return the contrast of a main effect or an interaction, (columns,)."""
        (first, index), *second = term.items()
        if not second:
            return self.simple_effect(first, index, {})
        factor, other = second[0]
        return self.simple_effect(first, index, {factor: other}) - self.simple_effect(first, index, {factor: 0})

    def simple_effect(self, factor: int, index: int, given: Term) -> Matrix:
        """Return the contrast of a factor's level to the base's, with other factors at given levels."""
        return self._mean({**given, factor: index}) - self._mean({**given, factor: 0})

    def _mean(self, fixed: Term) -> Matrix:
        """Return the columns' means with some factors at given levels, over all levels of the others."""
        shares = [
            _indicators(np.array([fixed[factor]]), len(levels))
            if factor in fixed
            else np.full((1, len(levels)), 1 / (len(levels) + 1))
            for factor, levels in enumerate(self.factors.values())
        ]
        return np.append(_columns(self.terms, shares)[0], 1.0)

    def estimates(self, contrast: Matrix) -> list[float]:
        """Return the estimate of a contrast of each seed whose runs suffice for it."""
        return [float(weights @ recalls) for weights, recalls in self._weighted(contrast)]

    def share_of_image(self, contrast: Matrix) -> float:
        """Return how much a step of the recall of one run is in a contrast, where 1 is that of a difference of two."""
        squares = [float(weights @ weights) for weights, _ in self._weighted(contrast)]
        return math.sqrt(max(squares, default=2.0) / 2)

    def _weighted(self, contrast: Matrix) -> Iterator[tuple[Matrix, Matrix]]:
        """Yield the weights of each seed's runs in a contrast, and their recalls, where they suffice for it."""
        weights: list[Matrix] = [contrast @ inverse for _, inverse in self.designs]
        suffices = [
            np.allclose(own @ columns, contrast, atol=1e-9)
            for own, (columns, _) in zip(weights, self.designs, strict=True)
        ]
        yield from ((weights[design], recalls) for design, recalls in self.by_seed if suffices[design])


def _read(
    table: pd.DataFrame,
    factors: Mapping[str, Sequence[str]],
    groups: Aliases | None,
) -> _Model:
    recalls = table["recall"].to_numpy(dtype=float)
    if not np.isfinite(recalls).all():
        raise ValueError(f"recalls must be finite numbers, got {recalls.tolist()}")
    kept = groups or [term for size in (1, 2) for term in combinations(range(len(factors)), size)]
    sizes = [len(levels) for levels in factors.values()]
    terms = tuple(
        dict(zip(term, indices, strict=True))
        for term in kept
        for indices in product(*(range(1, sizes[factor] + 1) for factor in term))
    )
    shares = [_indicators(_indices(table[name], levels), len(levels)) for name, levels in factors.items()]
    columns = np.column_stack([_columns(terms, shares), np.ones(len(table))])
    seeds = table["seed"].to_numpy()
    designs: dict[bytes, Matrix] = {}
    by_seed = []
    for seed in np.unique(seeds):
        own = columns[seeds == seed]
        designs.setdefault(own.tobytes(), own)
        by_seed.append((list(designs).index(own.tobytes()), recalls[seeds == seed]))
    return _Model(
        factors=factors,
        terms=terms,
        designs=tuple((each, np.linalg.pinv(each).astype(np.float64)) for each in designs.values()),
        by_seed=tuple(by_seed),
    )


def _indices(column: pd.Series[str], levels: Sequence[str]) -> NDArray[np.int64]:
    known = {level: index for index, level in enumerate(["base", *levels])}
    unknown = sorted(set(column) - set(known))
    if unknown:
        raise ValueError(f"factor {column.name!r} has no level {unknown[0]!r}; it has {', '.join(known)}")
    return np.array([known[level] for level in column])


def _indicators(indices: NDArray[np.int64], size: int) -> Matrix:
    """Return a column for each level but the base's: 1 where it is the row's, else 0."""
    return np.equal.outer(indices, np.arange(1, size + 1)).astype(np.float64)


def _columns(terms: Sequence[Term], shares: Sequence[Matrix]) -> Matrix:
    """Return the terms' columns, (rows, terms), from each factor's share of each level in each row."""
    return np.stack([np.prod([shares[f][:, index - 1] for f, index in term.items()], axis=0) for term in terms], axis=1)


def _weight(weight: float) -> str:
    """Write a power of two with its sign: "+", "-", "-1/2", "+2"."""
    size = "" if abs(weight) == 1 else str(Fraction(abs(weight)))
    return ("+" if weight > 0 else "-") + size


def _main(comparison: Comparison) -> str:
    return f"{comparison.verdict}: {comparison.difference:+.4f} on average over all combinations"


def _interaction(model: _Model, term: Term, comparison: Comparison, step: float, overlap: float) -> str:
    """Say how the first factor's effect depends on the second; "" where it is not shown to."""
    if comparison.verdict not in ("helps", "hurts"):
        return ""
    (first, index), (second, other) = term.items()
    a, b = model.label(first, index), model.label(second, other)
    contrasts = [model.simple_effect(first, index, {second: at}) for at in (0, other)]
    estimates = [estimate(model.estimates(each), step * model.share_of_image(each), overlap) for each in contrasts]
    without, with_ = (verdicts.interval(estimated, comparison.level) for estimated in estimates)
    figures = f"without: {_figures(estimates[0], without)}; with: {_figures(estimates[1], with_)}"
    return f"{a} {_dependence(_sign(without), _sign(with_), comparison.difference > 0, b)} ({figures})"


def _dependence(without: int, with_: int, is_positive: bool, b: str) -> str:
    """Say what a change does from the signs of its effects without and with `b`; 0 is a sign not known."""
    match without, with_:
        case 0, 0:
            return f"is {'better' if is_positive else 'worse'} with {b} than without, though neither effect is clear"
        case 0, sign:
            return f"{_DOES[sign]} only with {b}"
        case sign, 0:
            return f"{_DOES[sign]} only without {b}"
        case sign, other if sign != other:
            return f"{_DOES[sign]} without {b} and {_DOES[other]} with it"
    return f"{_DOES[without]} {'more' if is_positive == (without > 0) else 'less'} with {b}"


_DOES = {1: "helps", -1: "hurts"}


def _sign(interval: tuple[float, float] | None) -> int:
    """Return the sign of all numbers in the interval; 0 where it holds both, or there is none."""
    low, high = interval or (0, 0)
    return 1 if low > 0 else -1 if high < 0 else 0


def _figures(estimated: Estimate, interval: tuple[float, float] | None) -> str:
    bounds = f" [{interval[0]:+.4f}, {interval[1]:+.4f}]" if interval else ""
    return f"{estimated.difference:+.4f}{bounds}"
