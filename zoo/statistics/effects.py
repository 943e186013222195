"""Main effects and two-way interactions of a factorial design, from a linear model with seeds as blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations, product

import attrs
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.regression.linear_model import OLS

from zoo.statistics import verdicts
from zoo.statistics.results import Comparison, Effect
from zoo.statistics.verdicts import LEVEL, MARGIN, ROUNDING, Estimate, Judge

Term = Mapping[int, int]
"""Levels by factor, both as positions; level 0 is the base's."""
Matrix = NDArray[np.float64]


def factorial_effects(
    table: pd.DataFrame,
    factors: Mapping[str, Sequence[str]],
    *,
    margin: float = MARGIN,
    level: float = LEVEL,
    groups: Mapping[tuple[int, ...], Sequence[tuple[int, ...]]] | None = None,
    judge: Judge | None = None,
) -> list[Effect]:
    """Estimate and judge all main effects and two-way interactions.

    The model is ordinary least squares with a mean for each seed, all main effects and all two-way interactions:
    `recall ~ C(seed) + (a + b + ...)**2`. It takes the scatter around the model to be alike for all combinations.

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
            from it (`zoo.study.designs.aliases`). A term is a tuple of positions of factors.
        judge: what judges in place of `verdicts.judge` at this level: the `look` of a `Sequential`.

    Returns:
        Main effects in the order of the factors and their levels, then interactions. Their `n` is the number of seeds.

    Raises:
        ValueError: a recall is not finite, a level is unknown, or the runs do not suffice to estimate the effects.
    """
    model = _fit(table, factors, groups)
    estimates = model.estimate([model.effect(term) for term in model.terms])
    judge = judge or partial(verdicts.judge, margin=margin, level=level)
    judged = []
    for term, estimated, comparison in zip(model.terms, estimates, judge(estimates), strict=True):
        if comparison.verdict == "undecided":
            further = verdicts.more_seeds(estimated, claims=len(estimates), margin=margin, level=comparison.level)
            comparison = attrs.evolve(comparison, more_seeds=further)
        judged.append(
            Effect(
                levels={model.names[factor]: model.level(factor, index) for factor, index in term.items()},
                comparison=comparison,
                aliases=tuple(
                    " x ".join(model.label(f, 1) for f in alias) for alias in (groups or {}).get(tuple(term), ())
                ),
                sentence=_main(comparison) if len(term) == 1 else _interaction(model, term, comparison),
            )
        )
    return judged


@attrs.frozen(kw_only=True, eq=False)
class _Model:
    """A fitted linear model.

    Attributes:
        factors: by name, the levels other than the base's.
        terms: one for each column; the columns after them are the seeds'.
        seeds: how many.
        freedom: degrees of freedom of the residuals.
        freedom_per_seed: how many a further seed adds, if it has as many runs as those there are.
        parameters: estimated, (columns,).
        covariance: of the parameters, (columns, columns); None without degrees of freedom.
    """

    factors: Mapping[str, Sequence[str]]
    terms: tuple[Term, ...]
    seeds: int
    freedom: int
    freedom_per_seed: int
    parameters: Matrix
    covariance: Matrix | None

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
        return np.concatenate([_columns(self.terms, shares)[0], np.full(self.seeds, 1 / self.seeds)])

    def estimate(self, contrasts: Sequence[Matrix]) -> list[Estimate]:
        return [
            Estimate(
                seeds=self.seeds,
                difference=_rounded(float(contrast @ self.parameters)),
                error=None
                if self.covariance is None
                else _rounded(math.sqrt(max(float(contrast @ self.covariance @ contrast), 0.0))),
                freedom=self.freedom,
                freedom_per_seed=self.freedom_per_seed,
            )
            for contrast in contrasts
        ]


def _fit(
    table: pd.DataFrame,
    factors: Mapping[str, Sequence[str]],
    groups: Mapping[tuple[int, ...], Sequence[tuple[int, ...]]] | None,
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
    seeds = pd.get_dummies(table["seed"], dtype=float).to_numpy()
    columns = np.hstack([_columns(terms, shares), seeds])
    if np.linalg.matrix_rank(columns) < columns.shape[1]:
        raise ValueError(
            f"{len(table)} runs do not tell {len(terms)} effects apart: combinations of levels are missing"
        )
    fitted = OLS(recalls, columns).fit()
    freedom = len(table) - columns.shape[1]
    return _Model(
        factors=factors,
        terms=terms,
        seeds=seeds.shape[1],
        freedom=freedom,
        freedom_per_seed=len(table) // seeds.shape[1] - 1,
        parameters=fitted.params,
        covariance=fitted.cov_params() if freedom else None,
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


def _rounded(value: float) -> float:
    return 0.0 if abs(value) <= ROUNDING else value


def _main(comparison: Comparison) -> str:
    return f"{comparison.verdict}: {comparison.difference:+.4f} on average over all combinations"


def _interaction(model: _Model, term: Term, comparison: Comparison) -> str:
    """Say how the first factor's effect depends on the second; "" where it is not shown to."""
    if comparison.verdict not in ("helps", "hurts"):
        return ""
    (first, index), (second, other) = term.items()
    a, b = model.label(first, index), model.label(second, other)
    estimates = model.estimate([model.simple_effect(first, index, {second: at}) for at in (0, other)])
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
