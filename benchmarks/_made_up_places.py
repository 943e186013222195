"""Simulated studies over several bases."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache, partial

import numpy as np
import scipy
from _made_up import BLOCK, CHANGES, OWN, Recalls, Row, evaluation, judged_alone
from statsmodels.stats.meta_analysis import combine_effects

from zoo.registry import default_registry
from zoo.statistics.paired import compare
from zoo.statistics.sequential import share
from zoo.study.places import PooledStudy, read_any
from zoo.study.pooled import PooledResult, summarize_places
from zoo.study.result import Arm, Claim, StudyResult
from zoo.train.run import EpochRecord, Run, RunKey


def in_general(tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """Two changes that do nothing on average, in several places: what is said of them in general.

    "Otherwise" weights places by precision (statsmodels: Paule and Mandel, Hartung and Knapp).
    """
    for count in (3, 5):
        for seeds in (3, 5):
            for between, spread, name in (
                (0.0, 1.0, "alike in all"),
                (0.005, 1.0, "that differs by 0.005"),
                (0.02, 1.0, "that differs by 0.02"),
                (0.005, 5.0, "that differs by 0.005, one base scattering 5 times as much"),
            ):
                about = f"{count} bases, {seeds} seeds, an effect of 0 {name}"
                own = np.full(count, OWN)
                own[-1] *= spread
                false = held = false_otherwise = held_otherwise = elsewhere = 0
                for _ in range(tables):
                    effects = generator.normal(0, between, (count + 1, 2))
                    recalls = _placed(generator, effects[:count], seeds, own)
                    result = _pooled(recalls)
                    false += any(claim.comparison.verdict in ("helps", "hurts") for claim in result.claims)
                    first = result.claims[0]
                    held += _holds(first.comparison.low, first.comparison.high, 0.0)
                    elsewhere += _holds(first.pooled.low, first.pooled.high, effects[count, 0])
                    # Simpler: as if variances by seed were known.
                    level, differences = first.comparison.held, recalls[:, 1:] - recalls[:, :1]
                    wide = [_weighted(differences[:, change], level / 2) for change in (0, 1)]
                    false_otherwise += any(not low <= 0 <= high for low, high in wide)
                    held_otherwise += _holds(*_weighted(differences[:, 0], first.comparison.level), 0.0)
                yield Row(about=about, figure='any "helps" or "hurts" in general', wanted="at most 0.04",
                          otherwise=false_otherwise / tables, zoo=false / tables)  # fmt: skip
                yield Row(about=about, figure="the interval, corrected for two, holds 0", wanted="at least 0.98",
                          otherwise=held_otherwise / tables, zoo=held / tables)  # fmt: skip
                yield Row(about=about, figure="another base's effect lies where it is said to", wanted="at least 0.95",
                          otherwise=None, zoo=elsewhere / tables)  # fmt: skip


def shared_seeds(tables: int, generator: np.random.Generator) -> Iterator[Row]:
    """Seeds that do something to a change at each base alike: zoo gives each its own; otherwise all have the same."""
    for count, shared in ((3, OWN / 2), (3, OWN), (5, OWN / 2), (5, OWN)):
        false = false_otherwise = 0
        for _ in range(tables):
            effects = generator.normal(0, 0.005, (count, 2))
            for same in (False, True):
                noise = generator.normal(0, shared, (1 if same else count, 2, 5))
                recalls = _placed(generator, effects, 5, np.full(count, OWN))
                recalls[:, 1:] += noise
                said = any(claim.comparison.verdict in ("helps", "hurts") for claim in _pooled(recalls).claims)
                false_otherwise += said and same
                false += said and not same
        yield Row(about=f"{count} bases, 5 seeds that change an effect of 0 by {shared:g} at each base alike",
                  figure='any "helps" or "hurts" in general', wanted="at most 0.04",
                  otherwise=false_otherwise / tables, zoo=false / tables)  # fmt: skip


def _holds(low: float | None, high: float | None, truth: float) -> bool:
    return low is not None and high is not None and low <= truth <= high


def _placed(generator: np.random.Generator, effects: Recalls, seeds: int, own: Recalls) -> Recalls:
    """Draw recalls, (bases, arms, seeds), the base itself first; `effects` are (bases, changes), `own` by base."""
    bases, changes = effects.shape
    recalls = 0.9 + generator.normal(0, BLOCK, (bases, 1, seeds)) * np.ones((1, changes + 1, 1))
    recalls[:, 1:] += effects[:, :, None]
    found: Recalls = recalls + generator.normal(size=recalls.shape) * own[:, None, None]
    return found


def _pooled(recalls: Recalls) -> PooledResult:
    """Return what zoo says of recalls (bases, arms, seeds)."""
    names = _BASES[: len(recalls)]
    study = _study_over(names)
    found: dict[str, StudyResult] = {}
    for position, (place, table) in enumerate(zip(study.places, recalls, strict=True)):
        cells = [place.study.base_cell, *place.study.single_changes()]
        arms = []
        for cell, own in zip(cells, table, strict=True):
            name = place.study.arm_name(cell)
            runs = tuple(_made_run(f"{position}{name}", place.first_seed + s, float(own[s])) for s in range(len(own)))
            arms.append(Arm(name=name, cell=cell, changes={}, spec=place.study.base, runs=runs, recalls={}))
        found[place.name] = _RESULT(
            study=place.study,
            seeds=tuple(range(recalls.shape[2])),
            arms=tuple(arms),
            claims=tuple(
                Claim(change=arm.name, treatment=arm.name, control="base", comparison=_NOTHING) for arm in arms[1:]
            ),
        )
    with judged_alone():
        return summarize_places(study, found, seeds=recalls.shape[2])


_BASES = ("starter/default", "starter/residual", "starter/4d", "starter/4a2", "starter/4b")


_NOTHING = compare({"": []})[""]


_RESULT = partial(
    StudyResult, effects=(), steps=(), chosen=None, confirmation=None, ranks=(), pareto={}, per_class={}, found_by=(),
    proofs={}, notes=(), look_level=share(1), command="", classes=("a", "b"), matched={},
)  # fmt: skip


@cache
def _study_over(bases: tuple[str, ...]) -> PooledStudy:
    tree = {"bases": list(bases), "changes": {name: {path: value} for name, path, value in CHANGES[:2]}}
    study = read_any(tree, registry=default_registry(), name="made-up")
    assert isinstance(study, PooledStudy)
    return study


def _made_run(identity: str, seed: int, recall: float) -> Run:
    return Run(
        key=RunKey(identity, seed, "", "", "fp32"),
        name=identity,
        spec={"evaluation": {"measure": "final"}, "data": {"validation": 0.25}},
        dataset="made up",
        status="finished",
        epochs=(EpochRecord(1, 0.1, 1.0, 0.1, {"validation": evaluation(recall)}),),
    )


def _weighted(differences: Recalls, level: float) -> tuple[float, float]:
    """Return the interval of a mean over places, weighted by precision as if variances by seed were known."""
    variances = differences.var(axis=1, ddof=1) / differences.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a degree of freedom that is not used here
        found = combine_effects(differences.mean(axis=1), variances, method_re="iterated")
    half = float(scipy.stats.t.isf(level / 2, len(differences) - 1)) * found.sd_eff_w_re_hksj
    return found.mean_effect_re - half, found.mean_effect_re + half
