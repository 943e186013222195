"""What a study over several bases and data sets found: a verdict for each place, and one for places like these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING

import attrs

from zoo.statistics import verdicts
from zoo.statistics.effects import effects_by_seed
from zoo.statistics.fractions import aliases
from zoo.statistics.paired import compare
from zoo.statistics.pooling import Pooled, WinRate, pool, win_rates
from zoo.statistics.results import Comparison, Verdict
from zoo.statistics.sequential import share
from zoo.study.measure import image_step, learned_recall, training_overlap
from zoo.study.places import Place, PooledStudy
from zoo.study.result import Arm, StudyResult

if TYPE_CHECKING:
    pass


LEAST_ARMS = 4
"""Arms that a table of who wins how often is worth its room for."""


@attrs.frozen(kw_only=True)
class PlaceResult:
    """What was found in a place. Its own verdicts are corrected for its own claims only."""

    place: Place
    result: StudyResult


@attrs.frozen(kw_only=True)
class PooledClaim:
    """What a change did in each place, and in general.

    Attributes:
        change: what is judged: "leaky", "a x b".
        by_place: by the place's name, the verdict there, corrected over all places and changes.
        pooled: its mean effect over places.
        comparison: the verdict on that, corrected over all changes; `n` is how many bases or data sets it is over.
    """

    change: str
    by_place: Mapping[str, Comparison]
    pooled: Pooled
    comparison: Comparison

    def places(self, verdict: Verdict) -> tuple[str, ...]:
        """Return the names of the places with a verdict."""
        return tuple(name for name, comparison in self.by_place.items() if comparison.verdict == verdict)


@attrs.frozen(kw_only=True, repr=False)
class PooledResult:
    """All that a study over several places found.

    Attributes:
        study: what was asked.
        places: with what was found in each of them.
        claims: the verdicts on each change; none while runs are missing.
        wins: how often one arm is better than another; empty for few arms.
        refused: what was asked for and could not be had, with the reason.
        seeds: how many each place has, of its own.
        look_level: the level of significance of the last look.
        missing: how many of the runs that were asked for are not there.
        command: what repeats it.
    """

    study: PooledStudy
    places: tuple[PlaceResult, ...]
    claims: tuple[PooledClaim, ...]
    wins: tuple[WinRate, ...]
    refused: tuple[str, ...]
    seeds: int
    look_level: float
    missing: int
    command: str = ""

    def __repr__(self) -> str:
        return f"PooledResult({self.study.name}: {len(self.places)} places, {self.seeds} seeds each)"


def summarize_places(
    study: PooledStudy,
    found: Mapping[str, StudyResult],
    *,
    seeds: int,
    refused: Sequence[str] = (),
    unjudged: int = 0,
    command: str = "",
) -> PooledResult:
    """Judge what was found in all places together.

    Args:
        study: what was asked.
        found: by the name of a place.
        seeds: how many each place has.
        refused: what could not be had, with the reason.
        unjudged: how many runs are missing in places of which there is no run.
        command: what repeats it.
    """
    results = [(place, found[place.name]) for place in study.places if place.name in found]
    missing = unjudged + sum(result.missing for _, result in results)
    # Each look at a place is a look at what is said of all.
    level = min((result.look_level for _, result in results), default=share(1))
    return PooledResult(
        study=study,
        places=tuple(PlaceResult(place=place, result=result) for place, result in results),
        claims=() if missing else tuple(_claims(study, results, level)),
        wins=() if missing else tuple(_wins(study, results)),
        refused=tuple(refused),
        seeds=seeds,
        look_level=level,
        missing=missing,
        command=command,
    )


def _claims(study: PooledStudy, results: Sequence[tuple[Place, StudyResult]], level: float) -> list[PooledClaim]:
    """Judge each change in each place, as one table of claims, and each change over all places, as another."""
    margin = study.design.margin
    next_level = next(share(look) for look in count(1) if share(look) < level)
    by_place = {place.key: _by_seed(result) for place, result in results}
    changes = list(dict.fromkeys(change for found in by_place.values() for change in found))
    keys = {
        f"{position}: {change}": (place, change)
        for position, (place, _) in enumerate(results)
        for change in by_place[place.key]
    }
    compared = compare(
        {key: by_place[place.key][change][0] for key, (place, change) in keys.items()},
        margin=margin,
        level=level,
        step={key: by_place[place.key][change][1] for key, (place, change) in keys.items()},
        overlap={
            key: training_overlap(attrs.asdict(place.study.base.data), study.design.select)
            for key, (place, _) in keys.items()
        },
        next_level=next_level,
    )
    pooled = [
        pool(
            {place: found[change][0] for place, found in by_place.items() if change in found},
            {place: found[change][1] for place, found in by_place.items() if change in found},
        )
        for change in changes
    ]
    estimates = [each.estimate for each in pooled]
    judged = [
        attrs.evolve(
            comparison,
            more_seeds=verdicts.more_seeds(estimate, claims=len(estimates), margin=margin, level=next_level)
            if comparison.verdict == "undecided"
            else None,
        )
        for estimate, comparison in zip(estimates, verdicts.judge(estimates, margin=margin, level=level), strict=True)
    ]
    return [
        PooledClaim(
            change=change,
            by_place={place.name: compared[key] for key, (place, own) in keys.items() if own == change},
            pooled=each,
            comparison=comparison,
        )
        for change, each, comparison in zip(changes, pooled, judged, strict=True)
    ]


def _by_seed(result: StudyResult) -> dict[str, tuple[list[float], float]]:
    """Return each claim's differences, seed by seed, and what an image changes in them; none of what was left out."""
    import pandas as pd

    part = result.study.design.select
    step = image_step((run for arm in result.arms for run in arm.runs), part)
    learned = {arm.name: _learned(arm, part) for arm in result.arms}
    left_out = {arm.name for arm in result.arms if not arm.runs}
    if not result.effects:
        return {
            claim.change: (
                [ours - theirs[seed] for seed, ours in learned[claim.treatment].items() if seed in theirs],
                step,
            )
            for claim in result.claims
            if claim.treatment not in left_out
            for theirs in [learned[claim.control]]
        }
    factors = {factor.name: [level.name for level in factor.levels] for factor in result.study.factors}
    cells = [arm for arm in result.arms if arm.cell is not None]
    table = pd.DataFrame.from_records(
        [
            {"seed": seed, "recall": recall, **{name: arm.changes.get(name, "base") for name in factors}}
            for arm in cells
            for seed, recall in learned[arm.name].items()
        ],
        columns=["seed", "recall", *factors],
    )
    is_fraction = result.study.design.design == "fractional"
    groups = aliases([arm.cell for arm in cells if arm.cell is not None]) if is_fraction else None
    found = effects_by_seed(table, factors, groups=groups, step=step)
    return {effect.name: own for effect, own in zip(result.effects, found, strict=True)}


def _learned(arm: Arm, part: str) -> dict[int, float]:
    found = {run.key.seed: learned_recall(run, part) for run in arm.runs}
    return {seed: recall for seed, recall in found.items() if recall is not None}


def _wins(study: PooledStudy, results: Sequence[tuple[Place, StudyResult]]) -> list[WinRate]:
    """Return how often each arm is better than another, where a study compares many changes with one base."""
    if study.design.design != "one-at-a-time":
        return []
    arms: dict[str, dict[tuple[str, str], dict[int, float]]] = {}
    for place, result in results:
        for arm in result.arms:
            if arm.cell is not None:
                arms.setdefault(arm.name, {})[place.key] = _learned(arm, study.design.select)
    return win_rates(arms) if len(arms) >= LEAST_ARMS else []
