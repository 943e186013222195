"""How much what verdicts are about varies from seed to seed, as runs in the ledger tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from zoo.registry import Registry
from zoo.statistics.effects import effects_by_seed
from zoo.statistics.fractions import aliases
from zoo.study import designs
from zoo.study.definition import Cell, Study
from zoo.study.measure import learned_recall
from zoo.train.run import Run

if TYPE_CHECKING:
    import pandas as pd

Stored = Mapping[str, Mapping[int, Run]]
"""Ended runs by spec identity and seed."""


def frame(study: Study, learned: Mapping[Cell, Mapping[int, float]]) -> pd.DataFrame:
    """Return a row for each run that has learned: its seed, its recall, and the level of each factor.

    Args:
        study: whose.
        learned: recall by combination and seed.
    """
    import pandas as pd

    records = []
    for cell, own in learned.items():
        levels = {factor.name: "base" for factor in study.factors}
        levels |= {name: level.name for name, level in study.levels(cell).items()}
        records += [{**levels, "seed": seed, "recall": recall} for seed, recall in own.items()]
    return pd.DataFrame.from_records(records, columns=[*(factor.name for factor in study.factors), "seed", "recall"])


def deviation(study: Study, stored: Stored, registry: Registry) -> float | None:
    """Return the standard deviation of paired differences to the base; None where there are too few runs.

    They are those of each change alone, or of all that is stored where no change alone is.
    """
    if not stored:
        return None
    single = {study.spec(cell, registry).identity for cell in study.single_changes()}
    own = _learned(study, stored.get(study.base.identity, {}))
    for counted in (single, set(stored) - {study.base.identity}):
        squares, degrees = 0.0, 0
        for identity in counted:
            theirs = _learned(study, stored.get(identity, {}))
            differences = [theirs[seed] - own[seed] for seed in theirs if seed in own]
            if len(differences) > 1:
                squares += float(np.var(differences, ddof=1)) * (len(differences) - 1)
                degrees += len(differences) - 1
        if degrees:
            return math.sqrt(squares / degrees)
    return None


def effect_deviations(study: Study, stored: Stored, registry: Registry) -> dict[str, float]:
    """Return the standard deviation of each seed's estimate of an effect, by what kind of effect it is.

    Nothing of a design that has no effects, and where fewer than two seeds have the runs that an estimate takes.
    """
    if not stored or not designs.is_factorial(study):
        return {}
    cells = next(designs.search(study))
    learned = {cell: _learned(study, stored.get(study.spec(cell, registry).identity, {})) for cell in cells}
    if not all(learned.values()):
        return {}
    factors = {factor.name: [level.name for level in factor.levels] for factor in study.factors}
    groups = aliases(cells) if study.design.design == "fractional" else None
    found = [estimates for estimates, _ in effects_by_seed(frame(study, learned), factors, groups=groups)]
    single = sum(len(term) == 1 for term in groups) if groups else sum(map(len, factors.values()))
    kinds = {"a main effect": found[:single], "an interaction": found[single:]}
    variances = {kind: _variance(estimates) for kind, estimates in kinds.items()}
    return {kind: math.sqrt(variance) for kind, variance in variances.items() if variance}


def _variance(estimates: list[list[float]]) -> float | None:
    """Return the mean variance over seeds; None where no effect has several."""
    several = [own for own in estimates if len(own) > 1]
    return float(np.mean([np.var(own, ddof=1) for own in several])) if several else None


def _learned(study: Study, runs: Mapping[int, Run]) -> dict[int, float]:
    found = {seed: learned_recall(run, study.design.select) for seed, run in runs.items()}
    return {seed: recall for seed, recall in found.items() if recall is not None}
